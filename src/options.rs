//! Options: keys, ranges, defaults and meanings, in one table. Everything else is made from it.
//!
//! The interface sets options by strings, so a new option does not change the interface. Each handle copies the options
//! that concern it, and its documentation names the first part of their keys.

use std::time::Duration;

use crate::chunk::ChunkLimits;
use crate::diagnostics::Logger;
use crate::error::{Error, Result};
use crate::log::ScannerOptions;
use crate::log::order::WindowLimits;
use crate::log::tail::TailOptions;
use crate::reactor::ReactorOptions;
use crate::reactor::session::SessionOptions;
use crate::stream::{BeyondSent, StreamOptions};
use crate::sys::thread::Threads;
use crate::transport::local::LocalOptions;
use crate::transport::socket::SocketOptions;

/// What values an option takes.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// A whole number in this range, in the unit that the key's last part names.
    Number {
        /// Smallest value.
        min: u64,
        /// Largest value.
        max: u64,
        /// Value when nothing is set.
        default: u64,
    },
    /// One of these words; the first is the default.
    Word(&'static [&'static str]),
}

/// One option.
#[derive(Clone, Copy, Debug)]
pub struct Spec {
    /// Its name.
    pub key: &'static str,
    /// What it takes.
    pub kind: Kind,
    /// What it does, for people.
    pub meaning: &'static str,
}

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;
const GIB: u64 = 1024 * MIB;
const DAY_MS: u64 = 86_400_000;

/// Makes the table and an index into it for each option.
macro_rules! options {
    ($($name:ident: $key:literal, $kind:expr, $meaning:literal;)*) => {
        /// Every option there is.
        pub const TABLE: &[Spec] = &[$(Spec { key: $key, kind: $kind, meaning: $meaning }),*];

        #[derive(Clone, Copy)]
        #[allow(non_camel_case_types, clippy::upper_case_acronyms, reason = "named like the keys")]
        enum Index { $($name),* }
    };
}

const fn number(min: u64, max: u64, default: u64) -> Kind {
    Kind::Number { min, max, default }
}

options! {
    log_settle_ms: "log.settle_ms", number(1, DAY_MS, 3000),
        "How long the log must stand still before unreadable bytes in it count as damage and no longer as being written.";
    log_gap_patience_ms: "log.gap_patience_ms", number(1, DAY_MS, 60_000),
        "How long a VLSN may be missing at the live end of the log, while later ones are there, before it counts as a gap.";
    log_ahead: "log.ahead", Kind::Word(&["error", "wait"]),
        "What a start does that stays more than one above the log's last VLSN for log.gap_patience_ms: end with an error, or wait for as long as it takes.";
    log_read_bytes: "log.read_bytes", number(64 * KIB, 64 * MIB, MIB + 64 * KIB),
        "How many bytes of the log are read at once, at most; more for a single larger entry, and 256 KiB where entries are small.";
    log_reorder_entries_max: "log.reorder_entries_max", number(1, 64 * MIB, 256 * KIB),
        "How many VLSNs above a missing one an entry is still held back for it; 16 bytes of memory each.";
    log_reorder_bytes_max: "log.reorder_bytes_max", number(1, 1024 * GIB, GIB),
        "How many bytes of the log the entries held back for a missing one may span; these bytes are not kept in memory.";
    log_proof_bytes_max: "log.proof_bytes_max", number(64 * KIB, 64 * GIB, 64 * MIB),
        "How many bytes behind a hole in a log file the reader looks for the expected VLSN, which proves that the hole hides nothing.";
    channel_connect_timeout_ms: "channel.connect_timeout_ms", number(1, DAY_MS, 10_000),
        "How long a connection may take to be made.";
    channel_write_timeout_ms: "channel.write_timeout_ms", number(1, DAY_MS, 30_000),
        "How long the peer may take no byte of a message that the host itself sends before sending fails.";
    channel_keepalive_ms: "channel.keepalive_ms", number(0, DAY_MS, 60_000),
        "After how long a TCP peer that is gone without a word is noticed, about, in whole seconds and at least 4; a runner on Linux notices it also while bytes are under way to it. 0 leaves the socket as it is.";
    channel_local_queue_bytes_max: "channel.local_queue_bytes_max", number(1, 64 * GIB, MIB),
        "How many bytes one end of an in-memory pair may send before the other end receives; a single message may be larger.";
    channel_send_buffer_bytes: "channel.send_buffer_bytes", number(0, GIB, 0),
        "The kernel's send buffer of the socket; 0 leaves it to the kernel, which adapts it.";
    channel_quick_acks: "channel.quick_acks", Kind::Word(&["tail", "never"]),
        "When bytes from a TCP peer are confirmed to its system at once: while nothing is left to send and acks are awaited, or never. Otherwise a confirmation takes up to 40 ms, and real replicas hold the rest of an ack back until it comes. Linux only.";
    runner_write_timeout_ms: "runner.write_timeout_ms", number(1, DAY_MS, 30_000),
        "How long a replica may take no byte, while there are some to send, before the run fails.";
    runner_linger_ms: "runner.linger_ms", number(0, DAY_MS, 1000),
        "How long a run that ends waits, after its last byte was sent, for the replica to close; it takes acks meanwhile.";
    runner_safety_look_ms: "runner.safety_look_ms", number(10, DAY_MS, 5000),
        "After how long the log is looked at without a notification, in case one was lost.";
    runner_unnotified_look_ms: "runner.unnotified_look_ms", number(1, DAY_MS, 100),
        "How often the log is looked at where the system cannot notify of changes.";
    runner_chunk_bytes: "runner.chunk_bytes", number(4 * KIB, 16 * MIB, MIB),
        "How many bytes of frames are put together before they are sent, at most; the first chunks are smaller.";
    runner_queue_bytes_max: "runner.queue_bytes_max", number(4 * KIB, GIB, 512 * KIB),
        "While this many bytes wait to be sent, no more is read from the log.";
    runner_share_from_bytes: "runner.share_from_bytes", number(0, 64 * MIB, 4 * KIB),
        "Payloads of this size and larger are not copied, but sent from the memory that they were read into.";
    runner_stack_bytes: "runner.stack_bytes", number(256 * KIB, GIB, 8 * MIB),
        "How large the stack of each thread that calls the host's functions may grow: the runner's thread, and the two of a transport of the host's own. It is address space, and takes memory only as it is used.";
    source_order: "source.order", Kind::Word(&["dense", "rising"]),
        "Whether the VLSNs of a source of the host's own follow each other without a gap, as in a log, or only rise.";
    ack_beyond_sent: "ack.beyond_sent", Kind::Word(&["error", "accept"]),
        "What an ack above the highest VLSN sent does: end the run with an error, or count like any other, for replicas that others feed, too.";
    ack_queue_max: "ack.queue_max", number(1, 16 * MIB, 64 * KIB),
        "How many acks may wait to be polled; further acks are merged into the last.";
    feeder_queue_bytes_max: "feeder.queue_bytes_max", number(1, 64 * GIB, 64 * MIB),
        "How many bytes of messages a tracker's output queue may hold.";
}

/// A set of options.
#[derive(Clone)]
pub struct Options {
    /// By position in the table: the number, or the position of the word among the allowed words.
    values: Vec<u64>,
    /// Receives the messages of the handles made with these options. By default there is no logger.
    pub logger: Logger,
}

impl std::fmt::Debug for Options {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_map().entries(TABLE.iter().map(|spec| (spec.key, self.get(spec.key).unwrap_or_default()))).finish()
    }
}

impl Default for Options {
    fn default() -> Options {
        let default = |spec: &Spec| match spec.kind {
            Kind::Number { default, .. } => default,
            Kind::Word(_) => 0,
        };
        Options { values: TABLE.iter().map(default).collect(), logger: None }
    }
}

impl Options {
    /// Sets the option `key`. An error, and nothing set, if there is no such option or it does not take the value.
    pub fn set(&mut self, key: &str, value: &str) -> Result<()> {
        let invalid = |reason: String| Error::InvalidOption { key: key.to_owned(), reason };
        let at = position(key).ok_or_else(|| no_such_option(key))?;
        self.values[at] = match TABLE[at].kind {
            Kind::Number { min, max, .. } => value
                .parse()
                .ok()
                .filter(|number| (min..=max).contains(number))
                .ok_or_else(|| invalid(format!("`{value}` is not a whole number from {min} to {max}")))?,
            Kind::Word(words) => words
                .iter()
                .position(|&word| word == value)
                .ok_or_else(|| invalid(format!("`{value}` is not one of {}", words.join(", "))))?
                as u64,
        };
        Ok(())
    }

    /// The value of the option `key`, as it would be set. An error if there is no such option.
    pub fn value_of(&self, key: &str) -> Result<String> {
        self.get(key).ok_or_else(|| no_such_option(key))
    }

    /// The value of the option `key`, as it would be set.
    pub fn get(&self, key: &str) -> Option<String> {
        let at = position(key)?;
        Some(match TABLE[at].kind {
            Kind::Number { .. } => self.values[at].to_string(),
            Kind::Word(words) => words[usize::try_from(self.values[at]).unwrap_or(0)].to_owned(),
        })
    }

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

    /// For a stream.
    pub fn stream(&self) -> StreamOptions {
        let accept = self.number(Index::ack_beyond_sent) == 1;
        StreamOptions {
            beyond_sent: if accept { BeyondSent::Accept } else { BeyondSent::Error },
            chunk: ChunkLimits {
                bytes: self.size(Index::runner_chunk_bytes),
                share_from: self.size(Index::runner_share_from_bytes),
                ..ChunkLimits::default()
            },
            queue_bytes_max: self.size(Index::runner_queue_bytes_max),
        }
    }

    /// For a session.
    pub fn session(&self) -> SessionOptions {
        SessionOptions {
            write_timeout: self.millis(Index::runner_write_timeout_ms),
            linger: self.millis(Index::runner_linger_ms),
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

    /// How many acks wait to be polled.
    pub fn ack_queue_max(&self) -> usize {
        self.size(Index::ack_queue_max)
    }

    /// How many bytes a tracker's queue holds.
    pub fn feeder_queue_bytes_max(&self) -> usize {
        self.size(Index::feeder_queue_bytes_max)
    }
}

fn position(key: &str) -> Option<usize> {
    TABLE.iter().position(|spec| spec.key == key)
}

fn no_such_option(key: &str) -> Error {
    let keys: Vec<&str> = TABLE.iter().map(|spec| spec.key).collect();
    Error::InvalidOption {
        key: key.to_owned(),
        reason: format!("there is no such option; there are {}", keys.join(", ")),
    }
}

/// The reference page of all options, as it stands in `docs/options.md`.
pub fn reference() -> String {
    use std::fmt::Write;
    let mut page = String::from(
        "# Options\n\n\
         Set an option with `nxf_options_set(options, \"key\", \"value\", &err)`. `nxf_log_open` and `nxf_scanner_open` read `log.*`,\n\
         the functions that make channels read `channel.*`, `nxf_runner_new` reads `runner.*` and `ack.*`,\n\
         `nxf_scanner_from_callbacks` reads `source.*`, and trackers read `feeder.*`. Each copies the options that it is given.\n\
         `nxf_options_get` reads a value, and `nxf_options_describe` lists what is on this page.\n\n\
         This page is made from the table in `src/options.rs`; a test fails when the two differ.\n\n\
         | key | values | default | meaning |\n| --- | --- | --- | --- |\n",
    );
    for spec in TABLE {
        let (values, default) = match spec.kind {
            Kind::Number { min, max, default } => (format!("{min} to {max}"), default.to_string()),
            Kind::Word(words) => {
                (words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", "), format!("`{}`", words[0]))
            }
        };
        let _ = writeln!(page, "| `{}` | {values} | {default} | {} |", spec.key, spec.meaning);
    }
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_option_takes_its_default_and_its_bounds_and_nothing_beyond() {
        let mut options = Options::default();
        for spec in TABLE {
            let default = options.get(spec.key).unwrap();
            options.set(spec.key, &default).unwrap();
            match spec.kind {
                Kind::Number { min, max, default } => {
                    assert!((min..=max).contains(&default), "{}", spec.key);
                    for (value, ok) in [
                        (min.to_string(), true),
                        (max.to_string(), true),
                        ((max + 1).to_string(), false),
                        ("-1".into(), false),
                        ("1.5".into(), false),
                        ("many".into(), false),
                        (String::new(), false),
                    ] {
                        assert_eq!(options.set(spec.key, &value).is_ok(), ok, "{} = {value}", spec.key);
                    }
                    assert_eq!(options.get(spec.key), Some(max.to_string()));
                }
                Kind::Word(words) => {
                    for word in words {
                        options.set(spec.key, word).unwrap();
                        assert_eq!(options.get(spec.key).as_deref(), Some(*word));
                    }
                    assert!(options.set(spec.key, "nonsense").is_err());
                }
            }
        }
    }

    #[test]
    fn errors_name_the_key_the_value_and_what_is_allowed() {
        let mut options = Options::default();
        let text = |result: Result<()>| result.unwrap_err().to_string();
        let unknown = text(options.set("log.settle", "1"));
        assert!(unknown.contains("`log.settle`") && unknown.contains("log.settle_ms"), "{unknown}");
        let bad = text(options.set("log.settle_ms", "soon"));
        assert!(bad.contains("`log.settle_ms`") && bad.contains("`soon`") && bad.contains("86400000"), "{bad}");
        let word = text(options.set("ack.beyond_sent", "maybe"));
        assert!(word.contains("error, accept"), "{word}");
        assert_eq!(options.get("nothing"), None);
    }

    #[test]
    fn the_reference_page_is_up_to_date() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/options.md");
        if std::env::var_os("NXF_UPDATE_DOCS").is_some() {
            std::fs::write(path, reference()).unwrap();
        }
        let page = std::fs::read_to_string(path).unwrap_or_default();
        assert!(page == reference(), "docs/options.md is stale: run the tests once with NXF_UPDATE_DOCS=1");
    }
}
