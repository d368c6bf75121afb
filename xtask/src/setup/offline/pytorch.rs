//! A Python with PyTorch out of PyPI's wheel, without the CUDA libraries.
//!
//! `import torch` ends where those libraries are not. What stands in for them here is empty libraries, and one that
//! defines the hundred names that PyTorch's Python half takes from them; a call of one ends the process, and on a
//! machine without CUDA none is made.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use object::{Object, ObjectSymbol};

use super::libtorch;
use super::wheels::{self, Rule, Wheels};
use crate::process::{self, say};
use crate::setup::python::Environment;
use crate::setup::pytorch;

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

/// Makes the virtual environment.
///
/// # Errors
/// When there is no wheel for this machine's Python, or a step fails.
pub fn unpack(wheels: &Wheels) -> Result<()> {
    let minor = wheels::supported_python()?;
    let folder = pytorch::folder()?;
    say(format_args!(
        "PyTorch: a virtual environment in {}",
        folder.display()
    ));
    Environment::make(&folder, |environment| {
        environment.install(&[], &pytorch::PACKAGES)?;
        let site = environment.site()?;
        wheels.unpack(&rules(&site)?)?;
        executable(&site.join("torch/bin/torch_shm_manager"))?;
        let lib = site.join("torch/lib");
        for name in EMPTY {
            wheels::library(&lib, name, "")?;
        }
        wheels::library(&lib, "libtorch_cuda.so", &stand_in(&lib)?)?;
        // The first import writes the compiled modules.
        let mut python = process::command(environment.program());
        process::run(python.args(["-c", "import torch, torch.optim, safetensors.torch"]))?;
        environment.write("stamp", &pytorch::stamp(minor))
    })?;
    Ok(())
}

/// What goes where, the libraries by name first; files that libtorch has already are linked.
fn rules(site: &Path) -> Result<Vec<Rule<'static>>> {
    let lib = site.join("torch/lib");
    let twins = libtorch::folder()?.join("lib");
    let mut rules: Vec<_> = LIBRARIES
        .into_iter()
        .map(|member| Rule {
            member,
            to: Some(lib.clone()),
            twins: Some(twins.clone()),
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
    Ok(rules)
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
