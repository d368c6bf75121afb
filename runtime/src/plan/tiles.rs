//! Tiles: patch-based inference, so that the largest tensors are never held whole
//! ([MCUNetV2, Lin et al. 2021](https://arxiv.org/abs/2110.15352)).
//!
//! A *stage* is a sequence of layers. Its last layer is its *target*, whose whole tensor is kept: a layer whose
//! [`Layer::tiles`] is not 0, or the mask head. Stages are computed one after the other. A stage is computed
//! in as many *tiles* as its target says. A tile is a range of the target's columns. Tiles are computed from
//! left to right, each from its first row to its last. All other layers of the stage hold only the columns
//! that the tile needs: the columns under the tile, and a *halo* of neighbours that 3×3 operators read. The next
//! tile computes its halo again. Later stages read targets only. A network that is not cut is one stage of one
//! tile.
//!
//! The columns that a layer computes follow from the layers alone ([`Tile::columns`]). An image only says where
//! stages end and how many tiles they have. Zero padding is added at the edges of the whole tensors, not of
//! tiles.

use core::ops::RangeInclusive;

use crate::graph::{Layer, Op, channels_in};
use crate::limits::MAX_LAYERS;

/// Tiles begin at multiples of this number of columns, because a byte of the mask holds eight columns.
const GRAIN: u16 = 8;

/// The most tiles that a tensor of `width` columns can be cut into, so that no tile is empty.
pub const fn most(width: u16) -> u16 {
    if width < GRAIN { 1 } else { width / GRAIN }
}

/// A range of columns of a tensor: from `left` up to `right`, `right` excluded.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Columns {
    /// The first column.
    pub left: u16,
    /// One more than the last column.
    pub right: u16,
}

impl Columns {
    /// The number of columns.
    pub const fn count(self) -> u16 {
        self.right.saturating_sub(self.left)
    }

    /// All columns of a layer.
    pub const fn all(layer: &Layer) -> Self {
        Self {
            left: 0,
            right: layer.width,
        }
    }
}

/// For every layer, the columns that one tile computes. Empty for layers of other stages, and for layers that the
/// target does not need.
pub type AllColumns = [Columns; MAX_LAYERS];

/// One tile of one stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tile {
    first: u8,
    target: u8,
    number: u8,
}

impl Tile {
    /// All tiles of an inference, in order.
    pub fn all(layers: &[Layer]) -> impl Iterator<Item = Self> {
        core::iter::successors(Self::of_stage(layers, 0), |tile| tile.next(layers))
    }

    /// The first tile of the stage that begins with layer `first`.
    fn of_stage(layers: &[Layer], first: usize) -> Option<Self> {
        let rest = layers.get(first..)?;
        let last = rest.len().checked_sub(1)?;
        let length = rest.iter().position(|l| l.tiles > 0).unwrap_or(last);
        Some(Self {
            first: first as u8,
            target: (first + length) as u8,
            number: 0,
        })
    }

    #[inline(never)]
    fn next(&self, layers: &[Layer]) -> Option<Self> {
        let number = self.number + 1;
        match layers.get(self.target()) {
            Some(target) if number < target.tiles => Some(Self { number, ..*self }),
            _ => Self::of_stage(layers, self.target() + 1),
        }
    }

    /// The layers of the tile's stage.
    pub const fn layers(self) -> RangeInclusive<usize> {
        self.first as usize..=self.target as usize
    }

    /// The target of the tile's stage.
    pub const fn target(self) -> usize {
        self.target as usize
    }

    /// Whether it is the first tile of its stage.
    pub const fn is_first(self) -> bool {
        self.number == 0
    }

    /// Whether the whole tensor of layer `at` is kept while this stage is computed: true for its target and for the
    /// targets of earlier stages.
    pub const fn is_whole(self, at: usize) -> bool {
        at < self.first as usize || at == self.target as usize
    }

    /// The columns that each layer of the stage computes for this tile.
    ///
    /// Why they cover all columns that are read: the layers are visited from the target back to the first. The
    /// readers of a layer have higher positions, so all of them have asked for their columns before the layer asks
    /// its own inputs. A depthwise convolution computes all columns of its input, because whole planes are read.
    /// Its outermost columns may lack a neighbour inside the tensor; no reader asked for those columns.
    #[inline(never)]
    pub fn columns(self, layers: &[Layer]) -> AllColumns {
        let mut all: AllColumns = [Columns::default(); MAX_LAYERS];
        let Some(target) = layers.get(self.target()) else {
            return all;
        };
        let edge = |number: u8| {
            let tiles = u32::from(target.tiles.max(1));
            let at = u32::from(target.width) * u32::from(number) / tiles;
            // The last tile ends at the edge of the tensor.
            if u32::from(number) == tiles {
                target.width
            } else {
                at as u16 / GRAIN * GRAIN
            }
        };
        if let Some(own) = all.get_mut(self.target()) {
            *own = Columns {
                left: edge(self.number),
                right: edge(self.number + 1),
            };
        }
        for at in self.layers().rev() {
            let (Some(layer), Some(own)) = (layers.get(at), all.get_mut(at)) else {
                continue;
            };
            if layer.op == Op::TransposedConv2x2 {
                // One input column makes two output columns.
                own.left &= !1;
                own.right += own.right & 1;
            }
            let own = *own;
            if own.count() == 0 {
                continue;
            }
            // An operator reads as far to the sides as up and down.
            let left = layer.needs(i32::from(own.left)).0.max(0) as u16;
            let right = layer.needs(i32::from(own.right) - 1).1 as u16 + 1;
            for input in layer.inputs.map(usize::from) {
                let (Some(from), Some(columns)) = (layers.get(input), all.get_mut(input)) else {
                    continue;
                };
                if columns.count() == 0 {
                    *columns = Columns { left, right };
                }
                columns.left = columns.left.min(left);
                columns.right = columns.right.max(right).min(from.width);
            }
        }
        for at in self.layers() {
            if let Some(layer) = layers.get(at).filter(|l| l.op == Op::Depthwise3x3) {
                let input = usize::from(layer.inputs[0]);
                let columns = match all.get(input) {
                    Some(columns) if !self.is_whole(input) => *columns,
                    _ => Columns::all(layer),
                };
                if let Some(own) = all.get_mut(at) {
                    *own = columns;
                }
            }
        }
        all
    }
}

/// Multiply-accumulates of an inference, the halos of tiles included.
#[inline(never)]
pub fn macs(layers: &[Layer]) -> u64 {
    let mut macs = 0u64;
    for tile in Tile::all(layers) {
        let columns = tile.columns(layers);
        for at in tile.layers() {
            let (Some(layer), Some(columns)) = (layers.get(at), columns.get(at)) else {
                continue;
            };
            let once = layer.op == Op::ClassHead && tile.is_first();
            let columns = if once { 1 } else { columns.count() };
            macs = macs.saturating_add(layer.macs(channels_in(layers, layer), columns));
        }
    }
    macs
}
