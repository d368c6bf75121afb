//! How far a check went: some need tools that not every machine has.

use crate::process::say;

/// How far a step went that found nothing wrong.
pub enum Outcome {
    /// All of it ran.
    Whole,
    /// Some of it could not run here: what, and why.
    Partly(Vec<String>),
    /// Nothing of it could run here: why.
    Skipped(String),
}

impl Outcome {
    /// Whole, or what was left out.
    pub fn without(left_out: Vec<String>) -> Self {
        match left_out.is_empty() {
            true => Self::Whole,
            false => Self::Partly(left_out),
        }
    }

    /// For a command of its own: says what was left out.
    pub fn say(self) {
        match self {
            Self::Whole => {}
            Self::Partly(left_out) => left_out
                .iter()
                .for_each(|text| say(format_args!("left out: {text}"))),
            Self::Skipped(why) => say(format_args!("skipped: {why}")),
        }
    }
}
