//! The plot: throughput and latency of the three, as an SVG made by hand.

use std::fmt::Write;

use super::report::{Outcome, Stat, number};

const WIDTH: f64 = 760.0;
const LEFT: f64 = 150.0;
const BAR: f64 = 16.0;
const GAP: f64 = 14.0;
const COLOURS: [&str; 3] = ["#1f6feb", "#d1242f", "#8c959f"];
const NAMES: [&str; 3] = ["noxu-feeder", "original", "machine's limit"];

/// One half of the plot: bars on a logarithmic scale, in groups of up to three.
struct Panel<'a> {
    title: &'a str,
    rows: &'a [(&'a str, &'a str)],
    low: f64,
    high: f64,
}

const PANELS: [Panel<'_>; 2] = [
    Panel {
        title: "Log bytes per second to the last ack, MB/s (longer is better)",
        rows: &[("1k", "1 KiB"), ("16k", "16 KiB"), ("1m", "1 MiB"), ("mixed", "mixed")],
        low: 10.0,
        high: 10_000.0,
    },
    Panel {
        title: "From append to ack, median, microseconds (shorter is better)",
        rows: &[("spaced-p50", "1 to 10 ms apart"), ("close-p50", "back to back")],
        low: 10.0,
        high: 100_000.0,
    },
];

/// Draws what there is.
pub fn svg(outcomes: &[Outcome]) -> String {
    let mut body = String::new();
    let mut y = 24.0;
    let mut x = LEFT;
    for (name, colour) in NAMES.iter().zip(COLOURS) {
        let _ = writeln!(body, r#"<rect x="{x}" y="{}" width="12" height="12" fill="{colour}"/>"#, y - 11.0);
        let _ = writeln!(body, r#"<text x="{}" y="{y}">{name}</text>"#, x + 18.0);
        x += 150.0;
    }
    y += 20.0;
    for panel in &PANELS {
        y = panel.draw(&mut body, y, outcomes);
    }
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{y}\" viewBox=\"0 0 {WIDTH} {y}\" \
         font-family=\"sans-serif\" font-size=\"13\" fill=\"#24292f\">\n\
         <rect width=\"{WIDTH}\" height=\"{y}\" fill=\"#ffffff\"/>\n{body}</svg>\n"
    )
}

impl Panel<'_> {
    /// Draws from `y` on; returns where it ends.
    fn draw(&self, body: &mut String, mut y: f64, outcomes: &[Outcome]) -> f64 {
        y += 16.0;
        let _ = writeln!(body, r#"<text x="{LEFT}" y="{y}" font-weight="bold">{}</text>"#, self.title);
        y += 12.0;
        let top = y;
        let mut bars = String::new();
        for (name, label) in self.rows {
            let Some(outcome) = outcomes.iter().find(|outcome| outcome.row.name == *name) else { continue };
            let stats = [Some(&outcome.ours), outcome.original.as_ref(), outcome.limit.as_ref()];
            let height = BAR * stats.iter().flatten().count() as f64;
            let middle = y + height / 2.0 + 4.0;
            let _ = writeln!(bars, r#"<text x="{}" y="{middle}" text-anchor="end">{label}</text>"#, LEFT - 10.0);
            for (stat, colour) in stats.into_iter().zip(COLOURS) {
                let Some(stat) = stat else { continue };
                self.draw_bar(&mut bars, y, stat, colour);
                y += BAR;
            }
            y += GAP;
        }
        let mut tick = self.low;
        while tick <= self.high {
            let x = self.x(tick);
            let _ = writeln!(body, r##"<line x1="{x}" y1="{top}" x2="{x}" y2="{y}" stroke="#d0d7de"/>"##);
            let _ = writeln!(
                body,
                r##"<text x="{x}" y="{}" text-anchor="middle" font-size="11" fill="#57606a">{tick}</text>"##,
                y + 14.0
            );
            tick *= 10.0;
        }
        body.push_str(&bars);
        y + 34.0
    }

    fn draw_bar(&self, bars: &mut String, y: f64, stat: &Stat, colour: &str) {
        let end = self.x(stat.median);
        let _ = writeln!(
            bars,
            r#"<rect x="{LEFT}" y="{}" width="{:.1}" height="{}" fill="{colour}"/>"#,
            y + 1.0,
            end - LEFT,
            BAR - 2.0
        );
        let _ = writeln!(
            bars,
            r#"<text x="{:.1}" y="{}" font-size="11">{}</text>"#,
            end + 5.0,
            y + BAR - 4.0,
            number(stat.median)
        );
    }

    fn x(&self, value: f64) -> f64 {
        let share = (value / self.low).log10() / (self.high / self.low).log10();
        LEFT + share.clamp(0.0, 1.0) * (WIDTH - LEFT - 60.0)
    }
}
