//! Schedules: the same network in less memory for more arithmetic.
//!
//! A skip connection is a long ring: the decoder reads a row of an encoder level long after it was made.
//! A schedule computes the first levels a second time, just ahead of the decoder, instead of keeping them.
//! That is a rewrite of the layers, which no executor needs to know about: the second computation is layers
//! of its own that share weights with the first. Every schedule gives the same bits.

use std::vec;
use std::vec::Vec;

use super::writer::{LayerSpec, WriteError, plan};
use super::{NONE, Op};

/// One way to compute a network.
#[derive(Debug, Clone)]
pub struct Schedule {
    /// Encoder levels that are computed twice, from the first on.
    pub recomputed: usize,
    /// The layers, as [`super::writer::write`] takes them.
    pub layers: Vec<LayerSpec>,
    /// Bytes of arena that an inference needs.
    pub arena_bytes: usize,
    /// Multiply-accumulates of an inference.
    pub macs: u64,
}

/// Every schedule of a network that the format has room for, the plain one first; `layers` may be of any of
/// them.
///
/// # Errors
/// Those of the writer, for layers that are none.
pub fn schedules(layers: &[LayerSpec]) -> Result<Vec<Schedule>, WriteError> {
    let layers = plain(layers);
    let skips = skips(&layers);
    let mut all = Vec::new();
    for recomputed in 0..=skips.len() {
        let layers = recompute(&layers, skips.get(..recomputed).unwrap_or_default());
        if layers.len() > super::MAX_LAYERS {
            break;
        }
        let plan = plan(&layers)?;
        all.push(Schedule {
            recomputed,
            layers,
            arena_bytes: plan.arena_bytes,
            macs: plan.macs,
        });
    }
    Ok(all)
}

/// Of the schedules that need at most `budget` bytes of arena the one with the fewest multiply-accumulates.
///
/// # Errors
/// When none fits, the bytes of the smallest.
pub fn cheapest(schedules: &[Schedule], budget: usize) -> Result<&Schedule, usize> {
    let smallest = schedules.iter().map(|s| s.arena_bytes).min();
    let fitting = schedules.iter().filter(|s| s.arena_bytes <= budget);
    fitting
        .min_by_key(|s| (s.macs, s.arena_bytes))
        .ok_or(smallest.unwrap_or(0))
}

/// The layers with every one computed once.
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

/// The layer with its inputs at their new positions.
fn moved(layer: &LayerSpec, to: &[u8]) -> LayerSpec {
    LayerSpec {
        inputs: layer
            .inputs
            .map(|input| to.get(usize::from(input)).copied().unwrap_or(input)),
        ..layer.clone()
    }
}

/// The layers that a concatenation reads and another layer too, in order.
fn skips(layers: &[LayerSpec]) -> Vec<u8> {
    let readers = |at: u8| layers.iter().filter(move |l| l.inputs.contains(&at));
    (0..layers.len() as u8)
        .filter(|&at| readers(at).any(concatenates) && readers(at).any(|l| !concatenates(l)))
        .collect()
}

fn concatenates(layer: &LayerSpec) -> bool {
    layer.op == Op::Pointwise && layer.inputs[1] != NONE
}

/// The layers with a second computation of the `skips`, for the concatenations that read them.
fn recompute(layers: &[LayerSpec], skips: &[u8]) -> Vec<LayerSpec> {
    let Some(&last) = skips.last() else {
        return layers.to_vec();
    };
    // What the skips are computed from.
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
    // New positions, and those of second computations.
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
