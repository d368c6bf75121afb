//! The teacher in a distillation: frozen, asked once about each wafer, its answers kept.
//!
//! A wafer's class does not depend on how it lies, and its mask turns with it, so one answer serves all
//! eight symmetries: class logits, pooled features and the mask at stride 4, each the mean over the
//! teacher's views. For the 31,198 maps of a data set at 224×224 and ResNet101 that is 330 MB.

use anyhow::{Context, Result, ensure};
use tch::nn::{self, Module};
use tch::{Device, Kind, Tensor};

use crate::batch::{Batch, Source, Symmetry, turn, turn_back};
use crate::checkpoint::Checkpoint;
use crate::loss::Soft;
use crate::native;
use crate::network::{self, Network};
use crate::settings::{Distillation, Precision};
use crate::student::ENCODER;
use crate::teacher::{Answer, Teacher, enlarge};

/// Wafers that the teacher sees at once.
const BATCH: usize = 32;
/// The projection's name in checkpoints.
const PROJECTION: &str = "projection.weight";

/// Answers by position in the data set.
struct Kept {
    known: Vec<bool>,
    logits: Tensor,
    embedding: Tensor,
    known_mask: Vec<bool>,
    mask: Option<Tensor>,
}

/// A frozen teacher with what it said.
pub struct Distiller {
    /// The weights of the losses.
    pub settings: Distillation,
    teacher: Teacher,
    size: i64,
    precision: Precision,
    device: Device,
    projection: Option<(nn::VarStore, nn::Linear)>,
    kept: Option<Kept>,
}

impl Distiller {
    /// Reads the teacher; its variables need no gradient from here on.
    ///
    /// # Errors
    /// When the file is no teacher's checkpoint.
    pub fn open(settings: &Distillation, precision: Precision, device: Device) -> Result<Self> {
        let path = &settings.teacher;
        let checkpoint = Checkpoint::read(path).context("the teacher cannot be loaded")?;
        let kind = network::Kind::named(&checkpoint.info.architecture);
        let Some(network::Kind::Teacher(encoder)) = kind else {
            anyhow::bail!(
                "{}: {} is no teacher; train one with `trainer teacher`",
                path.display(),
                checkpoint.info.architecture
            );
        };
        let mut teacher = Teacher::new(encoder, device);
        checkpoint.load(teacher.vars(), &encoder.architecture())?;
        teacher.freeze();
        let size = settings.teacher_size.unwrap_or(checkpoint.info.size);
        ensure!(
            size % 16 == 0 && (16..=224).contains(&size),
            "{}: it does not say what size it was trained at; give --teacher-size",
            path.display()
        );
        let projection = (settings.alpha_feature > 0.0).then(|| {
            let vars = nn::VarStore::new(device);
            let config = nn::LinearConfig {
                bias: false,
                ..Default::default()
            };
            let linear = nn::linear(
                vars.root() / "projection",
                ENCODER[4],
                encoder.features(),
                config,
            );
            (vars, linear)
        });
        Ok(Self {
            settings: settings.clone(),
            teacher,
            size,
            precision,
            device,
            projection,
            kept: None,
        })
    }

    /// The teacher in words.
    pub fn describe(&self) -> String {
        format!(
            "taught by {} ({}×{}, {})",
            self.settings.teacher.display(),
            self.size,
            self.size,
            self.teacher.architecture()
        )
    }

    /// W·embedding, (B, 64) to (B, F), where features are compared.
    pub fn project(&self, embedding: &Tensor) -> Option<Tensor> {
        let (_, linear) = self.projection.as_ref()?;
        Some(linear.forward(&embedding.to_kind(Kind::Float)))
    }

    /// The projection's weights under their name in checkpoints.
    pub fn variables(&self) -> Vec<(String, Tensor)> {
        let weights = self
            .projection
            .as_ref()
            .map(|(_, linear)| linear.ws.shallow_clone());
        weights
            .map(|w| (PROJECTION.to_owned(), w))
            .into_iter()
            .collect()
    }

    /// What the teacher says about `batch`, whose images have `size`×`size` pixels.
    pub fn soft(&mut self, source: &Source, batch: &Batch, size: i64, want_mask: bool) -> Soft {
        let _gradients = tch::no_grad_guard();
        if !self.settings.cache {
            let answer = self.ask(source, &batch.wafers, want_mask);
            return self.shaped(answer, batch, size);
        }
        let kept = self.kept.get_or_insert_with(|| Kept {
            known: vec![false; source.len()],
            logits: Tensor::zeros(
                [source.len() as i64, network::CLASSES],
                (Kind::Float, self.device),
            ),
            embedding: Tensor::zeros(
                [source.len() as i64, self.teacher.features()],
                (Kind::Half, self.device),
            ),
            known_mask: vec![false; source.len()],
            mask: None,
        });
        let mut missing: Vec<u32> = batch.wafers.clone();
        missing.retain(|&w| {
            let known = if want_mask {
                &kept.known_mask
            } else {
                &kept.known
            };
            !known[w as usize]
        });
        missing.sort_unstable();
        missing.dedup();
        for wafers in missing.chunks(BATCH) {
            let answer = self.ask(source, wafers, want_mask);
            self.keep(wafers, answer);
        }
        let index = source.index(&batch.wafers);
        let kept = self.kept.as_ref();
        let pick = |tensor: &Tensor| tensor.index_select(0, &index);
        let answer = kept.map(|kept| Answer {
            logits: pick(&kept.logits),
            embedding: pick(&kept.embedding),
            mask: kept.mask.as_ref().filter(|_| want_mask).map(pick),
        });
        match answer {
            Some(answer) => self.shaped(answer, batch, size),
            None => unreachable!("kept above"),
        }
    }

    /// The mean over the views, as the wafers lie in the data set.
    fn ask(&self, source: &Source, wafers: &[u32], want_mask: bool) -> Answer {
        let mut sum: Option<Answer> = None;
        for view in 0..self.settings.views {
            let batch = source.batch(wafers, &[view], self.size);
            let ask = || self.teacher.answer(&batch.image, false, want_mask);
            let answer = native::with_precision(self.precision, self.device, ask);
            let answer = Answer {
                logits: answer.logits.to_kind(Kind::Float),
                embedding: answer.embedding.to_kind(Kind::Float),
                mask: answer
                    .mask
                    .map(|m| turn_back(&m.to_kind(Kind::Float), view, [2, 3])),
            };
            sum = Some(match sum {
                None => answer,
                Some(sum) => Answer {
                    logits: sum.logits + answer.logits,
                    embedding: sum.embedding + answer.embedding,
                    mask: sum.mask.zip(answer.mask).map(|(a, b)| a + b),
                },
            });
        }
        let views = f64::from(self.settings.views);
        match sum {
            Some(sum) => Answer {
                logits: sum.logits / views,
                embedding: sum.embedding / views,
                mask: sum.mask.map(|mask| mask / views),
            },
            None => unreachable!("one view at least"),
        }
    }

    fn keep(&mut self, wafers: &[u32], answer: Answer) {
        let Some(kept) = &mut self.kept else { return };
        let index = Tensor::from_slice(&wafers.iter().map(|w| i64::from(*w)).collect::<Vec<_>>());
        let index = index.to_device(self.device);
        let _ = kept.logits.index_copy_(0, &index, &answer.logits);
        let _ = kept
            .embedding
            .index_copy_(0, &index, &answer.embedding.to_kind(Kind::Half));
        wafers.iter().for_each(|w| kept.known[*w as usize] = true);
        if let Some(mask) = answer.mask {
            // Half floats end at 65,504: far above any logit that matters.
            let mask = mask.clamp(-6e4, 6e4).to_kind(Kind::Half);
            let side = mask.size()[3];
            let all = [kept.known.len() as i64, 1, side, side];
            let to = kept
                .mask
                .get_or_insert_with(|| Tensor::zeros(all, (Kind::Half, self.device)));
            let _ = to.index_copy_(0, &index, &mask);
            wafers
                .iter()
                .for_each(|w| kept.known_mask[*w as usize] = true);
        }
    }

    /// As the batch's wafers lie, and in its size.
    fn shaped(&self, answer: Answer, batch: &Batch, size: i64) -> Soft {
        let mask = answer.mask.map(|mask| {
            let mask = mask.to_kind(Kind::Float);
            let turned: Vec<_> = runs(&batch.symmetries)
                .map(|(from, len, symmetry)| turn(&mask.narrow(0, from, len), symmetry, [2, 3]))
                .collect();
            enlarge(&Tensor::cat(&turned, 0).contiguous(), size, size)
        });
        Soft {
            logits: answer.logits,
            mask,
            embedding: self.projection.as_ref().map(|_| answer.embedding),
        }
    }
}

/// Runs of equal symmetries: start, length, symmetry.
fn runs(symmetries: &[Symmetry]) -> impl Iterator<Item = (i64, i64, Symmetry)> {
    let mut at = 0;
    symmetries.chunk_by(|a, b| a == b).map(move |run| {
        let from = at;
        at += run.len() as i64;
        (from, run.len() as i64, run[0])
    })
}
