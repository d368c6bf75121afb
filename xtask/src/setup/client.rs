//! A Python with pyserial and cobs, which `equipment/python/lightwafer.py` needs.
//!
//! `LIGHTWAFER_CLIENT_PYTHON`, a Python of the user's own that has both, wins.

use std::path::PathBuf;

use anyhow::Result;

use super::python::Environment;
use crate::process::say;
use crate::project;

/// The variable that names that Python, to the set-up and to the tests.
pub const PYTHON: &str = "LIGHTWAFER_CLIENT_PYTHON";
/// What the client imports.
const PACKAGES: [&str; 2] = ["pyserial==3.5", "cobs==1.2.2"];
const MODULES: &str = "cobs, serial";

/// That Python, made where it is missing; why not, where it cannot be had.
///
/// # Errors
/// When there is no cache folder.
pub fn python() -> Result<Result<PathBuf, String>> {
    if let Some(own) = std::env::var_os(PYTHON) {
        return Ok(Ok(own.into()));
    }
    let folder = project::cache()?.join("client-python");
    let present = Environment::at(folder.clone());
    if present.imports(MODULES) {
        return Ok(Ok(present.program()));
    }
    say(format_args!(
        "Python client: a virtual environment in {}",
        folder.display()
    ));
    let made = Environment::make(&folder, |environment| environment.install(&[], &PACKAGES));
    Ok(match made {
        Ok(made) if made.imports(MODULES) => Ok(made.program()),
        Ok(_) => Err("pyserial and cobs do not import".to_owned()),
        Err(error) => Err(format!("pyserial and cobs cannot be had: {error:#}")),
    })
}
