//! Reading a log without sending it: from one end to the other, or to its last entry only.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::time::Instant;

use clap::Args;
use noxu_rep::stream::feeder::LogScanner;

use super::interface::Library;
use super::pages::Pages;
use super::process::{Cpu, read_bytes};
use super::{Figures, Peer};
use crate::original_feed::{Home, seven};
use crate::reader::log_files;
use crate::{Error, Result};

/// How much the limit reads at once.
const LIMIT_BYTES: usize = 1 << 20;

/// Reads a log
#[derive(Debug, Clone, Args)]
pub struct Scan {
    /// Who reads
    #[arg(long)]
    pub peer: Peer,
    /// The log
    #[arg(long)]
    pub dir: PathBuf,
    /// The last VLSN in it
    #[arg(long, value_name = "V")]
    pub last: u64,
    /// The VLSN to begin with
    #[arg(long, default_value_t = 1, value_name = "V")]
    pub from: u64,
    /// How many times, with a scanner of its own each time
    #[arg(long, default_value_t = 1, value_name = "N")]
    pub passes: u32,
    /// The library
    #[arg(long, value_name = "FILE")]
    pub library: PathBuf,
    /// Set an option of the library
    #[arg(long = "option", value_name = "KEY=VALUE")]
    pub options: Vec<String>,
}

impl Scan {
    /// Reads to the last entry.
    pub fn run(&self) -> Result<Figures> {
        match self.peer {
            Peer::Ours => {
                let library = Library::load(&self.library)?;
                let options = library.options(self.options.iter().filter_map(|option| option.split_once('=')))?;
                self.measure(|last| {
                    let mut scanner = library.log(&self.dir, &options)?.scanner()?;
                    let (mut vlsn, mut bytes) = (self.from - 1, 0);
                    while vlsn < last {
                        let entry = scanner.next(vlsn + 1)?.ok_or_else(|| ended(vlsn))?;
                        vlsn = entry.vlsn;
                        bytes += entry.payload_len;
                    }
                    Ok(bytes)
                })
            }
            Peer::Original => {
                let home = Home::new()?;
                self.measure(|last| {
                    let mut scanner = seven::open_scanner(&self.dir, &home)?;
                    let (mut vlsn, mut bytes) = (self.from - 1, 0);
                    while vlsn < last {
                        let (found, _, payload) = scanner.next_entry(vlsn + 1).ok_or_else(|| ended(vlsn))?;
                        vlsn = found;
                        bytes += payload.len();
                    }
                    Ok(bytes)
                })
            }
            Peer::Limit => self.measure(|_| {
                let mut bytes = 0;
                let mut buffer = Pages::new(LIMIT_BYTES);
                for file in log_files(&self.dir)? {
                    let file = File::open(&file.path).map_err(|e| Error::at(&file.path, e))?;
                    let mut at = 0;
                    loop {
                        let read = file.read_at(&mut buffer, at).map_err(Error::new)?;
                        if read == 0 {
                            break;
                        }
                        at += read as u64;
                    }
                    bytes += at;
                }
                Ok(usize::try_from(bytes).unwrap_or(usize::MAX))
            }),
            other => Err(Error::new(format_args!("{} does not read", other.name()))),
        }
    }

    fn measure(&self, read: impl Fn(u64) -> Result<usize>) -> Result<Figures> {
        let (cpu, before) = (Cpu::now(), read_bytes()?);
        let start = Instant::now();
        let mut payload_bytes = 0;
        for _ in 0..self.passes {
            payload_bytes += read(self.last)?;
        }
        let seconds = start.elapsed().as_secs_f64();
        let mut figures = Figures::default();
        figures.set("entries", (self.last + 1 - self.from) as f64 * f64::from(self.passes));
        figures.set("seconds", seconds);
        figures.set("payload_bytes", payload_bytes as f64);
        figures.set("read_bytes", (read_bytes()? - before) as f64);
        figures.set("cpu", Cpu::now().since(cpu).seconds());
        Ok(figures)
    }
}

fn ended(vlsn: u64) -> Error {
    Error::new(format_args!("nothing came behind VLSN {vlsn}"))
}
