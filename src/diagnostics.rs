//! What the library has to say to people: to the logger that the host gave with its options, and to nobody else.

use std::fmt::Arguments;
use std::sync::Arc;

pub use ::log::Level;

/// Receives what is said; none for silence.
pub type Logger = Option<Arc<dyn ::log::Log>>;

/// Says something, if somebody listens.
pub fn say(logger: &Logger, level: Level, target: &str, text: Arguments<'_>) {
    if let Some(logger) = logger {
        let record = ::log::Record::builder().level(level).target(target).args(text).build();
        if logger.enabled(record.metadata()) {
            logger.log(&record);
        }
    }
}
