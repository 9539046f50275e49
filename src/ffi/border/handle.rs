//! Handles: the objects behind the pointers that C holds, how they are given to C, and how they are taken back.

use std::ffi::CString;
use std::ops::Deref;
use std::os::fd::RawFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::NonNull;
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

/// A handle that C gives back, or gives up if the call succeeds.
///
/// # Safety
/// `pointer` is NULL, or came from [`give`] and was not taken back before. Nobody uses it any more once it is taken.
pub(crate) unsafe fn owned<T>(pointer: *mut T, _: &'static str) -> Option<Owned<T>> {
    NonNull::new(pointer).map(Owned)
}

/// A handle that can be taken back. Until then it stays C's, whose functions may use it meanwhile.
pub(crate) struct Owned<T>(NonNull<T>);

impl<T> Owned<T> {
    pub(crate) fn take(self) -> T {
        // SAFETY: it came from `give`, as was promised when this was made, and is taken only here, where this ends.
        *unsafe { Box::from_raw(self.0.as_ptr()) }
    }
}

impl<T> Deref for Owned<T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: it came from `give`, and nobody takes it back while this is there.
        unsafe { self.0.as_ref() }
    }
}

/// Releases a handle. NULL is fine. In a forked child the value is left alone, because threads that do not exist there
/// may hold its locks. Only the descriptors that `inherited_fds` finds without waiting are closed.
pub(crate) fn free<T: Opaque, I: IntoIterator<Item = RawFd>>(
    opaque: Option<Owned<T>>,
    into_handle: impl FnOnce(T) -> Handle<T::Value>,
    inherited_fds: impl FnOnce(&T::Value) -> I,
) {
    let Some(opaque) = opaque else { return };
    let handle = into_handle(opaque.take());
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
