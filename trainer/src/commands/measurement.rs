//! Measures a checkpoint or a model image, as `trainer eval` and `trainer run` do.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use lightwafer_runtime::AlignedBox;
use lightwafer_runtime::dies::IMAGE_SIZE;
use lightwafer_runtime::image::{MAGIC, Model as Image};
use tch::Device;
use trainer::architecture::Architecture;
use trainer::batch::Source;
use trainer::data::{Data, Part};
use trainer::eval::{self, View};
use trainer::evaluation::{Evaluation, Model, SCHEMA, Views};
use trainer::metrics::Report;
use trainer::settings::Precision;
use trainer::{image_eval, zoo};

use super::machine::stop_asked;

/// What to measure, and how.
pub struct Measurement<'a> {
    /// A checkpoint or a model image.
    pub checkpoint: &'a Path,
    /// The data with its split.
    pub data: &'a Data,
    /// The part of it.
    pub part: Part,
    /// Image side for a float checkpoint.
    pub size: Option<i64>,
    /// Number format for a float checkpoint.
    pub precision: Precision,
    /// Whether to measure on the wafers rotated by 90° too.
    pub rotated: bool,
    /// Where a float checkpoint computes.
    pub device: Device,
    /// Threads for a model image.
    pub threads: usize,
}

impl Measurement<'_> {
    /// Measures.
    pub fn take(&self) -> Result<Evaluation> {
        let name = self.checkpoint.display();
        let bytes = fs::read(self.checkpoint).with_context(|| format!("cannot read {name}"))?;
        let bytes = AlignedBox::from(bytes);
        let wafers = self.data.part(self.part);
        ensure!(
            !wafers.is_empty(),
            "no wafers in this part of the split of the data"
        );
        let (model, views) = if bytes.starts_with(&MAGIC) {
            self.image(&bytes, &wafers)?
        } else {
            self.network(bytes.len() as u64, &wafers)?
        };
        Ok(Evaluation {
            schema: SCHEMA,
            checkpoint: name.to_string(),
            model,
            data: self.data.describe(),
            protocol: self.data.protocol,
            part: self.part,
            views,
        })
    }

    /// Measures a model image with the runtime's engine.
    fn image(&self, bytes: &[u8], wafers: &[u32]) -> Result<(Model, Views)> {
        let name = self.checkpoint.display();
        let image = Image::new_checked(bytes).with_context(|| format!("{name} is refused"))?;
        let header = image.header();
        let model = Model::ModelImage {
            name: header.name.into(),
            size: IMAGE_SIZE as i64,
            bytes: bytes.len() as u64,
            parameters: header.parameters.into(),
            macs: header.macs,
            arena_bytes: header.arena_bytes,
        };
        let views = self.views(|turned| {
            let (data, threads) = (self.data, self.threads);
            image_eval::evaluate(bytes, data, wafers, turned, threads, &stop_asked)
        })?;
        Ok((model, views))
    }

    /// Measures a checkpoint, whose file has so many `bytes`, with libtorch.
    fn network(&self, bytes: u64, wafers: &[u32]) -> Result<(Model, Views)> {
        let (network, checkpoint) = zoo::open(self.checkpoint, self.device)?;
        let info = &checkpoint.info;
        if let Some(trained) = info.split.filter(|trained| *trained != self.data.protocol) {
            eprintln!("note: trained under another split ({trained}): wafers may have been seen");
        }
        let architecture = network.architecture();
        let size = self.size.unwrap_or(usual_size(&architecture, info.size));
        let source = Source::new(self.data, self.device);
        let views = self.views(|turned| {
            let view = View {
                symmetry: u8::from(turned),
                precision: self.precision,
                ..View::plain(size)
            };
            let report = eval::evaluate(&*network, &source, wafers, view, &stop_asked);
            Ok(report)
        })?;
        let model = Model::Checkpoint {
            name: architecture.to_string(),
            size,
            bytes,
            parameters: network.parameters(),
            parts: network.parts(),
            precision: self.precision,
            trained_at_size: info.size,
            epochs: info.epochs,
        };
        Ok((model, views))
    }

    /// The figures on the wafers as in the file and, if wanted, rotated.
    fn views(&self, measure: impl Fn(bool) -> Result<Option<Report>>) -> Result<Views> {
        let measure =
            |turned| measure(turned)?.context("stopped before the evaluation was complete");
        Ok(Views {
            plain: measure(false)?,
            rotated_90: self.rotated.then(|| measure(true)).transpose()?,
        })
    }
}

/// The image side that a network is measured at: the one a student is made for, since boards have it; for a teacher
/// the one it was `trained` at.
pub fn usual_size(architecture: &Architecture, trained: i64) -> i64 {
    match architecture {
        Architecture::Teacher(_) if trained > 0 => trained,
        _ => architecture.size(),
    }
}
