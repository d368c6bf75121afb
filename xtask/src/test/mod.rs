//! `cargo xtask test`: every check and test of the project, step by step.
//!
//! Without names all steps run, also after one has failed; with names only those. Each step sets up what it needs
//! and nothing else, so that continuous integration can run them on several machines at once.

mod features;
mod msrv;
mod steps;
mod workflow;

use std::time::Instant;

use anyhow::{Result, bail};

use crate::outcome::Outcome;
use crate::process::say;
use crate::{budget, cross, deny, fuzz, layers, miri, nopanic, sanitize, size};

/// What to test.
#[derive(clap::Args)]
pub struct Args {
    /// Steps to run, in this order; all of them when none is named
    #[arg(value_name = "STEP")]
    steps: Vec<String>,
    /// List the steps and run nothing
    #[arg(long)]
    list: bool,
    /// Leave out the steps that boot an emulated board
    #[arg(long)]
    fast: bool,
    /// Let a step fail that cannot run here, or not all of it, because a tool is missing
    #[arg(long)]
    strict: bool,
}

/// One step.
pub struct Step {
    /// What it is called on the command line.
    pub name: &'static str,
    /// What it does, in one line.
    about: &'static str,
    /// Whether it boots emulated boards.
    emulated: bool,
    run: fn() -> Result<Outcome>,
}

const fn step(name: &'static str, about: &'static str, run: fn() -> Result<Outcome>) -> Step {
    Step {
        name,
        about,
        emulated: false,
        run,
    }
}

const fn emulated(name: &'static str, about: &'static str, run: fn() -> Result<Outcome>) -> Step {
    Step {
        name,
        about,
        emulated: true,
        run,
    }
}

/// All steps, in the order they run: what fails quickly comes first.
pub const STEPS: [Step; 22] = [
    step(
        "format",
        "source files of all workspaces are formatted",
        steps::format,
    ),
    step(
        "layers",
        "imports point down, no circles of files, the picture in ARCHITECTURE.md is true",
        || whole(layers::check()),
    ),
    step(
        "workflow",
        "the jobs of .github/workflows/ci.yml run exactly these steps",
        || whole(workflow::check()),
    ),
    step(
        "licences",
        "dependencies have the licences and sources that deny.toml allows",
        deny::check,
    ),
    step(
        "lint",
        "clippy on all host crates, warnings are errors",
        steps::lint,
    ),
    step(
        "msrv",
        "the stated Rust version is one and the same, and compiles the project",
        msrv::check,
    ),
    step(
        "features",
        "published crates compile with each feature alone and with none",
        features::check,
    ),
    step(
        "package",
        "the runtime's package builds by itself, as crates.io would have it",
        steps::package,
    ),
    step("docs", "documentation builds without warnings", steps::docs),
    step(
        "tests",
        "unit, integration and documentation tests of all host crates",
        steps::tests,
    ),
    step(
        "tract",
        "tests of the tract engine and of the Linux daemon with it",
        steps::tract,
    ),
    step("firmware", "the boards' firmware builds", steps::firmware),
    step(
        "lint-boards",
        "clippy on the boards' firmware",
        steps::lint_boards,
    ),
    emulated(
        "embed",
        "the example firmware gives the right answer on an emulated Cortex-M7 and M33",
        steps::embed,
    ),
    step(
        "no-panic",
        "no panic and no allocation is left in the firmware",
        || whole(nopanic::run(&nopanic::Args {})),
    ),
    emulated(
        "size",
        "images, arenas and stacks are within the project's limits",
        || whole(size::check()),
    ),
    emulated(
        "budget",
        "firmware has not grown against boards/budget.json",
        || whole(budget::check()),
    ),
    emulated(
        "emulated",
        "whole-system tests on emulated boards",
        steps::emulated,
    ),
    step(
        "sanitize",
        "tests of code that parses bytes or is unsafe, under AddressSanitizer",
        sanitize::check,
    ),
    step(
        "miri",
        "small tests of the kernels and decoders under Miri",
        miri::check,
    ),
    step("fuzz", "every fuzz target for 20 seconds", fuzz::check),
    step(
        "cross",
        "the Linux boards' code on emulated AArch64 and Armv7",
        cross::check,
    ),
];

fn whole(result: Result<()>) -> Result<Outcome> {
    result.map(|()| Outcome::Whole)
}

/// Runs the steps, also after one has failed.
///
/// # Errors
/// When there is no such step, or any step fails.
pub fn run(args: &Args) -> Result<()> {
    if args.list {
        let width = STEPS.iter().map(|step| step.name.len()).max().unwrap_or(0);
        for step in &STEPS {
            println!("{:<width$}  {}", step.name, step.about);
        }
        return Ok(());
    }
    let chosen = choose(&args.steps, args.fast)?;
    let started = Instant::now();
    let mut log = Log::default();
    for step in chosen {
        log.run(step, args.strict);
    }
    log.summary(started)
}

/// The steps of these names; all of them for no name.
fn choose(names: &[String], fast: bool) -> Result<Vec<&'static Step>> {
    static ALL: [Step; STEPS.len()] = STEPS;
    let mut chosen = Vec::new();
    for name in names {
        let Some(step) = ALL.iter().find(|step| step.name == name) else {
            let known: Vec<&str> = ALL.iter().map(|step| step.name).collect();
            bail!(
                "there is no step {name}; the steps are {}",
                known.join(", ")
            );
        };
        chosen.push(step);
    }
    if names.is_empty() {
        chosen.extend(ALL.iter().filter(|step| !(fast && step.emulated)));
    }
    Ok(chosen)
}

/// How steps went.
#[derive(Default)]
struct Log {
    lines: Vec<String>,
    passed: usize,
    failed: usize,
    skipped: usize,
}

impl Log {
    fn run(&mut self, step: &Step, strict: bool) {
        say(format_args!("test: {}: {} …", step.name, step.about));
        let started = Instant::now();
        let (verdict, notes) = match (step.run)() {
            Ok(Outcome::Whole) => {
                self.passed += 1;
                ("ok", Vec::new())
            }
            Ok(Outcome::Partly(notes)) if !strict => {
                self.passed += 1;
                ("ok", notes)
            }
            Ok(Outcome::Skipped(why)) if !strict => {
                self.skipped += 1;
                ("skipped", vec![why])
            }
            Ok(Outcome::Partly(notes)) => {
                self.failed += 1;
                ("FAILED", notes)
            }
            Ok(Outcome::Skipped(why)) => {
                self.failed += 1;
                ("FAILED", vec![why])
            }
            Err(error) => {
                say(format_args!("test: {} failed: {error:#}", step.name));
                self.failed += 1;
                ("FAILED", Vec::new())
            }
        };
        let seconds = started.elapsed().as_secs_f64();
        self.lines
            .push(format!("{:<12} {seconds:>7.1} s  {verdict}", step.name));
        self.lines.extend(
            notes
                .into_iter()
                .map(|note| format!("{:26}left out: {note}", "")),
        );
    }

    fn summary(&self, started: Instant) -> Result<()> {
        println!();
        for line in &self.lines {
            println!("{line}");
        }
        println!(
            "{:<12} {:>7.1} s",
            "together",
            started.elapsed().as_secs_f64()
        );
        let skipped = match self.skipped {
            0 => String::new(),
            skipped => format!(", {skipped} skipped"),
        };
        println!("{} passed, {} failed{skipped}", self.passed, self.failed);
        if self.failed > 0 {
            bail!(
                "{} of {} steps failed",
                self.failed,
                self.passed + self.failed + self.skipped
            );
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(steps: &[&Step]) -> Vec<&'static str> {
        steps.iter().map(|step| step.name).collect()
    }

    #[test]
    fn steps_run_in_the_order_they_are_named() {
        let chosen = choose(&["docs".into(), "format".into()], false).unwrap();
        assert_eq!(names(&chosen), ["docs", "format"]);
        assert_eq!(choose(&[], false).unwrap().len(), STEPS.len());
        let fast = names(&choose(&[], true).unwrap());
        assert!(!fast.contains(&"emulated") && fast.contains(&"tests"));
        // A step that is named runs.
        assert_eq!(names(&choose(&["size".into()], true).unwrap()), ["size"]);
    }

    #[test]
    fn an_unknown_step_is_an_error_that_lists_them() {
        let error = choose(&["doc".into()], false).err().unwrap().to_string();
        assert!(
            error.starts_with("there is no step doc; the steps are format, layers,"),
            "{error}"
        );
    }

    #[test]
    fn what_is_left_out_is_told_and_fails_where_nothing_may_be() {
        let partly = step("a", "", || Ok(Outcome::Partly(vec!["b: no c".into()])));
        let skipped = step("d", "", || Ok(Outcome::Skipped("no e".into())));
        let mut log = Log::default();
        log.run(&partly, false);
        log.run(&skipped, false);
        assert_eq!((log.passed, log.failed, log.skipped), (1, 0, 1));
        assert!(
            log.lines[1].contains("left out: b: no c"),
            "{:?}",
            log.lines
        );
        assert!(log.summary(Instant::now()).is_ok());
        log.run(&partly, true);
        log.run(&skipped, true);
        assert_eq!((log.passed, log.failed, log.skipped), (1, 2, 1));
        assert!(log.summary(Instant::now()).is_err());
    }
}
