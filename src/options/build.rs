//! What each layer is made with, out of a set of options.

use std::num::NonZeroU64;
use std::time::Duration;

use super::Options;
use super::table::Index;
use crate::chunk::ChunkLimits;
use crate::log::ScannerOptions;
use crate::log::order::WindowLimits;
use crate::log::tail::TailOptions;
use crate::runtime::reactor::ReactorOptions;
use crate::server::ServerOptions;
use crate::server::register::{Limits, SameName};
use crate::session::SessionOptions;
use crate::session::service::{Offers, StepLimit};
use crate::stream::{BeyondSent, StreamOptions};
use crate::sys::thread::Threads;
use crate::transport::local::LocalOptions;
use crate::transport::socket::SocketOptions;

impl Options {
    fn number(&self, at: Index) -> u64 {
        self.values[at as usize]
    }

    fn size(&self, at: Index) -> usize {
        usize::try_from(self.number(at)).unwrap_or(usize::MAX)
    }

    fn millis(&self, at: Index) -> Duration {
        Duration::from_millis(self.number(at))
    }

    /// For reading a log.
    pub fn scanner(&self) -> ScannerOptions {
        ScannerOptions {
            tail: TailOptions {
                settle: self.millis(Index::log_settle_ms),
                read_bytes: self.size(Index::log_read_bytes),
                proof_bytes_max: self.number(Index::log_proof_bytes_max),
            },
            window: WindowLimits {
                entries_max: self.size(Index::log_reorder_entries_max),
                bytes_max: self.number(Index::log_reorder_bytes_max),
            },
            gap_patience: self.millis(Index::log_gap_patience_ms),
            waits_when_ahead: self.number(Index::log_ahead) == 1,
        }
    }

    /// For a socket.
    pub fn socket(&self) -> SocketOptions {
        SocketOptions {
            write_timeout: self.millis(Index::channel_write_timeout_ms),
            keepalive: Some(self.millis(Index::channel_keepalive_ms)).filter(|time| !time.is_zero()),
            send_buffer_bytes: self.size(Index::channel_send_buffer_bytes),
            quick_acks: self.number(Index::channel_quick_acks) == 0,
        }
    }

    /// For an in-memory pair.
    pub fn local(&self) -> LocalOptions {
        LocalOptions {
            queue_bytes_max: self.size(Index::channel_local_queue_bytes_max),
            write_timeout: self.millis(Index::channel_write_timeout_ms),
        }
    }

    /// Whether the VLSNs of a source of the host's own must be dense.
    pub fn source_is_dense(&self) -> bool {
        self.number(Index::source_order) == 0
    }

    /// How long a connection may take to be made.
    pub fn connect_timeout(&self) -> Duration {
        self.millis(Index::channel_connect_timeout_ms)
    }

    /// For the chunks of a run.
    pub fn chunks(&self) -> ChunkLimits {
        ChunkLimits {
            bytes: self.size(Index::runner_chunk_bytes),
            share_from: self.size(Index::runner_share_from_bytes),
            ..ChunkLimits::default()
        }
    }

    /// For a stream.
    pub fn stream(&self) -> StreamOptions {
        let accept = self.number(Index::ack_beyond_sent) == 1;
        StreamOptions {
            beyond_sent: if accept { BeyondSent::Accept } else { BeyondSent::Error },
            queue_bytes_max: self.size(Index::runner_queue_bytes_max),
        }
    }

    /// For a session.
    pub fn session(&self) -> SessionOptions {
        SessionOptions {
            write_timeout: self.millis(Index::runner_write_timeout_ms),
            ack_timeout: Some(self.millis(Index::runner_ack_timeout_ms)).filter(|time| !time.is_zero()),
            linger: self.millis(Index::runner_linger_ms),
            behind_after: None,
        }
    }

    /// For a loop.
    pub fn reactor(&self) -> ReactorOptions {
        ReactorOptions {
            safety_look: self.millis(Index::runner_safety_look_ms),
            unnotified_look: self.millis(Index::runner_unnotified_look_ms),
        }
    }

    /// For the threads of the run whose loop is `inside`.
    pub fn threads(&self, inside: usize) -> Threads {
        Threads { inside, stack_bytes: self.size(Index::runner_stack_bytes) }
    }

    /// For a server.
    pub fn server(&self) -> ServerOptions {
        let is_restored = self.number(Index::server_restore) == 0;
        ServerOptions {
            threads: self.size(Index::server_threads),
            stack_bytes: self.size(Index::runner_stack_bytes),
            limits: Limits {
                connections: self.size(Index::server_connections_max),
                greetings: self.size(Index::server_greetings_max),
            },
            same_name: match self.number(Index::server_same_name) {
                0 => SameName::Replaces,
                _ => SameName::IsRefused,
            },
            name_limit: self.millis(Index::server_name_timeout_ms),
            step_limit: StepLimit(self.millis(Index::server_step_timeout_ms)),
            offers: Offers { restore: is_restored, raw_restore: is_restored, ..Offers::default() },
            restore_rate: NonZeroU64::new(self.number(Index::server_restore_bytes_per_s)),
            events_max: self.size(Index::server_events_max),
            redial: (self.millis(Index::server_redial_min_ms), self.millis(Index::server_redial_max_ms)),
            connect_timeout: self.connect_timeout(),
            socket: self.socket(),
            session: SessionOptions {
                ack_timeout: Some(self.millis(Index::server_ack_timeout_ms)).filter(|limit| !limit.is_zero()),
                behind_after: Some(self.millis(Index::server_behind_ms)),
                ..self.session()
            },
            stream: self.stream(),
            chunks: self.chunks(),
            shared_bytes_max: self.size(Index::server_shared_bytes_max),
            reactor: self.reactor(),
            logger: self.logger.clone(),
        }
    }

    /// How many acks wait to be polled.
    pub fn ack_queue_max(&self) -> usize {
        self.size(Index::ack_queue_max)
    }

    /// How many bytes a tracker's queue holds.
    pub fn feeder_queue_bytes_max(&self) -> usize {
        self.size(Index::feeder_queue_bytes_max)
    }
}
