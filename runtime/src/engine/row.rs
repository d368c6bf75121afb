//! Computes one row of one layer: finds the input rows in the line buffers and calls the kernel.

use super::Memory;
use crate::dies::{DieMap, IMAGE_SIZE, Mask, source_index};
use crate::graph::{Layer, Op};
use crate::image::Model;
use crate::kernels::dense::{Segment, dense_row};
use crate::kernels::depthwise::depthwise_row;
use crate::kernels::heads::mask_row;
use crate::kernels::image_conv::{CodeRow, image_conv_row};
use crate::kernels::pool;
use crate::plan::layout::{LineBuffer, Part, Region, scratch_of};

/// An input of the layer: a layer whose rows are read.
#[derive(Clone, Copy)]
struct Input<'r> {
    layer: &'r Layer,
    buffer: &'r LineBuffer,
    bytes: &'r [i8],
}

impl<'r> Input<'r> {
    fn pixels(&self, row: u16, column: u16) -> &'r [i8] {
        self.buffer.pixels(self.bytes, self.layer, row, column)
    }

    /// The rows above, at and below `row`. `padding` replaces a row outside the tensor.
    fn window(&self, row: u16, padding: &'r [i8]) -> [&'r [i8]; 3] {
        [-1, 0, 1].map(|dy| {
            let y = i32::from(row) + dy;
            if (0..i32::from(self.layer.height)).contains(&y) {
                self.buffer.row(self.bytes, self.layer, y as u16)
            } else {
                let bytes = self.buffer.row_bytes as usize;
                padding.get(..bytes).unwrap_or(&[])
            }
        })
    }

    /// The pixels of a row from `column` on, each as one run of bytes.
    fn segment(&self, row: u16, column: u16) -> Segment<'r> {
        let step = usize::from(self.layer.channels);
        Segment {
            row: self.pixels(row, column),
            step,
            len: step,
        }
    }
}

/// Whether the three image rows around `row` show the same dies as those around the previous row. If so, the two
/// rows of the first convolution are equal.
fn repeats(map: &DieMap<'_>, row: u16) -> bool {
    let dies = |y: usize| source_index(y, map.rows(), IMAGE_SIZE);
    let y = usize::from(row);
    y >= 2 && y + 1 < IMAGE_SIZE && dies(y - 2) == dies(y + 1)
}

impl Memory<'_> {
    /// Computes row `row` of layer `at`. Its input rows must be in their line buffers.
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
                let left = self.layout.parts.get(at).map_or(0, |own| own.columns.left);
                for y in y.saturating_sub(1)..(y + 2).min(IMAGE_SIZE) {
                    self.render(map, y, left);
                }
            }
            _ => {}
        }
        let (weights, records) = model.parameters(layer);
        let quantization = layer.quantization();
        let layout = &self.layout;
        let Some(arena) = self.arena.as_deref_mut() else {
            return;
        };
        let buffer = |at: usize| layout.parts.get(at).unwrap_or(&LineBuffer::NONE);
        let [first, second] = layer.inputs;
        let own = buffer(at);
        let from = [buffer(usize::from(first)), buffer(usize::from(second))];
        let left = own.columns.left;
        let edge = layer.reads_padding(row);
        let work = match layer.op {
            Op::ImageConv3x3 => Some(Part::Table),
            op => scratch_of(op),
        };
        // No operator has both a row of padding and a second input. One tensor may be both inputs.
        let third = if edge {
            layout.work(Part::Padding)
        } else if second == first {
            Region::default()
        } else {
            from[1].region
        };
        // The check at load proved that the regions that a row needs do not overlap.
        let work = work.map_or(Region::default(), |part| layout.work(part));
        let regions = [own.region, work, third, from[0].region];
        let Ok([bytes, scratch, third, one]) = arena.get_disjoint_mut(regions.map(Region::range))
        else {
            return;
        };
        if edge && let Some(from) = layers.get(usize::from(first)) {
            third.fill(from.zero_point);
        }
        let (table, padding, other) = (&*scratch, &*third, &*third);
        let input = |which: usize| {
            let bytes: &[i8] = if which == 0 || second == first {
                one
            } else {
                other
            };
            let layer = layers.get(usize::from(*layer.inputs.get(which)?))?;
            let buffer = *from.get(which)?;
            Some(Input {
                layer,
                buffer,
                bytes,
            })
        };
        if layer.op == Op::MaskHead {
            let Some(from) = input(0) else { return };
            let Some(out) = mask.row_mut(usize::from(row)) else {
                return;
            };
            let channels = usize::from(from.layer.channels);
            // The columns of a tile are whole bytes of the mask.
            let bytes = usize::from(left / 8)..usize::from(own.columns.right / 8);
            let out = out.get_mut(bytes).unwrap_or_default();
            return mask_row(from.pixels(row, left), channels, weights, records, out);
        }
        if layer.op == Op::ImageConv3x3 && repeats(map, row) {
            return own.repeat(bytes, layer, row);
        }
        let Some(mut out) = own.output(bytes, layer, row) else {
            return;
        };
        if layer.op == Op::ImageConv3x3 {
            let codes = [-1, 0, 1].map(|dy| {
                let y = i32::from(row) + dy;
                let inside = (0..IMAGE_SIZE as i32).contains(&y);
                let codes = self.codes.get(y.rem_euclid(3) as usize);
                codes.filter(|_| inside).unwrap_or(&CodeRow::OUTSIDE)
            });
            return image_conv_row(codes, table, records, quantization, out);
        }
        let Some(from) = input(0) else { return };
        match layer.op {
            Op::Conv3x3 => {
                let step = usize::from(from.layer.channels);
                // Because of its padding, a row begins one pixel further left.
                let start = usize::from(left.saturating_sub(from.buffer.first)) * step;
                let segments = from.window(row, padding).map(|row| Segment {
                    row: row.get(start..).unwrap_or_default(),
                    step,
                    len: 3 * step,
                });
                dense_row(&segments, weights, records, quantization, scratch, out);
            }
            Op::Depthwise3x3 => {
                depthwise_row(
                    from.window(row, padding),
                    weights,
                    records,
                    quantization,
                    out,
                );
            }
            Op::Pointwise => {
                let a = from.segment(row, left);
                if let Some(from) = input(1) {
                    let segments = [a, from.segment(row, left)];
                    dense_row(&segments, weights, records, quantization, scratch, out);
                } else {
                    dense_row(&[a], weights, records, quantization, scratch, out);
                }
            }
            Op::TransposedConv2x2 => {
                // The upper taps compute even rows, the lower ones odd rows.
                let half = |part: &'_ [u8]| match row % 2 {
                    0 => 0..part.len() / 2,
                    _ => part.len() / 2..part.len(),
                };
                let weights = weights.get(half(weights)).unwrap_or(&[]);
                let records = records.get(half(records)).unwrap_or(&[]);
                // One input pixel gives two neighbouring output pixels, treated as one pixel of twice the channels.
                out.pixels /= 2;
                out.pixel_step *= 2;
                let segment = [from.segment(row / 2, left / 2)];
                dense_row(&segment, weights, records, quantization, scratch, out);
            }
            Op::MaxPool2 | Op::AvgPool2 => {
                let rows = [2 * row, 2 * row + 1].map(|row| from.pixels(row, 2 * left));
                let channels = usize::from(layer.channels);
                let end = (out.pixels * channels).min(out.bytes.len());
                let out = out.bytes.get_mut(..end).unwrap_or(&mut []);
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
