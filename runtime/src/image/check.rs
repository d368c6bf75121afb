//! The checks that a decoded model must pass before it may run: shapes, tiles, data, quantization, overflow, line
//! buffers.

use super::{Model, ModelError};
use crate::dies::{CLASS_COUNT, IMAGE_SIZE};
use crate::graph::{IMAGE, Layer, NONE, Op, RECORD_BYTES, channels_in};
use crate::kernels::record;
use crate::limits::MAX_CHANNELS;
use crate::plan::{PlanError, layout, liveness, order, tiles};

/// Checks a whole model; see [`Model::new_checked`].
pub(super) fn check(model: &Model<'_>) -> Result<(), ModelError> {
    let layers = model.layers();
    // The first layer of the current stage, and the number of class heads so far.
    let (mut first, mut class_heads) = (0, 0);
    let mut table = None;
    for (at, layer) in layers.iter().enumerate() {
        inputs(layers, first, at, layer)?;
        shape(layers, layer)
            .then_some(())
            .ok_or(ModelError::Shape(at))?;
        quantization(layers, layer)
            .then_some(())
            .ok_or(ModelError::Quantization(at))?;
        if layer.tiles > 0 {
            let cut = u16::from(layer.tiles) <= tiles::most(layer.width);
            let whole = !matches!(layer.op, Op::Depthwise3x3 | Op::ClassHead);
            (cut && whole).then_some(()).ok_or(ModelError::Tiles(at))?;
            first = at + 1;
        }
        let (weight_bytes, records) = layer.parameters(channels_in(layers, layer));
        let (weights, params) = model.parameters(layer);
        let there = weights.len() == weight_bytes && params.len() == records * RECORD_BYTES;
        if !there || !on_words(weights) || !on_words(params) {
            return Err(ModelError::Data(at));
        }
        if layer.op == Op::ImageConv3x3 && *table.get_or_insert(weights) != weights {
            return Err(ModelError::Table(at));
        }
        overflow(model, layer, weights, params).ok_or(ModelError::Overflow(at))?;
        class_heads += usize::from(layer.op == Op::ClassHead);
        if (layer.op == Op::MaskHead) != (at + 1 == layers.len()) {
            return Err(ModelError::Heads);
        }
    }
    if class_heads != 1 {
        return Err(ModelError::Heads);
    }
    if tiles::macs(layers) != model.header().macs {
        return Err(ModelError::Macs);
    }
    order::check_line_buffers(layers).map_err(planned)?;
    let regions = layout::regions(layers, &model.header().work);
    let expected = liveness::check(layers, &regions).map_err(planned)? as usize;
    let found = model.header().arena_bytes as usize;
    // A compiler may place buffers less densely than this project's.
    if found < expected || found / 2 > expected {
        return Err(ModelError::Arena { expected, found });
    }
    Ok(())
}

/// Whether the bytes begin at a multiple of 4, or are none.
fn on_words(bytes: &[u8]) -> bool {
    bytes.is_empty() || bytes.as_ptr().addr().is_multiple_of(4)
}

/// The error of the plan as an error of the image.
fn planned(error: PlanError) -> ModelError {
    match error {
        PlanError::Heads => ModelError::Heads,
        PlanError::Buffer(at) => ModelError::LineBuffer(at),
        PlanError::Memory(at) => ModelError::Memory(at),
    }
}

fn input(layers: &[Layer], layer: &Layer, which: usize) -> Option<Layer> {
    layers.get(usize::from(*layer.inputs.get(which)?)).copied()
}

fn inputs(layers: &[Layer], first: usize, at: usize, layer: &Layer) -> Result<(), ModelError> {
    let earlier = |input: u8| {
        let input = usize::from(input);
        let kept = |from: &Layer| from.has_line_buffer() && (input >= first || from.tiles > 0);
        input < at && layers.get(input).is_some_and(kept)
    };
    let [first, second] = layer.inputs;
    let good = match layer.op {
        Op::ImageConv3x3 => first == IMAGE && second == NONE,
        Op::Pointwise => earlier(first) && (second == NONE || earlier(second)),
        Op::Depthwise3x3 => earlier(first) && second == NONE && planar(layers, first),
        _ => earlier(first) && second == NONE,
    };
    good.then_some(()).ok_or(ModelError::Inputs(at))
}

/// Whether the rows of layer `at` can be planar, as a depthwise convolution needs them: only depthwise
/// convolutions read the layer, and its operator can write planar rows.
fn planar(layers: &[Layer], at: u8) -> bool {
    let writes = layers.get(usize::from(at)).is_some_and(|from| {
        matches!(
            from.op,
            Op::ImageConv3x3 | Op::Conv3x3 | Op::Depthwise3x3 | Op::Pointwise
        )
    });
    let mut readers = layers.iter().filter(|l| l.inputs.contains(&at));
    writes && readers.all(|l| l.op == Op::Depthwise3x3)
}

fn shape(layers: &[Layer], layer: &Layer) -> bool {
    let (h, w, c) = (layer.height, layer.width, layer.channels);
    let image = IMAGE_SIZE as u16;
    let sized = (1..=image).contains(&h)
        && (1..=image).contains(&w)
        && (4..=MAX_CHANNELS as u16).contains(&c)
        && c % 4 == 0;
    if layer.op == Op::ImageConv3x3 {
        return sized && h == image && w == image;
    }
    let Some(from) = input(layers, layer, 0) else {
        return false;
    };
    let same = (h, w) == (from.height, from.width);
    match layer.op {
        Op::ImageConv3x3 => false,
        Op::Conv3x3 => sized && same,
        Op::Depthwise3x3 => sized && same && c == from.channels,
        Op::Pointwise => {
            let second = input(layers, layer, 1);
            sized && same && second.is_none_or(|s| (s.height, s.width) == (h, w))
        }
        Op::TransposedConv2x2 => sized && (h, w) == (from.height * 2, from.width * 2),
        Op::MaxPool2 | Op::AvgPool2 => {
            sized && (h * 2, w * 2) == (from.height, from.width) && c == from.channels
        }
        Op::MaskHead => same && h == image && w == image && c == 1,
        Op::ClassHead => h == from.height && w == from.width && c == CLASS_COUNT as u16,
    }
}

fn quantization(layers: &[Layer], layer: &Layer) -> bool {
    let first = input(layers, layer, 0);
    // A concatenation has one scale and so one zero point. A pool keeps the zero point of its input.
    let equal = |second: Option<Layer>| match (first, second) {
        (Some(a), Some(b)) => a.zero_point == b.zero_point,
        _ => true,
    };
    let same = first.is_none_or(|f| f.zero_point == layer.zero_point);
    match layer.op {
        Op::Pointwise => equal(input(layers, layer, 1)),
        Op::MaxPool2 | Op::AvgPool2 => same,
        _ => true,
    }
}

/// Proves for every output channel that (Σ|w|·128 + |bias|)·2^shift stays below 2^31.
fn overflow(model: &Model<'_>, layer: &Layer, weights: &[u8], records: &[u8]) -> Option<()> {
    let channels = usize::from(layer.channels);
    let channels_in = channels_in(model.layers(), layer);
    // The first record of a class head is for its mean, which is a sum over a whole tensor.
    let first = usize::from(layer.op == Op::ClassHead);
    if first > 0 {
        let pixels = u32::from(layer.height) * u32::from(layer.width);
        let (bias, multiplier) = record(records, 0);
        fits(0, pixels, bias, multiplier)?;
    }
    // Four channels of a dense operator share a block of weights, because the kernels read them together.
    let taps = if layer.op == Op::Conv3x3 { 9 } else { 1 };
    let block = 4 * taps * channels_in;
    for channel in 0..records.len() / RECORD_BYTES - first {
        let (group, j) = (channel / 4, channel % 4);
        // The channel's weights: where they begin, how many are adjacent, the distance from one such run to the next,
        // and the length of the block.
        let (start, run, step, len) = match layer.op {
            Op::MaxPool2 | Op::AvgPool2 => return Some(()),
            Op::ImageConv3x3 => (channel, 1, channels, weights.len() - channel),
            Op::Depthwise3x3 => (36 * group + j, 1, 4, 36 - j),
            Op::MaskHead => (0, channels_in, channels_in, channels_in),
            Op::ClassHead => (channel * channels_in, channels_in, channels_in, channels_in),
            Op::Conv3x3 | Op::Pointwise | Op::TransposedConv2x2 => {
                (block * group + 4 * j, 4, 16, block.saturating_sub(4 * j))
            }
        };
        let own = weights.get(start..start + len)?;
        let runs = own
            .chunks(step.max(1))
            .flat_map(|part| part.iter().take(run));
        // With checked shapes there are at most 9 · 128 of them.
        let sum: u32 = runs.map(|&w| u32::from((w as i8).unsigned_abs())).sum();
        // A colour that is on counts 255, so the accumulator is at most 2·128 times the sum.
        let times = if layer.op == Op::ImageConv3x3 { 2 } else { 1 };
        let (bias, multiplier) = record(records, first + channel);
        fits(layer.shift, times * sum, bias, multiplier)?;
    }
    Some(())
}

/// Whether (sum·128 + |bias|)·2^shift stays below 2^31 and the multiplier is not negative.
#[inline(never)]
fn fits(shift: u8, sum: u32, bias: i32, multiplier: i32) -> Option<()> {
    let bound = sum.checked_mul(128)?.checked_add(bias.unsigned_abs())?;
    let most = i32::MAX.unsigned_abs().checked_shr(shift.into())?;
    (shift < 31 && bound <= most && multiplier >= 0).then_some(())
}
