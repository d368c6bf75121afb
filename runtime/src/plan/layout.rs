//! Where each buffer lies in the arena, and in which form the rows of each layer are stored.

use super::tiles::{AllColumns, Columns, Tile};
use crate::graph::{Layer, Op, channels_in};
use crate::kernels::row::{PLANE_START, plane_bytes};
use crate::kernels::{Output, image_conv, row};
use crate::limits::MAX_LAYERS;

/// A range of bytes in the arena.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Region {
    /// First byte.
    pub start: u32,
    /// Number of bytes.
    pub len: u32,
}

impl Region {
    /// The region as a range of byte positions; 0..0 if it is empty.
    pub const fn range(self) -> core::ops::Range<usize> {
        match self.len {
            0 => 0..0,
            len => self.start as usize..self.start as usize + len as usize,
        }
    }

    /// Whether the two regions have no byte in common.
    pub const fn apart(self, other: Self) -> bool {
        self.start >= other.start.saturating_add(other.len)
            || other.start >= self.start.saturating_add(self.len)
    }
}

/// A buffer of the arena that is not a line buffer: a work area of the kernels.
///
/// All buffers of the arena are numbered, and called *parts*: first the line buffers, by the position of
/// their layer, then these work areas.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The look-up table of the first convolution. It is filled once a tile.
    Table,
    /// Scratch of the dense kernel for a row of a 3×3 convolution.
    ConvScratch,
    /// Scratch of the dense kernel for a row of a 1×1 or transposed convolution.
    PointScratch,
    /// A row of zero points: 3×3 operators read it above the first and below the last row of their input.
    Padding,
}

impl Part {
    /// Its number among the parts of the arena.
    pub const fn index(self) -> usize {
        MAX_LAYERS + self as usize
    }
}

/// Number of work areas: see [`Part`].
pub const WORK_COUNT: usize = 4;

/// Most parts that an arena can have.
pub const PART_COUNT: usize = MAX_LAYERS + WORK_COUNT;

/// The scratch that an operator's kernel needs, if any.
pub const fn scratch_of(op: Op) -> Option<Part> {
    match op {
        Op::Conv3x3 => Some(Part::ConvScratch),
        Op::Pointwise | Op::TransposedConv2x2 => Some(Part::PointScratch),
        _ => None,
    }
}

/// How the bytes of a row are arranged. The layers that read the row decide.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Form {
    /// Pixels of interleaved channels (NHWC).
    #[default]
    Nhwc,
    /// NHWC with one pixel of zero points on either side (padded NHWC), so that 3×3 operators need no special
    /// case at the edge.
    PaddedNhwc,
    /// Planar: one plane a channel (NCHW rows), see [`plane_bytes`]. Depthwise convolutions read this form.
    Planar,
}

impl Form {
    /// The form in which the rows of layer `at` are stored, which follows from the layers that read them.
    pub fn of(layers: &[Layer], at: usize) -> Self {
        let mut form = Self::Nhwc;
        for reader in layers {
            if reader.inputs.iter().any(|&input| usize::from(input) == at) {
                match reader.op {
                    Op::Depthwise3x3 => return Self::Planar,
                    Op::Conv3x3 => form = Self::PaddedNhwc,
                    _ => {}
                }
            }
        }
        form
    }

    /// Bytes of a row of `width` pixels.
    pub const fn row_bytes(self, layer: &Layer, width: u16) -> usize {
        let (width, channels) = (width as usize, layer.channels as usize);
        match self {
            Self::Nhwc => width * channels,
            Self::PaddedNhwc => (width + 2) * channels,
            Self::Planar => plane_bytes(width) * channels,
        }
    }
}

/// The line buffer of a layer: its last rows in the arena, for one tile.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LineBuffer {
    /// Where the rows lie.
    pub region: Region,
    /// Bytes of one row.
    pub row_bytes: u32,
    /// How the bytes of a row are arranged.
    pub form: Form,
    /// The first column that a row holds.
    pub first: u16,
    /// The columns that the tile computes.
    pub columns: Columns,
}

impl LineBuffer {
    /// An empty line buffer.
    pub const NONE: Self = Self {
        region: Region { start: 0, len: 0 },
        row_bytes: 0,
        form: Form::Nhwc,
        first: 0,
        columns: Columns { left: 0, right: 0 },
    };

    /// The line buffer of layer `at`. It is empty if the layer keeps no rows.
    fn of(layers: &[Layer], at: usize, tile: Tile, columns: &AllColumns) -> Self {
        let (Some(layer), Some(&columns)) = (layers.get(at), columns.get(at)) else {
            return Self::default();
        };
        let mut buffer = Self {
            form: Form::of(layers, at),
            columns,
            ..Self::default()
        };
        if layer.has_line_buffer() {
            let held = if tile.is_whole(at) {
                Columns::all(layer)
            } else {
                columns
            };
            buffer.first = held.left;
            buffer.row_bytes = buffer.form.row_bytes(layer, held.count()) as u32;
            buffer.region = Region {
                start: layer.start,
                // A checked layer has at most 224 × 224 × 64 bytes.
                len: u32::from(layer.buffer_rows).saturating_mul(buffer.row_bytes),
            };
        }
        buffer
    }

    /// The byte positions of row `row` in the line buffer.
    fn slot(&self, layer: &Layer, row: u16) -> core::ops::Range<usize> {
        let start = usize::from(row % layer.buffer_rows.max(1)) * self.row_bytes as usize;
        start..start + self.row_bytes as usize
    }

    /// Row `row` of the line buffer's `bytes`, with its padding.
    pub fn row<'r>(&self, bytes: &'r [i8], layer: &Layer, row: u16) -> &'r [i8] {
        bytes.get(self.slot(layer, row)).unwrap_or(&[])
    }

    /// The pixels of a row from column `column` on, without padding. For NHWC and padded NHWC.
    pub fn pixels<'r>(&self, bytes: &'r [i8], layer: &Layer, row: u16, column: u16) -> &'r [i8] {
        let channels = usize::from(layer.channels);
        let border = match self.form {
            Form::PaddedNhwc => channels,
            _ => 0,
        };
        let bytes = self.row(bytes, layer, row);
        let end = bytes.len().saturating_sub(border);
        let start = border + usize::from(column.saturating_sub(self.first)) * channels;
        bytes.get(start..end).unwrap_or(&[])
    }

    /// Copies the previous row to row `row`.
    pub fn repeat(&self, bytes: &mut [i8], layer: &Layer, row: u16) {
        let from = self.slot(layer, row.saturating_sub(1));
        let to = self.slot(layer, row);
        // Two rows of a line buffer are identical or do not overlap. In a line buffer of one row they are
        // identical, and nothing needs to be copied.
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

    /// The pixels of row `row` that the tile writes.
    pub fn output<'r>(&self, bytes: &'r mut [i8], layer: &Layer, row: u16) -> Option<Output<'r>> {
        let bytes = bytes.get_mut(self.slot(layer, row))?;
        let channels = usize::from(layer.channels);
        let (start, pixel_step, channel_step) = match self.form {
            Form::Nhwc => (0, channels, 1),
            Form::PaddedNhwc => (channels, channels, 1),
            Form::Planar => (PLANE_START, 1, bytes.len() / channels.max(1)),
        };
        let before = usize::from(self.columns.left.saturating_sub(self.first));
        Some(Output {
            bytes: bytes.get_mut(start + before * pixel_step..)?,
            pixels: usize::from(self.columns.count()),
            pixel_step,
            channel_step,
        })
    }
}

/// Where all parts of the arena lie in one tile.
#[derive(Debug, Clone, Copy)]
pub struct Layout {
    /// All parts by their number: the line buffers (empty for layers that keep no rows), then the work areas
    /// as [`Part`] numbers them.
    pub parts: [LineBuffer; PART_COUNT],
}

impl Layout {
    /// An empty layout, before a model is loaded.
    pub const EMPTY: Self = Self {
        parts: [LineBuffer::NONE; PART_COUNT],
    };

    /// Lays out the arena of a checked model for a tile. The layout of earlier stages stays.
    pub fn lay_out(&mut self, layers: &[Layer], work: &[u32; WORK_COUNT], tile: Tile) {
        parts(layers, work, tile, &mut |at, part| {
            if let Some(own) = self.parts.get_mut(at) {
                *own = part;
            }
        });
    }

    /// The region of a work area.
    pub fn work(&self, part: Part) -> Region {
        let part = self.parts.get(part.index());
        part.map_or(Region::default(), |part| part.region)
    }
}

/// All parts of the arena, each with the length it has in the tile where it is longest. Parts that the model
/// does not use are empty.
pub fn regions(layers: &[Layer], work: &[u32; WORK_COUNT]) -> [Region; PART_COUNT] {
    let mut regions = [Region::default(); PART_COUNT];
    for tile in Tile::all(layers) {
        parts(layers, work, tile, &mut |at, part| {
            if let Some(region) = regions.get_mut(at) {
                region.start = part.region.start;
                region.len = region.len.max(part.region.len);
            }
        });
    }
    regions
}

/// Number of bytes of every part of the arena.
pub fn part_bytes(layers: &[Layer]) -> [u32; PART_COUNT] {
    regions(layers, &[0; WORK_COUNT]).map(|region| region.len)
}

/// Calls `put` for every part that the tile's stage uses, with the number of the part.
#[inline(never)]
fn parts(
    layers: &[Layer],
    work: &[u32; WORK_COUNT],
    tile: Tile,
    put: &mut dyn FnMut(usize, LineBuffer),
) {
    let columns = tile.columns(layers);
    let mut bytes = [0; WORK_COUNT];
    let mut grow = |part: Part, needed: usize| {
        if let Some(bytes) = bytes.get_mut(part as usize) {
            *bytes = needed.max(*bytes as usize) as u32;
        }
    };
    for at in tile.layers() {
        let Some(layer) = layers.get(at) else { return };
        put(at, LineBuffer::of(layers, at, tile, &columns));
        if layer.op == Op::ImageConv3x3 {
            let table = image_conv::table_bytes(usize::from(layer.channels));
            grow(Part::Table, table);
        }
        if let Some(scratch) = scratch_of(layer.op) {
            let taps = if layer.op == Op::Conv3x3 { 9 } else { 1 };
            grow(
                scratch,
                row::scratch_bytes(taps * channels_in(layers, layer)),
            );
        }
        if layer.reads_padding(0) {
            let from = LineBuffer::of(layers, usize::from(layer.inputs[0]), tile, &columns);
            grow(Part::Padding, from.row_bytes as usize);
        }
    }
    for ((at, &start), len) in (MAX_LAYERS..).zip(work).zip(bytes) {
        let region = Region { start, len };
        put(
            at,
            LineBuffer {
                region,
                ..LineBuffer::default()
            },
        );
    }
}
