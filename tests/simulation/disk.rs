//! The disk: a directory of files in memory that plays the seam [`Files`], with a clock that only the run moves.
//!
//! What the writer does comes as [`Op`]s. An op is atomic, and happens either between two looks of the reader or in
//! the middle of one, between two of its calls. Open files outlive their names, as on a real disk.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use noxu_feeder::log::files::{DirectoryStamp, FileIdentity, Files, LogFile};
use noxu_feeder::log::format::{FLAG_INVISIBLE, Lsn};
use noxu_feeder::memory::NoMemory;

use crate::oracle::{self, Seen};
use crate::rng::Rng;
use crate::situations::{Situation, Tally};
use crate::trace::Trace;
use crate::truth::{RecordId, Truth};

/// A change of the disk.
#[derive(Clone, Debug)]
pub(crate) enum Op {
    Create {
        file: u32,
        inode: usize,
        bytes: Vec<u8>,
    },
    Write {
        inode: usize,
        offset: u64,
        bytes: Vec<u8>,
        /// The entries that are whole with it.
        completes: Vec<RecordId>,
    },
    Truncate {
        inode: usize,
        len: u64,
    },
    Unlink {
        file: u32,
    },
    /// A rollback takes an entry back.
    Hide {
        record: RecordId,
    },
    /// Bytes change that nobody wrote. What was an entry there is none any more, or only stands wrong.
    Damage {
        spoils: bool,
        inode: usize,
        offset: u64,
        bytes: Vec<u8>,
    },
}

/// What the next call of a kind fails with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Fault {
    List,
    Open,
    Read,
    /// A read for which there is no memory.
    Memory,
}

/// How well the file system tells changes of a directory apart.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Stamps {
    /// Its times tick every so many milliseconds.
    Ticking(u64),
    /// Its times are others at each look, and so say nothing.
    Useless,
}

#[derive(Debug, Default)]
pub(crate) struct Inode {
    pub(crate) bytes: Vec<u8>,
    /// The number in its name, for as long as it has one.
    pub(crate) name: Option<u32>,
    /// The number that it had before it was deleted.
    pub(crate) was_named: Option<u32>,
    /// When its length last changed.
    pub(crate) changed: Duration,
    /// When which of its bytes changed: from the first offset to the second.
    writes: Vec<(Duration, u64, u64)>,
    pub(crate) records: Vec<RecordId>,
}

#[derive(Debug)]
pub(crate) struct State {
    pub(crate) now: Duration,
    /// When reader and writer were last frozen until.
    pub(crate) thawed: Duration,
    /// Counts the ops.
    pub(crate) tick: u64,
    pub(crate) inodes: Vec<Inode>,
    pub(crate) names: BTreeMap<u32, usize>,
    pub(crate) directory_changed: Duration,
    pub(crate) stamps: Stamps,
    stamps_asked: u64,
    /// Whether the directory was listed since it changed.
    is_listed: bool,
    pub(crate) fault: Option<Fault>,
    /// How many calls failed but for want of memory.
    pub(crate) failed_calls: u64,
    /// Once in so many reads that may bring less than there is, they do.
    pub(crate) short_read_odds: u64,
    pub(crate) truth: Truth,
    pub(crate) trace: Trace,
    pub(crate) seen: Tally,
    /// The numbers of files that were deleted and made anew.
    pub(crate) made_anew: BTreeSet<u32>,
    /// The lowest position that was read, behind the beginning of its file, since somebody put `None` here.
    pub(crate) lowest_read: Option<u64>,
    /// Nothing happens meanwhile, and nothing is noted.
    is_undisturbed: bool,
    scheduled: VecDeque<Op>,
    rng: Rng,
}

/// The directory, as reader and writer see it.
#[derive(Clone, Debug)]
pub(crate) struct Disk(Arc<Mutex<State>>);

impl Disk {
    pub(crate) fn new(stamps: Stamps, rng: Rng) -> Disk {
        Disk(Arc::new(Mutex::new(State {
            now: Duration::ZERO,
            thawed: Duration::ZERO,
            tick: 1,
            inodes: Vec::new(),
            names: BTreeMap::new(),
            directory_changed: Duration::ZERO,
            stamps,
            stamps_asked: 0,
            is_listed: false,
            fault: None,
            failed_calls: 0,
            short_read_odds: 0,
            truth: Truth::default(),
            trace: Trace::new(),
            seen: Tally::default(),
            made_anew: BTreeSet::new(),
            lowest_read: None,
            is_undisturbed: false,
            scheduled: VecDeque::new(),
            rng,
        })))
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("no thread panics while it holds this")
    }

    /// What `ask` finds out changes nothing, and nothing happens meanwhile.
    pub(crate) fn undisturbed<T>(&self, ask: impl FnOnce(&Disk) -> T) -> T {
        self.state().is_undisturbed = true;
        let answer = ask(self);
        self.state().is_undisturbed = false;
        answer
    }

    /// A call of the reader begins: perhaps the writer was faster.
    fn called(&self, fault: Fault) -> io::Result<MutexGuard<'_, State>> {
        let mut state = self.state();
        if state.is_undisturbed {
            return Ok(state);
        }
        while !state.scheduled.is_empty() && state.rng.one_in(3) {
            let op = state.scheduled.pop_front().expect("just seen");
            state.apply_noting(op, "meanwhile ");
        }
        if let Some(planned) = state.fault
            && (planned == fault || planned == Fault::Memory && fault == Fault::Read)
        {
            state.fault = None;
            state.note(format!("FAULT {planned:?}"));
            state.seen.note(match planned {
                Fault::List => Situation::ListingFails,
                Fault::Open => Situation::OpeningFails,
                Fault::Read => Situation::ReadingFails,
                Fault::Memory => Situation::NoMemory,
            });
            if planned == Fault::Memory {
                return Err(NoMemory { bytes: 1 << 20 }.into());
            }
            state.failed_calls += 1;
            let errno = state.rng.pick(&[libc::EIO, libc::ENOMEM, libc::EMFILE]);
            return Err(io::Error::from_raw_os_error(errno));
        }
        Ok(state)
    }
}

impl State {
    pub(crate) fn note(&mut self, line: String) {
        let (now, tick) = (self.now.as_millis(), self.tick);
        self.trace.note(format!("{now:>6} ms #{tick} {line}"));
    }

    /// How much a read brings that has to bring `least` of what is `there`.
    fn draw_read(&mut self, least: usize, there: usize) -> usize {
        if self.is_undisturbed || !self.rng.one_in(self.short_read_odds) {
            return there;
        }
        self.seen.note(Situation::ReadsShort);
        least + self.rng.index(there - least)
    }

    /// A file that has no name yet.
    pub(crate) fn new_inode(&mut self) -> usize {
        self.inodes.push(Inode::default());
        self.inodes.len() - 1
    }

    /// Has an op happen in the middle of the reader's next calls.
    pub(crate) fn schedule(&mut self, op: Op) {
        self.scheduled.push_back(op);
    }

    /// What was scheduled happens now at the latest.
    pub(crate) fn catch_up(&mut self) {
        while let Some(op) = self.scheduled.pop_front() {
            self.apply_noting(op, "");
        }
    }

    pub(crate) fn apply(&mut self, op: Op) {
        self.catch_up();
        self.apply_noting(op, "");
    }

    fn apply_noting(&mut self, op: Op, when: &str) {
        self.tick += 1;
        let tick = self.tick;
        let line = match &op {
            Op::Create { file, inode, bytes } => {
                format!("create file {file} (inode {inode}) with {} bytes", bytes.len())
            }
            Op::Write { inode, offset, bytes, completes } => {
                let vlsns: Vec<u64> = completes.iter().filter_map(|&id| self.truth.records[id].vlsn).collect();
                let shown = &vlsns[..vlsns.len().min(12)];
                let end = offset + bytes.len() as u64;
                format!("write inode {inode} {offset}..{end} VLSNs {shown:?}")
            }
            Op::Truncate { inode, len } => format!("truncate inode {inode} to {len}"),
            Op::Unlink { file } => format!("unlink file {file}"),
            Op::Hide { record } => {
                format!("roll back VLSN {:?} (record {record})", self.truth.records[*record].vlsn)
            }
            Op::Damage { inode, offset, bytes, .. } => format!("DAMAGE inode {inode} at {offset}: {bytes:02x?}"),
        };
        self.note(format!("{when}{line}"));
        match op {
            Op::Create { file, inode, bytes } => {
                assert!(self.names.insert(file, inode).is_none(), "a name is taken");
                if self.inodes.iter().any(|other| other.was_named == Some(file)) && self.made_anew.insert(file) {
                    self.seen.note(Situation::FileMadeAnew);
                }
                self.inodes[inode].bytes = bytes;
                self.inodes[inode].name = Some(file);
                self.inodes[inode].changed = self.now;
                if let Stamps::Ticking(every @ 1000..) = self.stamps
                    && self.is_listed
                    && self.directory_changed.as_millis() as u64 / every == self.now.as_millis() as u64 / every
                {
                    self.seen.note(Situation::BornInOneTick);
                }
                self.is_listed = false;
                self.directory_changed = self.now;
            }
            Op::Write { inode, offset, bytes, completes } => {
                let to = &mut self.inodes[inode];
                let (begin, end) = (offset as usize, offset as usize + bytes.len());
                if to.bytes.len() < end {
                    to.bytes.resize(end, 0);
                    to.changed = self.now;
                }
                if to.bytes[begin..end] != bytes {
                    to.writes.push((self.now, begin as u64, end as u64));
                }
                to.bytes[begin..end].copy_from_slice(&bytes);
                for id in completes {
                    // Damage to the part that was there before stays.
                    let record = &mut self.truth.records[id];
                    if matches!(oracle::see(&to.bytes, record.offset), Seen::Entry { .. }) {
                        record.appeared = Some(tick);
                        record.appeared_at = Some(self.now);
                    }
                }
            }
            Op::Truncate { inode, len } => {
                let cut = &mut self.inodes[inode];
                cut.changed = self.now;
                cut.bytes.truncate(len as usize);
                for &id in &cut.records {
                    let record = &mut self.truth.records[id];
                    if record.is_there() && record.offset + record.len > len {
                        record.gone = Some(tick);
                    }
                }
            }
            Op::Unlink { file } => {
                let inode = self.names.remove(&file).expect("only what is there");
                self.inodes[inode].was_named = self.inodes[inode].name.take();
                self.directory_changed = self.now;
            }
            Op::Hide { record } => {
                let record = &mut self.truth.records[record];
                if !record.is_there() {
                    return;
                }
                record.gone = Some(tick);
                record.flags |= FLAG_INVISIBLE;
                let inode = &mut self.inodes[record.inode];
                inode.bytes[record.offset as usize + 5] |= FLAG_INVISIBLE;
            }
            Op::Damage { spoils, inode, offset, bytes } => {
                let hit = &mut self.inodes[inode];
                let (begin, end) = (offset as usize, offset as usize + bytes.len());
                hit.writes.push((self.now, begin as u64, end as u64));
                hit.bytes[begin..end].copy_from_slice(&bytes);
                for &id in &hit.records {
                    let record = &mut self.truth.records[id];
                    if spoils && record.is_there() && record.offset < end as u64 && record.offset + record.len > offset
                    {
                        record.gone = Some(tick);
                    }
                }
            }
        }
    }

    /// When the length of a file, or any of so many bytes at a position, last changed.
    pub(crate) fn changed_at(&self, at: Lsn, len: u64) -> Duration {
        let grown = self.names.get(&at.file()).map(|&inode| self.inodes[inode].changed);
        self.written_at(at, len).max(grown.unwrap_or_default())
    }

    /// When any of so many bytes at a position last changed.
    pub(crate) fn written_at(&self, at: Lsn, len: u64) -> Duration {
        let Some(&inode) = self.names.get(&at.file()) else { return Duration::ZERO };
        let (begin, end) = (u64::from(at.offset()), u64::from(at.offset()).saturating_add(len));
        let inode = &self.inodes[inode];
        let written = inode.writes.iter().filter(|&&(_, from, to)| from < end && begin < to).map(|&(when, ..)| when);
        written.max().unwrap_or_default()
    }

    /// The bytes of file `file`.
    pub(crate) fn bytes(&self, file: u32) -> Option<&[u8]> {
        self.names.get(&file).map(|&inode| &self.inodes[inode].bytes[..])
    }

    /// What stands at a position: in the file of that name or, where it was deleted, in what had the name, which whoever has
    /// it open reads to its end.
    pub(crate) fn seen_at(&self, at: Lsn) -> impl Iterator<Item = Seen> {
        let named = self.names.get(&at.file()).copied();
        let is_its = move |(inode, file): &(usize, &Inode)| match named {
            Some(named) => *inode == named,
            None => file.was_named == Some(at.file()),
        };
        let files = self.inodes.iter().enumerate().filter(is_its);
        files.map(move |(_, file)| oracle::see(&file.bytes, u64::from(at.offset())))
    }

    /// Position of a record of which the file still has its name.
    pub(crate) fn position(&self, id: RecordId) -> Option<u64> {
        let record = &self.truth.records[id];
        let file = self.inodes[record.inode].name?;
        Some(u64::from(file) << 32 | record.offset)
    }

    /// The highest VLSN in the log; 0 for none.
    pub(crate) fn highest_vlsn(&self) -> u64 {
        self.truth.highest_vlsn(|id, record| record.is_there() && self.position(id).is_some())
    }
}

impl Files for Disk {
    fn list(&self) -> io::Result<Vec<u32>> {
        let mut state = self.called(Fault::List)?;
        state.is_listed |= !state.is_undisturbed;
        Ok(state.names.keys().copied().collect())
    }

    fn stamp(&self) -> io::Result<DirectoryStamp> {
        let mut state = self.called(Fault::List)?;
        state.stamps_asked += 1;
        let changed_ns = match state.stamps {
            Stamps::Useless => i128::from(state.stamps_asked),
            Stamps::Ticking(every_ms) => {
                let every_ns = i128::from(every_ms) * 1_000_000;
                state.directory_changed.as_nanos() as i128 / every_ns * every_ns
            }
        };
        Ok(DirectoryStamp { modified_ns: changed_ns, changed_ns })
    }

    fn open(&self, number: u32) -> io::Result<Arc<dyn LogFile>> {
        let state = self.called(Fault::Open)?;
        match state.names.get(&number) {
            Some(&inode) => Ok(Arc::new(Handle { disk: self.clone(), inode })),
            None => Err(io::Error::from_raw_os_error(libc::ENOENT)),
        }
    }

    fn identity(&self, number: u32) -> io::Result<Option<FileIdentity>> {
        Ok(self.called(Fault::Open)?.names.get(&number).map(|&inode| identity(inode)))
    }

    fn path(&self) -> Option<&Path> {
        None
    }
}

fn identity(inode: usize) -> FileIdentity {
    FileIdentity { device: 7, inode: inode as u64 }
}

/// An open file.
struct Handle {
    disk: Disk,
    inode: usize,
}

impl LogFile for Handle {
    fn read_some_at(&self, into: &mut [u8], offset: u64, least: usize) -> io::Result<usize> {
        let mut state = self.disk.called(Fault::Read)?;
        let bytes = &state.inodes[self.inode].bytes;
        let from = bytes.len().min(offset as usize);
        let there = into.len().min(bytes.len() - from);
        let least = least.min(there);
        let count = if least < there { state.draw_read(least, there) } else { there };
        let read = &state.inodes[self.inode];
        into[..count].copy_from_slice(&read.bytes[from..from + count]);
        if let Some(file) = read.name.filter(|_| offset > 0) {
            let at = u64::from(file) << 32 | offset;
            state.lowest_read = Some(state.lowest_read.map_or(at, |lowest| lowest.min(at)));
        }
        Ok(count)
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.disk.called(Fault::Read)?.inodes[self.inode].bytes.len() as u64)
    }

    fn identity(&self) -> io::Result<FileIdentity> {
        self.disk.called(Fault::Open).map(|_| identity(self.inode))
    }
}
