//! libtorch out of PyPI's torch wheel: the CPU libraries and headers.
//!
//! The result also runs on CUDA where the libraries of a full PyTorch of the same version are on
//! `LD_LIBRARY_PATH`.

use std::fs;
use std::path::PathBuf;

use anyhow::Result;

use super::wheels::{self, Rule, Wheels};
use crate::process::say;
use crate::project;
use crate::setup::pytorch::VERSION;

/// The libraries, as the wheels name them: the last two are what the first is linked against.
const LIBRARIES: [&str; 5] = [
    "torch/lib/libtorch_cpu.so",
    "torch/lib/libc10.so",
    "torch/lib/libgomp.so.1",
    "nvidia/cu13/lib/libcudart.so.13",
    "nvidia/cu13/lib/libcupti.so.13",
];

/// Where it lies.
///
/// # Errors
/// When there is no cache folder.
pub fn folder() -> Result<PathBuf> {
    Ok(project::cache()?.join(format!("libtorch-{VERSION}")))
}

/// Where it lies, if it is there and whole.
///
/// # Errors
/// When there is no cache folder.
pub fn present() -> Result<Option<PathBuf>> {
    let folder = folder()?;
    Ok(folder.join(stamp()).exists().then_some(folder))
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
