//! `trainer export`.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, ensure};
use clap::Args;
use lightwafer_device::store::sign::SecretKey;
use lightwafer_maps::synth::synthesize;
use lightwafer_runtime::AlignedBox;
use lightwafer_runtime::FixedEngine;
use lightwafer_runtime::LOGIT_UNIT;
use lightwafer_runtime::dies::{Class, IMAGE_SIZE, Mask};
use lightwafer_runtime::image::Model;
use tch::{Device, Tensor};
use trainer::batch::{Source, random_symmetries};
use trainer::checkpoint::{Checkpoint, tensors, write_atomically};
use trainer::data::{Data, Protocol, Random, SPLIT_SEED};
use trainer::export::fake::{self, FakeStudent};
use trainer::export::{Exported, Prepared};
use trainer::int8::Grid;
use trainer::metrics::best;
use trainer::network::Network;
use trainer::student::{ARCHITECTURE, Student};

use super::ranges::{self, Agreement, Written};
use super::{onnx, schedule};

/// Wafers in one calibration pass.
const BATCH: usize = 16;

#[derive(Args)]
pub struct ExportArgs {
    /// Export the int8 model image that boards run.
    #[arg(long, required_unless_present = "onnx")]
    int8: bool,
    /// Export ONNX: a checkpoint in 32-bit floats, or with --int8 the model image's integers between
    /// QuantizeLinear and DequantizeLinear, of an image (.lw) or of what a checkpoint becomes with --data.
    #[arg(long)]
    onnx: bool,
    /// A checkpoint (.safetensors) of a student in floats, or of `trainer quantize`, whose learned ranges are
    /// taken as they are; also a model image (.lw), to write as ONNX or by another schedule.
    #[arg(long, value_name = "FILE")]
    checkpoint: PathBuf,
    /// Labelled wafer maps in MixedWM38's layout (.npz): ranges are chosen on its training part. Needed to
    /// quantize a checkpoint.
    #[arg(long, value_name = "FILE")]
    data: Option<PathBuf>,
    /// Arena that the board has for inference, as 192K or 165000: the image computes early layers twice
    /// where they do not fit, by the cheapest schedule that does. The answers stay the same, bit for bit.
    #[arg(long, value_name = "BYTES", value_parser = schedule::bytes, conflicts_with = "onnx")]
    ram_budget: Option<usize>,
    /// The model image (.lw) or ONNX file to write.
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    /// Sign the model image with a secret key of `lightwafer keygen`, so that boards take it over the line.
    #[arg(
        long,
        value_name = "KEY",
        requires = "model_version",
        conflicts_with = "onnx"
    )]
    sign: Option<PathBuf>,
    /// With --sign: the model's version, higher than that of every model before.
    #[arg(long, value_name = "N", requires = "sign", value_parser = clap::value_parser!(u32).range(1..))]
    model_version: Option<u32>,
    /// With --sign: once a board runs this model, it never goes back to one of a version below N.
    #[arg(long, value_name = "N", requires = "sign")]
    floor: Option<u32>,
    /// The model's name, as boards report it.
    #[arg(long, default_value = "lightwafer-light")]
    name: String,
    /// Training wafers to choose ranges on.
    #[arg(long, default_value_t = CALIBRATION)]
    calibration: usize,
    /// Validation wafers to compare the image with the checkpoint on.
    #[arg(long, default_value_t = COMPARE)]
    compare: usize,
    /// Print the report as JSON: every tensor's range and how it was chosen, equalization, agreement.
    #[arg(long, conflicts_with_all = ["onnx", "ram_budget"])]
    json: bool,
    /// Threads; all if not given.
    #[arg(long)]
    threads: Option<i32>,
}

/// Training wafers that ranges are chosen on, where nothing else is said.
pub const CALIBRATION: usize = 384;
/// Validation wafers that image and checkpoint are compared on, where nothing else is said.
pub const COMPARE: usize = 128;

pub fn run(args: ExportArgs) -> Result<()> {
    let signing = match (&args.sign, args.model_version) {
        (Some(key), Some(version)) => {
            // Read first: a key that cannot be used is known before minutes of work.
            let name = || key.display().to_string();
            let text = std::fs::read_to_string(key).with_context(name)?;
            let key = SecretKey::parse(&text).with_context(name)?;
            Some((key, version, args.floor.unwrap_or(0)))
        }
        _ => None,
    };
    let output = args.output.clone();
    export(args)?;
    match signing {
        Some((key, version, floor)) => sign(&output, &key, version, floor),
        None => Ok(()),
    }
}

/// Puts a signature block behind the image in a file.
fn sign(path: &Path, key: &SecretKey, version: u32, floor: u32) -> Result<()> {
    let name = || path.display().to_string();
    let image = std::fs::read(path).with_context(name)?;
    let block = key.sign(&image, version, floor).with_context(name)?;
    write_atomically(path, &[&image[..], block.bytes()].concat())?;
    eprintln!(
        "{}: version {version}, signed with key {}",
        name(),
        block.key()
    );
    Ok(())
}

fn export(args: ExportArgs) -> Result<()> {
    if let Some(threads) = args.threads {
        tch::set_num_threads(threads.max(1));
    }
    let quantize = args.int8 && args.data.is_some();
    if args.onnx && !quantize {
        return onnx::write(&args.checkpoint, args.int8, &args.output, &args.name);
    }
    if schedule::is_image(&args.checkpoint) && args.data.is_none() {
        return schedule::rewrite(&args.checkpoint, args.ram_budget, &args.output);
    }
    let path = args.data.as_deref().with_context(|| {
        let name = args.checkpoint.display();
        format!("{name}: to quantize a checkpoint, --data is needed: wafers to choose ranges on")
    })?;
    let info = Checkpoint::read(&args.checkpoint)?.info;
    let data = Data::load(path, info.split.unwrap_or(Protocol::Distinct))?;
    eprintln!("{}", data.describe());
    if args.onnx {
        let source = Source::new(&data, Device::Cpu);
        let calibration = args.calibration;
        let (_, exported) = quantized(&args.checkpoint, &data, &source, &args.name, calibration)?;
        print!("{}", ranges::table(&exported));
        return onnx::write_image(&exported.image, Some(&exported), &args.output);
    }
    let written = write_image(
        &args.checkpoint,
        &data,
        &args.output,
        &args.name,
        args.calibration,
        args.compare,
    )?;
    if args.json {
        println!("{}", serde_json::to_string_pretty(&written.json()?)?);
    } else {
        print!("{}", written.text());
    }
    match args.ram_budget {
        Some(_) => schedule::rewrite(&args.output, args.ram_budget, &args.output),
        None => Ok(()),
    }
}

/// Writes the int8 image of `checkpoint` to `output`, and gives how they compare.
pub fn write_image(
    checkpoint: &Path,
    data: &Data,
    output: &Path,
    name: &str,
    calibration: usize,
    compared: usize,
) -> Result<Written> {
    let source = Source::new(data, Device::Cpu);
    let (student, exported) = quantized(checkpoint, data, &source, name, calibration)?;
    write_atomically(output, &exported.image)?;
    let wafers: Vec<u32> = data.val.iter().copied().take(compared).collect();
    let agreement = match wafers.is_empty() {
        true => None,
        false => Some(compare(&*student, &exported, data, &source, &wafers)?),
    };
    Ok(Written {
        output: output.into(),
        exported,
        agreement,
    })
}

/// Quantizes `checkpoint`, with ranges chosen on `calibration` training wafers.
fn quantized(
    checkpoint: &Path,
    data: &Data,
    source: &Source,
    name: &str,
    calibration: usize,
) -> Result<(Box<dyn Network>, Exported)> {
    let file = Checkpoint::read(checkpoint)?;
    let (student, prepared): (Box<dyn Network>, _) = if file.info.architecture == fake::ARCHITECTURE
    {
        let student = FakeStudent::new(Device::Cpu);
        file.load(student.vars(), fake::ARCHITECTURE)?;
        let prepared = Prepared::learned(&student);
        (Box::new(student), prepared)
    } else {
        let student = Student::new(Device::Cpu);
        file.load(student.vars(), ARCHITECTURE)?;
        let batches = self::calibration(data, source, calibration)?;
        let tensors = tensors(student.vars()).into_iter().collect();
        (Box::new(student), Prepared::calibrated(&tensors, &batches)?)
    };
    // The golden wafer is synthetic: the image then carries nobody's data.
    let parameters = u32::try_from(student.parameters())?;
    let exported = golden().packed(|map| prepared.write(parameters, map, name, &now()?))??;
    Ok((student, exported))
}

/// Batches of `wafers` training wafers to choose ranges on, always the same ones.
pub fn calibration(data: &Data, source: &Source, wafers: usize) -> Result<Vec<Tensor>> {
    ensure!(
        !data.train.is_empty(),
        "no training wafers to choose ranges on"
    );
    let mut random = Random::new(&[SPLIT_SEED, 3]);
    let mut chosen = data.train.clone();
    random.shuffle(&mut chosen);
    chosen.truncate(wafers.max(1));
    let batches = chosen.chunks(BATCH).map(|wafers| {
        let symmetries = random_symmetries(&mut random, wafers.len());
        source.batch(wafers, &symmetries, IMAGE_SIZE as i64).image
    });
    Ok(batches.collect())
}

/// A wafer with many patterns, so that every layer has something to do.
fn golden() -> Grid {
    let bits = Class::all()
        .map(Class::patterns)
        .max_by_key(|bits| bits.count_ones())
        .unwrap_or(0);
    let class = Class::from_patterns(bits).unwrap_or(Class::NORMAL);
    Grid {
        rows: 52,
        cols: 52,
        dies: synthesize(class, 1, 52, 52),
    }
}

/// The time in RFC 3339; that of `SOURCE_DATE_EPOCH`, where set, so that exports can be repeated.
fn now() -> Result<String> {
    let time = match std::env::var("SOURCE_DATE_EPOCH") {
        Ok(seconds) => {
            let seconds = seconds
                .parse()
                .context("SOURCE_DATE_EPOCH is no number of seconds")?;
            SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
        }
        Err(_) => SystemTime::now(),
    };
    Ok(humantime::format_rfc3339_seconds(time).to_string())
}

/// How far the image's answers are from the checkpoint's.
fn compare(
    student: &dyn Network,
    exported: &Exported,
    data: &Data,
    source: &Source,
    wafers: &[u32],
) -> Result<Agreement> {
    let model = Model::new_checked(&exported.image)?;
    let mut arena = AlignedBox::zeroed(model.header().arena_bytes as usize);
    let mut engine = FixedEngine::new(model, &mut arena)?;
    let mut mask = Mask::new();
    let (mut same, mut pixels, mut square, mut logits) = (0, 0u64, 0.0, 0);
    for &wafer in wafers {
        let batch = source.batch(&[wafer], &[0], IMAGE_SIZE as i64);
        let output = tch::no_grad(|| student.forward(&batch.image, false, true));
        let float: Vec<f32> = Vec::try_from(output.logits.view([-1]))?;
        let marked = output.mask.context("the student gave no mask")?.ge(0.0);
        let marked: Vec<bool> = Vec::try_from(marked.view([-1]))?;
        let answer = Grid::of(data, wafer).packed(|map| engine.infer(map, &mut mask))?;
        same += usize::from(usize::from(answer.class.index()) == best(&float));
        for (at, float) in marked.iter().enumerate() {
            pixels += u64::from(mask.get(at / IMAGE_SIZE, at % IMAGE_SIZE) == *float);
        }
        for (int, float) in answer.logits.iter().zip(&float) {
            square += f64::from(*int as f32 * LOGIT_UNIT - float).powi(2);
            logits += 1;
        }
    }
    let all = (wafers.len() * IMAGE_SIZE * IMAGE_SIZE) as f64;
    Ok(Agreement {
        wafers: wafers.len(),
        same_classes: same,
        same_mask_pixels: pixels as f64 / all,
        logits_rms: (square / f64::from(logits.max(1))).sqrt(),
    })
}
