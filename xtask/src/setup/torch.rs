//! PyTorch for the CPU: libtorch, which the trainer links, and a Python with it, which its tests compare it with.
//!
//! pip fills one virtual environment from PyTorch's own index; it serves both. Where that index cannot be reached,
//! both are made out of PyPI's wheel ([`offline`]).
//!
//! `LIBTORCH` or `LIBTORCH_USE_PYTORCH` of the user's own win over the one, `LIGHTWAFER_PYTHON` over the other.
//! `LIGHTWAFER_TORCH_INDEX` names another index, such as a mirror.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::python::{self, Environment};
use super::pytorch::{self, VERSION};
use super::{cc, offline};
use crate::process::{self, say};
use crate::project;

/// Wheels that hold no CUDA.
const INDEX: &str = "https://download.pytorch.org/whl/cpu";

/// Makes libtorch, a Python with PyTorch, or both available.
///
/// # Errors
/// When they can't be made; the way to bring one's own is named.
pub fn setup(libtorch: bool, pytorch: bool) -> Result<()> {
    let cache = project::cache()?;
    fs::create_dir_all(&cache)?;
    let lock = File::create(cache.join("torch.lock"))?;
    // Two set-ups at once wait for each other.
    lock.lock().context("cannot lock the cache")?;
    let no_libtorch = libtorch && own_libtorch().is_none() && folder()?.is_none();
    let no_pytorch = pytorch && pytorch::is_missing()?;
    if no_libtorch || no_pytorch {
        from_index()
            .or_else(|error| {
                say(format_args!("torch: not from PyTorch's index: {error:#}"));
                offline::torch(no_libtorch, no_pytorch)
            })
            .with_context(|| {
                format!(
                    "run by hand: pip install torch=={VERSION} numpy safetensors, then set \
                     LIBTORCH_USE_PYTORCH=1 and {}=python3",
                    pytorch::PYTHON
                )
            })?;
    }
    if libtorch {
        link_libtorch()?;
    }
    if pytorch {
        pytorch::finish()?;
    }
    Ok(())
}

/// Fills the virtual environment.
fn from_index() -> Result<()> {
    let index = std::env::var("LIGHTWAFER_TORCH_INDEX").unwrap_or_else(|_| INDEX.to_owned());
    let folder = pytorch::folder()?;
    say(format_args!(
        "torch: {VERSION} from {index} (about 190 MB) into {}",
        folder.display()
    ));
    Environment::make(&folder, |environment| {
        let torch = format!("torch=={VERSION}");
        let from = [
            "--no-deps",
            "--retries",
            "1",
            "--timeout",
            "20",
            "--index-url",
            index.as_str(),
        ];
        environment.install(&from, &[torch.as_str()])?;
        environment.install(&[], &pytorch::PACKAGES)?;
        let torch = environment.site()?.join("torch");
        // What torch-sys compares its own version with, and what says that libtorch is whole here.
        fs::write(torch.join("build-version"), VERSION)?;
        let minor = python::minor().context("python3 does not start")?;
        environment.write("stamp", &pytorch::stamp(minor))
    })?;
    Ok(())
}

/// Whether the trainer can be built without any set-up.
pub fn has_libtorch() -> bool {
    own_libtorch().is_some() || process::libtorch_link().join("lib").is_dir()
}

/// A libtorch of the user's own, in words.
fn own_libtorch() -> Option<String> {
    let link = process::libtorch_link();
    if let Some(own) = std::env::var_os("LIBTORCH").filter(|dir| Path::new(dir) != link) {
        return Some(format!("LIBTORCH={}", Path::new(&own).display()));
    }
    std::env::var_os("LIBTORCH_USE_PYTORCH").map(|_| "LIBTORCH_USE_PYTORCH is set".into())
}

/// Where libtorch lies, if it is there.
fn folder() -> Result<Option<PathBuf>> {
    if let Some(folder) = offline::libtorch::present()? {
        return Ok(Some(folder));
    }
    let folder = pytorch::folder()?;
    if !folder.join("stamp").exists() {
        return Ok(None);
    }
    let torch = Environment::at(folder).site()?.join("torch");
    Ok(torch.join("build-version").exists().then_some(torch))
}

/// Makes libtorch available at `.tools/libtorch`, where `.cargo/config.toml` points the build.
fn link_libtorch() -> Result<()> {
    if let Some(own) = own_libtorch() {
        say(format_args!("libtorch: present: {own}"));
        return Ok(());
    }
    cc::setup()?;
    let folder = folder()?.context("libtorch was not set up")?;
    let link = process::libtorch_link();
    say(format_args!("libtorch: present: {}", folder.display()));
    fs::create_dir_all(link.parent().context(".tools has no parent")?)?;
    if fs::read_link(&link).ok().as_deref() != Some(folder.as_path()) {
        say(format_args!(
            "libtorch: linking .tools/libtorch to {}",
            folder.display()
        ));
        if fs::symlink_metadata(&link).is_ok() {
            fs::remove_file(&link).with_context(|| format!("cannot replace {}", link.display()))?;
        }
        std::os::unix::fs::symlink(&folder, &link)?;
    }
    Ok(())
}
