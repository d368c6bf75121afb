//! The layers of the network, as the model image describes them.
//!
//! Tensors are int8 rows of interleaved channels (H, W, C), quantized as in
//! [TensorFlow Lite](https://www.tensorflow.org/lite/performance/quantization_spec). A layer's parameters lie in
//! the data section of the image: weights in the order in which its kernel reads them, and one *record* a
//! channel, its bias and its requantization multiplier. Each [`Op`] documents the order of its weights.

use serde::{Deserialize, Serialize};

/// Bytes of one channel's record: bias, then multiplier, both i32, little endian.
pub const RECORD_BYTES: usize = 8;
/// [`Layer::inputs`]: the rendered die map.
pub const IMAGE: u8 = 0xfe;
/// [`Layer::inputs`]: there is no second input.
pub const NONE: u8 = 0xff;

/// What a layer computes.
///
/// In the weight orders, `g` is a group of four output channels and `j` the channel in the group. So a kernel
/// reads four activations as one word, and the weights for them as the next four words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Op {
    /// 3×3 convolution, zero padding, on the image's three colours. Weights `[ky][kx][ci][co]`.
    ImageConv3x3,
    /// 3×3 convolution, zero padding. Weights `[g][ky][kx][ci/4][j][ci%4]`.
    Conv3x3,
    /// Depthwise 3×3 convolution, zero padding. Weights `[g][ky][kx][j]`.
    Depthwise3x3,
    /// 1×1 convolution of one tensor, or of two tensors concatenated by channel. Weights `[g][ci/4][j][ci%4]`.
    Pointwise,
    /// Transposed 2×2 convolution with stride 2. Weights `[dy][g][ci/4][j][ci%4]`, where `g` and `j` count
    /// `dx · channels + co`. Records `[dy][dx][co]`.
    TransposedConv2x2,
    /// Maximum pooling of 2×2 pixels.
    MaxPool2,
    /// Average pooling of 2×2 pixels, rounded to nearest, ties up.
    AvgPool2,
    /// 1×1 convolution to one channel. A pixel is marked if accumulator + bias ≥ 0. Weights `[ci]`.
    MaskHead,
    /// Mean over all pixels, then a linear layer. The mean is the embedding and is requantized with record 0. The
    /// accumulators of the linear layer are requantized to logits in units of 2⁻¹⁶. Weights `[class][ci]`.
    ClassHead,
}

/// One layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layer {
    /// What it computes.
    pub op: Op,
    /// The positions of the layers it reads, each lower than its own position; or [`IMAGE`], [`NONE`].
    pub inputs: [u8; 2],
    /// Rows of the output. For [`Op::ClassHead`], rows of the input.
    pub height: u16,
    /// Columns of the output. For [`Op::ClassHead`], columns of the input.
    pub width: u16,
    /// Channels of the output.
    pub channels: u16,
    /// Zero point of the output, as in TensorFlow Lite: real value = scale · (q − zero point). For
    /// [`Op::ClassHead`], the zero point of the embedding.
    pub zero_point: i8,
    /// Smallest value of the output, `activation_min` in TensorFlow Lite: the zero point after a ReLU, else −128.
    pub act_min: i8,
    /// Left shift of the accumulators before the multiplication.
    pub shift: u8,
    /// Rows of the layer's line buffer.
    pub buffer_rows: u16,
    /// If not 0, this layer is the target of a stage, and the stage is computed in this number of tiles: see
    /// `plan::tiles`.
    pub tiles: u8,
    /// Where the line buffer lies in the arena, in bytes; a multiple of 4.
    pub start: u32,
    /// Position of the weights in the data section.
    pub weights: u32,
    /// Position of the channel records in the data section.
    pub records: u32,
}

impl Layer {
    /// Whether the layer's output is kept in a line buffer.
    pub const fn has_line_buffer(&self) -> bool {
        !matches!(self.op, Op::MaskHead | Op::ClassHead)
    }

    /// Whether output row `row` reads a row of padding.
    pub const fn reads_padding(&self, row: u16) -> bool {
        matches!(self.op, Op::Conv3x3 | Op::Depthwise3x3) && (row == 0 || row + 1 == self.height)
    }

    /// The first and the last row of an input that output row `row` needs. They are not clipped to the height of the
    /// input: the first may be −1.
    pub const fn needs(&self, row: i32) -> (i32, i32) {
        match self.op {
            Op::ImageConv3x3 | Op::Conv3x3 | Op::Depthwise3x3 => (row - 1, row + 1),
            Op::Pointwise | Op::MaskHead | Op::ClassHead => (row, row),
            Op::TransposedConv2x2 => (row / 2, row / 2),
            Op::MaxPool2 | Op::AvgPool2 => (2 * row, 2 * row + 1),
        }
    }

    /// The number of weight bytes and of records, for `channels_in` input channels.
    pub const fn parameters(&self, channels_in: usize) -> (usize, usize) {
        let out = self.channels as usize;
        match self.op {
            Op::ImageConv3x3 | Op::Conv3x3 => (9 * channels_in * out, out),
            Op::Depthwise3x3 => (9 * out, out),
            Op::Pointwise | Op::MaskHead => (channels_in * out, out),
            Op::TransposedConv2x2 => (4 * channels_in * out, 4 * out),
            Op::MaxPool2 | Op::AvgPool2 => (0, 0),
            Op::ClassHead => (channels_in * out, 1 + out),
        }
    }

    /// Multiply-accumulates of `columns` whole columns of the output. A class head counts as one column.
    pub const fn macs(&self, channels_in: usize, columns: u16) -> u64 {
        let (weights, _) = self.parameters(channels_in);
        let times = match self.op {
            // Every weight is used for every fourth output.
            Op::TransposedConv2x2 => self.height as u64 * columns as u64 / 4,
            Op::ClassHead => columns as u64,
            _ => self.height as u64 * columns as u64,
        };
        weights as u64 * times
    }
}

/// The number of channels that `layer` reads, of all its inputs together; 3 for the image.
pub fn channels_in(layers: &[Layer], layer: &Layer) -> usize {
    let channels = |input: u8| match input {
        IMAGE => 3,
        at => layers
            .get(usize::from(at))
            .map_or(0, |l| usize::from(l.channels)),
    };
    channels(layer.inputs[0]) + channels(layer.inputs[1])
}
