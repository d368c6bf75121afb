//! Whole-system tests: the parts of the project put together, as a user would.
//!
//! Here lies what several of them share: [`fault`], what a line does to frames; [`debugger`], which makes
//! firmware hang that would not; [`answers`], what the published model has always answered; [`soak`], a board that classifies for hours over a line that goes wrong.

pub mod answers;
pub mod debugger;
pub mod fault;
pub mod soak;
