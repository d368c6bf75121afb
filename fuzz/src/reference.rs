//! What a network answers, by definition: whole tensors, weights in PyTorch's order, 128-bit rounding.
//!
//! Nothing here is shared with the kernels but the types and the palette.

use lightwafer_compiler::writer::{LayerSpec, ModelSpec};
use lightwafer_runtime::dies::{CLASS_COUNT, DieMap, IMAGE_SIZE, Mask, PALETTE, source_index};
use lightwafer_runtime::graph::{IMAGE, NONE, Op};

/// A whole tensor, `[y][x][c]`, less its zero point, with a border of zeros.
struct Tensor {
    size: usize,
    channels: usize,
    values: Vec<i32>,
}

impl Tensor {
    fn new(size: usize, channels: usize) -> Self {
        let values = vec![0; (size + 2) * (size + 2) * channels];
        Self {
            size,
            channels,
            values,
        }
    }

    /// The values of a pixel, counted from −1.
    fn at(&self, y: isize, x: isize) -> &[i32] {
        let start = self.start(y, x);
        &self.values[start..start + self.channels]
    }

    fn at_mut(&mut self, y: isize, x: isize) -> &mut [i32] {
        let start = self.start(y, x);
        &mut self.values[start..start + self.channels]
    }

    fn start(&self, y: isize, x: isize) -> usize {
        ((y + 1) as usize * (self.size + 2) + (x + 1) as usize) * self.channels
    }
}

fn rounded(acc: i64, shift: u8, multiplier: i32) -> i64 {
    let product = i128::from(acc) * (1i128 << shift) * i128::from(multiplier);
    (product + (1 << 31)).div_euclid(1 << 32) as i64
}

/// Logits and mask of a network for a wafer.
pub fn infer(spec: &ModelSpec, map: &DieMap<'_>) -> ([i32; CLASS_COUNT], Mask) {
    let mut image = Tensor::new(IMAGE_SIZE, 3);
    for y in 0..IMAGE_SIZE {
        for x in 0..IMAGE_SIZE {
            let die = map.die(
                source_index(y, map.rows(), IMAGE_SIZE),
                source_index(x, map.cols(), IMAGE_SIZE),
            );
            let colour = PALETTE[usize::from(die)].map(i32::from);
            image
                .at_mut(y as isize, x as isize)
                .copy_from_slice(&colour);
        }
    }
    let (mut logits, mut mask) = ([0; CLASS_COUNT], Mask::new());
    let mut tensors: Vec<Tensor> = Vec::new();
    for layer in &spec.layers {
        let inputs: Vec<&Tensor> = match layer.inputs {
            [IMAGE, _] => vec![&image],
            [a, NONE] => vec![&tensors[usize::from(a)]],
            [a, b] => vec![&tensors[usize::from(a)], &tensors[usize::from(b)]],
        };
        let mut out = Tensor::new(usize::from(layer.height), usize::from(layer.channels));
        if layer.op == Op::ClassHead {
            logits = class(layer, inputs[0]);
        } else {
            let ordered = by_tap(layer, inputs.iter().map(|t| t.channels).sum());
            for y in 0..layer.height {
                for x in 0..layer.width {
                    pixel(layer, &ordered, &inputs, y, x, &mut out, &mut mask);
                }
            }
        }
        tensors.push(out);
    }
    (logits, mask)
}

/// Weights of a 3×3 convolution by output, tap and input; those of others as they are.
fn by_tap(layer: &LayerSpec, cin: usize) -> Vec<i8> {
    let mut ordered = layer.weights.clone();
    if matches!(layer.op, Op::ImageConv3x3 | Op::Conv3x3) {
        for (at, weight) in ordered.iter_mut().enumerate() {
            let (co, k, ci) = (at / (9 * cin), at / cin % 9, at % cin);
            *weight = layer.weights[(co * cin + ci) * 9 + k];
        }
    }
    ordered
}

/// One pixel of one layer.
fn pixel(
    layer: &LayerSpec,
    ordered: &[i8],
    inputs: &[&Tensor],
    row: u16,
    col: u16,
    out: &mut Tensor,
    mask: &mut Mask,
) {
    let (y, x) = (row as isize, col as isize);
    let cin: usize = inputs.iter().map(|t| t.channels).sum();
    let cout = usize::from(layer.channels);
    let w = |at: usize| i64::from(layer.weights[at]);
    let zero_point = i64::from(layer.zero_point);
    let low = if layer.relu { zero_point } else { -128 };
    let activation = |acc: i64, co: usize| {
        let acc = acc + i64::from(layer.bias[co]);
        let q = rounded(acc, layer.shift, layer.multipliers[co]) + zero_point;
        (q.clamp(-128, 127).max(low) - zero_point) as i32
    };
    let patch = || {
        (0..9).map(|k| {
            let (dy, dx) = (k / 3 - 1, k % 3 - 1);
            (k as usize, inputs[0].at(y + dy, x + dx))
        })
    };
    for co in 0..cout {
        let value = match layer.op {
            Op::ImageConv3x3 | Op::Conv3x3 => {
                let mut weights = ordered[co * 9 * cin..].chunks_exact(cin);
                let mut acc = 0;
                for (_, values) in patch() {
                    acc += dot(values, weights.next().unwrap_or(&[]));
                }
                activation(acc, co)
            }
            Op::Depthwise3x3 => {
                let acc = patch().map(|(k, v)| i64::from(v[co]) * w(co * 9 + k)).sum();
                activation(acc, co)
            }
            Op::Pointwise => {
                let mut acc = 0;
                let mut from = co * cin;
                for tensor in inputs {
                    acc += dot(tensor.at(y, x), &ordered[from..]);
                    from += tensor.channels;
                }
                activation(acc, co)
            }
            Op::TransposedConv2x2 => {
                let tap = (y % 2 * 2 + x % 2) as usize;
                let products = inputs[0].at(y / 2, x / 2).iter().enumerate();
                let acc = products
                    .map(|(ci, &v)| i64::from(v) * w((ci * cout + co) * 4 + tap))
                    .sum();
                activation(acc, co)
            }
            Op::MaxPool2 | Op::AvgPool2 => {
                let four = [(0, 0), (0, 1), (1, 0), (1, 1)]
                    .map(|(dy, dx)| inputs[0].at(2 * y + dy, 2 * x + dx)[co]);
                match layer.op {
                    Op::MaxPool2 => four.into_iter().max().unwrap_or(0),
                    // The zero point stays outside of the mean: what is rounded is the stored value.
                    _ => {
                        let stored = four.iter().sum::<i32>() + 4 * i32::from(layer.zero_point);
                        (stored + 2).div_euclid(4) - i32::from(layer.zero_point)
                    }
                }
            }
            Op::MaskHead => {
                let products = inputs[0].at(y, x).iter().enumerate();
                let acc: i64 = products.map(|(ci, &v)| i64::from(v) * w(ci)).sum();
                let bit = u8::from(acc + i64::from(layer.bias[0]) >= 0);
                mask.0[usize::from(row) * IMAGE_SIZE / 8 + usize::from(col) / 8] |=
                    bit << (col % 8);
                0
            }
            Op::ClassHead => 0,
        };
        out.at_mut(y, x)[co] = value;
    }
}

fn dot(values: &[i32], weights: &[i8]) -> i64 {
    // At most 64 values of 9 bits against weights of 8.
    let products = values.iter().zip(weights);
    products
        .map(|(&v, &w)| v * i32::from(w))
        .sum::<i32>()
        .into()
}

/// The class head: the mean over all pixels, then a linear layer.
fn class(layer: &LayerSpec, input: &Tensor) -> [i32; CLASS_COUNT] {
    let zero_point = i64::from(layer.zero_point);
    let low = if layer.relu { zero_point } else { -128 };
    let mut sums = vec![0i64; input.channels];
    for y in 0..input.size as isize {
        for x in 0..input.size as isize {
            for (sum, &value) in sums.iter_mut().zip(input.at(y, x)) {
                *sum += i64::from(value);
            }
        }
    }
    let embedding: Vec<i64> = sums
        .into_iter()
        .map(|sum| {
            let mean = rounded(sum, 0, layer.mean_multiplier) + zero_point;
            mean.clamp(-128, 127).max(low) - zero_point
        })
        .collect();
    let mut logits = [0; CLASS_COUNT];
    for (co, logit) in logits.iter_mut().enumerate() {
        let weights = layer.weights.iter().skip(co * embedding.len());
        let products = embedding
            .iter()
            .zip(weights)
            .map(|(e, &w)| e * i64::from(w));
        let acc = products.sum::<i64>() + i64::from(layer.bias[co]);
        *logit = rounded(acc, layer.shift, layer.multipliers[co]) as i32;
    }
    logits
}
