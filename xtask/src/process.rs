//! Running other programs: cargo with a chosen toolchain, apt-get, and whatever the set-up calls.
//!
//! `cargo xtask` is itself started by rustup and cargo, which leave their own settings in the
//! environment; children get them removed, so that they behave as if typed into a shell.

use std::ffi::OsString;
use std::path::Path;
use std::process::{Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::project;

/// Prints one line of progress.
pub fn say(text: impl std::fmt::Display) {
    eprintln!("xtask: {text}");
}

/// A program, run in the repository's root, as if typed into a shell there.
pub fn command(program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new(program);
    command.current_dir(project::root());
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy();
        let leaked = name == "CARGO"
            || name == "RUST_RECURSION_COUNT"
            || name.starts_with("CARGO_MANIFEST_")
            || name.starts_with("CARGO_PKG_")
            || name.starts_with("CARGO_BIN_")
            || name.starts_with("CARGO_CRATE_");
        if leaked {
            command.env_remove(&*name);
        }
    }
    // `cargo run` puts its own toolchain's libraries first; another toolchain's must not load them.
    if let Some(paths) = std::env::var_os("LD_LIBRARY_PATH") {
        command.env("LD_LIBRARY_PATH", without_cargos_own(&paths));
    }
    // Set from .cargo/config.toml; left for cargo to set again, so that its record of what a build
    // depended on is the same as when the user calls it.
    if std::env::var_os("LIBTORCH").is_some_and(|dir| Path::new(&dir) == libtorch_link()) {
        command.env_remove("LIBTORCH");
    }
    command
}

/// Where `.cargo/config.toml` points `LIBTORCH`.
pub fn libtorch_link() -> std::path::PathBuf {
    project::root().join(".tools").join("libtorch")
}

fn without_cargos_own(paths: &std::ffi::OsStr) -> OsString {
    let kept = std::env::split_paths(paths).filter(|path| {
        let text = path.to_string_lossy();
        !(text.contains("/toolchains/")
            || text.ends_with("/debug")
            || text.ends_with("/debug/deps")
            || text.contains("/build/") && text.ends_with("/out"))
    });
    std::env::join_paths(kept).unwrap_or_default()
}

/// Cargo of the toolchain that started this program.
pub fn cargo() -> Command {
    command("cargo")
}

/// Cargo of another rustup toolchain.
pub fn cargo_of(toolchain: &str) -> Command {
    let mut cargo = command("rustup");
    cargo.env_remove("RUSTUP_TOOLCHAIN");
    cargo.args(["run", toolchain, "cargo"]);
    cargo
}

/// Runs it to its end; its stdout joins stderr, so that ours carries nothing but answers.
///
/// # Errors
/// When it cannot be started or does not succeed; the command line is named.
pub fn run(command: &mut Command) -> Result<()> {
    let shown = shown(command);
    let status = command
        .stdout(Stdio::from(std::io::stderr()))
        .status()
        .with_context(|| format!("cannot start `{shown}`"))?;
    check(status, &shown)
}

/// Runs it to its end; what it prints is this program's answer.
///
/// # Errors
/// As [`run`].
pub fn answer(command: &mut Command) -> Result<()> {
    let shown = shown(command);
    let status = command
        .status()
        .with_context(|| format!("cannot start `{shown}`"))?;
    check(status, &shown)
}

/// Runs it and returns what it printed, without the last newline. Its stderr is shown.
///
/// # Errors
/// As [`run`], and when the output is not UTF-8.
pub fn read(command: &mut Command) -> Result<String> {
    let shown = shown(command);
    let output = command
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("cannot start `{shown}`"))?;
    check(output.status, &shown)?;
    let text = String::from_utf8(output.stdout)
        .with_context(|| format!("`{shown}` printed what is not UTF-8"))?;
    Ok(text.trim_end().to_owned())
}

/// What it printed when it succeeds quietly, or `None`: for asking whether a program is there.
pub fn probe(command: &mut Command) -> Option<String> {
    let Output { status, stdout, .. } = command.stdin(Stdio::null()).output().ok()?;
    if !status.success() {
        return None;
    }
    Some(String::from_utf8(stdout).ok()?.trim_end().to_owned())
}

/// Runs it for no longer than `limit`.
///
/// # Errors
/// As [`run`], and when the time is over (it is then ended).
pub fn run_within(command: &mut Command, limit: Duration) -> Result<()> {
    let shown = shown(command);
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::from(std::io::stderr()))
        .spawn()
        .with_context(|| format!("cannot start `{shown}`"))?;
    let end = Instant::now() + limit;
    loop {
        if let Some(status) = child.try_wait()? {
            return check(status, &shown);
        }
        if Instant::now() >= end {
            child.kill()?;
            child.wait()?;
            bail!("`{shown}` did not finish within {} s", limit.as_secs());
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// Installs packages with apt-get, through sudo when not root.
///
/// # Errors
/// When there is no apt-get, or it fails; the command to run by hand is named.
pub fn apt_install(packages: &[&str]) -> Result<()> {
    let by_hand = format!(
        "run by hand: sudo apt-get update && sudo apt-get install --no-install-recommends {}",
        packages.join(" ")
    );
    let root = probe(command("id").arg("-u")).as_deref() == Some("0");
    let apt = |args: &[&str]| {
        let mut apt = command(if root { "apt-get" } else { "sudo" });
        if !root {
            // Through sudo the variable would be dropped, so it is sudo that sets it.
            apt.args(["DEBIAN_FRONTEND=noninteractive", "apt-get"]);
        }
        apt.env("DEBIAN_FRONTEND", "noninteractive");
        apt.args(["-qq", "-o", "DPkg::Lock::Timeout=300"])
            .args(args);
        apt
    };
    if probe(command("apt-get").arg("--version")).is_none() {
        bail!(
            "there is no apt-get here: install {} with this system's package manager",
            packages.join(", ")
        );
    }
    // A list that can't be refreshed may still be good enough to install from.
    if let Err(error) = run(&mut apt(&["update"])) {
        say(format_args!("{error:#}; trying with the lists at hand"));
    }
    let mut install = vec!["install", "-y", "--no-install-recommends"];
    install.extend(packages);
    run(&mut apt(&install)).context(by_hand)
}

fn check(status: ExitStatus, shown: &str) -> Result<()> {
    if !status.success() {
        bail!("`{shown}` failed ({status})");
    }
    Ok(())
}

fn shown(command: &Command) -> String {
    let mut words = vec![command.get_program().to_string_lossy().into_owned()];
    for word in command.get_args() {
        let word = word.to_string_lossy();
        if word.is_empty() || word.contains(char::is_whitespace) {
            words.push(format!("'{word}'"));
        } else {
            words.push(word.into_owned());
        }
    }
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cargos_own_library_folders_are_dropped_and_the_users_kept() {
        let paths = "/w/target/debug/build/a-1/out:/w/target/debug/deps:/w/target/debug:\
                     /home/u/.rustup/toolchains/stable/lib:/opt/cuda/lib64";
        assert_eq!(without_cargos_own(paths.as_ref()), "/opt/cuda/lib64");
    }

    #[test]
    fn a_program_that_hangs_is_ended() {
        let started = Instant::now();
        let error = run_within(command("sleep").arg("60"), Duration::from_millis(300));
        assert!(error.unwrap_err().to_string().contains("did not finish"));
        assert!(started.elapsed() < Duration::from_secs(20));
    }

    #[test]
    fn a_failure_names_the_command_line() {
        let error = run(command("sh").args(["-c", "exit 3"])).unwrap_err();
        assert!(error.to_string().contains("sh -c 'exit 3'"), "{error}");
    }
}
