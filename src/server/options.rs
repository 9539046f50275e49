//! How a server behaves.

use std::num::NonZeroU64;
use std::time::Duration;

use super::register::{Limits, SameName};
use crate::chunk::ChunkLimits;
use crate::diagnostics::Logger;
use crate::runtime::reactor::ReactorOptions;
use crate::session::SessionOptions;
use crate::session::service::{Offers, StepLimit};
use crate::stream::StreamOptions;
use crate::transport::socket::SocketOptions;

/// See the module's comment.
#[derive(Clone)]
pub struct ServerOptions {
    /// How many threads feed replicas.
    pub threads: usize,
    /// How large the stack of each of its threads may grow.
    pub stack_bytes: usize,
    /// How many may be connected.
    pub limits: Limits,
    /// What becomes of a replica that is fed when another of its name comes.
    pub same_name: SameName,
    /// How long a replica has to name a service, in all.
    pub name_limit: Duration,
    /// How long it has for each step after that.
    pub step_limit: StepLimit,
    /// The services, elections apart: see [`Server::answer_elections`](super::Server::answer_elections).
    pub offers: Offers,
    /// How many bytes of files a restore sends in a second, if that is limited.
    pub restore_rate: Option<NonZeroU64>,
    /// How many events may wait to be polled, acks not counted.
    pub events_max: usize,
    /// How long to wait before a replica is dialled again: at least, and at most.
    pub redial: (Duration, Duration),
    /// How long a connection may take to be made.
    pub connect_timeout: Duration,
    /// For sockets.
    pub socket: SocketOptions,
    /// For sessions.
    pub session: SessionOptions,
    /// For streams.
    pub stream: StreamOptions,
    /// For chunks.
    pub chunks: ChunkLimits,
    /// How much of what was read is kept for replicas that are behind the first, for each place where some are near each
    /// other.
    pub shared_bytes_max: usize,
    /// For loops.
    pub reactor: ReactorOptions,
    /// Whom to tell what people may want to know.
    pub logger: Logger,
}
