//! `cargo xtask bench --host`: one wafer on this machine beside onnxruntime and tract, one thread, in one run.
//!
//! The same network everywhere: the published image in the fixed-point engine, its ONNX forms in
//! onnxruntime, the float one in tract (`xtask/peers`, whose first build takes minutes). Turn by turn, so that what else
//! the machine does hits all; of each the median of the rounds' medians. A ratio is the peer's time over the engine's.

use std::process::Command;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::figures::{median, rounded};
use crate::process::{self, say};
use crate::{project, setup};

/// Turns that each side takes.
const ROUNDS: usize = 5;

/// What each side prints, milliseconds.
#[derive(Deserialize)]
struct Speed {
    median: f64,
    least: f64,
}

#[derive(Serialize)]
struct Report {
    rounds: usize,
    rows: Vec<Row>,
}

#[derive(Serialize)]
struct Row {
    runtime: &'static str,
    median_ms: f64,
    least_ms: f64,
    /// The median over the engine's.
    ratio: f64,
}

/// Builds, measures, prints.
///
/// # Errors
/// When a step of the set-up or a measurement fails.
pub fn run(json: bool) -> Result<()> {
    setup::torch::setup(true, true)?;
    let python = setup::pytorch::python()?.context("onnxruntime was not set up")?;
    let models = project::root().join("models");
    let build = [
        "--release",
        "--package",
        "lightwafer-runtime",
        "--example",
        "speed",
    ];
    process::run(process::cargo().arg("build").args(build))?;
    say("host: building tract");
    let peers = project::root().join("xtask/peers");
    let mut tract = process::cargo();
    tract.current_dir(&peers).args(["build", "--release"]);
    tract.env("CARGO_TARGET_DIR", peers.join("target"));
    process::run(&mut tract)?;
    let tract = peers.join("target/release/peers");
    let peers = ["light.onnx", "light-int8.onnx"];
    let mut times: [Vec<Speed>; 4] = Default::default();
    for round in 1..=ROUNDS {
        say(format_args!("host: round {round} of {ROUNDS}"));
        let [engine, in_tract, rest @ ..] = &mut times;
        let mut speed = process::cargo();
        speed.args(["run", "--quiet"]).args(build).arg("--");
        engine.push(measure(speed.arg(models.join("light-int8.lw")))?);
        let mut speed = process::command(&tract);
        in_tract.push(measure(speed.arg(models.join(peers[0])))?);
        for (peer, times) in peers.iter().zip(rest) {
            let mut script = process::command(&python);
            script.arg(project::root().join("xtask/src/bench/onnxruntime_speed.py"));
            script.env("PYTHONDONTWRITEBYTECODE", "1");
            times.push(measure(script.arg(models.join(peer)))?);
        }
    }
    let names = [
        "LightWafer int8",
        "tract float",
        "onnxruntime float",
        "onnxruntime int8",
    ];
    let own = middle(&times[0]);
    let rows = names.into_iter().zip(&times).map(|(runtime, times)| Row {
        runtime,
        median_ms: rounded(middle(times)),
        least_ms: rounded(times.iter().map(|t| t.least).fold(f64::MAX, f64::min)),
        ratio: rounded(middle(times) / own),
    });
    let report = Report {
        rounds: ROUNDS,
        rows: rows.collect(),
    };
    print(&report, json)
}

fn print(report: &Report, json: bool) -> Result<()> {
    if json {
        println!("{}", serde_json::to_string(report)?);
        return Ok(());
    }
    println!(
        "{:<18} {:>10} {:>10} {:>7}",
        "runtime", "median ms", "least ms", "ratio"
    );
    for row in &report.rows {
        println!(
            "{:<18} {:>10.2} {:>10.2} {:>7.2}",
            row.runtime, row.median_ms, row.least_ms, row.ratio
        );
    }
    Ok(())
}

fn measure(command: &mut Command) -> Result<Speed> {
    let text = process::read(command)?;
    serde_json::from_str(&text).context("no speed was printed")
}

/// The median of the rounds' medians.
fn middle(times: &[Speed]) -> f64 {
    median(times.iter().map(|time| time.median).collect())
}
