//! The bytes of the replication protocol, as `docs/protocol.md` has them. All are little-endian. Pure.
//!
//! The facts were checked against the public crate `noxu-rep`, 6.2.0 to 7.11.2.

pub mod ack;
pub mod frame;
pub mod message;
pub mod service;
