//! `nxf-interop`: the real Noxu crates as master and as replica, on the command line.
//!
//! The last line on standard output is the result. A failure is one line on standard error and exit status
//! 1; a wrong command line is exit status 2.

// Results and failures go to the standard streams here, and nowhere else.
#![allow(clippy::print_stdout, clippy::print_stderr)]

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use noxu_feeder_interop::Result;
use noxu_feeder_interop::append::Append;
use noxu_feeder_interop::commit::Commit;
use noxu_feeder_interop::compare::Compare;
use noxu_feeder_interop::list::List;
use noxu_feeder_interop::make_log::MakeLog;
use noxu_feeder_interop::original_feed::OriginalFeed;
use noxu_feeder_interop::replica::Replica;
use noxu_feeder_interop::roll_back::RollBack;

/// The real Noxu crates as master and as replica.
#[derive(Debug, Parser)]
#[command(name = "nxf-interop")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    MakeLog(MakeLog),
    Append(Append),
    Commit(Commit),
    RollBack(RollBack),
    Replica(Replica),
    Compare(Compare),
    List(List),
    OriginalFeed(OriginalFeed),
}

fn main() -> ExitCode {
    match run(&Cli::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("nxf-interop: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: &Command) -> Result<()> {
    match command {
        Command::MakeLog(make_log) => println!("{}", make_log.run()?),
        Command::Append(append) => println!("{}", run_append(append)?),
        Command::Commit(commit) => run_commit(commit)?,
        Command::RollBack(roll_back) => println!("rolled back entries={}", roll_back.run()?),
        Command::Replica(replica) => run_replica(replica)?,
        Command::Compare(compare) => println!("{}", compare.run()?),
        Command::List(list) => print!("{}", list.run()?),
        Command::OriginalFeed(feed) => run_original_feed(feed)?,
    }
    Ok(())
}

fn run_append(append: &Append) -> Result<noxu_feeder_interop::summary::Made> {
    append.run(|opened| println!("opened last={} cut={}", opened.last, opened.cut))
}

fn run_commit(commit: &Commit) -> Result<()> {
    let committed = commit.run()?;
    if let Some(file) = committed.last_backup_file {
        println!("backup last_file={file:08x}");
    }
    let log = committed.log;
    println!("log entries={} out_of_order={} furthest_back={}", log.entries, log.out_of_order, log.furthest_back);
    println!("{}", committed.made);
    Ok(())
}

fn run_replica(replica: &Replica) -> Result<()> {
    let holds = replica.run(|port| println!("listening port={port}"))?;
    println!("replica holds {} entries, last VLSN {}", holds.entries, holds.last);
    Ok(())
}

fn run_original_feed(feed: &OriginalFeed) -> Result<()> {
    let (fed, ended) = feed.run()?;
    println!("{fed}");
    ended
}
