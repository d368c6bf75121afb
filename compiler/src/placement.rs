//! The memory planner: places the buffers in the arena, by first fit, in the best order it finds.
//!
//! The problem is dynamic storage allocation, which is NP-hard. With about forty buffers, a search that starts
//! with the largest buffer first ends within one per cent of the lower bound, [`liveness::peak_bytes`].

use lightwafer_runtime::graph::Layer;
use lightwafer_runtime::internals::plan::layout::{self, PART_COUNT, WORK_COUNT};
use lightwafer_runtime::internals::plan::liveness::{self, Interference};
use lightwafer_runtime::limits::MAX_LAYERS;

/// Number of orders to try after the first.
const TRIES: usize = 2_000;

/// Sets the place of every line buffer. Returns the places of the work areas, and the bytes of the whole arena.
pub fn place(layers: &mut [Layer]) -> ([u32; WORK_COUNT], u32) {
    let bytes = layout::part_bytes(layers).map(|bytes| bytes.next_multiple_of(4));
    let interference = liveness::interference(layers);
    let least = liveness::peak_bytes(layers, &bytes);
    let mut order: Vec<usize> = (0..PART_COUNT).filter(|&part| bytes[part] > 0).collect();
    order.sort_by_key(|&part| core::cmp::Reverse(bytes[part]));
    let mut best = first_fit(&order, &bytes, &interference);
    let mut random = 0x9e37_79b9_7f4a_7c15u64;
    for _ in 0..TRIES {
        if best.1 <= least || order.len() < 2 {
            break;
        }
        let mut below = |n: usize| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            (random % n as u64) as usize
        };
        let (from, to) = (below(order.len()), below(order.len()));
        let part = order.remove(from);
        order.insert(to, part);
        let found = first_fit(&order, &bytes, &interference);
        if found.1 <= best.1 {
            best = found;
        } else {
            let part = order.remove(to);
            order.insert(from, part);
        }
    }
    let (starts, end) = best;
    for (layer, start) in layers.iter_mut().zip(starts) {
        layer.start = start;
    }
    let mut work = [0; WORK_COUNT];
    work.copy_from_slice(&starts[MAX_LAYERS..]);
    (work, end)
}

/// Places the parts one after the other, each at the lowest address where it overlaps no part that interferes
/// with it. Returns their starts, and the end of the last.
fn first_fit(
    order: &[usize],
    bytes: &[u32; PART_COUNT],
    interference: &Interference,
) -> ([u32; PART_COUNT], u32) {
    let mut starts = [0; PART_COUNT];
    let mut end = 0;
    for (at, &part) in order.iter().enumerate() {
        let placed = order[..at]
            .iter()
            .filter(|&&other| liveness::interfere(interference, part, other));
        let mut taken: Vec<_> = placed.map(|&o| (starts[o], starts[o] + bytes[o])).collect();
        taken.sort_unstable();
        let mut start = 0;
        for (from, to) in taken {
            if from >= start + bytes[part] {
                break;
            }
            start = start.max(to);
        }
        starts[part] = start;
        end = end.max(start + bytes[part]);
    }
    (starts, end)
}
