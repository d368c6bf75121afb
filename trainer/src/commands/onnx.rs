//! `trainer onnx`: a student for everything that runs ONNX.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail, ensure};
use clap::Args;
use lightwafer_compiler::layer_specs;
use lightwafer_runtime::AlignedBox;
use lightwafer_runtime::dies::Class;
use lightwafer_runtime::image::{MAGIC, Model};
use tch::Device;
use trainer::architecture::{Architecture, STUDENT};
use trainer::batch::Source;
use trainer::checkpoint::{Checkpoint, tensors};
use trainer::export::Exported;
use trainer::export::fold::FoldedStudent;
use trainer::files::{sha256, write_atomically};
use trainer::network::Network;
use trainer::onnx::file::{About, Interface, encode};
use trainer::onnx::{float, qdq};
use trainer::student::Student;

use super::export_report;
use super::machine::Threads;
use super::quantized::{CALIBRATION, load_data, quantized};

/// Write a student as ONNX, in 32-bit floats or as the integers that boards compute with.
///
/// From a checkpoint of a student in floats comes a model in 32-bit floats. From a model image (.lw) come its
/// integers between QuantizeLinear and DequantizeLinear (QDQ): what boards compute, for runtimes that support QDQ.
/// With --int8 a checkpoint is quantized first, as `trainer export` does it, and its integers are written.
#[derive(Args)]
#[command(after_help = "Examples:
  trainer onnx --checkpoint student.safetensors -o light.onnx
  trainer onnx --checkpoint light-int8.lw -o light-int8.onnx
  trainer onnx --checkpoint student.safetensors --int8 --data MixedWM38.npz -o light-int8.onnx

An image keeps no scales, so the mask and the embedding of the second form have arbitrary units. The third form has \
the checkpoint's units. Classes, logits and the sign of the mask are the same in both.")]
pub struct OnnxArgs {
    /// A checkpoint (.safetensors) or a model image (.lw).
    #[arg(long, value_name = "FILE")]
    checkpoint: PathBuf,
    /// Quantize the checkpoint first; needs --data.
    #[arg(long, requires = "data")]
    int8: bool,
    /// With --int8: labelled wafer maps in MixedWM38's layout (.npz); ranges are chosen on its training part.
    #[arg(long, value_name = "FILE", requires = "int8")]
    data: Option<PathBuf>,
    /// The ONNX file to write.
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    /// The model's name; an image has one already.
    #[arg(long, default_value = "lightwafer-light")]
    name: String,
    /// With --int8: training wafers to choose ranges on.
    #[arg(long, value_name = "N", default_value_t = CALIBRATION)]
    calibration: usize,
    #[command(flatten)]
    threads: Threads,
}

pub fn run(args: OnnxArgs) -> Result<()> {
    args.threads.set();
    let from = &args.checkpoint;
    let source = fs::read(from).with_context(|| format!("cannot read {}", from.display()))?;
    let source = AlignedBox::from(source);
    let is_image = source.starts_with(&MAGIC);
    ensure!(
        !(is_image && args.int8),
        "{} is a model image, which is in int8 already: leave out --int8 and --data",
        from.display()
    );
    if is_image {
        let written = write_image(&source, None, &args.output);
        return written.with_context(|| format!("{} as ONNX", from.display()));
    }
    let Some(data) = &args.data else {
        return write_float(from, &source, &args.output, &args.name);
    };
    let data = load_data(from, data)?;
    let wafers = Source::new(&data, Device::Cpu);
    let (student, exported) = quantized(from, &data, &wafers, &args.name, args.calibration)?;
    print!("{}", export_report::table(&exported));
    let network = student.architecture();
    write_image(&exported.image, Some((&network, &exported)), &args.output)
}

/// The labels of the classes.
fn labels() -> Vec<String> {
    Class::all().map(|class| class.label().into()).collect()
}

fn write_float(from: &Path, source: &[u8], output: &Path, name: &str) -> Result<()> {
    let file = Checkpoint::read(from)?;
    let architecture = Architecture::of_checkpoint(&file.info.architecture)
        .map_err(|error| anyhow!(error))
        .with_context(|| format!("{} cannot be written as ONNX", from.display()))?;
    let Architecture::Student(topology) = &architecture else {
        bail!(
            "{}: {architecture} is no student in floats; one of `trainer quantize` needs --int8 --data",
            from.display()
        );
    };
    let student = Student::new(topology, Device::Cpu);
    file.load(student.vars(), &architecture)?;
    let tensors = tensors(student.vars()).into_iter().collect();
    let folded = FoldedStudent::fold(topology, &tensors)?;
    let about = About {
        name: name.into(),
        description: format!("{architecture}, a student of wafer maps in 32-bit floats."),
        parameters: u32::try_from(student.parameters())?,
        classes: labels(),
        source_sha256: sha256(source),
    };
    let bytes = encode(float::graph(&folded)?, Interface::of(topology), &about)?;
    write_atomically(output, &bytes)?;
    println!("{}: {} bytes, f32", output.display(), bytes.len());
    Ok(())
}

/// Writes a model image's integers to `output`; in the checkpoint's units where it is known which network was
/// `quantized`, and how.
fn write_image(
    image: &[u8],
    quantized: Option<(&Architecture, &Exported)>,
    output: &Path,
) -> Result<()> {
    let model = Model::new_checked(image)?;
    let header = model.header();
    let layers = match quantized {
        Some((_, exported)) => exported.layers.clone(),
        None => layer_specs(&model),
    };
    let graph = qdq::graph(&layers, quantized.map(|(_, exported)| &exported.scales[..]))?;
    let network = match quantized {
        Some((Architecture::Qat(topology), _)) => {
            Architecture::Student(topology.clone()).to_string()
        }
        Some((architecture, _)) => architecture.to_string(),
        None => STUDENT.into(),
    };
    let units = match quantized {
        Some(_) => " Embedding channels are scaled: compare those of one model.",
        None => " The units of mask and embedding are arbitrary: an image keeps no scales.",
    };
    let about = About {
        name: header.name.into(),
        description: format!(
            "{network}, a student of wafer maps in int8: the integers of the model image exported {}.{units}",
            header.created
        ),
        parameters: header.parameters,
        classes: labels(),
        source_sha256: sha256(image),
    };
    let bytes = encode(graph, qdq::interface(&layers)?, &about)?;
    write_atomically(output, &bytes)?;
    println!(
        "{}: {} bytes, int8, of the image with SHA-256 {}",
        output.display(),
        bytes.len(),
        about.source_sha256
    );
    Ok(())
}
