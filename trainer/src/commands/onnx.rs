//! `trainer export --onnx`.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use lightwafer_runtime::model::MAGIC;
use tch::Device;
use trainer::checkpoint::{Checkpoint, tensors, write_atomically};
use trainer::export::fold::FoldedStudent;
use trainer::network::Network;
use trainer::onnx::{About, encode, float};
use trainer::student::{ARCHITECTURE, Student};

/// Writes `from` to `output` as ONNX: a checkpoint in floats, a model image as `int8`.
pub fn write(from: &Path, int8: bool, output: &Path, name: &str) -> Result<()> {
    let source = fs::read(from).with_context(|| format!("cannot read {}", from.display()))?;
    match (source.starts_with(&MAGIC), int8) {
        (false, false) => write_float(from, source, output, name),
        (true, true) => bail!("model images cannot be written as ONNX yet"),
        (true, false) => bail!(
            "{} is an int8 model image: add --int8, or give the checkpoint that it came from",
            from.display()
        ),
        (false, true) => bail!(
            "{} is no model image: the int8 ONNX model has the integers of an image; make one with \
             `trainer export --int8 --checkpoint {} --data FILE.npz -o FILE.lw` and give that",
            from.display(),
            from.display()
        ),
    }
}

fn write_float(from: &Path, source: Vec<u8>, output: &Path, name: &str) -> Result<()> {
    let student = Student::new(Device::Cpu);
    Checkpoint::read(from)?.load(student.vars(), ARCHITECTURE)?;
    let folded = FoldedStudent::new(&tensors(student.vars()).into_iter().collect())?;
    let about = About {
        name: name.into(),
        description: format!("{ARCHITECTURE}, a student of wafer maps in 32-bit floats."),
        parameters: u32::try_from(student.parameters())?,
        source,
    };
    let bytes = encode(float::graph(&folded)?, &about)?;
    write_atomically(output, &bytes)?;
    println!("{}: {} bytes, f32", output.display(), bytes.len());
    Ok(())
}
