//! Runners: feed one replica each, and know what it has acknowledged.

use std::cell::Cell;
use std::ffi::{CString, c_char, c_int, c_void};
use std::sync::Arc;
use std::sync::atomic::{AtomicPtr, Ordering};
use std::time::Instant;

use super::border::{
    Context, Handle, Opaque, buffer, give, guard, guard_about, items, name_of, null, opaque, out, string, take, with,
    write_sized,
};
use super::channel::{hand_over as hand_over_channel, nxf_channel};
use super::error::nxf_error;
use super::options::{copied, nxf_options};
use super::scanner::{hand_over as hand_over_scanner, nxf_scanner};
use super::status::{NXF_AGAIN, NXF_CLOSED, NXF_OK, NXF_TIMEOUT, nxf_drop_callback, nxf_status};
use crate::acks::{Ack, Deadline, Polled, Waited};
use crate::error::Error;
use crate::runner::Runner;
use crate::states::{self, State};
use crate::sys::thread::{HoldOff, in_library};

/// An acknowledgement, or several merged into one because nobody took them in time. This struct is final: it never
/// grows.
#[repr(C)]
pub struct nxf_ack {
    /// The VLSN acknowledged; of several, the highest.
    pub vlsn: u64,
    /// How many more acknowledgements it stands for.
    pub merged: u64,
}

/// Called for every acknowledgement in the order received, lower ones too, after the known VLSN has risen. On the
/// runner's thread, with no lock held: it must not block for long, nor throw. It may call every function that takes
/// the runner as a pointer to const; those that would wait for it are refused with NXF_E_INSIDE_CALLBACK. replica_name
/// is valid during the call.
pub type nxf_ack_callback = Option<unsafe extern "C" fn(context: *mut c_void, replica_name: *const c_char, vlsn: u64)>;

/// Called once, when the run has ended, as the last callback: how is what nxf_runner_result() returns from now on. why
/// is NULL unless how is an error, and valid during the call only, as is replica_name. On the runner's thread; what an
/// ack callback must not do it must not do either.
///
/// NXF_OK is three ends in one: nxf_runner_state() says which, and has its last answer already. To be asked, the runner
/// has to be the context, or in it:
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
/// It was ended by nxf_runner_stop() or nxf_runner_free().
pub const NXF_RUN_STOPPED: u32 = 2;
/// The replica closed the connection, in order.
pub const NXF_RUN_CLOSED_BY_REPLICA: u32 = 3;
/// The replica broke the connection off.
pub const NXF_RUN_RESET_BY_REPLICA: u32 = 4;
/// It failed: nxf_runner_result() says why.
pub const NXF_RUN_FAILED: u32 = 5;

/// The name of an NXF_RUN_...: "NXF_RUN_STOPPED" ... A number that is none has the name "NXF_UNKNOWN". Never NULL;
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
/// All that the log has was read.
pub const NXF_LOG_AT_END: u32 = 1;
/// The log has no file yet, or not the one to start in.
pub const NXF_LOG_NO_FILE: u32 = 2;
/// A file's header is still being written.
pub const NXF_LOG_UNFINISHED_HEADER: u32 = 3;
/// Zeros with more behind them: the writer is to fill them.
pub const NXF_LOG_HOLE: u32 = 4;
/// An entry whose end is not there yet.
pub const NXF_LOG_TORN: u32 = 5;
/// Bytes that are no entry; perhaps they are being written.
pub const NXF_LOG_UNREADABLE: u32 = 6;
/// The next file is there and has no entry yet.
pub const NXF_LOG_NEXT_FILE_EMPTY: u32 = 7;
/// The next file names an entry as the last of this one that is not here yet.
pub const NXF_LOG_LAST_ENTRY_MISSING: u32 = 8;
/// The send limit is reached.
pub const NXF_LOG_SEND_LIMIT: u32 = 9;
/// The log ends more than one below the VLSN to begin with: the replica has what this log has not.
pub const NXF_LOG_AHEAD: u32 = 10;

/// The name of an NXF_LOG_...: "NXF_LOG_AT_END" ... As nxf_run_state_name().
#[unsafe(no_mangle)]
pub extern "C" fn nxf_log_state_name(log_state: u32) -> *const c_char {
    name_among(states::log::ALL, log_state)
}

/// What a runner is doing, for people and for monitoring. Consistent in itself, a moment old. Members may be added at
/// its end.
#[repr(C)]
pub struct nxf_runner_stats_t {
    /// To be set to sizeof(nxf_runner_stats_t) by the caller: only so much is written.
    pub struct_size: usize,
    /// NXF_RUN_...
    pub run_state: u32,
    /// NXF_LOG_...: why there is nothing to read, if that is so.
    pub log_state: u32,
    /// Where in the log that is, as an LSN.
    pub log_state_lsn: u64,
    /// Whether it has lasted for longer than the settle time: no error, but worth a look.
    pub is_stalled: bool,
    /// Whether the system notifies of changes in the log; if not, it is looked at every now and then.
    pub is_notified: bool,
    /// A VLSN that was not found although later ones were; 0 for none.
    pub missing_vlsn: u64,
    /// The VLSN that the run starts with. For a start at 0 the one that was found to be the lowest; 0 before that.
    pub start_vlsn: u64,
    /// The highest VLSN read from the log; one below the start before the first.
    pub read_vlsn: u64,
    /// The highest VLSN whose frame was wholly handed to the system; one below the start before the first.
    pub sent_vlsn: u64,
    /// The highest VLSN acknowledged; 0 before the first.
    pub acked_vlsn: u64,
    /// Frames wholly handed to the system.
    pub frames_sent: u64,
    /// Bytes handed to the system.
    pub bytes_sent: u64,
    /// Bytes read from the log that wait to be sent.
    pub queued_bytes: u64,
    /// Acknowledgements received.
    pub acks_received: u64,
    /// Acknowledgements merged into others because nobody polled.
    pub acks_merged: u64,
    /// Entries of the log without a VLSN, which are not sent.
    pub entries_untagged: u64,
    /// Entries that a rollback took back, which are not sent.
    pub entries_invisible: u64,
    /// Entries below the start.
    pub entries_below: u64,
    /// Entries that the log holds a second time, which are not sent again.
    pub entries_repeated: u64,
    /// Entries whose VLSN field holds no VLSN although a flag announces one; they are not sent.
    pub entries_bad_vlsn: u64,
    /// Entries that stood in the log before one of a lower VLSN.
    pub entries_early: u64,
    /// Of these, how many are held back now.
    pub entries_held: u64,
    /// Holes in log files that were crossed, because what is behind them proves that nothing is missing.
    pub holes_crossed: u64,
    /// How often the log directory was listed.
    pub listings: u64,
    /// How often the run went to sleep.
    pub sleeps: u64,
    /// The longest time that the host took for one delivery of acknowledgements, in nanoseconds.
    pub callback_longest_ns: u64,
    /// The highest VLSN known to be in the log: seen by this run or by another over the same nxf_log, and be it held
    /// back or behind the send limit, or found by nxf_log_vlsn_range(). A run with a slow replica does not read far
    /// ahead, so there may be more: unread_bytes says how much. Of a source of the host's own, the highest read. One
    /// below the start before any is known.
    pub last_known_vlsn: u64,
    /// How many entries the replica is behind: last_known_vlsn minus acked_vlsn or, where nothing at or above
    /// start_vlsn is acknowledged yet, minus what is below it. Goes on after the run has ended, as all that follows
    /// here in bytes, and tells what a new run will have to send.
    pub lag_entries: u64,
    /// How many bytes the replica is behind: unacked_bytes and unread_bytes.
    pub lag_bytes: u64,
    /// Bytes of frames that were read from the log and not acknowledged: queued_bytes, and what was sent. Of what was
    /// sent at once, and acknowledged in part, a part in proportion.
    pub unacked_bytes: u64,
    /// Bytes of log files that were not read yet, or are of entries held back: up to the end of the newest file, with
    /// headers, holes and what is not sent. The file system is asked for it, by this function, and the first time for
    /// each file that was not read yet. 0 before the first file was opened, for a source of the host's own, and where
    /// the file system does not tell.
    pub unread_bytes: u64,
    /// For how many milliseconds the oldest frame that was sent and is not acknowledged has been out; 0 if there is
    /// none. Never less than that, and more by a thirtieth of the longest time that frames have been out, at most. When
    /// the run has ended, this and last_ack_ms are what they were then.
    pub oldest_unacked_ms: u64,
    /// For how many milliseconds no acknowledgement has come; before the first, since the run began.
    pub last_ack_ms: u64,
    /// Whether the run goes on to its end only: it was stopped, or the log cannot be read on. What was read before that
    /// is still sent in the second case, and acknowledgements are taken in both. False when it has ended.
    pub is_ending: bool,
}

/// Feeds one replica: a run, which begins once, and ends when it is stopped, when the replica closes, or with an
/// error.
pub struct nxf_runner(Handle<Arc<Runner>>, AtomicPtr<c_void>);
opaque!(nxf_runner, "runner", Arc<Runner>, |runner: &Arc<Runner>| Some(runner.replica_name().to_owned()));

/// Makes a runner that will feed the replica of this name over channel, from start_vlsn on; 0: from the lowest VLSN
/// that the source holds without a hole. Nothing below start_vlsn is ever sent. replica_name is for callbacks and
/// messages, and is copied. Reads the options runner.* and ack.*.
///
/// On NXF_OK the channel is the runner's, and its pointer must not be used any more; the runner is the caller's: to be
/// released with nxf_runner_free(). Otherwise the channel stays the caller's. NXF_CLOSED: the channel is closed, and
/// there is no runner.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nxf_runner_new(
    channel: *mut nxf_channel,
    replica_name: *const c_char,
    start_vlsn: u64,
    options: *const nxf_options,
    runner: *mut *mut nxf_runner,
    err: *mut *mut nxf_error,
) -> nxf_status {
    // SAFETY: the pointers are NULL or valid, as the header says.
    unsafe {
        guard_about(
            || name_of(replica_name),
            err,
            || {
                let place = out(runner, "runner")?;
                let name = CString::new(string(replica_name, "replica_name")?).unwrap_or_default();
                let options = copied(options)?;
                let made = hand_over_channel(channel, |channel| Runner::new(channel, name, start_vlsn, options))?;
                place.write(give(nxf_runner(Handle::new(Arc::new(made)), AtomicPtr::default())));
                Ok(NXF_OK)
            },
        )
    }
}

/// Has every acknowledgement handed to callback, instead of kept for nxf_runner_poll_acks(). Before the start only,
/// else NXF_E_WRONG_STATE. Takes the place of the one set before, whose context is dropped.
///
/// On NXF_OK context is the library's: it goes to every call, and drop, which may be NULL, releases it when the last
/// call is over, at the latest when nxf_runner_free() returns. On an error it stays the caller's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nxf_runner_set_ack_callback(
    runner: *mut nxf_runner,
    callback: nxf_ack_callback,
    context: *mut c_void,
    drop: nxf_drop_callback,
    err: *mut *mut nxf_error,
) -> nxf_status {
    // SAFETY: the pointers are NULL or valid, as the header says.
    unsafe {
        with(runner, err, |runner| {
            let function = callback.ok_or_else(|| null("callback"))?;
            runner.check_can_set("set_ack_callback")?;
            let context = Context::new(context, drop);
            runner.set_ack_function(Box::new(move |name, vlsn| {
                let context = &context;
                // The host gave function and context for each other; the name lives during the call.
                function(context.pointer(), name.as_ptr(), vlsn);
            }))?;
            Ok(NXF_OK)
        })
    }
}

/// Has callback called when the run has ended. Never for a runner that was not started. Before the start only. context
/// and drop as for nxf_runner_set_ack_callback().
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nxf_runner_set_end_callback(
    runner: *mut nxf_runner,
    callback: nxf_end_callback,
    context: *mut c_void,
    drop: nxf_drop_callback,
    err: *mut *mut nxf_error,
) -> nxf_status {
    // SAFETY: the pointers are NULL or valid, as the header says.
    unsafe {
        with(runner, err, |runner| {
            let function = callback.ok_or_else(|| null("callback"))?;
            runner.check_can_set("set_end_callback")?;
            let context = Context::new(context, drop);
            runner.set_end_function(Box::new(move |name, end| {
                let context = &context;
                let why = end.result().err().map(|error| nxf_error::new(error, Some(name.to_owned())));
                let how = why.as_ref().map_or(NXF_OK, nxf_error_status_of);
                let why = why.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
                // The host gave function and context for each other; name and error live during the call.
                function(context.pointer(), name.as_ptr(), how, why);
            }))?;
            Ok(NXF_OK)
        })
    }
}

fn nxf_error_status_of(error: &nxf_error) -> nxf_status {
    // SAFETY: a reference is a valid pointer.
    unsafe { super::error::nxf_error_status(error) }
}

/// Starts the run on a thread of its own, whose stack may grow to the option runner.stack_bytes (8 MiB), and returns at
/// once. A runner starts once.
///
/// On NXF_OK the scanner is the runner's, and its pointer must not be used any more; on an error it stays the
/// caller's, and nothing has started. NXF_E_WRONG_STATE: the runner was started or stopped before.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nxf_runner_start(
    runner: *mut nxf_runner,
    scanner: *mut nxf_scanner,
    err: *mut *mut nxf_error,
) -> nxf_status {
    // SAFETY: the pointers are NULL or valid, as the header says.
    unsafe {
        with(runner, err, |runner| {
            hand_over_scanner(scanner, |source| runner.start(source))?;
            Ok(NXF_OK)
        })
    }
}

/// Runs on the caller's thread until the run ends, and returns what nxf_runner_result() returns from then on. To have it
/// end, stop the runner: a thread that is cancelled (pthread_cancel) goes on until this returns, as in every function.
///
/// The scanner is the runner's from the moment the run begins: that is, unless the status is NXF_E_INVALID_ARGUMENT,
/// NXF_E_WRONG_STATE or NXF_E_FORKED, which no run ends with.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nxf_runner_run(
    runner: *mut nxf_runner,
    scanner: *mut nxf_scanner,
    err: *mut *mut nxf_error,
) -> nxf_status {
    // SAFETY: the pointers are NULL or valid, as the header says.
    unsafe {
        let mut kept = None;
        let status = with(runner, err, |runner| {
            kept = Some(Arc::clone(runner));
            Ok(NXF_OK)
        });
        // Kept alive by this call, and the handle let go of: another thread may free it as soon as the run has ended.
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
}

/// Takes up to capacity acknowledgements, in the order received, and writes their number to *count. Waits for the
/// first: timeout_ms 0 tries, -1 waits for as long as it takes. Any number of threads.
///
/// NXF_OK: there are some. NXF_TIMEOUT: none came in time. NXF_CLOSED: the run has ended and all were taken
/// (nxf_runner_result() says how); then and on NXF_TIMEOUT *count is 0. With an ack callback set, acknowledgements go
/// there and never come here. NXF_E_INSIDE_CALLBACK: it would wait, inside a callback of this runner.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nxf_runner_poll_acks(
    runner: *const nxf_runner,
    acks: *mut nxf_ack,
    capacity: usize,
    timeout_ms: c_int,
    count: *mut usize,
    err: *mut *mut nxf_error,
) -> nxf_status {
    // SAFETY: the pointers are NULL or valid, as the header says; nxf_ack has the layout of Ack.
    unsafe {
        with(runner, err, |runner| {
            let place = out(count, "count")?;
            if capacity == 0 {
                return Err(Error::invalid("capacity", "is 0"));
            }
            let into = buffer(acks.cast::<Ack>(), capacity, "acks")?;
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
}

const _: () = assert!(
    size_of::<nxf_ack>() == size_of::<Ack>()
        && std::mem::offset_of!(nxf_ack, vlsn) == std::mem::offset_of!(Ack, vlsn)
        && std::mem::offset_of!(nxf_ack, merged) == std::mem::offset_of!(Ack, merged)
);

/// A descriptor that is readable while acknowledgements wait to be polled, or the run has ended. It belongs to the
/// runner: watch it with poll, select or epoll, and never read, write or close it. The same each time; valid until the
/// runner is freed. Any thread. NXF_E_OS: no descriptor could be made.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nxf_runner_event_fd(
    runner: *const nxf_runner,
    fd: *mut c_int,
    err: *mut *mut nxf_error,
) -> nxf_status {
    // SAFETY: the pointers are NULL or valid, as the header says.
    unsafe {
        with(runner, err, |runner| {
            let place = out(fd, "fd")?;
            let made = runner.acks().event_fd();
            place.write(made.map_err(|error| Error::os("make", "an event descriptor", error))?);
            Ok(NXF_OK)
        })
    }
}

/// Waits until the replica has acknowledged vlsn or more: timeout_ms 0 tries, -1 waits for as long as it takes. Any
/// number of threads, also before the start.
///
/// NXF_OK: it has. NXF_TIMEOUT: not in time. NXF_CLOSED: the run was closed before; or the error that it ended with.
/// A vlsn below the start, which this run never sends, is NXF_E_INVALID_ARGUMENT, as is 0. NXF_E_INSIDE_CALLBACK: it
/// would wait, inside a callback of this runner.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nxf_runner_wait_acked(
    runner: *const nxf_runner,
    vlsn: u64,
    timeout_ms: c_int,
    err: *mut *mut nxf_error,
) -> nxf_status {
    // SAFETY: the pointers are NULL or valid, as the header says.
    unsafe {
        with(runner, err, |runner| match runner.wait_acked(vlsn, Deadline::from_millis(timeout_ms))? {
            Waited::Acked => Ok(NXF_OK),
            Waited::TimedOut => Ok(NXF_TIMEOUT),
            Waited::Ended(end) => {
                end.result()?;
                Ok(NXF_CLOSED)
            }
        })
    }
}

/// "There is more": nxf_log_notify() for the log that this runner reads, or, for a source of the host's own, has it
/// asked again. Any thread, cheap, never blocks. Fails for NULL and after a fork only.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nxf_runner_notify(runner: *const nxf_runner) -> nxf_status {
    // SAFETY: NULL or a live handle, as the header says.
    unsafe {
        with(runner, std::ptr::null_mut(), |runner| {
            runner.notify();
            Ok(NXF_OK)
        })
    }
}

/// The highest VLSN that the replica has acknowledged; 0 before the first, and for NULL. Never falls. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nxf_runner_known_replica_vlsn(runner: *const nxf_runner) -> u64 {
    let mut vlsn = 0;
    // SAFETY: NULL or a live handle, as the header says.
    unsafe {
        with(runner, std::ptr::null_mut(), |runner| {
            vlsn = runner.acks().known_vlsn();
            Ok(NXF_OK)
        });
    }
    vlsn
}

/// What the run is doing, or how it ended: an NXF_RUN_...; NXF_RUN_NEW for NULL. What has ended stays as it is: inside
/// the end callback this is the last answer already. Any thread. Never waits.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nxf_runner_state(runner: *const nxf_runner) -> u32 {
    let mut state = NXF_RUN_NEW;
    // SAFETY: NULL or a live handle, as the header says.
    unsafe {
        with(runner, std::ptr::null_mut(), |runner| {
            state = runner.state().code;
            Ok(NXF_OK)
        });
    }
    state
}

/// The replica's name, as it was given to nxf_runner_new(). Valid until the runner is freed. "" for NULL. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nxf_runner_replica_name(runner: *const nxf_runner) -> *const c_char {
    let mut name = c"".as_ptr();
    // SAFETY: NULL or a live handle, as the header says.
    unsafe {
        with(runner, std::ptr::null_mut(), |runner| {
            name = runner.replica_name().as_ptr();
            Ok(NXF_OK)
        });
    }
    name
}

/// Keeps a pointer for the host: to what it has for this replica, say. Nothing is done with it but to give it back.
/// NULL at first. Any thread, at any time, also inside a callback. Fails for NULL and after a fork only.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nxf_runner_set_user_pointer(runner: *const nxf_runner, user: *mut c_void) -> nxf_status {
    // SAFETY: NULL or a live handle, as the header says.
    unsafe {
        with(runner, std::ptr::null_mut(), |_| {
            (*runner).1.store(user, Ordering::Release);
            Ok(NXF_OK)
        })
    }
}

/// The pointer that was kept last; NULL at first, and for NULL. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nxf_runner_user_pointer(runner: *const nxf_runner) -> *mut c_void {
    let mut user = std::ptr::null_mut();
    // SAFETY: NULL or a live handle, as the header says.
    unsafe {
        with(runner, std::ptr::null_mut(), |_| {
            user = (*runner).1.load(Ordering::Acquire);
            Ok(NXF_OK)
        });
    }
    user
}

/// Writes the run's figures to *stats, as much as stats->struct_size says, which the caller has set to
/// sizeof(nxf_runner_stats_t). Any thread, before the start and after the end too. Waits for nothing, but for the file
/// system, which is asked for lengths if lag_bytes is among what is to be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nxf_runner_stats(
    runner: *const nxf_runner,
    stats: *mut nxf_runner_stats_t,
    err: *mut *mut nxf_error,
) -> nxf_status {
    // SAFETY: the pointers are NULL or valid, as the header says.
    unsafe {
        with(runner, err, |runner| {
            write_sized(stats, "stats", PADDING.into_iter().flatten(), |size| Ok(stats_of(runner, size)))?;
            Ok(NXF_OK)
        })
    }
}

/// The places in nxf_runner_stats_t that belong to no member.
const PADDING: [std::ops::Range<usize>; 2] = {
    use std::mem::offset_of;
    [
        offset_of!(nxf_runner_stats_t, is_notified) + size_of::<bool>()..offset_of!(nxf_runner_stats_t, missing_vlsn),
        offset_of!(nxf_runner_stats_t, is_ending) + size_of::<bool>()..size_of::<nxf_runner_stats_t>(),
    ]
};

fn stats_of(runner: &Runner, struct_size: usize) -> nxf_runner_stats_t {
    // Before the snapshot: what was acknowledged by now had been sent by then, and a run that has ended has put its last
    // figures down. The other way round they would contradict each other now and then.
    let acked_vlsn = runner.acks().known_vlsn();
    let run_state = runner.state();
    let now = runner.snapshot();
    let as_of = now.ended.unwrap_or_else(Instant::now);
    let millis = |since: Option<Instant>| since.map_or(0, |since| as_of.saturating_duration_since(since).as_millis());
    let millis = |since| u64::try_from(millis(since)).unwrap_or(u64::MAX);
    let last_known_vlsn = now.read_vlsn.max(now.source.last_vlsn).max(runner.log().map_or(0, |log| log.last_vlsn()));
    // Only for who wants to know it: this asks the file system.
    let wants_unread = struct_size > std::mem::offset_of!(nxf_runner_stats_t, lag_bytes);
    let behind = runner.log().filter(|_| wants_unread).zip(now.source.position);
    let unread_bytes = behind.map_or(0, |(log, position)| log.bytes_from(position)) + now.source.held_bytes;
    let log_state = now.pause.map_or(states::log::READING, |pause| pause.wait.reason.state());
    nxf_runner_stats_t {
        struct_size,
        run_state: run_state.code,
        log_state: log_state.code,
        log_state_lsn: now.pause.map_or(0, |pause| pause.wait.at.0),
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
        acks_merged: runner.acks().merged(),
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
        callback_longest_ns: u64::try_from(runner.callback_longest().as_nanos()).unwrap_or(u64::MAX),
        last_known_vlsn,
        lag_entries: last_known_vlsn.saturating_sub(acked_vlsn.max(now.start_vlsn.saturating_sub(1))),
        lag_bytes: now.unacked_bytes + unread_bytes,
        unacked_bytes: now.unacked_bytes,
        unread_bytes,
        oldest_unacked_ms: millis(now.unacked_since),
        last_ack_ms: millis(now.acked_last),
        is_ending: now.is_ending,
    }
}

/// Ends the run: what is queued is not sent any more, and the replica's last acknowledgements are still taken for the
/// option runner.linger_ms. Waits until that is over: timeout_ms 0 only begins it, -1 waits for as long as it takes.
/// Any thread, any number of times. A runner that is stopped before its start has ended, without an end callback, and
/// cannot be started.
///
/// NXF_OK: the run has ended, no callback runs any more, and none starts. NXF_TIMEOUT: it is still ending.
/// NXF_E_INSIDE_CALLBACK: called from a callback of this runner, which it would wait for. With timeout_ms 0 it does
/// not wait, and can be called there, too.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nxf_runner_stop(
    runner: *const nxf_runner,
    timeout_ms: c_int,
    err: *mut *mut nxf_error,
) -> nxf_status {
    // SAFETY: the pointers are NULL or valid, as the header says.
    unsafe {
        with(runner, err, |runner| {
            let stopped = runner.stop(Deadline::from_millis(timeout_ms))?;
            Ok(if stopped { NXF_OK } else { NXF_TIMEOUT })
        })
    }
}

/// Ends count runs at once, as nxf_runner_stop() ends one: all are told to before any is waited for, so that it takes as
/// long as the slowest, and nxf_runner_free() has nothing left to wait for. One that has ended, never started or stands
/// there twice is no error, and NULL is passed over. They stay the caller's, each to be released.
///
/// NXF_OK: all have ended, no callback of theirs runs any more, and none starts. NXF_TIMEOUT: some are still ending,
/// timeout_ms after the call. NXF_E_INSIDE_CALLBACK: called from a callback of one of them; then, and with NXF_E_FORKED
/// for one that the parent of this process made, none was told to end. With timeout_ms 0 it does not wait, and can be
/// called there, too.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nxf_runner_stop_all(
    runners: *const *mut nxf_runner,
    count: usize,
    timeout_ms: c_int,
    err: *mut *mut nxf_error,
) -> nxf_status {
    let refused = Cell::new(None);
    // SAFETY: the pointers are NULL or valid, as the header says, and so are those in the array.
    unsafe {
        guard_about(
            || refused.take(),
            err,
            || {
                let given = items(runners, count, "runners")?;
                let mut all = Vec::with_capacity(given.len());
                for runner in given.iter().filter_map(|runner| runner.as_ref()) {
                    if !runner.handle().is_of_this_process() {
                        return Err(Error::Forked);
                    }
                    // Also one that a panic has passed through: it can be freed, and so it can be ended.
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
}

/// How the run ended. NXF_OK: it was stopped, or the replica closed the connection; nxf_runner_stats() says which.
/// NXF_AGAIN: it has not ended. Otherwise the error that it ended with, each time. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nxf_runner_result(runner: *const nxf_runner, err: *mut *mut nxf_error) -> nxf_status {
    // SAFETY: the pointers are NULL or valid, as the header says.
    unsafe {
        with(runner, err, |runner| match runner.acks().ended() {
            None => Ok(NXF_AGAIN),
            Some(end) => {
                end.result()?;
                Ok(NXF_OK)
            }
        })
    }
}

/// Ends the run like nxf_runner_stop(runner, -1), and releases the runner. No other thread may use the runner any
/// more, but for one that is in nxf_runner_run(). NULL is fine. From inside a callback of this runner:
/// NXF_E_INSIDE_CALLBACK, and nothing is released. When it returns NXF_OK, channel and scanner are closed, no thread
/// of the run is left, and the callbacks' contexts have been dropped.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nxf_runner_free(runner: *mut nxf_runner) -> nxf_status {
    // SAFETY: NULL or a handle that belongs to the caller.
    let Some(opaque) = (unsafe { runner.as_ref() }) else {
        return NXF_OK;
    };
    let handle = opaque.handle();
    if !handle.is_of_this_process() {
        in_library(HoldOff::AtOnce, || handle.value().close_in_child());
        // SAFETY: as above. The threads that hold the rest do not exist in this process.
        std::mem::forget(unsafe { take(runner) });
        return NXF_OK;
    }
    // SAFETY: no pointer is passed.
    let status = unsafe {
        guard(std::ptr::null_mut(), || {
            handle.value().dispose()?;
            Ok(NXF_OK)
        })
    };
    if status == NXF_OK {
        // SAFETY: as above; the run is over.
        in_library(HoldOff::AtOnce, || drop(unsafe { take(runner) }));
    }
    status
}
