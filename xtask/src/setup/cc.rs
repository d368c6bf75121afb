//! The C and C++ compiler: torch-sys needs it.

use anyhow::Result;

use crate::process::{self, say};

/// Makes it available.
///
/// # Errors
/// When it cannot be installed.
pub fn setup() -> Result<()> {
    if process::probe(process::command("c++").arg("--version")).is_none() {
        say("C++: installing g++ with apt-get");
        process::apt_install(&["g++"])?;
    }
    Ok(())
}
