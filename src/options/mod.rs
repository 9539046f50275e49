//! Options: strings by key, as the host sets them.
//!
//! [`table`] has the keys with their ranges, defaults and meanings, and imports nothing. `build` turns a set of options
//! into what each layer is made with.
//!
//! The interface sets options by strings, so a new option does not change the interface. Each handle copies the options
//! that concern it, and its documentation names the first part of their keys.

mod build;
pub mod table;

use crate::diagnostics::Logger;
use crate::error::{Error, Result};
use table::{Kind, Spec, TABLE};

/// A set of options.
#[derive(Clone)]
pub struct Options {
    /// By position in the table: the number, or the position of the word among the allowed words.
    values: Vec<u64>,
    /// Receives the messages of the handles made with these options. By default there is no logger.
    pub logger: Logger,
}

impl std::fmt::Debug for Options {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_map().entries(TABLE.iter().map(|spec| (spec.key, self.get(spec.key).unwrap_or_default()))).finish()
    }
}

impl Default for Options {
    fn default() -> Options {
        let default = |spec: &Spec| match spec.kind {
            Kind::Number { default, .. } => default,
            Kind::Word(_) => 0,
        };
        Options { values: TABLE.iter().map(default).collect(), logger: None }
    }
}

impl Options {
    /// Sets the option `key`. An error, and nothing set, if there is no such option or it does not take the value.
    pub fn set(&mut self, key: &str, value: &str) -> Result<()> {
        let invalid = |reason: String| Error::InvalidOption { key: key.to_owned(), reason };
        let at = position(key).ok_or_else(|| no_such_option(key))?;
        self.values[at] = match TABLE[at].kind {
            Kind::Number { min, max, .. } => value
                .parse()
                .ok()
                .filter(|number| (min..=max).contains(number))
                .ok_or_else(|| invalid(format!("`{value}` is not a whole number from {min} to {max}")))?,
            Kind::Word(words) => words
                .iter()
                .position(|&word| word == value)
                .ok_or_else(|| invalid(format!("`{value}` is not one of {}", words.join(", "))))?
                as u64,
        };
        Ok(())
    }

    /// The value of the option `key`, as it would be set. An error if there is no such option.
    pub fn value_of(&self, key: &str) -> Result<String> {
        self.get(key).ok_or_else(|| no_such_option(key))
    }

    /// The value of the option `key`, as it would be set.
    pub fn get(&self, key: &str) -> Option<String> {
        let at = position(key)?;
        Some(match TABLE[at].kind {
            Kind::Number { .. } => self.values[at].to_string(),
            Kind::Word(words) => words[usize::try_from(self.values[at]).unwrap_or(0)].to_owned(),
        })
    }
}

fn position(key: &str) -> Option<usize> {
    TABLE.iter().position(|spec| spec.key == key)
}

fn no_such_option(key: &str) -> Error {
    let keys: Vec<&str> = TABLE.iter().map(|spec| spec.key).collect();
    Error::InvalidOption {
        key: key.to_owned(),
        reason: format!("there is no such option; there are {}", keys.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_option_takes_its_default_and_its_bounds_and_nothing_beyond() {
        let mut options = Options::default();
        for spec in TABLE {
            let default = options.get(spec.key).unwrap();
            options.set(spec.key, &default).unwrap();
            match spec.kind {
                Kind::Number { min, max, default } => {
                    assert!((min..=max).contains(&default), "{}", spec.key);
                    for (value, ok) in [
                        (min.to_string(), true),
                        (max.to_string(), true),
                        ((max + 1).to_string(), false),
                        ("-1".into(), false),
                        ("1.5".into(), false),
                        ("many".into(), false),
                        (String::new(), false),
                    ] {
                        assert_eq!(options.set(spec.key, &value).is_ok(), ok, "{} = {value}", spec.key);
                    }
                    assert_eq!(options.get(spec.key), Some(max.to_string()));
                }
                Kind::Word(words) => {
                    for word in words {
                        options.set(spec.key, word).unwrap();
                        assert_eq!(options.get(spec.key).as_deref(), Some(*word));
                    }
                    assert!(options.set(spec.key, "nonsense").is_err());
                }
            }
        }
    }

    #[test]
    fn errors_name_the_key_the_value_and_what_is_allowed() {
        let mut options = Options::default();
        let text = |result: Result<()>| result.unwrap_err().to_string();
        let unknown = text(options.set("log.settle", "1"));
        assert!(unknown.contains("`log.settle`") && unknown.contains("log.settle_ms"), "{unknown}");
        let bad = text(options.set("log.settle_ms", "soon"));
        assert!(bad.contains("`log.settle_ms`") && bad.contains("`soon`") && bad.contains("86400000"), "{bad}");
        let word = text(options.set("ack.beyond_sent", "maybe"));
        assert!(word.contains("error, accept"), "{word}");
        assert_eq!(options.get("nothing"), None);
    }
}
