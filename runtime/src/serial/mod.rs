//! The serial protocol: frames, messages, and the board's side of the conversation.
//!
//! Nothing here reads or writes by itself except [`Station::poll`] and [`Station::serve`]: frames go
//! in byte by byte and come out as slices, so the same code serves interrupts, threads and tests.
//! Bytes from the line never panic; each kind of damage has a name.
//!
//! * [`frame`]: bytes on the line ⇄ payloads with a CRC-32.
//! * [`message`]: payloads ⇄ requests and responses.
//! * [`mask_code`]: mask rows in few bytes.
//! * [`Station`]: the board's side as a state machine; [`Updates`]: what it asks for when a model comes.

mod current;
pub mod frame;
pub mod mask_code;
pub mod message;
mod station;
mod update;

#[cfg(test)]
pub(crate) mod tests;

pub use station::{LineError, Platform, Station, StationMemory};
pub use update::{NoUpdates, Updates};
