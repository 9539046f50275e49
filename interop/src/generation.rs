//! Which of the two generations of the real crates is meant.

use clap::ValueEnum;

/// A generation of the upstream crates; both write the same layout, with different habits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Generation {
    /// 7.11.2.
    #[value(name = "7")]
    Seven,
    /// 6.2.0.
    #[value(name = "6")]
    Six,
}
