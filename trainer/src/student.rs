//! The student, LightWaferSegClassNet: an encoder with a class head and a decoder with a mask head.
//!
//! Parameter names are those of a PyTorch state dict (`encoder.0.conv.weight`, …). Padding is the real
//! value zero in every channel, as the integer network has it.

use tch::nn::{self, Module};
use tch::{Device, Tensor};

use crate::network::{
    CLASSES, Network, Output, PartSize, batch_norm, bn_relu, conv, count, global_mean,
};

/// Channels of the five encoder blocks.
pub const ENCODER: [i64; 5] = [8, 16, 16, 32, 64];
/// Channels of the four decoder blocks.
pub const DECODER: [i64; 4] = [32, 16, 16, 8];
/// Most trainable parameters the student may have: what the paper prints.
pub const PARAMETER_BUDGET: i64 = 60_263;
/// The paper's parameters of encoder, decoder and classifier.
pub const PAPER_PARAMETERS: [i64; 3] = [35_160, 22_569, 2_534];
/// The name that checkpoints carry.
pub const ARCHITECTURE: &str = "LightWaferSegClassNet 8-16-16-32-64/32-16-16-8";

fn dropout(x: Tensor, p: f64, train: bool) -> Tensor {
    if train && p > 0.0 {
        x.feature_dropout(p, true)
    } else {
        x
    }
}

/// 2×2 means. tch's `avg_pool2d_default` divides by 1: it sums.
pub fn mean_pool(x: &Tensor) -> Tensor {
    x.avg_pool2d([2, 2], [2, 2], [0, 0], false, true, None::<i64>)
}

/// Convolution – BN – ReLU – Dropout2d – depthwise – pointwise – BN – ReLU.
///
/// The first convolution is 3×3 in the encoder and the 1×1 reduction in the decoder.
struct Block {
    first: nn::Conv2D,
    bn1: nn::BatchNorm,
    depthwise: nn::Conv2D,
    pointwise: nn::Conv2D,
    bn2: nn::BatchNorm,
}

impl Block {
    fn new(p: &nn::Path, first: &str, kernel: i64, ci: i64, co: i64) -> Self {
        Self {
            first: conv(p / first, ci, co, kernel, 1),
            bn1: batch_norm(p / "bn1", co),
            depthwise: conv(p / "depthwise", co, co, 3, co),
            pointwise: conv(p / "pointwise", co, co, 1, 1),
            bn2: batch_norm(p / "bn2", co),
        }
    }

    fn forward(&self, x: &Tensor, drop: f64, train: bool) -> Tensor {
        let x = dropout(
            bn_relu(&self.bn1, &self.first.forward(x), train),
            drop,
            train,
        );
        let x = self.pointwise.forward(&self.depthwise.forward(&x));
        bn_relu(&self.bn2, &x, train)
    }
}

/// The student and its variables.
pub struct Student {
    vars: nn::VarStore,
    dropout: f64,
    encoder: Vec<Block>,
    up: Vec<nn::ConvTranspose2D>,
    decoder: Vec<Block>,
    mask_head: nn::Conv2D,
    class_head: nn::Linear,
}

impl Student {
    /// A student with fresh weights, drawn from torch's generator.
    pub fn new(device: Device) -> Self {
        let vars = nn::VarStore::new(device);
        let root = vars.root();
        let mut ci = 3;
        let encoder = ENCODER.iter().enumerate().map(|(i, &co)| {
            let block = Block::new(&(&root / "encoder" / i), "conv", 3, ci, co);
            ci = co;
            block
        });
        let encoder = encoder.collect();
        let (mut up, mut decoder) = (Vec::new(), Vec::new());
        for (i, &co) in DECODER.iter().enumerate() {
            let p = &root / "decoder" / i;
            let config = nn::ConvTransposeConfig {
                stride: 2,
                ..Default::default()
            };
            up.push(nn::conv_transpose2d(&p / "up", ci, co, 2, config));
            decoder.push(Block::new(&p, "reduce", 1, co + ENCODER[3 - i], co));
            ci = co;
        }
        let mask_head = nn::conv2d(&root / "mask_head", ci, 1, 1, Default::default());
        let class_head = nn::linear(
            &root / "class_head",
            ENCODER[4],
            CLASSES,
            Default::default(),
        );
        Self {
            encoder,
            up,
            decoder,
            mask_head,
            class_head,
            dropout: 0.0,
            vars,
        }
    }
}

impl Network for Student {
    fn architecture(&self) -> String {
        ARCHITECTURE.into()
    }

    fn vars(&self) -> &nn::VarStore {
        &self.vars
    }

    fn forward(&self, image: &Tensor, train: bool, want_mask: bool) -> Output {
        let mut x = image.shallow_clone();
        let mut skips = Vec::new();
        for (i, block) in self.encoder.iter().enumerate() {
            x = block.forward(&x, self.dropout, train);
            if i < 4 {
                skips.push(x.shallow_clone());
                x = if i < 3 {
                    x.max_pool2d_default(2)
                } else {
                    mean_pool(&x)
                };
            }
        }
        let embedding = global_mean(&x);
        let logits = self.class_head.forward(&embedding);
        let mask = want_mask.then(|| {
            for (up, block) in self.up.iter().zip(&self.decoder) {
                let skip = skips.pop().unwrap_or_else(|| x.shallow_clone());
                x = Tensor::cat(&[up.forward(&x), skip], 1);
                x = block.forward(&x, self.dropout, train);
            }
            self.mask_head.forward(&x)
        });
        Output {
            logits,
            mask,
            embedding,
        }
    }

    fn serves_mask_only(&self, name: &str) -> bool {
        name.starts_with("decoder.") || name.starts_with("mask_head.")
    }

    fn parts(&self) -> Vec<PartSize> {
        let [encoder, head, decoder] = count(&self.vars, ["encoder.", "class_head.", "decoder."]);
        let names = ["encoder", "decoder with mask head", "class head"];
        let counts = [encoder, decoder, head].into_iter().zip(PAPER_PARAMETERS);
        let parts = names.into_iter().zip(counts);
        let size = |(part, (parameters, paper))| PartSize {
            part,
            parameters,
            paper: Some(paper),
        };
        parts.map(size).collect()
    }

    fn paper_parameters(&self) -> Option<i64> {
        Some(PARAMETER_BUDGET)
    }

    fn set_dropout(&mut self, probability: f64) {
        self.dropout = probability;
    }
}
