//! Runners: each feeds one replica, and knows what the replica has acknowledged.

use std::cell::Cell;
use std::ffi::{CString, c_char, c_int, c_void};
use std::mem::offset_of;
use std::sync::Arc;
use std::sync::atomic::{AtomicPtr, Ordering};
use std::time::{Duration, Instant};

use super::border::{
    Context, Growing, Handle, Opaque, ask, give, given, guard, guard_about, name_of, null, opaque, with,
};
use super::channel::{hand_over as hand_over_channel, nxf_channel};
use super::error::nxf_error;
use super::options::{copied, nxf_options};
use super::scanner::{hand_over as hand_over_scanner, nxf_scanner};
use super::status::{NXF_AGAIN, NXF_CLOSED, NXF_OK, NXF_TIMEOUT, nxf_drop_callback, nxf_status};
use crate::acks::{Ack, Deadline, Polled, Waited};
use crate::error::Error;
use crate::runner::Runner;
use crate::session::lag::Lag;
use crate::session::link::Snapshot;
use crate::source::Origin;
use crate::states::{self, State};
use crate::sys::thread::{HoldOff, in_library};

/// An acknowledgement, or several that were merged because nobody took them in time. This struct is final: it never
/// grows.
#[repr(C)]
pub struct nxf_ack {
    /// The VLSN acknowledged; for several acknowledgements, the highest.
    pub vlsn: u64,
    /// How many more acknowledgements this one stands for.
    pub merged: u64,
}

/// Called for every acknowledgement, also one lower than before, in the order received, after the known VLSN has risen.
/// It is called on the runner's thread, with no lock held. It must not block for long, nor throw. It may call every
/// function that takes the runner as a pointer to const; a function that would wait for the callback is refused with
/// NXF_E_INSIDE_CALLBACK. replica_name is valid during the call.
pub type nxf_ack_callback = Option<unsafe extern "C" fn(context: *mut c_void, replica_name: *const c_char, vlsn: u64)>;

/// Called once, when the run has ended, as the last callback. how is the status that nxf_runner_result() returns from
/// now on. why is NULL unless how is an error. why and replica_name are valid only during the call. It is called on the
/// runner's thread, and the rules of an ack callback hold for it, too.
///
/// NXF_OK stands for three ends. nxf_runner_state() says which one it was, and its answer is final already. To ask it,
/// make the runner the context, or a part of it:
///
/// @code{.c}
/// static void on_end(void *context, const char *replica_name, nxf_status how, const nxf_error *why)
/// {
///     const nxf_runner *runner = context;
///     uint32_t state = nxf_runner_state(runner);
///     if (why)
///         log_line("%s", nxf_error_message(why));
///     else
///         log_line("replica '%s': %s", replica_name, nxf_run_state_name(state));
///     if (state == NXF_RUN_CLOSED_BY_REPLICA || state == NXF_RUN_RESET_BY_REPLICA || nxf_error_is_retriable(why))
///         reconnect_later(nxf_runner_user_pointer(runner), nxf_runner_known_replica_vlsn(runner) + 1);
/// }
/// @endcode
pub type nxf_end_callback = Option<
    unsafe extern "C" fn(context: *mut c_void, replica_name: *const c_char, how: nxf_status, why: *const nxf_error),
>;

/// The runner was not started.
pub const NXF_RUN_NEW: u32 = 0;
/// The run goes on.
pub const NXF_RUN_RUNNING: u32 = 1;
/// nxf_runner_stop() or nxf_runner_free() ended the run.
pub const NXF_RUN_STOPPED: u32 = 2;
/// The replica closed the connection, in order.
pub const NXF_RUN_CLOSED_BY_REPLICA: u32 = 3;
/// The replica broke the connection off.
pub const NXF_RUN_RESET_BY_REPLICA: u32 = 4;
/// The run failed: nxf_runner_result() says why.
pub const NXF_RUN_FAILED: u32 = 5;

/// The name of an NXF_RUN_..., such as "NXF_RUN_STOPPED". Any other number has the name "NXF_UNKNOWN". Never NULL;
/// valid for as long as the library is loaded. Any thread.
#[unsafe(no_mangle)]
pub extern "C" fn nxf_run_state_name(run_state: u32) -> *const c_char {
    name_among(states::run::ALL, run_state)
}

fn name_among(states: &[State], code: u32) -> *const c_char {
    states.iter().find(|state| state.code == code).map_or(c"NXF_UNKNOWN", |state| state.name).as_ptr()
}

/// There is more to read in the log, or the run has ended.
pub const NXF_LOG_READING: u32 = 0;
/// Everything in the log was read.
pub const NXF_LOG_AT_END: u32 = 1;
/// The log has no file yet, or not yet the file to start in.
pub const NXF_LOG_NO_FILE: u32 = 2;
/// A file's header is still being written.
pub const NXF_LOG_UNFINISHED_HEADER: u32 = 3;
/// There are zeros with more behind them: the writer has yet to fill them.
pub const NXF_LOG_HOLE: u32 = 4;
/// The end of an entry is not there yet.
pub const NXF_LOG_TORN: u32 = 5;
/// There are bytes that are not an entry; perhaps they are being written.
pub const NXF_LOG_UNREADABLE: u32 = 6;
/// The next file is there and has no entry yet.
pub const NXF_LOG_NEXT_FILE_EMPTY: u32 = 7;
/// The last entry of this file is not there yet: the next file names it.
pub const NXF_LOG_LAST_ENTRY_MISSING: u32 = 8;
/// The send limit is reached.
pub const NXF_LOG_SEND_LIMIT: u32 = 9;
/// The log ends more than one below the VLSN to begin with: the replica has entries that this log does not have.
pub const NXF_LOG_AHEAD: u32 = 10;

/// The name of an NXF_LOG_..., such as "NXF_LOG_AT_END". Otherwise as nxf_run_state_name().
#[unsafe(no_mangle)]
pub extern "C" fn nxf_log_state_name(log_state: u32) -> *const c_char {
    name_among(states::log::ALL, log_state)
}

/// The figures of a run, for people and for monitoring. They agree with each other, and are a moment old. Members may
/// be added at its end.
#[repr(C)]
pub struct nxf_runner_stats_t {
    /// The caller sets it to sizeof(nxf_runner_stats_t). No more than that is written.
    pub struct_size: usize,
    /// NXF_RUN_...
    pub run_state: u32,
    /// NXF_LOG_...: why there is nothing to read, if there is nothing.
    pub log_state: u32,
    /// The place in the log that log_state is about, as an LSN.
    pub log_state_lsn: u64,
    /// Whether log_state has lasted for longer than the settle time: not an error, but worth a look.
    pub is_stalled: bool,
    /// Whether the system notifies of changes in the log; if not, the run looks at the log at intervals.
    pub is_notified: bool,
    /// A VLSN that was not found although later ones were; 0 if there is no such VLSN.
    pub missing_vlsn: u64,
    /// The VLSN that the run starts with. For a start at 0, the lowest VLSN in the log, and 0 until that is found.
    pub start_vlsn: u64,
    /// The highest VLSN read from the log; one below the start before the first was read.
    pub read_vlsn: u64,
    /// The highest VLSN whose frame was wholly handed to the system; one below the start before the first was.
    pub sent_vlsn: u64,
    /// The highest VLSN acknowledged; 0 before the first.
    pub acked_vlsn: u64,
    /// Frames wholly handed to the system.
    pub frames_sent: u64,
    /// Bytes handed to the system.
    pub bytes_sent: u64,
    /// Bytes of frames that wait to be sent.
    pub queued_bytes: u64,
    /// Acknowledgements received.
    pub acks_received: u64,
    /// Acknowledgements that were merged into others because nobody polled.
    pub acks_merged: u64,
    /// Entries of the log without a VLSN, which are not sent.
    pub entries_untagged: u64,
    /// Entries that a rollback took back, which are not sent.
    pub entries_invisible: u64,
    /// Entries below the start, which are not sent.
    pub entries_below: u64,
    /// Entries that the log holds a second time, which are not sent again.
    pub entries_repeated: u64,
    /// Entries whose VLSN field holds no VLSN although a flag announces one; they are not sent.
    pub entries_bad_vlsn: u64,
    /// Entries that stood in the log before one of a lower VLSN.
    pub entries_early: u64,
    /// How many of these are held back now.
    pub entries_held: u64,
    /// Holes in log files that were crossed, because the entries behind them prove that none is missing.
    pub holes_crossed: u64,
    /// How often the log directory was listed.
    pub listings: u64,
    /// How often the run went to sleep.
    pub sleeps: u64,
    /// The longest time that the host's callback took for one delivery of acknowledgements, in nanoseconds.
    pub callback_longest_ns: u64,
    /// The highest VLSN known to be in the log. This run or another over the same nxf_log has seen it, even if it is
    /// held back or above the send limit, or nxf_log_vlsn_range() has found it. A run with a slow replica does not read
    /// far ahead, so there may be more: unread_bytes says how much. With a source of the host's own, the highest VLSN
    /// read. One below the start before any is known.
    pub last_known_vlsn: u64,
    /// How many entries the replica is behind: last_known_vlsn minus acked_vlsn, or minus start_vlsn - 1 while no VLSN
    /// from start_vlsn on is acknowledged. This figure and the figures in bytes below go on after the run has ended,
    /// and then tell what a new run will have to send.
    pub lag_entries: u64,
    /// How many bytes the replica is behind: unacked_bytes plus unread_bytes.
    pub lag_bytes: u64,
    /// Bytes of frames that were read from the log and are not acknowledged: queued_bytes, and the bytes sent and not
    /// acknowledged. If frames that were sent together are acknowledged in part, their bytes count in proportion.
    pub unacked_bytes: u64,
    /// Bytes of log files that were not read yet, or that belong to entries held back: up to the end of the newest
    /// file, with headers, holes and entries that are not sent. nxf_runner_stats() asks the file system for it: the
    /// first time for each file that was not read yet. 0 before the first file was opened, for a source of the host's
    /// own, and where the file system does not tell.
    pub unread_bytes: u64,
    /// The milliseconds since the oldest frame that is not acknowledged was sent; 0 if there is no such frame. Never
    /// too low, and too high by at most a thirtieth of the longest time that frames have been out. When the run has
    /// ended, this figure and last_ack_ms stay as they were at the end.
    pub oldest_unacked_ms: u64,
    /// The milliseconds since the last acknowledgement; before the first, since the run began.
    pub last_ack_ms: u64,
    /// Whether the run is only ending: it was stopped, or the log cannot be read on. In the second case, entries that
    /// were read before are still sent. In both, acknowledgements are still taken. False when the run has ended.
    pub is_ending: bool,
}

/// A runner feeds one replica, in one run. The run ends when it is stopped, when the replica closes, or with an error.
pub struct nxf_runner(Handle<Arc<Runner>>, AtomicPtr<c_void>);
opaque!(nxf_runner, "runner", Arc<Runner>, |runner: &Arc<Runner>| Some(runner.replica_name().to_owned()));

/// Makes a runner that will feed the replica of this name over channel, from start_vlsn on. If start_vlsn is 0, it
/// starts with the lowest VLSN that the source holds without a hole. No entry below start_vlsn is ever sent.
/// replica_name is for callbacks and messages, and is copied. Reads the options runner.* and ack.*.
///
/// On NXF_OK the channel belongs to the runner, and its pointer must not be used any more. The runner belongs to the
/// caller, who releases it with nxf_runner_free(). On any other status the channel stays the caller's. NXF_CLOSED: the
/// channel is closed, and there is no runner.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nxf_runner_new(
    channel: *mut nxf_channel,
    replica_name: *const c_char,
    start_vlsn: u64,
    options: *const nxf_options,
    runner: *mut *mut nxf_runner,
    err: *mut *mut nxf_error,
) -> nxf_status {
    given!(channel: owned, replica_name: string, options: reference, runner: out, err: optional_out);
    guard_about(
        || name_of(replica_name),
        err,
        || {
            let place = runner?;
            let name = CString::new(replica_name?).unwrap_or_default();
            let options = copied(options)?;
            let made = hand_over_channel(channel, |channel| Runner::new(channel, name, start_vlsn, options))?;
            place.write(give(nxf_runner(Handle::new(Arc::new(made)), AtomicPtr::default())));
            Ok(NXF_OK)
        },
    )
}

/// Sets the callback that receives every acknowledgement; none is kept for nxf_runner_poll_acks() then. Only before the
/// start, else NXF_E_WRONG_STATE. Replaces the callback set before, whose context is dropped.
///
/// On NXF_OK context belongs to the library and is passed to every call. drop, which may be NULL, releases it after the
/// last call, at the latest when nxf_runner_free() returns. On an error context stays the caller's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nxf_runner_set_ack_callback(
    runner: *mut nxf_runner,
    callback: nxf_ack_callback,
    context: *mut c_void,
    drop: nxf_drop_callback,
    err: *mut *mut nxf_error,
) -> nxf_status {
    given!(runner: reference, err: optional_out);
    with(runner, err, |runner| {
        let function = callback.ok_or(null("callback"))?;
        runner.check_can_set("set_ack_callback")?;
        let context = Context::new(context, drop);
        runner.set_ack_function(Box::new(move |name, vlsn| {
            let context = &context;
            // SAFETY: the host gave function and context for each other; the name lives during the call.
            unsafe { function(context.pointer(), name.as_ptr(), vlsn) };
        }))?;
        Ok(NXF_OK)
    })
}

/// Sets the callback that is called when the run has ended. It is never called for a runner that was not started. Only
/// before the start, else NXF_E_WRONG_STATE. context and drop are as for nxf_runner_set_ack_callback().
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nxf_runner_set_end_callback(
    runner: *mut nxf_runner,
    callback: nxf_end_callback,
    context: *mut c_void,
    drop: nxf_drop_callback,
    err: *mut *mut nxf_error,
) -> nxf_status {
    given!(runner: reference, err: optional_out);
    with(runner, err, |runner| {
        let function = callback.ok_or(null("callback"))?;
        runner.check_can_set("set_end_callback")?;
        let context = Context::new(context, drop);
        runner.set_end_function(Box::new(move |name, end| {
            let context = &context;
            let why = end.result().err().map(|error| nxf_error::new(error, Some(name.to_owned())));
            let how = why.as_ref().map_or(NXF_OK, nxf_error::status);
            let why = why.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
            // SAFETY: the host gave function and context for each other; name and error live during the call.
            unsafe { function(context.pointer(), name.as_ptr(), how, why) };
        }))?;
        Ok(NXF_OK)
    })
}

/// Starts the run on a thread of its own, whose stack may grow to the option runner.stack_bytes (8 MiB), and returns at
/// once. A runner starts once.
///
/// On NXF_OK the scanner belongs to the runner, and its pointer must not be used any more. On an error the scanner
/// stays the caller's, and nothing has started. NXF_E_WRONG_STATE: the runner was started or stopped before.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nxf_runner_start(
    runner: *mut nxf_runner,
    scanner: *mut nxf_scanner,
    err: *mut *mut nxf_error,
) -> nxf_status {
    given!(runner: reference, scanner: owned, err: optional_out);
    with(runner, err, |runner| {
        hand_over_scanner(scanner, |source| runner.start(source))?;
        Ok(NXF_OK)
    })
}

/// Runs on the caller's thread until the run ends. Returns the status that nxf_runner_result() returns from then on. To
/// end it, stop the runner. If the thread is cancelled (pthread_cancel), it goes on until this function returns, as in
/// every function.
///
/// The scanner belongs to the runner from the moment the run begins. It stays the caller's if the status is
/// NXF_E_INVALID_ARGUMENT, NXF_E_WRONG_STATE or NXF_E_FORKED: no run ends with these.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nxf_runner_run(
    runner: *mut nxf_runner,
    scanner: *mut nxf_scanner,
    err: *mut *mut nxf_error,
) -> nxf_status {
    given!(runner: reference, scanner: owned, err: optional_out);
    let mut kept = None;
    let status = with(runner, err, |runner| {
        kept = Some(Arc::clone(runner));
        Ok(NXF_OK)
    });
    // From here on this call keeps the run alive, and does not touch the handle: another thread may free the handle as
    // soon as the run has ended.
    let Some(runner) = kept else { return status };
    let status = guard_about(
        || Some(runner.replica_name().to_owned()),
        err,
        || {
            let end = hand_over_scanner(scanner, |source| runner.run(source))?;
            end.result()?;
            Ok(NXF_OK)
        },
    );
    in_library(HoldOff::AtOnce, || drop(runner));
    status
}

/// Takes up to capacity acknowledgements, in the order received, and writes their number to *count. Waits for the
/// first: timeout_ms 0 tries, -1 waits for as long as it takes. Any number of threads.
///
/// NXF_OK: there are some. NXF_TIMEOUT: none came in time, and *count is 0. NXF_CLOSED: the run has ended, all were
/// taken, and *count is 0; nxf_runner_result() says how it ended. If an ack callback is set, it receives all
/// acknowledgements, and none come here. NXF_E_INSIDE_CALLBACK: the call would wait, inside a callback of this runner.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nxf_runner_poll_acks(
    runner: *const nxf_runner,
    acks: *mut nxf_ack,
    capacity: usize,
    timeout_ms: c_int,
    count: *mut usize,
    err: *mut *mut nxf_error,
) -> nxf_status {
    // Of the same layout, as is asserted below.
    let acks = acks.cast::<Ack>();
    given!(runner: reference, acks[capacity]: buffer, count: out, err: optional_out);
    with(runner, err, |runner| {
        let place = count?;
        if capacity == 0 {
            return Err(Error::invalid("capacity", "is 0"));
        }
        let into = acks?;
        let deadline = Deadline::from_millis(timeout_ms);
        runner.refuse_waiting_inside("poll_acks", deadline)?;
        let (status, taken) = match runner.acks().poll(into, deadline) {
            Polled::Acks(taken) => (NXF_OK, taken),
            Polled::TimedOut => (NXF_TIMEOUT, 0),
            Polled::Ended => (NXF_CLOSED, 0),
        };
        place.write(taken);
        Ok(status)
    })
}

const _: () = assert!(
    size_of::<nxf_ack>() == size_of::<Ack>()
        && offset_of!(nxf_ack, vlsn) == offset_of!(Ack, vlsn)
        && offset_of!(nxf_ack, merged) == offset_of!(Ack, merged)
);

/// A descriptor that is readable while acknowledgements wait to be polled, or the run has ended. It belongs to the
/// runner: watch it with poll, select or epoll, and never read, write or close it. Every call returns the same
/// descriptor, valid until the runner is freed. Any thread. NXF_E_OS: no descriptor could be made.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nxf_runner_event_fd(
    runner: *const nxf_runner,
    fd: *mut c_int,
    err: *mut *mut nxf_error,
) -> nxf_status {
    given!(runner: reference, fd: out, err: optional_out);
    with(runner, err, |runner| {
        let place = fd?;
        let made = runner.acks().event_fd();
        place.write(made.map_err(|error| Error::os("make", "an event descriptor", error))?);
        Ok(NXF_OK)
    })
}

/// Waits until the replica has acknowledged vlsn or more: timeout_ms 0 tries, -1 waits for as long as it takes. Any
/// number of threads, also before the start.
///
/// NXF_OK: it has. NXF_TIMEOUT: it has not in time. NXF_CLOSED: the run ended before that. An error: the run ended with
/// it before that. NXF_E_INVALID_ARGUMENT: vlsn is 0, or below the start, and is never sent by this run.
/// NXF_E_INSIDE_CALLBACK: the call would wait, inside a callback of this runner.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nxf_runner_wait_acked(
    runner: *const nxf_runner,
    vlsn: u64,
    timeout_ms: c_int,
    err: *mut *mut nxf_error,
) -> nxf_status {
    given!(runner: reference, err: optional_out);
    with(runner, err, |runner| match runner.wait_acked(vlsn, Deadline::from_millis(timeout_ms))? {
        Waited::Acked => Ok(NXF_OK),
        Waited::TimedOut => Ok(NXF_TIMEOUT),
        Waited::Ended(end) => {
            end.result()?;
            Ok(NXF_CLOSED)
        }
    })
}

/// Tells the runner that there is more to read. For a log, this does what nxf_log_notify() does. A source of the host's
/// own is asked again. Any thread, cheap, never blocks. Fails only for NULL and after a fork.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nxf_runner_notify(runner: *const nxf_runner) -> nxf_status {
    given!(runner: reference);
    with(runner, None, |runner| {
        runner.notify();
        Ok(NXF_OK)
    })
}

/// The highest VLSN that the replica has acknowledged; 0 before the first, and for NULL. Never falls. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nxf_runner_known_replica_vlsn(runner: *const nxf_runner) -> u64 {
    given!(runner: reference);
    ask(runner, 0, |runner| runner.acks().known_vlsn())
}

/// The state of the run: an NXF_RUN_...; NXF_RUN_NEW for NULL. The state of a run that has ended does not change any
/// more; inside the end callback it is final already. Any thread. Never waits.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nxf_runner_state(runner: *const nxf_runner) -> u32 {
    given!(runner: reference);
    ask(runner, NXF_RUN_NEW, |runner| runner.state().code)
}

/// The replica's name, as it was given to nxf_runner_new(). Valid until the runner is freed. "" for NULL. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nxf_runner_replica_name(runner: *const nxf_runner) -> *const c_char {
    given!(runner: reference);
    ask(runner, c"".as_ptr(), |runner| runner.replica_name().as_ptr())
}

/// Keeps a pointer for the host, such as one to the host's own object for this replica. The library only gives it back.
/// NULL at first. Any thread, at any time, also inside a callback. Fails only for NULL and after a fork.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nxf_runner_set_user_pointer(runner: *const nxf_runner, user: *mut c_void) -> nxf_status {
    given!(runner: reference);
    with(runner, None, |_| {
        if let Some(nxf_runner(_, kept)) = runner {
            kept.store(user, Ordering::Release);
        }
        Ok(NXF_OK)
    })
}

/// The pointer that was kept last; NULL at first, and for NULL. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nxf_runner_user_pointer(runner: *const nxf_runner) -> *mut c_void {
    given!(runner: reference);
    let kept = |nxf_runner(_, kept): &nxf_runner| kept.load(Ordering::Acquire);
    ask(runner, std::ptr::null_mut(), |_| runner.map_or(std::ptr::null_mut(), kept))
}

/// Writes the run's figures to *stats. Writes at most stats->struct_size bytes, which the caller has set to
/// sizeof(nxf_runner_stats_t). Any thread, also before the start and after the end. Waits only for the file system,
/// which it asks for lengths if struct_size has room for lag_bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nxf_runner_stats(
    runner: *const nxf_runner,
    stats: *mut nxf_runner_stats_t,
    err: *mut *mut nxf_error,
) -> nxf_status {
    given!(runner: reference, stats: sized_out, err: optional_out);
    with(runner, err, |runner| {
        stats?.write(|struct_size| stats_of(runner, struct_size))?;
        Ok(NXF_OK)
    })
}

// SAFETY: a struct as C has them, of numbers and truth values, and its size is the first.
unsafe impl Growing for nxf_runner_stats_t {
    const PADDING: &[std::ops::Range<usize>] = &[
        offset_of!(nxf_runner_stats_t, is_notified) + size_of::<bool>()..offset_of!(nxf_runner_stats_t, missing_vlsn),
        offset_of!(nxf_runner_stats_t, is_ending) + size_of::<bool>()..size_of::<nxf_runner_stats_t>(),
    ];
}

/// What the figures of a run are taken from, in this order. All that was acknowledged when it was asked is sent in the
/// snapshot, and if the run had ended, the snapshot has its last figures. In another order they would contradict each
/// other now and then.
pub(super) struct RunFigures<'a> {
    pub(super) acked_vlsn: u64,
    pub(super) run_state: State,
    pub(super) snapshot: Snapshot,
    pub(super) acks_merged: u64,
    pub(super) callback_longest: Duration,
    pub(super) origin: Option<&'a dyn Origin>,
}

fn stats_of(runner: &Runner, struct_size: usize) -> nxf_runner_stats_t {
    let figures = RunFigures {
        acked_vlsn: runner.acks().known_vlsn(),
        run_state: runner.state(),
        snapshot: runner.snapshot(),
        acks_merged: runner.acks().merged(),
        callback_longest: runner.callback_longest(),
        origin: runner.origin(),
    };
    figures.stats(struct_size)
}

impl RunFigures<'_> {
    /// As C has them, as far as there is room.
    pub(super) fn stats(&self, struct_size: usize) -> nxf_runner_stats_t {
        let &RunFigures { acked_vlsn, run_state, snapshot: now, acks_merged, callback_longest, origin } = self;
        let as_of = now.ended.unwrap_or_else(Instant::now);
        let millis = |since: Option<Instant>| millis(since.map(|since| as_of.saturating_duration_since(since)));
        // Only if the host's struct has room for it: this asks the file system.
        let looks = struct_size > offset_of!(nxf_runner_stats_t, lag_bytes);
        let lag = Lag::of(&now, acked_vlsn, origin, looks);
        let log_state = now.pause.map_or(states::log::READING, |pause| pause.reason.state());
        nxf_runner_stats_t {
            struct_size,
            run_state: run_state.code,
            log_state: log_state.code,
            log_state_lsn: now.pause.map_or(0, |pause| pause.at.0),
            is_stalled: now.pause.is_some_and(|pause| pause.stalled),
            is_notified: now.is_notified,
            missing_vlsn: now.pause.and_then(|pause| pause.missing_vlsn).unwrap_or(0),
            start_vlsn: now.start_vlsn,
            read_vlsn: now.read_vlsn,
            sent_vlsn: now.sent_vlsn,
            acked_vlsn,
            frames_sent: now.stream.frames,
            bytes_sent: now.stream.bytes,
            queued_bytes: now.queued_bytes,
            acks_received: now.stream.acks,
            acks_merged,
            entries_untagged: now.source.counts.untagged,
            entries_invisible: now.source.counts.invisible,
            entries_below: now.source.counts.below,
            entries_repeated: now.source.counts.repeats,
            entries_bad_vlsn: now.source.counts.bad_vlsns,
            entries_early: now.source.counts.early,
            entries_held: now.source.held,
            holes_crossed: now.source.holes_crossed,
            listings: now.source.listings,
            sleeps: now.sleeps,
            callback_longest_ns: u64::try_from(callback_longest.as_nanos()).unwrap_or(u64::MAX),
            last_known_vlsn: lag.last_known_vlsn,
            lag_entries: lag.entries,
            lag_bytes: now.unacked_bytes + lag.unread_bytes,
            unacked_bytes: now.unacked_bytes,
            unread_bytes: lag.unread_bytes,
            oldest_unacked_ms: millis(now.unacked_since),
            last_ack_ms: millis(now.acked_last),
            is_ending: now.is_ending,
        }
    }
}

/// A time in milliseconds; 0 for none.
pub(super) fn millis(time: Option<Duration>) -> u64 {
    time.map_or(0, |time| u64::try_from(time.as_millis()).unwrap_or(u64::MAX))
}

/// Ends the run: queued frames are not sent any more, and the replica's last acknowledgements are still taken for the
/// option runner.linger_ms. Waits until the run has ended: timeout_ms 0 does not wait, -1 waits for as long as it
/// takes. Any thread, any number of times. A runner that is stopped before its start has ended, without an end
/// callback, and cannot be started.
///
/// NXF_OK: the run has ended, no callback runs any more, and none starts. NXF_TIMEOUT: the run is still ending.
/// NXF_E_INSIDE_CALLBACK: called from a callback of this runner, for which it would wait. With timeout_ms 0 it does not
/// wait, and can be called there, too.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nxf_runner_stop(
    runner: *const nxf_runner,
    timeout_ms: c_int,
    err: *mut *mut nxf_error,
) -> nxf_status {
    given!(runner: reference, err: optional_out);
    with(runner, err, |runner| {
        let stopped = runner.stop(Deadline::from_millis(timeout_ms))?;
        Ok(if stopped { NXF_OK } else { NXF_TIMEOUT })
    })
}

/// Ends count runs at once, as nxf_runner_stop() ends one. It tells all runs to end before it waits for any, so it
/// takes as long as the slowest, and nxf_runner_free() has nothing left to wait for. A runner that has ended, was never
/// started or is in the array twice is not an error, and NULL is passed over. The runners stay the caller's, who
/// releases each.
///
/// NXF_OK: all have ended, no callback of theirs runs any more, and none starts. NXF_TIMEOUT: some are still ending,
/// timeout_ms after the call. NXF_E_INSIDE_CALLBACK: called from a callback of one of them. NXF_E_FORKED: the parent of
/// this process made one of them. With these two, no run was told to end. With timeout_ms 0 it does not wait, and can
/// be called from a callback, too.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nxf_runner_stop_all(
    runners: *const *mut nxf_runner,
    count: usize,
    timeout_ms: c_int,
    err: *mut *mut nxf_error,
) -> nxf_status {
    // A pointer that may be NULL has the layout of a reference that need not be there.
    let runners = runners.cast::<Option<&nxf_runner>>();
    given!(runners[count]: items, err: optional_out);
    let refused = Cell::new(None);
    guard_about(
        || refused.take(),
        err,
        || {
            let runners = runners?;
            let mut all = Vec::with_capacity(runners.len());
            for runner in runners.iter().flatten() {
                if !runner.handle().is_of_this_process() {
                    return Err(Error::Forked);
                }
                // Also a runner that a panic has passed through: it can be freed, so it can be ended.
                all.push(Arc::clone(runner.handle().value()));
            }
            let stopped = Runner::stop_all(&all, Deadline::from_millis(timeout_ms)).map_err(|(name, error)| {
                refused.set(Some(name));
                error
            })?;
            Ok(if stopped { NXF_OK } else { NXF_TIMEOUT })
        },
    )
}

/// How the run ended. NXF_OK: it was stopped, or the replica closed or broke off the connection; nxf_runner_state()
/// says which. NXF_AGAIN: it has not ended. An error: the run ended with it; every call returns the same. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nxf_runner_result(runner: *const nxf_runner, err: *mut *mut nxf_error) -> nxf_status {
    given!(runner: reference, err: optional_out);
    with(runner, err, |runner| match runner.acks().ended() {
        None => Ok(NXF_AGAIN),
        Some(end) => {
            end.result()?;
            Ok(NXF_OK)
        }
    })
}

/// Ends the run like nxf_runner_stop(runner, -1), and releases the runner. No other thread may use the runner any more,
/// except one that is in nxf_runner_run(). NULL is fine. From inside a callback of this runner it is
/// NXF_E_INSIDE_CALLBACK, and releases nothing. When it returns NXF_OK, channel and scanner are closed, no thread of
/// the run is left, and the callbacks' contexts have been dropped.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nxf_runner_free(runner: *mut nxf_runner) -> nxf_status {
    given!(runner: owned);
    let Some(runner) = runner else { return NXF_OK };
    let handle = runner.handle();
    if !handle.is_of_this_process() {
        in_library(HoldOff::AtOnce, || handle.value().close_in_child());
        // The threads that hold the rest do not exist in this process.
        std::mem::forget(runner.take());
        return NXF_OK;
    }
    let status = guard(None, || {
        handle.value().dispose()?;
        Ok(NXF_OK)
    });
    if status == NXF_OK {
        in_library(HoldOff::AtOnce, || drop(runner.take()));
    }
    status
}
