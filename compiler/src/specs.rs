//! Gets the layers of a model image in the form that the writer takes, for tools that write the model in another
//! format.

use lightwafer_runtime::Model;
use lightwafer_runtime::graph::{Op, channels_in};
use lightwafer_runtime::internals::kernels::record;

use crate::writer::{LayerSpec, reorder};

/// The layers for [`writer::write`](crate::writer::write): weights in PyTorch's order, biases without the zero
/// point of the input. Writing them again gives the same image. A layer with a zero point of −128 is given a
/// ReLU, which changes nothing there.
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
    // For each stored weight, its position in PyTorch's order.
    let order = reorder(layer.op, cin, cout, |from| from);
    for (from, weight) in order.into_iter().zip(stored) {
        *weights.get_mut(from)? = *weight as i8;
    }
    let zero_point = match layer.op {
        // The same as in the writer.
        Op::ImageConv3x3 => 0,
        Op::ClassHead => layer.zero_point,
        _ => input.map_or(0, |layer| layer.zero_point),
    };
    // The first record of a class head is for its mean. The records of a transposed convolution repeat for every tap.
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
