//! Milliseconds of one inference on this machine, one thread: `cargo run --release --example speed MODEL.lw`.
//!
//! Prints the median and the least of some rounds over the image's golden wafer as JSON, after a check that
//! its answer is the expected one. `cargo xtask bench --host` puts it beside other runtimes.

use std::error::Error;
use std::hint::black_box;
use std::time::Instant;

use lightwafer_runtime::dies::Mask;
use lightwafer_runtime::image::Model;
use lightwafer_runtime::{AlignedBox, FixedEngine};

/// Inferences that are timed, after a tenth as many that are not.
const ROUNDS: usize = 200;

fn main() -> Result<(), Box<dyn Error>> {
    let path = std::env::args().nth(1).ok_or("usage: speed MODEL.lw")?;
    let image = std::fs::read(&path).map_err(|error| format!("{path}: {error}"))?;
    let image = AlignedBox::from(image);
    let model = Model::new_checked(&image).map_err(|error| format!("{path}: {error}"))?;
    let map = model.golden_map().ok_or("the image has no golden wafer")?;
    let mut arena = AlignedBox::zeroed(model.header().arena_bytes as usize);
    let mut engine = FixedEngine::new(model.clone(), &mut arena)?;
    let mut mask = Mask::new();
    engine.self_test(&mut mask)?;
    let mut times = Vec::new();
    for round in 0..ROUNDS + ROUNDS / 10 {
        let start = Instant::now();
        black_box(engine.infer(black_box(&map), &mut mask));
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
