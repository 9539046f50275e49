//! What the library has to say to people: to the logger that the host gave with its options, and to nobody else.

use std::fmt::{Arguments, Display, Formatter, Write};
use std::sync::Arc;

pub use ::log::Level;

/// Receives what is said; none for silence.
pub type Logger = Option<Arc<dyn ::log::Log>>;

/// A replica, as messages name it. Whatever the host has called it, a message stays one line.
pub struct Replica<'a>(pub &'a str);

impl Display for Replica<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        f.write_str("replica '")?;
        for letter in self.0.chars() {
            f.write_char(if letter.is_control() { char::REPLACEMENT_CHARACTER } else { letter })?;
        }
        f.write_char('\'')
    }
}

/// Says something, if somebody listens.
pub fn say(logger: &Logger, level: Level, target: &str, text: Arguments<'_>) {
    if let Some(logger) = logger {
        let record = ::log::Record::builder().level(level).target(target).args(text).build();
        if logger.enabled(record.metadata()) {
            logger.log(&record);
        }
    }
}
