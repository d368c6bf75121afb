//! PyPI's torch wheel: one download, from which libtorch and a Python with PyTorch are made.
//!
//! It is built against CUDA; the 2.5 GB of CUDA libraries that pip would fetch with it are left out.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::process::{self, say};
use crate::project;
use crate::setup::python;
use crate::setup::pytorch::VERSION;

/// The wheels, all by name and version; the small two are linked by the first.
const WHEELS: [&str; 3] = [
    "torch==2.11.0",
    "nvidia-cuda-runtime==13.0.96",
    "nvidia-cuda-cupti==13.0.85",
];
/// The wheels are looked up for this platform.
const PLATFORM: [&str; 4] = [
    "manylinux_2_28_x86_64",
    "manylinux_2_25_x86_64",
    "manylinux2014_x86_64",
    "manylinux_2_17_x86_64",
];
/// The Pythons 3.x that there are wheels for.
const PYTHONS: std::ops::RangeInclusive<u32> = 10..=14;
/// Takes a folder of wheels, and rules on stdin.
const UNPACK: &str = include_str!("unpack.py");

/// What to unpack, and where to.
pub struct Rule<'a> {
    /// A file, or a folder with `/` at its end, as the wheel names it.
    pub member: &'a str,
    /// The folder it goes to; nowhere if none.
    pub to: Option<PathBuf>,
    /// Where the same files may lie already.
    pub twins: Option<PathBuf>,
}

/// The wheels, downloaded.
pub struct Wheels(PathBuf);

impl Wheels {
    /// Downloads what is not there yet, for the Python of this machine where there are wheels for it.
    ///
    /// # Errors
    /// When pip cannot be had or fails.
    pub fn fetch() -> Result<Self> {
        if std::env::consts::ARCH != "x86_64" {
            bail!(
                "the set-up knows PyTorch for x86-64 only; set LIBTORCH, and LIGHTWAFER_PYTHON to a \
                 Python with torch {VERSION}"
            );
        }
        python::pip()?;
        let minor = python::minor().filter(|minor| PYTHONS.contains(minor));
        let folder = project::cache()?.join(format!("torch-{VERSION}.wheels"));
        say(format_args!(
            "torch: downloading {VERSION} from PyPI (about 550 MB)"
        ));
        let mut pip = process::command("python3");
        pip.args(["-m", "pip", "download", "--quiet", "--no-deps"]);
        pip.args(["--only-binary=:all:", "--implementation", "cp"]);
        pip.arg("--python-version")
            .arg(format!("3.{}", minor.unwrap_or(12)));
        pip.args(PLATFORM.iter().flat_map(|tag| ["--platform", tag]));
        process::run(pip.arg("--dest").arg(&folder).args(WHEELS))?;
        Ok(Self(folder))
    }

    /// Unpacks by the first rule that fits a member; members that none fits are left out.
    ///
    /// # Errors
    /// When a rule finds nothing, or a file cannot be written.
    pub fn unpack(&self, rules: &[Rule<'_>]) -> Result<()> {
        let mut text = String::new();
        for rule in rules {
            let to = rule.to.as_deref().unwrap_or(Path::new(""));
            let twins = rule.twins.as_deref().unwrap_or(Path::new(""));
            text += &format!("{}\t{}\t{}\n", rule.member, to.display(), twins.display());
        }
        let list = self.0.join("rules");
        fs::write(&list, text)?;
        let mut python = process::command("python3");
        python.args(["-c", UNPACK]).arg(&self.0);
        process::run(python.stdin(fs::File::open(&list)?))
    }

    /// Deletes the download.
    ///
    /// # Errors
    /// When the file system refuses.
    pub fn remove(self) -> Result<()> {
        fs::remove_dir_all(&self.0).with_context(|| format!("cannot remove {}", self.0.display()))
    }
}

/// This machine's Python 3.x, where there are wheels for it.
///
/// # Errors
/// When there are none.
pub fn supported_python() -> Result<u32> {
    let minor = python::minor().context("python3 does not start")?;
    if !PYTHONS.contains(&minor) {
        bail!(
            "python3 is 3.{minor}; torch {VERSION} has wheels for 3.{} to 3.{}",
            PYTHONS.start(),
            PYTHONS.end()
        );
    }
    Ok(minor)
}

/// Links a shared library from C source.
///
/// # Errors
/// When the compiler fails.
pub fn library(folder: &Path, name: &str, source: &str) -> Result<()> {
    let file = folder.join(format!("{name}.c"));
    fs::write(&file, source)?;
    let mut cc = process::command("cc");
    cc.args(["-shared", "-fPIC", "-w"])
        .arg(format!("-Wl,-soname,{name}"))
        .arg(&file)
        .arg("-o")
        .arg(folder.join(name));
    process::run(&mut cc)?;
    fs::remove_file(&file)?;
    Ok(())
}
