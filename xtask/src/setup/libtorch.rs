//! libtorch for the trainer: the CPU libraries and headers out of PyPI's torch wheel.
//!
//! Of the wheel's 550 MB the CPU library, the headers and two small libraries that it is linked against
//! are kept. The result also runs on CUDA where the libraries of a full PyTorch of the same version are
//! on `LD_LIBRARY_PATH`.
//!
//! A `LIBTORCH` or `LIBTORCH_USE_PYTORCH` of the user's own wins: then nothing is done.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::wheels::{self, Rule, VERSION, Wheels};
use crate::process::{self, say};
use crate::project;

/// The libraries, as the wheels name them.
const LIBRARIES: [&str; 5] = [
    "torch/lib/libtorch_cpu.so",
    "torch/lib/libc10.so",
    "torch/lib/libgomp.so.1",
    "nvidia/cu13/lib/libcudart.so.13",
    "nvidia/cu13/lib/libcupti.so.13",
];

/// What the user brought.
fn own() -> Option<String> {
    let link = process::libtorch_link();
    if let Some(own) = std::env::var_os("LIBTORCH").filter(|dir| Path::new(dir) != link) {
        return Some(format!("LIBTORCH={}", Path::new(&own).display()));
    }
    std::env::var_os("LIBTORCH_USE_PYTORCH").map(|_| "LIBTORCH_USE_PYTORCH is set".into())
}

/// Where it lies.
///
/// # Errors
/// When there is no cache folder.
pub fn folder() -> Result<PathBuf> {
    Ok(project::cache()?.join(format!("libtorch-{VERSION}")))
}

/// Whether the wheels have to be fetched for it.
///
/// # Errors
/// When there is no cache folder.
pub fn is_missing() -> Result<bool> {
    Ok(own().is_none() && !folder()?.join(stamp()).exists())
}

/// The last file written.
fn stamp() -> String {
    format!(".done-{VERSION}")
}

/// Unpacks beside the folder, then renames: a cut-off run leaves no half of it.
///
/// # Errors
/// When the wheels lack something, or a file cannot be written.
pub fn unpack(wheels: &Wheels) -> Result<()> {
    let folder = folder()?;
    let part = folder.with_extension("part");
    say(format_args!(
        "libtorch: unpacking into {}",
        folder.display()
    ));
    for stale in [&part, &folder] {
        if stale.exists() {
            fs::remove_dir_all(stale)?;
        }
    }
    let lib = part.join("lib");
    fs::create_dir_all(&lib)?;
    let libraries = LIBRARIES.into_iter().map(|member| (member, lib.clone()));
    let all = libraries.chain([("torch/include/", part.join("include"))]);
    let rules = all.map(|(member, to)| Rule {
        member,
        to: Some(to),
        twins: None,
    });
    wheels.unpack(&rules.collect::<Vec<_>>())?;
    // torch-sys always links libtorch.so; the wheel's own drags in CUDA, an empty one does not.
    wheels::library(&lib, "libtorch.so", "")?;
    fs::write(part.join("build-version"), format!("{VERSION}+cu130"))?;
    fs::write(part.join(stamp()), "")?;
    fs::rename(&part, folder)?;
    Ok(())
}

/// Makes it available at `.tools/libtorch`, where `.cargo/config.toml` points the build.
///
/// # Errors
/// When the compiler or the link cannot be made.
pub fn finish() -> Result<()> {
    if let Some(own) = own() {
        say(format_args!("libtorch: present: {own}"));
        return Ok(());
    }
    wheels::compiler()?;
    let (folder, link) = (folder()?, process::libtorch_link());
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
