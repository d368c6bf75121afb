//! Where things lie in the arena, and in which form each layer's rows are kept.

use crate::kernels::depthwise::{PLANE_START, plane_bytes};
use crate::kernels::{Output, dense, image_conv};
use crate::model::{Layer, MAX_LAYERS, Op, WORK_COUNT};

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
    /// The ring of layer `at`, without bytes when it keeps no rows.
    fn of(layers: &[Layer], at: usize) -> Self {
        let form = Form::of(layers, at);
        let mut ring = Self {
            form,
            ..Self::default()
        };
        if let Some(layer) = layers.get(at).filter(|layer| layer.has_ring()) {
            ring.row_bytes = form.row_bytes(layer) as u32;
            ring.region = Region {
                start: layer.start,
                // Checked layers have at most 224 × 224 × 64 bytes each.
                len: u32::from(layer.ring_rows).saturating_mul(ring.row_bytes),
            };
        }
        ring
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
    /// The work areas, as [`Part`] numbers them.
    work: [Region; WORK_COUNT],
    /// The layers' rings; without bytes for those that keep no rows.
    pub rings: [Ring; MAX_LAYERS],
}

impl Layout {
    /// That of no model.
    pub const EMPTY: Self = {
        const NOTHING: Region = Region { start: 0, len: 0 };
        Self {
            work: [NOTHING; WORK_COUNT],
            rings: [Ring {
                region: NOTHING,
                row_bytes: 0,
                form: Form::Plain,
            }; MAX_LAYERS],
        }
    };

    /// Lays out the arena of a checked model.
    pub fn lay_out(&mut self, layers: &[Layer], work: &[u32; WORK_COUNT]) {
        for ((region, &start), len) in self.work.iter_mut().zip(work).zip(work_bytes(layers)) {
            *region = Region { start, len };
        }
        for (at, ring) in self.rings.iter_mut().enumerate() {
            *ring = Ring::of(layers, at);
        }
    }

    /// Where a work area lies.
    pub fn work(&self, part: Part) -> Region {
        self.work.get(part as usize).copied().unwrap_or_default()
    }
}

/// All parts of the arena; without bytes where a model has none.
pub fn regions(layers: &[Layer], work: &[u32; WORK_COUNT]) -> [Region; PART_COUNT] {
    let mut regions = [Region::default(); PART_COUNT];
    let (rings, shared) = regions.split_at_mut(MAX_LAYERS);
    for (at, region) in rings.iter_mut().enumerate() {
        *region = Ring::of(layers, at).region;
    }
    for ((region, &start), len) in shared.iter_mut().zip(work).zip(work_bytes(layers)) {
        *region = Region { start, len };
    }
    regions
}

/// Bytes of all parts of the arena.
#[cfg(feature = "writer")]
pub fn part_bytes(layers: &[Layer]) -> [u32; PART_COUNT] {
    regions(layers, &[0; WORK_COUNT]).map(|region| region.len)
}

/// Bytes of the work areas, as [`Part`] numbers them.
fn work_bytes(layers: &[Layer]) -> [u32; WORK_COUNT] {
    let channels = |input: u8| {
        layers
            .get(usize::from(input))
            .map_or(0, |l| usize::from(l.channels))
    };
    let mut bytes = [0; WORK_COUNT];
    let mut grow = |part: Part, needed: usize| {
        if let Some(bytes) = bytes.get_mut(part as usize) {
            *bytes = needed.max(*bytes as usize) as u32;
        }
    };
    for layer in layers {
        let [first, second] = layer.inputs;
        let input = channels(first) + channels(second);
        if layer.op == Op::ImageConv3x3 {
            let table = image_conv::table_bytes(usize::from(layer.channels));
            grow(Part::Table, table);
        }
        if let Some(scratch) = scratch_of(layer.op) {
            let taps = if layer.op == Op::Conv3x3 { 9 } else { 1 };
            grow(scratch, dense::scratch_bytes(taps * input));
        }
        if layer.reads_padding(0)
            && let Some(from) = layers.get(usize::from(first))
        {
            let form = Form::of(layers, usize::from(first));
            grow(Part::Padding, form.row_bytes(from));
        }
    }
    bytes
}
