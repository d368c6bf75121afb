//! Writes model images: turns layers with weights in PyTorch's order into the bytes that a board reads.
//!
//! An exporter gives quantized tensors. The writer computes everything that follows from them: the order of the
//! weights for the kernels, zero points folded into biases, sizes of line buffers and arena,
//! multiply-accumulates, and the answer to the golden wafer. The image has passed [`Model::new_checked`], so an
//! exporter cannot write an image that a board refuses.

use std::fmt;

use lightwafer_runtime::AlignedBox;
use lightwafer_runtime::dies::{DieMap, Mask};
use lightwafer_runtime::graph::{IMAGE, Layer, NONE, Op};
use lightwafer_runtime::image::{
    FORMAT_VERSION, Golden, Header, MAGIC, Model, ModelError, Rounding,
};
use lightwafer_runtime::internals::field;
use lightwafer_runtime::internals::plan::layout::WORK_COUNT;
use lightwafer_runtime::internals::plan::{order, tiles};
use lightwafer_runtime::limits::MAX_LAYERS;
use lightwafer_runtime::{EngineError, FixedEngine, crc32};

use crate::placement;

/// One layer, as an exporter gives it.
///
/// The quantization is that of TensorFlow Lite: a real value is scale·(q − zero point).
///
/// * `weights` are int8, symmetric, with one scale an output channel, in PyTorch's order: `[co][ci][ky][kx]`
///   (convolutions; the first one has three `ci`), `[c][1][ky][kx]` (depthwise), `[co][ci]` (pointwise and heads;
///   in `ci`, the inputs of a concatenation follow each other), `[ci][co][dy][dx]` (transposed).
/// * `bias` is int32 at scale s_in·s_w. The zero point of the input is *not* folded into it. For the image, s_in
///   is 1/255 and the zero point −128.
/// * `multipliers` are s_in·s_w/s_out·2^(32−shift), one an output channel, rounded, in 0…2^31−1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LayerSpec {
    /// What it computes.
    pub op: Op,
    /// Its inputs: positions of earlier layers, [`IMAGE`] or [`NONE`].
    pub inputs: [u8; 2],
    /// Rows of the output (of the input for [`Op::ClassHead`]).
    pub height: u16,
    /// Columns of the output (of the input for [`Op::ClassHead`]).
    pub width: u16,
    /// Channels of the output; classes for [`Op::ClassHead`].
    pub channels: u16,
    /// Zero point of the output. For [`Op::ClassHead`], that of the embedding; for [`Op::MaskHead`], any value.
    pub zero_point: i8,
    /// Whether a ReLU follows.
    pub relu: bool,
    /// Left shift of the accumulator before the multiplication. 0, unless a multiplier would reach 2^31.
    pub shift: u8,
    /// If not 0, this layer is the target of a stage that is computed in this number of tiles: see the runtime's
    /// `plan::tiles`. An exporter sets 0 and leaves tiles to [`crate::schedule`].
    pub tiles: u8,
    /// Weights in PyTorch's order.
    pub weights: Vec<i8>,
    /// One bias an output channel.
    pub bias: Vec<i32>,
    /// One multiplier an output channel. For [`Op::ClassHead`], to logits in units of 2⁻¹⁶. [`Op::MaskHead`] needs
    /// none, because the sign of its accumulator decides.
    pub multipliers: Vec<i32>,
    /// [`Op::ClassHead`] only: the multiplier of the mean, s_in/(pixels·s_embedding)·2^32.
    pub mean_multiplier: i32,
}

/// A whole network, as an exporter gives it.
#[derive(Debug, Clone)]
pub struct ModelSpec {
    /// The model's name.
    pub name: String,
    /// When it was exported, [RFC 3339](https://www.rfc-editor.org/info/rfc3339) in UTC.
    pub created: String,
    /// Trainable parameters before quantization.
    pub parameters: u32,
    /// The layers; each comes after the layers it reads.
    pub layers: Vec<LayerSpec>,
}

/// Why a network cannot be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WriteError {
    /// A tensor of a layer has another number of values than its shape needs.
    Tensor {
        /// The layer.
        layer: usize,
        /// Which tensor.
        tensor: &'static str,
        /// Number of values that its shape needs.
        expected: usize,
        /// Number of values given.
        found: usize,
    },
    /// The image would not pass the runtime's check.
    Model(ModelError),
    /// No engine can run the image.
    Engine(EngineError),
    /// A text or a count is too large for the format.
    Size,
    /// The golden wafer cannot be read, or the new image answers it differently.
    Golden,
}

impl fmt::Display for WriteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tensor {
                layer,
                tensor,
                expected,
                found,
            } => {
                write!(
                    f,
                    "layer {layer}: {tensor} has {found} values, {expected} expected"
                )
            }
            Self::Model(e) => e.fmt(f),
            Self::Engine(e) => e.fmt(f),
            Self::Size => write!(f, "a name or a count is too large for the format"),
            Self::Golden => write!(f, "the answer to the golden wafer has changed"),
        }
    }
}

impl std::error::Error for WriteError {}

/// Writes the image of `spec`. Its golden wafer is `golden`, with the answer that this image itself gives.
///
/// # Errors
/// [`WriteError`]; it names the layer and the problem.
pub fn write(spec: &ModelSpec, golden: &DieMap<'_>) -> Result<AlignedBox<u8>, WriteError> {
    let Plan {
        layers,
        data,
        macs,
        arena_bytes,
        work,
    } = plan(&spec.layers)?;
    let header = Header {
        name: &spec.name,
        created: &spec.created,
        rounding: Rounding::SingleUp,
        parameters: spec.parameters,
        macs,
        arena_bytes: u32::try_from(arena_bytes).map_err(|_| WriteError::Size)?,
        work,
        layers: layers.len() as u8,
    };
    let mut expected = Golden {
        rows: golden.rows() as u16,
        cols: golden.cols() as u16,
        packed: golden.packed(),
        logits: Default::default(),
        mask_crc: 0,
    };
    // First without the answer, in order to compute it; then with the answer.
    let image = assemble(&header, &layers, &data, &expected)?;
    let model = Model::new_checked(&image).map_err(WriteError::Model)?;
    let mut arena = AlignedBox::zeroed(arena_bytes);
    let mut engine = FixedEngine::new(model, &mut arena).map_err(WriteError::Engine)?;
    let mut mask = Mask::new();
    let answer = engine.infer(golden, &mut mask);
    expected.logits = answer.logits.into_iter().collect();
    expected.mask_crc = crc32(&mask.0);
    let image = assemble(&header, &layers, &data, &expected)?;
    Model::new_checked(&image).map_err(WriteError::Model)?;
    Ok(image)
}

/// Everything in an image that follows from the layers alone.
pub(crate) struct Plan {
    pub layers: Vec<Layer>,
    pub data: Vec<u8>,
    pub macs: u64,
    pub arena_bytes: usize,
    pub work: [u32; WORK_COUNT],
}

/// Lays out the data section, sizes the line buffers and places them. Layers with equal weights and records share
/// them.
pub(crate) fn plan(specs: &[LayerSpec]) -> Result<Plan, WriteError> {
    if specs.is_empty() || specs.len() > MAX_LAYERS {
        return Err(WriteError::Model(ModelError::LayerCount(specs.len())));
    }
    let mut layers: Vec<Layer> = Vec::new();
    let mut data = Vec::new();
    for (at, from) in specs.iter().enumerate() {
        let end = data.len();
        let mut layer = layer(specs, at, from, &mut data)?;
        let (before, own) = data.split_at(end);
        let start = |layer: &Layer| layer.weights as usize;
        let equal = layers.iter().find(|equal| {
            !own.is_empty()
                && equal.op == layer.op
                && before
                    .get(start(equal)..)
                    .is_some_and(|d| d.starts_with(own))
        });
        if let Some(equal) = equal {
            (layer.weights, layer.records) = (equal.weights, equal.records);
            data.truncate(end);
        }
        layers.push(layer);
    }
    let rows = order::minimum_rows(&layers);
    for (layer, rows) in layers.iter_mut().zip(rows) {
        layer.buffer_rows = if layer.has_line_buffer() {
            rows.min(layer.height)
        } else {
            0
        };
    }
    let (work, arena_bytes) = placement::place(&mut layers);
    Ok(Plan {
        macs: tiles::macs(&layers),
        layers,
        data,
        arena_bytes: arena_bytes as usize,
        work,
    })
}

fn channels_in(specs: &[LayerSpec], layer: &LayerSpec) -> usize {
    let channels = |input: u8| match input {
        IMAGE => 3,
        NONE => 0,
        at => specs
            .get(usize::from(at))
            .map_or(0, |l| usize::from(l.channels)),
    };
    channels(layer.inputs[0]) + channels(layer.inputs[1])
}

/// Appends a layer's weights and records to `data`.
fn layer(
    specs: &[LayerSpec],
    index: usize,
    from: &LayerSpec,
    data: &mut Vec<u8>,
) -> Result<Layer, WriteError> {
    let cin = channels_in(specs, from);
    let cout = usize::from(from.channels);
    let mut layer = Layer {
        op: from.op,
        inputs: from.inputs,
        height: from.height,
        width: from.width,
        channels: from.channels,
        zero_point: from.zero_point,
        act_min: if from.relu { from.zero_point } else { -128 },
        shift: from.shift,
        buffer_rows: 0,
        tiles: from.tiles,
        start: 0,
        weights: 0,
        records: 0,
    };
    let (weight_count, _) = layer.parameters(cin);
    let pool = matches!(from.op, Op::MaxPool2 | Op::AvgPool2);
    let channels = if pool { 0 } else { cout };
    let multipliers = if from.op == Op::MaskHead { 0 } else { channels };
    let size = |tensor, values: usize, expected| {
        let error = WriteError::Tensor {
            layer: index,
            tensor,
            expected,
            found: values,
        };
        (values == expected).then_some(()).ok_or(error)
    };
    size("weights", from.weights.len(), weight_count)?;
    size("bias", from.bias.len(), channels)?;
    size("multipliers", from.multipliers.len(), multipliers)?;
    if pool {
        return Ok(layer);
    }

    let input = specs.get(usize::from(from.inputs[0]));
    let zero_point = match from.op {
        // The look-up table counts colours that are on, so the zero point of the image is not used.
        Op::ImageConv3x3 => 0,
        Op::ClassHead => i32::from(from.zero_point),
        _ => i32::from(input.map_or(0, |l| l.zero_point)),
    };
    let w = |at: usize| from.weights[at];
    // The sum of the weights for output channel `at`. For transposed convolutions `at` counts taps and channels.
    let sum = |at: usize| -> i32 {
        let of = |range: std::ops::Range<usize>| range.map(|i| i32::from(w(i))).sum();
        match from.op {
            Op::ImageConv3x3 | Op::Conv3x3 => of(at * 9 * cin..(at + 1) * 9 * cin),
            Op::Depthwise3x3 => of(at * 9..(at + 1) * 9),
            Op::TransposedConv2x2 => {
                let (tap, co) = (at / cout, at % cout);
                (0..cin)
                    .map(|ci| i32::from(w((ci * cout + co) * 4 + tap)))
                    .sum()
            }
            _ => of(at * cin..(at + 1) * cin),
        }
    };
    let mut records = Vec::new();
    let mut record = |bias: i32, multiplier: i32| {
        records.extend(bias.to_le_bytes());
        records.extend(multiplier.to_le_bytes());
    };
    if from.op == Op::ClassHead {
        let pixels = i32::from(from.height) * i32::from(from.width);
        record(
            -pixels * i32::from(input.map_or(0, |l| l.zero_point)),
            from.mean_multiplier,
        );
    }
    let taps = if from.op == Op::TransposedConv2x2 {
        4
    } else {
        1
    };
    for at in 0..taps * cout {
        let bias = i64::from(from.bias[at % cout]) - i64::from(zero_point) * i64::from(sum(at));
        let bias =
            i32::try_from(bias).map_err(|_| WriteError::Model(ModelError::Overflow(index)))?;
        record(bias, from.multipliers.get(at % cout).copied().unwrap_or(0));
    }
    layer.weights = u32::try_from(data.len()).map_err(|_| WriteError::Size)?;
    data.extend(reorder(from.op, cin, cout, w).into_iter().map(|w| w as u8));
    data.resize(data.len().next_multiple_of(4), 0);
    layer.records = u32::try_from(data.len()).map_err(|_| WriteError::Size)?;
    data.extend(records);
    Ok(layer)
}

/// Reorders weights from PyTorch's order to that of the kernel (see [`Op`]).
pub(crate) fn reorder<T>(op: Op, cin: usize, cout: usize, w: impl Fn(usize) -> T) -> Vec<T> {
    // From output `o` and input position `k` to groups of four outputs and four positions.
    let grouped = |outputs: usize, length: usize, from: &dyn Fn(usize, usize) -> usize| {
        let mut out = Vec::with_capacity(outputs * length);
        for group in (0..outputs).step_by(4) {
            for quad in (0..length).step_by(4) {
                for o in group..group + 4 {
                    out.extend((quad..quad + 4).map(|k| w(from(o, k))));
                }
            }
        }
        out
    };
    match op {
        Op::ImageConv3x3 => {
            let mut out = Vec::with_capacity(9 * cin * cout);
            for (tap, ci) in (0..9).flat_map(|tap| (0..cin).map(move |ci| (tap, ci))) {
                out.extend((0..cout).map(|co| w((co * cin + ci) * 9 + tap)));
            }
            out
        }
        Op::Conv3x3 => grouped(cout, 9 * cin, &|o, k| (o * cin + k % cin) * 9 + k / cin),
        Op::Pointwise => grouped(cout, cin, &|o, k| o * cin + k),
        Op::TransposedConv2x2 => {
            grouped(4 * cout, cin, &|o, k| (k * cout + o % cout) * 4 + o / cout)
        }
        Op::Depthwise3x3 => {
            let groups = (0..cout)
                .step_by(4)
                .flat_map(|g| (0..9).map(move |tap| (g, tap)));
            groups
                .flat_map(|(g, tap)| (g..g + 4).map(move |c| c * 9 + tap))
                .map(w)
                .collect()
        }
        Op::MaskHead | Op::ClassHead => (0..cin * cout).map(w).collect(),
        Op::MaxPool2 | Op::AvgPool2 => Vec::new(),
    }
}

/// Puts the bytes of an image together.
fn assemble(
    header: &Header<'_>,
    layers: &[Layer],
    data: &[u8],
    golden: &Golden<'_>,
) -> Result<AlignedBox<u8>, WriteError> {
    let size = |_| WriteError::Size;
    let mut head = postcard::to_extend(header, Vec::new()).map_err(size)?;
    for layer in layers {
        head = postcard::to_extend(layer, head).map_err(size)?;
    }
    let golden = postcard::to_extend(golden, Vec::new()).map_err(size)?;
    // Weights must begin at a multiple of 4, so the header is padded with bytes that no decoder reads.
    while !(field::END + head.len()).is_multiple_of(4) {
        head.push(0);
    }
    let total = field::END + head.len() + data.len() + golden.len() + field::CRC_LEN;
    let len = |n: usize| {
        u32::try_from(n)
            .map(u32::to_le_bytes)
            .map_err(|_| WriteError::Size)
    };
    let mut image = Vec::with_capacity(total);
    image.extend(MAGIC);
    image.extend(FORMAT_VERSION.to_le_bytes());
    image.extend(
        u16::try_from(head.len())
            .map_err(|_| WriteError::Size)?
            .to_le_bytes(),
    );
    image.extend(len(total)?);
    image.extend(len(data.len())?);
    image.extend(len(golden.len())?);
    image.extend(head);
    image.extend(data);
    image.extend(golden);
    image.extend(crc32(&image).to_le_bytes());
    Ok(image.into())
}
