//! How an inference runs in little memory: the execution order of rows, tiles, liveness, and the place of each
//! buffer in the arena.
//!
//! Nothing here computes activations. The compiler uses this module to size and place buffers, the image's
//! check uses it to prove them, and the engine follows it. So all three have the same definition.

pub mod layout;
pub mod liveness;
pub mod order;
pub mod tiles;

/// Why a plan is not valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum PlanError {
    /// The class head does not get every row of its input exactly once while the mask is computed.
    Heads,
    /// The line buffer of the layer at this position has fewer rows than its readers need, or more than the layer
    /// has.
    Buffer(usize),
    /// This part of the arena (see [`layout::Part`]) overlaps a part that is live at the same time, or does not
    /// begin at a multiple of 4.
    Memory(usize),
}
