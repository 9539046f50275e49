//! What is measured, how a result is read from it, and what it has to reach.

use super::Figures;
use super::Peer::{self, Alone, Limit, Nodelay, Original, Ours, Patient, Runners, Server, Told};
use super::fanout::Work;
use super::latency::Pace;

/// What one measurement does.
#[derive(Debug, Clone, Copy)]
pub enum Task {
    /// Feeds a sink a whole log.
    Feed,
    /// Reads a whole log, we and the limit many times, as both are soon done with what takes the original a second.
    Scan,
    /// Reads the last entry of a log.
    Seek,
    /// Appends, and waits for acks.
    Latency(Pace),
    /// Has nothing to do.
    Idle,
    /// Feeds so many replicas that are slow.
    Slow(usize),
    /// Feeds many replicas from one log.
    Fanout {
        /// What is done.
        work: Work,
        /// For how many.
        replicas: usize,
        /// How many connections there are besides that say nothing.
        silent: usize,
    },
}

/// Something that is measured in each round for each peer.
#[derive(Debug, Clone, Copy)]
pub struct Case {
    /// Its name.
    pub name: &'static str,
    /// What is done.
    pub task: Task,
    /// On this log.
    pub log: Option<&'static str>,
    /// The original does it on this one.
    pub short: Option<&'static str>,
    /// By whom.
    pub peers: &'static [Peer],
    /// Whether who receives is a real replica.
    pub is_real: bool,
}

const ALL: &[Peer] = &[Ours, Original, Limit];
const OURS_AND_ORIGINAL: &[Peer] = &[Ours, Original];
const OURS_AND_LIMIT: &[Peer] = &[Ours, Limit];
const LATENCY: &[Peer] = &[Ours, Told, Original, Nodelay, Limit];
const REAL: &[Peer] = &[Ours, Patient, Original];
const MANY: &[Peer] = &[Server, Runners];

/// How many replicas are many.
const REPLICAS: usize = 64;

/// What most cases have in common.
const CASE: Case = Case { name: "", task: Task::Idle, log: None, short: None, peers: ALL, is_real: false };

const fn feed(name: &'static str, log: &'static str, short: Option<&'static str>, peers: &'static [Peer]) -> Case {
    Case { name, task: Task::Feed, log: Some(log), short, peers, ..CASE }
}

const fn fanout(
    name: &'static str,
    work: Work,
    (replicas, silent): (usize, usize),
    log: Option<&'static str>,
    peers: &'static [Peer],
) -> Case {
    Case { name, task: Task::Fanout { work, replicas, silent }, log, peers, ..CASE }
}

impl Case {
    /// How many times a round does it with those for whom that takes no time to speak of; with the original, once.
    pub fn passes(&self) -> usize {
        if matches!(self.task, Task::Feed | Task::Fanout { work: Work::CatchUp, .. }) { 3 } else { 1 }
    }
}

/// Everything that is measured.
pub const CASES: &[Case] = &[
    feed("stream-100", "100", Some("100-short"), ALL),
    feed("stream-1k", "1k", Some("1k-short"), ALL),
    feed("stream-1k-files", "1k-files", Some("1k-files-short"), ALL),
    feed("stream-16k", "16k", Some("16k-short"), ALL),
    feed("stream-1m", "1m", Some("1m-short"), ALL),
    feed("stream-mixed", "mixed", Some("mixed-short"), ALL),
    feed("stream-order", "order", None, OURS_AND_LIMIT),
    feed("stream-disorder", "disorder", None, OURS_AND_LIMIT),
    Case { name: "scan", task: Task::Scan, log: Some("256"), peers: ALL, ..CASE },
    Case { name: "seek", task: Task::Seek, log: Some("16k"), peers: OURS_AND_ORIGINAL, ..CASE },
    Case { name: "latency-spaced", task: Task::Latency(Pace::Spaced), peers: LATENCY, ..CASE },
    Case { name: "latency-close", task: Task::Latency(Pace::Close), peers: LATENCY, ..CASE },
    Case { name: "real-apart", task: Task::Latency(Pace::Apart), peers: REAL, is_real: true, ..CASE },
    Case { name: "real-close", task: Task::Latency(Pace::Close), peers: REAL, is_real: true, ..CASE },
    Case { name: "real-bulk", task: Task::Feed, log: Some("100-short"), peers: REAL, is_real: true, ..CASE },
    Case { name: "idle", task: Task::Idle, log: Some("1k-files-short"), peers: OURS_AND_ORIGINAL, ..CASE },
    Case { name: "slow-1m", task: Task::Slow(8), log: Some("1m"), peers: OURS_AND_ORIGINAL, ..CASE },
    Case { name: "slow-mixed", task: Task::Slow(8), log: Some("mixed"), peers: OURS_AND_ORIGINAL, ..CASE },
    fanout("many-bulk", Work::CatchUp, (REPLICAS, 0), Some("1k-many"), &[Server, Limit, Runners]),
    fanout("many-live", Work::Live, (REPLICAS, 0), None, MANY),
    fanout("many-idle", Work::Rest, (REPLICAS, 0), Some("1k-files-short"), MANY),
    fanout("many-quiet", Work::Live, (1, 1000), None, &[Server, Alone]),
];

/// Which of two values is the better one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Better {
    /// The higher.
    Higher,
    /// The lower.
    Lower,
}

/// What a result has to reach.
#[derive(Debug, Clone, Copy)]
pub enum Goal {
    /// So many times better than the original.
    TimesOriginal(f64),
    /// At least this share of the machine's limit; or, where less is better, at most so many times it.
    OfLimit(f64),
    /// At least this share of our own result of another row.
    OfRow(&'static str, f64),
    /// At most this.
    AtMost(f64),
    /// At most as many bytes as the longest file has.
    AtMostAFile,
}

/// A line of the result.
#[derive(Debug, Clone, Copy)]
pub struct Row {
    /// Its name.
    pub name: &'static str,
    /// For people.
    pub title: &'static str,
    /// What its numbers are.
    pub unit: &'static str,
    /// The case that they come from.
    pub case: &'static str,
    /// Which of two is better.
    pub better: Better,
    /// Who stands in the first column.
    pub subject: Peer,
    /// Who stands in the original's.
    pub original: Peer,
    /// How a number is read from the figures.
    pub value: fn(&Figures) -> Option<f64>,
    /// What it has to reach.
    pub goals: &'static [Goal],
}

fn entries_rate(figures: &Figures) -> Option<f64> {
    Some(figures.get("entries")? / figures.get("seconds")? / 1e3)
}

fn bytes_rate(figures: &Figures) -> Option<f64> {
    Some(figures.get("log_bytes")? / figures.get("seconds")? / 1e6)
}

fn sent_entries_rate(figures: &Figures) -> Option<f64> {
    Some(figures.get("entries")? / figures.get("sent_seconds")? / 1e3)
}

fn sent_bytes_rate(figures: &Figures) -> Option<f64> {
    Some(figures.get("log_bytes")? / figures.get("sent_seconds")? / 1e6)
}

fn cpu_per_entry(figures: &Figures) -> Option<f64> {
    Some((figures.get("cpu_user")? + figures.get("cpu_system")?) / figures.get("entries")? * 1e9)
}

const ENTRIES: &str = "1000 entries/s";
const BYTES: &str = "MB/s";
const MICROS: &str = "us";

const fn rate(
    name: &'static str,
    title: &'static str,
    case: &'static str,
    value: fn(&Figures) -> Option<f64>,
    unit: &'static str,
    goals: &'static [Goal],
) -> Row {
    Row { name, title, unit, case, better: Better::Higher, subject: Ours, original: Original, value, goals }
}

const fn cost(
    name: &'static str,
    title: &'static str,
    case: &'static str,
    value: fn(&Figures) -> Option<f64>,
    unit: &'static str,
    goals: &'static [Goal],
) -> Row {
    Row { name, title, unit, case, better: Better::Lower, subject: Ours, original: Original, value, goals }
}

/// A server, against runners.
const fn many(row: Row) -> Row {
    Row { subject: Server, original: Runners, ..row }
}

/// A server with many who are quiet, against one without.
const fn quiet(row: Row) -> Row {
    Row { subject: Server, original: Alone, ..row }
}

const CPU: fn(&Figures) -> Option<f64> = |figures| figures.get("cpu");
const P50: fn(&Figures) -> Option<f64> = |figures| figures.get("p50");
const TIMES_READ: fn(&Figures) -> Option<f64> = |figures| figures.get("times_read");
const TIMES_LAID_OUT: fn(&Figures) -> Option<f64> = |figures| figures.get("times_laid_out");
const P99: fn(&Figures) -> Option<f64> = |figures| figures.get("p99");

/// The limit with its two threads on two cores; the others as they are.
const P50_APART: fn(&Figures) -> Option<f64> = |figures| figures.get("apart_p50").or_else(|| figures.get("p50"));

use Goal::{AtMost, AtMostAFile, OfLimit, OfRow, TimesOriginal};

/// The lines of the result.
pub const ROWS: &[Row] = &[
    rate("100", "stream, 100 B", "stream-100", entries_rate, ENTRIES, &[TimesOriginal(60.0)]),
    rate("100-sent", "to the last send", "stream-100", sent_entries_rate, ENTRIES, &[]),
    rate("1k", "stream, 1 KiB", "stream-1k", bytes_rate, BYTES, &[TimesOriginal(25.0), OfLimit(1.5 / 2.3)]),
    rate("1k-sent", "to the last send", "stream-1k", sent_bytes_rate, BYTES, &[]),
    rate("1k-files", "1 KiB over 100 files", "stream-1k-files", bytes_rate, BYTES, &[OfRow("1k", 0.9)]),
    rate("16k", "stream, 16 KiB", "stream-16k", bytes_rate, BYTES, &[OfLimit(0.9)]),
    rate("16k-sent", "to the last send", "stream-16k", sent_bytes_rate, BYTES, &[]),
    rate("1m", "stream, 1 MiB", "stream-1m", bytes_rate, BYTES, &[OfLimit(0.9)]),
    rate("1m-sent", "to the last send", "stream-1m", sent_bytes_rate, BYTES, &[]),
    rate("mixed", "mixed log, 50 to 4000 B", "stream-mixed", bytes_rate, BYTES, &[]),
    rate("order", "commits in order", "stream-order", entries_rate, ENTRIES, &[]),
    rate("disorder", "by 8 committers", "stream-disorder", entries_rate, ENTRIES, &[OfRow("order", 0.7)]),
    rate("scan", "scan alone, 256 B", "scan", entries_rate, ENTRIES, &[TimesOriginal(100.0)]),
    cost(
        "spaced-p50",
        "ack, appends spaced, p50",
        "latency-spaced",
        P50,
        MICROS,
        &[TimesOriginal(200.0), OfLimit(2.5)],
    ),
    cost("spaced-apart", "ping-pong on two cores", "latency-spaced", P50_APART, MICROS, &[]),
    cost(
        "spaced-readable",
        "from the end of the append, p50",
        "latency-spaced",
        |figures| figures.get("readable_p50").or_else(|| figures.get("p50")),
        MICROS,
        &[],
    ),
    cost("spaced-p99", "p99", "latency-spaced", P99, MICROS, &[TimesOriginal(50.0)]),
    Row {
        subject: Told,
        original: Nodelay,
        ..cost("told-p50", "p50, host notifies; original with NODELAY", "latency-spaced", P50, MICROS, &[])
    },
    cost("close-p50", "ack, back to back, p50", "latency-close", P50, MICROS, &[TimesOriginal(200.0), OfLimit(2.5)]),
    cost("close-apart", "ping-pong on two cores", "latency-close", P50_APART, MICROS, &[]),
    cost("close-p99", "p99", "latency-close", P99, MICROS, &[TimesOriginal(50.0)]),
    Row {
        subject: Told,
        original: Nodelay,
        ..cost("told-close-p50", "p50, host notifies; original with NODELAY", "latency-close", P50, MICROS, &[])
    },
    cost(
        "real-apart",
        "ack by a real replica, appends 20 ms apart, p50",
        "real-apart",
        P50,
        MICROS,
        &[TimesOriginal(50.0)],
    ),
    Row {
        original: Patient,
        ..cost(
            "real-patient",
            "p50, against ours, quick_acks = never",
            "real-apart",
            P50,
            MICROS,
            &[TimesOriginal(50.0)],
        )
    },
    cost("real-p99", "p99", "real-apart", P99, MICROS, &[]),
    cost("real-close", "ack by a real replica, back to back, p50", "real-close", P50, MICROS, &[TimesOriginal(50.0)]),
    rate("real-bulk", "stream to a real replica, 100 B", "real-bulk", entries_rate, ENTRIES, &[TimesOriginal(1.0)]),
    Row {
        original: Patient,
        ..rate(
            "real-bulk-patient",
            "against ours, quick_acks = never",
            "real-bulk",
            entries_rate,
            ENTRIES,
            &[TimesOriginal(0.95)],
        )
    },
    cost("idle", "idle, wake-ups", "idle", |figures| figures.get("wakeups"), "1/s", &[AtMost(1.0)]),
    cost("idle-cpu", "idle, CPU", "idle", |figures| figures.get("cpu_ms"), "ms/s", &[AtMost(0.1)]),
    cost(
        "seek",
        "seek to the last of 2 GiB",
        "seek",
        |figures| Some(figures.get("seconds")? * 1e3),
        "ms",
        &[TimesOriginal(100.0)],
    ),
    cost(
        "seek-bytes",
        "bytes read for it",
        "seek",
        |figures| Some(figures.get("read_bytes")? / 1e6),
        "MB",
        &[AtMostAFile],
    ),
    cost(
        "memory",
        "memory per runner, 1 MiB, slow",
        "slow-1m",
        |figures| Some(figures.get("resident")? / 1048576.0),
        "MiB",
        &[AtMost(4.0)],
    ),
    cost(
        "memory-mixed",
        "mixed log, slow",
        "slow-mixed",
        |figures| Some(figures.get("resident")? / 1048576.0),
        "MiB",
        &[AtMost(4.0)],
    ),
    cost("cpu", "CPU per entry, 100 B", "stream-100", cpu_per_entry, "ns", &[TimesOriginal(60.0)]),
    many(rate(
        "many",
        "64 replicas, stream, 1 KiB",
        "many-bulk",
        |figures| Some(figures.get("bytes")? / figures.get("seconds")? / 1e6),
        BYTES,
        &[TimesOriginal(2.0), OfLimit(0.8)],
    )),
    many(cost("many-cpu", "CPU for a frame", "many-bulk", cpu_per_entry, "ns", &[])),
    many(cost("many-read", "how often the log is read", "many-bulk", TIMES_READ, "times", &[AtMost(1.1)])),
    many(cost("many-laid-out", "how often a frame is laid out", "many-bulk", TIMES_LAID_OUT, "times", &[AtMost(1.01)])),
    many(cost("many-live-cpu", "64 replicas, an append, CPU", "many-live", CPU, MICROS, &[TimesOriginal(7.0)])),
    many(cost("many-live", "to the last of 64 acks, p50", "many-live", P50, MICROS, &[TimesOriginal(4.0)])),
    many(cost("many-live-p99", "p99", "many-live", P99, MICROS, &[])),
    many(cost(
        "many-live-laid-out",
        "how often a frame is laid out",
        "many-live",
        TIMES_LAID_OUT,
        "times",
        &[AtMost(1.0)],
    )),
    many(cost(
        "many-idle-memory",
        "64 replicas, idle, memory",
        "many-idle",
        |figures| Some(figures.get("resident")? / 1e6),
        "MB",
        &[AtMost(10.0)],
    )),
    many(cost("many-idle-threads", "threads", "many-idle", |figures| figures.get("threads"), "", &[AtMost(8.0)])),
    many(cost(
        "many-idle-descriptors",
        "descriptors",
        "many-idle",
        |figures| figures.get("descriptors"),
        "",
        &[AtMost(2.0 * REPLICAS as f64 + 8.0)],
    )),
    many(cost("many-idle", "wake-ups", "many-idle", |figures| figures.get("wakeups"), "1/s", &[AtMost(1.0)])),
    many(cost("many-idle-cpu", "CPU", "many-idle", |figures| figures.get("cpu_ms"), "ms/s", &[AtMost(0.1)])),
    quiet(cost("many-quiet-cpu", "1000 are silent, an append, CPU", "many-quiet", CPU, MICROS, &[TimesOriginal(0.9)])),
    quiet(cost("many-quiet", "to the ack, p50", "many-quiet", P50, MICROS, &[TimesOriginal(0.9)])),
];
