//! One row of one layer: finds its input rows in the rings and calls the kernel.

use super::Memory;
use crate::kernels::dense::{Segment, dense_row};
use crate::kernels::depthwise::depthwise_row;
use crate::kernels::heads::mask_row;
use crate::kernels::image_conv::{OUTSIDE, StateRow, image_conv_row};
use crate::kernels::pool;
use crate::model::{Layer, Model, Op};
use crate::wafer::{DieMap, IMAGE_SIZE, Mask};

/// A row in its ring, with its borders.
fn bordered<'r>(ring: &'r [i8], layer: &Layer, row: u16) -> &'r [i8] {
    let slot = usize::from(row % layer.ring_rows.max(1));
    let bytes = layer.row_bytes();
    ring.get(slot * bytes..(slot + 1) * bytes).unwrap_or(&[])
}

/// A row in its ring, without its borders.
pub(super) fn interior<'r>(ring: &'r [i8], layer: &Layer, row: u16) -> &'r [i8] {
    let channels = usize::from(layer.channels);
    let bytes = bordered(ring, layer, row);
    bytes
        .get(channels..bytes.len().saturating_sub(channels))
        .unwrap_or(&[])
}

/// All rings but one, while that one is written.
struct Others<'r> {
    before: &'r [i8],
    after: &'r [i8],
    after_start: usize,
}

impl Others<'_> {
    fn get(&self, start: usize, len: usize) -> &[i8] {
        let (part, start) = match start.checked_sub(self.after_start) {
            Some(start) => (self.after, start),
            None => (self.before, start),
        };
        part.get(start..start + len).unwrap_or(&[])
    }
}

impl Memory<'_> {
    /// Computes row `row` of layer `at`; its inputs are in their rings.
    pub(super) fn produce(
        &mut self,
        model: &Model<'_>,
        at: usize,
        row: u16,
        map: &DieMap<'_>,
        mask: &mut Mask,
    ) {
        let layers = model.layers();
        let Some(layer) = layers.get(at) else { return };
        match layer.op {
            Op::ClassHead => return self.class_row(model, layer, row),
            Op::ImageConv3x3 => {
                let y = usize::from(row);
                for y in y.saturating_sub(1)..(y + 2).min(IMAGE_SIZE) {
                    self.render(map, y);
                }
            }
            _ => {}
        }
        let (weights, records) = model.parameters(layer);
        let quantization = layer.quantization();
        let channels = usize::from(layer.channels);
        let first = layers.get(usize::from(layer.inputs[0]));

        if let (Op::Conv3x3 | Op::Depthwise3x3, Some(from)) = (layer.op, first)
            && (row == 0 || row + 1 == layer.height)
        {
            let start = self.padding.start;
            if let Some(bytes) = self.arena.get_mut(start..start + from.row_bytes()) {
                bytes.fill(from.zero_point);
            }
        }

        let Some(&ring) = self.rings.get(at) else {
            return;
        };
        let Some((before, rest)) = self.arena.split_at_mut_checked(ring.start) else {
            return;
        };
        let Some((own, after)) = rest.split_at_mut_checked(ring.len) else {
            return;
        };
        let others = Others {
            before,
            after,
            after_start: ring.start + ring.len,
        };
        let rings = &self.rings;
        let input = |which: usize| {
            let at = layer
                .inputs
                .get(which)
                .map_or(usize::MAX, |&i| usize::from(i));
            let from = layers.get(at)?;
            let ring = rings.get(at)?;
            Some((others.get(ring.start, ring.len), from))
        };
        // The row above, at and below, or zero points outside the tensor.
        let window = |(ring, from): (_, &Layer)| {
            [-1, 0, 1].map(|dy| {
                let y = i32::from(row) + dy;
                if (0..i32::from(from.height)).contains(&y) {
                    bordered(ring, from, y as u16)
                } else {
                    others.get(self.padding.start, from.row_bytes())
                }
            })
        };

        if layer.op == Op::MaskHead {
            let Some((ring, from)) = input(0) else { return };
            let Some(out) = mask.row_mut(usize::from(row)) else {
                return;
            };
            let row = interior(ring, from, row);
            return mask_row(row, usize::from(from.channels), weights, records, out);
        }
        let slot = usize::from(row % layer.ring_rows.max(1));
        let bytes = layer.row_bytes();
        let out = slot * bytes + channels..(slot + 1) * bytes - channels;
        let Some(out) = own.get_mut(out) else { return };

        if layer.op == Op::ImageConv3x3 {
            let outside: StateRow = [OUTSIDE; IMAGE_SIZE + 2];
            let states = [-1, 0, 1].map(|dy| {
                let y = i32::from(row) + dy;
                let inside = (0..IMAGE_SIZE as i32).contains(&y);
                let states = self.states.get(y.rem_euclid(3) as usize).filter(|_| inside);
                states.unwrap_or(&outside)
            });
            let table = others.get(self.table.start, self.table.len);
            return image_conv_row(states, table, records, quantization, channels, out);
        }
        let Some((ring, from)) = input(0) else { return };
        let step = usize::from(from.channels);
        match layer.op {
            Op::Conv3x3 => {
                let segments = window((ring, from)).map(|row| Segment {
                    row,
                    step,
                    len: 3 * step,
                });
                dense_row(segments, weights, records, quantization, channels, out);
            }
            Op::Depthwise3x3 => {
                let rows = window((ring, from));
                depthwise_row(rows, weights, records, quantization, channels, out);
            }
            Op::Pointwise => {
                let a = Segment {
                    row: interior(ring, from, row),
                    step,
                    len: step,
                };
                if let Some((ring, from)) = input(1) {
                    let step = usize::from(from.channels);
                    let b = Segment {
                        row: interior(ring, from, row),
                        step,
                        len: step,
                    };
                    dense_row([a, b], weights, records, quantization, channels, out);
                } else {
                    dense_row([a], weights, records, quantization, channels, out);
                }
            }
            Op::TransposedConv2x2 => {
                let segment = Segment {
                    row: interior(ring, from, row / 2),
                    step,
                    len: step,
                };
                // The upper taps make even rows, the lower ones odd rows.
                let half = |part: &'_ [u8]| match row % 2 {
                    0 => 0..part.len() / 2,
                    _ => part.len() / 2..part.len(),
                };
                let weights = weights.get(half(weights)).unwrap_or(&[]);
                let records = records.get(half(records)).unwrap_or(&[]);
                dense_row([segment], weights, records, quantization, 2 * channels, out);
            }
            Op::MaxPool2 | Op::AvgPool2 => {
                let rows = [2 * row, 2 * row + 1].map(|row| interior(ring, from, row));
                if layer.op == Op::MaxPool2 {
                    pool::max_row(rows, channels, out);
                } else {
                    pool::mean_row(rows, channels, out);
                }
            }
            Op::ImageConv3x3 | Op::MaskHead | Op::ClassHead => {}
        }
    }
}
