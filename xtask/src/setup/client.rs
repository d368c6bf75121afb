//! A Python with pyserial and cobs, which `equipment/python/lightwafer.py` needs: a virtual environment in the
//! cache. Where PyPI cannot be reached there is none, and the client's test says that it was skipped.
//!
//! `LIGHTWAFER_CLIENT_PYTHON`, a Python of the user's own that has both, wins.

use std::fs;
use std::path::PathBuf;

use anyhow::Result;

use crate::process::{self, say};
use crate::project;

/// The variable that names that Python, to the set-up and to the tests.
pub const PYTHON: &str = "LIGHTWAFER_CLIENT_PYTHON";
/// What the client imports.
const PACKAGES: [&str; 2] = ["pyserial==3.5", "cobs==1.2.2"];

/// That Python, made where it is missing; `None`, said aloud, where it cannot be had.
///
/// # Errors
/// When there is no cache folder.
pub fn python() -> Result<Option<PathBuf>> {
    if let Some(own) = std::env::var_os(PYTHON) {
        return Ok(Some(own.into()));
    }
    let folder = project::cache()?.join("client-python");
    let python = folder.join("bin/python");
    let starts = || {
        let mut python = process::command(&python);
        process::probe(python.args(["-c", "import cobs, serial"])).is_some()
    };
    if starts() {
        return Ok(Some(python));
    }
    say(format_args!(
        "Python client: a virtual environment in {}",
        folder.display()
    ));
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    let mut venv = process::command("python3");
    let made = process::run(venv.args(["-m", "venv"]).arg(&folder)).and_then(|()| {
        let mut pip = process::command(&python);
        process::run(
            pip.args([
                "-m",
                "pip",
                "install",
                "--quiet",
                "--disable-pip-version-check",
            ])
            .args(PACKAGES),
        )
    });
    match made {
        Ok(()) if starts() => Ok(Some(python)),
        Ok(()) => {
            say("Python client: SKIPPED: pyserial and cobs do not import");
            Ok(None)
        }
        Err(error) => {
            say(format_args!(
                "Python client: SKIPPED: pyserial and cobs cannot be had: {error:#}"
            ));
            Ok(None)
        }
    }
}
