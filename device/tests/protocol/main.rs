//! The protocol's bytes: what the page shows, what postcard would read and write, what fits a frame.

mod codec;
mod examples;
mod sizes;
