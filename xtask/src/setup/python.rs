//! Virtual environments of this machine's Python, in the cache.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::process::{self, say};

/// A virtual environment.
pub struct Environment {
    folder: PathBuf,
}

impl Environment {
    /// The one in this folder, whether it is there or not.
    pub fn at(folder: PathBuf) -> Self {
        Self { folder }
    }

    /// Its Python.
    pub fn program(&self) -> PathBuf {
        self.folder.join("bin/python")
    }

    /// Where its packages lie.
    ///
    /// # Errors
    /// When there is no Python 3 here.
    pub fn site(&self) -> Result<PathBuf> {
        let minor = minor().context("python3 does not start")?;
        Ok(self
            .folder
            .join(format!("lib/python3.{minor}/site-packages")))
    }

    /// Whether its Python starts and imports these modules.
    pub fn imports(&self, modules: &str) -> bool {
        let mut python = process::command(self.program());
        process::probe(python.args(["-c", &format!("import {modules}")])).is_some()
    }

    /// Writes a small file into its folder.
    ///
    /// # Errors
    /// When the file system refuses.
    pub fn write(&self, name: &str, text: &str) -> Result<()> {
        let file = self.folder.join(name);
        fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))
    }

    /// Makes it anew: an empty environment beside the folder, filled by `fill`, then renamed, so that a
    /// cut-off run leaves what was there.
    ///
    /// # Errors
    /// When Python, pip or `fill` fails.
    pub fn make(folder: &Path, fill: impl FnOnce(&Self) -> Result<()>) -> Result<Self> {
        let part = Self::at(folder.with_extension("part"));
        remove(&part.folder)?;
        pip()?;
        let mut venv = process::command("python3");
        // Debian's Python has no ensurepip; pip fills the environment from outside.
        process::run(venv.args(["-m", "venv", "--without-pip"]).arg(&part.folder))?;
        fill(&part)?;
        remove(folder)?;
        fs::rename(&part.folder, folder)?;
        Ok(Self::at(folder.to_owned()))
    }

    /// Installs packages, with what they depend on unless `options` say `--no-deps`.
    ///
    /// # Errors
    /// When pip fails.
    pub fn install(&self, options: &[&str], packages: &[&str]) -> Result<()> {
        let mut pip = process::command("python3");
        pip.args(["-m", "pip", "install", "--quiet", "--no-compile"]);
        pip.args(["--disable-pip-version-check", "--no-warn-script-location"]);
        pip.env("PIP_ROOT_USER_ACTION", "ignore");
        pip.arg("--target")
            .arg(self.site()?)
            .args(options)
            .args(packages);
        process::run(&mut pip)
    }
}

fn remove(folder: &Path) -> Result<()> {
    if folder.exists() {
        fs::remove_dir_all(folder)?;
    }
    Ok(())
}

/// x of this machine's Python 3.x.
pub fn minor() -> Option<u32> {
    let script = "import sys; print(sys.version_info[1] if sys.version_info[0] == 3 else '')";
    let minor = process::probe(process::command("python3").args(["-c", script]))?;
    minor.parse().ok()
}

/// Makes pip available.
///
/// # Errors
/// When it cannot be installed.
pub fn pip() -> Result<()> {
    let pip = || process::probe(process::command("python3").args(["-m", "pip", "--version"]));
    if pip().is_none() {
        say("Python: installing python3-pip with apt-get");
        process::apt_install(&["python3", "python3-pip", "python3-venv"])?;
        pip().context(
            "pip was installed but does not start; run by hand: python3 -m pip --version",
        )?;
    }
    Ok(())
}
