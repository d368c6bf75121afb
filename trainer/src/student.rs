//! The student, LightWaferSegClassNet: an encoder with a class head and a decoder with a mask head.
//!
//! Parameter names are those of a PyTorch state dict (`encoder.0.conv.weight`, …). Padding is the real
//! value zero in every channel, as the integer network has it.

use tch::nn::{self, Module, ModuleT};
use tch::{Device, Tensor};

/// Channels of the five encoder blocks.
pub const ENCODER: [i64; 5] = [8, 16, 16, 32, 64];
/// Channels of the four decoder blocks.
pub const DECODER: [i64; 4] = [32, 16, 16, 8];
/// Classes.
pub const CLASSES: i64 = lightwafer_runtime::wafer::CLASS_COUNT as i64;
/// Most trainable parameters the student may have: what the paper prints.
pub const PARAMETER_BUDGET: i64 = 60_263;
/// The paper's parameters of encoder, decoder and classifier.
pub const PAPER_PARAMETERS: [i64; 3] = [35_160, 22_569, 2_534];
/// The name that checkpoints carry.
pub const ARCHITECTURE: &str = "LightWaferSegClassNet 8-16-16-32-64/32-16-16-8";

fn conv(p: nn::Path, ci: i64, co: i64, k: i64, groups: i64) -> nn::Conv2D {
    let config = nn::ConvConfig {
        padding: k / 2,
        groups,
        bias: false,
        ..Default::default()
    };
    nn::conv2d(p, ci, co, k, config)
}

fn batch_norm(p: nn::Path, channels: i64) -> nn::BatchNorm {
    // tch's default draws the scale from uniform(0, 1).
    let config = nn::BatchNormConfig {
        ws_init: nn::Init::Const(1.0),
        ..Default::default()
    };
    nn::batch_norm2d(p, channels, config)
}

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
        // In place: batch norm's gradient needs its input, not its output.
        let x = self.bn1.forward_t(&self.first.forward(x), train).relu_();
        let x = dropout(x, drop, train);
        let x = self.pointwise.forward(&self.depthwise.forward(&x));
        self.bn2.forward_t(&x, train).relu_()
    }
}

/// What the student says about a batch.
#[derive(Debug)]
pub struct Output {
    /// Class logits, (B, 38).
    pub logits: Tensor,
    /// Mask logits, (B, 1, S, S), where asked for.
    pub mask: Option<Tensor>,
    /// The 64 pooled features, (B, 64).
    pub embedding: Tensor,
}

/// The student and its variables.
pub struct Student {
    /// Parameters and running statistics, by name.
    pub vars: nn::VarStore,
    /// Probability that Dropout2d drops a channel in training.
    pub dropout: f64,
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

    /// Runs a batch of images (B, 3, S, S), S a multiple of 16; the decoder only where its mask is
    /// wanted, for it takes half of the time.
    pub fn forward(&self, image: &Tensor, train: bool, want_mask: bool) -> Output {
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
        let embedding = x.mean_dim([2i64, 3].as_slice(), false, None);
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

    /// Trainable variables in a fixed order (by name): those of the encoder and the class head, then
    /// those of the decoder and the mask head.
    pub fn groups(&self) -> [Vec<(String, Tensor)>; 2] {
        let mut named: Vec<_> = self.vars.variables().into_iter().collect();
        named.retain(|(_, t)| t.requires_grad());
        named.sort_by(|a, b| a.0.cmp(&b.0));
        let mask = |name: &str| name.starts_with("decoder.") || name.starts_with("mask_head.");
        let (decoder, encoder) = named.into_iter().partition(|(name, _)| mask(name));
        [encoder, decoder]
    }

    /// Trainable parameters of the encoder, the decoder with the mask head, and the class head.
    pub fn parameters(&self) -> [i64; 3] {
        let mut counts = [0; 3];
        for (name, tensor) in self.groups().into_iter().flatten() {
            let part = match name.split('.').next() {
                Some("encoder") => 0,
                Some("class_head") => 2,
                _ => 1,
            };
            counts[part] += tensor.numel() as i64;
        }
        counts
    }

    /// The parameter counts in words, beside the paper's.
    pub fn describe(&self) -> String {
        let [encoder, decoder, head] = self.parameters();
        let [paper_encoder, paper_decoder, paper_head] = PAPER_PARAMETERS;
        format!(
            "{} parameters (budget {PARAMETER_BUDGET}): encoder {encoder} (paper {paper_encoder}), \
             decoder with mask head {decoder} (paper {paper_decoder}), class head {head} (paper {paper_head})",
            encoder + decoder + head
        )
    }
}
