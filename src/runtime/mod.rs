//! The runtime: one loop that drives sessions, and what it has of its surroundings.

pub mod driver;
pub mod inbox;
pub mod reactor;
pub mod slots;
pub mod system;
pub mod timers;
pub mod watched;
