//! A server's figures as text: for Prometheus, and as JSON.
//!
//! Both are made from the same two tables, so that a figure has one name, one meaning and one place.

use std::fmt::Write;
use std::time::Instant;

use super::connection::{Connection, Purpose};
use super::shared::Shared;
use crate::session::lag::Lag;
use crate::session::link::Snapshot;
use crate::session::service::restore::Progress;
use crate::session::standing::Place;
use crate::source::Origin;

/// How the figures are written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Format {
    /// Prometheus' text format, version 0.0.4.
    Prometheus,
    /// One object.
    Json,
}

/// Whether a figure only rises.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Rises {
    Only,
    AndFalls,
}

/// A figure: its name, whether it only rises, its meaning, and how it is found.
type Figure<T> = (&'static str, Rises, &'static str, fn(&T) -> u64);

/// What the figures of a server are taken from.
struct OfServer {
    connections: Vec<OfConnection>,
    joined: u64,
    ended: u64,
    refused: u64,
    accept_errors: u64,
    events_lost: u64,
    log_last_vlsn: u64,
}

impl OfServer {
    fn of(shared: &Shared, now: Instant) -> OfServer {
        let log: &dyn Origin = &*shared.log;
        let (figures, connections) = (&shared.figures, shared.register.all());
        OfServer {
            connections: connections.iter().map(|connection| OfConnection::of(connection, log, now)).collect(),
            joined: figures.joined(),
            ended: figures.ended(),
            refused: figures.refused(),
            accept_errors: figures.accept_errors(),
            events_lost: shared.events.lost_in_all(),
            log_last_vlsn: shared.log.last_vlsn(),
        }
    }
}

/// What those of a connection are taken from.
struct OfConnection {
    name: String,
    peer: String,
    purpose: Purpose,
    acked: u64,
    snapshot: Option<(Snapshot, Lag)>,
    restored: Progress,
    now: Instant,
}

impl OfConnection {
    fn of(connection: &Connection, log: &dyn Origin, now: Instant) -> OfConnection {
        // Read before the snapshot: so all that is acknowledged here is sent there.
        let acked = connection.acked_vlsn();
        let snapshot = connection.link().map(|link| {
            let snapshot = link.snapshot();
            (snapshot, Lag::of(&snapshot, acked, Some(log), true))
        });
        OfConnection {
            name: connection.name().to_string_lossy().into_owned(),
            peer: connection.peer.text.to_string_lossy().into_owned(),
            purpose: connection.purpose(),
            acked,
            snapshot,
            restored: connection.restored(),
            now,
        }
    }

    fn millis_since(&self, since: Option<Instant>) -> u64 {
        let since = since.map_or(0, |since| self.now.saturating_duration_since(since).as_millis());
        u64::try_from(since).unwrap_or(u64::MAX)
    }

    fn stream(&self, figure: impl Fn(&Snapshot, &Lag) -> u64) -> u64 {
        self.snapshot.as_ref().map_or(0, |(snapshot, lag)| figure(snapshot, lag))
    }
}

const OF_SERVER: &[Figure<OfServer>] = &[
    ("connections", Rises::AndFalls, "Connections that there are now.", |of| of.connections.len() as u64),
    ("streams", Rises::AndFalls, "Replicas that are being fed.", |of| {
        of.connections.iter().filter(|connection| connection.snapshot.is_some()).count() as u64
    }),
    ("joined_total", Rises::Only, "Replicas that have begun to be fed.", |of| of.joined),
    ("ended_total", Rises::Only, "Streams to replicas that have ended.", |of| of.ended),
    ("refused_total", Rises::Only, "Connections that came to nothing.", |of| of.refused),
    (
        "accept_errors_total",
        Rises::Only,
        "Times that the system had no descriptor or no memory for a connection.",
        |of| of.accept_errors,
    ),
    ("events_lost_total", Rises::Only, "Events that found no room because the host did not take them.", |of| {
        of.events_lost
    }),
    ("log_last_vlsn", Rises::AndFalls, "The highest VLSN known to be in the log.", |of| of.log_last_vlsn),
];

const OF_STREAM: &[Figure<OfConnection>] = &[
    ("acked_vlsn", Rises::AndFalls, "The highest VLSN that the replica has acknowledged.", |of| of.acked),
    ("sent_vlsn", Rises::AndFalls, "The highest VLSN wholly handed to the system.", |of| {
        of.stream(|now, _| now.sent_vlsn)
    }),
    ("read_vlsn", Rises::AndFalls, "The highest VLSN read from the log for it.", |of| {
        of.stream(|now, _| now.read_vlsn)
    }),
    ("lag_entries", Rises::AndFalls, "Entries that the replica has not acknowledged.", |of| {
        of.stream(|_, lag| lag.entries)
    }),
    ("lag_bytes", Rises::AndFalls, "Bytes of log and frames that the replica has not acknowledged.", |of| {
        of.stream(|now, lag| now.unacked_bytes + lag.unread_bytes)
    }),
    ("lag_ms", Rises::AndFalls, "Milliseconds since the oldest frame that is not acknowledged was sent.", |of| {
        of.stream(|now, _| of.millis_since(now.unacked_since))
    }),
    ("last_ack_ms", Rises::AndFalls, "Milliseconds since the last acknowledgement, or the beginning.", |of| {
        of.stream(|now, _| of.millis_since(now.acked_last))
    }),
    ("is_stalled", Rises::AndFalls, "1 while the log cannot be read on and nobody knows why.", |of| {
        of.stream(|now, _| now.pause.is_some_and(|pause| pause.stalled).into())
    }),
    (
        "is_caught_up",
        Rises::AndFalls,
        "1 while the replica has all that the log has, but what was just appended.",
        |of| of.stream(|now, _| (now.standing.place == Place::CaughtUp).into()),
    ),
    ("is_paused", Rises::AndFalls, "1 while the host has paused the replica.", |of| {
        of.stream(|now, _| now.is_paused.into())
    }),
    ("queued_bytes", Rises::AndFalls, "Bytes of frames that wait to be sent.", |of| {
        of.stream(|now, _| now.queued_bytes)
    }),
    ("frames_sent_total", Rises::Only, "Frames sent on this connection.", |of| of.stream(|now, _| now.stream.frames)),
    ("bytes_sent_total", Rises::Only, "Bytes sent on this connection.", |of| of.stream(|now, _| now.stream.bytes)),
    ("acks_received_total", Rises::Only, "Acknowledgements received on this connection.", |of| {
        of.stream(|now, _| now.stream.acks)
    }),
];

const OF_RESTORE: &[Figure<OfConnection>] = &[
    ("restore_files", Rises::AndFalls, "Files that the replica fetches.", |of| of.restored.files),
    ("restore_files_read", Rises::AndFalls, "Of these, how many were read.", |of| of.restored.files_read),
    ("restore_bytes", Rises::AndFalls, "Bytes of the files that the replica fetches.", |of| of.restored.bytes),
    ("restore_bytes_read", Rises::AndFalls, "Of these, how many were read.", |of| of.restored.bytes_read),
];

/// The tables of those figures that a connection has.
fn tables(purpose: Purpose) -> &'static [Figure<OfConnection>] {
    match purpose {
        Purpose::Stream => OF_STREAM,
        Purpose::Restore | Purpose::RawRestore => OF_RESTORE,
        Purpose::Unknown | Purpose::Syncup | Purpose::Election => &[],
    }
}

impl Purpose {
    /// The service, as figures name it.
    pub fn word(self) -> &'static str {
        match self {
            Purpose::Unknown => "unknown",
            Purpose::Stream => "stream",
            Purpose::Syncup => "syncup",
            Purpose::Restore => "restore",
            Purpose::RawRestore => "raw_restore",
            Purpose::Election => "election",
        }
    }
}

/// All figures of a server, as text.
pub(super) fn text(shared: &Shared, format: Format, now: Instant) -> String {
    let of = OfServer::of(shared, now);
    match format {
        Format::Prometheus => prometheus(&of),
        Format::Json => json(&of),
    }
}

fn prometheus(of: &OfServer) -> String {
    let mut out = String::new();
    for (name, rises, meaning, figure) in OF_SERVER {
        head(&mut out, name, *rises, meaning);
        let _ = writeln!(out, "noxu_feeder_{name} {}", figure(of));
    }
    for table in [OF_STREAM, OF_RESTORE] {
        for (name, rises, meaning, figure) in table {
            let has_it = |of: &&OfConnection| tables(of.purpose).iter().any(|(other, ..)| other == name);
            let name = format!("replica_{name}");
            head(&mut out, &name, *rises, meaning);
            for of in of.connections.iter().filter(has_it) {
                let _ = write!(out, "noxu_feeder_{name}{{replica=\"");
                escape(&mut out, &of.name);
                out.push_str("\",peer=\"");
                escape(&mut out, &of.peer);
                let _ = writeln!(out, "\"}} {}", figure(of));
            }
        }
    }
    out
}

fn head(out: &mut String, name: &str, rises: Rises, meaning: &str) {
    let kind = if rises == Rises::Only { "counter" } else { "gauge" };
    let _ = writeln!(out, "# HELP noxu_feeder_{name} {meaning}\n# TYPE noxu_feeder_{name} {kind}");
}

fn json(of: &OfServer) -> String {
    let mut out = String::from("{");
    for (name, _, _, figure) in OF_SERVER {
        let _ = write!(out, "\"{name}\":{},", figure(of));
    }
    out.push_str("\"replicas\":[");
    for (at, of) in of.connections.iter().enumerate() {
        out.push_str(if at == 0 { "{\"name\":\"" } else { ",{\"name\":\"" });
        escape(&mut out, &of.name);
        out.push_str("\",\"peer\":\"");
        escape(&mut out, &of.peer);
        let _ = write!(out, "\",\"service\":\"{}\"", of.purpose.word());
        for (name, _, _, figure) in tables(of.purpose) {
            let _ = write!(out, ",\"{name}\":{}", figure(of));
        }
        out.push('}');
    }
    out.push_str("]}\n");
    out
}

/// As both formats have it within quotes: neither knows other escapes that are needed here. Prometheus takes control
/// characters as they are, and JSON does not, so they become what stands for what cannot be shown.
fn escape(out: &mut String, text: &str) {
    for letter in text.chars() {
        match letter {
            '"' | '\\' => out.extend(['\\', letter]),
            '\n' => out.push_str("\\n"),
            letter if letter.is_control() => out.push(char::REPLACEMENT_CHARACTER),
            letter => out.push(letter),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_stays_within_its_quotes() {
        let mut out = String::new();
        escape(&mut out, "a\"b\\c\nd\u{7}e");
        assert_eq!(out, "a\\\"b\\\\c\\nd\u{fffd}e");
    }

    #[test]
    fn names_are_those_of_the_format_and_each_is_there_once() {
        let of_server = OF_SERVER.iter().map(|(name, rises, ..)| (*name, *rises));
        let of_replicas = OF_STREAM.iter().chain(OF_RESTORE).map(|(name, rises, ..)| (*name, *rises));
        let mut names: Vec<_> = of_server.chain(of_replicas).collect();
        for (name, rises) in &names {
            assert!(name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'), "{name}");
            assert_eq!(name.ends_with("_total"), *rises == Rises::Only, "{name}");
        }
        let count = names.len();
        names.sort_by_key(|(name, _)| *name);
        names.dedup_by_key(|(name, _)| *name);
        assert_eq!(names.len(), count);
    }
}
