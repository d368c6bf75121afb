//! The student with its batch normalizations folded into the convolutions before them, as the
//! integer network computes it: every value that becomes an int8 tensor can be looked at.

use std::collections::HashMap;

use anyhow::{Context, Result, ensure};
use tch::{Kind, Tensor};

use crate::network::Output;
use crate::student::{DECODER, ENCODER, mean_pool};

/// PyTorch's default, which the student is trained with.
const EPSILON: f64 = 1e-5;

/// A convolution with the normalization that follows it.
#[derive(Debug)]
pub struct Folded {
    /// Weights, in PyTorch's order.
    pub weight: Tensor,
    /// One bias an output channel.
    pub bias: Tensor,
}

/// One block: see `student::Block`.
#[derive(Debug)]
pub struct FoldedBlock {
    /// The 3×3 convolution, or the decoder's 1×1 reduction.
    pub first: Folded,
    /// The depthwise convolution.
    pub depthwise: Folded,
    /// The pointwise convolution.
    pub pointwise: Folded,
}

impl FoldedBlock {
    fn layers_mut(&mut self, name: &str) -> [(String, &mut Folded); 3] {
        [
            (format!("{name}.first"), &mut self.first),
            (format!("{name}.depthwise"), &mut self.depthwise),
            (format!("{name}.pointwise"), &mut self.pointwise),
        ]
    }
}

/// The whole student.
#[derive(Debug)]
pub struct FoldedStudent {
    /// Five encoder blocks.
    pub encoder: Vec<FoldedBlock>,
    /// Four up-samplings.
    pub up: Vec<Folded>,
    /// Four decoder blocks.
    pub decoder: Vec<FoldedBlock>,
    /// The mask head.
    pub mask_head: Folded,
    /// The class head.
    pub class_head: Folded,
}

/// The values that are quantized, in the order they are computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Value {
    /// After an encoder block's first convolution and ReLU.
    EncoderFirst(usize),
    /// After an encoder block's depthwise convolution.
    EncoderDepthwise(usize),
    /// A block's output and, from the skip it is, the up-sampled tensor it is concatenated with: one
    /// scale. The last block's output has no skip.
    Skip(usize),
    /// The pooled features.
    Embedding,
    /// After a decoder block's reduction and ReLU.
    DecoderFirst(usize),
    /// After a decoder block's depthwise convolution.
    DecoderDepthwise(usize),
    /// A decoder block's output.
    DecoderOutput(usize),
}

impl Value {
    /// All of them, in the order they are computed.
    pub fn all() -> Vec<Self> {
        let encoder = |i| {
            [
                Self::EncoderFirst(i),
                Self::EncoderDepthwise(i),
                Self::Skip(i),
            ]
        };
        let decoder = |i| {
            [
                Self::DecoderFirst(i),
                Self::DecoderDepthwise(i),
                Self::DecoderOutput(i),
            ]
        };
        let mut all: Vec<_> = (0..ENCODER.len()).flat_map(encoder).collect();
        all.push(Self::Embedding);
        all.extend((0..DECODER.len()).flat_map(decoder));
        all
    }

    /// What its step size is named after in checkpoints of quantized students: the layer that makes it.
    pub fn name(self) -> String {
        match self {
            Self::EncoderFirst(i) => format!("encoder.{i}.first"),
            Self::EncoderDepthwise(i) => format!("encoder.{i}.depthwise"),
            Self::Skip(i) => format!("encoder.{i}.pointwise"),
            Self::Embedding => "embedding".into(),
            Self::DecoderFirst(i) => format!("decoder.{i}.first"),
            Self::DecoderDepthwise(i) => format!("decoder.{i}.depthwise"),
            Self::DecoderOutput(i) => format!("decoder.{i}.pointwise"),
        }
    }
}

/// Where the integer network rounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// A value with a range of its own.
    Value(Value),
    /// The means of 2×2 pixels of the skip of this level, in its steps.
    MeanPool(usize),
}

impl FoldedStudent {
    /// Folds a checkpoint's tensors.
    ///
    /// # Errors
    /// Names the tensor that is missing or has another shape than the student's.
    pub fn new(tensors: &HashMap<String, Tensor>) -> Result<Self> {
        let get = |name: String| -> Result<Tensor> {
            let tensor = tensors
                .get(&name)
                .with_context(|| format!("no tensor {name}"))?;
            Ok(tensor
                .to_kind(Kind::Float)
                .to_device(tch::Device::Cpu)
                .contiguous()
                .detach())
        };
        let shaped = |name: String, shape: &[i64]| -> Result<Tensor> {
            let tensor = get(name.clone())?;
            let found = tensor.size();
            ensure!(
                found == shape,
                "{name} has shape {found:?}, the student's is {shape:?}"
            );
            Ok(tensor)
        };
        let normalized = |weight: Tensor, bn: &str| -> Result<Folded> {
            let channels = [weight.size()[0]];
            let part = |name: &str| shaped(format!("{bn}.{name}"), &channels);
            let (gain, shift) = (part("weight")?, part("bias")?);
            let (mean, variance) = (part("running_mean")?, part("running_var")?);
            let gain = gain / (variance + EPSILON).sqrt();
            Ok(Folded {
                weight: weight * gain.view([-1, 1, 1, 1]),
                bias: shift - mean * gain,
            })
        };
        let block = |p: &str, first: &str, kernel: i64, ci: i64, co: i64| -> Result<FoldedBlock> {
            let weight = shaped(format!("{p}.{first}.weight"), &[co, ci, kernel, kernel])?;
            let depthwise = shaped(format!("{p}.depthwise.weight"), &[co, 1, 3, 3])?;
            let pointwise = shaped(format!("{p}.pointwise.weight"), &[co, co, 1, 1])?;
            Ok(FoldedBlock {
                first: normalized(weight, &format!("{p}.bn1"))?,
                depthwise: Folded {
                    bias: Tensor::zeros([co], (Kind::Float, depthwise.device())),
                    weight: depthwise,
                },
                pointwise: normalized(pointwise, &format!("{p}.bn2"))?,
            })
        };
        let mut ci = 3;
        let mut encoder = Vec::new();
        for (i, &co) in ENCODER.iter().enumerate() {
            encoder.push(block(&format!("encoder.{i}"), "conv", 3, ci, co)?);
            ci = co;
        }
        let (mut up, mut decoder) = (Vec::new(), Vec::new());
        for (i, &co) in DECODER.iter().enumerate() {
            let p = format!("decoder.{i}");
            up.push(Folded {
                weight: shaped(format!("{p}.up.weight"), &[ci, co, 2, 2])?,
                bias: shaped(format!("{p}.up.bias"), &[co])?,
            });
            decoder.push(block(&p, "reduce", 1, co + ENCODER[3 - i], co)?);
            ci = co;
        }
        let classes = crate::network::CLASSES;
        Ok(Self {
            encoder,
            up,
            decoder,
            mask_head: Folded {
                weight: shaped("mask_head.weight".into(), &[1, ci, 1, 1])?,
                bias: shaped("mask_head.bias".into(), &[1])?,
            },
            class_head: Folded {
                weight: shaped("class_head.weight".into(), &[classes, ENCODER[4]])?,
                bias: shaped("class_head.bias".into(), &[classes])?,
            },
        })
    }

    /// Runs images (B, 3, 224, 224) and shows every value that is quantized; gives class logits
    /// (B, 38) and mask logits (B, 1, 224, 224).
    pub fn forward(
        &self,
        image: &Tensor,
        mut look: impl FnMut(Value, &Tensor),
    ) -> (Tensor, Tensor) {
        let output = self.run(image, true, &mut |place, x| {
            if let Place::Value(value) = place {
                look(value, &x);
            }
            x
        });
        // Asked for, so it is there.
        let mask = output.mask.unwrap_or_else(|| output.logits.zeros_like());
        (output.logits, mask)
    }

    /// Runs images (B, 3, S, S) with whatever `at` makes of the tensor at every place where the integer
    /// network rounds; the decoder only where its mask is wanted.
    pub fn run(
        &self,
        image: &Tensor,
        want_mask: bool,
        at: &mut dyn FnMut(Place, Tensor) -> Tensor,
    ) -> Output {
        let conv = |x: &Tensor, f: &Folded| {
            let kernel = f.weight.size()[2];
            let groups = x.size()[1] / f.weight.size()[1];
            x.conv2d(
                &f.weight,
                Some(&f.bias),
                [1, 1],
                [kernel / 2; 2],
                [1, 1],
                groups,
            )
        };
        let mut x = image.shallow_clone();
        let mut skips = Vec::new();
        for (i, block) in self.encoder.iter().enumerate() {
            x = conv(&x, &block.first).relu_();
            x = at(Place::Value(Value::EncoderFirst(i)), x);
            x = conv(&x, &block.depthwise);
            x = at(Place::Value(Value::EncoderDepthwise(i)), x);
            x = conv(&x, &block.pointwise).relu_();
            x = at(Place::Value(Value::Skip(i)), x);
            if i < 4 {
                skips.push(x.shallow_clone());
                x = if i < 3 {
                    x.max_pool2d_default(2)
                } else {
                    at(Place::MeanPool(i), mean_pool(&x))
                };
            }
        }
        let embedding = x.mean_dim([2i64, 3].as_slice(), false, None);
        let embedding = at(Place::Value(Value::Embedding), embedding);
        let head = &self.class_head;
        let logits = embedding.matmul(&head.weight.tr()) + &head.bias;
        let mask = want_mask.then(|| {
            for (i, (up, block)) in self.up.iter().zip(&self.decoder).enumerate() {
                let level = 3 - i;
                x = x.conv_transpose2d(
                    &up.weight,
                    Some(&up.bias),
                    [2, 2],
                    [0, 0],
                    [0, 0],
                    1,
                    [1, 1],
                );
                x = at(Place::Value(Value::Skip(level)), x.shallow_clone());
                x = conv(&Tensor::cat(&[&x, &skips[level]], 1), &block.first).relu_();
                x = at(Place::Value(Value::DecoderFirst(i)), x.shallow_clone());
                x = conv(&x, &block.depthwise);
                x = at(Place::Value(Value::DecoderDepthwise(i)), x.shallow_clone());
                x = conv(&x, &block.pointwise).relu_();
                x = at(Place::Value(Value::DecoderOutput(i)), x.shallow_clone());
            }
            conv(&x, &self.mask_head)
        });
        Output {
            logits,
            mask,
            embedding,
        }
    }

    /// Every layer through `f`, which also gets the value that it reads (none for the image) and the
    /// dimension of its output channels.
    pub fn each(&self, f: impl Fn(&Folded, Option<Value>, i64) -> Folded) -> Self {
        let block = |block: &FoldedBlock, input, first, depthwise| FoldedBlock {
            first: f(&block.first, input, 0),
            depthwise: f(&block.depthwise, Some(first), 0),
            pointwise: f(&block.pointwise, Some(depthwise), 0),
        };
        let encoder = |(i, each): (usize, &FoldedBlock)| {
            let input = i.checked_sub(1).map(Value::Skip);
            block(
                each,
                input,
                Value::EncoderFirst(i),
                Value::EncoderDepthwise(i),
            )
        };
        let decoder = |(i, each): (usize, &FoldedBlock)| {
            let input = Some(Value::Skip(DECODER.len() - 1 - i));
            block(
                each,
                input,
                Value::DecoderFirst(i),
                Value::DecoderDepthwise(i),
            )
        };
        let up = |(i, each): (usize, &Folded)| {
            let before = i.checked_sub(1).map(Value::DecoderOutput);
            f(each, before.or(Some(Value::Skip(ENCODER.len() - 1))), 1)
        };
        let last = Some(Value::DecoderOutput(DECODER.len() - 1));
        Self {
            encoder: self.encoder.iter().enumerate().map(encoder).collect(),
            up: self.up.iter().enumerate().map(up).collect(),
            decoder: self.decoder.iter().enumerate().map(decoder).collect(),
            mask_head: f(&self.mask_head, last, 0),
            class_head: f(&self.class_head, Some(Value::Embedding), 0),
        }
    }

    /// Every layer with its name in checkpoints of quantized students, in the order they are computed.
    pub fn layers_mut(&mut self) -> Vec<(String, &mut Folded)> {
        let mut layers = Vec::new();
        for (i, block) in self.encoder.iter_mut().enumerate() {
            layers.extend(block.layers_mut(&format!("encoder.{i}")));
        }
        layers.push(("class_head".into(), &mut self.class_head));
        for (i, (up, block)) in self.up.iter_mut().zip(&mut self.decoder).enumerate() {
            layers.push((format!("decoder.{i}.up"), up));
            layers.extend(block.layers_mut(&format!("decoder.{i}")));
        }
        layers.push(("mask_head".into(), &mut self.mask_head));
        layers
    }
}
