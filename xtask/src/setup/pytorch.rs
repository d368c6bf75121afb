//! A Python with PyTorch, which the trainer is compared with: a virtual environment of this machine's
//! Python, without the CUDA libraries.
//!
//! PyPI's wheel for Linux is built against CUDA, and `import torch` ends where those libraries are not.
//! What stands in for them here is empty libraries, and one that defines the hundred names that PyTorch's
//! Python half takes from them; a call of one ends the process, and on a machine without them none is
//! made. Of Python packages it gets what importing torch and training with it takes, and onnx with
//! onnxruntime (40 MB), which the ONNX models are checked with.
//!
//! `LIGHTWAFER_PYTHON`, a Python of the user's own that has torch, numpy and safetensors, wins; the checks
//! of ONNX models need onnx and onnxruntime there too.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use object::{Object, ObjectSymbol};

use super::libtorch;
use super::wheels::{self, Rule, VERSION, Wheels};
use crate::process::{self, say};
use crate::project;

/// The variable that names a Python with PyTorch, to the set-up and to the tests.
pub const PYTHON: &str = "LIGHTWAFER_PYTHON";
/// What importing torch, its optimizers and safetensors takes.
const PACKAGES: [&str; 4] = [
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
/// What of the torch wheel is used; the rest of `torch/lib` and `torch/bin` is CUDA.
const LIBRARIES: [&str; 9] = [
    "torch/lib/libtorch_cpu.so",
    "torch/lib/libtorch_python.so",
    "torch/lib/libtorch_global_deps.so",
    "torch/lib/libc10.so",
    "torch/lib/libc10_cuda.so",
    "torch/lib/libshm.so",
    "torch/lib/libgomp.so.1",
    "nvidia/cu13/lib/libcudart.so.13",
    "nvidia/cu13/lib/libcupti.so.13",
];
/// Libraries that only have to be there.
const EMPTY: [&str; 3] = ["libtorch.so", "libcudnn.so.9", "libcufile.so.0"];

/// The Python to use, if one is set up or the user's own.
///
/// # Errors
/// When there is no cache folder.
pub fn python() -> Result<Option<PathBuf>> {
    if let Some(own) = std::env::var_os(PYTHON) {
        return Ok(Some(own.into()));
    }
    let python = folder()?.join("bin/python");
    Ok((!is_missing()?).then_some(python))
}

fn folder() -> Result<PathBuf> {
    Ok(project::cache()?.join(format!("pytorch-{VERSION}")))
}

/// Whether the wheels have to be fetched for it. A virtual environment is of one Python: another one
/// needs another.
///
/// # Errors
/// When there is no cache folder.
pub fn is_missing() -> Result<bool> {
    if std::env::var_os(PYTHON).is_some() {
        return Ok(false);
    }
    let folder = folder()?;
    let made_for = fs::read_to_string(folder.join("stamp")).ok();
    let starts = || {
        let mut python = process::command(folder.join("bin/python"));
        process::probe(python.args(["-c", "import safetensors"])).is_some()
    };
    Ok(made_for.is_none() || made_for != wheels::python_minor().map(stamp) || !starts())
}

fn stamp(minor: u32) -> String {
    format!("torch {VERSION} python 3.{minor}\n")
}

/// Makes the virtual environment.
///
/// # Errors
/// When there is no wheel for this machine's Python, or a step fails.
pub fn unpack(wheels: &Wheels) -> Result<()> {
    let minor = wheels::supported_python()?;
    wheels::compiler()?;
    let folder = folder()?;
    let part = folder.with_extension("part");
    say(format_args!(
        "PyTorch: a virtual environment in {}",
        folder.display()
    ));
    for stale in [&part, &folder] {
        if stale.exists() {
            fs::remove_dir_all(stale)?;
        }
    }
    let mut venv = process::command("python3");
    process::run(venv.args(["-m", "venv", "--without-pip"]).arg(&part))?;
    let site = part.join(format!("lib/python3.{minor}/site-packages"));
    process::run(pip_install(&site).args(PACKAGES))?;

    let lib = site.join("torch/lib");
    let twins = libtorch::folder()?.join("lib");
    let mut rules: Vec<_> = LIBRARIES
        .into_iter()
        .map(|member| Rule {
            member,
            to: Some(lib.clone()),
            twins: Some(&twins),
        })
        .collect();
    let rest = [
        ("torch/lib/", None),
        ("torch/include/", None),
        ("torch/share/", None),
        ("torch/bin/torch_shm_manager", Some("torch/bin")),
        ("torch/bin/", None),
        ("torch/", Some("torch")),
        ("torchgen/", Some("torchgen")),
    ];
    rules.extend(rest.into_iter().map(|(member, to)| Rule {
        member,
        to: to.map(|to| site.join(to)),
        twins: None,
    }));
    wheels.unpack(&rules)?;
    executable(&site.join("torch/bin/torch_shm_manager"))?;
    for name in EMPTY {
        wheels::library(&lib, name, "")?;
    }
    wheels::library(&lib, "libtorch_cuda.so", &stand_in(&lib)?)?;
    // The first import writes the compiled modules.
    let mut python = process::command(part.join("bin/python"));
    process::run(python.args(["-c", "import torch, torch.optim, safetensors.torch"]))?;
    fs::write(part.join("stamp"), stamp(minor))?;
    fs::rename(&part, &folder)?;
    Ok(())
}

/// Packages into a folder, with those that they need.
fn pip_install(site: &Path) -> Command {
    let mut pip = process::command("python3");
    pip.args(["-m", "pip", "install", "--quiet", "--no-compile"]);
    pip.args(["--disable-pip-version-check", "--no-warn-script-location"]);
    pip.env("PIP_ROOT_USER_ACTION", "ignore");
    pip.arg("--target").arg(site);
    pip
}

/// Adds what checks ONNX models, where it lacks: environments from before ONNX was exported do.
fn onnx(python: &Path) -> Result<()> {
    let imports = || {
        let mut python = process::command(python);
        process::probe(python.args(["-c", "import onnx, onnxruntime"])).is_some()
    };
    if std::env::var_os(PYTHON).is_some() || imports() {
        return Ok(());
    }
    say("PyTorch: adding onnx and onnxruntime from PyPI (about 40 MB)");
    wheels::pip()?;
    let minor = wheels::supported_python()?;
    let site = folder()?.join(format!("lib/python3.{minor}/site-packages"));
    process::run(
        pip_install(&site)
            .args(["--quiet", "--no-deps"])
            .args(ONNX_PACKAGES),
    )?;
    let program = python.display();
    ensure!(imports(), "{program} does not import onnx and onnxruntime");
    Ok(())
}

/// Says where it is, and that it works.
///
/// # Errors
/// When it does not import torch, or onnx and onnxruntime cannot be added.
pub fn finish() -> Result<()> {
    let python = python()?.context("PyTorch was not set up")?;
    onnx(&python)?;
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

fn executable(path: &Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    Ok(fs::set_permissions(
        path,
        fs::Permissions::from_mode(0o755),
    )?)
}

/// The source of a library with what `libtorch_python.so` needs and no other library here has.
fn stand_in(lib: &Path) -> Result<String> {
    let standard = process::read(process::command("cc").arg("-print-file-name=libstdc++.so.6"))?;
    let mut needed = symbols(&lib.join("libtorch_python.so"), true)?;
    let others = ["cpu", "c10", "c10_cuda", "shm", "cudart"].map(|name| match name {
        "cpu" => lib.join("libtorch_cpu.so"),
        "cudart" => lib.join("libcudart.so.13"),
        name => lib.join(format!("lib{name}.so")),
    });
    for library in others.into_iter().chain([standard.into()]) {
        for name in symbols(&library, false)? {
            needed.remove(&name);
        }
    }
    let ours = |name: &&String| {
        ["_Z", "cudnn", "cuFile"]
            .iter()
            .any(|start| name.starts_with(start))
    };
    let mut source = String::from(
        "extern void *classes[] __asm__(\"_ZTVN10__cxxabiv117__class_type_infoE\");\n\
         static char memory[4096];\n",
    );
    for (i, name) in needed.iter().filter(ours).enumerate() {
        let _ = if let Some(class) = name.strip_prefix("_ZTI") {
            // A class without bases, as `typeid` reads it when PyTorch registers it with Python.
            writeln!(
                source,
                "const struct {{ void *v; const char *n; }} s{i} __asm__(\"{name}\") = {{ &classes[2], \"{class}\" }};"
            )
        } else if name.starts_with("_ZTV") {
            writeln!(source, "void *s{i}[64] __asm__(\"{name}\");")
        } else if name == "_ZN4c10d15get_gil_checkerEv" {
            // The one that is called when the library is loaded: a reference that is written to.
            writeln!(
                source,
                "void *s{i}(void) __asm__(\"{name}\"); void *s{i}(void) {{ return memory; }}"
            )
        } else {
            writeln!(
                source,
                "void s{i}(void) __asm__(\"{name}\"); void s{i}(void) {{ __builtin_trap(); }}"
            )
        };
    }
    Ok(source)
}

/// Names that a library has, or that it cannot do without.
fn symbols(library: &Path, undefined: bool) -> Result<BTreeSet<String>> {
    let bytes = fs::read(library).with_context(|| format!("cannot read {}", library.display()))?;
    let file = object::File::parse(&*bytes)
        .with_context(|| format!("{} is no library", library.display()))?;
    let symbols = file.dynamic_symbols();
    let wanted = symbols.filter(|s| s.is_undefined() == undefined && !(undefined && s.is_weak()));
    Ok(wanted
        .filter_map(|symbol| symbol.name().ok().map(str::to_owned))
        .collect())
}
