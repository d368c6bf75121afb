//! The board's side of LightWafer: the serial protocol, the station that answers it, and a store of signed models.
//!
//! `no_std`, no allocation. Bytes from the line or from flash never cause a panic: each kind of damage has a name.
//!
//! * [`protocol`]: frames and messages, for hosts too.
//! * [`Station`]: answers requests, as a state machine in memory that the caller provides. [`Platform`] is what it
//!   needs from the board, [`Updates`] what it needs to accept models.
//! * `store` (feature `store`): signed models in two slots of a NOR flash.
//! * `Updater` (feature `store`): [`Updates`] with a store and an engine.
#![cfg_attr(not(any(test, feature = "sign", feature = "sim")), no_std)]
#![deny(unsafe_code)]
#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::panic)
)]

pub mod protocol;
mod station;
#[cfg(feature = "store")]
pub mod store;
#[cfg(feature = "store")]
mod updater;

pub use station::{LineError, NoUpdates, Platform, Station, StationMemory, Updates};
#[cfg(feature = "store")]
pub use updater::{Reload, Updater};
