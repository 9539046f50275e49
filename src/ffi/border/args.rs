//! Arguments: pointers and numbers become references, texts, slices and places for results.

use std::ffi::{CStr, CString, c_char};

use crate::error::{Error, Result};
use crate::ffi::status::{NXF_OK, nxf_status};

/// Turns pointers that the caller of an export gave into what they stand for, each by a function of this file:
/// `given!(err: optional, file: optional_out)`. The variables keep their names. It is no unsafe block, and so compiles
/// only in an unsafe function: the caller of that function has promised that its pointers are what the header says.
macro_rules! given {
    ($($name:ident: $helper:ident),+) => {
        $(
            #[allow(unsafe_op_in_unsafe_fn, reason = "what the header asks of the caller is what the helper asks")]
            let $name = $crate::ffi::border::$helper($name);
        )+
    };
}
pub(crate) use given;

/// An object of the library's that need not be there.
///
/// # Safety
/// `pointer` is NULL or valid for reading during `'a`.
pub(crate) unsafe fn optional<'a, T>(pointer: *const T) -> Option<&'a T> {
    // SAFETY: promised by the caller.
    unsafe { pointer.as_ref() }
}

/// The place for a result that the caller need not want.
///
/// # Safety
/// `pointer` is NULL or valid for writing during `'a`.
pub(crate) unsafe fn optional_out<'a, T>(pointer: *mut T) -> Option<Out<'a, T>> {
    (!pointer.is_null()).then_some(Out { pointer, lifetime: std::marker::PhantomData })
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
        // SAFETY: whoever made this checked that it is not NULL, and was promised that it is valid.
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
