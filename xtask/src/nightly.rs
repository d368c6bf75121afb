//! Whether there is a nightly toolchain: sanitizers, fuzzing and Miri need one, the project itself does not.

use std::process::Command;

use crate::process::{self, say};

/// The target that is named to cargo, so that build scripts are built without instrumentation.
pub const TARGET: &str = "x86_64-unknown-linux-gnu";

/// A rustup toolchain for what only a nightly compiler can do; without one says that `what` is skipped.
pub fn toolchain(what: &str) -> Option<String> {
    if !cfg!(all(target_os = "linux", target_arch = "x86_64")) {
        say(format_args!("{what}: skipped: only on x86-64 Linux"));
        return None;
    }
    let list = process::probe(process::command("rustup").args(["toolchain", "list"]));
    let found = list
        .as_deref()
        .unwrap_or_default()
        .lines()
        .find_map(|line| {
            let name = line.split_whitespace().next()?;
            name.starts_with("nightly").then(|| name.to_owned())
        });
    if found.is_none() {
        say(format_args!(
            "{what}: skipped: it needs a nightly toolchain; run: rustup toolchain install nightly"
        ));
    }
    found
}

/// Nightly's cargo, with what instruments code.
pub fn cargo(toolchain: &str, rustflags: &str) -> Command {
    let mut cargo = process::cargo_of(toolchain);
    cargo.env("RUSTFLAGS", rustflags);
    cargo
}
