//! What every network of this crate does: it classifies, it segments, and its variables have names.
//!
//! Also the layers that networks share. Some of tch's defaults differ from PyTorch's; here they are PyTorch's.

use lightwafer_runtime::graph::Op;
use serde::{Deserialize, Serialize};
use tch::Tensor;
use tch::nn::{self, ModuleT};

use crate::architecture::Architecture;

/// A network's answer about a batch of B images of S×S pixels.
#[derive(Debug)]
pub struct Output {
    /// Class logits, (B, classes).
    pub logits: Tensor,
    /// Mask logits, (B, 1, S, S), where asked for.
    pub mask: Option<Tensor>,
    /// The pooled features that the class head reads, (B, 64) for the published student.
    pub embedding: Tensor,
}

/// A part of a network and its trainable parameters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartSize {
    /// Its name.
    pub part: String,
    /// Trainable parameters.
    pub parameters: i64,
    /// The paper's number, if it gives one.
    pub paper: Option<i64>,
}

/// A network that segments and classifies.
pub trait Network {
    /// Its architecture, whose name its checkpoints carry.
    fn architecture(&self) -> Architecture;

    /// Parameters and running statistics, by their PyTorch state-dict names.
    fn vars(&self) -> &nn::VarStore;

    /// Runs images (B, 3, S, S) with values in 0…1, for a size S that [`Architecture::fits`]; the decoder only where
    /// its mask is wanted.
    fn forward(&self, image: &Tensor, train: bool, want_mask: bool) -> Output;

    /// Whether the variable only serves the mask: it has no gradient in a step without a mask.
    fn serves_mask_only(&self, name: &str) -> bool;

    /// Trainable parameters by part.
    fn parts(&self) -> Vec<PartSize>;

    /// The paper's number of parameters of the whole network, if it gives one.
    fn paper_parameters(&self) -> Option<i64>;

    /// Sets the probability that dropout drops a value in training. Networks with a fixed one ignore it.
    fn set_dropout(&mut self, _probability: f64) {}

    /// Trainable variables in two groups, sorted by name: those that the class depends on, and those that only the
    /// mask depends on.
    fn groups(&self) -> [Vec<(String, Tensor)>; 2] {
        let (mask, class) = trainable(self.vars())
            .into_iter()
            .partition(|(name, _)| self.serves_mask_only(name));
        [class, mask]
    }

    /// Trainable parameters.
    fn parameters(&self) -> i64 {
        self.parts().iter().map(|part| part.parameters).sum()
    }

    /// The parameter counts in words, with the paper's beside them.
    fn describe(&self) -> String {
        let beside = |paper: Option<i64>| paper.map_or(String::new(), |n| format!(" (paper {n})"));
        let parts: Vec<_> = self
            .parts()
            .iter()
            .map(|p| format!("{} {}{}", p.part, p.parameters, beside(p.paper)))
            .collect();
        format!(
            "{}: {} parameters{}: {}",
            self.architecture(),
            self.parameters(),
            beside(self.paper_parameters()),
            parts.join(", ")
        )
    }
}

/// Trainable variables, sorted by name.
pub fn trainable(vars: &nn::VarStore) -> Vec<(String, Tensor)> {
    let mut named: Vec<_> = vars.variables().into_iter().collect();
    named.retain(|(_, t)| t.requires_grad());
    named.sort_by(|a, b| a.0.cmp(&b.0));
    named
}

/// The number of trainable parameters under each of `prefixes`; the last count includes those under none.
pub(crate) fn count<const N: usize>(vars: &nn::VarStore, prefixes: [&str; N]) -> [i64; N] {
    let mut counts = [0; N];
    for (name, tensor) in trainable(vars) {
        let part = prefixes.iter().position(|p| name.starts_with(p));
        counts[part.unwrap_or(N - 1)] += tensor.numel() as i64;
    }
    counts
}

/// A convolution without bias, padded so that only the stride changes the size.
pub(crate) fn conv(p: nn::Path, ci: i64, co: i64, k: i64, groups: i64) -> nn::Conv2D {
    conv_with(
        p,
        ci,
        co,
        k,
        nn::ConvConfig {
            groups,
            ..Default::default()
        },
    )
}

/// As [`conv`], with stride, dilation and groups of `config`.
pub(crate) fn conv_with(
    p: nn::Path,
    ci: i64,
    co: i64,
    k: i64,
    config: nn::ConvConfig,
) -> nn::Conv2D {
    let padding = config.dilation * (k / 2);
    nn::conv2d(
        p,
        ci,
        co,
        k,
        nn::ConvConfig {
            padding,
            bias: false,
            ..config
        },
    )
}

/// Batch normalization that starts with scale one; tch's default draws it from uniform(0, 1).
pub(crate) fn batch_norm(p: nn::Path, channels: i64) -> nn::BatchNorm {
    let config = nn::BatchNormConfig {
        ws_init: nn::Init::Const(1.0),
        ..Default::default()
    };
    nn::batch_norm2d(p, channels, config)
}

/// Batch normalization and ReLU, in place: batch norm's gradient needs its input, not its output.
pub(crate) fn bn_relu(bn: &nn::BatchNorm, x: &Tensor, train: bool) -> Tensor {
    bn.forward_t(x, train).relu_()
}

/// The input of a layer that reads these tensors: their channels, one after the other.
pub(crate) fn concatenated(inputs: &[&Tensor]) -> Tensor {
    match inputs {
        [x] => x.shallow_clone(),
        several => Tensor::cat(several, 1),
    }
}

/// The output of a pool with this operator.
pub(crate) fn pooled(op: Op, x: &Tensor) -> Tensor {
    match op {
        Op::MaxPool2 => x.max_pool2d_default(2),
        // tch's `avg_pool2d_default` divides by 1: it sums.
        _ => x.avg_pool2d([2, 2], [2, 2], [0, 0], false, true, None::<i64>),
    }
}

/// Mean over all pixels: (B, C, H, W) to (B, C).
pub(crate) fn global_mean(x: &Tensor) -> Tensor {
    x.mean_dim([2i64, 3].as_slice(), false, None)
}
