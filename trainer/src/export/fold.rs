//! The student with its batch normalizations folded into the convolutions before them, as the
//! integer network computes it: every value that becomes an int8 tensor can be looked at.

use std::collections::HashMap;

use anyhow::{Context, Result, ensure};
use tch::{Kind, Tensor};

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
            look(Value::EncoderFirst(i), &x);
            x = conv(&x, &block.depthwise);
            look(Value::EncoderDepthwise(i), &x);
            x = conv(&x, &block.pointwise).relu_();
            look(Value::Skip(i), &x);
            if i < 4 {
                skips.push(x.shallow_clone());
                x = if i < 3 {
                    x.max_pool2d_default(2)
                } else {
                    mean_pool(&x)
                };
            }
        }
        let embedding = x.mean_dim([2i64, 3].as_slice(), false, None);
        look(Value::Embedding, &embedding);
        let head = &self.class_head;
        let logits = embedding.matmul(&head.weight.tr()) + &head.bias;
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
            look(Value::Skip(level), &x);
            x = conv(&Tensor::cat(&[&x, &skips[level]], 1), &block.first).relu_();
            look(Value::DecoderFirst(i), &x);
            x = conv(&x, &block.depthwise);
            look(Value::DecoderDepthwise(i), &x);
            x = conv(&x, &block.pointwise).relu_();
            look(Value::DecoderOutput(i), &x);
        }
        (logits, conv(&x, &self.mask_head))
    }
}
