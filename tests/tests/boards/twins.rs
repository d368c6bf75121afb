//! The kernels' code for each core and its portable twins give the same bytes.

use std::time::Duration;

use super::{boards, first_words, power_on, probe, skipped};

/// It computes some thousands of rows.
const PATIENCE: Duration = Duration::from_secs(300);

#[test]
fn code_for_the_core_gives_what_its_portable_twins_give() {
    if skipped() {
        return;
    }
    for machine in boards() {
        let (_emulator, mut line) = power_on(&probe(machine));
        first_words(&mut line, PATIENCE);
        line.send(b"t");
        let report = first_words(&mut line, PATIENCE);
        eprintln!("{machine}: {report}");
        for kernel in ["dense", "depthwise", "image", "words"] {
            let agrees = format!("{kernel} 3000 cases 0 differ");
            assert!(report.contains(&agrees), "{machine}: {report}");
        }
    }
}
