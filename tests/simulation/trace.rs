//! The last things that happened in a run, for the message of a failure.

use std::collections::VecDeque;
use std::fmt::Write;

const KEPT: usize = 60;

/// A bounded list of lines, oldest first.
#[derive(Debug)]
pub(crate) struct Trace {
    kept: usize,
    lines: VecDeque<String>,
    dropped: u64,
    /// The VLSNs returned since the last line, first and last.
    returned: Option<(u64, u64)>,
}

impl Trace {
    /// Keeps the last 60 lines, or as many as `NXF_SIM_TRACE` says.
    pub(crate) fn new() -> Trace {
        let kept = std::env::var("NXF_SIM_TRACE").ok().and_then(|lines| lines.parse().ok());
        Trace { kept: kept.unwrap_or(KEPT).max(1), lines: VecDeque::new(), dropped: 0, returned: None }
    }

    /// Notes an entry returned. Runs of them make one line.
    pub(crate) fn returned(&mut self, vlsn: u64) {
        match &mut self.returned {
            Some((_, last)) if *last + 1 == vlsn => *last = vlsn,
            _ => {
                self.finish_run();
                self.returned = Some((vlsn, vlsn));
            }
        }
    }

    fn finish_run(&mut self) {
        if let Some((first, last)) = self.returned.take() {
            self.push(format!("          reader: VLSN {first}..={last}"));
        }
    }

    pub(crate) fn note(&mut self, line: String) {
        self.finish_run();
        self.push(line);
    }

    fn push(&mut self, line: String) {
        if self.lines.len() >= self.kept {
            self.lines.pop_front();
            self.dropped += 1;
        }
        self.lines.push_back(line);
    }

    pub(crate) fn text(&mut self) -> String {
        self.finish_run();
        let mut text = String::new();
        if self.dropped > 0 {
            let _ = writeln!(text, "  ... {} earlier", self.dropped);
        }
        for line in &self.lines {
            let _ = writeln!(text, "  {line}");
        }
        text
    }
}
