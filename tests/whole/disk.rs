//! The log: files in memory, a writer that takes VLSNs out of order and writes entries in pieces, and the directory's
//! notification, which is not to be relied on.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::os::fd::RawFd;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use noxu_feeder::log::files::{DirectoryStamp, FileIdentity, Files, LogFile, Notification};
use noxu_feeder::log::format::{FileHeader, encode_entry};

use crate::judge::Met;
use crate::rng::Rng;
use crate::world::{Shared, World};

/// The number that stands for the notification's descriptor of the first log; those of the others follow.
pub(crate) const WATCH_FD: RawFd = 1_000_000;

/// A log: its files with who writes them, and the directory's notification.
#[derive(Debug)]
pub(crate) struct SimLog {
    pub(crate) writer: Writer,
    pub(crate) watch: WatchState,
}

/// The log and who writes it.
#[derive(Debug)]
pub(crate) struct Writer {
    /// What tells its entries from those of another log.
    salt: u64,
    pub(crate) files: BTreeMap<u32, Vec<u8>>,
    pub(crate) changed: Duration,
    /// How many entries it writes in all.
    entries: u64,
    next_vlsn: u64,
    /// VLSNs that were taken and not appended yet.
    taken: Vec<u64>,
    /// The rest of an entry of which the beginning is written.
    rest: Vec<u8>,
    /// The VLSN that this completes.
    completes: Option<u64>,
    /// Of the file being written: where its last entry begins.
    last: u32,
    file_bytes_max: usize,
    disorder: usize,
    torn_odds: u64,
    large_odds: u64,
    /// The first VLSN of the log.
    pub(crate) first: u64,
    /// Where each entry begins, and those with a VLSN by that.
    begins: BTreeSet<(u32, u32)>,
    places: BTreeMap<u64, (u32, u32)>,
    /// Up to which VLSN every one is whole on disk.
    pub(crate) whole: u64,
    whole_beyond: Vec<u64>,
}

impl Writer {
    /// A writer for a connection that holds `capacity` bytes: through a narrow one no large entries are sent, which would
    /// take all the time there is.
    pub(crate) fn draw(rng: &mut Rng, capacity: usize, log: usize) -> Writer {
        let mut files = BTreeMap::new();
        files.insert(0, FileHeader { version: 3, file_number: 0, last_entry_in_previous: 0 }.encode());
        Writer {
            salt: (log as u64) << 32,
            files,
            changed: Duration::ZERO,
            entries: rng.pick(&[0, 3, 20, 100]),
            next_vlsn: 1,
            taken: Vec::new(),
            rest: Vec::new(),
            completes: None,
            last: 0,
            file_bytes_max: rng.pick(&[300, 5_000, 1 << 30]),
            disorder: rng.pick(&[1, 1, 4]),
            torn_odds: rng.pick(&[0, 4]),
            large_odds: if capacity < 1000 { 0 } else { rng.pick(&[0, 8]) },
            first: 1,
            begins: BTreeSet::new(),
            places: BTreeMap::new(),
            whole: 0,
            whole_beyond: Vec::new(),
        }
    }

    /// A log of which a cleaner has deleted the beginning: it begins with that file and that VLSN, and holds some entries.
    pub(crate) fn begin_at(&mut self, number: u32, first: u64, held: u64) {
        let header = FileHeader { version: 3, file_number: number, last_entry_in_previous: 100 };
        let mut file = header.encode();
        for vlsn in first..first + held {
            let begin = file.len() as u32;
            self.note_begun((number, begin), Some(vlsn));
            let payload = self.payload_of(vlsn);
            encode_entry(&mut file, Writer::entry_type(vlsn), 0, self.last, Some(vlsn as i64), &payload);
            self.last = begin;
        }
        self.files = BTreeMap::from([(number, file)]);
        (self.first, self.next_vlsn, self.whole) = (first, first + held, first + held - 1);
        self.entries += self.whole;
    }

    fn note_begun(&mut self, place: (u32, u32), vlsn: Option<u64>) {
        self.begins.insert(place);
        if let Some(vlsn) = vlsn {
            self.places.insert(vlsn, place);
        }
    }

    /// Histories can be cut behind each third entry.
    pub(crate) fn entry_type(vlsn: u64) -> u8 {
        if vlsn.is_multiple_of(3) { 30 } else { 13 }
    }

    /// Where the entry of a VLSN is, if it is whole.
    pub(crate) fn place_of(&self, vlsn: u64) -> Option<(u32, u32)> {
        let is_whole = vlsn <= self.whole || self.whole_beyond.contains(&vlsn);
        self.places.get(&vlsn).copied().filter(|_| is_whole)
    }

    /// The highest VLSN that is whole; one below the first if there is none.
    pub(crate) fn highest(&self) -> u64 {
        self.whole_beyond.iter().copied().max().unwrap_or(0).max(self.whole)
    }

    /// How much of each file is whole.
    pub(crate) fn whole_lens(&self) -> BTreeMap<u32, usize> {
        let mut lens: BTreeMap<u32, usize> = self.files.iter().map(|(number, file)| (*number, file.len())).collect();
        if let Some(mut newest) = lens.last_entry()
            && !self.rest.is_empty()
        {
            newest.insert(self.last as usize);
        }
        lens
    }

    /// Whether whole entries alone stand before that place.
    pub(crate) fn is_whole_to(&self, number: u32, len: usize) -> bool {
        self.begins.contains(&(number, len as u32)) || self.whole_lens().get(&number) == Some(&len)
    }

    /// Whether an entry of that file begins before that place.
    pub(crate) fn has_entry_below(&self, number: u32, len: usize) -> bool {
        self.begins.range((number, 0)..(number, len as u32)).next().is_some()
    }

    /// Whether VLSNs come in another order than they are taken.
    pub(crate) fn is_disorderly(&self) -> bool {
        self.disorder > 1
    }

    pub(crate) fn is_done(&self) -> bool {
        self.rest.is_empty() && self.taken.is_empty() && self.next_vlsn > self.entries
    }

    /// The last VLSN that there will be.
    pub(crate) fn last_vlsn(&self) -> u64 {
        self.entries
    }

    fn payload(&self, vlsn: u64) -> Vec<u8> {
        let mut rng = Rng::new(vlsn + self.salt);
        let len = if rng.one_in(10) { rng.below(2000) } else { rng.below(60) };
        rng.bytes(len as usize)
    }

    /// The same, for one that is larger than what a connection holds.
    pub(crate) fn payload_of(&self, vlsn: u64) -> Vec<u8> {
        let mut payload = self.payload(vlsn);
        if self.large_odds > 0 && vlsn.is_multiple_of(self.large_odds) {
            payload.resize(20_000, 7);
        }
        payload
    }

    fn note_whole(&mut self, vlsn: u64) {
        self.whole_beyond.push(vlsn);
        while let Some(at) = self.whole_beyond.iter().position(|&vlsn| vlsn == self.whole + 1) {
            self.whole_beyond.swap_remove(at);
            self.whole += 1;
        }
    }
}

impl World {
    /// The writer of log number `log` does something, if it has anything to do.
    pub(crate) fn write(&mut self, log: usize) {
        if self.logs[log].writer.is_done() {
            return;
        }
        let number = *self.logs[log].writer.files.last_key_value().expect("there is one from the beginning").0;
        if !self.logs[log].writer.rest.is_empty() {
            let rest = std::mem::take(&mut self.logs[log].writer.rest);
            self.append(log, number, &rest);
            if let Some(vlsn) = self.logs[log].writer.completes.take() {
                self.logs[log].writer.note_whole(vlsn);
            }
            return;
        }
        while self.logs[log].writer.taken.len() < self.logs[log].writer.disorder
            && self.logs[log].writer.next_vlsn <= self.logs[log].writer.entries
        {
            let next_vlsn = self.logs[log].writer.next_vlsn;
            self.logs[log].writer.taken.push(next_vlsn);
            self.logs[log].writer.next_vlsn += 1;
        }
        if self.logs[log].writer.files[&number].len() > self.logs[log].writer.file_bytes_max {
            let header =
                FileHeader { version: 3, file_number: number + 1, last_entry_in_previous: self.logs[log].writer.last };
            self.logs[log].writer.files.insert(number + 1, header.encode());
            self.logs[log].writer.last = 0;
            self.seen.note(Met::FileBegun);
            self.note(format!("writer: begins file {}", number + 1));
            self.changed(log);
            return;
        }
        let len = self.logs[log].writer.files[&number].len();
        let mut entry = Vec::new();
        let (vlsn, payload) = if self.rng.one_in(8) {
            (None, b"for nobody".to_vec())
        } else {
            let at = self.rng.index(self.logs[log].writer.taken.len());
            let vlsn = self.logs[log].writer.taken.swap_remove(at);
            if self.logs[log].writer.taken.iter().any(|&other| other < vlsn) {
                self.seen.note(Met::OutOfOrder);
            }
            (Some(vlsn), self.logs[log].writer.payload_of(vlsn))
        };
        if payload.len() >= 20_000 {
            self.seen.note(Met::LargeEntry);
        }
        let entry_type = vlsn.map_or(13, Writer::entry_type);
        encode_entry(&mut entry, entry_type, 0, self.logs[log].writer.last, vlsn.map(|vlsn| vlsn as i64), &payload);
        self.logs[log].writer.last = len as u32;
        self.logs[log].writer.note_begun((number, len as u32), vlsn);
        if self.rng.one_in(self.logs[log].writer.torn_odds) {
            let cut = 1 + self.rng.index(entry.len() - 1);
            self.logs[log].writer.rest = entry.split_off(cut);
            self.logs[log].writer.completes = vlsn;
            self.seen.note(Met::TornEntry);
            self.note(format!("writer: begins VLSN {vlsn:?}"));
        } else {
            if let Some(vlsn) = vlsn {
                self.logs[log].writer.note_whole(vlsn);
            }
            self.note(format!("writer: VLSN {vlsn:?}"));
        }
        self.append(log, number, &entry);
    }

    fn append(&mut self, log: usize, number: u32, bytes: &[u8]) {
        self.logs[log].writer.files.get_mut(&number).expect("it is there").extend_from_slice(bytes);
        self.changed(log);
    }

    /// Something in the directory has changed: whoever armed the notification should hear of it.
    fn changed(&mut self, log: usize) {
        self.stir(log);
        self.logs[log].writer.changed = self.now;
        if !std::mem::take(&mut self.logs[log].watch.is_armed) {
            return;
        }
        if self.rng.one_in(self.logs[log].watch.lost_odds) {
            self.logs[log].watch.was_lost = true;
            self.seen.note(Met::NotificationLost);
            self.note("notification: lost".into());
            return;
        }
        let mut at = self.now;
        if self.rng.one_in(self.logs[log].watch.late_odds) {
            at += Duration::from_millis(self.rng.within(1, 300));
            self.seen.note(Met::NotificationLate);
        }
        self.logs[log].watch.event_at = Some(at);
    }
}

/// The directory's notification.
#[derive(Debug)]
pub(crate) struct WatchState {
    pub(crate) is_armed: bool,
    /// From when on its descriptor is readable.
    pub(crate) event_at: Option<Duration>,
    /// A change was not told of since it was armed last.
    pub(crate) was_lost: bool,
    /// The system has none to give.
    pub(crate) is_absent: bool,
    lost_odds: u64,
    late_odds: u64,
}

impl WatchState {
    pub(crate) fn draw(rng: &mut Rng) -> WatchState {
        let is_unreliable = rng.one_in(3);
        WatchState {
            is_armed: false,
            event_at: None,
            was_lost: false,
            is_absent: rng.one_in(20),
            lost_odds: if is_unreliable { 4 } else { 0 },
            late_odds: if is_unreliable { 4 } else { 0 },
        }
    }

    /// Whether every change is told of at once.
    pub(crate) fn is_reliable(&self) -> bool {
        self.lost_odds == 0 && !self.is_absent
    }
}

/// The directory, as the library sees it.
pub(crate) struct SimDisk {
    pub(crate) shared: Shared,
    pub(crate) log: usize,
}

struct SimFile {
    shared: Shared,
    log: usize,
    number: u32,
}

impl SimDisk {
    fn called(&self) -> std::sync::MutexGuard<'_, World> {
        World::called(&self.shared)
    }
}

impl Files for SimDisk {
    fn list(&self) -> io::Result<Vec<u32>> {
        Ok(self.called().logs[self.log].writer.files.keys().copied().collect())
    }

    fn stamp(&self) -> io::Result<DirectoryStamp> {
        let changed_ns = self.called().logs[self.log].writer.changed.as_nanos() as i128;
        Ok(DirectoryStamp { modified_ns: changed_ns, changed_ns })
    }

    fn open(&self, number: u32) -> io::Result<Arc<dyn LogFile>> {
        if !self.called().logs[self.log].writer.files.contains_key(&number) {
            return Err(io::ErrorKind::NotFound.into());
        }
        Ok(Arc::new(SimFile { shared: Arc::clone(&self.shared), log: self.log, number }))
    }

    fn identity(&self, number: u32) -> io::Result<Option<FileIdentity>> {
        Ok(self.called().logs[self.log].writer.files.contains_key(&number).then(|| identity_of(number)))
    }

    fn path(&self) -> Option<&Path> {
        None
    }

    fn watch(&self) -> io::Result<Box<dyn Notification>> {
        if self.called().logs[self.log].watch.is_absent {
            return Err(io::ErrorKind::Unsupported.into());
        }
        Ok(Box::new(SimWatch { shared: Arc::clone(&self.shared), log: self.log }))
    }
}

fn identity_of(number: u32) -> FileIdentity {
    FileIdentity { device: 0, inode: u64::from(number) }
}

impl LogFile for SimFile {
    fn read_some_at(&self, into: &mut [u8], offset: u64, _: usize) -> io::Result<usize> {
        let world = World::called(&self.shared);
        let bytes = world.logs[self.log].writer.files[&self.number].get(offset as usize..).unwrap_or_default();
        let count = into.len().min(bytes.len());
        into[..count].copy_from_slice(&bytes[..count]);
        Ok(count)
    }

    fn len(&self) -> io::Result<u64> {
        Ok(World::called(&self.shared).logs[self.log].writer.files[&self.number].len() as u64)
    }

    fn identity(&self) -> io::Result<FileIdentity> {
        Ok(identity_of(self.number))
    }
}

struct SimWatch {
    shared: Shared,
    log: usize,
}

impl Notification for SimWatch {
    fn arm(&self) -> io::Result<()> {
        let mut world = World::called(&self.shared);
        world.logs[self.log].watch.is_armed = true;
        world.logs[self.log].watch.was_lost = false;
        if world.rng.one_in(40) {
            world.logs[self.log].watch.is_armed = false;
            world.logs[self.log].watch.event_at = Some(world.now);
            world.seen.note(Met::NotificationForNothing);
            world.stir(self.log);
        }
        Ok(())
    }

    fn take(&self) -> bool {
        let mut world = World::called(&self.shared);
        let now = world.now;
        let taken = world.logs[self.log].watch.event_at.take_if(|at| *at <= now).is_some();
        world.moved |= taken;
        taken
    }

    fn fd(&self) -> RawFd {
        WATCH_FD + self.log as RawFd
    }
}
