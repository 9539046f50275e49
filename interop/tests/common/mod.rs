//! What the tests share: running the tool, and a directory that goes away.

#![allow(dead_code, reason = "each test binary uses its own part of this")]

pub(crate) mod feeder;
pub(crate) mod history;
pub(crate) mod node;
pub(crate) mod served;

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};

use tempfile::TempDir;

const TOOL: &str = env!("CARGO_BIN_EXE_nxf-interop");

/// What a finished run said.
pub(crate) struct Said {
    pub(crate) ok: bool,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Said {
    pub(crate) fn last_line(&self) -> &str {
        self.out.lines().last().unwrap_or_default()
    }
}

/// A directory for one test.
pub(crate) struct Scratch(TempDir);

impl Scratch {
    pub(crate) fn new() -> Self {
        Self(TempDir::new().expect("a temporary directory"))
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Runs the tool with the words of `line`; a word that begins with `@` is a path in here.
    pub(crate) fn run(&self, line: &str) -> Said {
        let output = self.command(line).output().expect("the tool runs");
        Said {
            ok: output.status.success(),
            out: String::from_utf8(output.stdout).expect("text"),
            err: String::from_utf8(output.stderr).expect("text"),
        }
    }

    /// As `run`, and must succeed; gives the last line.
    pub(crate) fn must(&self, line: &str) -> String {
        let said = self.run(line);
        assert!(said.ok, "{line}: {}", said.err);
        said.last_line().to_owned()
    }

    pub(crate) fn start(&self, line: &str) -> Running {
        let mut child = self.command(line).spawn().expect("the tool starts");
        let out = BufReader::new(child.stdout.take().expect("a pipe"));
        Running { child, out }
    }

    /// Starts a replica in `@replica` and waits until it listens; gives its address.
    pub(crate) fn start_replica(&self, options: &str) -> (Running, String) {
        let mut replica = self.start(&format!("replica --dir @replica {options}"));
        let first = replica.line();
        let port = first.strip_prefix("listening port=").expect("the port comes first").to_owned();
        (replica, format!("127.0.0.1:{port}"))
    }

    fn command(&self, line: &str) -> Command {
        let mut command = Command::new(TOOL);
        for word in line.split_whitespace() {
            match word.strip_prefix('@') {
                Some(name) => command.arg(self.path(name)),
                None => command.arg(word),
            };
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }
}

/// A run that goes on.
pub(crate) struct Running {
    child: Child,
    out: BufReader<ChildStdout>,
}

impl Running {
    /// The next line it prints; empty once it has ended.
    pub(crate) fn line(&mut self) -> String {
        let mut line = String::new();
        self.out.read_line(&mut line).expect("text");
        line.trim_end().to_owned()
    }

    pub(crate) fn kill(mut self) {
        self.child.kill().expect("a child of ours");
        self.child.wait().expect("a child of ours");
    }

    pub(crate) fn finish(mut self) -> Said {
        let (mut out, mut err) = (String::new(), String::new());
        self.out.read_to_string(&mut out).expect("text");
        self.child.stderr.take().expect("a pipe").read_to_string(&mut err).expect("text");
        Said { ok: self.child.wait().expect("a child of ours").success(), out, err }
    }
}

/// The newest log file in `dir`.
pub(crate) fn newest_file(dir: &Path) -> PathBuf {
    noxu_feeder_interop::reader::log_files(dir).unwrap().pop().expect("a log file").path
}
