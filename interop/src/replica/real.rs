//! Upstream's receiver and log writer, of either generation.
//!
//! The two generations have the same types by the same names, but each its own, so what connects them to
//! the rest is written once, as a macro over the crates' names. What differs is spelled out below it: a
//! 7.11.2 replica keeps the VLSN of an entry in its log, a 6.2.0 one only in its VLSN index (`vlsn.idx`).

use std::net::TcpStream;
use std::path::PathBuf;
use std::sync::Arc;

use noxu_dbi::{EnvironmentImpl, ReplicaReplay};

use super::blocking::{self, Store};
use super::progress::Progress;
use super::{AckMode, Holds, Replica};
use crate::environment::open_environment;
use crate::generation::Generation;
use crate::summary::Summary;
use crate::writer::{open_6, open_7};
use crate::{Error, Result};

/// A replica's log, open to receive into.
pub(super) enum ReplicaLog {
    Seven(Seven),
    Six(Six),
}

/// Opens, or goes on with, the log that `options` asks for.
pub(super) fn open(options: &Replica) -> Result<ReplicaLog> {
    Ok(match options.version {
        Generation::Seven => ReplicaLog::Seven(Seven::open(options)?),
        Generation::Six => ReplicaLog::Six(Six::open(options)?),
    })
}

impl ReplicaLog {
    /// What it held when it was opened.
    pub(super) fn held(&self) -> Holds {
        match self {
            Self::Seven(log) => log.held,
            Self::Six(log) => log.held,
        }
    }

    /// Receives until the stream ends or `progress` is complete; durable when this returns. How the stream
    /// ended is the inner result; the outer one is the log's.
    pub(super) fn receive(self, stream: &TcpStream, options: &Replica, progress: &Arc<Progress>) -> Result<Result<()>> {
        match self {
            Self::Seven(log) => log.receive(stream, options, progress),
            Self::Six(log) => log.receive(stream, options, progress),
        }
    }
}

macro_rules! receiving_side {
    ($generation:ident, $rep:ident) => {
        mod $generation {
            use std::net::TcpStream;
            use std::sync::Arc;
            use std::time::Duration;

            use $rep::error::{RepError, Result as RepResult};
            use $rep::net::channel::{Channel, TcpChannel};
            use $rep::stream::replica_stream::{EnvironmentLogWriter, LogWriter, ReplicaReceiver};

            use super::super::progress::Progress;
            use super::{Error, Result, Store};

            /// The real log writer, counting what it stored.
            pub(super) struct Counting {
                pub(super) log: EnvironmentLogWriter,
                pub(super) progress: Arc<Progress>,
            }

            impl LogWriter for Counting {
                fn write_entry(&mut self, vlsn: u64, entry_type: u8, payload: &[u8]) -> RepResult<()> {
                    self.log.write_entry(vlsn, entry_type, payload)?;
                    self.progress.stored(vlsn);
                    Ok(())
                }
            }

            impl Store for Counting {
                fn store(&mut self, vlsn: u64, entry_type: u8, payload: &[u8]) -> Result<()> {
                    self.write_entry(vlsn, entry_type, payload).map_err(Error::new)
                }
            }

            /// The real TCP channel, which looks closed once all is held, and keeps back early acks.
            struct Watched {
                channel: TcpChannel,
                progress: Arc<Progress>,
                acks_from: u64,
            }

            impl Channel for Watched {
                fn send(&self, message: &[u8]) -> RepResult<()> {
                    let vlsn = message.try_into().map(u64::from_le_bytes).unwrap_or(u64::MAX);
                    if vlsn < self.acks_from {
                        return Ok(());
                    }
                    self.channel.send(message)
                }

                fn receive(&self, timeout: Duration) -> RepResult<Option<Vec<u8>>> {
                    if self.progress.complete() {
                        return Err(RepError::ChannelClosed("all that was wanted is held".into()));
                    }
                    self.channel.receive(timeout)
                }

                fn close(&self) -> RepResult<()> {
                    self.channel.close()
                }

                fn is_open(&self) -> bool {
                    self.channel.is_open()
                }
            }

            /// Runs the real receiver on `stream`.
            pub(super) fn run_receiver(stream: &TcpStream, acks_from: u64, log: &mut Counting) -> Result<()> {
                let channel = TcpChannel::new(stream.try_clone().map_err(Error::new)?);
                let progress = Arc::clone(&log.progress);
                let channel = Arc::new(Watched { channel, progress, acks_from });
                ReplicaReceiver::new(channel).run(log).map_err(Error::new)
            }
        }
    };
}

receiving_side!(seven, noxu_rep);
receiving_side!(six, noxu_rep_6);

/// The VLSN index maps every VLSN, so that a comparison can name each entry's.
const INDEX_STRIDE: u32 = 1;

/// The 7.11.2 replica's log, with or without a live environment over it.
pub(super) struct Seven {
    log: Arc<noxu_log::LogManager>,
    environment: Option<Arc<EnvironmentImpl>>,
    held: Holds,
}

impl Seven {
    fn open(options: &Replica) -> Result<Self> {
        let (log, environment) = if options.apply {
            let environment = open_environment(&options.dir, options.file_max)?;
            let log = environment.get_log_manager().ok_or_else(|| Error::new("the environment has no log"))?;
            (log, Some(environment))
        } else {
            (Arc::new(open_7(&options.dir, options.file_max)?), None)
        };
        let Summary { entries, last, .. } = Summary::of_log(&options.dir)?;
        Ok(Self { log, environment, held: Holds { entries, last } })
    }

    fn receive(self, stream: &TcpStream, options: &Replica, progress: &Arc<Progress>) -> Result<Result<()>> {
        let mut counting = seven::Counting { log: self.log_writer(), progress: Arc::clone(progress) };
        let ended = match options.ack {
            AckMode::Blocking => blocking::receive(stream, options.ack_bytes, &mut counting, progress),
            AckMode::Real => seven::run_receiver(stream, 0, &mut counting),
            AckMode::NoneUntil(vlsn) => seven::run_receiver(stream, vlsn, &mut counting),
        };
        // The log keeps what was received, whatever ended the stream.
        self.log.flush_sync().map_err(Error::new)?;
        if let Some(environment) = self.environment {
            environment.close().map_err(Error::new)?;
        }
        Ok(ended)
    }

    fn log_writer(&self) -> noxu_rep::stream::replica_stream::EnvironmentLogWriter {
        use noxu_rep::stream::replica_stream::EnvironmentLogWriter;
        let index = Arc::new(noxu_rep::vlsn::VlsnIndex::new(INDEX_STRIDE));
        let log = Arc::clone(&self.log);
        match &self.environment {
            Some(environment) => {
                EnvironmentLogWriter::with_replay(log, index, ReplicaReplay::new(Arc::clone(environment)))
            }
            None => EnvironmentLogWriter::new(log, index),
        }
    }
}

/// The 6.2.0 replica's log and VLSN index.
pub(super) struct Six {
    dir: PathBuf,
    log: Arc<noxu_log_6::LogManager>,
    index: Arc<noxu_rep_6::vlsn::VlsnIndex>,
    held: Holds,
}

impl Six {
    fn open(options: &Replica) -> Result<Self> {
        let dir = options.dir.clone();
        let log = Arc::new(open_6(&dir, options.file_max)?);
        let index = noxu_rep_6::vlsn::load_from_disk(&dir).map_err(|e| Error::at(&dir, e))?;
        let index = index.unwrap_or_else(|| noxu_rep_6::vlsn::VlsnIndex::new(INDEX_STRIDE));
        let entries = index.snapshot_entries().len() as u64;
        let held = Holds { entries, last: index.get_latest_vlsn() };
        Ok(Self { dir, log, index: Arc::new(index), held })
    }

    fn receive(self, stream: &TcpStream, options: &Replica, progress: &Arc<Progress>) -> Result<Result<()>> {
        use noxu_rep_6::stream::replica_stream::EnvironmentLogWriter;
        let log = EnvironmentLogWriter::new(Arc::clone(&self.log), Arc::clone(&self.index));
        let mut counting = six::Counting { log, progress: Arc::clone(progress) };
        let ended = match options.ack {
            AckMode::Blocking => blocking::receive(stream, options.ack_bytes, &mut counting, progress),
            AckMode::Real => six::run_receiver(stream, 0, &mut counting),
            AckMode::NoneUntil(vlsn) => six::run_receiver(stream, vlsn, &mut counting),
        };
        self.log.flush_sync().map_err(Error::new)?;
        noxu_rep_6::vlsn::flush_to_disk(&self.index, &self.dir).map_err(|e| Error::at(&self.dir, e))?;
        Ok(ended)
    }
}
