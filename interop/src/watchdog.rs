//! The limit on how long a connection may take.

use std::net::{Shutdown, TcpStream};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use crate::{Error, Result};

/// Shuts a connection down at the deadline, so that whoever is blocked on it comes back.
pub(crate) struct Watchdog {
    thread: JoinHandle<bool>,
    stop: Sender<()>,
}

impl Watchdog {
    pub(crate) fn start(stream: &TcpStream, deadline: Instant) -> Result<Self> {
        let stream = stream.try_clone().map_err(Error::new)?;
        let (stop, stopped) = mpsc::channel::<()>();
        let thread = thread::spawn(move || {
            let left = deadline.saturating_duration_since(Instant::now());
            let timed_out = stopped.recv_timeout(left) == Err(RecvTimeoutError::Timeout);
            if timed_out {
                // Fails only for a connection that is down already.
                let _ = stream.shutdown(Shutdown::Both);
            }
            timed_out
        });
        Ok(Self { thread, stop })
    }

    /// Calls it off; tells whether it had struck.
    pub(crate) fn stop(self) -> bool {
        drop(self.stop);
        self.thread.join().unwrap_or(true)
    }
}
