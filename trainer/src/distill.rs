//! The teacher in a distillation: frozen, asked once about each wafer, its answers kept.
//!
//! A wafer's class does not change when the wafer is turned, and its mask turns with it, so one answer serves all
//! eight symmetries: class logits, pooled features and the mask at stride 4, each the mean over the
//! teacher's views. For 25,000 training maps at 224×224 and ResNet101 that is 263 MB.

use anyhow::{Context, Result, anyhow, bail};
use tch::nn::{self, Module};
use tch::{Device, Kind, Tensor};

use crate::architecture::Architecture;
use crate::batch::{Batch, Source, turn_back, turned_places};
use crate::checkpoint::Checkpoint;
use crate::eval::batch_size;
use crate::loss::Soft;
use crate::native;
use crate::network::Network;
use crate::settings::{Distillation, Precision};
use crate::teacher::{Answer, Teacher, enlarge};
use crate::topology::{CLASSES, check_size};

/// The projection's name in checkpoints.
const PROJECTION: &str = "projection.weight";

/// The place of an answer that was not kept.
const NOWHERE: u32 = u32::MAX;

/// Answers that were kept.
struct Kept {
    /// The row of each wafer's answer.
    place: Vec<u32>,
    answers: Answer,
}

/// A frozen teacher and its answers.
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
    /// Reads the teacher of a student whose embedding has `embedding` values. The teacher's variables need no gradient
    /// from here on.
    ///
    /// # Errors
    /// When the file is no teacher's checkpoint.
    pub fn open(
        settings: &Distillation,
        embedding: i64,
        precision: Precision,
        device: Device,
    ) -> Result<Self> {
        let path = &settings.teacher;
        let checkpoint = Checkpoint::read(path).context("the teacher cannot be loaded")?;
        let Ok(Architecture::Teacher(encoder)) = checkpoint.info.architecture.parse() else {
            bail!(
                "{}: {} is no teacher; train one with `trainer teacher`",
                path.display(),
                checkpoint.info.architecture
            );
        };
        let mut teacher = Teacher::new(encoder, device);
        checkpoint.load(teacher.vars(), &teacher.architecture())?;
        teacher.freeze();
        let size = settings.teacher_size.unwrap_or(checkpoint.info.size);
        check_size(size)
            .map_err(|error| anyhow!(error))
            .with_context(|| format!("{}: give --teacher-size", path.display()))?;
        let projection = (settings.alpha_feature > 0.0).then(|| {
            let vars = nn::VarStore::new(device);
            let config = nn::LinearConfig {
                bias: false,
                ..Default::default()
            };
            let linear = nn::linear(
                vars.root() / "projection",
                embedding,
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

    /// W·embedding: the student's embedding (B, values) in the teacher's features (B, F), where they are compared.
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

    /// Asks about all `wafers` and keeps the answers. The batches depend on `wafers` alone, so that a
    /// resumed run gets the same answers. `tick` gets the number of wafers done; `false` when it asks to end.
    pub fn prepare(
        &mut self,
        source: &Source,
        wafers: &[u32],
        tick: &mut dyn FnMut(usize) -> bool,
    ) -> bool {
        let _gradients = tch::no_grad_guard();
        self.kept = None;
        let want_mask = self.settings.alpha_mask > 0.0;
        let mut kept = Kept {
            place: vec![NOWHERE; source.len()],
            answers: Answer {
                logits: self.empty(wafers, &[CLASSES], Kind::Float),
                embedding: self.empty(wafers, &[self.teacher.features()], Kind::Half),
                mask: want_mask.then(|| {
                    let side = self.size / 4;
                    self.empty(wafers, &[1, side, side], Kind::Half)
                }),
            },
        };
        let together = batch_size(self.device);
        for (i, chunk) in wafers.chunks(together).enumerate() {
            let begin = i * together;
            if !tick(begin) {
                return false;
            }
            let answer = self.ask(source, chunk, want_mask);
            let put = |to: &Tensor, from: Tensor| {
                let to = to.narrow(0, begin as i64, chunk.len() as i64);
                to.shallow_clone().copy_(&from);
            };
            put(&kept.answers.logits, answer.logits);
            put(&kept.answers.embedding, answer.embedding);
            if let Some((to, from)) = kept.answers.mask.as_ref().zip(answer.mask) {
                // Half floats end at 65,504: far above any logit that matters.
                put(to, from.clamp(-6e4, 6e4));
            }
            for (j, &wafer) in chunk.iter().enumerate() {
                kept.place[wafer as usize] = (begin + j) as u32;
            }
        }
        self.kept = Some(kept);
        true
    }

    fn empty(&self, wafers: &[u32], shape: &[i64], kind: Kind) -> Tensor {
        let shape: Vec<i64> = [&[wafers.len() as i64], shape].concat();
        Tensor::empty(shape, (kind, self.device))
    }

    /// The teacher's answer about `batch`, whose images have `size`×`size` pixels; the kept one, if the answers about
    /// all of its wafers were kept.
    pub fn soft(&self, source: &Source, batch: &Batch, size: i64, want_mask: bool) -> Soft {
        let _gradients = tch::no_grad_guard();
        let want_mask = want_mask && self.settings.alpha_mask > 0.0;
        let kept = self.kept.as_ref().and_then(|kept| {
            let places = batch.wafers.iter().map(|w| kept.place[*w as usize]);
            let places: Vec<u32> = places.collect();
            let index = (!places.contains(&NOWHERE)).then(|| source.index(&places))?;
            let pick = |tensor: &Tensor| tensor.index_select(0, &index);
            Some(Answer {
                logits: pick(&kept.answers.logits),
                embedding: pick(&kept.answers.embedding),
                mask: kept.answers.mask.as_ref().filter(|_| want_mask).map(pick),
            })
        });
        let answer = kept.unwrap_or_else(|| self.ask(source, &batch.wafers, want_mask));
        self.shaped(source, answer, batch, size)
    }

    /// The mean answer over the views, about the wafers unturned.
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

    /// The answer turned as the batch's wafers are, its mask in the batch's size.
    fn shaped(&self, source: &Source, answer: Answer, batch: &Batch, size: i64) -> Soft {
        let mask = answer.mask.map(|mask| {
            let (wafers, side) = (mask.size()[0], mask.size()[3]);
            let places = turned_places(side, side, self.device);
            let places = places.index_select(0, &source.turns(&batch.symmetries));
            let mask = mask.to_kind(Kind::Float).view([wafers, -1]);
            let mask = mask.gather(1, &places, false).view([wafers, 1, side, side]);
            enlarge(&mask, size, size)
        });
        Soft {
            logits: answer.logits,
            mask,
            embedding: self.projection.as_ref().map(|_| answer.embedding),
        }
    }
}
