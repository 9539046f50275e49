//! Options, and the log callback: settings, and the library's messages for people.

use std::ffi::{CString, c_char, c_void};
use std::sync::{Arc, OnceLock};

use ::log::LevelFilter;

use parking_lot::Mutex;

use super::border::{Context, Growing, Handle, Opaque, free, give, given, guard, opaque, with, write_text};
use super::error::nxf_error;
use super::status::{NXF_CLOSED, NXF_OK, nxf_drop_callback, nxf_status};
use crate::error::{Error, Result};
use crate::options::Options;
use crate::options::table::{Kind, TABLE};
use crate::sys::thread::hold_off_cancelling;

/// A set of options, as keys and values. A function that is given options copies them: you can change and free them at
/// any time, and the objects made with them stay as they are. Where a function takes options, NULL means the defaults,
/// and keys that do not concern it are passed over. docs/options.md has every key, with its range and its default.
pub struct nxf_options(Handle<Mutex<Options>>);
opaque!(nxf_options, "options", Mutex<Options>);

/// The options that the caller has given, or the defaults.
pub(crate) fn copied(options: Option<&nxf_options>) -> Result<Options> {
    match options {
        Some(options) => Ok(options.handle().check()?.lock().clone()),
        None => Ok(Options::default()),
    }
}

/// Makes a set of options, all at their defaults. It belongs to the caller, who releases it with nxf_options_free().
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nxf_options_new(options: *mut *mut nxf_options, err: *mut *mut nxf_error) -> nxf_status {
    given!(options: out, err: optional_out);
    guard(err, || {
        options?.write(give(nxf_options(Handle::new(Mutex::new(Options::default())))));
        Ok(NXF_OK)
    })
}

/// Sets the option of this key. Both strings are copied; numbers are decimal. NXF_E_INVALID_OPTION, and nothing
/// changed: there is no such option, or it does not take this value; the message lists the allowed keys or values.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nxf_options_set(
    options: *mut nxf_options,
    key: *const c_char,
    value: *const c_char,
    err: *mut *mut nxf_error,
) -> nxf_status {
    given!(options: reference, key: string, value: string, err: optional_out);
    with(options, err, |options| {
        options.lock().set(key?, value?)?;
        Ok(NXF_OK)
    })
}

/// Writes the value of the option of this key to buf, NUL-terminated, in the form in which it is set, and its length
/// without the NUL to *len. If options is NULL, writes the default. NXF_E_INVALID_OPTION: there is no such option.
/// NXF_E_BUFFER_TOO_SMALL: *len says how long the value is; buf may be NULL if capacity is 0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nxf_options_get(
    options: *const nxf_options,
    key: *const c_char,
    buf: *mut c_char,
    capacity: usize,
    len: *mut usize,
    err: *mut *mut nxf_error,
) -> nxf_status {
    given!(options: reference, key: string, buf[capacity]: text_buffer, len: out, err: optional_out);
    guard(err, || write_text(&copied(options)?.value_of(key?)?, buf, len))
}

/// A whole number, in the unit that the key's last part names.
pub const NXF_OPTION_NUMBER: u32 = 1;
/// One word of several.
pub const NXF_OPTION_WORD: u32 = 2;

/// The description of an option. The texts belong to the library, are never NULL, and are valid for as long as it is
/// loaded. Members may be added at its end.
#[repr(C)]
pub struct nxf_option {
    /// The caller sets it to sizeof(nxf_option). No more than that is written.
    pub struct_size: usize,
    /// The option's key, such as "log.settle_ms".
    pub key: *const c_char,
    /// What the option does, for people.
    pub meaning: *const c_char,
    /// The value when nothing is set.
    pub default_value: *const c_char,
    /// The words that it takes, such as "error, accept"; "" for a number.
    pub words: *const c_char,
    /// The smallest number that it takes; 0 for a word.
    pub min: u64,
    /// The largest number that it takes; 0 for a word.
    pub max: u64,
    /// NXF_OPTION_...: the kind of value that it takes.
    pub kind: u32,
}

// SAFETY: a struct as C has them, of pointers and numbers, and its size is the first.
unsafe impl Growing for nxf_option {
    #[allow(clippy::single_range_in_vec_init, reason = "there is one such stretch")]
    const PADDING: &[std::ops::Range<usize>] =
        &[std::mem::offset_of!(nxf_option, kind) + size_of::<u32>()..size_of::<nxf_option>()];
}

/// Writes the description of an option to *option. Writes at most option->struct_size bytes, which the caller has set
/// to sizeof(nxf_option). at counts the options from 0 on, in the order of docs/options.md; another version may have
/// another order. NXF_CLOSED, and nothing written: there are no more. Any thread.
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
    given!(option: sized_out, err: optional_out);
    guard(err, || {
        let place = option?;
        let Some(texts) = texts().get(at) else { return Ok(NXF_CLOSED) };
        place.write(|struct_size| texts.described(struct_size))?;
        Ok(NXF_OK)
    })
}

/// The texts of an option, as C strings.
struct Texts {
    key: CString,
    meaning: CString,
    default_value: CString,
    words: CString,
    kind: Kind,
}

/// The texts of all options, made when they are first asked for.
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

/// Something failed: for example, a run has ended with an error.
pub const NXF_LEVEL_ERROR: u32 = 1;
/// Something is not as it should be, and the library goes on.
pub const NXF_LEVEL_WARN: u32 = 2;
/// Something of note happened: for example, a run has ended in order, or the log goes on after a stall.
pub const NXF_LEVEL_INFO: u32 = 3;
/// For finding faults.
pub const NXF_LEVEL_DEBUG: u32 = 4;

/// Receives the library's messages for people. It is called on the thread that does the library's work, and on several
/// threads at once if several runners have the same callback. No lock is held during the call. It must not block for
/// long, nor throw. It may call the library as an ack callback may. A scanner whose message this is is in use, and a
/// call with it is NXF_E_WRONG_STATE. level: NXF_LEVEL_...; target: the part of the library that the message is from,
/// such as "noxu_feeder::log". Both strings are valid during the call.
pub type nxf_log_callback =
    Option<unsafe extern "C" fn(context: *mut c_void, level: u32, target: *const c_char, message: *const c_char)>;

/// Sets the log callback of all objects that are made with these options from now on. It receives every message of
/// level_max (NXF_LEVEL_...) and more urgent. Without a callback the library says nothing anywhere. The new callback
/// replaces the one before. If callback is NULL, there is silence again, and context is dropped at once.
///
/// On NXF_OK context belongs to the library: drop, which may be NULL, releases it when these options and all objects
/// made with them are gone or have another callback. On an error context stays the caller's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nxf_options_set_log_callback(
    options: *mut nxf_options,
    level_max: u32,
    callback: nxf_log_callback,
    context: *mut c_void,
    drop: nxf_drop_callback,
    err: *mut *mut nxf_error,
) -> nxf_status {
    given!(options: reference, err: optional_out);
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
        // The logger before is dropped with no lock held, because dropping it calls the host.
        let before = std::mem::replace(&mut options.lock().logger, logger);
        std::mem::drop(before);
        Ok(NXF_OK)
    })
}

/// A function of the host's, as a logger.
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

/// Releases a set of options. The objects made with them go on. NULL is fine.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nxf_options_free(options: *mut nxf_options) {
    given!(options: owned);
    free(options, |options| options.0, |_| None);
}
