//! RESTORE: sends all files of the log, as one message or without messages, no faster than it may.

use std::num::NonZeroU64;
use std::time::{Duration, Instant};

use super::error::ServiceError;
use super::exchange::{Exchange, StepLimit, Turn};
use crate::error::Result;
use crate::log::budget::{Halt, Searched};
use crate::log::copy::{self, CopiedFile, Piece};
use crate::log::lookup::Known;
use crate::lsn::FileName;
use crate::wire::message::message_prefix;
use crate::wire::service::Service;
use crate::wire::service::restore::{COUNT_LEN, append_file_header, check_request, file_len, fits_a_message};

/// What it asks of the log.
pub trait LogCopy {
    /// From now on, about `bytes` are read before a look is interrupted.
    fn allow(&mut self, bytes: u64);

    /// See [`copy::Copy::files`].
    fn files(&mut self, now: Instant) -> Searched<Known<&[CopiedFile]>>;

    /// See [`copy::Copy::file`].
    fn file(&self) -> Option<CopiedFile>;

    /// See [`copy::Copy::read`].
    fn read(&mut self, into: &mut Vec<u8>, most: usize) -> Result<Piece>;
}

impl LogCopy for copy::Copy {
    fn allow(&mut self, bytes: u64) {
        copy::Copy::allow(self, bytes);
    }

    fn files(&mut self, now: Instant) -> Searched<Known<&[CopiedFile]>> {
        copy::Copy::files(self, now)
    }

    fn file(&self) -> Option<CopiedFile> {
        copy::Copy::file(self)
    }

    fn read(&mut self, into: &mut Vec<u8>, most: usize) -> Result<Piece> {
        copy::Copy::read(self, into, most)
    }
}

/// How far it has got.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Progress {
    /// How many files there are; 0 while that is not known.
    pub files: u64,
    /// How many of them were read to their end.
    pub files_read: u64,
    /// How many bytes they have.
    pub bytes: u64,
    /// How many of them were read.
    pub bytes_read: u64,
}

/// How much is read at once, if the rate allows.
const PIECE_MAX: usize = 256 * 1024;
const PIECE_MIN: u64 = 4 * 1024;

/// At a limited rate, a piece is sent so many times a second.
const PIECES_PER_SECOND: u64 = 8;

/// See the module's comment.
#[derive(Debug)]
pub struct Restore {
    exchange: Exchange,
    is_framed: bool,
    rate: Option<NonZeroU64>,
    stage: Stage,
    progress: Progress,
    /// When the next piece may be read.
    paced_until: Option<Instant>,
    look_again: Option<Instant>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    Request,
    Plan,
    FileHeader,
    File,
    Ends,
}

const STEP: &str = "the magic number";

impl Restore {
    /// A connection whose service was named, with what has arrived behind the name. It sends `rate` bytes in a second;
    /// `None` for as many as the replica takes.
    pub fn framed(limit: StepLimit, rate: Option<NonZeroU64>, arrived: Vec<u8>, now: Instant) -> Restore {
        let mut exchange = Exchange::new(Service::Restore.name(), limit, arrived);
        exchange.awaits(STEP, now);
        Restore::new(exchange, Stage::Request, rate)
    }

    /// A connection that began with the magic number.
    pub fn raw(limit: StepLimit, rate: Option<NonZeroU64>) -> Restore {
        Restore::new(Exchange::new(Service::Restore.name(), limit, Vec::new()), Stage::Plan, rate)
    }

    fn new(exchange: Exchange, stage: Stage, rate: Option<NonZeroU64>) -> Restore {
        let is_framed = stage == Stage::Request;
        Restore { exchange, is_framed, rate, stage, progress: Progress::default(), paced_until: None, look_again: None }
    }

    /// Its bytes.
    pub fn exchange(&mut self) -> &mut Exchange {
        &mut self.exchange
    }

    /// When it wants a turn, if nothing comes.
    pub fn deadline(&self) -> Option<Instant> {
        let paced = self.paced_until.filter(|_| self.exchange.output().is_empty());
        [self.exchange.deadline(), self.look_again, paced].into_iter().flatten().min()
    }

    /// How far it has got.
    pub fn progress(&self) -> Progress {
        self.progress
    }

    /// Reads at most one piece further, and nothing while the last one is not taken.
    pub fn turn(&mut self, log: &mut impl LogCopy, now: Instant) -> Result<Turn, ServiceError> {
        self.look_again = None;
        loop {
            if !self.exchange.output().is_empty() {
                self.exchange.check_time(now)?;
                return Ok(if self.stage == Stage::Ends { Turn::Ends } else { Turn::Waits });
            }
            match self.stage {
                Stage::Request => match self.exchange.take_message(check_request)? {
                    Some(()) => {
                        self.exchange.works();
                        self.stage = Stage::Plan;
                    }
                    None => {
                        self.exchange.check_time(now)?;
                        return Ok(Turn::Waits);
                    }
                },
                Stage::Plan => match log.files(now) {
                    Ok(Known::Yes(files)) => {
                        let sent: u64 = files.iter().map(|file| file_len(name(file).len(), file.len)).sum();
                        let bytes = files.iter().map(|file| file.len).sum();
                        let files = files.len();
                        self.progress = Progress { files: files as u64, bytes, ..self.progress };
                        let len = sent.saturating_add(COUNT_LEN as u64);
                        let out = self.exchange.outbox(now);
                        if self.is_framed {
                            if !fits_a_message(len) {
                                return Err(ServiceError::TooLarge { files, bytes: len });
                            }
                            out.extend_from_slice(&message_prefix(len as usize));
                        }
                        // A file's number is one of 2^32, so there are not more.
                        out.extend_from_slice(&u32::try_from(files).unwrap_or(u32::MAX).to_le_bytes());
                        self.stage = Stage::FileHeader;
                    }
                    Ok(Known::NotYet { look_again }) => {
                        self.look_again = Some(look_again);
                        return Ok(Turn::Waits);
                    }
                    Err(Halt::Busy) => return Ok(Turn::Busy),
                    Err(Halt::Failed(error)) => return Err(self.exchange.log_failed(error)),
                },
                Stage::FileHeader | Stage::File => {
                    if self.paced_until.is_some_and(|until| now < until) {
                        return Ok(Turn::Waits);
                    }
                    self.read_piece(log, now)?;
                }
                Stage::Ends => return Ok(Turn::Ends),
            }
        }
    }

    /// Reads a piece, which may have the ends and the beginnings of files in it.
    fn read_piece(&mut self, log: &mut impl LogCopy, now: Instant) -> Result<(), ServiceError> {
        let rated = self.rate.map(|rate| (rate.get() / PIECES_PER_SECOND).clamp(PIECE_MIN, PIECE_MAX as u64) as usize);
        let most = rated.unwrap_or(PIECE_MAX);
        while self.exchange.output().len() < most && self.stage != Stage::Ends {
            let room = most - self.exchange.output().len();
            let out = self.exchange.outbox(now);
            if self.stage == Stage::FileHeader {
                let Some(file) = log.file() else {
                    self.stage = Stage::Ends;
                    break;
                };
                append_file_header(out, &name(&file), file.len);
                self.stage = Stage::File;
                continue;
            }
            match log.read(out, room) {
                Ok(Piece::Bytes(bytes)) => self.progress.bytes_read += bytes as u64,
                Ok(Piece::FileEnds(crc)) => {
                    out.extend_from_slice(&crc.to_le_bytes());
                    self.progress.files_read += 1;
                    self.stage = Stage::FileHeader;
                }
                Ok(Piece::End) => self.stage = Stage::Ends,
                Err(error) => return Err(self.exchange.log_failed(error)),
            }
        }
        self.paced_until = self.rate.map(|rate| {
            let nanos = (self.exchange.output().len() as u64).saturating_mul(1_000_000_000) / rate.get();
            // Time that was not used is not made up for.
            self.paced_until.map_or(now, |until| until.max(now)) + Duration::from_nanos(nanos)
        });
        Ok(())
    }

    /// The replica has closed its side: nobody is left who would take the rest.
    pub fn closed(&self) -> Result<(), ServiceError> {
        self.exchange.closed(self.stage == Stage::Ends)
    }
}

fn name(file: &CopiedFile) -> String {
    FileName(file.number).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Error;
    use crate::wire::service::restore::{File, append_request, decode};
    use crate::wire::service::{Fault, first_message};

    /// Files of so many bytes.
    #[derive(Clone)]
    struct Played {
        files: Vec<CopiedFile>,
        at: usize,
        read: u64,
        busy: u32,
        not_yet: Option<Instant>,
    }

    impl Played {
        fn of(lens: &[u64]) -> Played {
            let files = (0..).zip(lens).map(|(number, &len)| CopiedFile { number, len }).collect();
            Played { files, at: 0, read: 0, busy: 0, not_yet: None }
        }

        fn bytes(file: CopiedFile) -> Vec<u8> {
            vec![file.number as u8 + 1; file.len as usize]
        }

        fn all(&self) -> Vec<(String, Vec<u8>)> {
            self.files.iter().map(|file| (name(file), Played::bytes(*file))).collect()
        }
    }

    impl LogCopy for Played {
        fn allow(&mut self, _: u64) {}

        fn files(&mut self, _: Instant) -> Searched<Known<&[CopiedFile]>> {
            if self.busy > 0 {
                self.busy -= 1;
                return Err(Halt::Busy);
            }
            if let Some(look_again) = self.not_yet.take() {
                return Ok(Known::NotYet { look_again });
            }
            Ok(Known::Yes(&self.files))
        }

        fn file(&self) -> Option<CopiedFile> {
            self.files.get(self.at).copied()
        }

        fn read(&mut self, into: &mut Vec<u8>, most: usize) -> Result<Piece> {
            let Some(file) = self.file() else { return Ok(Piece::End) };
            if self.read == file.len {
                (self.at, self.read) = (self.at + 1, 0);
                return Ok(Piece::FileEnds(crc32fast::hash(&Played::bytes(file))));
            }
            let read = (most as u64).min(file.len - self.read).min(100_000);
            into.resize(into.len() + read as usize, file.number as u8 + 1);
            self.read += read;
            Ok(Piece::Bytes(read as usize))
        }
    }

    fn request() -> Vec<u8> {
        let mut out = Vec::new();
        append_request(&mut out);
        out
    }

    /// All that is sent, when at most `step` bytes are taken at a time; and how long it took.
    fn run(machine: &mut Restore, log: &mut Played, step: usize) -> (Vec<u8>, Duration) {
        let began = Instant::now();
        let (mut now, mut out) = (began, Vec::new());
        loop {
            let turn = machine.turn(log, now).unwrap();
            let output = machine.exchange().output();
            assert!(output.len() < PIECE_MAX + 64);
            let taken = output.len().min(step);
            out.extend_from_slice(&output[..taken]);
            machine.exchange().note_sent(taken, now);
            match turn {
                Turn::Ends if machine.exchange().output().is_empty() => return (out, now - began),
                Turn::Waits if taken == 0 => now = machine.deadline().unwrap(),
                Turn::Busy | Turn::Waits | Turn::Ends => {}
                Turn::Streams(_) => panic!("it does not stream"),
            }
        }
    }

    #[test]
    fn all_files_are_sent_in_a_message_or_without() {
        let now = Instant::now();
        for lens in [&[][..], &[0], &[1], &[700_000, 0, 3], &[262_144, 262_144 - 26, 5]] {
            for step in [usize::MAX, 1000] {
                let log = Played::of(lens);
                let all = log.all();
                let expected: Vec<_> = all.iter().map(|(name, bytes)| File { name, bytes }).collect();
                let mut raw = Restore::raw(StepLimit::default(), None);
                let (out, took) = run(&mut raw, &mut log.clone(), step);
                assert_eq!((decode(&out), took), (Ok((expected, 0)), Duration::ZERO));
                let bytes = lens.iter().sum();
                let files = lens.len() as u64;
                assert_eq!(raw.progress(), Progress { files, files_read: files, bytes, bytes_read: bytes });
                let mut framed = Restore::framed(StepLimit::default(), None, request(), now);
                let (message, _) = run(&mut framed, &mut log.clone(), step);
                assert_eq!(message, [&(out.len() as u32).to_le_bytes()[..], &out].concat());
            }
        }
    }

    #[test]
    fn what_no_message_can_carry_is_refused_before_a_byte_is_sent() {
        let now = Instant::now();
        const LIMIT: u64 = 64 * 1024 * 1024;
        let head = COUNT_LEN as u64 + file_len(12, 0);
        for (len, fits) in [(LIMIT - head, true), (LIMIT - head + 1, false)] {
            let mut log = Played::of(&[len]);
            let mut machine = Restore::framed(StepLimit::default(), None, request(), now);
            let turn = machine.turn(&mut log, now);
            if fits {
                assert_eq!(turn, Ok(Turn::Waits));
                assert!(matches!(
                    first_message(machine.exchange().output()),
                    Err(Fault::RequestTooLong { len: 67_108_864 })
                ));
            } else {
                assert_eq!(turn, Err(ServiceError::TooLarge { files: 1, bytes: LIMIT + 1 }));
                assert!(machine.exchange().output().is_empty());
            }
            assert_eq!(Restore::raw(StepLimit::default(), None).turn(&mut log, now), Ok(Turn::Waits));
        }
    }

    #[test]
    fn it_is_sent_no_faster_than_it_may() {
        for (rate, len) in [(1_000_000, 5_000_000), (20_000, 100_000), (10_000_000, 20_000_000)] {
            let mut machine = Restore::raw(StepLimit::default(), NonZeroU64::new(rate));
            let (out, took) = run(&mut machine, &mut Played::of(&[len]), usize::MAX);
            let expected = Duration::from_secs_f64(out.len() as f64 / rate as f64);
            assert!(took <= expected && took + Duration::from_millis(300) >= expected, "{took:?} for {expected:?}");
        }
    }

    #[test]
    fn a_log_that_is_busy_or_waits_is_asked_again() {
        let now = Instant::now();
        let later = now + Duration::from_millis(50);
        let mut log = Played { busy: 2, not_yet: Some(later), ..Played::of(&[10]) };
        let mut machine = Restore::raw(StepLimit::default(), None);
        assert_eq!(machine.turn(&mut log, now), Ok(Turn::Busy));
        assert_eq!(machine.turn(&mut log, now), Ok(Turn::Busy));
        assert_eq!((machine.turn(&mut log, now), machine.deadline()), (Ok(Turn::Waits), Some(later)));
        assert_eq!(machine.turn(&mut log, later), Ok(Turn::Waits));
    }

    #[test]
    fn a_request_may_come_a_byte_at_a_time_and_garbage_in_it_is_a_fault() {
        let now = Instant::now();
        let good = request();
        let mut machine = Restore::framed(StepLimit::default(), None, Vec::new(), now);
        for byte in &good {
            assert_eq!(machine.turn(&mut Played::of(&[1]), now), Ok(Turn::Waits));
            assert!(machine.exchange().wants_bytes() && machine.exchange().output().is_empty());
            machine.exchange().receive(&[*byte]).unwrap();
        }
        machine.turn(&mut Played::of(&[1]), now).unwrap();
        assert!(!machine.exchange().output().is_empty() && !machine.exchange().wants_bytes());
        for at in 0..good.len() {
            for byte in (0..=u8::MAX).filter(|byte| *byte != good[at]) {
                let mut bytes = good.clone();
                bytes[at] = byte;
                let announced = u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
                let mut machine = Restore::framed(StepLimit::default(), None, bytes, now);
                let turn = machine.turn(&mut Played::of(&[1]), now);
                // A longer message may still come.
                let may_come = at < 4 && (5..=4096).contains(&announced);
                assert_eq!(turn == Ok(Turn::Waits), may_come, "byte {at} as {byte}: {turn:?}");
                assert!(matches!(turn, Ok(Turn::Waits) | Err(ServiceError::Fault { .. })));
                assert!(machine.exchange().output().is_empty());
            }
        }
        let over = now + StepLimit::default().0;
        let mut machine = Restore::framed(StepLimit::default(), None, Vec::new(), now);
        assert_eq!(machine.deadline(), Some(over));
        assert!(matches!(machine.turn(&mut Played::of(&[]), over), Err(ServiceError::Timeout { .. })));
    }

    #[test]
    fn a_replica_that_takes_nothing_has_its_time_and_each_byte_begins_it_anew() {
        let began = Instant::now();
        let limit = StepLimit::default().0;
        let mut log = Played::of(&[1_000_000]);
        let mut machine = Restore::raw(StepLimit::default(), None);
        let mut now = began;
        for _ in 0..5 {
            assert_eq!(machine.turn(&mut log, now), Ok(Turn::Waits));
            now += limit - Duration::from_secs(1);
            machine.exchange().note_sent(1, now);
        }
        machine.turn(&mut log, now).unwrap();
        assert_eq!(machine.deadline(), Some(now + limit));
        let end = machine.turn(&mut log, now + limit);
        assert!(matches!(end, Err(ServiceError::NotTaken { waited_ms: 30_000, .. })), "{end:?}");
        assert!(machine.closed().is_err(), "it is not over");
    }

    #[test]
    fn a_log_that_fails_ends_it_with_its_error() {
        struct Failing(Played);
        let error = Error::LogTruncated { file: 0, len: 1, read: 2 };
        impl LogCopy for Failing {
            fn allow(&mut self, _: u64) {}

            fn files(&mut self, now: Instant) -> Searched<Known<&[CopiedFile]>> {
                self.0.files(now)
            }

            fn file(&self) -> Option<CopiedFile> {
                self.0.file()
            }

            fn read(&mut self, _: &mut Vec<u8>, _: usize) -> Result<Piece> {
                Err(Error::LogTruncated { file: 0, len: 1, read: 2 })
            }
        }
        let now = Instant::now();
        let (mut log, mut machine) = (Failing(Played::of(&[10])), Restore::raw(StepLimit::default(), None));
        assert_eq!(machine.turn(&mut log, now), Ok(Turn::Waits), "the number of files");
        machine.exchange().note_sent(4, now);
        assert_eq!(machine.turn(&mut log, now), Err(ServiceError::Log { service: "RESTORE", error }));
    }
}
