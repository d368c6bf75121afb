//! libtorch for the trainer: the CPU libraries and headers out of PyPI's torch wheel.
//!
//! The wheel is the one source of libtorch that every package registry has. Of its 550 MB the CPU
//! library, the headers and two small libraries that it is linked against are kept. The result
//! also runs on CUDA where the libraries of a full PyTorch of the same version are on
//! `LD_LIBRARY_PATH`.
//!
//! A `LIBTORCH` or `LIBTORCH_USE_PYTORCH` of the user's own wins: then nothing is done.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::process::{self, say};
use crate::project;

/// The version that the trainer's `tch` binds.
const VERSION: &str = "2.11.0";
/// The wheels, all by name and version; the small two are linked by the first.
const WHEELS: [&str; 3] = [
    "torch==2.11.0",
    "nvidia-cuda-runtime==13.0.96",
    "nvidia-cuda-cupti==13.0.85",
];
/// The wheels are looked up for this platform, whatever Python runs pip.
const PLATFORM: [&str; 4] = [
    "manylinux_2_28_x86_64",
    "manylinux_2_25_x86_64",
    "manylinux2014_x86_64",
    "manylinux_2_17_x86_64",
];
/// Takes a folder of wheels and a destination; unpacks what is linked or included, nothing else.
const UNPACK: &str = r"
import glob, os, shutil, sys, zipfile
wheels, out = sys.argv[1:]
libraries = {'torch/lib/libtorch_cpu.so', 'torch/lib/libc10.so', 'torch/lib/libgomp.so.1',
             'nvidia/cu13/lib/libcudart.so.13', 'nvidia/cu13/lib/libcupti.so.13'}
missing = set(libraries)
for wheel in glob.glob(os.path.join(wheels, '*.whl')):
    archive = zipfile.ZipFile(wheel)
    for entry in archive.infolist():
        name = entry.filename
        if name in libraries:
            to = os.path.join(out, 'lib', os.path.basename(name))
            missing.discard(name)
        elif name.startswith('torch/include/') and not entry.is_dir() and '..' not in name:
            to = os.path.join(out, name[len('torch/'):])
        else:
            continue
        os.makedirs(os.path.dirname(to), exist_ok=True)
        with archive.open(entry) as source, open(to, 'wb') as sink:
            shutil.copyfileobj(source, sink, 1 << 20)
if missing:
    sys.exit('the wheels lack ' + ', '.join(sorted(missing)))
";

/// Makes libtorch available at `.tools/libtorch`, where `.cargo/config.toml` points the build.
///
/// # Errors
/// When it can't be fetched; the way to bring one's own is named.
pub fn setup() -> Result<()> {
    let link = process::libtorch_link();
    if let Some(own) = std::env::var_os("LIBTORCH").filter(|dir| Path::new(dir) != link) {
        say(format_args!(
            "libtorch: present: LIBTORCH={}",
            Path::new(&own).display()
        ));
        return Ok(());
    }
    if std::env::var_os("LIBTORCH_USE_PYTORCH").is_some() {
        say("libtorch: present: LIBTORCH_USE_PYTORCH is set");
        return Ok(());
    }
    let folder = project::cache()?.join(format!("libtorch-{VERSION}"));
    if folder.join(stamp()).exists() {
        say(format_args!("libtorch: present: {}", folder.display()));
    } else {
        fetch(&folder).with_context(|| {
            format!("run by hand: pip install torch=={VERSION}, then set LIBTORCH_USE_PYTORCH=1")
        })?;
    }
    compiler()?;
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

/// The last file written.
fn stamp() -> String {
    format!(".done-{VERSION}")
}

/// Downloads and unpacks beside `folder`, then renames: a cut-off run leaves no half of it, and
/// the next one goes on with the wheels that are whole.
fn fetch(folder: &Path) -> Result<()> {
    if std::env::consts::ARCH != "x86_64" {
        bail!("the set-up knows libtorch for x86-64 only; set LIBTORCH to one of your own");
    }
    let cache = project::cache()?;
    fs::create_dir_all(&cache)?;
    let lock = fs::File::create(cache.join("libtorch.lock"))?;
    lock.lock().context("cannot lock the cache")?;
    if folder.join(stamp()).exists() {
        return Ok(());
    }
    python()?;
    let wheels = cache.join(format!("libtorch-{VERSION}.wheels"));
    let part = cache.join(format!("libtorch-{VERSION}.part"));
    say(format_args!(
        "libtorch: downloading torch {VERSION} from PyPI (about 550 MB)"
    ));
    let mut pip = process::command("python3");
    pip.args([
        "-m",
        "pip",
        "download",
        "--quiet",
        "--no-deps",
        "--only-binary=:all:",
    ]);
    pip.args(["--python-version", "3.12", "--implementation", "cp"]);
    pip.args(PLATFORM.iter().flat_map(|tag| ["--platform", tag]));
    process::run(pip.arg("--dest").arg(&wheels).args(WHEELS))?;

    say(format_args!(
        "libtorch: unpacking into {}",
        folder.display()
    ));
    for stale in [&part, &folder.to_path_buf()] {
        if stale.exists() {
            fs::remove_dir_all(stale)?;
        }
    }
    fs::create_dir_all(part.join("lib"))?;
    process::run(
        process::command("python3")
            .args(["-c", UNPACK])
            .arg(&wheels)
            .arg(&part),
    )?;
    // torch-sys always links libtorch.so; the wheel's own drags in CUDA, an empty one does not.
    process::run(
        process::command("cc")
            .args([
                "-shared",
                "-Wl,-soname,libtorch.so",
                "-x",
                "c",
                "/dev/null",
                "-o",
            ])
            .arg(part.join("lib/libtorch.so")),
    )?;
    fs::write(part.join("build-version"), format!("{VERSION}+cu130"))?;
    fs::write(part.join(stamp()), "")?;
    fs::rename(&part, folder)?;
    fs::remove_dir_all(&wheels)?;
    Ok(())
}

/// Python with pip, which fetches the wheel.
fn python() -> Result<()> {
    let pip = || process::probe(process::command("python3").args(["-m", "pip", "--version"]));
    if pip().is_none() {
        say("libtorch: installing python3-pip with apt-get, to fetch the wheel");
        process::apt_install(&["python3", "python3-pip"])?;
        pip().context(
            "pip was installed but does not start; run by hand: python3 -m pip --version",
        )?;
    }
    Ok(())
}

/// A C++ compiler, which torch-sys needs.
fn compiler() -> Result<()> {
    if process::probe(process::command("c++").arg("--version")).is_none() {
        say("libtorch: installing g++ with apt-get, for its bindings");
        process::apt_install(&["g++"])?;
    }
    Ok(())
}
