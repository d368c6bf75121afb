//! What the tests of several crates share.
//!
//! * [`FakePlatform`]: a board around a station.
//! * [`HashingEngine`]: an engine whose every answer belongs to one map only, in microseconds.
//! * [`exchange`]: bytes into a station, answers out.
//! * [`wafer`]: maps of given or random dies.
//! * [`MODEL`]: the published model's image.
//!
//! Random numbers come from [`fastrand::Rng::with_seed`], so that a failure can be repeated. A crate's unit tests
//! cannot use this crate where it depends on that one (the types would differ); its integration tests can.

pub mod exchange;
mod hashing;
mod platform;
pub mod wafer;

pub use hashing::{HashingEngine, expected};
pub use platform::{Clock, FakePlatform};

/// The published model's image.
pub static MODEL: &[u8] = lightwafer_runtime::include_model!("../../../models/light-int8.lw");

/// Where the published model's image lies.
pub fn model_path() -> std::path::PathBuf {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/light-int8.lw")
}
