//! Liveness: which buffers of the arena are live at the same time (interference), and the proof that such
//! buffers do not overlap.
//!
//! A row is live from the moment it is written until its last reader has read it. Buffers that are never live
//! at the same time may share bytes. The compiler places each buffer. The image's check replays the execution
//! order and proves that no overlap changes a result.

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

/// For every part, the set of parts that are live when it becomes live. Two parts interfere if one of the two
/// sets contains the other part.
pub type Interference = [Parts; PART_COUNT];

/// Calls `visit` for every row of an inference, with the parts that become live for the row and all parts that
/// are live during it (the first ones included). Also calls `visit` at the start of every tile, with the parts
/// that stay live during the whole tile.
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

/// The parts that stay live during a whole tile, however long their rows are needed: the look-up table, rows
/// whose padding is written once, rows that may be copied to the next row, and whole tensors for later stages.
#[inline(never)]
fn kept_in(layers: &[Layer], tile: Tile) -> Parts {
    let (first, target) = tile.layers().into_inner();
    let mut kept = match layers.get(target) {
        Some(layer) if layer.has_line_buffer() => only(target),
        _ => 0,
    };
    for (at, layer) in layers.iter().enumerate().skip(first) {
        for input in layer.inputs.map(usize::from) {
            // Whole tensors of earlier stages, and rows with padding.
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

/// The parts that become live when a row is computed.
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

/// Whether a layer still has to read one of the rows of layer `at` produced so far.
fn in_use(layers: &[Layer], at: usize, produced: &Produced) -> bool {
    let rows = produced.get(at).copied().unwrap_or(0);
    layers.iter().zip(produced).any(|(reader, &done)| {
        let reads = reader.inputs.iter().any(|&input| usize::from(input) == at);
        reads && done < reader.height && reader.needs(i32::from(done)).0 < i32::from(rows)
    })
}

/// Computes which parts are live at the same time.
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

/// Proves that every part begins at a multiple of 4 and does not overlap a part that is live at the same time.
/// Returns the end of the last part: the bytes of the arena.
#[inline(never)]
pub fn check(layers: &[Layer], regions: &[Region; PART_COUNT]) -> Result<u32, PlanError> {
    let interference = interference(layers);
    let mut end = 0;
    for (a, part) in regions.iter().enumerate() {
        // A model has fewer than 2^32 bytes of rows, because the limits of `Layer` are small.
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

/// The most bytes that are live at one moment. No placement needs less.
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
