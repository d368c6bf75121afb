//! Quantizes a checkpoint on the wafers of a data set. `export`, `onnx`, `quantize` and `run` share this.

use std::path::Path;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, anyhow, bail, ensure};
use lightwafer_maps::synth::synthesize;
use lightwafer_runtime::dies::{Class, IMAGE_SIZE, Mask};
use lightwafer_runtime::image::Model;
use lightwafer_runtime::{AlignedBox, FixedEngine, LOGIT_UNIT};
use tch::{Device, Tensor};
use trainer::architecture::Architecture;
use trainer::batch::{Source, random_symmetries};
use trainer::checkpoint::{Checkpoint, tensors};
use trainer::data::{Data, Protocol, Random, SPLIT_SEED};
use trainer::export::qat::QatStudent;
use trainer::export::{Exported, Prepared};
use trainer::files::write_atomically;
use trainer::image_eval::Grid;
use trainer::metrics::argmax;
use trainer::network::Network;
use trainer::student::Student;

use super::export_report::{Agreement, Written};

/// Training wafers that ranges are chosen on, by default.
pub const CALIBRATION: usize = 384;
/// Validation wafers that image and checkpoint are compared on, by default.
pub const COMPARED: usize = 128;
/// Wafers in one calibration pass.
const BATCH: usize = 16;
/// Rows and columns of the golden wafer.
const GOLDEN: u16 = 52;

/// The data set `data` in the split that the checkpoint was trained with.
pub fn load_data(checkpoint: &Path, data: &Path) -> Result<Data> {
    let split = Checkpoint::read(checkpoint)?.info.split;
    let data = Data::load(data, split.unwrap_or(Protocol::Distinct))?;
    eprintln!("{}", data.describe());
    Ok(data)
}

/// Batches of `wafers` training wafers to choose ranges on, always the same ones, of `size`×`size` pixels.
pub fn calibration(data: &Data, source: &Source, wafers: usize, size: i64) -> Result<Vec<Tensor>> {
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
        source.batch(wafers, &symmetries, size).image
    });
    Ok(batches.collect())
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

/// Quantizes `checkpoint`, with ranges chosen on `wafers` training wafers.
pub fn quantized(
    checkpoint: &Path,
    data: &Data,
    source: &Source,
    name: &str,
    wafers: usize,
) -> Result<(Box<dyn Network>, Exported)> {
    let file = Checkpoint::read(checkpoint)?;
    let architecture = Architecture::of_checkpoint(&file.info.architecture);
    let architecture = architecture
        .map_err(|error| anyhow!(error))
        .with_context(|| format!("{} cannot be exported", checkpoint.display()))?;
    if let Some(topology) = architecture.topology() {
        topology
            .for_boards()
            .map_err(|error| anyhow!("{}: {error}", checkpoint.display()))?;
    }
    let (student, prepared): (Box<dyn Network>, _) = match &architecture {
        Architecture::Qat(topology) => {
            let student = QatStudent::new(topology, Device::Cpu);
            file.load(student.vars(), &architecture)?;
            let prepared = Prepared::learned(&student);
            (Box::new(student), prepared)
        }
        Architecture::Student(topology) => {
            let student = Student::new(topology, Device::Cpu);
            file.load(student.vars(), &architecture)?;
            let batches = calibration(data, source, wafers, topology.size())?;
            let tensors = tensors(student.vars()).into_iter().collect();
            let prepared = Prepared::calibrated(topology, &tensors, &batches)?;
            (Box::new(student), prepared)
        }
        Architecture::Teacher(_) => bail!(
            "{}: {architecture} is a teacher; a student is needed",
            checkpoint.display()
        ),
    };
    // The golden wafer is synthetic, so that the image contains nobody's data.
    let parameters = u32::try_from(student.parameters())?;
    let exported = golden().packed(|map| prepared.write(parameters, map, name, &now()?))??;
    Ok((student, exported))
}

/// A wafer with many patterns, so that every layer has something to do.
fn golden() -> Grid {
    let bits = Class::all()
        .map(Class::patterns)
        .max_by_key(|bits| bits.count_ones())
        .unwrap_or(0);
    let class = Class::from_patterns(bits).unwrap_or(Class::NORMAL);
    Grid {
        rows: GOLDEN,
        cols: GOLDEN,
        dies: synthesize(class, 1, GOLDEN, GOLDEN),
    }
}

/// The time in RFC 3339; if `SOURCE_DATE_EPOCH` is set, that time, so that exports can be repeated.
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
        same += usize::from(usize::from(answer.class.index()) == argmax(&float));
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
