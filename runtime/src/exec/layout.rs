//! Where things lie in the arena, and in which form each layer's rows are kept.

use crate::kernels::depthwise::{PLANE_START, plane_bytes};
use crate::kernels::{Output, dense, image_conv};
use crate::model::{Layer, MAX_LAYERS, Op};

/// Part of the arena.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Region {
    /// First byte.
    pub start: u32,
    /// Bytes.
    pub len: u32,
}

impl Region {
    fn after(before: Self, len: usize) -> Self {
        // Checked layers have at most 224 × 224 × 64 bytes each, so sums stay far below 32 bits.
        Self {
            start: (before.start + before.len).next_multiple_of(4),
            len: len as u32,
        }
    }

    /// The bytes of the region.
    pub const fn range(self) -> core::ops::Range<usize> {
        self.start as usize..self.start as usize + self.len as usize
    }
}

/// How the bytes of a row are arranged: what its readers want.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Form {
    /// Pixels of interleaved channels.
    #[default]
    Plain,
    /// The same with one pixel of zero point at either side, so that 3×3 operators need no special case
    /// at the edge.
    Bordered,
    /// One plane a channel, see [`plane_bytes`]: what depthwise convolutions read.
    Planar,
}

impl Form {
    /// The form of the rows of layer `at`, as its readers want them.
    pub fn of(layers: &[Layer], at: usize) -> Self {
        let mut form = Self::Plain;
        for reader in layers {
            if reader.inputs.iter().any(|&input| usize::from(input) == at) {
                match reader.op {
                    Op::Depthwise3x3 => return Self::Planar,
                    Op::Conv3x3 => form = Self::Bordered,
                    _ => {}
                }
            }
        }
        form
    }

    /// Bytes of one row.
    pub const fn row_bytes(self, layer: &Layer) -> usize {
        let (width, channels) = (layer.width as usize, layer.channels as usize);
        match self {
            Self::Plain => width * channels,
            Self::Bordered => (width + 2) * channels,
            Self::Planar => plane_bytes(width) * channels,
        }
    }
}

/// A layer's last rows in the arena.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Ring {
    /// Where they lie.
    pub region: Region,
    /// Bytes of one row.
    pub row_bytes: u32,
    /// How a row is arranged.
    pub form: Form,
}

impl Ring {
    /// The ring of layer `at`, behind `last`.
    fn after(last: Region, layers: &[Layer], at: usize) -> Self {
        let form = Form::of(layers, at);
        let (mut row_bytes, mut rows) = (0, 0);
        if let Some(layer) = layers.get(at).filter(|layer| layer.has_ring()) {
            row_bytes = form.row_bytes(layer);
            rows = usize::from(layer.ring_rows);
        }
        Self {
            region: Region::after(last, rows * row_bytes),
            row_bytes: row_bytes as u32,
            form,
        }
    }

    /// Where row `row` lies in the ring.
    fn slot(&self, layer: &Layer, row: u16) -> core::ops::Range<usize> {
        let start = usize::from(row % layer.ring_rows.max(1)) * self.row_bytes as usize;
        start..start + self.row_bytes as usize
    }

    /// A whole row of the ring's bytes.
    pub fn row<'r>(&self, bytes: &'r [i8], layer: &Layer, row: u16) -> &'r [i8] {
        bytes.get(self.slot(layer, row)).unwrap_or(&[])
    }

    /// The row's pixels without a border; for rows of interleaved channels.
    pub fn pixels<'r>(&self, bytes: &'r [i8], layer: &Layer, row: u16) -> &'r [i8] {
        let border = match self.form {
            Form::Bordered => usize::from(layer.channels),
            _ => 0,
        };
        let bytes = self.row(bytes, layer, row);
        let end = bytes.len().saturating_sub(border);
        bytes.get(border..end).unwrap_or(&[])
    }

    /// Copies the row before `row` to it.
    pub fn repeat(&self, bytes: &mut [i8], layer: &Layer, row: u16) {
        let from = self.slot(layer, row.saturating_sub(1));
        let to = self.slot(layer, row);
        // Two rows of a ring are the same or apart: a ring of one row repeats by itself.
        let Some((low, high)) = bytes.split_at_mut_checked(from.start.max(to.start)) else {
            return;
        };
        let len = self.row_bytes as usize;
        let (from, to) = if from.start < to.start {
            (low.get(from), high.get_mut(..len))
        } else {
            (high.get(..len), low.get_mut(to))
        };
        if let (Some(from), Some(to)) = (from, to) {
            to.copy_from_slice(from);
        }
    }

    /// The row to write.
    pub fn output<'r>(&self, bytes: &'r mut [i8], layer: &Layer, row: u16) -> Option<Output<'r>> {
        let bytes = bytes.get_mut(self.slot(layer, row))?;
        let channels = usize::from(layer.channels);
        let pixels = usize::from(layer.width);
        let (start, pixel_step, channel_step) = match self.form {
            Form::Plain => (0, channels, 1),
            Form::Bordered => (channels, channels, 1),
            Form::Planar => (PLANE_START, 1, plane_bytes(pixels)),
        };
        Some(Output {
            bytes: bytes.get_mut(start..)?,
            pixels,
            pixel_step,
            channel_step,
        })
    }
}

/// Where everything lies.
#[derive(Debug, Clone, Copy)]
pub struct Layout {
    /// The first convolution's table.
    pub table: Region,
    /// What a dense kernel prepares for a row.
    pub scratch: Region,
    /// A row of zero points, read above the first and below the last row of a 3×3 operator's input.
    pub padding: Region,
    /// The layers' rings; without bytes for those that keep no rows.
    pub rings: [Ring; MAX_LAYERS],
}

impl Layout {
    /// That of no model.
    pub const EMPTY: Self = {
        const NOTHING: Region = Region { start: 0, len: 0 };
        Self {
            table: NOTHING,
            scratch: NOTHING,
            padding: NOTHING,
            rings: [Ring {
                region: NOTHING,
                row_bytes: 0,
                form: Form::Plain,
            }; MAX_LAYERS],
        }
    };

    /// Lays out the arena for `layers`, which are a checked model's.
    pub fn lay_out(&mut self, layers: &[Layer]) {
        [self.table, self.scratch, self.padding] = shared(layers);
        self.rings = [Ring::default(); MAX_LAYERS];
        let mut last = self.padding;
        for (at, ring) in (0..layers.len()).zip(&mut self.rings) {
            *ring = Ring::after(last, layers, at);
            last = ring.region;
        }
    }
}

/// Bytes of the whole arena.
pub fn arena_bytes(layers: &[Layer]) -> usize {
    let [.., padding] = shared(layers);
    let last = (0..layers.len()).fold(padding, |last, at| Ring::after(last, layers, at).region);
    last.range().end.next_multiple_of(4)
}

/// Table, scratch and padding, which lie in this order before the rings.
fn shared(layers: &[Layer]) -> [Region; 3] {
    let channels = |input: u8| {
        layers
            .get(usize::from(input))
            .map_or(0, |l| usize::from(l.channels))
    };
    let (mut table, mut scratch, mut padding) = (0, 0, 0);
    for layer in layers {
        let [first, second] = layer.inputs;
        let input = channels(first) + channels(second);
        match layer.op {
            Op::ImageConv3x3 => {
                table = table.max(image_conv::table_bytes(usize::from(layer.channels)));
            }
            Op::Conv3x3 => scratch = scratch.max(dense::scratch_bytes(9 * input)),
            Op::Pointwise | Op::TransposedConv2x2 => {
                scratch = scratch.max(dense::scratch_bytes(input));
            }
            _ => {}
        }
        if matches!(layer.op, Op::Conv3x3 | Op::Depthwise3x3)
            && let Some(from) = layers.get(usize::from(first))
        {
            let form = Form::of(layers, usize::from(first));
            padding = padding.max(form.row_bytes(from));
        }
    }
    let table = Region::after(Region::default(), table);
    let scratch = Region::after(table, scratch);
    [table, scratch, Region::after(scratch, padding)]
}
