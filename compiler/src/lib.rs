//! The compiler: turns layers with weights in PyTorch's order into a model image that a board reads.
//!
//! * [`writer`]: orders weights for the kernels, folds zero points into biases, sizes buffers, and computes the
//!   answer to the golden wafer (the self-test in the image).
//! * [`schedule`]: trades arithmetic for memory: early layers computed twice (rematerialization), tiles of columns.
//! * `placement`: the memory planner, which places the buffers in the arena.
//! * [`layer_specs`]: gives the layers of an image in PyTorch's order again.
//!
//! Every image that it writes has passed the runtime's check of untrusted images.
#![deny(unsafe_code)]

mod placement;
pub mod schedule;
mod specs;
pub mod writer;

pub use specs::layer_specs;
