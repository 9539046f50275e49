//! Trackers: the state of one replica, for hosts that move the bytes themselves.

use std::ffi::{c_char, c_int, c_void};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::border::{Handle, ask, free, give, given, guard_about, name_of, null, opaque, with, write_text};
use super::error::nxf_error;
use super::options::{copied, nxf_options};
use super::status::{NXF_OK, nxf_status};
use crate::error::Error;
use crate::stream::tracker::{State, Tracker};

/// Nothing has begun.
pub const NXF_FEEDER_IDLE: u32 = 0;
/// Agreeing where to start.
pub const NXF_FEEDER_HANDSHAKING: u32 = 1;
/// Frames and acknowledgements flow.
pub const NXF_FEEDER_STREAMING: u32 = 2;
/// It has ended.
pub const NXF_FEEDER_SHUTDOWN: u32 = 3;

/// A tracker remembers how far one replica is, for hosts that move the bytes themselves. It does plain arithmetic, and
/// believes all that it is told. A runner needs no tracker. Any thread.
pub struct nxf_feeder(Handle<Mutex<Tracker>>);
opaque!(nxf_feeder, "feeder", Mutex<Tracker>, |tracker: &Mutex<Tracker>| {
    std::ffi::CString::new(tracker.lock().replica_name()).ok()
});

/// Called with each message taken out of a tracker's queue; the message is valid during the call. It must not throw.
pub type nxf_message_callback = Option<unsafe extern "C" fn(context: *mut c_void, message: *const u8, len: usize)>;

/// Makes a tracker for the replica of this name: idle, with nothing queued, sent or acknowledged. The name is copied.
/// Reads the options feeder.*. The tracker belongs to the caller, who releases it with nxf_feeder_free().
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nxf_feeder_new(
    replica_name: *const c_char,
    options: *const nxf_options,
    feeder: *mut *mut nxf_feeder,
    err: *mut *mut nxf_error,
) -> nxf_status {
    given!(replica_name: string, options: reference, feeder: out, err: optional_out);
    guard_about(
        || name_of(replica_name),
        err,
        || {
            let place = feeder?;
            let (name, options) = (replica_name?, copied(options)?);
            let tracker = Tracker::new(name, options.feeder_queue_bytes_max(), Instant::now());
            place.write(give(nxf_feeder(Handle::new(Mutex::new(tracker)))));
            Ok(NXF_OK)
        },
    )
}

/// Its state, an NXF_FEEDER_...; NXF_FEEDER_IDLE for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nxf_feeder_state(feeder: *const nxf_feeder) -> u32 {
    given!(feeder: reference);
    ask(feeder, NXF_FEEDER_IDLE, |tracker| match tracker.lock().state() {
        State::Idle => NXF_FEEDER_IDLE,
        State::Handshaking => NXF_FEEDER_HANDSHAKING,
        State::Streaming => NXF_FEEDER_STREAMING,
        State::Shutdown => NXF_FEEDER_SHUTDOWN,
    })
}

/// Sets the state, an NXF_FEEDER_... Any state may follow any other, and this does not count as activity.
/// NXF_E_INVALID_ARGUMENT: there is no such state.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nxf_feeder_set_state(
    feeder: *const nxf_feeder,
    state: u32,
    err: *mut *mut nxf_error,
) -> nxf_status {
    given!(feeder: reference, err: optional_out);
    with(feeder, err, |tracker| {
        let state = match state {
            NXF_FEEDER_IDLE => State::Idle,
            NXF_FEEDER_HANDSHAKING => State::Handshaking,
            NXF_FEEDER_STREAMING => State::Streaming,
            NXF_FEEDER_SHUTDOWN => State::Shutdown,
            other => return Err(Error::invalid("state", format!("{other} is no NXF_FEEDER_..."))),
        };
        tracker.lock().set_state(state);
        Ok(NXF_OK)
    })
}

/// The next VLSN to send; 0 at first, and for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nxf_feeder_current_vlsn(feeder: *const nxf_feeder) -> u64 {
    given!(feeder: reference);
    ask(feeder, 0, |tracker| tracker.lock().current_vlsn())
}

/// The highest VLSN acknowledged; 0 at first, and for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nxf_feeder_acked_vlsn(feeder: *const nxf_feeder) -> u64 {
    given!(feeder: reference);
    ask(feeder, 0, |tracker| tracker.lock().acked_vlsn())
}

/// How far the replica is behind: current minus acknowledged, never below 0. 0 for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nxf_feeder_lag(feeder: *const nxf_feeder) -> u64 {
    given!(feeder: reference);
    ask(feeder, 0, |tracker| tracker.lock().lag())
}

/// Queues the message [vlsn: 8 bytes, little-endian][entry_type: 1 byte][data]. The current VLSN becomes vlsn + 1, if
/// that is more. The data is copied. NXF_AGAIN, and nothing queued: the queue has no room (the option
/// feeder.queue_bytes_max). NXF_E_NO_MEMORY, and nothing queued: there is no memory for the message.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nxf_feeder_queue_entry(
    feeder: *const nxf_feeder,
    vlsn: u64,
    entry_type: u8,
    data: *const u8,
    len: usize,
    err: *mut *mut nxf_error,
) -> nxf_status {
    given!(feeder: reference, data[len]: items, err: optional_out);
    with(feeder, err, |tracker| {
        tracker.lock().queue_entry(vlsn, entry_type, data?, Instant::now())?;
        Ok(NXF_OK)
    })
}

/// Takes all messages that are queued now out of the queue, the oldest first, and hands each to callback, on this
/// thread. Writes their number to *count, which may be NULL. No lock is held during the calls: the callback may use the
/// tracker, and messages that it queues stay for the next time.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nxf_feeder_drain(
    feeder: *const nxf_feeder,
    callback: nxf_message_callback,
    context: *mut c_void,
    count: *mut usize,
    err: *mut *mut nxf_error,
) -> nxf_status {
    given!(feeder: reference, count: optional_out, err: optional_out);
    with(feeder, err, |tracker| {
        let callback = callback.ok_or(null("callback"))?;
        let queued = tracker.lock().queued();
        let mut taken = 0;
        while taken < queued
            && let Some(message) = { tracker.lock().dequeue() }
        {
            // SAFETY: the host gave function and context for each other; the message lives during the call.
            unsafe { callback(context, message.as_ptr(), message.len()) };
            taken += 1;
        }
        if let Some(place) = count {
            place.write(taken);
        }
        Ok(NXF_OK)
    })
}

/// Notes an acknowledgement. One that is lower than the highest counts only as activity. Fails only for NULL and after
/// a fork.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nxf_feeder_record_ack(feeder: *const nxf_feeder, vlsn: u64) -> nxf_status {
    given!(feeder: reference);
    with(feeder, None, |tracker| {
        tracker.lock().record_ack(vlsn, Instant::now());
        Ok(NXF_OK)
    })
}

/// Notes activity of another kind. Fails only for NULL and after a fork.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nxf_feeder_touch(feeder: *const nxf_feeder) -> nxf_status {
    given!(feeder: reference);
    with(feeder, None, |tracker| {
        tracker.lock().touch(Instant::now());
        Ok(NXF_OK)
    })
}

/// Whether more than timeout_ms milliseconds have passed since the last activity: queueing, an acknowledgement, or a
/// touch. True if timeout_ms is 0 or less; false for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nxf_feeder_is_timed_out(feeder: *const nxf_feeder, timeout_ms: c_int) -> bool {
    given!(feeder: reference);
    let timeout = Duration::from_millis(u64::try_from(timeout_ms).unwrap_or(0));
    ask(feeder, false, |tracker| tracker.lock().is_timed_out(timeout, Instant::now()))
}

/// Writes a text for people to buf, NUL-terminated: the replica's name, state, current and acknowledged VLSN and lag.
/// Writes the text's length without the NUL to *len. NXF_E_BUFFER_TOO_SMALL: *len says how long the text is; buf may be
/// NULL if capacity is 0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nxf_feeder_debug_text(
    feeder: *const nxf_feeder,
    buf: *mut c_char,
    capacity: usize,
    len: *mut usize,
    err: *mut *mut nxf_error,
) -> nxf_status {
    given!(feeder: reference, buf[capacity]: text_buffer, len: out, err: optional_out);
    with(feeder, err, |tracker| write_text(&format!("{:?}", tracker.lock()), buf, len))
}

/// Writes the replica's name to buf, NUL-terminated, and its length without the NUL to *len. NXF_E_BUFFER_TOO_SMALL:
/// *len says how long the name is; buf may be NULL if capacity is 0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nxf_feeder_replica_name(
    feeder: *const nxf_feeder,
    buf: *mut c_char,
    capacity: usize,
    len: *mut usize,
    err: *mut *mut nxf_error,
) -> nxf_status {
    given!(feeder: reference, buf[capacity]: text_buffer, len: out, err: optional_out);
    with(feeder, err, |tracker| {
        let name = tracker.lock().replica_name().to_owned();
        write_text(&name, buf, len)
    })
}

/// Releases a tracker and the messages that it has queued. No other thread may be using it. NULL is fine.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nxf_feeder_free(feeder: *mut nxf_feeder) {
    given!(feeder: owned);
    free(feeder, |feeder| feeder.0, |_| None);
}
