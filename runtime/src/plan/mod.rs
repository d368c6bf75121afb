//! How an inference is run in little memory: the execution order of rows, tiles, liveness, and where each
//! buffer lies in the arena.
//!
//! Nothing here computes activations. The compiler uses it to size and place buffers, the image's check
//! replays it to prove them, and the engine follows it: one definition for all three.

pub mod layout;
pub mod liveness;
pub mod order;
pub mod tiles;

/// Why layers cannot be executed as they are laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum PlanError {
    /// The class head is not computed once and whole on the mask head's way.
    Heads,
    /// The layer at this position keeps fewer rows than its readers need.
    Buffer(usize),
    /// This part of the arena (see [`layout::Part`]) lies over another that is in use at the same time, or not on a word.
    Memory(usize),
}
