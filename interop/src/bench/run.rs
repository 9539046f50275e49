//! The whole run: logs, rounds, a process for every measurement, and the results.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use clap::Args;

use super::cases::{CASES, Case, Task};
use super::fanout::Work;
use super::logs::{Content, SPECS, Spec, named};
use super::process::{Cpu, machine_cpu_seconds};
use super::report::{Taken, json, table, work_out};
use super::sink::PREFIX;
use super::{Figures, Peer, plot};
use crate::{Error, Result};

/// Measures everything, and says how it compares
#[derive(Debug, Clone, Args)]
pub struct Run {
    /// The library
    #[arg(long, value_name = "FILE")]
    pub library: PathBuf,
    /// Where the logs are, or are made
    #[arg(long, value_name = "DIR")]
    pub logs: PathBuf,
    /// Where the results go
    #[arg(long, value_name = "FILE")]
    pub json: PathBuf,
    /// Where the plot goes
    #[arg(long, value_name = "FILE")]
    pub plot: PathBuf,
    /// How many rounds
    #[arg(long, default_value_t = 5, value_name = "N")]
    pub rounds: usize,
    /// Two rounds, and shorter ones
    #[arg(long)]
    pub quick: bool,
    /// Only cases whose names begin so
    #[arg(long, value_delimiter = ',', value_name = "CASE,..")]
    pub only: Vec<String>,
    /// Wait so long at most, before each measurement, for others to leave the machine alone
    #[arg(long, default_value_t = 30.0, value_name = "S")]
    pub patience: f64,
    /// Only this peer; may be repeated
    #[arg(long)]
    pub peer: Vec<Peer>,
    /// Set an option of the library, in all cases but latency
    #[arg(long = "option", value_name = "KEY=VALUE")]
    pub options: Vec<String>,
}

/// No single measurement takes longer.
const PATIENCE: Duration = Duration::from_secs(120);

/// How often we and the limit read the log of which one pass takes the original a second.
const SCAN_PASSES: &str = "20";

/// When others use more cores than this, figures are not worth much.
const OTHERS_MAX: f64 = 0.1;
/// How long a look at what others do takes.
const LOOK: Duration = Duration::from_millis(200);
/// How many bytes the entries have that are appended while it is measured.
const APPENDED: usize = 100;
/// A measurement that others disturbed is repeated so many times at most.
const REPEATS_MAX: usize = 5;

impl Run {
    /// Measures, writes the results down, and gives the table.
    pub fn run(&self) -> Result<String> {
        let cases: Vec<&Case> = CASES.iter().filter(|case| self.wants(case)).collect();
        self.prepare(&cases)?;
        let mut taken = Taken::new();
        let (mut measured, mut disturbed) = (0, 0);
        let rounds = if self.quick { 2 } else { self.rounds };
        for round in 1..=rounds {
            for case in &cases {
                for peer in self.turns(case) {
                    let begun = Instant::now();
                    let figures = self.measure_alone(case, peer);
                    let figures =
                        figures.map_err(|e| Error::new(format_args!("{}, {}: {e}", case.name, peer.name())))?;
                    measured += 1;
                    disturbed += usize::from(figures.get("others").is_some_and(|others| others > OTHERS_MAX));
                    println!(
                        "round {round} {} {} ({:.1} s): {figures}",
                        case.name,
                        peer.name(),
                        begun.elapsed().as_secs_f64()
                    );
                    taken.entry((case.name, peer)).or_default().push(figures);
                }
            }
        }
        let outcomes = work_out(&taken, named("16k").longest_file(&self.logs).unwrap_or(0));
        let about = [("rounds", rounds.to_string()), ("cores", cores()), ("processor", processor())];
        fs::write(&self.json, json(&outcomes, &taken, &about)).map_err(|e| Error::at(&self.json, e))?;
        fs::write(&self.plot, plot::svg(&outcomes)).map_err(|e| Error::at(&self.plot, e))?;
        let undisturbed = format!(
            "\n{rounds} rounds. In {disturbed} of {measured} measurements others used more than {OTHERS_MAX} of a core.\n"
        );
        Ok(table(&outcomes) + &undisturbed)
    }

    /// Who is measured in a round of a case, one after the other: those who are compared pair by pair next to each other,
    /// and not always the same one first.
    fn turns(&self, case: &Case) -> Vec<Peer> {
        let wanted = case.peers.iter().filter(|peer| self.peer.is_empty() || self.peer.contains(peer));
        let (slow, mut quick): (Vec<Peer>, Vec<Peer>) = wanted.partition(|&&peer| is_original(peer));
        let passes = if self.quick { 1 } else { case.passes() };
        let mut turns = Vec::new();
        for _ in 0..passes {
            turns.extend(&quick);
            quick.reverse();
        }
        turns.extend(slow);
        turns
    }

    /// Measures when nobody else needs the machine, and again if somebody came in between.
    fn measure_alone(&self, case: &Case, peer: Peer) -> Result<Figures> {
        let mut best: Option<Figures> = None;
        for _ in 0..REPEATS_MAX {
            let is_quiet = self.wait_for_quiet();
            if let Some(log) = log_of(case, peer) {
                // The system may have let go of some of it since it was read last.
                log.warm(&self.logs)?;
            }
            let (machine, own, begun) = (machine_cpu_seconds(), own_cpu_seconds(), Instant::now());
            let mut figures = self.measure(case, peer)?;
            let took = begun.elapsed().as_secs_f64();
            let others = (machine_cpu_seconds() - machine - (own_cpu_seconds() - own)) / took;
            figures.set("others", others.max(0.0));
            let is_better = best.as_ref().and_then(|best| best.get("others")).is_none_or(|best| others < best);
            if is_better {
                best = Some(figures);
            }
            // Ticks of 10 ms are all that the system counts by.
            if others <= OTHERS_MAX + 0.02 / took || !is_quiet {
                break;
            }
        }
        best.ok_or_else(|| Error::new("nothing was measured"))
    }

    /// False: they did not leave it alone in time.
    fn wait_for_quiet(&self) -> bool {
        let deadline = Instant::now() + Duration::from_secs_f64(self.patience);
        loop {
            let (machine, begun) = (machine_cpu_seconds(), Instant::now());
            thread::sleep(LOOK);
            if machine_cpu_seconds() - machine <= OTHERS_MAX * begun.elapsed().as_secs_f64() {
                return true;
            }
            if Instant::now() >= deadline {
                return false;
            }
        }
    }

    fn wants(&self, case: &Case) -> bool {
        self.only.is_empty() || self.only.iter().any(|start| case.name.starts_with(start.as_str()))
    }

    /// Makes the logs that are not there.
    fn prepare(&self, cases: &[&Case]) -> Result<()> {
        fs::create_dir_all(&self.logs).map_err(|e| Error::at(&self.logs, e))?;
        for spec in SPECS {
            let used = |case: &&Case| case.log == Some(spec.name) || case.short == Some(spec.name);
            if !cases.iter().any(used) {
                continue;
            }
            if let super::logs::Content::Sorted(other) = spec.content {
                named(other).make(&self.logs)?;
            }
            if spec.make(&self.logs)? {
                println!("made log {} of {} MB", spec.name, spec.bytes(&self.logs)? / 1_000_000);
            }
        }
        Ok(())
    }

    fn measure(&self, case: &Case, peer: Peer) -> Result<Figures> {
        if let Task::Fanout { work, replicas, silent } = case.task {
            return self.measure_fanout(case, peer, work, replicas, silent);
        }
        let is_original = is_original(peer);
        let log = log_of(case, peer);
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        let seconds = |quick: f64, long: f64| if self.quick { quick } else { long }.to_string();
        let frames = if case.is_real { "replica" } else { "frames" };
        let (sink, mut line) = match case.task {
            Task::Feed if peer == Peer::Limit => (Some("raw"), words(&["feed"])),
            Task::Feed => (Some(frames), words(&["feed"])),
            Task::Scan if is_original => (None, words(&["scan"])),
            Task::Scan => (None, words(&["scan", "--passes", SCAN_PASSES])),
            Task::Seek => (None, words(&["scan", "--from", &log.map_or(0, |log| log.entries).to_string()])),
            Task::Latency(pace) => {
                // A median of the original takes its time; the others have enough samples soon.
                let is_slow = is_original || case.is_real;
                let seconds = if is_slow { seconds(3.0, 4.0) } else { seconds(1.5, 3.0) };
                (Some(frames), words(&["latency", "--pace", pace.name(), "--seconds", &seconds]))
            }
            Task::Idle => (Some("frames"), words(&["rest", "--seconds", &seconds(3.0, 6.0)])),
            Task::Slow(replicas) => {
                (Some("slow"), words(&["rest", "--seconds", &seconds(1.0, 2.0), "--slow", &replicas.to_string()]))
            }
            Task::Fanout { .. } => unreachable!("measured apart"),
        };
        if !matches!(case.task, Task::Latency(_)) {
            line.extend(self.options.iter().map(|option| format!("--option={option}")));
        }
        if matches!(case.task, Task::Latency(_)) {
            line.extend(words(&["--dir", &self.logs.to_string_lossy()]));
        } else if let Some(log) = log {
            line.extend(words(&["--dir", &log.dir(&self.logs).to_string_lossy(), "--last", &log.entries.to_string()]));
        }
        line.extend(words(&["--peer", peer.name(), "--library", &self.library.to_string_lossy()]));
        // The ping-pong of two threads has both ends itself.
        let sink = sink.filter(|_| !(matches!(case.task, Task::Latency(_)) && peer == Peer::Limit));
        let mut figures = run_against(sink, &[], line, matches!(case.task, Task::Latency(_)))?;
        if let Some(log) = log {
            figures.set("log_bytes", log_bytes(log, &self.logs)?);
        }
        Ok(figures)
    }

    fn measure_fanout(&self, case: &Case, peer: Peer, work: Work, replicas: usize, silent: usize) -> Result<Figures> {
        let log = log_of(case, peer);
        let payload = match log.map(|log| log.content) {
            Some(Content::Records(bytes)) => bytes,
            _ => APPENDED,
        };
        let silent = if peer == Peer::Alone { 0 } else { silent };
        let dir = log.map_or_else(|| self.logs.clone(), |log| log.dir(&self.logs));
        let mut both = vec![format!("--replicas={replicas}"), format!("--silent={silent}")];
        both.push(format!("--frame-bytes={}", PREFIX + payload));
        both.extend(log.map(|log| format!("--last={}", log.entries)));
        let mut line = vec!["fanout".to_owned(), format!("--work={}", work.name()), format!("--peer={}", peer.name())];
        line.extend([format!("--dir={}", dir.display()), format!("--seconds={}", if self.quick { 2.0 } else { 4.0 })]);
        line.extend(self.options.iter().map(|option| format!("--option={option}")));
        line.extend_from_slice(&both);
        // Who has far to go acknowledges now and then; who has all, each entry.
        both.push(format!("--ack-every={}", if work == Work::Live { 1 } else { 1000 }));
        if matches!(peer, Peer::Server | Peer::Alone) {
            both.push("--greets".to_owned());
        }
        run_against(Some("many"), &both, line, true)
    }
}

fn is_original(peer: Peer) -> bool {
    matches!(peer, Peer::Original | Peer::Nodelay)
}

/// The log that a measurement is made on.
fn log_of(case: &Case, peer: Peer) -> Option<&'static Spec> {
    case.short.filter(|_| is_original(peer)).or(case.log).map(named)
}

fn log_bytes(log: &Spec, logs: &std::path::Path) -> Result<f64> {
    Ok(log.bytes(logs)? as f64)
}

/// Runs one measurement, against a sink of this kind if it wants one.
fn run_against(kind: Option<&str>, about_sink: &[String], mut line: Vec<String>, connects: bool) -> Result<Figures> {
    let deadline = Instant::now() + PATIENCE;
    let mut sink = None;
    if let Some(kind) = kind {
        let words = ["sink", "--kind", kind].map(str::to_owned);
        let mut child = start(&[&words[..], about_sink].concat())?;
        let mut out = BufReader::new(child.0.stdout.take().expect("a pipe"));
        let mut first = String::new();
        out.read_line(&mut first).map_err(Error::new)?;
        let port = first.trim().strip_prefix("listening port=");
        let port = port.ok_or_else(|| Error::new("the sink does not listen"))?;
        line.extend(["--connect".to_owned(), format!("127.0.0.1:{port}")]);
        sink = Some((child, out));
    } else if connects {
        line.extend(["--connect".to_owned(), "none:0".to_owned()]);
    }
    let mut sender = start(&line)?;
    let said = finish(&mut sender, deadline, None)?;
    let figures = Figures::parse(said.lines().last().unwrap_or_default())?;
    if let Some((mut child, out)) = sink {
        if kind == Some("slow") {
            return Ok(figures);
        }
        let arrived = finish(&mut child, deadline, Some(out))?;
        let arrived = Figures::parse(arrived.trim().strip_prefix("arrived ").unwrap_or_default())?;
        if matches!(kind, Some("frames" | "replica" | "many"))
            && figures.get("entries").is_some_and(|sent| arrived.get("frames") != Some(sent))
        {
            return Err(Error::new(format_args!("not everything arrived: {arrived}")));
        }
    }
    Ok(figures)
}

/// A process that does not outlive its measurement.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        // It has ended already, but for a slow sink and for measurements that failed.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn start(line: &[String]) -> Result<Process> {
    let program = std::env::current_exe().map_err(Error::new)?;
    let mut command = Command::new(program);
    command.args(line).stdin(Stdio::null()).stdout(Stdio::piped());
    Ok(Process(command.spawn().map_err(Error::new)?))
}

/// Waits until it has ended, and gives what it has said.
fn finish(
    process: &mut Process,
    deadline: Instant,
    out: Option<BufReader<std::process::ChildStdout>>,
) -> Result<String> {
    // What it says fits into the pipe.
    let mut pause = Duration::from_millis(1);
    let status = loop {
        if let Some(status) = process.0.try_wait().map_err(Error::new)? {
            break status;
        }
        if Instant::now() >= deadline {
            return Err(Error::new(format_args!("takes longer than {} s", PATIENCE.as_secs())));
        }
        thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(20));
    };
    let mut said = String::new();
    match out {
        Some(mut out) => out.read_to_string(&mut said),
        None => process.0.stdout.take().expect("a pipe").read_to_string(&mut said),
    }
    .map_err(Error::new)?;
    if status.success() { Ok(said) } else { Err(Error::new(format_args!("ended with {status}"))) }
}

fn own_cpu_seconds() -> f64 {
    Cpu::now().seconds() + Cpu::of_children().seconds()
}

fn cores() -> String {
    thread::available_parallelism().map_or_else(|_| "unknown".to_owned(), |cores| cores.to_string())
}

fn processor() -> String {
    let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("model name"));
    line.map_or("unknown", |rest| rest.trim_start_matches([' ', '\t', ':'])).to_owned()
}
