//! PyPI's torch wheel: one download, from which libtorch and a Python with PyTorch are made.
//!
//! The wheel is the one source of libtorch that every package registry has. It is built against CUDA;
//! the 2.5 GB of CUDA libraries that pip would fetch with it are left out.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::process::{self, say};
use crate::project;

/// The version that the trainer's `tch` binds.
pub const VERSION: &str = "2.11.0";
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
/// Takes a folder of wheels, then lines `member prefix<TAB>destination` on stdin; unpacks every member
/// that begins with a prefix, by the first that fits. An empty destination leaves it out. A file that is
/// there already, alike by CRC-32 and beside the destination as `<TAB>twin folder`, is linked instead.
const UNPACK: &str = r"
import glob, os, shutil, sys, zipfile, zlib
rules = [line.rstrip('\n').split('\t') for line in sys.stdin]
found = set()
def alike(path, entry):
    if not os.path.exists(path) or os.path.getsize(path) != entry.file_size:
        return False
    crc = 0
    with open(path, 'rb') as file:
        while block := file.read(1 << 20):
            crc = zlib.crc32(block, crc)
    return crc == entry.CRC
for wheel in glob.glob(os.path.join(sys.argv[1], '*.whl')):
    archive = zipfile.ZipFile(wheel)
    for entry in archive.infolist():
        name = entry.filename
        rule = next((rule for rule in rules if name.startswith(rule[0])), None)
        if rule is None or not rule[1] or entry.is_dir() or '..' in name:
            continue
        found.add(rule[0])
        prefix, to, twins = rule
        # A prefix that ends in / is a folder, any other is one file.
        to = os.path.join(to, name[len(prefix):] if prefix.endswith('/') else os.path.basename(name))
        os.makedirs(os.path.dirname(to), exist_ok=True)
        twin = os.path.join(twins, os.path.basename(name)) if twins else ''
        if twin and alike(twin, entry):
            os.link(twin, to)
            continue
        with archive.open(entry) as source, open(to, 'wb') as sink:
            shutil.copyfileobj(source, sink, 1 << 20)
lacking = [rule[0] for rule in rules if rule[1] and rule[0] not in found]
if lacking:
    sys.exit('the wheels lack ' + ', '.join(lacking))
";

/// What to unpack, and where to.
pub struct Rule<'a> {
    /// A file, or a folder with `/` at its end, as the wheel names it.
    pub member: &'a str,
    /// The folder it goes to; nowhere if none.
    pub to: Option<PathBuf>,
    /// Where the same files may lie already.
    pub twins: Option<&'a Path>,
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
        pip()?;
        let minor = python_minor().filter(|minor| PYTHONS.contains(minor));
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
            let twins = rule.twins.unwrap_or(Path::new(""));
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

/// x of this machine's Python 3.x.
pub fn python_minor() -> Option<u32> {
    let script = "import sys; print(sys.version_info[1] if sys.version_info[0] == 3 else '')";
    let minor = process::probe(process::command("python3").args(["-c", script]))?;
    minor.parse().ok()
}

/// This machine's Python 3.x, where there are wheels for it.
///
/// # Errors
/// When there are none.
pub fn supported_python() -> Result<u32> {
    let minor = python_minor().context("python3 does not start")?;
    if !PYTHONS.contains(&minor) {
        bail!(
            "python3 is 3.{minor}; torch {VERSION} has wheels for 3.{} to 3.{}",
            PYTHONS.start(),
            PYTHONS.end()
        );
    }
    Ok(minor)
}

/// Python with pip, which fetches the wheels.
///
/// # Errors
/// When it cannot be installed.
pub fn pip() -> Result<()> {
    let pip = || process::probe(process::command("python3").args(["-m", "pip", "--version"]));
    if pip().is_none() {
        say("torch: installing python3-pip with apt-get, to fetch the wheel");
        process::apt_install(&["python3", "python3-pip"])?;
        pip().context(
            "pip was installed but does not start; run by hand: python3 -m pip --version",
        )?;
    }
    Ok(())
}

/// A C++ compiler: torch-sys needs it, and what stands in for CUDA is linked with it.
///
/// # Errors
/// When it cannot be installed.
pub fn compiler() -> Result<()> {
    if process::probe(process::command("c++").arg("--version")).is_none() {
        say("torch: installing g++ with apt-get");
        process::apt_install(&["g++"])?;
    }
    Ok(())
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
