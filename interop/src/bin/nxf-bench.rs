//! `nxf-bench`: the feeder, the original and the machine's limit, measured side by side.
//!
//! `run` is for people, by way of `scripts/bench.sh`; it starts the others, one process for each measurement.

// Results and failures go to the standard streams here, and nowhere else.
#![allow(clippy::print_stdout, clippy::print_stderr)]

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use noxu_feeder_interop::Result;
use noxu_feeder_interop::bench::fanout::Fanout;
use noxu_feeder_interop::bench::feed::Feed;
use noxu_feeder_interop::bench::latency::Latency;
use noxu_feeder_interop::bench::rest::Rest;
use noxu_feeder_interop::bench::run::Run;
use noxu_feeder_interop::bench::scan::Scan;
use noxu_feeder_interop::bench::sink::Sink;

/// The feeder, the original and the machine's limit, measured side by side.
#[derive(Debug, Parser)]
#[command(name = "nxf-bench")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Run(Run),
    Sink(Sink),
    Feed(Feed),
    Scan(Scan),
    Latency(Latency),
    Rest(Rest),
    Fanout(Fanout),
}

fn main() -> ExitCode {
    match run(&Cli::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("nxf-bench: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: &Command) -> Result<()> {
    match command {
        Command::Run(run) => print!("\n{}", run.run()?),
        Command::Sink(sink) => run_sink(sink)?,
        Command::Feed(feed) => println!("{}", feed.run()?),
        Command::Scan(scan) => println!("{}", scan.run()?),
        Command::Latency(latency) => println!("{}", latency.run()?),
        Command::Rest(rest) => println!("{}", rest.run()?),
        Command::Fanout(fanout) => println!("{}", fanout.run()?),
    }
    Ok(())
}

fn run_sink(sink: &Sink) -> Result<()> {
    let arrived = sink.run(|port| println!("listening port={port}"))?;
    println!("arrived frames={} bytes={} last={}", arrived.frames, arrived.bytes, arrived.last);
    Ok(())
}
