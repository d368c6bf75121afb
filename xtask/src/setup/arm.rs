//! The Rust targets of the boards: `rustup target add`.
//!
//! Where rustup's server cannot be reached, a toolchain made from Debian's packages has them
//! ([`super::offline::sysroot`]). Which of the two is in force is not written down anywhere: it is looked up from what
//! works. `LIGHTWAFER_ARM=debian` in the environment does not even try the server.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use lightwafer_board_list::TARGETS;

use super::offline::sysroot::{self as debian, TOOLCHAIN as DEBIAN};
use crate::process::{self, say};
use crate::toolchain;

/// Two targets are 60 MB; a server that hangs must not hold up the fallback for longer.
const RUSTUP_LIMIT: Duration = Duration::from_secs(60);

/// The rustup toolchain that has the boards' targets.
///
/// # Errors
/// When none has them yet.
pub fn toolchain() -> Result<String> {
    find()?.with_context(|| {
        format!(
            "no toolchain has {}; run: cargo xtask setup --arm",
            TARGETS.join(" and ")
        )
    })
}

/// Makes the boards' targets available and returns the toolchain that has them.
///
/// # Errors
/// When neither way works; the command to run by hand is named.
pub fn setup() -> Result<String> {
    let toolchain = match find()? {
        Some(toolchain) => {
            say(format_args!("ARM targets: present: toolchain {toolchain}"));
            toolchain
        }
        None => from_rustup().or_else(|error| {
            say(format_args!("ARM targets: not from rustup: {error:#}"));
            debian::make()
                .with_context(|| format!("run by hand: rustup target add {}", TARGETS.join(" ")))
        })?,
    };
    debian::set_override(toolchain == DEBIAN)?;
    Ok(toolchain)
}

fn find() -> Result<Option<String>> {
    let active = toolchain::active()?;
    if !debian_is_asked_for() && has_targets(&active)? {
        return Ok(Some(active));
    }
    Ok(debian::is_ready().then(|| DEBIAN.to_owned()))
}

fn debian_is_asked_for() -> bool {
    std::env::var_os("LIGHTWAFER_ARM").is_some_and(|way| way == "debian")
}

fn has_targets(toolchain: &str) -> Result<bool> {
    let sysroot = toolchain::sysroot(toolchain)?;
    Ok(TARGETS
        .iter()
        .all(|target| toolchain::has_target(&sysroot, target)))
}

fn from_rustup() -> Result<String> {
    let active = toolchain::active()?;
    if debian_is_asked_for() {
        bail!("LIGHTWAFER_ARM=debian");
    }
    if active == DEBIAN {
        bail!("`cargo xtask` runs under {DEBIAN}; start it under an ordinary toolchain");
    }
    say(format_args!(
        "ARM targets: rustup target add {} (at most {} s)",
        TARGETS.join(" "),
        RUSTUP_LIMIT.as_secs()
    ));
    let mut add = process::command("rustup");
    add.args(["target", "add", "--toolchain", &active])
        .args(TARGETS);
    process::run_within(&mut add, RUSTUP_LIMIT)?;
    if !has_targets(&active)? {
        bail!("rustup succeeded, but {active} has no core library for the targets");
    }
    Ok(active)
}
