//! How far a replica is behind its log.

use super::link::Snapshot;
use crate::source::Origin;

/// See the module's comment. It goes on after a run has ended, and then tells what a new one will have to send.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Lag {
    /// The highest VLSN known to be in the log.
    pub last_known_vlsn: u64,
    /// How many VLSNs up to there are not acknowledged, of those that the run is to send.
    pub entries: u64,
    /// How many bytes of log files were not read, or are held back.
    pub unread_bytes: u64,
}

impl Lag {
    /// As of `snapshot`, of a run that has acknowledged `acked`, and reads from `origin`, if that tells how far it goes.
    /// `looks`: whether to ask the file system for what was not read.
    pub fn of(snapshot: &Snapshot, acked: u64, origin: Option<&dyn Origin>, looks: bool) -> Lag {
        let in_log = origin.map_or(0, Origin::last_vlsn);
        let last_known_vlsn = snapshot.read_vlsn.max(snapshot.source.last_vlsn).max(in_log);
        let behind = origin.filter(|_| looks).zip(snapshot.source.position);
        Lag {
            last_known_vlsn,
            entries: last_known_vlsn.saturating_sub(acked.max(snapshot.start_vlsn.saturating_sub(1))),
            unread_bytes: behind.map_or(0, |(log, position)| log.bytes_from(position)) + snapshot.source.held_bytes,
        }
    }
}
