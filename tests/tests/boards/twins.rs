//! The kernels' DSP code and its portable twins give the same bytes, on both cores.
//!
//! The firmware is `boards/mps2-an386/examples/twins.rs`, which this builds; a Cortex-M7 runs it too.

use std::time::Duration;

use super::{build_example, first_words, options, power_on, skipped};

/// It computes some thousands of rows.
const PATIENCE: Duration = Duration::from_secs(300);

#[test]
fn dsp_code_gives_what_its_portable_twins_give() {
    if skipped() {
        return;
    }
    build_example("mps2-an386", "twins");
    for machine in ["mps2-an386", "mps2-an500"] {
        let (_emulator, mut line) = power_on(&options(machine, "examples/twins"));
        let report = first_words(&mut line, PATIENCE);
        eprintln!("{machine}: {report}");
        for kernel in ["dense", "depthwise", "image", "words"] {
            let agrees = format!("{kernel} 3000 cases 0 differ");
            assert!(report.contains(&agrees), "{machine}: {report}");
        }
    }
}
