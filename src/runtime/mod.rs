//! The runtime: one loop that drives tasks, and what it has of its surroundings.

pub mod driver;
pub mod inbox;
pub mod reactor;
pub mod slots;
pub mod system;
pub mod task;
pub mod timers;
pub mod watched;
