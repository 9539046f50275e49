//! `commit`: a real environment whose threads commit at once, which leaves VLSNs out of order in its log.
//!
//! The environment counts VLSNs as a replicated one does: a commit takes its number and then appends, with
//! no lock over both. On request a real backup is taken in the middle, which starts a new file under the
//! writer's feet.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use clap::Args;
use noxu_dbi::{DbiEnvConfig, EnvironmentImpl};

use crate::sizes::parse_bytes;
use crate::summary::{Made, Summary};
use crate::{Error, Result};

/// Commits from several threads of a real environment, for a log with VLSNs out of order
#[derive(Debug, Clone, Args)]
pub struct Commit {
    /// The environment, new or not
    #[arg(long)]
    pub dir: PathBuf,
    /// How many threads commit
    #[arg(long, default_value_t = 4, value_name = "T")]
    pub threads: u64,
    /// How many commits in all
    #[arg(long, value_name = "M")]
    pub commits: u64,
    /// Size from which the environment starts another file
    #[arg(long, default_value = "10M", value_name = "BYTES", value_parser = parse_bytes)]
    pub file_max: u64,
    /// Leave commits in the environment's buffer instead of showing each to readers
    #[arg(long)]
    pub no_flush: bool,
    /// Take a real backup after K commits, while the others go on
    #[arg(long, value_name = "K")]
    pub backup_after: Option<u64>,
}

/// What the commits left behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Committed {
    /// What was written.
    pub made: Made,
    /// The whole log, as it stands on disk.
    pub log: Summary,
    /// The highest file of the backup, if one was taken.
    pub last_backup_file: Option<u32>,
}

impl Commit {
    /// Commits, closes the environment, and reads its log.
    pub fn run(&self) -> Result<Committed> {
        self.check()?;
        let environment = self.open()?;
        let before = Summary::last_vlsn(&self.dir)?;
        environment.set_replication_vlsn_counter(Arc::new(AtomicU64::new(before)));
        let last_backup_file = self.commit_all(&environment)?;
        environment.close().map_err(|e| Error::at(&self.dir, e))?;
        let made = Made::in_log(&self.dir, self.commits, before + 1, before + self.commits)?;
        Ok(Committed { made, log: Summary::of_log(&self.dir)?, last_backup_file })
    }

    fn check(&self) -> Result<()> {
        if self.threads == 0 || self.commits == 0 {
            return Err(Error::new("--threads and --commits must be at least 1"));
        }
        if self.backup_after.is_some_and(|after| after >= self.commits) {
            return Err(Error::new("--backup-after must be less than --commits"));
        }
        Ok(())
    }

    /// No cleaning, which would delete the files: nothing in them is of use to the environment itself.
    fn open(&self) -> Result<EnvironmentImpl> {
        let config = DbiEnvConfig {
            transactional: true,
            log_file_max_bytes: self.file_max,
            run_cleaner: false,
            free_disk: 0,
            ..DbiEnvConfig::default()
        };
        EnvironmentImpl::from_dbi_config(&self.dir, &config).map_err(|e| Error::at(&self.dir, e))
    }

    /// Runs the threads; the one that makes the commit number `backup_after` takes the backup.
    fn commit_all(&self, environment: &EnvironmentImpl) -> Result<Option<u32>> {
        let begun = AtomicU64::new(0);
        let outcomes: Vec<Result<Option<u32>>> = thread::scope(|scope| {
            let threads: Vec<_> =
                (0..self.threads).map(|_| scope.spawn(|| self.commit_some(environment, &begun))).collect();
            threads.into_iter().map(|thread| thread.join().unwrap_or_else(|_| Err(panicked()))).collect()
        });
        let mut last_backup_file = None;
        for outcome in outcomes {
            last_backup_file = outcome?.or(last_backup_file);
        }
        Ok(last_backup_file)
    }

    fn commit_some(&self, environment: &EnvironmentImpl, begun: &AtomicU64) -> Result<Option<u32>> {
        let mut last_backup_file = None;
        loop {
            let number = begun.fetch_add(1, Ordering::AcqRel) + 1;
            if number > self.commits {
                return Ok(last_backup_file);
            }
            let transaction = number.cast_signed();
            let written = environment.log_txn_commit(transaction, false, !self.no_flush);
            written.map_err(|e| Error::new(format_args!("commit {number}: {e}")))?;
            if self.backup_after == Some(number) {
                last_backup_file = Some(back_up(environment)?);
            }
        }
    }
}

fn panicked() -> Error {
    Error::new("a committing thread panicked")
}

/// Starts a real backup, which seals the current file, and ends it.
fn back_up(environment: &EnvironmentImpl) -> Result<u32> {
    let failed = |e| Error::new(format_args!("backup: {e}"));
    let backup = environment.start_backup().map_err(failed)?;
    let last = backup.last_file_in_backup_set();
    backup.end_backup().map_err(failed)?;
    Ok(last)
}
