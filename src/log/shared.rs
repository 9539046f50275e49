//! A log that any number of scanners read: what they share, and how they learn that there is more.

use std::io;
use std::os::fd::RawFd;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, Weak};

use parking_lot::RwLock;

use super::budget::Halt;
use super::extent::Extent;
use super::files::{Directory, Files, Notification};
use super::range::Range;
use super::scanner::{Scanner, ScannerOptions};
use crate::diagnostics::{Level, Logger, say};
use crate::error::{Error, Result};
use crate::lsn::Lsn;
use crate::sys::waker::Waker;
use crate::sys::watch;

/// A log directory, open for reading. Any thread.
pub struct Log {
    files: Arc<dyn Files>,
    scanner_options: ScannerOptions,
    /// One for all sleepers, made when the first of them goes to sleep: who only reads needs none, and to give one back
    /// takes the system some milliseconds.
    watch: OnceLock<Box<dyn Notification>>,
    /// Whether people were told that the system has none to give.
    is_unwatched: AtomicBool,
    /// Whether the directory's path leads elsewhere, as was told.
    has_lost_its_path: AtomicBool,
    /// Of every loop that reads this log.
    wakers: RwLock<Vec<Weak<Waker>>>,
    send_limit: AtomicU64,
    /// How often there may have been more than before.
    epoch: AtomicU64,
    /// The highest VLSN that anybody has seen in it.
    last_vlsn: AtomicU64,
    extent: Extent,
    logger: Logger,
}

impl Log {
    /// Opens the log in `directory`, which has to be there and may be empty.
    pub fn open(directory: &Path, scanner_options: ScannerOptions, logger: Logger) -> Result<Arc<Log>> {
        let files = Directory::open(directory)
            .map_err(|error| Error::LogDirectory { path: directory.to_path_buf(), os: error.into() })?;
        Ok(Log::over(Arc::new(files), scanner_options, logger))
    }

    /// The log in `files`, wherever these are.
    pub fn over(files: Arc<dyn Files>, scanner_options: ScannerOptions, logger: Logger) -> Arc<Log> {
        Arc::new(Log {
            files,
            scanner_options,
            watch: OnceLock::new(),
            is_unwatched: AtomicBool::new(false),
            has_lost_its_path: AtomicBool::new(false),
            wakers: RwLock::new(Vec::new()),
            send_limit: AtomicU64::new(u64::MAX),
            epoch: AtomicU64::new(0),
            last_vlsn: AtomicU64::new(0),
            extent: Extent::default(),
            logger,
        })
    }

    /// A scanner of its own position over this log.
    pub fn scanner(&self, start: Lsn) -> Scanner {
        let mut scanner = Scanner::new(Arc::clone(&self.files), start, self.scanner_options);
        scanner.set_logger(self.logger.clone());
        scanner
    }

    /// The lowest VLSN that the log holds without a hole behind it, and the highest up to which it is complete;
    /// `None` while it has no replicated entry. Reads at the beginning and at the end of the log, not between.
    pub fn vlsn_range(&self) -> Result<Option<(u64, u64)>> {
        let mut range = Range::new(Arc::clone(&self.files), self.scanner_options, self.send_limit());
        loop {
            match range.search(u64::MAX) {
                Ok(found) => return Ok(found),
                Err(Halt::Failed(error)) => return Err(error),
                Err(Halt::Busy) => {}
            }
        }
    }

    /// Its files.
    pub fn files(&self) -> &Arc<dyn Files> {
        &self.files
    }

    /// How its scanners read it.
    pub fn scanner_options(&self) -> &ScannerOptions {
        &self.scanner_options
    }

    /// Says that the log has more. Never blocks.
    pub fn notify(&self) {
        self.begin_epoch();
        self.wake_all_but(None);
    }

    /// From now on only what is below `lsn` is sent. [`Lsn::NULL`] lifts the limit.
    pub fn set_send_limit(&self, lsn: Lsn) {
        self.send_limit.store(lsn.0, Ordering::Release);
        self.notify();
    }

    /// Nothing at or behind this position is sent.
    #[inline]
    pub fn send_limit(&self) -> Lsn {
        Lsn(self.send_limit.load(Ordering::Acquire))
    }

    /// A count that rises whenever there may be more than before.
    ///
    /// Who found nothing and sees the same count as before that look may believe that there is still nothing, and sleeps
    /// through no append by that. A loop arms the notification before it sleeps, and has all look once more. The count
    /// rises after the notification was armed. So an answer of that same count comes from a look that began when it was
    /// armed: what had been appended by then, the look has found, and what is appended later makes the descriptor
    /// readable. That, a call and the safety look let the count rise before anybody is woken for them.
    #[inline]
    pub fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Acquire)
    }

    fn begin_epoch(&self) {
        self.epoch.fetch_add(1, Ordering::AcqRel);
    }

    /// The notification's descriptor was found to be readable.
    pub fn note_readable(&self) {
        self.begin_epoch();
    }

    /// The highest VLSN that anybody has seen in this log; 0 for none.
    pub fn last_vlsn(&self) -> u64 {
        self.last_vlsn.load(Ordering::Relaxed)
    }

    /// Notes that this VLSN is there.
    pub fn note_vlsn(&self, vlsn: u64) {
        if vlsn > self.last_vlsn() {
            self.last_vlsn.fetch_max(vlsn, Ordering::Relaxed);
        }
    }

    /// Notes that there is none behind `last`, which was read. `before` is what [`last_vlsn`](Self::last_vlsn) was when that was begun to
    /// be looked for: if another has been seen since, it stays.
    pub fn note_end(&self, last: u64, before: u64) {
        if last < before {
            let _ = self.last_vlsn.compare_exchange(before, last, Ordering::Relaxed, Ordering::Relaxed);
        }
    }

    /// How many bytes its files have from `position` on; 0 where that cannot be found out. Asks the file system.
    pub fn bytes_from(&self, position: Lsn) -> u64 {
        self.extent.bytes_from(&*self.files, position).unwrap_or(0)
    }

    /// Where the system has no watch to give it is asked again at each sleep: it may have one by then.
    #[cold]
    fn begin_to_watch(&self) -> io::Result<()> {
        let watch = self.files.watch()?;
        // When two loops go to sleep at once for the first time, one of them finds a watch and arms it.
        self.watch.get_or_init(|| watch).arm()
    }

    #[cold]
    fn note_unwatched(&self, refused: &io::Error) {
        if !self.is_unwatched.swap(true, Ordering::Relaxed) {
            let advice = watch::advice(refused);
            self.warn(format_args!(
                "cannot watch {}: {refused}{advice}; the log is looked at every now and then instead",
                self.path().display()
            ));
        }
    }

    fn path(&self) -> &Path {
        self.files.path().unwrap_or(Path::new(""))
    }

    fn warn(&self, text: std::fmt::Arguments<'_>) {
        say(&self.logger, Level::Warn, "noxu_feeder::log", text);
    }

    /// The descriptors that a forked child has inherited.
    pub fn inherited_fds(&self) -> impl Iterator<Item = RawFd> + use<> {
        self.watch_fd().into_iter().chain(self.files.inherited_fd())
    }

    fn wake_all_but(&self, own: Option<&Waker>) {
        for waker in self.wakers.read().iter().filter_map(Weak::upgrade) {
            if own.is_none_or(|own| !std::ptr::eq(own, &*waker)) {
                waker.wake();
            }
        }
    }

    /// Has `waker` used when there may be more, for as long as somebody keeps it.
    pub fn register(&self, waker: &Arc<Waker>) {
        let mut wakers = self.wakers.write();
        wakers.retain(|waker| waker.strong_count() > 0);
        wakers.push(Arc::downgrade(waker));
    }

    /// Prepares for a sleep: the next change makes [`watch_fd`](Self::watch_fd) readable. False: changes cannot be noticed.
    pub fn arm(&self) -> bool {
        let armed = match self.watch.get() {
            Some(watch) => watch.arm(),
            None => self.begin_to_watch(),
        };
        self.begin_epoch();
        armed.inspect_err(|refused| self.note_unwatched(refused)).is_ok()
    }

    /// The descriptor of the notification, once that was armed.
    pub fn watch_fd(&self) -> Option<RawFd> {
        self.watch.get().map(|watch| watch.fd())
    }

    /// Takes the notification's events, and wakes all but `own`, for whom there may be nothing left to see.
    pub fn take_events(&self, own: &Waker) {
        self.begin_epoch();
        if self.watch.get().is_some_and(|watch| watch.take()) {
            self.wake_all_but(Some(own));
        }
    }

    /// It is about to be looked at for safety. Tells people, once, when the directory's path has come to lead elsewhere:
    /// they may take that for the log.
    pub fn check(&self) {
        self.begin_epoch();
        let is_lost = self.files.has_lost_its_path();
        if self.has_lost_its_path.swap(is_lost, Ordering::Relaxed) != is_lost && is_lost {
            self.warn(format_args!(
                "{} leads to another directory by now, or to none; the log that was opened there is read on",
                self.path().display()
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::Options;

    #[test]
    fn the_last_vlsn_is_the_highest_seen_until_the_log_is_seen_to_end_below() {
        let dir = tempfile::tempdir().unwrap();
        let log = Log::open(dir.path(), Options::default().scanner(), None).unwrap();
        let after = |change: &dyn Fn()| {
            change();
            log.last_vlsn()
        };
        assert_eq!(after(&|| ()), 0);
        assert_eq!(after(&|| log.note_vlsn(10)), 10);
        assert_eq!(after(&|| log.note_vlsn(9)), 10);
        assert_eq!(after(&|| log.note_end(8, 9)), 10, "another has been seen since that look began");
        assert_eq!(after(&|| log.note_end(10, 10)), 10);
        assert_eq!(after(&|| log.note_end(8, 10)), 8, "what was behind has been cut off");
        assert_eq!(after(&|| log.note_end(9, 8)), 8, "seen first, and then the end");
    }

    /// Not in Miri, which has no notification to arm.
    #[test]
    #[cfg(not(miri))]
    fn a_new_epoch_begins_whenever_there_may_be_more() {
        let dir = tempfile::tempdir().unwrap();
        let log = Log::open(dir.path(), Options::default().scanner(), None).unwrap();
        let own = crate::sys::waker::Wakeups::new().unwrap().waker();
        let changes: [&dyn Fn(); 6] = [
            &|| log.notify(),
            &|| log.set_send_limit(Lsn::NULL),
            &|| _ = log.arm(),
            &|| log.note_readable(),
            &|| log.take_events(&own),
            &|| log.check(),
        ];
        for (at, change) in changes.iter().enumerate() {
            let before = log.epoch();
            change();
            assert!(log.epoch() > before, "change {at}");
        }
        let before = log.epoch();
        log.note_vlsn(7);
        assert_eq!(log.epoch(), before, "nobody who has read all has to look for that");
    }

    #[test]
    fn a_log_that_is_not_there_is_an_error_that_names_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("absent");
        let error = Log::open(&path, Options::default().scanner(), None).err().unwrap();
        assert!(matches!(&error, Error::LogDirectory { path: named, .. } if *named == path), "{error}");
    }
}

/// Of who is told. Not in Miri: it has neither what a waker is made of nor notification.
#[cfg(all(test, not(miri)))]
mod waker_tests {
    use std::time::{Duration, Instant};

    use super::*;
    use crate::options::Options;
    use crate::sys::poll::{Interest, wait_for};
    use crate::sys::waker::Wakeups;

    fn log() -> (tempfile::TempDir, Arc<Log>) {
        let dir = tempfile::tempdir().unwrap();
        let log = Log::open(dir.path(), Options::default().scanner(), None).unwrap();
        (dir, log)
    }

    /// Of a loop of its own.
    fn registered(log: &Log) -> Arc<Waker> {
        let waker = Arc::new(Wakeups::new().unwrap().waker());
        waker.introduce(7);
        log.register(&waker);
        waker
    }

    /// Whether it was used since this was asked last.
    fn was_used(waker: &Waker) -> bool {
        let mut tokens = Vec::new();
        waker.wakeups().take(&mut tokens);
        waker.hear();
        tokens == [7]
    }

    #[test]
    fn every_loop_is_woken_when_there_is_more_or_more_may_be_sent() {
        let (_dir, log) = log();
        let wakers = [registered(&log), registered(&log)];
        assert!(!wakers.iter().any(|waker| was_used(waker)), "nobody has said anything");
        log.notify();
        assert!(wakers.iter().all(|waker| was_used(waker)));
        assert_eq!(log.send_limit(), Lsn::NULL);
        log.set_send_limit(Lsn::new(3, 100));
        assert_eq!(log.send_limit(), Lsn::new(3, 100));
        assert!(wakers.iter().all(|waker| was_used(waker)));
        log.set_send_limit(Lsn::NULL);
        assert!(wakers.iter().all(|waker| was_used(waker)));
    }

    #[test]
    fn loops_that_are_gone_are_forgotten() {
        let (_dir, log) = log();
        let stays = registered(&log);
        for _ in 0..100 {
            drop(registered(&log));
        }
        assert!(log.wakers.read().len() <= 2, "the last is only noticed by the next");
        log.notify();
        assert!(was_used(&stays));
    }

    #[test]
    #[cfg(any(target_os = "linux", target_os = "android"))]
    fn who_takes_a_notification_tells_the_others_once() {
        let (dir, log) = log();
        let wakers = [registered(&log), registered(&log), registered(&log)];
        let [own, others @ ..] = &wakers;
        assert!(log.watch_fd().is_none(), "who only reads needs none");
        log.take_events(own);
        assert!(log.arm());
        let fd = log.watch_fd().expect("one for all");
        assert!(log.arm() && log.watch_fd() == Some(fd));
        log.take_events(own);
        assert!(!wakers.iter().any(|waker| was_used(waker)), "nothing has changed");
        std::fs::write(dir.path().join("00000000.ndb"), "more").unwrap();
        let read = Interest { read: true, write: false };
        assert!(wait_for(fd, read, Some(Instant::now() + Duration::from_secs(60))).unwrap(), "nothing is noticed");
        log.take_events(own);
        assert!(!was_used(own) && others.iter().all(|waker| was_used(waker)));
        log.take_events(own);
        assert!(!wakers.iter().any(|waker| was_used(waker)), "it was taken");
    }
}
