//! `lightwafer synth`

use anyhow::Result;
use lightwafer_equipment::Class;
use lightwafer_runtime::npz::{WaferSet, write_wafers};
use lightwafer_runtime::synth::synthesize;

use crate::args::Synth;

/// Writes the maps, class after class.
pub fn run(args: &Synth) -> Result<bool> {
    let (rows, cols) = args.grid;
    let (mut dies, mut labels) = (Vec::new(), Vec::new());
    for class in Class::all() {
        for number in 0..u64::from(args.per_class) {
            // Neighbouring seeds share no maps.
            let seed = args.seed.wrapping_mul(1 << 20).wrapping_add(number);
            dies.extend(synthesize(class, seed, rows, cols));
            labels.push(class.index());
        }
    }
    let count = labels.len();
    write_wafers(
        &args.out,
        &WaferSet {
            rows,
            cols,
            dies,
            labels: Some(labels),
        },
    )?;
    eprintln!(
        "{}: {count} maps of {rows}×{cols} dies, 38 classes",
        args.out.display()
    );
    Ok(true)
}
