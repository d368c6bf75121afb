//! `cargo xtask bench --training`: steps a second of the trainer beside eager PyTorch, in one run.
//!
//! Both train the same network on the same machine with the same batch, number format and threads, turn
//! by turn, so that what else the machine does hits both. The ratio is that of the medians; the spread of
//! the rounds is beside it. On CUDA the same where `LIGHTWAFER_PYTHON` names a Python whose torch has it.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::figures::{median, rounded};
use crate::process::{self, say};
use crate::{project, setup};

/// Turns that each side takes.
const ROUNDS: usize = 3;

/// What is timed.
struct Load {
    device: &'static str,
    /// The teacher's encoder; the student if none.
    encoder: Option<&'static str>,
    size: u32,
    batch: u32,
    precision: &'static str,
    steps: u32,
}

const LOADS: [Load; 6] = [
    load("cpu", None, 64, 64, "f32", 6),
    load("cpu", None, 224, 8, "f32", 4),
    load("cpu", Some("resnet18"), 64, 16, "f32", 4),
    load("cuda", None, 224, 64, "bf16", 100),
    load("cuda", Some("resnet101"), 224, 64, "f32", 30),
    load("cuda", Some("resnet101"), 224, 64, "bf16", 30),
];

const fn load(
    device: &'static str,
    encoder: Option<&'static str>,
    size: u32,
    batch: u32,
    precision: &'static str,
    steps: u32,
) -> Load {
    Load {
        device,
        encoder,
        size,
        batch,
        precision,
        steps,
    }
}

/// What each side prints, as far as it is compared.
#[derive(Deserialize)]
struct Speed {
    images_per_second: f64,
}

#[derive(Serialize)]
struct Report {
    threads: usize,
    rounds: usize,
    loads: Vec<Row>,
}

/// Images a second; ratios are ours over PyTorch's.
#[derive(Serialize)]
struct Row {
    device: &'static str,
    network: String,
    size: u32,
    batch: u32,
    precision: &'static str,
    trainer: f64,
    pytorch: f64,
    ratio: f64,
    /// The lowest and the highest ratio of a round.
    rounds: [f64; 2],
}

/// Builds the trainer, measures, prints.
///
/// # Errors
/// When a step of the set-up or a measurement fails.
pub fn run(threads: Option<usize>, json: bool) -> Result<()> {
    setup::torch::setup(true, true)?;
    let python = setup::pytorch::python()?.context("PyTorch was not set up")?;
    let threads = match threads {
        Some(threads) => threads.max(1),
        None => std::thread::available_parallelism()?.get(),
    };
    say("training: building the trainer");
    process::run(process::cargo().args(["build", "--release"]).args(PACKAGE))?;
    let cuda = cuda_libraries(&python);
    let mut loads = Vec::new();
    for load in &LOADS {
        if load.device == "cpu" || cuda.is_some() {
            loads.push(compare(load, threads, &python, cuda.as_deref())?);
        }
    }
    let report = Report {
        threads,
        rounds: ROUNDS,
        loads,
    };
    print(&report, json)
}

const PACKAGE: [&str; 2] = ["--package", "trainer"];

/// Measures one load on both sides, turn by turn.
fn compare(load: &Load, threads: usize, python: &Path, cuda: Option<&str>) -> Result<Row> {
    let (mut ours, mut theirs, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for round in 1..=ROUNDS {
        say(format_args!(
            "training: {} {}, round {round} of {ROUNDS}",
            load.device,
            load.network()
        ));
        let mut trainer = process::cargo();
        trainer.args(["run", "--quiet", "--release"]).args(PACKAGE);
        trainer.args(["--", "bench"]);
        if let Some(libraries) = cuda.filter(|_| load.device == "cuda") {
            trainer.env("LD_LIBRARY_PATH", libraries);
        }
        let mut script = process::command(python);
        script.arg(project::root().join("trainer/tests/pytorch/bench.py"));
        script.env("PYTHONDONTWRITEBYTECODE", "1");
        if load.device == "cpu" {
            script.env("CUDA_VISIBLE_DEVICES", "");
        }
        let (a, b) = (
            measure(&mut trainer, load, threads)?,
            measure(&mut script, load, threads)?,
        );
        ours.push(a);
        theirs.push(b);
        ratios.push(a / b);
    }
    let least = ratios.iter().copied().fold(f64::MAX, f64::min);
    let most = ratios.iter().copied().fold(f64::MIN, f64::max);
    let (trainer, pytorch) = (median(ours), median(theirs));
    Ok(Row {
        device: load.device,
        network: load.network(),
        size: load.size,
        batch: load.batch,
        precision: load.precision,
        trainer: rounded(trainer),
        pytorch: rounded(pytorch),
        ratio: rounded(trainer / pytorch),
        rounds: [rounded(least), rounded(most)],
    })
}

impl Load {
    fn network(&self) -> String {
        let teacher = |encoder| format!("teacher {encoder}");
        self.encoder.map_or("student".into(), teacher)
    }
}

fn measure(command: &mut Command, load: &Load, threads: usize) -> Result<f64> {
    command.args(["--device", load.device, "--precision", load.precision]);
    for (flag, value) in [
        ("--size", load.size),
        ("--batch", load.batch),
        ("--steps", load.steps),
        ("--warm-up", 2),
        ("--threads", u32::try_from(threads)?),
    ] {
        command.arg(flag).arg(value.to_string());
    }
    if let Some(encoder) = load.encoder {
        command.args(["--encoder", encoder]);
    }
    let text = process::read(command)?;
    let speed: Speed = serde_json::from_str(&text).context("no speed was printed")?;
    Ok(speed.images_per_second)
}

/// Where the user's own PyTorch has its CUDA libraries, if it computes there. The set-up's has none.
fn cuda_libraries(python: &Path) -> Option<String> {
    std::env::var_os(setup::pytorch::PYTHON)?;
    let script = "import os, torch\nassert torch.cuda.is_available()\n\
                  print(os.path.join(os.path.dirname(torch.__file__), 'lib'))";
    process::probe(process::command(python).args(["-c", script]))
}

fn print(report: &Report, json: bool) -> Result<()> {
    if json {
        println!("{}", serde_json::to_string(report)?);
        return Ok(());
    }
    println!(
        "{:<6} {:<18} {:>4} {:>5} {:>5} {:>14} {:>14} {:>6}  rounds",
        "device", "network", "size", "batch", "", "trainer img/s", "PyTorch img/s", "ratio"
    );
    for row in &report.loads {
        println!(
            "{:<6} {:<18} {:>4} {:>5} {:>5} {:>14.1} {:>14.1} {:>6.2}  {:.2}…{:.2}",
            row.device,
            row.network,
            row.size,
            row.batch,
            row.precision,
            row.trainer,
            row.pytorch,
            row.ratio,
            row.rounds[0],
            row.rounds[1]
        );
    }
    println!(
        "{} threads, medians of {} rounds",
        report.threads, report.rounds
    );
    Ok(())
}
