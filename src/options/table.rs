//! Every option: its key, what it takes, its default and its meaning. The reference page is made from this table.

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

        /// Where each option stands in the table.
        #[derive(Clone, Copy)]
        #[allow(non_camel_case_types, clippy::upper_case_acronyms, reason = "named like the keys")]
        pub(super) enum Index { $($name),* }
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
    runner_ack_timeout_ms: "runner.ack_timeout_ms", number(0, DAY_MS, 0),
        "How long a replica may acknowledge nothing, while it has frames to acknowledge, before the run fails. 0 for as long as it takes: not every replica acknowledges soon.";
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
    server_threads: "server.threads", number(1, 256, 2),
        "How many threads of a server feed replicas, whatever their number. Two, so that a slow read of the log for one replica does not hold up all others; more where the network takes more than two threads can send.";
    server_connections_max: "server.connections_max", number(1, MIB, 1024),
        "How many connections a server has at once; whoever comes then is turned away.";
    server_greetings_max: "server.greetings_max", number(1, MIB, 128),
        "How many connections there may be that have not said what they want; when there is one more, the one that has had the longest time for it is closed.";
    server_name_timeout_ms: "server.name_timeout_ms", number(1, DAY_MS, 10_000),
        "How long a replica has to say what it wants, in all.";
    server_step_timeout_ms: "server.step_timeout_ms", number(1, DAY_MS, 30_000),
        "How long a replica has for each step after that, and the host to say who it is.";
    server_same_name: "server.same_name", Kind::Word(&["replaces", "refused"]),
        "What becomes of a replica whose name another one has that is being fed: it takes its place, or is turned away.";
    server_restore: "server.restore", Kind::Word(&["offered", "refused"]),
        "Whether replicas may fetch the files of the log.";
    server_restore_bytes_per_s: "server.restore_bytes_per_s", number(0, 1024 * GIB, 0),
        "How many bytes of files each restore sends in a second; 0 for as many as the replica takes.";
    server_ack_timeout_ms: "server.ack_timeout_ms", number(0, DAY_MS, 30_000),
        "How long a replica may acknowledge nothing, while it owes acks, before its stream fails; 0 for ever. Real replicas pause for some seconds now and then, and nothing is wrong with them.";
    server_behind_ms: "server.behind_ms", number(1, DAY_MS, 10_000),
        "How long a replica that has caught up may owe an ack, or an entry wait to be sent to it, before it counts as behind.";
    server_shared_bytes_max: "server.shared_bytes_max", number(0, 64 * GIB, 16 * MIB),
        "How many bytes of memory hold what was read of the log and laid out, for replicas that are behind the first of those near them; who falls out of that reads for itself, and meets the others again. Nothing is held while all are at the end.";
    server_events_max: "server.events_max", number(16, 16 * MIB, 4096),
        "How many events may wait to be polled, acks not counted, which are at most one for each replica.";
    server_redial_min_ms: "server.redial_min_ms", number(1, DAY_MS, 100),
        "How long a server waits at first before it dials a replica again; twice as long after each attempt that fails.";
    server_redial_max_ms: "server.redial_max_ms", number(1, DAY_MS, 30_000),
        "How long it waits at most.";
    source_order: "source.order", Kind::Word(&["dense", "rising"]),
        "Whether the VLSNs of a source of the host's own follow each other without a gap, as in a log, or only rise.";
    ack_beyond_sent: "ack.beyond_sent", Kind::Word(&["error", "accept"]),
        "What an ack above the highest VLSN sent does: end the run with an error, or count like any other, for replicas that others feed, too.";
    ack_queue_max: "ack.queue_max", number(1, 16 * MIB, 64 * KIB),
        "How many acks may wait to be polled; further acks are merged into the last.";
    feeder_queue_bytes_max: "feeder.queue_bytes_max", number(1, 64 * GIB, 64 * MIB),
        "How many bytes of messages a tracker's output queue may hold.";
}

/// The reference page of all options, as it stands in `docs/options.md`.
pub fn reference() -> String {
    use std::fmt::Write;
    let mut page = String::from(
        "# Options\n\n\
         Set an option with `nxf_options_set(options, \"key\", \"value\", &err)`. `nxf_log_open` and `nxf_scanner_open` read `log.*`,\n\
         the functions that make channels read `channel.*`, `nxf_runner_new` reads `runner.*` and `ack.*`,\n\
         `nxf_server_new` reads `server.*` and those of channels and runners,\n\
         `nxf_scanner_from_callbacks` reads `source.*`, and trackers read `feeder.*`. Each copies the options that it is given.\n\
         `nxf_options_get` reads a value, and `nxf_options_describe` lists what is on this page.\n\n\
         This page is made from the table in `src/options/table.rs`; a test fails when the two differ.\n\n\
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
    fn the_reference_page_is_up_to_date() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/options.md");
        if std::env::var_os("NXF_UPDATE_DOCS").is_some() {
            std::fs::write(path, reference()).unwrap();
        }
        let page = std::fs::read_to_string(path).unwrap_or_default();
        assert!(page == reference(), "docs/options.md is stale: run the tests once with NXF_UPDATE_DOCS=1");
    }
}
