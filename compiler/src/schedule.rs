//! Schedules: the same network in less memory with more arithmetic. The bits of the answer stay the same.
//!
//! A skip connection needs a long line buffer, because the decoder reads a row of an encoder level long after it
//! was computed. A schedule does not keep these rows: it computes the first levels a second time, just ahead of
//! the decoder (rematerialization). It is a rewrite of the layers. The second computation consists of layers of
//! its own, which share weights with the first, so the engine needs no change.
//!
//! The smallest schedules also compute the end of the decoder in tiles of columns (patch-based inference, the
//! runtime's `plan::tiles`). Then only two tensors are held whole: the input of the deeper encoder levels, and the
//! input of the end of the decoder.

use lightwafer_runtime::AlignedBox;
use lightwafer_runtime::Model;
use lightwafer_runtime::graph::{NONE, Op};
use lightwafer_runtime::limits::MAX_LAYERS;

use crate::writer::{LayerSpec, ModelSpec, WriteError, plan, write};

/// A schedule: one way to compute a network.
#[derive(Debug, Clone)]
pub struct Schedule {
    /// Number of encoder levels that are computed twice, from the first on.
    pub recomputed: usize,
    /// Number of tiles in which the second computation and the layers that read it are computed; 1 for whole rows.
    pub tiles: u8,
    /// The layers, for [`super::writer::write`].
    pub layers: Vec<LayerSpec>,
    /// Bytes of arena that an inference needs.
    pub arena_bytes: usize,
    /// Multiply-accumulates of an inference.
    pub macs: u64,
}

/// The most tiles to try. With more tiles, the arena hardly shrinks.
const MOST_TILES: u8 = 8;

/// The schedules of a network that fit into the image format. First come those of whole rows, beginning with the
/// one that computes nothing twice. Then come those in tiles, each only if it needs less memory than all cheaper
/// ones. `layers` may have any of these schedules.
///
/// # Errors
/// [`WriteError`] if the layers cannot be written.
pub fn schedules(layers: &[LayerSpec]) -> Result<Vec<Schedule>, WriteError> {
    let layers = plain(layers);
    let skips = skips(&layers);
    let mut all = Vec::new();
    let planned = |recomputed: usize, tiles: u8, layers: Vec<LayerSpec>| {
        let plan = plan(&layers)?;
        Ok(Schedule {
            recomputed,
            tiles,
            layers,
            arena_bytes: plan.arena_bytes,
            macs: plan.macs,
        })
    };
    let rewritten = |recomputed| {
        let skips: &[u8] = skips.get(..recomputed)?;
        let layers = recompute(&layers, skips);
        (layers.len() <= MAX_LAYERS).then_some(layers)
    };
    for (recomputed, layers) in (0..).map_while(|n| Some((n, rewritten(n)?))) {
        all.push(planned(recomputed, 1, layers)?);
    }
    let mut cut_up = Vec::new();
    for (recomputed, whole) in all.iter().enumerate().skip(1) {
        let skip = skips.get(recomputed - 1).copied().unwrap_or(NONE);
        let mut least = usize::MAX;
        for tiles in 2..=MOST_TILES {
            let Some(layers) = cut(&whole.layers, skip, tiles) else {
                break;
            };
            let schedule = planned(recomputed, tiles, layers)?;
            if schedule.arena_bytes >= least {
                break;
            }
            least = schedule.arena_bytes;
            cut_up.push(schedule);
        }
    }
    cut_up.sort_by_key(|s| (s.macs, s.arena_bytes));
    for schedule in cut_up {
        let beaten = |other: &Schedule| {
            other.macs <= schedule.macs && other.arena_bytes <= schedule.arena_bytes
        };
        if !all.iter().any(beaten) {
            all.push(schedule);
        }
    }
    Ok(all)
}

/// Cuts layers that are computed twice up to `skip` into three stages, the last of them in tiles. `None` if the
/// layers are not such a network.
fn cut(layers: &[LayerSpec], skip: u8, tiles: u8) -> Option<Vec<LayerSpec>> {
    let mut out = layers.to_vec();
    let down = layers
        .iter()
        .position(|l| l.inputs[0] == skip && !concatenates(l))?;
    let images = |l: &LayerSpec| l.op == Op::ImageConv3x3;
    // Just before the second computation comes the transposed convolution, and before that its input.
    let up = layers.iter().rposition(images)?.checked_sub(2)?;
    (down < up).then_some(())?;
    out.get_mut(down)?.tiles = 1;
    out.get_mut(up)?.tiles = 1;
    out.last_mut()?.tiles = tiles;
    // Of earlier stages, a stage can read only whole tensors.
    let mut first = 0;
    for (at, layer) in out.iter().enumerate() {
        for input in layer.inputs.map(usize::from) {
            if input < first && out.get(input)?.tiles == 0 {
                return None;
            }
        }
        if layer.tiles > 0 {
            first = at + 1;
        }
    }
    Some(out)
}

/// The schedule with the fewest multiply-accumulates among those that need at most `budget` bytes of arena.
///
/// # Errors
/// If none fits: the bytes of the smallest schedule.
pub fn cheapest(schedules: &[Schedule], budget: usize) -> Result<&Schedule, usize> {
    let smallest = schedules.iter().map(|s| s.arena_bytes).min();
    let fitting = schedules.iter().filter(|s| s.arena_bytes <= budget);
    fitting
        .min_by_key(|s| (s.macs, s.arena_bytes))
        .ok_or(smallest.unwrap_or(0))
}

/// Rewrites an image with another schedule of its layers. The model and its golden wafer stay the same.
///
/// # Errors
/// [`WriteError::Model`] if `image` is not a model image; [`WriteError::Golden`] if the new image answers the
/// golden wafer differently; and the errors of the writer.
pub fn rewrite(image: &[u8], schedule: &Schedule) -> Result<AlignedBox<u8>, WriteError> {
    let model = Model::new_checked(image).map_err(WriteError::Model)?;
    let header = model.header();
    let spec = ModelSpec {
        name: header.name.into(),
        created: header.created.into(),
        parameters: header.parameters,
        layers: schedule.layers.clone(),
    };
    let golden = model.golden_map().ok_or(WriteError::Golden)?;
    let written = write(&spec, &golden)?;
    let again = Model::new_checked(&written).map_err(WriteError::Model)?;
    match again.golden() == model.golden() {
        true => Ok(written),
        false => Err(WriteError::Golden),
    }
}

/// The layers without second computations: each is computed once.
fn plain(layers: &[LayerSpec]) -> Vec<LayerSpec> {
    let mut kept: Vec<LayerSpec> = Vec::new();
    let mut to = Vec::new();
    for layer in layers {
        let layer = moved(layer, &to);
        let at = kept.iter().position(|other| *other == layer);
        to.push(at.unwrap_or(kept.len()) as u8);
        if at.is_none() {
            kept.push(layer);
        }
    }
    kept
}

/// The layer with its inputs changed to their new positions.
fn moved(layer: &LayerSpec, to: &[u8]) -> LayerSpec {
    LayerSpec {
        inputs: layer
            .inputs
            .map(|input| to.get(usize::from(input)).copied().unwrap_or(input)),
        tiles: 0,
        ..layer.clone()
    }
}

/// The layers with a skip connection, in order: a concatenation reads them, and another layer too.
fn skips(layers: &[LayerSpec]) -> Vec<u8> {
    let readers = |at: u8| layers.iter().filter(move |l| l.inputs.contains(&at));
    (0..layers.len() as u8)
        .filter(|&at| readers(at).any(concatenates) && readers(at).any(|l| !concatenates(l)))
        .collect()
}

fn concatenates(layer: &LayerSpec) -> bool {
    layer.op == Op::Pointwise && layer.inputs[1] != NONE
}

/// The layers with a second computation of `skips`, for the concatenations that read them.
fn recompute(layers: &[LayerSpec], skips: &[u8]) -> Vec<LayerSpec> {
    let Some(&last) = skips.last() else {
        return layers.to_vec();
    };
    // All layers that the skips are computed from.
    let mut cone = vec![false; layers.len()];
    for &skip in skips {
        cone[usize::from(skip)] = true;
    }
    for at in (0..=usize::from(last))
        .rev()
        .filter(|&at| at < layers.len())
    {
        for input in layers[at].inputs {
            if cone[at]
                && let Some(inside) = cone.get_mut(usize::from(input))
            {
                *inside = true;
            }
        }
    }
    let mut out: Vec<LayerSpec> = Vec::new();
    // The new positions of the layers, and of their second computations.
    let (mut to, mut again): (Vec<u8>, Vec<u8>) = (Vec::new(), Vec::new());
    for layer in layers {
        let reads = layer.inputs.iter().any(|input| skips.contains(input));
        if concatenates(layer) && reads && again.is_empty() {
            again = vec![NONE; layers.len()];
            for at in 0..=usize::from(last) {
                if cone[at] {
                    out.push(moved(&layers[at], &again));
                    again[at] = (out.len() - 1) as u8;
                }
            }
        }
        let mut new = moved(layer, &to);
        if concatenates(layer) {
            for (input, old) in new.inputs.iter_mut().zip(layer.inputs) {
                if skips.contains(&old) {
                    *input = again.get(usize::from(old)).copied().unwrap_or(*input);
                }
            }
        }
        out.push(new);
        to.push((out.len() - 1) as u8);
    }
    out
}
