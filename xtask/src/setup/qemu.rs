//! The emulator that stands in for the boards.

use anyhow::{Context, Result};

use crate::process::{self, say};

const PROGRAM: &str = "qemu-system-arm";

/// Makes `qemu-system-arm` available.
///
/// # Errors
/// When it can't be installed; the command to run by hand is named.
pub fn setup() -> Result<()> {
    if let Some(version) = version() {
        say(format_args!("QEMU: present: {version}"));
        return Ok(());
    }
    say("QEMU: installing qemu-system-arm with apt-get");
    process::apt_install(&[PROGRAM])?;
    version().context(
        "qemu-system-arm was installed but does not start; run by hand: qemu-system-arm --version",
    )?;
    Ok(())
}

fn version() -> Option<String> {
    let text = process::probe(process::command(PROGRAM).arg("--version"))?;
    text.lines().next().map(str::to_owned)
}
