//! Milliseconds of one inference in tract, one thread: median and least of some rounds, as JSON.

use std::time::Instant;

use anyhow::{Context, Result};
use tract_onnx::prelude::*;

/// Inferences that are timed, after a tenth as many that are not.
const ROUNDS: usize = 50;

fn main() -> Result<()> {
    let path = std::env::args().nth(1).context("usage: peers MODEL.onnx")?;
    let shape = [1usize, 3, 224, 224];
    let plan = tract_onnx::onnx()
        .model_for_path(&path)?
        .with_input_fact(0, f32::fact(shape).into())?
        .into_optimized()?
        .into_runnable()?;
    let mut state = 1u32;
    let values = (0..shape.iter().product()).map(|_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 31) as f32
    });
    let image = Tensor::from_shape(&shape, &values.collect::<Vec<_>>())?;
    let mut times = Vec::new();
    for round in 0..ROUNDS + ROUNDS / 10 {
        let start = Instant::now();
        plan.run(tvec!(image.clone().into()))?;
        if round >= ROUNDS / 10 {
            times.push(start.elapsed().as_secs_f64() * 1e3);
        }
    }
    times.sort_by(f64::total_cmp);
    println!(
        r#"{{"median": {:.3}, "least": {:.3}}}"#,
        times[ROUNDS / 2],
        times[0]
    );
    Ok(())
}
