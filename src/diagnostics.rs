//! The library's messages for people. They go to the logger that the host gave with its options, and nowhere else.

use std::fmt::{Arguments, Display, Formatter, Write};
use std::sync::Arc;

pub use ::log::Level;

/// Receives the messages. `None` means silence.
pub type Logger = Option<Arc<dyn ::log::Log>>;

/// A replica, as messages name it. A message stays one line, whatever name the host has given.
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

/// Sends a message to the logger, if there is one.
pub fn say(logger: &Logger, level: Level, target: &str, text: Arguments<'_>) {
    if let Some(logger) = logger {
        let record = ::log::Record::builder().level(level).target(target).args(text).build();
        if logger.enabled(record.metadata()) {
            logger.log(&record);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    /// Keeps the messages that it receives, and wants only warnings and errors.
    #[derive(Default)]
    struct Listener(Mutex<Vec<String>>);

    impl ::log::Log for Listener {
        fn enabled(&self, metadata: &::log::Metadata<'_>) -> bool {
            metadata.level() <= Level::Warn
        }

        fn log(&self, record: &::log::Record<'_>) {
            let said = format!("{} {}: {}", record.level(), record.target(), record.args());
            self.0.lock().unwrap().push(said);
        }

        fn flush(&self) {}
    }

    #[test]
    fn a_listener_is_told_what_it_wants_to_hear_and_nobody_else_anything() {
        let listener = Arc::new(Listener::default());
        let logger: Logger = Some(Arc::clone(&listener) as Arc<dyn ::log::Log>);
        say(&logger, Level::Warn, "here", format_args!("number {}", 7));
        say(&logger, Level::Info, "here", format_args!("of no interest"));
        say(&logger, Level::Error, "there", format_args!("worse"));
        say(&None, Level::Error, "there", format_args!("to nobody"));
        assert_eq!(*listener.0.lock().unwrap(), ["WARN here: number 7", "ERROR there: worse"]);
    }

    #[test]
    fn what_nobody_wants_to_hear_is_not_put_into_words() {
        struct Costly;
        impl Display for Costly {
            fn fmt(&self, _: &mut Formatter<'_>) -> std::fmt::Result {
                panic!("somebody has it written out")
            }
        }
        let logger: Logger = Some(Arc::new(Listener::default()));
        say(&logger, Level::Info, "here", format_args!("{Costly}"));
        say(&None, Level::Error, "here", format_args!("{Costly}"));
    }

    #[test]
    fn a_replica_is_named_on_one_line_whatever_its_name() {
        assert_eq!(Replica("r-1").to_string(), "replica 'r-1'");
        assert_eq!(Replica("a\nb\u{1b}[0m\u{e9}").to_string(), "replica 'a\u{fffd}b\u{fffd}[0m\u{e9}'");
    }
}
