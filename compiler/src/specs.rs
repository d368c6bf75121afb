//! From a model image back to the layers that an exporter gave: the writer's other direction, for tools
//! that write a model in another form.

use lightwafer_runtime::Model;
use lightwafer_runtime::graph::{Op, channels_in};
use lightwafer_runtime::internals::kernels::record;

use crate::writer::{LayerSpec, reorder};

/// The layers as [`writer::write`](crate::writer::write) takes them: weights in PyTorch's order,
/// biases without the input's zero point. Writing them again gives the same image. At a zero point of
/// −128, where a ReLU changes nothing, there is one.
pub fn layer_specs(model: &Model<'_>) -> Vec<LayerSpec> {
    (0..model.layers().len())
        .filter_map(|at| layer_spec(model, at))
        .collect()
}

fn layer_spec(model: &Model<'_>, at: usize) -> Option<LayerSpec> {
    let layer = model.layers().get(at)?;
    let input = model.layers().get(usize::from(layer.inputs[0]));
    let (cin, cout) = (
        channels_in(model.layers(), layer),
        usize::from(layer.channels),
    );
    let (stored, records) = model.parameters(layer);
    let pool = matches!(layer.op, Op::MaxPool2 | Op::AvgPool2);
    let mut weights = vec![0; layer.parameters(cin).0];
    // Where each stored weight comes from.
    let order = reorder(layer.op, cin, cout, |from| from);
    for (from, weight) in order.into_iter().zip(stored) {
        *weights.get_mut(from)? = *weight as i8;
    }
    let zero_point = match layer.op {
        // As the writer folds it.
        Op::ImageConv3x3 => 0,
        Op::ClassHead => layer.zero_point,
        _ => input.map_or(0, |layer| layer.zero_point),
    };
    // A class head's first record is its mean's; a transposed convolution's repeat with every tap.
    let first = usize::from(layer.op == Op::ClassHead);
    let channels = if pool { 0 } else { cout };
    let (mut bias, mut multipliers) = (Vec::new(), Vec::new());
    for channel in 0..channels {
        let (folded, multiplier) = record(records, first + channel);
        let sum: i32 = match layer.op {
            Op::TransposedConv2x2 => (0..cin)
                .filter_map(|ci| weights.get((ci * cout + channel) * 4))
                .map(|w| i32::from(*w))
                .sum(),
            _ => {
                let length = (weights.len() / cout.max(1)).max(1);
                let own = weights.chunks_exact(length).nth(channel)?;
                own.iter().map(|w| i32::from(*w)).sum()
            }
        };
        bias.push(folded.wrapping_add(i32::from(zero_point).wrapping_mul(sum)));
        multipliers.push(multiplier);
    }
    if layer.op == Op::MaskHead {
        multipliers.clear();
    }
    Some(LayerSpec {
        op: layer.op,
        inputs: layer.inputs,
        height: layer.height,
        width: layer.width,
        channels: layer.channels,
        zero_point: layer.zero_point,
        relu: layer.act_min == layer.zero_point,
        shift: layer.shift,
        tiles: layer.tiles,
        weights,
        bias,
        multipliers,
        mean_multiplier: if layer.op == Op::ClassHead {
            record(records, 0).1
        } else {
            0
        },
    })
}
