//! The benchmark: this project's library, the original sender and the machine's own limit, side by side.
//!
//! `nxf-bench run` starts a process of its own for every single measurement, so that none inherits memory, threads or
//! CPU time from another, and takes turns: each round measures everything once. The library is loaded by path and
//! used through its C interface alone; the receiving end is a process of its own, too, and the same for all. Only the
//! cases of [many replicas](fanout) have the library linked in, and use it as Rust does.

pub mod cases;
pub mod fanout;
pub mod feed;
pub mod interface;
pub mod latency;
pub mod logs;
pub mod pages;
pub mod plot;
pub mod process;
pub mod receivers;
pub mod report;
pub mod rest;
pub mod run;
pub mod scan;
pub mod sink;

use clap::ValueEnum;

use crate::{Error, Result};

/// Who is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, ValueEnum)]
pub enum Peer {
    /// This project's library, through its C interface.
    Ours,
    /// The same, with a host that says when it has appended.
    Told,
    /// The same, with `channel.quick_acks` = `never`.
    Patient,
    /// Upstream's own sender.
    Original,
    /// The same with TCP_NODELAY set, which upstream does not.
    Nodelay,
    /// What the machine can do at all.
    Limit,
    /// A server, which feeds all replicas.
    Server,
    /// A runner for each replica.
    Runners,
    /// A server with nobody connected but those that are fed.
    Alone,
}

impl Peer {
    /// As on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Peer::Ours => "ours",
            Peer::Told => "told",
            Peer::Patient => "patient",
            Peer::Original => "original",
            Peer::Nodelay => "nodelay",
            Peer::Limit => "limit",
            Peer::Server => "server",
            Peer::Runners => "runners",
            Peer::Alone => "alone",
        }
    }

    /// The options that make it what it is.
    pub fn options(self) -> &'static [(&'static str, &'static str)] {
        if self == Peer::Patient { &[("channel.quick_acks", "never")] } else { &[] }
    }
}

/// A measurement's figures, on their way from the process that took them to the one that asked for them.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Figures(Vec<(String, f64)>);

impl Figures {
    /// Adds a figure.
    pub fn set(&mut self, name: &str, value: f64) {
        self.0.push((name.to_owned(), value));
    }

    /// The figure of this name.
    pub fn get(&self, name: &str) -> Option<f64> {
        self.0.iter().find(|(known, _)| known == name).map(|&(_, value)| value)
    }

    /// All of them, in the order in which they were added.
    pub fn iter(&self) -> impl Iterator<Item = (&str, f64)> {
        self.0.iter().map(|(name, value)| (name.as_str(), *value))
    }

    /// Reads the line that [`Display`](std::fmt::Display) wrote.
    pub fn parse(line: &str) -> Result<Self> {
        let mut figures = Self::default();
        for word in line.split_whitespace() {
            let (name, value) = word.split_once('=').ok_or_else(|| Error::new(format_args!("no figure: {word}")))?;
            figures.set(name, value.parse().map_err(|_| Error::new(format_args!("no number: {word}")))?);
        }
        Ok(figures)
    }
}

impl std::fmt::Display for Figures {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (at, (name, value)) in self.0.iter().enumerate() {
            let gap = if at == 0 { "" } else { " " };
            write!(f, "{gap}{name}={value}")?;
        }
        Ok(())
    }
}
