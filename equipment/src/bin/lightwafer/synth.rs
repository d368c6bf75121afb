//! `lightwafer synth`

use anyhow::Result;
use lightwafer_maps::npz::write_wafers;
use lightwafer_maps::synth::every_class;

use crate::args::Synth;

/// Writes the maps, class after class.
pub fn run(args: &Synth) -> Result<bool> {
    let (rows, cols) = args.grid;
    let set = every_class(args.per_class, args.seed, rows, cols);
    write_wafers(&args.out, &set)?;
    eprintln!(
        "{}: {} maps of {rows}×{cols} dies, 38 classes",
        args.out.display(),
        set.len()
    );
    Ok(true)
}
