//! Synthetic wafers and the published student, for the trainer's tests.

use std::sync::{Mutex, MutexGuard, PoisonError};

use lightwafer_maps::npz::WaferSet;
use lightwafer_maps::synth::synthesize;
use lightwafer_runtime::dies::Class;
use trainer::architecture::Architecture;
use trainer::data::{Data, Protocol};
use trainer::topology::Topology;

/// Keeps other tests of the program from running: libtorch has one random generator a process. A run seeds it, and
/// draws of another test in between would change the run's bits.
#[allow(dead_code)] // Some programs have but one such test.
pub fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// `each` synthetic wafers of each of `classes`.
pub fn data(classes: &[u8], each: u64) -> Data {
    let (mut dies, mut labels) = (Vec::new(), Vec::new());
    for seed in 0..each {
        for &class in classes {
            dies.extend(synthesize(Class::new(class).unwrap(), seed, 52, 52));
            labels.push(class);
        }
    }
    let wafers = WaferSet {
        rows: 52,
        cols: 52,
        dies,
        labels: None,
    };
    Data::split(wafers, labels, Protocol::Distinct)
}

/// The published student.
#[allow(dead_code)] // Not every program needs it.
pub fn student() -> Architecture {
    Architecture::Student(Topology::default())
}
