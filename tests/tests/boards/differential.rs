//! The kernels of each core and the reference kernels give the same bytes, and each row is computed by the kernel that
//! the runtime's `path` names: what `lightwafer info` shows of a model is what boards do.

use std::time::Duration;

use super::{boards, first_words, power_on, probe, skipped};

/// It computes some thousands of rows.
const PATIENCE: Duration = Duration::from_secs(300);

#[test]
fn kernels_give_what_the_reference_kernels_give_and_are_those_that_were_named() {
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
            let agrees = format!("{kernel} 3000 cases 0 differ ");
            assert!(report.contains(&agrees), "{machine}: {report}");
            // Not all of them by the others.
            assert!(
                !report.contains(&(agrees + "0 fast")),
                "{machine}: {report}"
            );
        }
    }
}
