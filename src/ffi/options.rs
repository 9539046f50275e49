//! Options, and the log callback: what the library says to people.

use std::ffi::{CString, c_char, c_void};
use std::sync::{Arc, OnceLock};

use ::log::LevelFilter;

use parking_lot::Mutex;

use super::border::{
    Context, Handle, Opaque, free, give, guard, null, opaque, out, string, with, write_sized, write_text,
};
use super::error::nxf_error;
use super::status::{NXF_CLOSED, NXF_OK, nxf_drop_callback, nxf_status};
use crate::error::{Error, Result};
use crate::options::{Kind, Options, TABLE};
use crate::sys::thread::hold_off_cancelling;

/// A set of options, as keys and values. Whoever is given options copies them: they can be changed and freed at any
/// time, and what was made with them stays as it is. Where options are asked for, NULL means the defaults, and keys
/// that do not concern what is made are passed over. docs/options.md has every key, with its range and its default.
pub struct nxf_options(Handle<Mutex<Options>>);
opaque!(nxf_options, "options", Mutex<Options>);

/// The options behind the pointer, or the defaults.
///
/// # Safety
/// `options` is NULL or a live handle.
pub(crate) unsafe fn copied(options: *const nxf_options) -> Result<Options> {
    // SAFETY: promised by the caller.
    match unsafe { options.as_ref() } {
        Some(options) => Ok(options.handle().check()?.lock().clone()),
        None => Ok(Options::default()),
    }
}

/// Makes a set of options, all at their defaults. It belongs to the caller: to be released with nxf_options_free().
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nxf_options_new(options: *mut *mut nxf_options, err: *mut *mut nxf_error) -> nxf_status {
    // SAFETY: the pointers are NULL or valid, as the header says.
    unsafe {
        guard(err, || {
            out(options, "options")?.write(give(nxf_options(Handle::new(Mutex::new(Options::default())))));
            Ok(NXF_OK)
        })
    }
}

/// Sets the option of this key. Both strings are copied; numbers are decimal. NXF_E_INVALID_OPTION, with the allowed
/// keys or values in the message and nothing changed, if there is no such option or it does not take this value.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nxf_options_set(
    options: *mut nxf_options,
    key: *const c_char,
    value: *const c_char,
    err: *mut *mut nxf_error,
) -> nxf_status {
    // SAFETY: the pointers are NULL or valid, as the header says.
    unsafe {
        with(options, err, |options| {
            options.lock().set(string(key, "key")?, string(value, "value")?)?;
            Ok(NXF_OK)
        })
    }
}

/// Writes the value of the option of this key to buf, NUL-terminated, as it would be set; its length without the NUL goes
/// to *len. options NULL: the default. NXF_E_INVALID_OPTION: there is no such option. NXF_E_BUFFER_TOO_SMALL: *len says
/// how long the value is; buf may be NULL if capacity is 0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nxf_options_get(
    options: *const nxf_options,
    key: *const c_char,
    buf: *mut c_char,
    capacity: usize,
    len: *mut usize,
    err: *mut *mut nxf_error,
) -> nxf_status {
    // SAFETY: the pointers are NULL or valid, as the header says.
    unsafe {
        guard(err, || {
            let value = copied(options)?.value_of(string(key, "key")?)?;
            write_text(&value, buf, capacity, len)
        })
    }
}

/// A whole number, in the unit that the key's last part names.
pub const NXF_OPTION_NUMBER: u32 = 1;
/// One of some words.
pub const NXF_OPTION_WORD: u32 = 2;

/// What there is to know of an option. The texts are the library's, never NULL, and valid for as long as it is loaded.
/// Members may be added at its end.
#[repr(C)]
pub struct nxf_option {
    /// To be set to sizeof(nxf_option) by the caller: only so much is written.
    pub struct_size: usize,
    /// Its key, as "log.settle_ms".
    pub key: *const c_char,
    /// What it does, for people.
    pub meaning: *const c_char,
    /// The value when nothing is set.
    pub default_value: *const c_char,
    /// The words that it takes, as "error, accept"; "" for a number.
    pub words: *const c_char,
    /// The smallest number that it takes; 0 for a word.
    pub min: u64,
    /// The largest number that it takes; 0 for a word.
    pub max: u64,
    /// NXF_OPTION_...: what it takes.
    pub kind: u32,
}

/// The place in nxf_option that belongs to no member.
const PADDING: std::ops::Range<usize> =
    std::mem::offset_of!(nxf_option, kind) + size_of::<u32>()..size_of::<nxf_option>();

/// Writes what there is to know of an option to *option, as much as option->struct_size says, which the caller has set to
/// sizeof(nxf_option). at counts the options from 0 on, in the order of docs/options.md, which may be another one in
/// another version. NXF_CLOSED, and nothing written: there are no more. Any thread.
///
/// @code{.c}
/// nxf_option option = {.struct_size = sizeof option};
/// for (size_t at = 0; nxf_options_describe(at, &option, NULL) == NXF_OK; at++)
///     printf("%s (default %s): %s\n", option.key, option.default_value, option.meaning);
/// @endcode
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nxf_options_describe(
    at: usize,
    option: *mut nxf_option,
    err: *mut *mut nxf_error,
) -> nxf_status {
    // SAFETY: the pointers are NULL or valid, as the header says.
    unsafe {
        guard(err, || {
            if option.is_null() {
                return Err(null("option"));
            }
            let Some(texts) = texts().get(at) else { return Ok(NXF_CLOSED) };
            write_sized(option, "option", PADDING, |struct_size| Ok(texts.described(struct_size)))?;
            Ok(NXF_OK)
        })
    }
}

/// The texts of an option, as C wants them.
struct Texts {
    key: CString,
    meaning: CString,
    default_value: CString,
    words: CString,
    kind: Kind,
}

/// Of all options, made when they are first asked for.
fn texts() -> &'static [Texts] {
    static TEXTS: OnceLock<Vec<Texts>> = OnceLock::new();
    let text = |text: &str| CString::new(text).unwrap_or_default();
    let defaults = Options::default();
    TEXTS.get_or_init(|| {
        let texts = TABLE.iter().map(|spec| Texts {
            key: text(spec.key),
            meaning: text(spec.meaning),
            default_value: text(&defaults.get(spec.key).unwrap_or_default()),
            words: match spec.kind {
                Kind::Number { .. } => CString::default(),
                Kind::Word(words) => text(&words.join(", ")),
            },
            kind: spec.kind,
        });
        texts.collect()
    })
}

impl Texts {
    fn described(&self, struct_size: usize) -> nxf_option {
        let (kind, min, max) = match self.kind {
            Kind::Number { min, max, .. } => (NXF_OPTION_NUMBER, min, max),
            Kind::Word(_) => (NXF_OPTION_WORD, 0, 0),
        };
        nxf_option {
            struct_size,
            key: self.key.as_ptr(),
            meaning: self.meaning.as_ptr(),
            default_value: self.default_value.as_ptr(),
            words: self.words.as_ptr(),
            min,
            max,
            kind,
        }
    }
}

/// Something failed: a run has ended with an error, say.
pub const NXF_LEVEL_ERROR: u32 = 1;
/// Something is not as it should be, and the library goes on.
pub const NXF_LEVEL_WARN: u32 = 2;
/// Something of note happened: a run has ended in order, the log goes on after a stall.
pub const NXF_LEVEL_INFO: u32 = 3;
/// For finding faults.
pub const NXF_LEVEL_DEBUG: u32 = 4;

/// Receives what the library has to say to people. On the thread that does the library's work, and on several at once
/// when several runners have it; with no lock held: it must not block for long, nor throw. It may call back in, as an ack
/// callback may; a scanner that speaks is in use, which is NXF_E_WRONG_STATE. level: NXF_LEVEL_...;
/// target: the part of the library that speaks, as "noxu_feeder::log". Both strings are valid during the call.
pub type nxf_log_callback =
    Option<unsafe extern "C" fn(context: *mut c_void, level: u32, target: *const c_char, message: *const c_char)>;

/// Has everything of level_max (NXF_LEVEL_...) and more urgent handed to callback, by all that is made with these
/// options from now on. Without a callback nothing is said anywhere. It takes the place of the one before; callback
/// NULL: silence again, and context is dropped at once.
///
/// On NXF_OK context is the library's: drop, which may be NULL, releases it when these options and all that was made
/// with them are gone or have another callback. On an error it stays the caller's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nxf_options_set_log_callback(
    options: *mut nxf_options,
    level_max: u32,
    callback: nxf_log_callback,
    context: *mut c_void,
    drop: nxf_drop_callback,
    err: *mut *mut nxf_error,
) -> nxf_status {
    // SAFETY: the pointers are NULL or valid, as the header says.
    unsafe {
        with(options, err, |options| {
            let filter = match level_max {
                NXF_LEVEL_ERROR => LevelFilter::Error,
                NXF_LEVEL_WARN => LevelFilter::Warn,
                NXF_LEVEL_INFO => LevelFilter::Info,
                NXF_LEVEL_DEBUG => LevelFilter::Debug,
                other => return Err(Error::invalid("level_max", format!("{other} is no NXF_LEVEL_..."))),
            };
            let context = Context::new(context, drop);
            let logger = callback.map(|callback| {
                let logger: Arc<dyn ::log::Log> = Arc::new(HostLogger { filter, callback, context });
                logger
            });
            // The one before is dropped with no lock held: that calls the host.
            let before = std::mem::replace(&mut options.lock().logger, logger);
            std::mem::drop(before);
            Ok(NXF_OK)
        })
    }
}

/// A host's function as a logger.
struct HostLogger {
    filter: LevelFilter,
    callback: unsafe extern "C" fn(*mut c_void, u32, *const c_char, *const c_char),
    context: Context,
}

impl ::log::Log for HostLogger {
    fn enabled(&self, metadata: &::log::Metadata<'_>) -> bool {
        metadata.level() <= self.filter
    }

    fn log(&self, record: &::log::Record<'_>) {
        hold_off_cancelling();
        let text = |text: String| CString::new(text.replace('\0', " ")).unwrap_or_default();
        let (target, message) = (text(record.target().to_owned()), text(record.args().to_string()));
        let level = match record.level() {
            ::log::Level::Error => NXF_LEVEL_ERROR,
            ::log::Level::Warn => NXF_LEVEL_WARN,
            ::log::Level::Info => NXF_LEVEL_INFO,
            ::log::Level::Debug | ::log::Level::Trace => NXF_LEVEL_DEBUG,
        };
        // SAFETY: the host gave function and context for each other; the strings live during the call.
        unsafe { (self.callback)(self.context.pointer(), level, target.as_ptr(), message.as_ptr()) };
    }

    fn flush(&self) {}
}

/// Releases a set of options. What was made with them goes on. NULL is fine.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nxf_options_free(options: *mut nxf_options) {
    // SAFETY: NULL or a handle that belongs to the caller.
    unsafe { free(options, |options| options.0, |_| None) };
}
