//! Computes one row of one layer: finds the input rows in the line buffers and calls the kernel.

use super::Memory;
use crate::dies::{DieMap, IMAGE_SIZE, Mask, source_index};
use crate::graph::{Layer, Op};
use crate::image::Model;
use crate::kernels::row::CodeRow;
use crate::kernels::row::Segment;
use crate::kernels::{Kernels, Output, Quantization};
use crate::plan::layout::{Layout, LineBuffer, Part, Region, scratch_of};

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

    /// The 3×3 patches around the pixels of a row from `column` on: three runs of bytes each.
    fn patches(&self, row: u16, column: u16, padding: &'r [i8]) -> [Segment<'r>; 3] {
        let step = usize::from(self.layer.channels);
        // Because of its padding, a row begins one pixel further left.
        let start = usize::from(column.saturating_sub(self.buffer.first)) * step;
        self.window(row, padding).map(|row| Segment {
            row: row.get(start..).unwrap_or_default(),
            step,
            len: 3 * step,
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

/// A row to compute: its layer, and the parts of the arena that it reads and writes.
struct Row<'r> {
    layer: &'r Layer,
    row: u16,
    own: &'r LineBuffer,
    weights: &'r [u8],
    records: &'r [u8],
    quantization: Quantization,
    /// The line buffer of the layer itself.
    bytes: &'r mut [i8],
    /// The scratch of a dense kernel, or the table of the first convolution.
    scratch: &'r mut [i8],
    /// A row of zero points, if the row reads one.
    padding: &'r [i8],
    inputs: [Option<Input<'r>>; 2],
}

impl Memory<'_> {
    /// Computes row `row` of layer `at` with these kernels. Its input rows must be in their line buffers.
    #[inline(always)]
    pub(super) fn produce(
        &mut self,
        model: &Model<'_>,
        at: usize,
        row: u16,
        map: &DieMap<'_>,
        mask: &mut Mask,
        kernels: &mut impl Kernels,
    ) {
        let Some(layer) = model.layers().get(at) else {
            return;
        };
        match layer.op {
            Op::ClassHead => return self.class_row(model, layer, row),
            Op::ImageConv3x3 => self.render_around(map, at, row),
            _ => {}
        }
        let arena = self.arena.as_deref_mut().unwrap_or_default();
        let Some(row) = Row::borrow(arena, &self.layout, model, at, row) else {
            return;
        };
        match layer.op {
            Op::ImageConv3x3 if repeats(map, row.row) => {
                row.own.repeat(row.bytes, layer, row.row);
            }
            Op::ImageConv3x3 => row.image(&self.codes, kernels),
            Op::MaskHead => row.mask(mask, kernels),
            _ => row.compute(kernels),
        }
    }

    /// Computes the look-up indices of the three image rows around `row`.
    #[inline(always)]
    fn render_around(&mut self, map: &DieMap<'_>, at: usize, row: u16) {
        let y = usize::from(row);
        let left = self.layout.parts.get(at).map_or(0, |own| own.columns.left);
        for y in y.saturating_sub(1)..(y + 2).min(IMAGE_SIZE) {
            self.render(map, y, left);
        }
    }
}

impl<'r> Row<'r> {
    /// Row `row` of layer `at`, with its parts of the arena.
    #[inline(always)]
    fn borrow(
        arena: &'r mut [i8],
        layout: &'r Layout,
        model: &'r Model<'_>,
        at: usize,
        row: u16,
    ) -> Option<Self> {
        let layers = model.layers();
        let layer = layers.get(at)?;
        let (weights, records) = model.parameters(layer);
        let buffer = |at: usize| layout.parts.get(at).unwrap_or(&LineBuffer::NONE);
        let [first, second] = layer.inputs;
        let own = buffer(at);
        let from = [buffer(usize::from(first)), buffer(usize::from(second))];
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
        let regions = regions.map(Region::range);
        let [bytes, scratch, third, one] = arena.get_disjoint_mut(regions).ok()?;
        if edge && let Some(from) = layers.get(usize::from(first)) {
            third.fill(from.zero_point);
        }
        let (padding, one) = (&*third, &*one);
        let other = if second == first { one } else { padding };
        let input = |at: u8, buffer, bytes| {
            let layer = layers.get(usize::from(at))?;
            Some(Input {
                layer,
                buffer,
                bytes,
            })
        };
        Some(Self {
            layer,
            row,
            own,
            weights,
            records,
            quantization: layer.quantization(),
            bytes,
            scratch,
            padding,
            inputs: [input(first, from[0], one), input(second, from[1], other)],
        })
    }

    /// The first column to compute.
    fn left(&self) -> u16 {
        self.own.columns.left
    }

    /// A row of the first convolution, from the look-up indices of the last three image rows.
    #[inline(always)]
    fn image(self, codes: &[CodeRow; 3], kernels: &mut impl Kernels) {
        let codes = [-1, 0, 1].map(|dy| {
            let y = i32::from(self.row) + dy;
            let inside = (0..IMAGE_SIZE as i32).contains(&y);
            let codes = codes.get(y.rem_euclid(3) as usize);
            codes.filter(|_| inside).unwrap_or(&CodeRow::OUTSIDE)
        });
        if let Some(out) = self.own.output(self.bytes, self.layer, self.row) {
            kernels.image(codes, self.scratch, self.records, self.quantization, out);
        }
    }

    /// A row of the mask.
    #[inline(always)]
    fn mask(self, mask: &mut Mask, kernels: &mut impl Kernels) {
        let ([Some(from), _], Some(out)) = (self.inputs, mask.row_mut(usize::from(self.row)))
        else {
            return;
        };
        // The columns of a tile are whole bytes of the mask.
        let bytes = usize::from(self.left() / 8)..usize::from(self.own.columns.right / 8);
        let out = out.get_mut(bytes).unwrap_or_default();
        let pixels = from.pixels(self.row, self.left());
        let channels = usize::from(from.layer.channels);
        kernels.mask(pixels, channels, self.weights, self.records, out);
    }

    /// A row of any other operator.
    #[inline(always)]
    fn compute(self, kernels: &mut impl Kernels) {
        let left = self.left();
        let (layer, row) = (self.layer, self.row);
        let (weights, records) = (self.weights, self.records);
        let [Some(from), second] = self.inputs else {
            return;
        };
        let Some(mut out) = self.own.output(self.bytes, layer, row) else {
            return;
        };
        match layer.op {
            Op::Conv3x3 => {
                let segments = from.patches(row, left, self.padding);
                kernels.dense(
                    &segments,
                    weights,
                    records,
                    self.quantization,
                    self.scratch,
                    out,
                );
            }
            Op::Depthwise3x3 => {
                let window = from.window(row, self.padding);
                kernels.depthwise(window, weights, records, self.quantization, out);
            }
            Op::Pointwise => {
                let a = from.segment(row, left);
                let b = second.map(|from| from.segment(row, left));
                let (both, one);
                let segments: &[_] = if let Some(b) = b {
                    both = [a, b];
                    &both
                } else {
                    one = [a];
                    &one
                };
                kernels.dense(
                    segments,
                    weights,
                    records,
                    self.quantization,
                    self.scratch,
                    out,
                );
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
                kernels.dense(
                    &segment,
                    weights,
                    records,
                    self.quantization,
                    self.scratch,
                    out,
                );
            }
            Op::MaxPool2 | Op::AvgPool2 => pool(layer, row, left, from, out, kernels),
            Op::ImageConv3x3 | Op::MaskHead | Op::ClassHead => {}
        }
    }
}

/// A row of a pool.
#[inline(always)]
fn pool(
    layer: &Layer,
    row: u16,
    left: u16,
    from: Input<'_>,
    out: Output<'_>,
    kernels: &mut impl Kernels,
) {
    let rows = [2 * row, 2 * row + 1].map(|row| from.pixels(row, 2 * left));
    let channels = usize::from(layer.channels);
    let end = (out.pixels * channels).min(out.bytes.len());
    let out = out.bytes.get_mut(..end).unwrap_or(&mut []);
    if layer.op == Op::MaxPool2 {
        kernels.max(rows, channels, out);
    } else {
        kernels.mean(rows, channels, out);
    }
}
