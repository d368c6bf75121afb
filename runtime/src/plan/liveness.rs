//! Liveness: which buffers of the arena are in use at the same time (interference), and the proof that those
//! do not overlap.
//!
//! A row is live from when it is written until its last reader has read it. Buffers that are never live
//! together may share bytes. The compiler places each buffer; the image's check replays the execution order
//! and proves that no overlap can be noticed.

use super::PlanError;
use super::layout::{self, PART_COUNT, Part, Region};
use super::order::{self, Produced};
use super::tiles::Tile;
use crate::graph::{Layer, Op};
use crate::limits::MAX_LAYERS;

/// A set of [`Part`]s, one bit each.
type Parts = u64;

const _: () = assert!(PART_COUNT <= Parts::BITS as usize);

#[inline(never)]
const fn only(part: usize) -> Parts {
    1 << part
}

/// For every part, the parts that are live when it begins to be: two parts interfere if either has the
/// other's bit.
pub type Interference = [Parts; PART_COUNT];

/// Calls `visit` for every row of an inference, with the parts that its computation begins to use and all
/// that are in use meanwhile (those included); and for every tile with the parts kept in it.
fn replay(layers: &[Layer], mut visit: impl FnMut(Parts, Parts)) {
    let (mut tile, mut kept, mut used) = (None, 0, 0);
    order::for_each_row(layers, |step| {
        if tile != Some(step.tile) {
            tile = Some(step.tile);
            kept = kept_in(layers, step.tile);
            used = kept;
            visit(kept, kept);
        }
        let at = step.at;
        let Some(layer) = layers.get(at) else { return };
        let begins = begins(at, layer, step.row);
        visit(begins, used | begins);
        let mut produced = *step.produced;
        if let Some(rows) = produced.get_mut(at) {
            *rows += 1;
        }
        let inputs = layer.inputs.map(usize::from);
        for part in [Some(at), inputs.first().copied(), inputs.get(1).copied()] {
            let Some(part) = part.filter(|&part| part < layers.len()) else {
                continue;
            };
            used &= !only(part);
            if in_use(layers, part, &produced) {
                used |= only(part);
            }
        }
        used |= kept;
    });
}

/// The parts whose bytes outlive their rows while a tile is computed: the table, borders written once, rows
/// that may be copied to the next, and tensors kept whole for later stages.
#[inline(never)]
fn kept_in(layers: &[Layer], tile: Tile) -> Parts {
    let (first, target) = tile.layers().into_inner();
    let mut kept = match layers.get(target) {
        Some(layer) if layer.has_line_buffer() => only(target),
        _ => 0,
    };
    for (at, layer) in layers.iter().enumerate().skip(first) {
        for input in layer.inputs.map(usize::from) {
            // Whole tensors of earlier stages, and rows with borders.
            if input <= target && (input < first || layer.reads_padding(0)) {
                kept |= only(input);
            }
        }
        if layer.op == Op::ImageConv3x3 && at <= target {
            kept |= only(at) | only(Part::Table.index());
        }
    }
    kept
}

/// The parts that computing a row begins to use.
fn begins(at: usize, layer: &Layer, row: u16) -> Parts {
    let mut parts = if layer.has_line_buffer() { only(at) } else { 0 };
    if let Some(scratch) = layout::scratch_of(layer.op) {
        parts |= only(scratch.index());
    }
    if layer.reads_padding(row) {
        parts |= only(Part::Padding.index());
    }
    parts
}

/// Whether a reader still lacks one of the rows produced.
fn in_use(layers: &[Layer], at: usize, produced: &Produced) -> bool {
    let rows = produced.get(at).copied().unwrap_or(0);
    layers.iter().zip(produced).any(|(reader, &done)| {
        let reads = reader.inputs.iter().any(|&input| usize::from(input) == at);
        reads && done < reader.height && reader.needs(i32::from(done)).0 < i32::from(rows)
    })
}

/// Which parts are live at the same time.
#[inline(never)]
pub fn interference(layers: &[Layer]) -> Interference {
    let mut interference = [0; PART_COUNT];
    replay(layers, |begins, used| {
        for (part, with) in interference.iter_mut().enumerate() {
            if begins & only(part) != 0 {
                *with |= used;
            }
        }
    });
    interference
}

/// Whether parts `a` and `b` are ever live at the same time.
pub fn interfere(interference: &Interference, a: usize, b: usize) -> bool {
    let has = |a: usize, b: usize| interference.get(a).is_some_and(|with| with & only(b) != 0);
    has(a, b) || has(b, a)
}

/// Proves that every part lies in the arena, on a word, and apart from those in use at the same time.
/// Returns the end of the last.
#[inline(never)]
pub fn check(layers: &[Layer], regions: &[Region; PART_COUNT]) -> Result<u32, PlanError> {
    let interference = interference(layers);
    let mut end = 0;
    for (a, part) in regions.iter().enumerate() {
        // A model has fewer than 2^32 bytes of rows: see `Layer`'s limits.
        let last = part.start.checked_add(part.len);
        end = end.max(last.ok_or(PlanError::Memory(a))?);
        let apart = regions.iter().enumerate().take(a).all(|(b, other)| {
            !interfere(&interference, a, b) || part.len == 0 || other.len == 0 || part.apart(*other)
        });
        if part.start % 4 != 0 || !apart {
            return Err(PlanError::Memory(a));
        }
    }
    Ok(end)
}

/// Bytes that are live at the busiest moment: no placement needs less.
pub fn peak_bytes(layers: &[Layer], bytes: &[u32; PART_COUNT]) -> u32 {
    let mut most = 0;
    replay(layers, |_, used| {
        let parts = bytes.iter().enumerate();
        most = most.max(
            parts
                .filter(|(at, _)| used & only(*at) != 0)
                .map(|(_, b)| b)
                .sum(),
        );
    });
    most
}

const _: () = assert!(Part::Table.index() == MAX_LAYERS);
