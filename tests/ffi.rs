//! The C interface, called from Rust with the pointers that a C host would pass, so that Miri can watch: every cast,
//! every place for a result, structs that are shorter and longer than the library's, contexts that are dropped once.
//! `c-tests/` tests what the functions do; these tests are about how they treat memory.
//!
//! Buffers and structs are allocations of exactly their size: one byte too far is an error of its own under Miri and
//! under AddressSanitizer. `waiting` has the tests that wait on a condition variable, whose implementation makes
//! pointers of integers, so that Miri cannot be strict about those there.

use std::cell::{Cell, RefCell};
use std::ffi::{CStr, c_char, c_int, c_void};
use std::mem::{MaybeUninit, offset_of};
use std::ptr::{null, null_mut};

use noxu_feeder::ffi::channel::*;
use noxu_feeder::ffi::codec::*;
use noxu_feeder::ffi::connection::*;
use noxu_feeder::ffi::error::*;
use noxu_feeder::ffi::event::*;
use noxu_feeder::ffi::feeder::*;
use noxu_feeder::ffi::host_channel::*;
use noxu_feeder::ffi::log::*;
use noxu_feeder::ffi::options::*;
use noxu_feeder::ffi::runner::*;
use noxu_feeder::ffi::scanner::*;
use noxu_feeder::ffi::server::*;
use noxu_feeder::ffi::source::*;
use noxu_feeder::ffi::status::*;
use noxu_feeder::ffi::version::*;
use noxu_feeder::log::format::{FileHeader, encode_entry};
use noxu_feeder::lsn::FileName;

/// A place for a result that holds nothing before the call, as an uninitialised variable of C.
fn nowhere<T>() -> Box<MaybeUninit<T>> {
    Box::new(MaybeUninit::uninit())
}

/// The result of a call that makes a handle.
fn made<T>(call: impl FnOnce(*mut *mut T, *mut *mut nxf_error) -> nxf_status) -> *mut T {
    let mut place = nowhere();
    assert_eq!(call(place.as_mut_ptr(), null_mut()), NXF_OK);
    // SAFETY: the call has succeeded, and so has written it.
    unsafe { *place.assume_init() }
}

/// The text of C at a pointer.
///
/// # Safety
/// A NUL-terminated string, which is copied.
unsafe fn text(pointer: *const c_char) -> String {
    // SAFETY: promised by the caller.
    unsafe { CStr::from_ptr(pointer) }.to_str().unwrap().to_owned()
}

/// The result of a call that fails, without its error object.
fn failure(call: impl FnOnce(*mut *mut nxf_error) -> nxf_status) -> (nxf_status, String) {
    let mut place = nowhere();
    let status = call(place.as_mut_ptr());
    assert!(status < NXF_OK, "{status}");
    // SAFETY: the call has failed, and so has written an error, which is ours.
    unsafe {
        let err = *place.assume_init();
        assert_eq!(nxf_error_status(err), status);
        let message = text(nxf_error_message(err));
        nxf_error_free(err);
        (status, message)
    }
}

/// A struct as a host of another version has it: `size` bytes and no more, the first of them `size` itself. Its words
/// behind those of `full` hold what no one may read.
struct OfSize {
    words: Box<[MaybeUninit<usize>]>,
}

impl OfSize {
    fn new<T>(full: &T, size: usize) -> OfSize {
        assert!(size.is_multiple_of(size_of::<usize>()) && align_of::<T>() <= align_of::<usize>());
        let mut words: Box<[MaybeUninit<usize>]> = vec![MaybeUninit::uninit(); size / size_of::<usize>()].into();
        // SAFETY: both have that many bytes, and copying bytes keeps the pointers among them valid.
        unsafe {
            let from = std::ptr::from_ref(full).cast::<u8>();
            std::ptr::copy_nonoverlapping(from, words.as_mut_ptr().cast::<u8>(), size.min(size_of::<T>()));
        }
        words[0] = MaybeUninit::new(size);
        OfSize { words }
    }

    fn pointer<T>(&mut self) -> *mut T {
        self.words.as_mut_ptr().cast()
    }
}

/// A context of a host's. It notes the arguments of its functions, and how often it was dropped.
#[derive(Default)]
struct Host {
    drops: Cell<u32>,
    closes: Cell<u32>,
    lent: RefCell<Vec<(u64, Vec<u8>)>>,
    messages: RefCell<Vec<Vec<u8>>>,
    lines: RefCell<Vec<String>>,
}

impl Host {
    fn context(&self) -> *mut c_void {
        std::ptr::from_ref(self).cast_mut().cast()
    }

    /// # Safety
    /// `context` came from [`Host::context`] of one that lives.
    unsafe fn at<'a>(context: *mut c_void) -> &'a Host {
        // SAFETY: promised by the caller.
        unsafe { &*context.cast::<Host>().cast_const() }
    }
}

// The functions that the library calls. SAFETY for all of them: the tests pass a `Host` that lives longer than the
// objects that it is given to.

unsafe extern "C" fn count_drop(context: *mut c_void) {
    // SAFETY: as above.
    let host = unsafe { Host::at(context) };
    host.drops.set(host.drops.get() + 1);
}

unsafe extern "C" fn keep_message(context: *mut c_void, message: *const u8, len: usize) {
    // SAFETY: as above; the message is valid during the call.
    unsafe { Host::at(context).messages.borrow_mut().push(std::slice::from_raw_parts(message, len).to_vec()) };
}

unsafe extern "C" fn send_message(context: *mut c_void, message: *const u8, len: usize) -> nxf_status {
    // SAFETY: as above.
    unsafe { keep_message(context, message, len) };
    NXF_OK
}

unsafe extern "C" fn receive_message(
    context: *mut c_void,
    buf: *mut u8,
    capacity: usize,
    len: *mut usize,
    _: c_int,
) -> nxf_status {
    // SAFETY: as above; buffer and length are valid during the call.
    unsafe {
        let messages = &mut *Host::at(context).messages.borrow_mut();
        let Some(message) = messages.first() else { return NXF_AGAIN };
        len.write(message.len());
        if message.len() > capacity {
            return NXF_E_BUFFER_TOO_SMALL;
        }
        std::ptr::copy_nonoverlapping(message.as_ptr(), buf, message.len());
        messages.remove(0);
    }
    NXF_OK
}

unsafe extern "C" fn count_close(context: *mut c_void) {
    // SAFETY: as above.
    let host = unsafe { Host::at(context) };
    host.closes.set(host.closes.get() + 1);
}

unsafe extern "C" fn is_open(context: *mut c_void) -> bool {
    // SAFETY: as above.
    unsafe { Host::at(context) }.closes.get() == 0
}

unsafe extern "C" fn next_entry(context: *mut c_void, from_vlsn: u64, entry: *mut nxf_entry) -> nxf_status {
    // SAFETY: as above; the entry is valid for writing.
    unsafe {
        let lent = &mut *Host::at(context).lent.borrow_mut();
        if from_vlsn > 3 {
            return NXF_AGAIN;
        }
        let payload = vec![from_vlsn as u8; from_vlsn as usize - 1];
        // An empty payload may be NULL.
        let pointer = if payload.is_empty() { null() } else { payload.as_ptr() };
        entry.write(nxf_entry {
            vlsn: from_vlsn,
            lsn: 9,
            payload: pointer,
            payload_len: payload.len(),
            entry_type: 13,
        });
        lent.push((from_vlsn, payload));
    }
    NXF_OK
}

unsafe extern "C" fn release_entry(context: *mut c_void, entry: *const nxf_entry) {
    // SAFETY: as above; the entry is the one that was lent.
    unsafe {
        let lent = &mut *Host::at(context).lent.borrow_mut();
        let (vlsn, payload) = lent.pop().expect("an entry that was lent");
        assert_eq!(((*entry).vlsn, (*entry).payload_len), (vlsn, payload.len()));
        assert!(lent.is_empty(), "released before the next is asked for");
    }
}

unsafe extern "C" fn keep_line(context: *mut c_void, level: u32, target: *const c_char, message: *const c_char) {
    // SAFETY: as above; both strings are valid during the call.
    let line = unsafe { format!("{level} {} {}", text(target), text(message)) };
    // SAFETY: as above.
    unsafe { Host::at(context) }.lines.borrow_mut().push(line);
}

unsafe extern "C" fn ignore_ack(_: *mut c_void, _: *const c_char, _: u64) {}

unsafe extern "C" fn ignore_end(_: *mut c_void, _: *const c_char, _: nxf_status, _: *const nxf_error) {}

fn options(set: &[(&CStr, &CStr)]) -> *mut nxf_options {
    // SAFETY: the pointers are valid.
    unsafe {
        let options = made(|place, err| nxf_options_new(place, err));
        for (key, value) in set {
            assert_eq!(nxf_options_set(options, key.as_ptr(), value.as_ptr(), null_mut()), NXF_OK);
        }
        options
    }
}

fn pair() -> (*mut nxf_channel, *mut nxf_channel) {
    let options = options(&[(c"channel.local_queue_bytes_max", c"4096"), (c"channel.write_timeout_ms", c"1")]);
    // SAFETY: the pointers are valid.
    unsafe {
        let mut a = nowhere();
        let b = made(|place, err| nxf_channel_local_pair(options, a.as_mut_ptr(), place, err));
        nxf_options_free(options);
        (*a.assume_init(), b)
    }
}

#[test]
fn texts_that_the_library_owns_are_lent_for_good() {
    // SAFETY: no pointers, and texts that are static.
    unsafe {
        assert_eq!(text(nxf_version()), env!("CARGO_PKG_VERSION"));
        assert_eq!(nxf_abi_version(), 1);
        assert_eq!(text(nxf_status_name(NXF_E_LOG_GAP)), "NXF_E_LOG_GAP");
        assert_eq!(text(nxf_status_name(4711)), "NXF_UNKNOWN");
        assert_eq!(text(nxf_run_state_name(NXF_RUN_STOPPED)), "NXF_RUN_STOPPED");
        assert_eq!(text(nxf_log_state_name(NXF_LOG_TORN)), "NXF_LOG_TORN");
        assert_eq!(text(nxf_event_kind_name(NXF_EVENT_ENDED)), "NXF_EVENT_ENDED");
        assert_eq!(text(nxf_service_name(NXF_SERVICE_SYNCUP)), "NXF_SERVICE_SYNCUP");
    }
}

#[test]
fn null_is_an_error_or_nothing_and_never_followed() {
    // SAFETY: NULL is allowed everywhere here, by the header or by being an error.
    unsafe {
        assert_eq!((nxf_error_status(null()), nxf_error_errno(null())), (NXF_OK, 0));
        assert_eq!((text(nxf_error_message(null())), text(nxf_error_replica(null()))), (String::new(), String::new()));
        assert_eq!((nxf_runner_state(null()), text(nxf_runner_replica_name(null()))), (NXF_RUN_NEW, String::new()));
        assert!(nxf_runner_user_pointer(null()).is_null());
        assert!(!nxf_error_file(null(), null_mut()) && !nxf_error_offset(null(), null_mut()));
        assert!(!nxf_error_vlsn(null(), null_mut()));
        assert!(!nxf_error_is_retriable(null()) && !nxf_error_needs_restore(null()));
        nxf_error_free(null_mut());
        nxf_options_free(null_mut());
        nxf_log_free(null_mut());
        nxf_scanner_free(null_mut());
        nxf_channel_free(null_mut());
        nxf_feeder_free(null_mut());
        assert_eq!(nxf_runner_free(null_mut()), NXF_OK);
        assert_eq!(nxf_server_free(null_mut()), NXF_OK);
        nxf_event_free(null_mut());
        nxf_connection_list_free(null_mut());
        assert_eq!(nxf_connection_list_count(null()), 0);
        assert!(nxf_connection_list_at(null(), 0).is_null());
        assert!(!nxf_channel_is_open(null()) && !nxf_feeder_is_timed_out(null(), 0));
        assert_eq!(nxf_runner_known_replica_vlsn(null()), 0);
        assert_eq!((nxf_feeder_current_vlsn(null()), nxf_feeder_acked_vlsn(null()), nxf_feeder_lag(null())), (0, 0, 0));
        let statuses = [
            nxf_log_notify(null()),
            nxf_log_set_send_limit(null(), 1),
            nxf_runner_notify(null()),
            nxf_runner_set_user_pointer(null(), null_mut()),
            nxf_feeder_record_ack(null(), 1),
            nxf_feeder_touch(null()),
        ];
        assert_eq!(statuses, [NXF_E_INVALID_ARGUMENT; 6]);

        let (mut number, mut len, mut fd) = (0u64, 0usize, 0);
        let refused = [
            failure(|err| nxf_options_new(null_mut(), err)),
            failure(|err| nxf_options_set(null_mut(), c"a".as_ptr(), c"b".as_ptr(), err)),
            failure(|err| nxf_options_set_log_callback(null_mut(), 1, None, null_mut(), None, err)),
            failure(|err| nxf_options_get(null(), null(), null_mut(), 0, &raw mut len, err)),
            failure(|err| nxf_options_describe(0, null_mut(), err)),
            failure(|err| nxf_log_open(c"/".as_ptr(), null(), null_mut(), err)),
            failure(|err| nxf_log_vlsn_range(null(), &raw mut number, &raw mut number, err)),
            failure(|err| nxf_scanner_open(null(), 0, null(), &mut null_mut(), err)),
            failure(|err| nxf_scanner_from_log(null_mut(), 0, &mut null_mut(), err)),
            failure(|err| nxf_scanner_next(null_mut(), 0, null_mut(), err)),
            failure(|err| nxf_scanner_from_callbacks(null(), null_mut(), null(), &mut null_mut(), err)),
            failure(|err| nxf_channel_tcp_connect(null(), 1, null(), &mut null_mut(), err)),
            failure(|err| nxf_channel_from_fd(-1, null(), &mut null_mut(), err)),
            failure(|err| nxf_channel_local_pair(null(), &mut null_mut(), null_mut(), err)),
            failure(|err| nxf_channel_from_callbacks(null(), null_mut(), null(), &mut null_mut(), err)),
            failure(|err| nxf_channel_send(null_mut(), null(), 0, err)),
            failure(|err| nxf_channel_receive(null_mut(), null_mut(), 0, &raw mut len, 0, err)),
            failure(|err| nxf_channel_close(null_mut(), err)),
            failure(|err| nxf_runner_new(null_mut(), c"r".as_ptr(), 1, null(), &mut null_mut(), err)),
            failure(|err| nxf_runner_set_ack_callback(null_mut(), None, null_mut(), None, err)),
            failure(|err| nxf_runner_set_end_callback(null_mut(), None, null_mut(), None, err)),
            failure(|err| nxf_runner_start(null_mut(), null_mut(), err)),
            failure(|err| nxf_runner_run(null_mut(), null_mut(), err)),
            failure(|err| nxf_runner_poll_acks(null(), null_mut(), 0, 0, &raw mut len, err)),
            failure(|err| nxf_runner_event_fd(null(), &raw mut fd, err)),
            failure(|err| nxf_runner_wait_acked(null(), 1, 0, err)),
            failure(|err| nxf_runner_stats(null(), null_mut(), err)),
            failure(|err| nxf_runner_stop(null(), 0, err)),
            failure(|err| nxf_runner_result(null(), err)),
            failure(|err| nxf_server_new(null_mut(), null(), &mut null_mut(), err)),
            failure(|err| nxf_server_set_identify_callback(null_mut(), None, null_mut(), None, err)),
            failure(|err| nxf_server_set_event_callback(null_mut(), None, null_mut(), None, err)),
            failure(|err| nxf_server_answer_elections(null_mut(), null(), err)),
            failure(|err| nxf_server_listen(null(), null(), 0, null_mut(), err)),
            failure(|err| nxf_server_adopt(null(), -1, err)),
            failure(|err| nxf_server_dial(null(), null(), 1, null(), 1, err)),
            failure(|err| nxf_server_disconnect(null(), null(), err)),
            failure(|err| nxf_server_next_event(null(), 0, null_mut(), err)),
            failure(|err| nxf_server_event_fd(null(), &raw mut fd, err)),
            failure(|err| nxf_server_connections(null(), null_mut(), err)),
            failure(|err| nxf_server_stop(null(), 0, err)),
            failure(|err| nxf_feeder_new(null(), null(), &mut null_mut(), err)),
            failure(|err| nxf_feeder_set_state(null(), 0, err)),
            failure(|err| nxf_feeder_queue_entry(null(), 1, 1, null(), 0, err)),
            failure(|err| nxf_feeder_drain(null(), None, null_mut(), null_mut(), err)),
            failure(|err| nxf_feeder_debug_text(null(), null_mut(), 0, &raw mut len, err)),
            failure(|err| nxf_feeder_replica_name(null(), null_mut(), 0, &raw mut len, err)),
            failure(|err| nxf_frame_encode(null(), null_mut(), 0, &raw mut len, err)),
            failure(|err| nxf_frame_decode(null(), 1, &mut *nowhere().as_mut_ptr(), err)),
            failure(|err| nxf_ack_decode(null(), 8, &raw mut number, err)),
        ];
        assert!(refused.iter().all(|(status, _)| *status == NXF_E_INVALID_ARGUMENT), "{refused:?}");
    }
}

#[test]
fn an_error_is_the_callers_and_outlives_what_it_came_from() {
    // SAFETY: the pointers are valid, and each handle is freed once.
    unsafe {
        let options = options(&[]);
        let mut place = nowhere();
        let status = nxf_options_set(options, c"no.such".as_ptr(), c"1".as_ptr(), place.as_mut_ptr());
        assert_eq!(status, NXF_E_INVALID_OPTION);
        nxf_options_free(options);
        let err = *place.assume_init();
        let message = nxf_error_message(err);
        assert!(text(message).contains("no.such"));
        assert_eq!(nxf_error_message(err), message, "the same text each time");
        let (mut file, mut offset, mut vlsn) = (7u32, 7u64, 7u64);
        assert!(!nxf_error_file(err, &raw mut file) && !nxf_error_offset(err, &raw mut offset));
        assert!(!nxf_error_vlsn(err, &raw mut vlsn));
        assert_eq!((file, offset, vlsn), (7, 7, 7), "nothing written");
        nxf_error_free(err);
        // Nobody has to take one.
        assert_eq!(nxf_options_set(null_mut(), null(), null(), null_mut()), NXF_E_INVALID_ARGUMENT);
    }
}

#[test]
fn strings_are_checked_and_copied() {
    // SAFETY: the pointers are valid, and each handle is freed once.
    unsafe {
        let options = options(&[]);
        let not_utf8 = [b'k', 0xff, 0];
        let (status, message) = failure(|err| nxf_options_set(options, not_utf8.as_ptr().cast(), c"1".as_ptr(), err));
        assert_eq!((status, message.contains("UTF-8")), (NXF_E_INVALID_ARGUMENT, true));
        assert_eq!(failure(|err| nxf_options_set(options, c"k".as_ptr(), null(), err)).0, NXF_E_INVALID_ARGUMENT);
        let name: Box<[u8]> = Box::from(&b"replica\0"[..]);
        let feeder = made(|place, err| nxf_feeder_new(name.as_ptr().cast(), options, place, err));
        drop(name);
        nxf_options_free(options);
        let mut buf = vec![0u8; 8].into_boxed_slice();
        let mut len = 0;
        assert_eq!(nxf_feeder_replica_name(feeder, buf.as_mut_ptr().cast(), 8, &raw mut len, null_mut()), NXF_OK);
        assert_eq!((&*buf, len), (&b"replica\0"[..], 7));
        nxf_feeder_free(feeder);
    }
}

#[test]
fn an_option_is_described_to_hosts_of_every_version() {
    // SAFETY: the pointers are valid, and the texts are the library's.
    unsafe {
        let full = size_of::<nxf_option>();
        for size in [8, 16, 32, full, full + 16] {
            let mut option = OfSize::new(&size, size);
            let behind = full.min(size) / size_of::<usize>();
            option.words[behind..].fill(MaybeUninit::new(usize::MAX));
            assert_eq!(nxf_options_describe(0, option.pointer(), null_mut()), NXF_OK);
            assert_eq!(option.words[0].assume_init(), size, "the caller's own number");
            assert!(option.words[behind..].iter().all(|word| word.assume_init() == usize::MAX));
            if size >= full {
                // Every word can be read, padding included, which Miri knows.
                assert_eq!(option.words[full / size_of::<usize>() - 1].assume_init() as u32, NXF_OPTION_NUMBER);
                let option = &*option.pointer::<nxf_option>();
                assert_eq!((text(option.key), text(option.default_value)), ("log.settle_ms".into(), "3000".into()));
                assert_eq!((text(option.words), option.min, option.max), (String::new(), 1, 86_400_000));
            }
        }
        let mut value = vec![0u8; 5].into_boxed_slice();
        let mut len = 0;
        let get = |options, value: *mut u8, capacity, len, err| {
            nxf_options_get(options, c"log.settle_ms".as_ptr(), value.cast(), capacity, len, err)
        };
        assert_eq!(get(null(), value.as_mut_ptr(), 5, &raw mut len, null_mut()), NXF_OK);
        assert_eq!((&*value, len), (&b"3000\0"[..], 4));
        let (status, _) = failure(|err| get(null(), value.as_mut_ptr(), 4, &raw mut len, err));
        assert_eq!(status, NXF_E_BUFFER_TOO_SMALL);
    }
}

#[test]
fn texts_fit_into_buffers_that_hold_them_with_the_nul_and_into_no_smaller() {
    // SAFETY: the pointers are valid, and each handle is freed once.
    unsafe {
        let feeder = made(|place, err| nxf_feeder_new(c"replica".as_ptr(), null(), place, err));
        for ask in [nxf_feeder_replica_name, nxf_feeder_debug_text] {
            let mut needed = 0;
            let (status, _) = failure(|err| ask(feeder, null_mut(), 0, &raw mut needed, err));
            assert_eq!(status, NXF_E_BUFFER_TOO_SMALL);
            for capacity in [1, needed, needed + 1, needed + 9] {
                // As C's own: nothing in it yet.
                let mut buf: Box<[MaybeUninit<u8>]> = vec![MaybeUninit::new(0xaa); capacity].into();
                let mut len = 0;
                let status = ask(feeder, buf.as_mut_ptr().cast(), capacity, &raw mut len, null_mut());
                assert_eq!(len, needed);
                assert_eq!(status == NXF_OK, capacity > needed);
                if status == NXF_OK {
                    assert_eq!(text(buf.as_ptr().cast()).len(), needed);
                }
            }
            assert_eq!(failure(|err| ask(feeder, null_mut(), 100, &raw mut needed, err)).0, NXF_E_INVALID_ARGUMENT);
            let mut buf = [0u8; 9];
            let status = failure(|err| ask(feeder, buf.as_mut_ptr().cast(), 9, null_mut(), err)).0;
            assert_eq!(status, NXF_E_INVALID_ARGUMENT);
        }
        nxf_feeder_free(feeder);
    }
}

#[test]
fn a_tracker_copies_what_is_queued_and_lends_what_is_drained() {
    let host = Host::default();
    // SAFETY: the pointers are valid, and each handle is freed once.
    unsafe {
        let options = options(&[(c"feeder.queue_bytes_max", c"100")]);
        let feeder = made(|place, err| nxf_feeder_new(c"replica".as_ptr(), options, place, err));
        nxf_options_free(options);
        assert_eq!(nxf_feeder_set_state(feeder, NXF_FEEDER_STREAMING, null_mut()), NXF_OK);
        assert_eq!(nxf_feeder_state(feeder), NXF_FEEDER_STREAMING);
        assert_eq!(failure(|err| nxf_feeder_set_state(feeder, 4, err)).0, NXF_E_INVALID_ARGUMENT);
        let data: Box<[u8]> = Box::from([1, 2, 3]);
        assert_eq!(nxf_feeder_queue_entry(feeder, 5, 13, data.as_ptr(), 3, null_mut()), NXF_OK);
        drop(data);
        assert_eq!(nxf_feeder_queue_entry(feeder, 6, 14, null(), 0, null_mut()), NXF_OK);
        assert_eq!(failure(|err| nxf_feeder_queue_entry(feeder, 7, 14, null(), 1, err)).0, NXF_E_INVALID_ARGUMENT);
        let (status, _) = failure(|err| nxf_feeder_queue_entry(feeder, 7, 14, [0].as_ptr(), usize::MAX, err));
        assert_eq!(status, NXF_E_INVALID_ARGUMENT);
        assert_eq!(nxf_feeder_queue_entry(feeder, 7, 14, [0; 200].as_ptr(), 200, null_mut()), NXF_AGAIN);
        assert_eq!((nxf_feeder_current_vlsn(feeder), nxf_feeder_lag(feeder)), (7, 7));
        assert_eq!((nxf_feeder_record_ack(feeder, 5), nxf_feeder_touch(feeder)), (NXF_OK, NXF_OK));
        assert_eq!((nxf_feeder_acked_vlsn(feeder), nxf_feeder_lag(feeder)), (5, 2));
        assert!(nxf_feeder_is_timed_out(feeder, -1) && !nxf_feeder_is_timed_out(feeder, c_int::MAX));
        let mut count = 0;
        let drained = nxf_feeder_drain(feeder, Some(keep_message), host.context(), &raw mut count, null_mut());
        assert_eq!((drained, count), (NXF_OK, 2));
        assert_eq!(nxf_feeder_drain(feeder, Some(keep_message), host.context(), null_mut(), null_mut()), NXF_OK);
        assert_eq!(
            *host.messages.borrow(),
            [&[5, 0, 0, 0, 0, 0, 0, 0, 13, 1, 2, 3][..], &[6, 0, 0, 0, 0, 0, 0, 0, 14]]
        );
        assert_eq!(nxf_feeder_queue_entry(feeder, 8, 13, [1].as_ptr(), 1, null_mut()), NXF_OK);
        nxf_feeder_free(feeder);
    }
}

#[test]
fn a_frame_is_written_into_what_holds_it_and_read_in_place() {
    // SAFETY: the pointers are valid.
    unsafe {
        for payload in [&b""[..], b"payload"] {
            let payload: Box<[u8]> = payload.into();
            let pointer = if payload.is_empty() { null() } else { payload.as_ptr() };
            let entry = nxf_entry { vlsn: 42, lsn: 0, payload: pointer, payload_len: payload.len(), entry_type: 13 };
            let needed = NXF_FRAME_HEADER_LEN + payload.len();
            for capacity in [0, needed - 1, needed, needed + 1] {
                let mut buf = vec![0xaau8; capacity].into_boxed_slice();
                let into = if capacity == 0 { null_mut() } else { buf.as_mut_ptr() };
                let mut len = 0;
                let status = nxf_frame_encode(&raw const entry, into, capacity, &raw mut len, null_mut());
                assert_eq!(len, needed);
                if capacity < needed {
                    assert_eq!(status, NXF_E_BUFFER_TOO_SMALL);
                    continue;
                }
                assert_eq!(status, NXF_OK);
                let mut read = nowhere::<nxf_entry>();
                assert_eq!(nxf_frame_decode(buf.as_ptr(), len, read.as_mut_ptr(), null_mut()), NXF_OK);
                let read = read.assume_init();
                assert_eq!((read.vlsn, read.lsn, read.entry_type), (42, 0, 13));
                assert_eq!(std::slice::from_raw_parts(read.payload, read.payload_len), &*payload);
                for cut in 0..len {
                    let short: Box<[u8]> = buf[..cut].into();
                    let mut untouched = nowhere();
                    let status = failure(|err| nxf_frame_decode(short.as_ptr(), cut, untouched.as_mut_ptr(), err)).0;
                    assert_eq!(status, NXF_E_PROTOCOL);
                }
            }
        }
        let none = nxf_entry { vlsn: 0, lsn: 0, payload: null(), payload_len: 0, entry_type: 13 };
        let mut len = 0;
        let status = failure(|err| nxf_frame_encode(&raw const none, null_mut(), 0, &raw mut len, err)).0;
        assert_eq!(status, NXF_E_INVALID_ARGUMENT);
    }
}

#[test]
fn an_ack_is_written_into_eight_bytes_and_read_from_eight_or_more() {
    // SAFETY: the pointers are valid.
    unsafe {
        for capacity in [0, 7, 8, 9] {
            let mut buf = vec![0xaau8; capacity].into_boxed_slice();
            let status = nxf_ack_encode(0x0102_0304, buf.as_mut_ptr(), capacity, null_mut());
            assert_eq!(status, if capacity < 8 { NXF_E_BUFFER_TOO_SMALL } else { NXF_OK });
            let mut vlsn = 7;
            let decoded = nxf_ack_decode(buf.as_ptr(), capacity, &raw mut vlsn, null_mut());
            let expected = if capacity < 8 { (NXF_E_PROTOCOL, 7) } else { (NXF_OK, 0x0102_0304) };
            assert_eq!((decoded, vlsn), expected);
        }
    }
}

#[test]
fn a_log_callbacks_context_is_dropped_when_its_last_user_is_gone() {
    let (first, second) = (Host::default(), Host::default());
    // SAFETY: the pointers are valid, and each handle is freed once.
    unsafe {
        let options = options(&[]);
        let set = |host: &Host, level, err| {
            nxf_options_set_log_callback(options, level, Some(keep_line), host.context(), Some(count_drop), err)
        };
        assert_eq!(failure(|err| set(&first, 0, err)).0, NXF_E_INVALID_ARGUMENT);
        assert_eq!(first.drops.get(), 0, "on an error it stays the caller's");
        assert_eq!(set(&first, NXF_LEVEL_DEBUG, null_mut()), NXF_OK);
        assert_eq!(set(&second, NXF_LEVEL_ERROR, null_mut()), NXF_OK);
        assert_eq!(first.drops.get(), 1, "another takes its place");
        let (a, b) = pair();
        let runner = made(|place, err| nxf_runner_new(a, c"replica".as_ptr(), 1, options, place, err));
        nxf_options_free(options);
        assert_eq!(second.drops.get(), 0, "the runner has it too");
        assert_eq!(nxf_runner_free(runner), NXF_OK);
        assert_eq!((first.drops.get(), second.drops.get()), (1, 1));
        nxf_channel_free(b);
    }
}

#[test]
fn a_log_callback_is_lent_what_it_is_told() {
    let host = Host::default();
    let dir = tempfile::TempDir::new().unwrap();
    let path = std::ffi::CString::new(dir.path().to_str().unwrap()).unwrap();
    // SAFETY: the pointers are valid, and each handle is freed once.
    unsafe {
        let options = options(&[]);
        let set =
            nxf_options_set_log_callback(options, 2, Some(keep_line), host.context(), Some(count_drop), null_mut());
        assert_eq!(set, NXF_OK);
        nxf_log_free(made(|place, err| nxf_log_open(path.as_ptr(), options, place, err)));
        // Where the directory cannot be watched, it says so.
        assert!(host.lines.borrow().iter().all(|line| line.starts_with("2 noxu_feeder::log ")));
        nxf_options_free(options);
        assert_eq!(host.drops.get(), 1);
    }
}

#[test]
fn vtables_of_any_size_are_copied_as_far_as_they_go() {
    let full = size_of::<nxf_source_vtable>();
    // SAFETY: the pointers are valid, and each handle is freed once.
    unsafe {
        for size in [8, 16, 24, full, full + 8] {
            let host = Host::default();
            let vtable = nxf_source_vtable {
                struct_size: 0,
                next: Some(next_entry),
                release: Some(release_entry),
                drop: Some(count_drop),
            };
            let mut theirs = OfSize::new(&vtable, size);
            let mut place = nowhere();
            let pointer = theirs.pointer::<nxf_source_vtable>();
            let status = nxf_scanner_from_callbacks(pointer, host.context(), null(), place.as_mut_ptr(), null_mut());
            if size < offset_of!(nxf_source_vtable, release) {
                assert_eq!((status, host.drops.get()), (NXF_E_INVALID_ARGUMENT, 0));
                continue;
            }
            assert_eq!(status, NXF_OK);
            drop(theirs);
            let scanner = *place.assume_init();
            for vlsn in 1..=3 {
                if size <= offset_of!(nxf_source_vtable, release) {
                    // Without `release` the payload is the host's to free, at the next call.
                    host.lent.borrow_mut().clear();
                }
                let mut entry = nowhere::<nxf_entry>();
                assert_eq!(nxf_scanner_next(scanner, vlsn, entry.as_mut_ptr(), null_mut()), NXF_OK);
                let entry = entry.assume_init();
                assert_eq!((entry.vlsn, entry.lsn, entry.entry_type), (vlsn, 9, 13));
                let payload = std::slice::from_raw_parts(entry.payload, entry.payload_len);
                assert_eq!(payload, vec![vlsn as u8; vlsn as usize - 1]);
            }
            let mut untouched = nowhere();
            assert_eq!(nxf_scanner_next(scanner, 4, untouched.as_mut_ptr(), null_mut()), NXF_AGAIN);
            nxf_scanner_free(scanner);
            assert_eq!(host.drops.get(), u32::from(size >= full));
        }
    }
}

#[test]
fn a_channel_of_callbacks_is_closed_once_and_then_dropped_once() {
    let full = size_of::<nxf_channel_vtable>();
    // SAFETY: the pointers are valid, and each handle is freed once.
    unsafe {
        for size in [8, 24, 32, 40, full, full + 16] {
            let host = Host::default();
            let vtable = nxf_channel_vtable {
                struct_size: 0,
                send: Some(send_message),
                receive: Some(receive_message),
                close: Some(count_close),
                is_open: Some(is_open),
                drop: Some(count_drop),
            };
            let mut theirs = OfSize::new(&vtable, size);
            let mut place = nowhere();
            let pointer = theirs.pointer::<nxf_channel_vtable>();
            let status = nxf_channel_from_callbacks(pointer, host.context(), null(), place.as_mut_ptr(), null_mut());
            if size < offset_of!(nxf_channel_vtable, is_open) {
                assert_eq!((status, host.drops.get()), (NXF_E_INVALID_ARGUMENT, 0));
                continue;
            }
            assert_eq!(status, NXF_OK);
            drop(theirs);
            let channel = *place.assume_init();
            assert!(nxf_channel_is_open(channel));
            let message: Box<[u8]> = Box::from(*b"message");
            assert_eq!(nxf_channel_send(channel, message.as_ptr(), 7, null_mut()), NXF_OK);
            drop(message);
            exchange(channel, b"message");
            let mut len = 7;
            let status = nxf_channel_receive(channel, null_mut(), 0, &raw mut len, 0, null_mut());
            assert_eq!((status, len), (NXF_AGAIN, 7));
            if size == full {
                assert_eq!(nxf_channel_close(channel, null_mut()), NXF_OK);
                assert!(!nxf_channel_is_open(channel));
            }
            nxf_channel_free(channel);
            assert_eq!((host.closes.get(), host.drops.get()), (1, u32::from(size >= full)));
        }
    }
}

/// Receives a message that is there, first with too little room.
///
/// # Safety
/// `channel` is a live handle.
unsafe fn exchange(channel: *mut nxf_channel, expected: &[u8]) {
    let mut len = 0;
    let mut small = vec![0u8; expected.len() - 1].into_boxed_slice();
    // SAFETY: promised by the caller; the other pointers are valid.
    unsafe {
        let status = nxf_channel_receive(channel, small.as_mut_ptr(), small.len(), &raw mut len, 0, null_mut());
        assert_eq!((status, len), (NXF_E_BUFFER_TOO_SMALL, expected.len()));
        let mut buf = vec![0u8; len].into_boxed_slice();
        assert_eq!(nxf_channel_receive(channel, buf.as_mut_ptr(), len, &raw mut len, 0, null_mut()), NXF_OK);
        assert_eq!(&*buf, expected);
    }
}

#[test]
fn a_pair_copies_messages_and_its_ends_outlive_each_other() {
    // SAFETY: the pointers are valid, and each handle is freed once.
    unsafe {
        let (a, b) = pair();
        let message: Box<[u8]> = Box::from(*b"message");
        assert_eq!(nxf_channel_send(a, message.as_ptr(), 7, null_mut()), NXF_OK);
        drop(message);
        assert_eq!(nxf_channel_send(a, null(), 0, null_mut()), NXF_OK);
        assert_eq!(failure(|err| nxf_channel_send(a, null(), 1, err)).0, NXF_E_INVALID_ARGUMENT);
        exchange(b, b"message");
        assert_eq!(nxf_channel_close(a, null_mut()), NXF_OK);
        nxf_channel_free(a);
        let mut len = 7;
        assert_eq!(nxf_channel_receive(b, null_mut(), 0, &raw mut len, 0, null_mut()), NXF_OK);
        assert_eq!(len, 0);
        assert_eq!(nxf_channel_receive(b, null_mut(), 0, &raw mut len, -1, null_mut()), NXF_CLOSED);
        assert_eq!(nxf_channel_send(b, b"x".as_ptr(), 1, null_mut()), NXF_CLOSED);
        nxf_channel_free(b);
    }
}

#[test]
fn a_runner_takes_its_channel_over_or_leaves_it() {
    let (one, other) = (Host::default(), Host::default());
    // SAFETY: the pointers are valid, and each handle is freed once.
    unsafe {
        let (a, b) = pair();
        let (status, _) = failure(|err| nxf_runner_new(a, null(), 1, null(), &mut null_mut(), err));
        assert_eq!(status, NXF_E_INVALID_ARGUMENT);
        assert!(nxf_channel_is_open(a), "it stays the caller's");
        let name: Box<[u8]> = Box::from(&b"replica\0"[..]);
        let runner = made(|place, err| nxf_runner_new(a, name.as_ptr().cast(), 5, null(), place, err));
        drop(name);
        assert_eq!(text(nxf_runner_replica_name(runner)), "replica");
        assert_eq!(nxf_runner_set_user_pointer(runner, one.context()), NXF_OK);
        assert_eq!((nxf_runner_user_pointer(runner), nxf_runner_state(runner)), (one.context(), NXF_RUN_NEW));
        let mut err = nowhere();
        assert_eq!(nxf_runner_wait_acked(runner, 0, 0, err.as_mut_ptr()), NXF_E_INVALID_ARGUMENT);
        let err = *err.assume_init();
        assert_eq!(text(nxf_error_replica(err)), "replica");
        nxf_error_free(err);

        // Callbacks whose contexts go with the runner, or with the next that is set.
        let set = |host: &Host, err| {
            nxf_runner_set_ack_callback(runner, Some(ignore_ack), host.context(), Some(count_drop), err)
        };
        assert_eq!((set(&one, null_mut()), set(&other, null_mut())), (NXF_OK, NXF_OK));
        assert_eq!((one.drops.get(), other.drops.get()), (1, 0));
        let set_end = |function: nxf_end_callback, err| {
            nxf_runner_set_end_callback(runner, function, other.context(), Some(count_drop), err)
        };
        assert_eq!(set_end(Some(ignore_end), null_mut()), NXF_OK);
        assert_eq!(failure(|err| set_end(None, err)).0, NXF_E_INVALID_ARGUMENT);

        // Only as much of the statistics is written as the caller has room for.
        let full = size_of::<nxf_runner_stats_t>();
        let released = offset_of!(nxf_runner_stats_t, last_known_vlsn);
        for size in [8, 16, 24, 56, released, released + 16, full, full + 64] {
            let mut stats = OfSize::new(&size, size);
            let behind = full.min(size) / size_of::<usize>();
            stats.words[behind..].fill(MaybeUninit::new(usize::MAX));
            assert_eq!(nxf_runner_stats(runner, stats.pointer(), null_mut()), NXF_OK);
            assert_eq!(stats.words[0].assume_init(), size, "the caller's own number");
            // Every word can be read, padding included, which Miri knows; and nothing behind is touched.
            let words: Vec<usize> = stats.words.iter().map(|word| word.assume_init()).collect();
            assert!(words[behind..].iter().all(|word| *word == usize::MAX));
            if size >= full {
                let stats = &*stats.pointer::<nxf_runner_stats_t>();
                assert_eq!((stats.run_state, stats.start_vlsn, stats.sent_vlsn), (NXF_RUN_NEW, 5, 4));
                assert_eq!((stats.last_known_vlsn, stats.lag_entries, stats.lag_bytes), (4, 0, 0));
                assert_eq!((stats.oldest_unacked_ms, stats.last_ack_ms, stats.is_ending), (0, 0, false));
            }
        }
        let mut short = OfSize::new(&0usize, 8);
        short.words[0] = MaybeUninit::new(7);
        let (status, _) = failure(|err| nxf_runner_stats(runner, short.pointer(), err));
        assert_eq!(status, NXF_E_INVALID_ARGUMENT);

        let mut fd = nowhere::<c_int>();
        assert_eq!(nxf_runner_event_fd(runner, fd.as_mut_ptr(), null_mut()), NXF_OK);
        assert!(fd.assume_init().is_positive());
        assert_eq!((nxf_runner_known_replica_vlsn(runner), nxf_runner_notify(runner)), (0, NXF_OK));
        assert_eq!(nxf_runner_result(runner, null_mut()), NXF_AGAIN);
        let (status, _) = failure(|err| nxf_runner_start(runner, null_mut(), err));
        assert_eq!(status, NXF_E_INVALID_ARGUMENT);
        assert_eq!(nxf_runner_stop(runner, -1, null_mut()), NXF_OK);

        // Stopped, it begins no more, and the scanner stays the caller's.
        let source = Host::default();
        let vtable = nxf_source_vtable {
            struct_size: size_of::<nxf_source_vtable>(),
            next: Some(next_entry),
            release: Some(release_entry),
            drop: Some(count_drop),
        };
        let scanner =
            made(|place, err| nxf_scanner_from_callbacks(&raw const vtable, source.context(), null(), place, err));
        for begin in [nxf_runner_start, nxf_runner_run] {
            assert_eq!(failure(|err| begin(runner, scanner, err)).0, NXF_E_WRONG_STATE);
        }
        let mut entry = nowhere();
        assert_eq!(nxf_scanner_next(scanner, 1, entry.as_mut_ptr(), null_mut()), NXF_OK);
        nxf_scanner_free(scanner);
        assert!(source.lent.borrow().is_empty(), "released before the drop");
        assert_eq!(source.drops.get(), 1);

        let mut acks = [const { MaybeUninit::<nxf_ack>::uninit() }; 3];
        let mut count = 7;
        let poll =
            |capacity, count, err| nxf_runner_poll_acks(runner, acks.as_mut_ptr().cast(), capacity, -1, count, err);
        let mut poll = poll;
        assert_eq!(poll(3, &raw mut count, null_mut()), NXF_CLOSED);
        assert_eq!(count, 0);
        assert_eq!(failure(|err| poll(0, &raw mut count, err)).0, NXF_E_INVALID_ARGUMENT);
        assert_eq!(nxf_runner_wait_acked(runner, 5, -1, null_mut()), NXF_CLOSED);
        assert_eq!(nxf_runner_free(runner), NXF_OK);
        assert_eq!((one.drops.get(), other.drops.get()), (1, 2), "each once for each time it was given");
        assert!(!nxf_channel_is_open(b));
        nxf_channel_free(b);
    }
}

#[test]
fn a_scanner_lends_each_payload_until_the_next_call_and_outlives_its_log() {
    let dir = tempfile::TempDir::new().unwrap();
    let mut bytes = FileHeader { version: 3, file_number: 0, last_entry_in_previous: 0 }.encode().to_vec();
    let payload = |vlsn: i64| vec![vlsn as u8; 100 * usize::try_from(vlsn).unwrap()];
    let mut last = 0;
    for vlsn in 1..=4 {
        let at = u32::try_from(bytes.len()).unwrap();
        encode_entry(&mut bytes, 13, 0, last, Some(vlsn), &payload(vlsn));
        last = at;
    }
    std::fs::write(dir.path().join(FileName(0).to_string()), bytes).unwrap();
    let path = std::ffi::CString::new(dir.path().to_str().unwrap()).unwrap();
    // SAFETY: the pointers are valid, and each handle is freed once.
    unsafe {
        let options = options(&[(c"log.read_bytes", c"65536")]);
        let log = made(|place, err| nxf_log_open(path.as_ptr(), options, place, err));
        nxf_options_free(options);
        let (mut first, mut last) = (nowhere(), nowhere());
        assert_eq!(nxf_log_vlsn_range(log, first.as_mut_ptr(), last.as_mut_ptr(), null_mut()), NXF_OK);
        assert_eq!((*first.assume_init(), *last.assume_init()), (1, 4));
        assert_eq!((nxf_log_notify(log), nxf_log_set_send_limit(log, u64::MAX)), (NXF_OK, NXF_OK));
        let scanner = made(|place, err| nxf_scanner_from_log(log, NXF_LSN_FIRST, place, err));
        nxf_log_free(log);
        let mut entry = nowhere::<nxf_entry>();
        for vlsn in 1..=4 {
            assert_eq!(nxf_scanner_next(scanner, vlsn, entry.as_mut_ptr(), null_mut()), NXF_OK);
            let entry = entry.assume_init_ref();
            assert_eq!((entry.vlsn, entry.entry_type), (vlsn, 13));
            let lent = std::slice::from_raw_parts(entry.payload, entry.payload_len);
            assert_eq!(lent, payload(i64::try_from(vlsn).unwrap()));
        }
        assert_eq!(nxf_scanner_next(scanner, 5, entry.as_mut_ptr(), null_mut()), NXF_AGAIN);
        nxf_scanner_free(scanner);

        let missing = failure(|err| nxf_scanner_open(c"/no/such".as_ptr(), 0, null(), &mut null_mut(), err));
        assert_eq!(missing.0, NXF_E_LOG_IO);
    }
}

mod waiting {
    use super::*;

    /// A handle for other threads, as a C host shares it.
    struct Shared<T>(*mut T);

    // SAFETY: the header allows what the test does with it from several threads.
    unsafe impl<T> Send for Shared<T> {}

    impl<T> Shared<T> {
        fn get(&self) -> *mut T {
            self.0
        }
    }

    #[test]
    fn one_thread_receives_while_another_sends_and_a_third_closes() {
        const MESSAGES: usize = 50;
        let (a, b) = pair();
        let (sending, receiving, closing) = (Shared(a), Shared(b), Shared(a));
        let sender = std::thread::spawn(move || {
            for number in 0..MESSAGES {
                let message = vec![number as u8; number];
                // SAFETY: the handle lives until all threads have ended; the message is valid.
                let status = unsafe { nxf_channel_send(sending.get(), message.as_ptr(), number, null_mut()) };
                assert_eq!(status, NXF_OK);
            }
        });
        let receiver = std::thread::spawn(move || {
            let mut buf = [0u8; MESSAGES];
            let mut received = 0;
            loop {
                let mut len = 0;
                let into = buf.as_mut_ptr();
                // SAFETY: the handle lives until all threads have ended; buffer and length are valid.
                match unsafe { nxf_channel_receive(receiving.get(), into, MESSAGES, &raw mut len, -1, null_mut()) } {
                    NXF_OK => assert_eq!(buf[..len], vec![received as u8; received]),
                    status => {
                        assert_eq!(status, NXF_CLOSED);
                        return received;
                    }
                }
                received += 1;
            }
        });
        sender.join().unwrap();
        // SAFETY: as above.
        let closer = std::thread::spawn(move || unsafe { nxf_channel_close(closing.get(), null_mut()) });
        assert_eq!(closer.join().unwrap(), NXF_OK);
        assert_eq!(receiver.join().unwrap(), MESSAGES);
        // SAFETY: ours, and no thread uses them any more.
        unsafe {
            nxf_channel_free(a);
            nxf_channel_free(b);
        }
    }

    #[test]
    fn a_call_that_waits_in_vain_writes_no_more_than_it_says() {
        // SAFETY: the pointers are valid, and each handle is freed once.
        unsafe {
            let (a, b) = pair();
            let mut len = 7;
            assert_eq!(nxf_channel_receive(b, null_mut(), 0, &raw mut len, 1, null_mut()), NXF_AGAIN);
            assert_eq!(len, 7);
            let large = vec![1u8; 4096];
            assert_eq!(nxf_channel_send(a, large.as_ptr(), large.len(), null_mut()), NXF_OK);
            assert_eq!(nxf_channel_send(a, large.as_ptr(), 1, null_mut()), NXF_AGAIN);
            let runner = made(|place, err| nxf_runner_new(a, c"replica".as_ptr(), 1, null(), place, err));
            let mut acks = [const { MaybeUninit::<nxf_ack>::uninit() }; 1];
            let mut count = 7;
            let status = nxf_runner_poll_acks(runner, acks.as_mut_ptr().cast(), 1, 1, &raw mut count, null_mut());
            assert_eq!((status, count), (NXF_TIMEOUT, 0));
            assert_eq!(nxf_runner_wait_acked(runner, 1, 1, null_mut()), NXF_TIMEOUT);
            assert_eq!(nxf_runner_free(runner), NXF_OK);
            nxf_channel_free(b);
        }
    }

    #[test]
    fn those_who_wait_for_a_runner_are_woken_when_it_is_stopped() {
        let (a, b) = pair();
        // SAFETY: the pointers are valid.
        let runner = unsafe { made(|place, err| nxf_runner_new(a, c"replica".as_ptr(), 1, null(), place, err)) };
        let shared = Shared(runner);
        // SAFETY: the handle lives until all threads have ended.
        let waiter = std::thread::spawn(move || unsafe { nxf_runner_wait_acked(shared.get(), 1, -1, null_mut()) });
        // SAFETY: as above; the handles are freed once, when no thread uses them any more.
        unsafe {
            assert_eq!(nxf_runner_stop(runner, -1, null_mut()), NXF_OK);
            assert_eq!(waiter.join().unwrap(), NXF_CLOSED);
            assert_eq!(nxf_runner_free(runner), NXF_OK);
            nxf_channel_free(b);
        }
    }
}
