//! Tiles: patch-based inference, so that the largest tensors are never held whole (as in MCUNetV2, Lin et al. 2021).
//!
//! A *stage* is a run of layers up to one whose whole tensor is kept, its *target*: the next layer whose
//! [`Layer::tiles`] is not 0, or the mask head. Stages are computed one after the other. Each is computed in
//! that many *tiles*: ranges of the target's columns, left to right, every tile from its first row to its last.
//! All other layers of the stage hold only the columns that the tile needs: those under it and a *halo* of
//! neighbours that 3×3 operators read, which the next tile computes again. Later stages read targets only. A
//! network that is not cut is one stage of one tile.
//!
//! Which columns a layer computes follows from the layers alone ([`Tile::columns`]): an image only says where
//! stages end and in how many tiles they are computed. Zero padding lies at the tensors' own edges.

use core::ops::RangeInclusive;

use crate::graph::{Layer, Op, channels_in};
use crate::limits::MAX_LAYERS;

/// Tiles begin at multiples of so many of the target's columns: a byte of the mask has eight.
const GRAIN: u16 = 8;

/// Most tiles of a tensor of `width` columns; none is empty.
pub const fn most(width: u16) -> u16 {
    if width < GRAIN { 1 } else { width / GRAIN }
}

/// Columns of a tensor, from `left` up to `right`, which is not one of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Columns {
    /// The first.
    pub left: u16,
    /// Behind the last.
    pub right: u16,
}

impl Columns {
    /// How many there are.
    pub const fn count(self) -> u16 {
        self.right.saturating_sub(self.left)
    }

    /// All of a layer's.
    pub const fn all(layer: &Layer) -> Self {
        Self {
            left: 0,
            right: layer.width,
        }
    }
}

/// The columns of each layer of a tile's stage; none of others, and of those that the target does not need.
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

    /// The stage's layers.
    pub const fn layers(self) -> RangeInclusive<usize> {
        self.first as usize..=self.target as usize
    }

    /// The layer that the stage is computed for.
    pub const fn target(self) -> usize {
        self.target as usize
    }

    /// Whether it is its stage's first tile.
    pub const fn is_first(self) -> bool {
        self.number == 0
    }

    /// Whether layer `at` is kept whole while the stage is computed: its target and those of earlier ones.
    pub const fn is_whole(self, at: usize) -> bool {
        at < self.first as usize || at == self.target as usize
    }

    /// The columns that each layer of the stage computes for this tile.
    ///
    /// Proof that they cover what is read, from the target back: a layer's readers have higher positions, so
    /// that its columns are complete when its turn comes to ask for those of its inputs. A depthwise
    /// convolution computes all columns of its input, whose planes are read as they are; those at its ends
    /// that lack a neighbour inside the tensor are not columns that it was asked for.
    #[inline(never)]
    pub fn columns(self, layers: &[Layer]) -> AllColumns {
        let mut all: AllColumns = [Columns::default(); MAX_LAYERS];
        let Some(target) = layers.get(self.target()) else {
            return all;
        };
        let edge = |number: u8| {
            let tiles = u32::from(target.tiles.max(1));
            let at = u32::from(target.width) * u32::from(number) / tiles;
            // The last tile ends where the tensor does.
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
                // Two columns come from one.
                own.left &= !1;
                own.right += own.right & 1;
            }
            let own = *own;
            if own.count() == 0 {
                continue;
            }
            // An operator reads to the sides what it reads above and below.
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

/// Multiply-accumulates of an inference, those of overlapping columns included.
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
