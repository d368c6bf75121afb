//! The Python with PyTorch that the trainer is compared with: where it lies and what it holds besides.
//!
//! `LIGHTWAFER_PYTHON`, a Python of the user's own that has torch, numpy and safetensors, wins; the checks of ONNX
//! models need onnx and onnxruntime there too.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};

use super::python::{self, Environment};
use crate::process::{self, say};
use crate::project;

/// The version that the trainer's `tch` binds.
pub const VERSION: &str = "2.11.0";
/// The variable that names a Python with PyTorch, to the set-up and to the tests.
pub const PYTHON: &str = "LIGHTWAFER_PYTHON";
/// What importing torch, its optimizers and safetensors takes.
pub const PACKAGES: [&str; 4] = [
    "typing-extensions>=4.10",
    "sympy>=1.13.3",
    "numpy>=2",
    "safetensors>=0.5",
];
/// What checking and running ONNX models takes beside those, all by name: nothing else comes with them.
const ONNX_PACKAGES: [&str; 7] = [
    "onnx==1.23.2",
    "onnxruntime==1.32.0; python_version >= '3.11'",
    "onnxruntime==1.23.2; python_version < '3.11'",
    "flatbuffers>=25",
    "ml_dtypes>=0.5.4",
    "packaging>=24",
    "protobuf>=6.31.1",
];

/// The virtual environment, whether it is there or not.
///
/// # Errors
/// When there is no cache folder.
pub fn folder() -> Result<PathBuf> {
    Ok(project::cache()?.join(format!("pytorch-{VERSION}")))
}

/// The Python to use, if one is set up or the user's own.
///
/// # Errors
/// When there is no cache folder.
pub fn python() -> Result<Option<PathBuf>> {
    if let Some(own) = std::env::var_os(PYTHON) {
        return Ok(Some(own.into()));
    }
    let python = Environment::at(folder()?).program();
    Ok((!is_missing()?).then_some(python))
}

/// Whether it has to be made. A virtual environment is of one Python: another one needs another.
///
/// # Errors
/// When there is no cache folder.
pub fn is_missing() -> Result<bool> {
    if std::env::var_os(PYTHON).is_some() {
        return Ok(false);
    }
    let folder = folder()?;
    let made_for = fs::read_to_string(folder.join("stamp")).ok();
    Ok(made_for.is_none()
        || made_for != python::minor().map(stamp)
        || !Environment::at(folder).imports("safetensors"))
}

/// What the file `stamp` in the environment says: it is whole, and of which Python.
pub fn stamp(minor: u32) -> String {
    format!("torch {VERSION} python 3.{minor}\n")
}

/// Adds what checks ONNX models, where it lacks; says where the Python is, and that it works.
///
/// # Errors
/// When it does not import torch, or onnx and onnxruntime cannot be added.
pub fn finish() -> Result<()> {
    let python = python()?.context("PyTorch was not set up")?;
    if std::env::var_os(PYTHON).is_none() {
        let environment = Environment::at(folder()?);
        if !environment.imports("onnx, onnxruntime") {
            say("PyTorch: adding onnx and onnxruntime from PyPI (about 40 MB)");
            python::pip()?;
            environment.install(&["--no-deps"], &ONNX_PACKAGES)?;
            let program = python.display();
            ensure!(
                environment.imports("onnx, onnxruntime"),
                "{program} does not import onnx and onnxruntime"
            );
        }
    }
    let mut command = process::command(&python);
    let version = process::read(command.args(["-c", "import torch; print(torch.__version__)"]));
    let version = version.with_context(|| {
        format!(
            "{} has no PyTorch; choose another with {PYTHON}",
            python.display()
        )
    })?;
    say(format_args!(
        "PyTorch: present: {version}, {}",
        python.display()
    ));
    Ok(())
}
