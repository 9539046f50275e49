//! The border that every export goes through: it checks handles and arguments, and lets no panic pass.

use std::ffi::{CStr, CString, c_char, c_void};
use std::os::fd::RawFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};

use super::error::nxf_error;
use super::status::{NXF_OK, nxf_drop_callback, nxf_status};
use crate::error::{Error, Result};
use crate::failpoint::failpoint;
use crate::sys::fork;
use crate::sys::thread::{HoldOff, in_library, panic_text};

/// The object behind every pointer that C holds.
pub(crate) struct Handle<T> {
    /// The process that made it, by number of forks.
    generation: u32,
    /// A panic passed through it: its state cannot be trusted.
    dead: AtomicBool,
    value: T,
}

impl<T> Handle<T> {
    pub(crate) fn new(value: T) -> Handle<T> {
        Handle { generation: fork::generation(), dead: AtomicBool::new(false), value }
    }

    pub(crate) fn is_of_this_process(&self) -> bool {
        self.generation == fork::generation()
    }

    pub(crate) fn check(&self) -> Result<&T> {
        if !self.is_of_this_process() {
            Err(Error::Forked)
        } else if self.dead.load(Ordering::Acquire) {
            Err(Error::Panicked("an earlier call failed inside the library".into()))
        } else {
            Ok(&self.value)
        }
    }

    /// Runs `body`, which works on the value. A panic makes the handle unusable.
    pub(crate) fn watch<R>(&self, body: impl FnOnce() -> R) -> std::thread::Result<R> {
        let result = catch_unwind(AssertUnwindSafe(body));
        if result.is_err() {
            self.dead.store(true, Ordering::Release);
        }
        result
    }

    /// The value, also after a panic. Only to release it.
    pub(crate) fn into_value(self) -> T {
        self.value
    }

    pub(crate) fn value(&self) -> &T {
        &self.value
    }
}

/// A type whose pointers C holds.
pub(crate) trait Opaque {
    type Value;
    /// Its name as a parameter.
    const NAME: &'static str;
    fn handle(&self) -> &Handle<Self::Value>;
    /// The name of the replica that the value is about, for errors.
    fn replica_name(_: &Self::Value) -> Option<CString> {
        None
    }
}

/// Makes a struct that wraps a handle an opaque type.
macro_rules! opaque {
    ($type:ident, $name:literal, $value:ty $(, $replica_name:expr)?) => {
        impl $crate::ffi::border::Opaque for $type {
            type Value = $value;
            const NAME: &'static str = $name;
            fn handle(&self) -> &$crate::ffi::border::Handle<$value> {
                &self.0
            }
            $(fn replica_name(value: &$value) -> Option<std::ffi::CString> {
                $replica_name(value)
            })?
        }
    };
}
pub(crate) use opaque;

/// Runs the body of an export that has no handle.
///
/// # Safety
/// `err` is NULL or valid for writing.
pub(crate) unsafe fn guard(err: *mut *mut nxf_error, body: impl FnOnce() -> Result<nxf_status>) -> nxf_status {
    // SAFETY: promised by the caller.
    unsafe { guard_about(|| None, err, body) }
}

/// As [`guard`], for an export that concerns a replica. Its errors name the replica.
///
/// # Safety
/// As for [`guard`].
pub(crate) unsafe fn guard_about(
    replica_name: impl FnOnce() -> Option<CString>,
    err: *mut *mut nxf_error,
    body: impl FnOnce() -> Result<nxf_status>,
) -> nxf_status {
    let result = in_library(HoldOff::AtOnce, || {
        catch_unwind(AssertUnwindSafe(|| {
            failpoint("call");
            body()
        }))
    });
    let result = result.unwrap_or_else(|panic| Err(Error::Panicked(panic_text(&*panic))));
    // SAFETY: promised by the caller.
    unsafe { report(err, result, replica_name) }
}

/// Runs the body of an export on a handle. A panic makes the handle unusable.
///
/// # Safety
/// `pointer` is NULL or a live handle of its type, and stays so during the call; `err` is NULL or valid for writing.
pub(crate) unsafe fn with<T: Opaque>(
    pointer: *const T,
    err: *mut *mut nxf_error,
    body: impl FnOnce(&T::Value) -> Result<nxf_status>,
) -> nxf_status {
    // SAFETY: promised by the caller.
    unsafe { with_hold_off(HoldOff::AtOnce, pointer, err, body) }
}

/// As [`with`], with `hold_off` to say when the thread's cancellation is held off.
///
/// # Safety
/// As for [`with`].
#[inline]
pub(crate) unsafe fn with_hold_off<T: Opaque>(
    hold_off: HoldOff,
    pointer: *const T,
    err: *mut *mut nxf_error,
    body: impl FnOnce(&T::Value) -> Result<nxf_status>,
) -> nxf_status {
    // SAFETY: promised by the caller.
    let Some(opaque) = (unsafe { pointer.as_ref() }) else {
        // SAFETY: promised by the caller.
        return unsafe { report(err, Err(null(T::NAME)), || None) };
    };
    let handle = opaque.handle();
    let result = match handle.check() {
        Ok(value) => in_library(hold_off, || {
            handle.watch(|| {
                failpoint(T::NAME);
                body(value)
            })
        })
        .unwrap_or_else(|panic| Err(Error::Panicked(panic_text(&*panic)))),
        Err(error) => Err(error),
    };
    // SAFETY: promised by the caller. The handle is used again only to describe an error, and a body that frees the
    // handle returns no error.
    unsafe { report(err, result, || T::replica_name(handle.value())) }
}

/// # Safety
/// `err` is NULL or valid for writing.
unsafe fn report(
    err: *mut *mut nxf_error,
    result: Result<nxf_status>,
    replica_name: impl FnOnce() -> Option<CString>,
) -> nxf_status {
    match result {
        Ok(status) => status,
        Err(error) => {
            let code = error.status();
            // A positive status is no error: there is nothing to describe.
            if code < NXF_OK && !err.is_null() {
                // In a forked child, the lock that guards the name may be held for ever.
                let replica_name = if error == Error::Forked { None } else { replica_name() };
                // SAFETY: not NULL, and so valid for writing.
                unsafe { err.write(nxf_error::boxed(error, replica_name)) };
            }
            code
        }
    }
}

/// The error for a NULL where a pointer is needed.
pub(crate) fn null(parameter: &'static str) -> Error {
    Error::invalid(parameter, "is NULL")
}

/// The place for a result.
///
/// # Safety
/// `pointer` is NULL or valid for writing during `'a`.
pub(crate) unsafe fn out<'a, T>(pointer: *mut T, parameter: &'static str) -> Result<Out<'a, T>> {
    if pointer.is_null() {
        return Err(null(parameter));
    }
    Ok(Out { pointer, lifetime: std::marker::PhantomData })
}

/// A place that C provided for a result. It may be uninitialised.
pub(crate) struct Out<'a, T> {
    pointer: *mut T,
    lifetime: std::marker::PhantomData<&'a mut T>,
}

impl<T> Out<'_, T> {
    pub(crate) fn write(self, value: T) {
        // SAFETY: `out` checked that it is not NULL, and its caller promised that it is valid.
        unsafe { self.pointer.write(value) };
    }
}

/// A string argument.
///
/// # Safety
/// `pointer` is NULL or a NUL-terminated string, valid during `'a`.
pub(crate) unsafe fn string<'a>(pointer: *const c_char, parameter: &'static str) -> Result<&'a str> {
    // SAFETY: promised by the caller.
    let text = unsafe { c_string(pointer, parameter)? };
    text.to_str().map_err(|_| Error::invalid(parameter, "is not UTF-8"))
}

/// The name of the replica that something is made for. `None` if the pointer is no valid name.
///
/// # Safety
/// As for [`string`].
pub(crate) unsafe fn name_of(replica_name: *const c_char) -> Option<CString> {
    // SAFETY: promised by the caller.
    let name = unsafe { string(replica_name, "replica_name") };
    name.ok().and_then(|name| CString::new(name).ok())
}

/// A string argument that need not be UTF-8.
///
/// # Safety
/// As for [`string`].
pub(crate) unsafe fn c_string<'a>(pointer: *const c_char, parameter: &'static str) -> Result<&'a CStr> {
    if pointer.is_null() {
        return Err(null(parameter));
    }
    // SAFETY: not NULL, and so, as promised by the caller, a NUL-terminated string.
    Ok(unsafe { CStr::from_ptr(pointer) })
}

/// Bytes given as pointer and length. NULL with length 0 is an empty slice.
///
/// # Safety
/// `pointer` is valid for reading `len` bytes during `'a`.
pub(crate) unsafe fn bytes<'a>(pointer: *const u8, len: usize, parameter: &'static str) -> Result<&'a [u8]> {
    // SAFETY: promised by the caller.
    unsafe { items(pointer, len, parameter) }
}

/// Items given as pointer and length, as [`bytes`].
///
/// # Safety
/// `pointer` is valid for reading `len` items during `'a`.
pub(crate) unsafe fn items<'a, T>(pointer: *const T, len: usize, parameter: &'static str) -> Result<&'a [T]> {
    if len == 0 {
        return Ok(&[]);
    }
    if pointer.is_null() {
        return Err(null(parameter));
    }
    if len > isize::MAX.unsigned_abs() / size_of::<T>().max(1) {
        return Err(Error::invalid(parameter, format!("{len} items are more than memory can hold")));
    }
    // SAFETY: not NULL, no longer than a slice can be, and valid as promised by the caller.
    Ok(unsafe { std::slice::from_raw_parts(pointer, len) })
}

/// A buffer given as pointer and capacity, to be written to.
///
/// # Safety
/// `pointer` is valid for reading and writing `len` items during `'a`, and nobody else uses them.
pub(crate) unsafe fn buffer<'a, T>(pointer: *mut T, len: usize, parameter: &'static str) -> Result<&'a mut [T]> {
    if len == 0 {
        return Ok(&mut []);
    }
    if pointer.is_null() {
        return Err(null(parameter));
    }
    if len > isize::MAX.unsigned_abs() / size_of::<T>().max(1) {
        return Err(Error::invalid(parameter, format!("{len} items are more than memory can hold")));
    }
    // SAFETY: not NULL, no longer than a slice can be, and valid as promised by the caller.
    Ok(unsafe { std::slice::from_raw_parts_mut(pointer, len) })
}

/// Writes a text of the library's to a buffer of the caller's.
///
/// # Safety
/// `buf` is valid for writing `capacity` bytes, `len` NULL or valid for writing.
pub(crate) unsafe fn write_text(text: &str, buf: *mut c_char, capacity: usize, len: *mut usize) -> Result<nxf_status> {
    // SAFETY: promised by the caller.
    let (place, into) = unsafe { (out(len, "len")?, buffer(buf.cast::<u8>(), capacity, "buf")?) };
    place.write(text.len());
    let Some(room) = into.get_mut(..=text.len()) else {
        return Err(Error::BufferTooSmall { capacity, needed: text.len() + 1 });
    };
    room[..text.len()].copy_from_slice(text.as_bytes());
    room[text.len()] = 0;
    Ok(NXF_OK)
}

/// Writes a struct to a place whose first member says how large the caller's version of the struct is. Writes no more
/// than that. `fill` is told that size, and puts it into the struct's first member.
///
/// # Safety
/// `place` is NULL, or its first member is a `size_t` that says how many bytes are valid there, itself included. `T`
/// begins with that `size_t`, and `padding` are the offsets of its bytes that belong to no member.
pub(crate) unsafe fn write_sized<T>(
    place: *mut T,
    parameter: &'static str,
    padding: impl IntoIterator<Item = usize>,
    fill: impl FnOnce(usize) -> Result<T>,
) -> Result<()> {
    if place.is_null() {
        return Err(null(parameter));
    }
    // SAFETY: not NULL, and so, as promised, at least a size_t is valid there.
    let size = unsafe { place.cast::<usize>().read() };
    if size < size_of::<usize>() {
        return Err(Error::invalid(parameter, format!("its struct_size is {size}")));
    }
    let full = fill(size)?;
    let written = size.min(size_of::<T>());
    // SAFETY: `size` bytes are valid at the place, as promised, and no more than T has are copied.
    unsafe { std::ptr::copy_nonoverlapping((&raw const full).cast::<u8>(), place.cast::<u8>(), written) };
    // The padding was copied, too, and may hold any bytes. A host may compare or store the struct as bytes, so it is
    // zeroed.
    for at in padding.into_iter().filter(|&at| at < written) {
        // SAFETY: these bytes are among those that were just written.
        unsafe { place.cast::<u8>().add(at).write(0) };
    }
    Ok(())
}

/// Gives a handle to C.
pub(crate) fn give<T>(opaque: T) -> *mut T {
    Box::into_raw(Box::new(opaque))
}

/// Takes a handle back from C.
///
/// # Safety
/// `pointer` came from [`give`] and was not taken back before.
pub(crate) unsafe fn take<T>(pointer: *mut T) -> T {
    // SAFETY: promised by the caller.
    *unsafe { Box::from_raw(pointer) }
}

/// Releases a handle. NULL is fine. In a forked child the value is left alone, because threads that do not exist there
/// may hold its locks. Only the descriptors that `inherited_fds` finds without waiting are closed.
///
/// # Safety
/// `pointer` is NULL, or came from [`give`] and was not taken back before.
pub(crate) unsafe fn free<T: Opaque, I: IntoIterator<Item = RawFd>>(
    pointer: *mut T,
    into_handle: impl FnOnce(T) -> Handle<T::Value>,
    inherited_fds: impl FnOnce(&T::Value) -> I,
) {
    if pointer.is_null() {
        return;
    }
    // SAFETY: promised by the caller.
    let handle = into_handle(unsafe { take(pointer) });
    if handle.is_of_this_process() {
        // Nobody can be told of a panic in a destructor.
        let _ = in_library(HoldOff::AtOnce, || {
            catch_unwind(AssertUnwindSafe(|| {
                failpoint("free");
                drop(handle.into_value());
            }))
        });
    } else {
        in_library(HoldOff::AtOnce, || fork::close_inherited(inherited_fds(handle.value())));
        std::mem::forget(handle);
    }
}

/// A context of the host's. It is dropped once, after its last use.
pub(crate) struct Context {
    pointer: *mut c_void,
    drop: nxf_drop_callback,
}

impl Context {
    pub(crate) fn new(pointer: *mut c_void, drop: nxf_drop_callback) -> Context {
        Context { pointer, drop }
    }

    pub(crate) fn pointer(&self) -> *mut c_void {
        self.pointer
    }
}

// SAFETY: the header asks the host for contexts that may be used from the library's threads.
unsafe impl Send for Context {}
// SAFETY: as above; the header says which functions are called at the same time with one context.
unsafe impl Sync for Context {}

impl Drop for Context {
    fn drop(&mut self) {
        if let Some(drop) = self.drop {
            // SAFETY: the host gave the function for this pointer, and it is called once.
            unsafe { drop(self.pointer) };
        }
    }
}

/// Reads a struct of the host's whose first member says how large it is. Members that the host's version does not have
/// are zero.
///
/// # Safety
/// `pointer` is NULL, or its first member is a `size_t` that says how many bytes are valid there, itself
/// included. `T` is made of members for which zeros are valid, and begins with that `size_t`.
pub(crate) unsafe fn sized<T>(pointer: *const T, parameter: &'static str, least: usize) -> Result<T> {
    if pointer.is_null() {
        return Err(null(parameter));
    }
    // SAFETY: not NULL, and so, as promised, at least a size_t is valid there.
    let size = unsafe { pointer.cast::<usize>().read() };
    if size < least {
        let reason = format!("its struct_size is {size}, and must be at least {least}");
        return Err(Error::invalid(parameter, reason));
    }
    let mut full = std::mem::MaybeUninit::<T>::zeroed();
    // SAFETY: `size` bytes are valid at the pointer, as promised, and no more than T has are copied; the rest is zero.
    unsafe {
        std::ptr::copy_nonoverlapping(pointer.cast::<u8>(), full.as_mut_ptr().cast(), size.min(size_of::<T>()));
        Ok(full.assume_init())
    }
}
