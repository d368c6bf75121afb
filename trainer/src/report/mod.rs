//! `trainer report`: one HTML page about a run that needs nothing but itself.
//!
//! [`Subject`] is what a network says about the test part, [`Material`] everything a page shows, and
//! [`make`] makes it.

mod charts;
mod page;
mod pictures;

use anyhow::{Context, Result};
use lightwafer_runtime::dies::CLASS_COUNT;
use serde_json::Value;
use tch::{Device, Kind, Tensor};

use crate::batch::Source;
use crate::data::Data;
use crate::eval::{self, View};
use crate::folder::{Folder, Training};
use crate::metrics::{Collector, Report};
use crate::network::{self, Network, PartSize};
use crate::settings::Precision;
use crate::student::ARCHITECTURE;

/// What a network says about every wafer of the test part.
pub struct Subject {
    /// `teacher` or `student`.
    pub name: &'static str,
    /// The network's name.
    pub architecture: String,
    /// Image side that it was shown.
    pub size: i64,
    /// Its parameters by part.
    pub parts: Vec<PartSize>,
    /// Bytes of its checkpoint.
    pub bytes: u64,
    /// The wafers, as positions in the data set.
    pub wafers: Vec<u32>,
    /// The class of each.
    pub truth: Vec<u8>,
    /// Class probabilities of each.
    pub scores: Vec<[f32; CLASS_COUNT]>,
    /// Dice of each one's mask.
    pub dice: Vec<f32>,
    /// Places of each on a plane, near each other where embeddings are.
    pub places: Vec<[f32; 2]>,
    /// Values of an embedding.
    pub features: usize,
    /// The metrics.
    pub report: Report,
    network: Box<dyn Network>,
}

/// Pixels as a network marks them and as they are, 0 or 1, row-major.
pub(crate) struct Masks {
    size: usize,
    predicted: Vec<u8>,
    truth: Vec<u8>,
}

impl Subject {
    /// Runs a training's best checkpoint over the test part. `None` when `stop` says so.
    ///
    /// # Errors
    /// When the checkpoint cannot be loaded.
    pub fn measure(
        training: &Training,
        data: &Data,
        source: &Source,
        device: Device,
        stop: &dyn Fn() -> bool,
    ) -> Result<Option<Self>> {
        let path = training
            .checkpoint
            .as_ref()
            .context("no best.safetensors")?;
        let (network, checkpoint) = network::open(path, device)?;
        let student = network.architecture() == ARCHITECTURE || checkpoint.info.size == 0;
        let size = if student { 224 } else { checkpoint.info.size };
        let (mut scores, mut dice, mut embeddings) = (Vec::new(), Vec::new(), Vec::new());
        let mut collector = Collector::default();
        let done = eval::run(
            &*network,
            source,
            &data.test,
            View::plain(size),
            stop,
            &mut |batch, output| {
                eval::collect(&mut collector, batch, output);
                let logits = output.logits.to_kind(Kind::Float).softmax(-1, Kind::Float);
                scores.extend(rows(&logits));
                if let Some(mask) = &output.mask {
                    let sum =
                        |t: Tensor| t.sum_dim_intlist([1i64, 2, 3].as_slice(), false, Kind::Float);
                    let marked = mask.ge(0.0).to_kind(Kind::Float);
                    let both = sum(&marked * &batch.mask) * 2.0;
                    let all = sum(marked + &batch.mask);
                    let empty = all.eq(0.0).to_kind(Kind::Float);
                    let each = (both + &empty) / (all + &empty);
                    dice.extend(Vec::<f32>::try_from(&each).unwrap_or_default());
                }
                embeddings.push(output.embedding.to_kind(Kind::Float).to_device(Device::Cpu));
            },
        );
        if done.is_none() {
            return Ok(None);
        }
        let embeddings = Tensor::cat(&embeddings, 0);
        let features = embeddings.size()[1] as usize;
        Ok(Some(Self {
            name: training.name,
            architecture: network.architecture(),
            size,
            parts: network.parts(),
            bytes: std::fs::metadata(path).map_or(0, |m| m.len()),
            wafers: data.test.clone(),
            truth: data
                .test
                .iter()
                .map(|wafer| data.labels[*wafer as usize])
                .collect(),
            scores,
            dice,
            places: places(&embeddings),
            features,
            report: collector.report(),
            network,
        }))
    }

    /// The class of the highest score of wafer `i`, and its score.
    pub(crate) fn answer(&self, i: usize) -> (usize, f32) {
        let class = crate::metrics::best(&self.scores[i]);
        (class, self.scores[i][class])
    }

    /// Masks of one wafer of the data set.
    pub(crate) fn masks(&self, source: &Source, wafer: u32) -> Masks {
        let batch = source.batch(&[wafer], &[0], self.size);
        let output = tch::no_grad(|| self.network.forward(&batch.image, false, true));
        let bytes = |t: Tensor| {
            let flat = t.to_kind(Kind::Uint8).contiguous().view([-1]);
            Vec::<u8>::try_from(flat).unwrap_or_default()
        };
        Masks {
            size: self.size as usize,
            predicted: output
                .mask
                .map(|mask| bytes(mask.ge(0.0)))
                .unwrap_or_default(),
            truth: bytes(batch.mask.ge(0.5)),
        }
    }
}

fn rows(scores: &Tensor) -> Vec<[f32; CLASS_COUNT]> {
    let flat = Vec::<f32>::try_from(scores.contiguous().view([-1])).unwrap_or_default();
    let row = |chunk: &[f32]| {
        let mut row = [0.0; CLASS_COUNT];
        row.copy_from_slice(chunk);
        row
    };
    flat.chunks_exact(CLASS_COUNT).map(row).collect()
}

/// t-SNE (van der Maaten, 2014) of embeddings (N, F) after a principal component analysis to at most 32
/// values; its start is the first two components, so that a page can be made again.
fn places(embeddings: &Tensor) -> Vec<[f32; 2]> {
    let wafers = embeddings.size()[0] as usize;
    if wafers < 5 {
        return vec![[0.0; 2]; wafers];
    }
    let centred = embeddings - embeddings.mean_dim([0i64].as_slice(), true, Kind::Float);
    let kept = embeddings.size()[1].min(32);
    let (_, vectors) = centred.transpose(0, 1).matmul(&centred).linalg_eigh("L");
    let components = centred
        .matmul(&vectors.flip([1]).narrow(1, 0, kept))
        .contiguous();
    let scale = components.abs().max().double_value(&[]).max(1e-12);
    let start = (components.narrow(1, 0, 2.min(kept)) / scale * 1e-2).contiguous();
    let flat = |t: &Tensor| Vec::<f32>::try_from(t.contiguous().view([-1])).unwrap_or_default();
    let values = flat(&components);
    let samples: Vec<&[f32]> = values.chunks_exact(kept as usize).collect();
    if kept < 2 {
        return flat(&start).into_iter().map(|x| [x, 0.0]).collect();
    }
    let distance = |a: &&[f32], b: &&[f32]| {
        a.iter()
            .zip(*b)
            .map(|(a, b)| (a - b).powi(2))
            .sum::<f32>()
            .sqrt()
    };
    let perplexity = 30f32.min((wafers as f32 - 1.0) / 4.0);
    let placed = bhtsne::tSNE::<f32, &[f32], 2>::new(&samples)
        .perplexity(perplexity)
        .epochs(500)
        .initial_embedding(flat(&start))
        .barnes_hut(0.6, distance)
        .embedding();
    placed.chunks_exact(2).map(|p| [p[0], p[1]]).collect()
}

/// Everything that a page shows.
pub struct Material<'a> {
    /// The run.
    pub folder: &'a Folder,
    /// The data with its split.
    pub data: &'a Data,
    /// The same on the device.
    pub source: &'a Source,
    /// Teacher and student, as far as there are checkpoints.
    pub subjects: Vec<Subject>,
    /// Evaluation of the int8 image, where the run left one.
    pub int8: Option<Value>,
    /// What is missing, in words.
    pub missing: Vec<String>,
}

/// Measures what `folder` holds and makes the page. `None` when `stop` says so.
///
/// # Errors
/// When a checkpoint or an evaluation cannot be read.
pub fn make(
    folder: &Folder,
    data: &Data,
    device: Device,
    stop: &dyn Fn() -> bool,
    say: &dyn Fn(&str),
) -> Result<Option<String>> {
    let source = Source::new(data, device);
    let mut material = Material {
        folder,
        data,
        source: &source,
        subjects: Vec::new(),
        int8: folder.evaluation("int8")?,
        missing: Vec::new(),
    };
    for name in ["student", "teacher"] {
        match folder.training(name) {
            Some(training) if training.checkpoint.is_some() => {
                say(&format!(
                    "asking the {name} about {} test wafers",
                    data.test.len()
                ));
                match Subject::measure(training, data, &source, device, stop)? {
                    Some(subject) => material.subjects.push(subject),
                    None => return Ok(None),
                }
            }
            Some(_) => material
                .missing
                .push(format!("the {name} has no best checkpoint yet")),
            None => material
                .missing
                .push(format!("no {name} was trained in this run")),
        }
    }
    if material.int8.is_none() {
        material
            .missing
            .push("no evaluation of an int8 image (eval-int8.json)".into());
    }
    if folder.record.is_none() {
        material
            .missing
            .push("no record of machine, data and configuration (run.json)".into());
    }
    Ok(Some(page::page(&material)))
}

/// The number format in a setting, for people.
pub(crate) fn precision(value: &Value) -> &'static str {
    match serde_json::from_value(value.clone()) {
        Ok(Precision::Bf16) => "bf16",
        _ => "f32",
    }
}
