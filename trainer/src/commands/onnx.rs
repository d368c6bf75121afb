//! `trainer export --onnx`.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use lightwafer_compiler::layer_specs;
use lightwafer_runtime::AlignedBox;
use lightwafer_runtime::image::{MAGIC, Model};
use tch::Device;
use trainer::checkpoint::{Checkpoint, tensors, write_atomically};
use trainer::export::Exported;
use trainer::export::fold::FoldedStudent;
use trainer::network::Network;
use trainer::onnx::{About, encode, float, qdq};
use trainer::student::{ARCHITECTURE, Student};

/// Writes `from` to `output` as ONNX: a checkpoint in floats, a model image as `int8`.
pub fn write(from: &Path, int8: bool, output: &Path, name: &str) -> Result<()> {
    let source = fs::read(from).with_context(|| format!("cannot read {}", from.display()))?;
    match (source.starts_with(&MAGIC), int8) {
        (false, false) => write_float(from, source, output, name),
        (true, true) => {
            let image = write_image(&AlignedBox::from(source), None, output);
            image.with_context(|| format!("{} as ONNX", from.display()))
        }
        (true, false) => bail!(
            "{} is an int8 model image: add --int8, or give the checkpoint that it came from",
            from.display()
        ),
        (false, true) => bail!(
            "{} is no model image: give one (.lw), or --data to quantize the checkpoint on",
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

/// Writes a model image's integers to `output`; in the checkpoint's units where it is known how it was
/// `quantized`.
pub fn write_image(image: &[u8], quantized: Option<&Exported>, output: &Path) -> Result<()> {
    let model = Model::new_checked(image)?;
    let header = model.header();
    let layers = layer_specs(&model);
    let graph = match quantized {
        Some(exported) => qdq::graph(&exported.layers, Some(&exported.scales)),
        None => qdq::graph(&layers, None),
    }?;
    let units = match quantized {
        Some(_) => " Embedding channels are scaled: compare those of one model.",
        None => " The units of mask and embedding are arbitrary: an image keeps no scales.",
    };
    let about = About {
        name: header.name.into(),
        description: format!(
            "{ARCHITECTURE}, a student of wafer maps in int8: the integers of the model image exported \
             {}.{units}",
            header.created
        ),
        parameters: header.parameters,
        source: image.to_vec(),
    };
    let bytes = encode(graph, &about)?;
    write_atomically(output, &bytes)?;
    println!(
        "{}: {} bytes, int8, of the image with SHA-256 {}",
        output.display(),
        bytes.len(),
        about.sha256()
    );
    Ok(())
}
