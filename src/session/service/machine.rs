//! A machine together with what it asks of the log: what whoever has the connection drives, whatever the service is.

use std::sync::Arc;
use std::time::Instant;

use super::election::Election;
use super::error::ServiceError;
use super::exchange::{Exchange, Turn};
use super::peer_feeder::{LogRange, PeerFeeder};
use super::restore::{Progress, Restore};
use super::shared_range::SharedRange;
use super::syncup::Syncup;
use crate::log::Log;
use crate::log::copy::Copy;
use crate::log::lookup::Lookup;

/// How many bytes of the log a machine may read in a turn, about.
const READ_MAX: u64 = 4 * 1024 * 1024;

/// See the module's comment.
pub trait Machine: Send {
    /// Its bytes.
    fn exchange(&mut self) -> &mut Exchange;

    /// Moves on, as far as it can without waiting and within bounds.
    fn turn(&mut self, now: Instant) -> Result<Turn, ServiceError>;

    /// When it wants a turn, if nothing comes.
    fn deadline(&self) -> Option<Instant>;

    /// The replica has closed its side. An error, if anything was still to come of it.
    fn closed(&self) -> Result<(), ServiceError>;

    /// How far it has got with sending files, if it does that.
    fn progress(&self) -> Option<Progress>;

    /// For the stream that follows: what has arrived behind the request.
    fn into_rest(self: Box<Self>) -> Vec<u8>;
}

/// `turn` as the machine has it; how far it has got, and what has arrived behind, where there is such a thing.
macro_rules! machine {
    ($machine:ty, $log:ty, $turn:expr, $progress:expr, $rest:expr) => {
        impl Machine for ($machine, $log) {
            fn exchange(&mut self) -> &mut Exchange {
                self.0.exchange()
            }

            fn turn(&mut self, now: Instant) -> Result<Turn, ServiceError> {
                let turn: fn(&mut $machine, &mut $log, Instant) -> Result<Turn, ServiceError> = $turn;
                turn(&mut self.0, &mut self.1, now)
            }

            fn deadline(&self) -> Option<Instant> {
                self.0.deadline()
            }

            fn closed(&self) -> Result<(), ServiceError> {
                self.0.closed()
            }

            fn progress(&self) -> Option<Progress> {
                let progress: fn(&$machine) -> Option<Progress> = $progress;
                progress(&self.0)
            }

            fn into_rest(self: Box<Self>) -> Vec<u8> {
                let rest: fn($machine) -> Vec<u8> = $rest;
                rest(self.0)
            }
        }
    };
}

/// A turn within what the log may be read for it.
macro_rules! allowed {
    () => {
        |machine, log, now| {
            log.allow(READ_MAX);
            machine.turn(log, now)
        }
    };
}

machine!(PeerFeeder, SharedRange<Lookup>, allowed!(), |_| None, |machine| machine.into_rest().1);
machine!(Syncup, Lookup, allowed!(), |_| None, |_| Vec::new());
machine!(Restore, Copy, allowed!(), |machine| Some(machine.progress()), |_| Vec::new());
// What an election asks of the log is how far it goes, as far as anybody knows.
machine!(Election, Arc<Log>, |machine, log, now| machine.turn(log.last_vlsn(), now), |_| None, |_| Vec::new());
