//! Where things lie in the arena, and in which form each layer's rows are kept.

use super::tiles::{AllColumns, Columns, Tile};
use crate::graph::{Layer, Op, channels_in};
use crate::kernels::depthwise::{PLANE_START, plane_bytes};
use crate::kernels::{Output, dense, image_conv};
use crate::limits::MAX_LAYERS;

/// Bytes of the arena.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Region {
    /// First byte.
    pub start: u32,
    /// Bytes.
    pub len: u32,
}

impl Region {
    /// The bytes of the region; 0..0 when there are none.
    pub const fn range(self) -> core::ops::Range<usize> {
        match self.len {
            0 => 0..0,
            len => self.start as usize..self.start as usize + len as usize,
        }
    }

    /// Whether the two have no byte in common.
    pub const fn apart(self, other: Self) -> bool {
        self.start >= other.start.saturating_add(other.len)
            || other.start >= self.start.saturating_add(self.len)
    }
}

/// What the arena holds besides the layers' rows. Parts of the arena are numbered: the layers by their
/// position, then these.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The first convolution's table, filled once.
    Table,
    /// What the dense kernel prepares for a row of a 3×3 convolution.
    ConvScratch,
    /// The same for 1×1 and transposed convolutions.
    PointScratch,
    /// A row of zero points, read above the first and below the last row of a 3×3 operator's input.
    Padding,
}

impl Part {
    /// Its number among the arena's parts.
    pub const fn index(self) -> usize {
        MAX_LAYERS + self as usize
    }
}

/// Work areas of an arena besides the layers' rows: [`Part`].
pub const WORK_COUNT: usize = 4;

/// How many parts an arena can have.
pub const PART_COUNT: usize = MAX_LAYERS + WORK_COUNT;

/// Where an operator's kernel prepares its rows.
pub const fn scratch_of(op: Op) -> Option<Part> {
    match op {
        Op::Conv3x3 => Some(Part::ConvScratch),
        Op::Pointwise | Op::TransposedConv2x2 => Some(Part::PointScratch),
        _ => None,
    }
}

/// How the bytes of a row are arranged: as its readers want them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Form {
    /// Pixels of interleaved channels (NHWC).
    #[default]
    Nhwc,
    /// NHWC with one pixel of zero point at either side, so that 3×3 operators need no special case
    /// at the edge.
    PaddedNhwc,
    /// One plane a channel (NCHW rows), see [`plane_bytes`]: what depthwise convolutions read.
    Planar,
}

impl Form {
    /// The form of the rows of layer `at`, as its readers want them.
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

/// A layer's last rows in the arena, as they are in one tile.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LineBuffer {
    /// Where they lie.
    pub region: Region,
    /// Bytes of one row.
    pub row_bytes: u32,
    /// How a row is arranged.
    pub form: Form,
    /// The column that a row begins with.
    pub first: u16,
    /// The columns that the tile computes.
    pub columns: Columns,
}

impl LineBuffer {
    /// No line buffer.
    pub const NONE: Self = Self {
        region: Region { start: 0, len: 0 },
        row_bytes: 0,
        form: Form::Nhwc,
        first: 0,
        columns: Columns { left: 0, right: 0 },
    };

    /// The line buffer of layer `at`, without bytes when it keeps no rows.
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
                // Checked layers have at most 224 × 224 × 64 bytes each.
                len: u32::from(layer.buffer_rows).saturating_mul(buffer.row_bytes),
            };
        }
        buffer
    }

    /// Where row `row` lies in the line buffer.
    fn slot(&self, layer: &Layer, row: u16) -> core::ops::Range<usize> {
        let start = usize::from(row % layer.buffer_rows.max(1)) * self.row_bytes as usize;
        start..start + self.row_bytes as usize
    }

    /// A whole row of the line buffer's bytes.
    pub fn row<'r>(&self, bytes: &'r [i8], layer: &Layer, row: u16) -> &'r [i8] {
        bytes.get(self.slot(layer, row)).unwrap_or(&[])
    }

    /// The row's pixels from column `column` on, without a border; for rows of interleaved channels.
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

    /// Copies the row before `row` to it.
    pub fn repeat(&self, bytes: &mut [i8], layer: &Layer, row: u16) {
        let from = self.slot(layer, row.saturating_sub(1));
        let to = self.slot(layer, row);
        // Two rows of a line buffer are the same or apart: a line buffer of one row repeats by itself.
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

    /// The row's columns to write.
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

/// Where everything lies in one tile.
#[derive(Debug, Clone, Copy)]
pub struct Layout {
    /// The layers' line buffers, without bytes for those that keep no rows, and the work areas, as [`Part`] numbers
    /// them.
    pub parts: [LineBuffer; PART_COUNT],
}

impl Layout {
    /// The layout of no model.
    pub const EMPTY: Self = Self {
        parts: [LineBuffer::NONE; PART_COUNT],
    };

    /// Lays out the arena of a checked model for a tile, after those before it.
    pub fn lay_out(&mut self, layers: &[Layer], work: &[u32; WORK_COUNT], tile: Tile) {
        parts(layers, work, tile, &mut |at, part| {
            if let Some(own) = self.parts.get_mut(at) {
                *own = part;
            }
        });
    }

    /// Where a work area lies.
    pub fn work(&self, part: Part) -> Region {
        let part = self.parts.get(part.index());
        part.map_or(Region::default(), |part| part.region)
    }
}

/// All parts of the arena, each as long as in the tile where it is longest; without bytes where a model has
/// none.
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

/// Bytes of all parts of the arena.
pub fn part_bytes(layers: &[Layer]) -> [u32; PART_COUNT] {
    regions(layers, &[0; WORK_COUNT]).map(|region| region.len)
}

/// Calls `put` for every part that a tile's stage has, with its number.
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
                dense::scratch_bytes(taps * channels_in(layers, layer)),
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
