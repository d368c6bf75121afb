//! The teacher: DeepLabV3+ over a ResNet, with a class head on the pooled features.
//!
//! Output stride 16, atrous rates 12/24/36, 256 channels, separable convolutions, stride-4 skip reduced
//! to 48 (Chen et al., 2018; He et al., 2015). Layers and state-dict names are those of
//! segmentation_models.pytorch's `DeepLabV3Plus`, whose encoder names are torchvision's; the class head
//! is `class_head.0` and `class_head.2`.

use tch::nn::{self, Module, ModuleT};
use tch::{Device, Tensor};

use crate::architecture::{Architecture, Encoder};
use crate::network::{
    Network, Output, PartSize, batch_norm, bn_relu, conv, conv_with, count, global_mean,
};
use crate::paper_figures;
use crate::topology::CLASSES;

/// Channels of the decoder.
const CHANNELS: i64 = 256;
/// Channels that the stride-4 skip is reduced to.
const SKIP: i64 = 48;
/// Atrous rates of the pyramid.
const RATES: [i64; 3] = [12, 24, 36];
/// Width of the class head's hidden layer.
const HIDDEN: i64 = 512;
/// Dropout of the pyramid's projection, as in segmentation_models.pytorch.
const PYRAMID_DROPOUT: f64 = 0.5;

impl Encoder {
    /// Blocks of the four layers.
    pub(crate) fn blocks(self) -> [usize; 4] {
        match self {
            Self::ResNet18 => [2, 2, 2, 2],
            Self::ResNet34 | Self::ResNet50 => [3, 4, 6, 3],
            Self::ResNet101 => [3, 4, 23, 3],
        }
    }

    /// How many times a block's output is wider than its 3×3 convolution; 4 are bottlenecks.
    pub(crate) fn expansion(self) -> i64 {
        match self {
            Self::ResNet18 | Self::ResNet34 => 1,
            Self::ResNet50 | Self::ResNet101 => 4,
        }
    }

    /// Channels of the last layer, which are pooled for the class head.
    pub fn features(self) -> i64 {
        512 * self.expansion()
    }
}

/// Convolutions with their batch normalizations, and the layers that fit the input to their output's shape.
struct Residual {
    layers: Vec<(nn::Conv2D, nn::BatchNorm)>,
    downsample: Option<(nn::Conv2D, nn::BatchNorm)>,
}

impl Residual {
    /// Two 3×3 convolutions, or a bottleneck 1×1 – 3×3 – 1×1; the stride is at the (first) 3×3.
    fn new(p: &nn::Path, ci: i64, width: i64, expansion: i64, stride: i64, dilation: i64) -> Self {
        let co = width * expansion;
        let strided = |stride| nn::ConvConfig {
            stride,
            dilation,
            ..Default::default()
        };
        let plain = nn::ConvConfig::default;
        let shapes = if expansion == 1 {
            vec![(ci, co, 3, strided(stride)), (co, co, 3, strided(1))]
        } else {
            vec![
                (ci, width, 1, plain()),
                (width, width, 3, strided(stride)),
                (width, co, 1, plain()),
            ]
        };
        let layers = shapes
            .into_iter()
            .enumerate()
            .map(|(i, (from, to, kernel, config))| {
                let conv = conv_with(p / format!("conv{}", i + 1), from, to, kernel, config);
                (conv, batch_norm(p / format!("bn{}", i + 1), to))
            });
        let layers = layers.collect();
        let downsample = (stride != 1 || ci != co).then(|| {
            let p = p / "downsample";
            let config = nn::ConvConfig {
                stride,
                ..Default::default()
            };
            (conv_with(&p / 0, ci, co, 1, config), batch_norm(&p / 1, co))
        });
        Self { layers, downsample }
    }

    fn forward(&self, x: &Tensor, train: bool) -> Tensor {
        let mut y = x.shallow_clone();
        for (i, (conv, bn)) in self.layers.iter().enumerate() {
            y = bn.forward_t(&conv.forward(&y), train);
            if i + 1 < self.layers.len() {
                y = y.relu_();
            }
        }
        match &self.downsample {
            Some((conv, bn)) => y += bn.forward_t(&conv.forward(x), train),
            None => y += x,
        }
        y.relu_()
    }
}

/// A ResNet without its classifier; the last layer is dilated instead of strided.
struct ResNet {
    conv1: nn::Conv2D,
    bn1: nn::BatchNorm,
    layers: Vec<Vec<Residual>>,
}

impl ResNet {
    fn new(p: &nn::Path, encoder: Encoder) -> Self {
        let expansion = encoder.expansion();
        let stem = nn::ConvConfig {
            stride: 2,
            ..Default::default()
        };
        let mut ci = 64;
        let layers = encoder.blocks().into_iter().enumerate().map(|(i, blocks)| {
            let p = p / format!("layer{}", i + 1);
            let (stride, dilation) = [(1, 1), (2, 1), (2, 1), (1, 2)][i];
            let width = 64 << i;
            let block = |block: usize| {
                let stride = if block == 0 { stride } else { 1 };
                let residual = Residual::new(&(&p / block), ci, width, expansion, stride, dilation);
                ci = width * expansion;
                residual
            };
            (0..blocks).map(block).collect()
        });
        let layers = layers.collect();
        Self {
            conv1: conv_with(p / "conv1", 3, 64, 7, stem),
            bn1: batch_norm(p / "bn1", 64),
            layers,
        }
    }

    /// Features at stride 4 and at stride 16.
    fn forward(&self, image: &Tensor, train: bool) -> [Tensor; 2] {
        let x = bn_relu(&self.bn1, &self.conv1.forward(image), train);
        let mut x = x.max_pool2d([3, 3], [2, 2], [1, 1], [1, 1], false);
        let mut skip = x.shallow_clone();
        for (i, layer) in self.layers.iter().enumerate() {
            for block in layer {
                x = block.forward(&x, train);
            }
            if i == 0 {
                skip = x.shallow_clone();
            }
        }
        [skip, x]
    }
}

/// Depthwise 3×3 – pointwise – BN – ReLU.
struct Separable {
    depthwise: nn::Conv2D,
    pointwise: nn::Conv2D,
    bn: nn::BatchNorm,
}

impl Separable {
    fn new(convs: &nn::Path, bn: nn::Path, ci: i64, dilation: i64) -> Self {
        let config = nn::ConvConfig {
            groups: ci,
            dilation,
            ..Default::default()
        };
        Self {
            depthwise: conv_with(convs / 0, ci, ci, 3, config),
            pointwise: conv(convs / 1, ci, CHANNELS, 1, 1),
            bn: batch_norm(bn, CHANNELS),
        }
    }

    fn forward(&self, x: &Tensor, train: bool) -> Tensor {
        let x = self.pointwise.forward(&self.depthwise.forward(x));
        bn_relu(&self.bn, &x, train)
    }
}

/// 1×1 convolution – BN – ReLU.
struct Pointwise(nn::Conv2D, nn::BatchNorm);

impl Pointwise {
    /// Layers `at` and `at + 1` of `p`.
    fn new(p: &nn::Path, at: usize, ci: i64, co: i64) -> Self {
        Self(conv(p / at, ci, co, 1, 1), batch_norm(p / (at + 1), co))
    }

    fn forward(&self, x: &Tensor, train: bool) -> Tensor {
        bn_relu(&self.1, &self.0.forward(x), train)
    }
}

/// Atrous spatial pyramid pooling, the skip, and the mask at stride 4.
struct Decoder {
    one: Pointwise,
    atrous: Vec<Separable>,
    pooled: Pointwise,
    project: Pointwise,
    after: Separable,
    skip: Pointwise,
    fuse: Separable,
    mask: nn::Conv2D,
}

impl Decoder {
    fn new(root: &nn::Path, features: i64, skip: i64) -> Self {
        let p = &(root / "decoder");
        let aspp = &(p / "aspp");
        let convs = &(aspp / 0 / "convs");
        let atrous = RATES.iter().enumerate().map(|(i, &rate)| {
            let p = convs / (i + 1);
            Separable::new(&(&p / 0), &p / 1, features, rate)
        });
        Self {
            one: Pointwise::new(&(convs / 0), 0, features, CHANNELS),
            atrous: atrous.collect(),
            pooled: Pointwise::new(&(convs / 4), 1, features, CHANNELS),
            project: Pointwise::new(&(aspp / 0 / "project"), 0, 5 * CHANNELS, CHANNELS),
            after: Separable::new(&(aspp / 1), aspp / 2, CHANNELS, 1),
            skip: Pointwise::new(&(p / "block1"), 0, skip, SKIP),
            fuse: Separable::new(&(p / "block2" / 0), p / "block2" / 1, CHANNELS + SKIP, 1),
            mask: nn::conv2d(
                root / "segmentation_head" / 0,
                CHANNELS,
                1,
                1,
                Default::default(),
            ),
        }
    }

    fn forward(&self, [skip, features]: &[Tensor; 2], train: bool) -> Tensor {
        let (height, width) = (features.size()[2], features.size()[3]);
        let mut pyramid = vec![self.one.forward(features, train)];
        pyramid.extend(
            self.atrous
                .iter()
                .map(|branch| branch.forward(features, train)),
        );
        let mean = features.mean_dim([2i64, 3].as_slice(), true, None);
        pyramid.push(
            self.pooled
                .forward(&mean, train)
                .expand([-1, -1, height, width], false),
        );
        let x = self.project.forward(&Tensor::cat(&pyramid, 1), train);
        let x = self
            .after
            .forward(&x.dropout(PYRAMID_DROPOUT, train), train);
        let x = enlarge(&x, skip.size()[2], skip.size()[3]);
        let x = Tensor::cat(&[x, self.skip.forward(skip, train)], 1);
        self.mask.forward(&self.fuse.forward(&x, train))
    }
}

/// Bilinear with aligned corners: how the network enlarges, and how its mask at stride 4 is brought to another
/// size.
pub(crate) fn enlarge(x: &Tensor, height: i64, width: i64) -> Tensor {
    x.upsample_bilinear2d([height, width], true, None, None)
}

/// The teacher's answer about a batch, its mask as small as the network makes it.
#[derive(Debug)]
pub struct Answer {
    /// Class logits, (B, classes).
    pub logits: Tensor,
    /// The pooled features, (B, 2048) for ResNet101.
    pub embedding: Tensor,
    /// Mask logits at stride 4, (B, 1, S/4, S/4), where asked for.
    pub mask: Option<Tensor>,
}

/// The teacher and its variables.
pub struct Teacher {
    vars: nn::VarStore,
    kind: Encoder,
    encoder: ResNet,
    decoder: Decoder,
    hidden: nn::Linear,
    class: nn::Linear,
}

impl Teacher {
    /// A teacher with fresh weights, drawn from torch's generator.
    pub fn new(kind: Encoder, device: Device) -> Self {
        let vars = nn::VarStore::new(device);
        let root = vars.root();
        let features = kind.features();
        let head = &root / "class_head";
        Self {
            encoder: ResNet::new(&(&root / "encoder"), kind),
            decoder: Decoder::new(&root, features, 64 * kind.expansion()),
            hidden: nn::linear(&head / 0, features, HIDDEN, Default::default()),
            class: nn::linear(&head / 2, HIDDEN, CLASSES, Default::default()),
            kind,
            vars,
        }
    }

    /// No variable needs a gradient from here on.
    pub fn freeze(&mut self) {
        self.vars.freeze();
    }

    /// Values of the embedding.
    pub fn features(&self) -> i64 {
        self.kind.features()
    }

    /// Runs images (B, 3, S, S), S a multiple of 16.
    pub fn answer(&self, image: &Tensor, train: bool, want_mask: bool) -> Answer {
        let features = self.encoder.forward(image, train);
        let embedding = global_mean(&features[1]);
        let logits = self.class.forward(&self.hidden.forward(&embedding).relu());
        let mask = want_mask.then(|| self.decoder.forward(&features, train));
        Answer {
            logits,
            embedding,
            mask,
        }
    }
}

impl Network for Teacher {
    fn architecture(&self) -> Architecture {
        Architecture::Teacher(self.kind)
    }

    fn vars(&self) -> &nn::VarStore {
        &self.vars
    }

    fn forward(&self, image: &Tensor, train: bool, want_mask: bool) -> Output {
        let answer = self.answer(image, train, want_mask);
        let (height, width) = (image.size()[2], image.size()[3]);
        Output {
            logits: answer.logits,
            mask: answer.mask.map(|mask| enlarge(&mask, height, width)),
            embedding: answer.embedding,
        }
    }

    fn serves_mask_only(&self, name: &str) -> bool {
        name.starts_with("decoder.") || name.starts_with("segmentation_head.")
    }

    fn parts(&self) -> Vec<PartSize> {
        let [encoder, head, decoder] = count(&self.vars, ["encoder.", "class_head.", "decoder."]);
        [
            ("encoder", encoder),
            ("decoder with mask head", decoder),
            ("class head", head),
        ]
        .map(|(part, parameters)| PartSize {
            part: part.to_owned(),
            parameters,
            paper: None,
        })
        .to_vec()
    }

    fn paper_parameters(&self) -> Option<i64> {
        (self.kind == Encoder::ResNet101).then_some(paper_figures::PARAMETERS[0] as i64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::Kind;

    #[test]
    fn the_resnet101_teacher_has_the_papers_size() {
        let teacher = Teacher::new(Encoder::ResNet101, Device::Cpu);
        // 45.67 M as segmentation_models.pytorch counts it, and an MLP 2048–512–38.
        assert_eq!(teacher.parameters(), 46_738_295);
        assert!(
            teacher.describe().contains("paper 46700000"),
            "{}",
            teacher.describe()
        );
    }

    #[test]
    fn every_encoder_answers_in_the_shapes_it_states() {
        let _gradients = tch::no_grad_guard();
        for encoder in [Encoder::ResNet18, Encoder::ResNet50] {
            let teacher = Teacher::new(encoder, Device::Cpu);
            let image = Tensor::rand([2, 3, 48, 48], (Kind::Float, Device::Cpu));
            let output = teacher.forward(&image, false, true);
            assert_eq!(output.logits.size(), [2, CLASSES]);
            assert_eq!(output.embedding.size(), [2, encoder.features()]);
            assert_eq!(output.mask.map(|m| m.size()), Some(vec![2, 1, 48, 48]));
            assert!(teacher.forward(&image, false, false).mask.is_none());
            assert_eq!(teacher.architecture(), Architecture::Teacher(encoder));
        }
    }
}
