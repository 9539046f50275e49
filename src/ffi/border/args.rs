//! Arguments: pointers and numbers become references, texts, slices and places for results.

use std::ffi::{CStr, CString, c_char};
use std::marker::PhantomData;
use std::ops::Range;
use std::ptr::NonNull;

use crate::error::{Error, Result};
use crate::ffi::status::{NXF_OK, nxf_status};

/// Turns pointers that the caller of an export gave into what they stand for, each by a function of this module, which
/// also gets the length, if there is one, and the parameter's name: `given!(log: reference, buf[capacity]: buffer)`.
/// The variables keep their names. What is wrong with one is found out here, and told where the export uses it.
///
/// It is no unsafe block, and so compiles only in an unsafe function: the caller of that function has promised that its
/// pointers are what the header says. So an export begins with this, and what follows is safe code.
macro_rules! given {
    ($($name:ident $([$len:ident])?: $helper:ident),+) => {
        $(
            #[allow(unsafe_op_in_unsafe_fn, reason = "what the header asks of the caller is what the helper asks")]
            let $name = $crate::ffi::border::$helper($name, $($len,)? stringify!($name));
        )+
    };
}
pub(crate) use given;

/// An argument, or what is wrong with it.
pub(crate) type Given<T> = Result<T, Refused>;

/// What is wrong with an argument. It is small and has nothing to drop, because each call carries one for each argument
/// to where its body asks for the argument.
#[derive(Clone, Copy)]
pub(crate) struct Refused {
    parameter: &'static str,
    reason: &'static str,
}

impl From<Refused> for Error {
    fn from(refused: Refused) -> Error {
        Error::invalid(refused.parameter, refused.reason)
    }
}

/// A NULL where a pointer is needed.
pub(crate) fn null(parameter: &'static str) -> Refused {
    Refused { parameter, reason: "is NULL" }
}

/// What a pointer points to. Whoever uses it says what NULL means.
///
/// # Safety
/// `pointer` is NULL or valid for reading during `'a`.
pub(crate) unsafe fn reference<'a, T>(pointer: *const T, _: &'static str) -> Option<&'a T> {
    // SAFETY: promised by the caller.
    unsafe { pointer.as_ref() }
}

/// The place for a result that the caller need not want.
///
/// # Safety
/// `pointer` is NULL or valid for writing during `'a`.
pub(crate) unsafe fn optional_out<'a, T>(pointer: *mut T, _: &'static str) -> Option<Out<'a, T>> {
    NonNull::new(pointer).map(|pointer| Out { pointer, lifetime: PhantomData })
}

/// The place for a result.
///
/// # Safety
/// `pointer` is NULL or valid for writing during `'a`.
pub(crate) unsafe fn out<'a, T>(pointer: *mut T, parameter: &'static str) -> Given<Out<'a, T>> {
    // SAFETY: promised by the caller.
    unsafe { optional_out(pointer, parameter) }.ok_or(null(parameter))
}

/// A place that C provided for a result. It may be uninitialised.
#[derive(Clone, Copy)]
pub(crate) struct Out<'a, T> {
    pointer: NonNull<T>,
    lifetime: PhantomData<&'a mut T>,
}

impl<T> Out<'_, T> {
    pub(crate) fn write(self, value: T) {
        // SAFETY: whoever made this was promised that the place is valid.
        unsafe { self.pointer.write(value) };
    }
}

/// A string argument.
///
/// # Safety
/// `pointer` is NULL or a NUL-terminated string, valid during `'a`.
pub(crate) unsafe fn string<'a>(pointer: *const c_char, parameter: &'static str) -> Given<&'a str> {
    // SAFETY: promised by the caller.
    let text = unsafe { c_string(pointer, parameter)? };
    text.to_str().map_err(|_| Refused { parameter, reason: "is not UTF-8" })
}

/// A string argument that need not be given: NULL is none.
///
/// # Safety
/// As for [`string`].
pub(crate) unsafe fn optional_string<'a>(pointer: *const c_char, parameter: &'static str) -> Given<Option<&'a str>> {
    if pointer.is_null() {
        return Ok(None);
    }
    // SAFETY: promised by the caller.
    unsafe { string(pointer, parameter) }.map(Some)
}

/// The name of the replica that something is made for. `None` if the argument is no valid name.
pub(crate) fn name_of(replica_name: Given<&str>) -> Option<CString> {
    CString::new(replica_name.ok()?).ok()
}

/// A string argument that need not be UTF-8.
///
/// # Safety
/// As for [`string`].
pub(crate) unsafe fn c_string<'a>(pointer: *const c_char, parameter: &'static str) -> Given<&'a CStr> {
    if pointer.is_null() {
        return Err(null(parameter));
    }
    // SAFETY: not NULL, and so, as promised by the caller, a NUL-terminated string.
    Ok(unsafe { CStr::from_ptr(pointer) })
}

/// Items given as pointer and length. NULL with length 0 is an empty slice.
///
/// # Safety
/// `pointer` is valid for reading `len` items during `'a`.
pub(crate) unsafe fn items<'a, T>(pointer: *const T, len: usize, parameter: &'static str) -> Given<&'a [T]> {
    if len == 0 {
        return Ok(&[]);
    }
    check_items(pointer, len, parameter)?;
    // SAFETY: not NULL, no longer than a slice can be, and valid as promised by the caller.
    Ok(unsafe { std::slice::from_raw_parts(pointer, len) })
}

/// A buffer given as pointer and capacity, to be written to. NULL with capacity 0 is an empty one.
///
/// # Safety
/// `pointer` is valid for reading and writing `len` items during `'a`, and nobody else uses them.
pub(crate) unsafe fn buffer<'a, T>(pointer: *mut T, len: usize, parameter: &'static str) -> Given<&'a mut [T]> {
    if len == 0 {
        return Ok(&mut []);
    }
    check_items(pointer, len, parameter)?;
    // SAFETY: not NULL, no longer than a slice can be, and valid as promised by the caller.
    Ok(unsafe { std::slice::from_raw_parts_mut(pointer, len) })
}

fn check_items<T>(pointer: *const T, len: usize, parameter: &'static str) -> Given<()> {
    if pointer.is_null() {
        return Err(null(parameter));
    }
    if len > isize::MAX.unsigned_abs() / size_of::<T>().max(1) {
        return Err(Refused { parameter, reason: "has more items than memory can hold" });
    }
    Ok(())
}

/// A buffer for a text.
///
/// # Safety
/// As for [`buffer`].
pub(crate) unsafe fn text_buffer<'a>(pointer: *mut c_char, len: usize, name: &'static str) -> Given<&'a mut [u8]> {
    // SAFETY: promised by the caller; a c_char is a byte.
    unsafe { buffer(pointer.cast(), len, name) }
}

/// Writes a text of the library's to a buffer of the caller's, with a NUL behind it.
pub(crate) fn write_text(text: &str, buf: Given<&mut [u8]>, len: Given<Out<'_, usize>>) -> Result<nxf_status> {
    let (place, into) = (len?, buf?);
    place.write(text.len());
    let capacity = into.len();
    let Some(room) = into.get_mut(..=text.len()) else {
        return Err(Error::BufferTooSmall { capacity, needed: text.len() + 1 });
    };
    room[..text.len()].copy_from_slice(text.as_bytes());
    room[text.len()] = 0;
    Ok(NXF_OK)
}

/// A struct that says how large it is, so that members can be added at its end.
///
/// # Safety
/// It is `repr(C)`, its first member is a `usize`, and zeros are valid for all its members.
pub(crate) unsafe trait Growing {
    /// How many of its bytes the host's version must have.
    const LEAST: usize = size_of::<usize>();
    /// The bytes that belong to no member.
    const PADDING: &'static [Range<usize>] = &[];
}

/// How large the host's version of a struct is, out of its first member.
///
/// # Safety
/// The first member of what `pointer` points to is valid for reading.
unsafe fn struct_size<T: Growing>(pointer: *const T, parameter: &'static str) -> Result<usize> {
    // SAFETY: promised by the caller; the first member is a usize, as Growing says.
    let size = unsafe { pointer.cast::<usize>().read() };
    if size < T::LEAST {
        let reason = format!("its struct_size is {size}, and must be at least {}", T::LEAST);
        return Err(Error::invalid(parameter, reason));
    }
    Ok(size)
}

/// A struct of the host's. Members that the host's version does not have are zero.
///
/// # Safety
/// `pointer` is NULL, or the first member says how many bytes are valid there for reading, itself included.
pub(crate) unsafe fn sized<T: Growing>(pointer: *const T, parameter: &'static str) -> Result<T> {
    if pointer.is_null() {
        return Err(null(parameter).into());
    }
    // SAFETY: not NULL, and so valid as promised by the caller.
    let size = unsafe { struct_size(pointer, parameter)? };
    let mut full = std::mem::MaybeUninit::<T>::zeroed();
    // SAFETY: `size` bytes are valid at the pointer, and no more than T has are copied; zeros are valid for the rest.
    unsafe {
        std::ptr::copy_nonoverlapping(pointer.cast::<u8>(), full.as_mut_ptr().cast(), size.min(size_of::<T>()));
        Ok(full.assume_init())
    }
}

/// The place for a struct that the caller's version may have less of.
///
/// # Safety
/// `pointer` is NULL, or the first member says how many bytes are valid there for reading and writing, itself included,
/// during `'a`.
pub(crate) unsafe fn sized_out<'a, T: Growing>(pointer: *mut T, parameter: &'static str) -> Given<SizedOut<'a, T>> {
    // SAFETY: promised by the caller.
    Ok(SizedOut { place: unsafe { out(pointer, parameter)? }, parameter })
}

/// A place that C provided for a struct, or for the beginning of it.
pub(crate) struct SizedOut<'a, T> {
    place: Out<'a, T>,
    parameter: &'static str,
}

impl<T: Growing> SizedOut<'_, T> {
    /// Writes as much as the place has room for. `fill` is told the place's size, and puts it into the first member.
    pub(crate) fn write(self, fill: impl FnOnce(usize) -> T) -> Result<()> {
        let place = self.place.pointer.as_ptr();
        // SAFETY: whoever made this was promised that the first member is valid.
        let size = unsafe { struct_size(place, self.parameter)? };
        let full = fill(size);
        let written = size.min(size_of::<T>());
        // SAFETY: `size` bytes are valid at the place, as was promised, and no more than T has are copied.
        unsafe { std::ptr::copy_nonoverlapping((&raw const full).cast::<u8>(), place.cast::<u8>(), written) };
        // The padding was copied, too, and may hold any bytes. A host may compare or store the struct as bytes, so it
        // is zeroed.
        for at in T::PADDING.iter().cloned().flatten().filter(|&at| at < written) {
            // SAFETY: these bytes are among those that were just written.
            unsafe { place.cast::<u8>().add(at).write(0) };
        }
        Ok(())
    }
}
