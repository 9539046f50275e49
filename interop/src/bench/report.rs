//! From figures to results: medians, spread, ratios, goals; as a table and as JSON.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::cases::{Better, Goal, ROWS, Row};
use super::{Figures, Peer};

/// All figures of a run, by case and peer, one per round.
pub type Taken = BTreeMap<(&'static str, Peer), Vec<Figures>>;

/// Several values of the same thing.
#[derive(Debug, Clone, PartialEq)]
pub struct Stat {
    /// The one in the middle.
    pub median: f64,
    /// The lowest.
    pub min: f64,
    /// The highest.
    pub max: f64,
}

impl Stat {
    fn of(mut values: Vec<f64>) -> Option<Self> {
        values.sort_unstable_by(f64::total_cmp);
        let (min, max) = (*values.first()?, *values.last()?);
        let half = values.len() / 2;
        let median = if values.len() % 2 == 1 { values[half] } else { (values[half - 1] + values[half]) / 2.0 };
        Some(Self { median, min, max })
    }

    /// Half the distance between the extremes, as a share of the median.
    pub fn spread(&self) -> f64 {
        if self.median == 0.0 { 0.0 } else { (self.max - self.min) / 2.0 / self.median }
    }
}

/// How many times `above` is what `below` is. The machine is not as fast all the time: of figures that were taken next to
/// each other, the median of what each pair says is closer to the truth than what the medians of both say.
fn ratio(above: &[f64], below: &[f64]) -> Option<f64> {
    if above.len() == below.len() {
        return Some(Stat::of(above.iter().zip(below).map(|(above, below)| above / below).collect())?.median);
    }
    Some(Stat::of(above.to_vec())?.median / Stat::of(below.to_vec())?.median)
}

/// A line of the result, worked out.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// What it is a result of.
    pub row: Row,
    /// Ours.
    pub ours: Stat,
    /// The original's.
    pub original: Option<Stat>,
    /// The machine's limit.
    pub limit: Option<Stat>,
    /// How many times better than the original we are.
    pub times_original: Option<f64>,
    /// What share of the limit we reach; where less is better, how many times the limit we need.
    pub of_limit: Option<f64>,
    /// The goals, in words, with what was reached, and whether that is enough.
    pub goals: Vec<(String, bool)>,
}

/// Works out every line that there are figures for. `longest_file`: of the log that is sought in.
pub fn work_out(taken: &Taken, longest_file: u64) -> Vec<Outcome> {
    let values = |row: &Row, peer: Peer| -> Vec<f64> {
        taken.get(&(row.case, peer)).into_iter().flatten().filter_map(row.value).collect()
    };
    let mut outcomes: Vec<Outcome> = Vec::new();
    for row in ROWS {
        let subject = values(row, row.subject);
        let Some(ours) = Stat::of(subject.clone()) else { continue };
        let (original, limit) = (values(row, row.original), values(row, Peer::Limit));
        let times_original = match row.better {
            Better::Higher => ratio(&subject, &original),
            Better::Lower => ratio(&original, &subject),
        };
        let of_limit = ratio(&subject, &limit);
        let of_row = |name: &str| {
            let other = ROWS.iter().find(|other| other.name == name)?;
            ratio(&subject, &values(other, other.subject))
        };
        let judge = |goal: &Goal| {
            Some(match *goal {
                Goal::TimesOriginal(wanted) => {
                    let other = match row.original {
                        Peer::Patient => "without",
                        Peer::Runners => "runners",
                        Peer::Alone => "alone",
                        _ => "original",
                    };
                    (format!("{wanted} x {other}"), times_original? >= wanted)
                }
                Goal::OfLimit(wanted) => match row.better {
                    Better::Higher => (format!("{wanted:.2} of the limit"), of_limit? >= wanted),
                    Better::Lower => (format!("<= {wanted} x limit"), of_limit? <= wanted),
                },
                Goal::OfRow(name, wanted) => {
                    let share = of_row(name)?;
                    (format!("{wanted} of '{name}' (is {share:.2})"), share >= wanted)
                }
                Goal::AtMost(wanted) => (format!("<= {wanted} {}", row.unit), ours.median <= wanted),
                Goal::AtMostAFile => {
                    let wanted = longest_file as f64 / 1e6;
                    (format!("<= {wanted:.1} {}", row.unit), ours.median <= wanted)
                }
            })
        };
        let goals = row.goals.iter().filter_map(judge).collect();
        let (original, limit) = (Stat::of(original), Stat::of(limit));
        outcomes.push(Outcome { row: *row, ours, original, limit, times_original, of_limit, goals });
    }
    outcomes
}

/// The table, in Markdown.
pub fn table(outcomes: &[Outcome]) -> String {
    let mut lines =
        vec![["case", "", "ours", "original", "limit", "x original", "of limit", "at least", "met"].map(str::to_owned)];
    for outcome in outcomes {
        let stat = |stat: Option<&Stat>| stat.map_or(String::new(), with_spread);
        let (goals, met): (Vec<_>, Vec<_>) =
            outcome.goals.iter().map(|(goal, met)| (goal.as_str(), if *met { "yes" } else { "NO" })).unzip();
        lines.push([
            outcome.row.title.to_owned(),
            outcome.row.unit.to_owned(),
            with_spread(&outcome.ours),
            stat(outcome.original.as_ref()),
            stat(outcome.limit.as_ref()),
            outcome.times_original.map_or(String::new(), number),
            outcome.of_limit.map_or(String::new(), |share| format!("{share:.2}")),
            goals.join(", "),
            met.join(", "),
        ]);
    }
    let width = |column: usize| lines.iter().map(|line| line[column].len()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..lines[0].len()).map(width).collect();
    let mut text = String::new();
    for (at, line) in lines.iter().enumerate() {
        for (cell, width) in line.iter().zip(&widths) {
            let _ = write!(text, "| {cell:width$} ");
        }
        text.push_str("|\n");
        if at == 0 {
            widths.iter().for_each(|width| {
                let _ = write!(text, "| {} ", "-".repeat((*width).max(3)));
            });
            text.push_str("|\n");
        }
    }
    text
}

fn with_spread(stat: &Stat) -> String {
    format!("{} +-{:.0}%", number(stat.median), stat.spread() * 100.0)
}

/// Three digits that mean something.
pub fn number(value: f64) -> String {
    match value.abs() {
        100.0.. => format!("{value:.0}"),
        10.0.. => format!("{value:.1}"),
        0.0 => "0".to_owned(),
        _ => format!("{value:.2}"),
    }
}

/// Everything, for programs.
pub fn json(outcomes: &[Outcome], taken: &Taken, about: &[(&str, String)]) -> String {
    let stat = |stat: &Stat| format!("{{\"median\": {}, \"min\": {}, \"max\": {}}}", stat.median, stat.min, stat.max);
    let optional = |value: Option<String>| value.unwrap_or_else(|| "null".to_owned());
    let finite = |value: Option<f64>| optional(value.filter(|value| value.is_finite()).map(|value| value.to_string()));
    let about: Vec<String> = about.iter().map(|(key, value)| format!("    {key:?}: {value:?}")).collect();
    let results: Vec<String> = outcomes
        .iter()
        .map(|outcome| {
            let Row { name, title, unit, .. } = outcome.row;
            let goals: Vec<String> =
                outcome.goals.iter().map(|(goal, met)| format!("{{\"goal\": {goal:?}, \"met\": {met}}}")).collect();
            format!(
                "    {{\"name\": {name:?}, \"title\": {title:?}, \"unit\": {unit:?},\n     \"ours\": {}, \
                 \"original\": {}, \"limit\": {},\n     \"times_original\": {}, \"of_limit\": {}, \"goals\": [{}]}}",
                stat(&outcome.ours),
                optional(outcome.original.as_ref().map(stat)),
                optional(outcome.limit.as_ref().map(stat)),
                finite(outcome.times_original),
                finite(outcome.of_limit),
                goals.join(", ")
            )
        })
        .collect();
    let figures: Vec<String> = taken
        .iter()
        .map(|((case, peer), rounds)| {
            let rounds: Vec<String> = rounds
                .iter()
                .map(|figures| {
                    let pairs: Vec<String> = figures.iter().map(|(name, value)| format!("{name:?}: {value}")).collect();
                    format!("      {{{}}}", pairs.join(", "))
                })
                .collect();
            format!(
                "    {{\"case\": {case:?}, \"peer\": {:?}, \"rounds\": [\n{}\n    ]}}",
                peer.name(),
                rounds.join(",\n")
            )
        })
        .collect();
    format!(
        "{{\n  \"about\": {{\n{}\n  }},\n  \"results\": [\n{}\n  ],\n  \"figures\": [\n{}\n  ]\n}}\n",
        about.join(",\n"),
        results.join(",\n"),
        figures.join(",\n")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle_and_the_spread_is_half_the_range() {
        let stat = Stat::of(vec![3.0, 1.0, 2.0]).unwrap();
        assert_eq!((stat.median, stat.min, stat.max, stat.spread()), (2.0, 1.0, 3.0, 0.5));
        assert_eq!(Stat::of(vec![1.0, 2.0]).unwrap().median, 1.5);
        assert_eq!(Stat::of(vec![]), None);
    }

    #[test]
    fn a_ratio_is_of_pairs_where_there_are_pairs() {
        assert_eq!(ratio(&[2.0, 40.0, 6.0], &[1.0, 20.0, 2.0]), Some(2.0));
        assert_eq!(ratio(&[2.0, 40.0, 6.0], &[2.0]), Some(3.0));
        assert_eq!(ratio(&[2.0], &[]), None);
        assert_eq!(ratio(&[], &[]), None);
    }

    #[test]
    fn every_row_belongs_to_a_case_and_refers_to_an_earlier_row() {
        for (at, row) in ROWS.iter().enumerate() {
            assert!(super::super::cases::CASES.iter().any(|case| case.name == row.case), "{}", row.name);
            for goal in row.goals {
                if let Goal::OfRow(name, _) = goal {
                    assert!(ROWS[..at].iter().any(|other| other.name == *name), "{name}");
                }
            }
        }
    }
}
