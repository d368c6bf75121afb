//! The execution order of rows.
//!
//! Inference works backwards from the output, depth first: the mask head asks for its next row, and a layer
//! that is asked for a row first asks its inputs for the rows they still lack. If a network is cut into stages
//! and [`tiles`](super::tiles), the target of each stage asks, tile after tile. The compiler replays this
//! order to size the line buffers, the image's check replays it to prove them, and the engine follows it.

use super::PlanError;
use super::tiles::Tile;
use crate::dies::IMAGE_SIZE;
use crate::graph::{Layer, NONE, Op};
use crate::limits::MAX_LAYERS;

/// For every layer, the number of rows produced so far: in this tile, or in an earlier stage.
pub type Produced = [u16; MAX_LAYERS];

/// One step of the execution order: a row that is produced next.
#[derive(Debug, Clone, Copy)]
pub struct Step<'p> {
    /// The tile it belongs to.
    pub tile: Tile,
    /// Position of the layer that produces it.
    pub at: usize,
    /// Number of the row.
    pub row: u16,
    /// The rows produced before it.
    pub produced: &'p Produced,
}

/// Calls `visit` for every row of every layer in every tile, in execution order. When `visit` is called for a
/// row, all inputs of that row have been computed. The last call is for the last row of the mask head.
///
/// Every layer must read earlier layers only. A class head reads each row as soon as it is produced.
pub fn for_each_row(layers: &[Layer], mut visit: impl FnMut(&Step<'_>)) {
    each_row(layers, &mut visit);
}

/// Like [`for_each_row`], but compiled only once for all callers.
fn each_row(layers: &[Layer], visit: &mut dyn FnMut(&Step<'_>)) {
    let mut produced: Produced = [0; MAX_LAYERS];
    let class_head = layers.iter().position(|l| l.op == Op::ClassHead);
    // A stack of layers that wait for inputs, each with the row it must reach. Inputs have lower positions than
    // their readers, so the stack is never deeper than the number of layers. A row number fits into a byte.
    const { assert!(IMAGE_SIZE <= 256) };
    let mut waiting = [(0u8, 0u8); MAX_LAYERS];
    for tile in Tile::all(layers) {
        let target = tile.target();
        if let Some(rows) = produced.get_mut(tile.layers()) {
            rows.fill(0);
        }
        for last in 0..layers.get(target).map_or(0, |layer| layer.height) {
            let mut depth = 1usize;
            waiting[0] = (target as u8, last as u8);
            while let Some(&(at, until)) = depth.checked_sub(1).and_then(|top| waiting.get(top)) {
                let at = usize::from(at);
                let (Some(layer), Some(&row)) = (layers.get(at), produced.get(at)) else {
                    return;
                };
                if row > u16::from(until) {
                    depth -= 1;
                    continue;
                }
                if let Some(missing) = missing_input(layers, layer, row, &produced) {
                    let Some(slot) = waiting.get_mut(depth) else {
                        return;
                    };
                    *slot = missing;
                    depth += 1;
                    continue;
                }
                let mut produce = |at| {
                    visit(&Step {
                        tile,
                        at,
                        row,
                        produced: &produced,
                    });
                    count(&mut produced, at);
                };
                produce(at);
                if let Some(head) = class_head.filter(|&head| reads(layers, head, at)) {
                    produce(head);
                }
            }
        }
    }
}

fn count(produced: &mut Produced, at: usize) {
    if let Some(rows) = produced.get_mut(at) {
        *rows += 1;
    }
}

fn reads(layers: &[Layer], reader: usize, at: usize) -> bool {
    layers
        .get(reader)
        .is_some_and(|l| usize::from(l.inputs[0]) == at)
}

/// The layers that a layer reads, each with the first and the last row that output row `row` needs.
pub fn input_rows(
    layers: &[Layer],
    layer: &Layer,
    row: u16,
) -> impl Iterator<Item = (usize, u16, u16)> {
    let (first, last) = layer.needs(i32::from(row));
    let inputs = layer.inputs.map(|input| {
        // IMAGE and NONE are larger than every position of a layer.
        let from = layers.get(usize::from(input))?;
        let last = last.min(i32::from(from.height) - 1);
        Some((usize::from(input), first.max(0) as u16, last.max(0) as u16))
    });
    inputs.into_iter().flatten()
}

fn missing_input(
    layers: &[Layer],
    layer: &Layer,
    row: u16,
    produced: &Produced,
) -> Option<(u8, u8)> {
    input_rows(layers, layer, row)
        .find(|&(input, _, last)| produced.get(input).is_some_and(|&rows| rows <= last))
        .map(|(input, _, last)| (input as u8, last as u8))
}

/// For every layer, the least number of rows that its line buffer must hold.
pub fn minimum_rows(layers: &[Layer]) -> [u16; MAX_LAYERS] {
    let mut rows = [1; MAX_LAYERS];
    for_each_row(layers, |step| {
        let Some(layer) = layers.get(step.at) else {
            return;
        };
        for (input, first, _) in input_rows(layers, layer, step.row) {
            if let (Some(buffer), Some(&rows)) = (rows.get_mut(input), step.produced.get(input)) {
                *buffer = (*buffer).max(rows.saturating_sub(first));
            }
        }
    });
    rows
}

/// Proves that every line buffer holds the rows its readers need, and that the class head reads every row of its
/// input exactly once. (If the class head were in a stage of several tiles, it would read them several times.)
pub fn check_line_buffers(layers: &[Layer]) -> Result<(), PlanError> {
    let needed = minimum_rows(layers);
    for (at, (layer, needed)) in layers.iter().zip(needed).enumerate() {
        if layer.has_line_buffer()
            && (layer.buffer_rows < needed || layer.buffer_rows > layer.height)
        {
            return Err(PlanError::Buffer(at));
        }
    }
    let is_class_head = |at: usize| layers.get(at).is_some_and(|l| l.op == Op::ClassHead);
    let (mut seen, mut height) = (0, 0);
    for_each_row(layers, |step| seen += u16::from(is_class_head(step.at)));
    for layer in layers.iter().filter(|l| l.op == Op::ClassHead) {
        height = layer.height;
    }
    (seen == height).then_some(()).ok_or(PlanError::Heads)
}

const _: () = assert!(NONE as usize >= MAX_LAYERS);
