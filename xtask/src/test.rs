//! `cargo xtask test`: every check and test of the project, in one command.

use std::time::Instant;

use anyhow::{Result, bail};

use crate::budget;
use crate::cross;
use crate::deny;
use crate::firmware;
use crate::fuzz;
use crate::miri;
use crate::nopanic;
use crate::process::{self, say};
use crate::project::{self, Board};
use crate::sanitize;
use crate::setup;
use crate::size;

/// How much to test.
#[derive(clap::Args)]
pub struct Args {
    /// Leave out the tests that boot an emulated board
    #[arg(long)]
    fast: bool,
}

/// Sets up, then runs every step, also after one has failed.
///
/// # Errors
/// When the set-up or any step fails.
pub fn run(args: &Args) -> Result<()> {
    let started = Instant::now();
    setup::arm::setup()?;
    setup::qemu::setup()?;
    setup::torch(true, true)?;
    let toolchain = setup::arm::toolchain()?;

    let mut steps = Steps::default();
    steps.step("format", || {
        process::run(process::cargo().args(["fmt", "--all", "--check"]))
    });
    steps.step("format of the boards", || {
        let mut cargo = process::cargo();
        process::run(
            cargo
                .args(["fmt", "--all", "--check"])
                .current_dir(project::boards()),
        )
    });
    steps.step("format of the fuzz targets", || {
        let mut cargo = process::cargo();
        process::run(
            cargo
                .args(["fmt", "--check"])
                .current_dir(project::root().join("fuzz")),
        )
    });
    steps.step("firmware", || {
        firmware::build(Board::all(), firmware::Features::All)
    });
    steps.step("no panic in firmware", || nopanic::run(&nopanic::Args {}));
    if !args.fast {
        steps.step("budget", budget::check);
        steps.step("size", size::check);
    }
    steps.step("lints of the boards", || {
        for board in Board::all() {
            let mut cargo = process::cargo_of(&toolchain);
            cargo
                .current_dir(board.folder())
                .args(["clippy", "--release", "--target-dir"]);
            cargo.arg(project::boards().join("target")).args([
                "--bins",
                "--examples",
                "--",
                "-D",
                "warnings",
            ]);
            process::run(&mut cargo)?;
        }
        Ok(())
    });
    steps.step("lints", || {
        let mut cargo = process::cargo();
        cargo.args([
            "clippy",
            "--workspace",
            "--exclude",
            "lightwafer-tract",
            "--all-targets",
            "--",
            "-D",
            "warnings",
        ]);
        process::run(&mut cargo)
    });
    steps.step("documentation", || {
        let mut cargo = process::cargo();
        cargo
            .args(["doc", "--workspace", "--exclude", "lightwafer-tract"])
            .arg("--no-deps")
            .env("RUSTDOCFLAGS", "-D warnings");
        process::run(&mut cargo)
    });
    steps.step("tests", || {
        let mut cargo = process::cargo();
        if args.fast {
            cargo.env("LIGHTWAFER_SKIP_EMULATED", "1");
        }
        if let Some(python) = setup::pytorch::python()? {
            cargo.env(setup::pytorch::PYTHON, python);
        }
        if !args.fast
            && let Some(python) = setup::client::python()?
        {
            cargo.env(setup::client::PYTHON, python);
        }
        cargo.args(["test", "--workspace", "--exclude", "lightwafer-tract"]);
        process::run(cargo.arg("--no-fail-fast"))
    });
    // Apart: tract takes minutes to build, and only this needs it.
    steps.step("tract engine", || {
        let mut cargo = process::cargo();
        cargo.args(["test", "--package", "lightwafer-tract"]);
        process::run(&mut cargo)
    });
    steps.step("licences", || deny::run(&deny::Args {}));
    steps.step("address sanitizer", || sanitize::run(&sanitize::Args {}));
    steps.step("other processors", || cross::run(&cross::Args {}));
    steps.step("Miri", || miri::run(&miri::Args {}));
    steps.step("fuzzing", fuzz::briefly);

    steps.summary(started)
}

/// What was run and how it went.
#[derive(Default)]
struct Steps {
    done: Vec<(&'static str, f64, bool)>,
}

impl Steps {
    fn step(&mut self, name: &'static str, work: impl FnOnce() -> Result<()>) {
        say(format_args!("test: {name} …"));
        let started = Instant::now();
        let result = work();
        if let Err(error) = &result {
            say(format_args!("test: {name} failed: {error:#}"));
        }
        self.done
            .push((name, started.elapsed().as_secs_f64(), result.is_ok()));
    }

    fn summary(&self, started: Instant) -> Result<()> {
        println!();
        for (name, seconds, passed) in &self.done {
            println!(
                "{:<22} {:>7.1} s  {}",
                name,
                seconds,
                if *passed { "ok" } else { "FAILED" }
            );
        }
        println!(
            "{:<22} {:>7.1} s",
            "with the set-up",
            started.elapsed().as_secs_f64()
        );
        let failed = self.done.iter().filter(|(_, _, passed)| !passed).count();
        println!("{} passed, {failed} failed", self.done.len() - failed);
        if failed > 0 {
            bail!("{failed} of {} steps failed", self.done.len());
        }
        Ok(())
    }
}
