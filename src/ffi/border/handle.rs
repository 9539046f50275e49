//! Handles: the objects behind the pointers that C holds, how they are given to C, and how they are taken back.

use std::ffi::CString;
use std::os::fd::RawFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};

use crate::error::{Error, Result};
use crate::failpoint::failpoint;
use crate::sys::fork;
use crate::sys::thread::{HoldOff, in_library};

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
