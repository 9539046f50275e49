//! A model of the real writer, with its habits: it takes VLSNs and appends out of order, flushes its buffers out of
//! order and in parts, bears files header first, leaves a stray file behind a backup, crashes and recovers, rolls
//! back, repeats itself, and cleans.
//!
//! It keeps its own deadlines: nothing that it has appended stays off the disk for longer than its plan says, and no
//! VLSN it has taken stays unwritten for longer. So a run knows how long a reader has to be patient.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use noxu_feeder::log::format::{FLAG_REPLICATED, FLAG_VLSN, FileHeader};

use crate::disk::{Op, State};
use crate::oracle;
use crate::rng::Rng;
use crate::truth::{Record, RecordId};

/// How a writer behaves. Odds are "once in so many", 0 for never.
#[derive(Clone, Debug)]
pub(crate) struct WriterPlan {
    pub(crate) file_bytes_max: u64,
    pub(crate) chunk_bytes_max: u64,
    pub(crate) late_odds: u64,
    /// How many appends a late one comes late.
    pub(crate) late_appends_max: u64,
    pub(crate) untagged_odds: u64,
    pub(crate) bad_vlsn_odds: u64,
    pub(crate) large_odds: u64,
    pub(crate) large_bytes_max: u64,
    pub(crate) v2_odds: u64,
    /// A file header that does not name the previous file's last entry.
    pub(crate) nameless_odds: u64,
    pub(crate) disorder_odds: u64,
    pub(crate) split_odds: u64,
    /// How long a buffer may stay unflushed.
    pub(crate) flush_within: Duration,
    /// How long a buffer of a file that is not the newest any more may stay unflushed, and the rest of a split one.
    pub(crate) complete_within: Duration,
    /// How long a VLSN that was taken may stay unwritten.
    pub(crate) append_within: Duration,
}

/// Consecutive bytes of one file, on their way to the disk.
#[derive(Debug)]
struct Chunk {
    file: u32,
    inode: usize,
    offset: u64,
    bytes: Vec<u8>,
    /// Where in the file each of its entries ends.
    ends: Vec<(u64, RecordId)>,
    deadline: Duration,
}

/// A VLSN that was taken and not written yet.
#[derive(Debug)]
struct Late {
    vlsn: u64,
    due_append: u64,
    deadline: Duration,
}

#[derive(Debug)]
struct FileState {
    inode: usize,
    header: Vec<u8>,
    is_created: bool,
}

/// What a recovery cut off: everything from this position on.
pub(crate) type Cut = u64;

/// See the module's comment.
#[derive(Debug)]
pub(crate) struct Writer {
    pub(crate) plan: WriterPlan,
    rng: Rng,
    pub(crate) first_file: u32,
    files: BTreeMap<u32, FileState>,
    file: u32,
    offset: u64,
    file_end: u64,
    /// Where the last entry of the file begins; 0 in a file without one.
    prev_offset: u64,
    /// By which offset the next entry names it.
    prev_name: u64,
    /// By how much the writer counts offsets too low: since a backup it counts from the next file's beginning.
    miscount: u64,
    has_miscounted: bool,
    /// The file that a backup made ahead of its time.
    stray: Option<u32>,
    open: Option<Chunk>,
    pending: Vec<Chunk>,
    late: Vec<Late>,
    pub(crate) next_vlsn: u64,
    appends: u64,
    /// The highest VLSN that went with a cleaned file: the writer's index remembers it.
    cleaned_vlsn: u64,
    pub(crate) is_crashed: bool,
    /// Whether ops happen in the middle of the reader's next look.
    pub(crate) meanwhile: bool,
}

impl Writer {
    pub(crate) fn new(plan: WriterPlan, state: &mut State, mut rng: Rng, first_vlsn: u64) -> Writer {
        let file = if rng.one_in(3) { rng.below(0xff_ffff) as u32 } else { 0 };
        let mut writer = Writer {
            plan,
            rng,
            first_file: file,
            files: BTreeMap::new(),
            file,
            offset: 0,
            file_end: 0,
            prev_offset: 0,
            prev_name: 0,
            miscount: 0,
            has_miscounted: false,
            stray: None,
            open: None,
            pending: Vec::new(),
            late: Vec::new(),
            next_vlsn: first_vlsn,
            appends: 0,
            cleaned_vlsn: 0,
            is_crashed: false,
            meanwhile: false,
        };
        writer.begin_file(state, file, 0);
        writer
    }

    fn emit(&self, state: &mut State, op: Op) {
        if self.meanwhile {
            state.schedule(op);
        } else {
            state.apply(op);
        }
    }

    /// Makes `file` the current one. On disk it appears later.
    fn begin_file(&mut self, state: &mut State, file: u32, names: u64) {
        let header_len = self.make_file(state, file, names);
        self.file = file;
        self.offset = header_len;
        self.prev_offset = 0;
        self.prev_name = 0;
        self.miscount = 0;
        self.file_end = header_len + self.rng.within(60, self.plan.file_bytes_max);
    }

    fn make_file(&mut self, state: &mut State, file: u32, names: u64) -> u64 {
        let version = if self.rng.one_in(self.plan.v2_odds) { 2 } else { 3 };
        let header = FileHeader { version, file_number: file, last_entry_in_previous: names as u32 }.encode();
        let header_len = header.len() as u64;
        let made = FileState { inode: state.new_inode(), header, is_created: false };
        self.files.insert(file, made);
        header_len
    }

    fn names(&mut self) -> u64 {
        if self.rng.one_in(self.plan.nameless_odds) { 0 } else { self.prev_name }
    }

    /// Takes a VLSN; its entry is appended now or later.
    pub(crate) fn commit(&mut self, state: &mut State) {
        let vlsn = self.next_vlsn;
        self.next_vlsn += 1;
        if self.rng.one_in(self.plan.late_odds) {
            let most = if self.rng.one_in(4) { self.plan.late_appends_max } else { self.plan.late_appends_max.min(4) };
            let due_append = self.appends + self.rng.within(1, most);
            let deadline = state.now + self.plan.append_within;
            self.late.push(Late { vlsn, due_append, deadline });
        } else {
            self.append_new(state, vlsn);
        }
        while let Some(at) = self.late.iter().position(|late| late.due_append <= self.appends) {
            let late = self.late.remove(at);
            self.append_new(state, late.vlsn);
        }
        if self.rng.one_in(self.plan.untagged_odds) {
            self.append_untagged(state);
        }
    }

    fn append_new(&mut self, state: &mut State, vlsn: u64) {
        let payload = self.payload();
        let entry_type = self.rng.pick(&[10, 11, 12, 13, 13, 14, 15, 30, 30, 31, 61, 21]);
        self.append(state, Some(vlsn as i64), entry_type, payload.into());
    }

    /// An entry that no reader returns.
    pub(crate) fn append_untagged(&mut self, state: &mut State) {
        let payload = self.payload();
        let entry_type = self.rng.pick(&[2, 3, 4, 20, 23, 40, 41, 60, 64]);
        let vlsn = self.rng.one_in(self.plan.bad_vlsn_odds).then(|| -(self.rng.below(3) as i64));
        self.append(state, vlsn, entry_type, payload.into());
    }

    fn payload(&mut self) -> Vec<u8> {
        let len = if self.rng.one_in(self.plan.large_odds) {
            self.rng.below(self.plan.large_bytes_max)
        } else {
            self.rng.below(30)
        };
        self.rng.bytes(len as usize)
    }

    fn append(&mut self, state: &mut State, vlsn: Option<i64>, entry_type: u8, payload: Arc<[u8]>) {
        self.appends += 1;
        let len = payload.len() as u64 + if vlsn.is_some() { 22 } else { 14 };
        if self.offset + len > self.file_end && self.prev_offset != 0 {
            self.change_file(state);
        }
        let flags = match vlsn {
            None => self.rng.pick(&[0, 0, 0x80, 0x40]),
            Some(_) => {
                self.rng.pick(&[FLAG_VLSN, FLAG_REPLICATED, FLAG_VLSN | FLAG_REPLICATED, FLAG_REPLICATED | 0x80])
            }
        };
        let bytes = encode(entry_type, flags, self.prev_name as u32, vlsn, &payload);
        let inode = self.files[&self.file].inode;
        let id = state.truth.add(Record {
            inode,
            offset: self.offset,
            len,
            vlsn: vlsn.and_then(|vlsn| u64::try_from(vlsn).ok().filter(|&v| v > 0)),
            entry_type,
            payload,
            flags,
            appeared: None,
            appeared_at: None,
            gone: None,
        });
        state.inodes[inode].records.push(id);
        let deadline = state.now + self.plan.flush_within;
        let chunk = self.open.get_or_insert_with(|| Chunk {
            file: self.file,
            inode,
            offset: self.offset,
            bytes: Vec::new(),
            ends: Vec::new(),
            deadline,
        });
        chunk.bytes.extend_from_slice(&bytes);
        self.prev_offset = self.offset;
        self.prev_name = self.offset - self.miscount;
        self.offset += len;
        chunk.ends.push((self.offset, id));
        if chunk.bytes.len() as u64 >= self.plan.chunk_bytes_max {
            self.close_chunk(state);
        }
    }

    /// The buffer is full. If a backup made a file meanwhile, the writer goes on in that one, at the same offset.
    fn close_chunk(&mut self, state: &mut State) {
        self.pending.extend(self.open.take());
        if let Some(stray) = self.stray.take() {
            self.file = stray;
            if self.rng.one_in(2) {
                self.prev_name = 0;
                self.prev_name = 0;
                self.miscount = 0;
            }
            self.file_end = self.file_end.max(self.offset + self.rng.within(60, self.plan.file_bytes_max));
            state.note(format!("goes on in file {stray} at {}", self.offset));
        }
    }

    fn change_file(&mut self, state: &mut State) {
        let was_stray = self.stray.is_some();
        self.close_chunk(state);
        if !was_stray {
            let names = self.names();
            self.begin_file(state, self.file + 1, names);
        }
    }

    /// A backup makes the next file now; entries go on to the current one until its buffer is full.
    pub(crate) fn backup(&mut self, state: &mut State) {
        if self.stray.is_some() || self.prev_offset == 0 {
            return;
        }
        state.note("BACKUP".into());
        let stray = self.file + 1;
        let names = self.names();
        self.make_file(state, stray, names);
        self.create(state, stray);
        self.stray = Some(stray);
        if self.rng.one_in(2) {
            self.has_miscounted = true;
            self.miscount = self.offset - self.files[&stray].header.len() as u64;
            self.prev_name = 0;
        }
    }

    /// Bears the files up to `file`, with their headers.
    fn create(&mut self, state: &mut State, file: u32) {
        let unborn: Vec<u32> =
            self.files.range(..=file).filter(|(_, made)| !made.is_created).map(|(&number, _)| number).collect();
        for number in unborn {
            // Buffers are few and files large: two files can be incomplete at once, never three.
            while let Some(at) = self.pending.iter().position(|chunk| chunk.file + 1 < number && !chunk.ends.is_empty())
            {
                self.write(state, at);
            }
            self.finish_headers(state);
            let made = self.files.get_mut(&number).expect("just seen");
            made.is_created = true;
            let inode = made.inode;
            let (first, rest) = made.header.split_at(32);
            let (first, rest) = (first.to_vec(), rest.to_vec());
            let op = Op::Create { file: number, inode, bytes: first };
            self.emit(state, op);
            if !rest.is_empty() {
                self.pending.insert(
                    0,
                    Chunk {
                        file: number,
                        inode,
                        offset: 32,
                        bytes: rest,
                        ends: Vec::new(),
                        deadline: state.now + self.plan.complete_within,
                    },
                );
            }
            let deadline = state.now + self.plan.complete_within;
            for chunk in &mut self.pending {
                if chunk.file < number {
                    chunk.deadline = chunk.deadline.min(deadline);
                }
            }
        }
    }

    /// The second writes of headers come before anything else in their files.
    fn finish_headers(&mut self, state: &mut State) {
        while let Some(at) = self.pending.iter().position(|chunk| chunk.ends.is_empty()) {
            self.write(state, at);
        }
    }

    fn write(&mut self, state: &mut State, at: usize) {
        let chunk = self.pending.remove(at);
        let op = Op::Write {
            inode: chunk.inode,
            offset: chunk.offset,
            bytes: chunk.bytes,
            completes: chunk.ends.into_iter().map(|(_, id)| id).collect(),
        };
        self.emit(state, op);
    }

    /// Brings one buffer to the disk, or a part of one. False: there is none.
    pub(crate) fn flush_one(&mut self, state: &mut State) -> bool {
        if self.pending.is_empty() {
            if self.open.is_none() {
                return false;
            }
            self.close_chunk(state);
        }
        let at = if self.rng.one_in(self.plan.disorder_odds) { self.rng.index(self.pending.len()) } else { 0 };
        let file = self.pending[at].file;
        if !self.files[&file].is_created {
            self.create(state, file);
            // Its header stands alone for a while.
            return true;
        }
        if !self.pending[at].ends.is_empty()
            && self.pending.iter().any(|chunk| chunk.file == file && chunk.ends.is_empty())
        {
            self.finish_headers(state);
            return true;
        }
        if self.rng.one_in(self.plan.split_odds) && self.pending[at].bytes.len() > 1 {
            self.write_part(state, at);
        } else {
            self.write(state, at);
        }
        true
    }

    /// A write is seen in part.
    fn write_part(&mut self, state: &mut State, at: usize) {
        let deadline = state.now + self.plan.complete_within;
        let chunk = &mut self.pending[at];
        let cut = 1 + self.rng.index(chunk.bytes.len() - 1);
        let rest = chunk.bytes.split_off(cut);
        let first = std::mem::replace(&mut chunk.bytes, rest);
        let offset = chunk.offset;
        chunk.offset += cut as u64;
        chunk.deadline = chunk.deadline.min(deadline);
        let whole = chunk.ends.partition_point(|&(end, _)| end <= chunk.offset);
        let completes = chunk.ends.drain(..whole).map(|(_, id)| id).collect();
        let op = Op::Write { inode: chunk.inode, offset, bytes: first, completes };
        self.emit(state, op);
    }

    /// Does what has to be done before `until`.
    pub(crate) fn keep_deadlines(&mut self, state: &mut State, until: Duration) {
        while let Some(at) = self.late.iter().position(|late| late.deadline <= until) {
            let late = self.late.remove(at);
            self.append_new(state, late.vlsn);
        }
        if self.open.as_ref().is_some_and(|chunk| chunk.deadline <= until) {
            self.close_chunk(state);
        }
        while let Some(at) = self.pending.iter().position(|chunk| chunk.deadline <= until) {
            let file = self.pending[at].file;
            if self.files[&file].is_created {
                if !self.pending[at].ends.is_empty() {
                    let headers = self.pending.len();
                    self.finish_headers_of(state, file);
                    if self.pending.len() != headers {
                        continue;
                    }
                }
                self.write(state, at);
            } else {
                self.create(state, file);
            }
        }
    }

    fn finish_headers_of(&mut self, state: &mut State, file: u32) {
        while let Some(at) = self.pending.iter().position(|chunk| chunk.file == file && chunk.ends.is_empty()) {
            self.write(state, at);
        }
    }

    /// Writes every VLSN that was taken.
    pub(crate) fn append_late(&mut self, state: &mut State) {
        for late in std::mem::take(&mut self.late) {
            self.append_new(state, late.vlsn);
        }
    }

    /// Brings everything appended to the disk.
    pub(crate) fn flush_all(&mut self, state: &mut State) {
        self.keep_deadlines_of_chunks(state);
        self.keep_deadlines_of_chunks(state);
    }

    fn keep_deadlines_of_chunks(&mut self, state: &mut State) {
        let late = std::mem::take(&mut self.late);
        self.keep_deadlines(state, Duration::MAX);
        self.late = late;
    }

    /// Reader and writer were frozen for so long: nothing is due earlier by that.
    pub(crate) fn was_frozen(&mut self, time: Duration) {
        let deadlines = self.pending.iter_mut().chain(&mut self.open).map(|chunk| &mut chunk.deadline);
        for deadline in deadlines.chain(self.late.iter_mut().map(|late| &mut late.deadline)) {
            *deadline += time;
        }
    }

    /// The next VLSNs take turns in standing at the end of this file and in a hole of the next, and are not written yet. The
    /// one before them stands behind the hole, and with `is_topped` the one after. Returns them; `is_reversed`: those in
    /// the hole stand in falling order.
    pub(crate) fn alternate(&mut self, state: &mut State, pairs: u64, is_reversed: bool, is_topped: bool) -> Vec<u64> {
        self.append_late(state);
        if self.prev_offset == 0 {
            self.append_untagged(state);
        }
        self.flush_all(state);
        let first = self.next_vlsn;
        self.next_vlsn += 1 + 2 * pairs + u64::from(is_topped);
        let chunk_bytes_max = std::mem::replace(&mut self.plan.chunk_bytes_max, 1);
        self.file_end = u64::MAX;
        for pair in 0..pairs {
            self.append_new(state, first + 1 + 2 * pair);
        }
        self.begin_file(state, self.file + 1, 0);
        self.file_end = u64::MAX;
        for pair in 0..pairs {
            let pair = if is_reversed { pairs - 1 - pair } else { pair };
            self.append_new(state, first + 2 + 2 * pair);
        }
        self.append_new(state, first);
        if is_topped {
            self.append_new(state, self.next_vlsn - 1);
        }
        self.plan.chunk_bytes_max = chunk_bytes_max;
        self.file_end = self.offset + self.rng.within(60, self.plan.file_bytes_max);
        self.create(state, self.file);
        self.finish_headers(state);
        for _ in 0..1 + u64::from(is_topped) {
            self.write(state, self.pending.len() - 1);
        }
        for chunk in &mut self.pending {
            chunk.deadline = Duration::MAX;
        }
        (first + 1..=first + 2 * pairs).collect()
    }

    /// Writes what holds this VLSN.
    pub(crate) fn write_vlsn(&mut self, state: &mut State, vlsn: u64) {
        let is_it = |&(_, id): &(u64, RecordId)| state.truth.records[id].vlsn == Some(vlsn);
        if let Some(at) = self.pending.iter().position(|chunk| chunk.ends.iter().any(is_it)) {
            self.write(state, at);
        }
    }

    /// Whether this VLSN was taken and is still on its way to the disk.
    pub(crate) fn is_coming(&self, state: &State, vlsn: u64) -> bool {
        let is_it = |id: RecordId| state.truth.records[id].vlsn == Some(vlsn);
        let mut chunks = self.pending.iter().chain(&self.open);
        self.late.iter().any(|late| late.vlsn == vlsn)
            || chunks.any(|chunk| chunk.ends.iter().any(|&(_, id)| is_it(id)))
    }

    /// Whether everything is on disk.
    pub(crate) fn is_flushed(&self) -> bool {
        self.open.is_none() && self.pending.is_empty() && self.late.is_empty()
    }

    /// The process dies: what was not flushed is lost, but for a part of one write.
    pub(crate) fn crash(&mut self, state: &mut State) {
        state.note("CRASH".into());
        if self.rng.one_in(2) && !self.pending.is_empty() {
            let at = self.rng.index(self.pending.len());
            let chunk = &self.pending[at];
            let is_ready = self.files[&chunk.file].is_created
                && !chunk.ends.is_empty()
                && !self.pending.iter().any(|other| other.file == chunk.file && other.ends.is_empty());
            if is_ready && chunk.bytes.len() > 1 {
                self.write_part(state, at);
            }
        }
        self.open = None;
        self.pending.clear();
        self.late.clear();
        self.stray = None;
        self.is_crashed = true;
    }

    /// The machine dies: of the newest file, a part that the reader saw never was.
    pub(crate) fn lose_power(&mut self, state: &mut State) {
        self.crash(state);
        state.catch_up();
        let Some((&file, &inode)) = state.names.iter().next_back() else {
            return;
        };
        let len = state.inodes[inode].bytes.len() as u64;
        if self.rng.one_in(4) && state.names.len() > 1 && len < 400 {
            state.apply(Op::Unlink { file });
        } else {
            let len = self.rng.within(len / 2, len);
            state.apply(Op::Truncate { inode, len });
        }
    }

    /// Recovery: the highest file that is not empty is cut at the first offset that does not parse, and every higher
    /// file is deleted.
    pub(crate) fn recover(&mut self, state: &mut State) -> Cut {
        state.catch_up();
        self.is_crashed = false;
        let mut keep = None;
        let numbers: Vec<u32> = state.names.keys().copied().collect();
        for &number in numbers.iter().rev() {
            let bytes = state.bytes(number).expect("just listed");
            if let oracle::Header::Good { first, .. } = oracle::header(bytes, number)
                && bytes.len() as u64 > first
            {
                let (end, last) = oracle::parse_to_end(bytes, first);
                keep = Some((number, end, last));
                break;
            }
        }
        let above = keep.map_or(0, |(number, ..)| u64::from(number) + 1);
        for &number in numbers.iter().rev().filter(|&&n| u64::from(n) >= above) {
            state.apply(Op::Unlink { file: number });
        }
        self.files.retain(|&number, _| u64::from(number) < above);
        let cut = match keep {
            Some((number, end, last)) => {
                let inode = state.names[&number];
                if end < state.inodes[inode].bytes.len() as u64 {
                    state.apply(Op::Truncate { inode, len: end });
                }
                self.file = number;
                self.offset = end;
                self.prev_offset = last;
                // Which offset it names after a backup it miscounted by is not known: none.
                let knows = !self.has_miscounted && self.rng.one_in(2);
                self.prev_name = if knows { last } else { 0 };
                self.miscount = 0;
                self.file_end = self.file_end.max(end + self.rng.within(60, self.plan.file_bytes_max));
                u64::from(number) << 32 | end
            }
            None => {
                let number = numbers.first().copied().unwrap_or(self.file);
                self.begin_file(state, number, 0);
                u64::from(number) << 32
            }
        };
        let surviving = state
            .truth
            .at_or_above(1)
            .filter(|(id, record)| record.is_there() && state.position(*id).is_some())
            .filter_map(|(_, record)| record.vlsn)
            .max();
        self.next_vlsn = surviving.map_or(self.lowest_possible(state), |vlsn| vlsn + 1).max(self.cleaned_vlsn + 1);
        state.note(format!("RECOVERED, cut at file {} offset {}, next VLSN {}", cut >> 32, cut as u32, self.next_vlsn));
        cut
    }

    /// Where VLSNs go on in a log that has none left.
    fn lowest_possible(&self, state: &State) -> u64 {
        state.truth.at_or_above(1).next().and_then(|(_, record)| record.vlsn).unwrap_or(self.next_vlsn)
    }

    /// Takes back the newest VLSNs, at most `most`; the same numbers are written again by what comes. Returns the
    /// highest that stays.
    pub(crate) fn roll_back(&mut self, state: &mut State, most: u64) -> u64 {
        self.append_late(state);
        self.flush_all(state);
        let stays = self.next_vlsn - 1 - self.rng.within(0, most.min(self.next_vlsn - 1));
        state.note(format!("ROLLBACK to VLSN {stays}"));
        if !self.meanwhile {
            state.catch_up();
        }
        let mut hidden: Vec<RecordId> = state
            .truth
            .at_or_above(stays + 1)
            .filter(|(_, record)| record.gone.is_none())
            .map(|(id, _)| id)
            .filter(|&id| self.is_in_log(state, id))
            .collect();
        hidden.sort_unstable();
        for record in hidden {
            self.emit(state, Op::Hide { record });
        }
        self.next_vlsn = stays + 1;
        self.append_untagged(state);
        stays
    }

    /// Whether the record's file is one of the log's, and was not cut below it.
    fn is_in_log(&self, state: &State, id: RecordId) -> bool {
        let inode = state.truth.records[id].inode;
        self.files.values().any(|made| made.inode == inode && made.is_created)
            && (state.inodes[inode].name.is_some() || self.meanwhile)
            && (state.truth.records[id].appeared.is_some() || self.meanwhile)
    }

    /// Writes a stretch of history again.
    pub(crate) fn repeat(&mut self, state: &mut State) {
        let most = self.next_vlsn.saturating_sub(1).min(40);
        let from = self.next_vlsn - self.rng.within(0, most);
        let count = self.rng.within(1, 12);
        let again: Vec<Record> = (from..self.next_vlsn.min(from + count))
            .filter_map(|vlsn| {
                let is_in_log = |record: &&Record| record.is_there() && state.inodes[record.inode].name.is_some();
                state.truth.of_vlsn(vlsn).find(is_in_log).cloned()
            })
            .collect();
        if again.is_empty() {
            return;
        }
        state.note(format!("REPEAT of {} from {from}", again.len()));
        for record in again {
            let vlsn = record.vlsn.expect("found by its VLSN") as i64;
            self.append(state, Some(vlsn), record.entry_type, record.payload);
        }
    }

    /// The cleaner deletes a file that is written no more; returns its number.
    pub(crate) fn clean(&mut self, state: &mut State) -> Option<u32> {
        state.catch_up();
        // Never the newest that holds anything.
        let newest = state.names.iter().rev().find(|&(_, &inode)| state.inodes[inode].bytes.len() > 36);
        let newest = newest.map_or(0, |(&number, _)| number);
        let candidates: Vec<u32> = self
            .files
            .iter()
            .filter(|(number, made)| {
                **number < self.file.min(newest)
                    && made.is_created
                    && state.names.contains_key(number)
                    && !self.pending.iter().any(|chunk| chunk.file == **number)
            })
            .map(|(&number, _)| number)
            .collect();
        let number = match candidates.len() {
            0 => return None,
            _ if self.rng.one_in(2) => candidates[0],
            many => candidates[self.rng.index(many)],
        };
        state.note(format!("CLEANER takes file {number}"));
        let inode = self.files[&number].inode;
        for &id in &state.inodes[inode].records {
            let record = &state.truth.records[id];
            if record.is_there() {
                self.cleaned_vlsn = self.cleaned_vlsn.max(record.vlsn.unwrap_or(0));
            }
        }
        self.files.remove(&number);
        self.emit(state, Op::Unlink { file: number });
        Some(number)
    }
}

/// An entry's bytes, to the format's letter.
pub(crate) fn encode(entry_type: u8, flags: u8, prev_offset: u32, vlsn: Option<i64>, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0, 0, 0, 0, entry_type, flags];
    bytes.extend_from_slice(&prev_offset.to_le_bytes());
    bytes.extend_from_slice(&(payload.len() as u32).to_le_bytes());
    if let Some(vlsn) = vlsn {
        bytes.extend_from_slice(&vlsn.to_le_bytes());
    }
    bytes.extend_from_slice(payload);
    let checksum = crc32fast::hash(&bytes[4..]);
    bytes[..4].copy_from_slice(&checksum.to_le_bytes());
    bytes
}
