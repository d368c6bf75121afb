//! A Rust toolchain with the boards' targets, made from Debian's packages `rustc-web` and `rust-web-src`.
//!
//! core and alloc are built once per target into a private sysroot, which is linked into rustup as the toolchain
//! [`TOOLCHAIN`] and chosen for the folder `boards`.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use lightwafer_board_list::TARGETS;

use crate::process::{self, say};
use crate::project;
use crate::toolchain::{self, libraries};

/// The rustup name of the toolchain made from Debian's packages.
pub const TOOLCHAIN: &str = "lightwafer-arm";
/// Goes into the sysroot's stamp: raise it when what is written there changes.
const LAYOUT: u32 = 1;

/// Debian's compiler, as `rustc -vV` names it.
struct Compiler {
    host: String,
    release: String,
    commit: String,
}

impl Compiler {
    fn find() -> Option<Self> {
        Self::parse(&process::probe(
            process::command("/usr/bin/rustc").arg("-vV"),
        )?)
    }

    fn parse(version: &str) -> Option<Self> {
        let field = |name: &str| {
            version
                .lines()
                .find_map(|line| line.strip_prefix(name))
                .map(|text| text.trim().to_owned())
        };
        Some(Self {
            host: field("host:")?,
            release: field("release:")?,
            commit: field("commit-hash:")?,
        })
    }

    fn source(&self) -> PathBuf {
        Path::new("/usr/src").join(format!("rustc-{}", self.release))
    }

    fn is_complete(&self) -> bool {
        self.source().join("library/core").is_dir() && Path::new("/usr/bin/clippy-driver").exists()
    }

    /// What a sysroot was built from and how.
    fn stamp(&self) -> String {
        format!("{} {} layout {LAYOUT}\n", self.release, self.commit)
    }

    /// Whether it is new enough for this project's `rust-version`.
    fn is_new_enough(&self) -> bool {
        let minor_of = |version: &str| -> Option<(u32, u32)> {
            let mut parts = version.split(['.', '-']);
            Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
        };
        minor_of(&self.release) >= minor_of(env!("CARGO_PKG_RUST_VERSION"))
    }
}

fn folder() -> Result<PathBuf> {
    Ok(project::cache()?.join("arm-toolchain"))
}

/// Whether the private sysroot is whole, of the compiler now installed, and known to rustup.
pub fn is_ready() -> bool {
    let (Some(rustc), Ok(sysroot)) = (Compiler::find(), folder()) else {
        return false;
    };
    fs::read_to_string(sysroot.join("stamp")).is_ok_and(|stamp| stamp == rustc.stamp())
        && TARGETS.iter().all(|target| toolchain::has_target(&sysroot, target))
        // Links into an ordinary toolchain: they dangle when that was removed.
        && sysroot.join("bin/cargo").exists()
        && linked_sysroot().as_deref() == Some(sysroot.as_path())
}

/// The sysroot that rustup has under our name.
fn linked_sysroot() -> Option<PathBuf> {
    process::probe(toolchain::rustc(TOOLCHAIN).args(["--print", "sysroot"])).map(PathBuf::from)
}

/// Installs Debian's compiler, builds what is missing, and gives the toolchain's name.
///
/// # Errors
/// When a package cannot be installed or is too old, or a build fails.
pub fn make() -> Result<String> {
    let ready = |rustc: &Compiler| rustc.is_complete() && rustc.is_new_enough();
    if !Compiler::find().is_some_and(|rustc| ready(&rustc)) {
        say("ARM targets: installing rustc-web, rust-web-src and rust-web-clippy with apt-get");
        process::apt_install(&["rustc-web", "rust-web-src", "rust-web-clippy"])?;
    }
    let rustc = Compiler::find().context("/usr/bin/rustc does not start")?;
    if !rustc.is_new_enough() {
        bail!(
            "/usr/bin/rustc is {}, this project needs {}",
            rustc.release,
            env!("CARGO_PKG_RUST_VERSION")
        );
    }
    if !rustc.is_complete() {
        bail!(
            "rust-web-src and rust-web-clippy do not match rustc-web {}",
            rustc.release
        );
    }
    let sysroot = folder()?;
    let _lock = lock(&sysroot)?;
    if fs::read_to_string(sysroot.join("stamp")).ok() != Some(rustc.stamp()) && sysroot.exists() {
        fs::remove_dir_all(&sysroot)?;
    }
    lay_out(&sysroot, &rustc)?;
    process::run(
        process::command("rustup")
            .args(["toolchain", "link", TOOLCHAIN])
            .arg(&sysroot),
    )?;
    for target in TARGETS {
        if toolchain::has_target(&sysroot, target) {
            continue;
        }
        say(format_args!(
            "ARM targets: building core and alloc for {target} (about a minute)"
        ));
        build_core(&sysroot, &rustc, target)?;
    }
    fs::write(sysroot.join("stamp"), rustc.stamp())?;
    Ok(TOOLCHAIN.to_owned())
}

/// Two set-ups at once wait for each other.
fn lock(folder: &Path) -> Result<fs::File> {
    let path = folder.with_extension("lock");
    fs::create_dir_all(path.parent().context("the cache has no parent folder")?)?;
    let file =
        fs::File::create(&path).with_context(|| format!("cannot write {}", path.display()))?;
    file.lock()
        .with_context(|| format!("cannot lock {}", path.display()))?;
    Ok(file)
}

/// A toolchain folder: Debian's compiler with this sysroot, driven by rustup's cargo and linker.
fn lay_out(sysroot: &Path, rustc: &Compiler) -> Result<()> {
    let ordinary = toolchain::sysroot(&toolchain::active()?)?;
    let bin = sysroot.join("bin");
    let host = Path::new("lib/rustlib").join(&rustc.host);
    fs::create_dir_all(&bin)?;
    fs::create_dir_all(sysroot.join(&host).join("bin"))?;
    fs::create_dir_all(sysroot.join("lib/rustlib/src"))?;
    let here = sysroot.display();
    // A symbolic link would resolve to /usr and take that as its sysroot.
    for program in ["rustc", "rustdoc"] {
        script(
            &bin.join(program),
            &format!("exec /usr/bin/{program} --sysroot '{here}' \"$@\""),
        )?;
    }
    script(
        &bin.join("clippy-driver"),
        &format!("SYSROOT='{here}' exec /usr/bin/clippy-driver \"$@\""),
    )?;
    // cargo-clippy looks for clippy-driver beside itself, so it has to be here as itself.
    fs::copy("/usr/bin/cargo-clippy", bin.join("cargo-clippy"))?;
    link(&ordinary.join("bin/cargo"), &bin.join("cargo"))?;
    link(
        &Path::new("/usr").join(&host).join("lib"),
        &sysroot.join(&host).join("lib"),
    )?;
    for tool in ["rust-lld", "gcc-ld", "rust-objcopy"] {
        let tool = host.join("bin").join(tool);
        link(&ordinary.join(&tool), &sysroot.join(&tool))?;
    }
    link(&rustc.source(), &sysroot.join("lib/rustlib/src/rust"))
}

fn script(path: &Path, body: &str) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    fs::write(path, format!("#!/bin/sh\n{body}\n"))?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755))?;
    Ok(())
}

fn link(to: &Path, at: &Path) -> Result<()> {
    if fs::symlink_metadata(at).is_ok() {
        fs::remove_file(at)?;
    }
    std::os::unix::fs::symlink(to, at).with_context(|| format!("cannot link {}", at.display()))
}

/// Builds the target's core and alloc from Debian's sources into the sysroot.
fn build_core(sysroot: &Path, rustc: &Compiler, target: &str) -> Result<()> {
    let work = sysroot.join("build");
    fs::create_dir_all(work.join("src"))?;
    fs::write(
        work.join("Cargo.toml"),
        "[package]\nname = \"sysroot\"\nversion = \"0.0.0\"\nedition = \"2024\"\n[workspace]\n\
         [profile.release]\ncodegen-units = 1\npanic = \"abort\"\n",
    )?;
    fs::write(work.join("src/lib.rs"), "#![no_std]\n")?;
    let mut cargo = process::cargo_of(TOOLCHAIN);
    cargo.current_dir(&work);
    for name in ["RUSTC", "CARGO_BUILD_TARGET", "CARGO_ENCODED_RUSTFLAGS"] {
        cargo.env_remove(name);
    }
    // Bitcode, so that the boards' link-time optimisation reaches into core.
    let source = rustc.source();
    let flags = format!(
        "-Cembed-bitcode=yes --remap-path-prefix={}=/rustc/{}",
        source.display(),
        rustc.release
    );
    cargo
        .env("RUSTC_BOOTSTRAP", "1")
        .env("RUSTFLAGS", flags)
        .env("CARGO_TARGET_DIR", work.join("target"))
        .args([
            "build",
            "--quiet",
            "--release",
            "-Zbuild-std=core,alloc",
            "--target",
            target,
        ]);
    process::run(&mut cargo)?;

    let built = work.join("target").join(target).join("release/deps");
    let finished = libraries(sysroot, target);
    let part = finished.with_extension("part");
    fs::create_dir_all(&part)?;
    for entry in fs::read_dir(&built)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.ends_with(".rlib") && !name.starts_with("libsysroot") {
            fs::copy(entry.path(), part.join(name))?;
        }
    }
    fs::rename(&part, &finished)?;
    fs::remove_dir_all(&work)?;
    Ok(())
}

/// Makes plain `cargo run --release` in the folders of firmware use this toolchain, or no longer.
///
/// # Errors
/// When rustup fails.
pub fn set_override(wanted: bool) -> Result<()> {
    let list =
        process::probe(process::command("rustup").args(["override", "list"])).unwrap_or_default();
    for folder in [project::boards(), project::root().join("examples")] {
        let of_folder = |line: &&str| line.split_whitespace().next() == folder.to_str();
        let line = list.lines().find(of_folder);
        let ours = line.is_some_and(|line| line.contains(TOOLCHAIN));
        let arguments: &[&str] = match (wanted, ours) {
            (true, false) => &["override", "set", TOOLCHAIN, "--path"],
            (false, true) => &["override", "unset", "--path"],
            _ => continue,
        };
        say(format_args!(
            "ARM targets: rustup {} {}, for cargo there",
            arguments.join(" "),
            folder.display()
        ));
        process::run(process::command("rustup").args(arguments).arg(&folder))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debians_compiler_is_read_and_compared() {
        let text = "rustc 1.96.0 (ac68faa20 2026-05-25)\nbinary: rustc\ncommit-hash: ac68faa20\n\
                    host: x86_64-unknown-linux-gnu\nrelease: 1.96.0\nLLVM version: 21.1\n";
        let rustc = Compiler::parse(text).unwrap();
        assert_eq!(rustc.source(), Path::new("/usr/src/rustc-1.96.0"));
        assert!(rustc.is_new_enough());
        let old = Compiler::parse(&text.replace("1.96.0", "1.85.0")).unwrap();
        assert!(!old.is_new_enough());
        assert_ne!(old.stamp(), rustc.stamp());
        assert!(Compiler::parse("rustc 1.96.0").is_none());
    }
}
