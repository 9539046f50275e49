//! What a replica meets when it dials in: each service as a machine without I/O.
//!
//! Whoever has the connection drives a machine in turns. What arrives is given to it, as long as it
//! [wants](exchange::Exchange::wants_bytes) more; what it has to say is taken from it, and how much of that went is told.
//! Then it has a [turn](Turn), of bounded work on the log, and says what it waits for. If nothing comes by its deadline, it
//! has a turn all the same. It knows no socket, and the time is a parameter, so tests and simulations can be both.
//!
//! A connection begins with a [`Greeting`]. That finds out the service, which goes on with the bytes that have arrived.
//! PEER_FEEDER ends by becoming a session.

pub mod election;
pub mod error;
pub mod exchange;
pub mod greeting;
pub mod machine;
pub mod peer_feeder;
pub mod restore;
pub mod shared_range;
pub mod syncup;

pub use election::Election;
pub use error::ServiceError;
pub use exchange::{Exchange, StepLimit, Turn};
pub use greeting::{Greeting, Offers};
pub use peer_feeder::PeerFeeder;
pub use restore::Restore;
pub use shared_range::SharedRange;
pub use syncup::Syncup;
