//! `cargo xtask fuzz`: every fuzz target for a while, from the kept corpus.
//!
//! What is found new stays in `target/fuzz`; the kept corpus changes only by hand (`cargo fuzz cmin`). Where
//! cargo-fuzz is installed it builds the targets, otherwise plain cargo does, with the same flags. Both need a
//! nightly compiler.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::outcome::Outcome;
use crate::process::{self, say};
use crate::{lightwafer, project, toolchain};

/// The targets in `fuzz/fuzz_targets`.
const TARGETS: [&str; 6] = ["model", "execute", "frames", "station", "npz", "store"];

/// Those of cargo-fuzz 0.13.
const FLAGS: &str = "-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares --cfg fuzzing \
    -Cllvm-args=-simplifycfg-branch-fold-threshold=0 -Zsanitizer=address \
    -Cllvm-args=-sanitizer-coverage-stack-depth -Cdebug-assertions -Ccodegen-units=1";

/// What to fuzz, and for how long.
#[derive(clap::Args)]
pub struct Args {
    /// The target; all of them when none is named
    #[arg(value_parser = TARGETS)]
    target: Option<String>,
    /// Seconds for each target
    #[arg(long, default_value_t = 20)]
    seconds: u32,
}

/// Fuzzes.
///
/// # Errors
/// As [`check`].
pub fn run(args: &Args) -> Result<()> {
    let wanted = |target: &&str| {
        args.target
            .as_deref()
            .is_none_or(|wanted| wanted == *target)
    };
    let targets: Vec<&'static str> = TARGETS.into_iter().filter(wanted).collect();
    fuzz(&targets, args.seconds).map(Outcome::say)
}

/// Fuzzes every target for 20 seconds, where there is a nightly compiler.
///
/// # Errors
/// When one finds something: the input is named.
pub fn check() -> Result<Outcome> {
    fuzz(&TARGETS, 20)
}

fn fuzz(targets: &[&'static str], seconds: u32) -> Result<Outcome> {
    let toolchain = match toolchain::nightly() {
        Ok(toolchain) => toolchain,
        Err(why) => return Ok(Outcome::Skipped(why)),
    };
    let built = build(&toolchain, targets)?;
    // A target keeps one core busy.
    let at_once = std::thread::available_parallelism().map_or(1, usize::from);
    for some in targets.chunks(at_once) {
        std::thread::scope(|scope| {
            let start = |target: &&'static str| {
                let (target, built) = (*target, built.as_path());
                scope.spawn(move || fuzz_one(target, built, seconds))
            };
            let running: Vec<_> = some.iter().map(start).collect();
            let results = running.into_iter().map(|thread| thread.join());
            let results =
                results.map(|result| result.unwrap_or_else(|_| bail!("a thread ended early")));
            // All come to their end before one is given.
            results
                .collect::<Vec<_>>()
                .into_iter()
                .collect::<Result<()>>()
        })?;
    }
    Ok(Outcome::Whole)
}

/// Runs one target.
fn fuzz_one(target: &str, built: &Path, seconds: u32) -> Result<()> {
    let work = built.join("corpus").join(target);
    let found = built.join("artifacts").join(target);
    for folder in [&work, &found] {
        std::fs::create_dir_all(folder)
            .with_context(|| format!("cannot make {}", folder.display()))?;
    }
    say(format_args!("fuzz: {target} for {seconds} s"));
    let program = built.join(toolchain::HOST).join("release").join(target);
    let mut run = process::command(program);
    // What is new goes into the first corpus.
    run.arg(&work)
        .arg(project::root().join("fuzz/corpus").join(target));
    run.arg(format!("-max_total_time={seconds}"))
        .args(["-timeout=60", "-rss_limit_mb=4096", "-verbosity=0"])
        .arg("-print_final_stats=1")
        .arg(format!("-artifact_prefix={}/", found.display()));
    process::run(&mut run).with_context(|| {
        format!(
            "fuzz target {target} found something: the input lies in {}, run it again with: \
             cargo +nightly fuzz run {target} INPUT",
            found.display()
        )
    })
}

/// Builds the targets and gives the folder that they lie in.
fn build(toolchain: &str, targets: &[&str]) -> Result<PathBuf> {
    let folder = project::root().join("fuzz");
    let target_dir = lightwafer::target()?.join("fuzz");
    let has_cargo_fuzz =
        process::probe(process::cargo_of(toolchain).args(["fuzz", "--version"])).is_some();
    if !has_cargo_fuzz {
        say("fuzz: without cargo-fuzz (cargo install cargo-fuzz): building with its flags");
    }
    if has_cargo_fuzz {
        // One target at a time is what it takes.
        for target in targets {
            let mut cargo = process::cargo_of(toolchain);
            cargo.current_dir(&folder).args(["fuzz", "build", target]);
            process::run(cargo.arg("--target-dir").arg(&target_dir))?;
        }
    } else {
        let mut cargo = process::cargo_of(toolchain);
        cargo.current_dir(&folder).env("RUSTFLAGS", FLAGS);
        cargo.args(["build", "--release", "--target", toolchain::HOST]);
        cargo.args(targets.iter().flat_map(|target| ["--bin", target]));
        process::run(cargo.arg("--target-dir").arg(&target_dir))?;
    }
    Ok(target_dir)
}
