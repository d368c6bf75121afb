//! The protocol's bytes: what the page shows and what fits a frame.

mod examples;
mod sizes;
