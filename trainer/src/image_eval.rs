//! Evaluation of a model image with the runtime's own engine: its answers are, bit for bit, those of a board.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use anyhow::{Context, Result};
use lightwafer_runtime::AlignedBox;
use lightwafer_runtime::FixedEngine;
use lightwafer_runtime::LOGIT_UNIT;
use lightwafer_runtime::dies::{DieMap, IMAGE_SIZE, MAX_PACKED_LEN, Mask};
use lightwafer_runtime::image::Model;
use tch::Device;

use crate::batch::turned_places;
use crate::data::Data;
use crate::metrics::{Collector, PixelCounts, Report};

/// Wafers that a thread takes at a time.
const SHARE: usize = 16;

/// A grid of dies in memory, row-major.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grid {
    /// Rows of dies.
    pub rows: u16,
    /// Columns of dies.
    pub cols: u16,
    /// States of the dies: 0 no die, 1 pass, 2 fail.
    pub dies: Vec<u8>,
}

impl Grid {
    /// Wafer `i` of a data set.
    pub fn of(data: &Data, i: u32) -> Self {
        let wafers = &data.wafers;
        Self {
            rows: wafers.rows,
            cols: wafers.cols,
            dies: wafers.dies(i as usize).to_vec(),
        }
    }

    /// The grid after a quarter turn counter-clockwise: symmetry 1 of [`crate::batch`].
    pub fn turned(&self) -> Self {
        let places = turned_places(self.rows.into(), self.cols.into(), Device::Cpu).get(1);
        let places = Vec::<i64>::try_from(places).unwrap_or_default();
        Self {
            rows: self.cols,
            cols: self.rows,
            dies: places
                .iter()
                .map(|place| self.dies[*place as usize])
                .collect(),
        }
    }

    /// Hands the packed map to `f`.
    ///
    /// # Errors
    /// When the dies do not fit the grid.
    pub fn packed<T>(&self, f: impl FnOnce(&DieMap<'_>) -> T) -> Result<T> {
        let mut bytes = vec![0; MAX_PACKED_LEN];
        let map = DieMap::pack(self.rows, self.cols, &self.dies, &mut bytes)
            .map_err(|e| anyhow::anyhow!("a wafer is no die map: {e}"))?;
        Ok(f(&map))
    }
}

/// Evaluates the model image `image` on `wafers`, each after a quarter turn if `turned`, on `threads`
/// threads. `None` when `stop` asks to end before that is done.
///
/// # Errors
/// When the image does not pass its check.
pub fn evaluate(
    image: &[u8],
    data: &Data,
    wafers: &[u32],
    turned: bool,
    threads: usize,
    stop: &(dyn Fn() -> bool + Sync),
) -> Result<Option<Report>> {
    Model::new_checked(image).context("the model image is refused")?;
    let next = AtomicUsize::new(0);
    let work = || -> Result<Collector> {
        let model = Model::new_checked(image)?;
        let mut arena = AlignedBox::zeroed(model.header().arena_bytes as usize);
        let mut engine = FixedEngine::new(model, &mut arena)?;
        let (mut collector, mut mask) = (Collector::default(), Mask::new());
        while !stop() {
            let from = next.fetch_add(SHARE, Ordering::Relaxed);
            let Some(share) = wafers.get(from..wafers.len().min(from + SHARE)) else {
                break;
            };
            for &wafer in share {
                let grid = Grid::of(data, wafer);
                let grid = if turned { grid.turned() } else { grid };
                let (scores, counts) = grid.packed(|map| {
                    let answer = engine.infer(map, &mut mask);
                    (
                        answer.logits.map(|logit| logit as f32 * LOGIT_UNIT),
                        count(&mask, map),
                    )
                })?;
                collector.class(scores, data.labels[wafer as usize]);
                collector.mask(counts, 1);
            }
        }
        Ok(collector)
    };
    let mut all = Collector::default();
    thread::scope(|scope| -> Result<()> {
        let workers: Vec<_> = (0..threads.max(1)).map(|_| scope.spawn(work)).collect();
        for worker in workers {
            let part = worker
                .join()
                .map_err(|_| anyhow::anyhow!("an evaluation thread failed"))??;
            all.merge(part);
        }
        Ok(())
    })?;
    Ok((!stop()).then(|| all.report()))
}

/// Compares a mask with the failing dies of its map.
fn count(mask: &Mask, map: &DieMap<'_>) -> PixelCounts {
    let mut counts = PixelCounts::default();
    let mut pixels = [0; IMAGE_SIZE];
    for y in 0..IMAGE_SIZE {
        map.render_row(y, &mut pixels);
        for (x, &die) in pixels.iter().enumerate() {
            *match (mask.get(y, x), die == 2) {
                (true, true) => &mut counts.both,
                (true, false) => &mut counts.marked_only,
                (false, true) => &mut counts.failing_only,
                (false, false) => &mut counts.neither,
            } += 1;
        }
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::Source;
    use crate::data::Protocol;
    use lightwafer_maps::npz::WaferSet;

    #[test]
    fn a_turn_is_the_float_evaluations_turn() {
        let dies: Vec<u8> = (0..3 * 5).map(|i| (i * 7 / 3 % 3) as u8).collect();
        let wafers = WaferSet {
            rows: 3,
            cols: 5,
            dies,
            labels: None,
        };
        let data = Data::split(wafers, vec![1], Protocol::Distinct);
        let grid = Grid::of(&data, 0).turned();
        assert_eq!((grid.rows, grid.cols), (5, 3));
        let source = Source::new(&data, Device::Cpu);
        let pixels: Vec<f32> =
            Vec::try_from(source.batch(&[0], &[1], IMAGE_SIZE as i64).mask.view([-1])).unwrap();
        let mut row = [0; IMAGE_SIZE];
        let same = grid.packed(|map| {
            (0..IMAGE_SIZE).all(|y| {
                map.render_row(y, &mut row);
                row.iter()
                    .zip(&pixels[y * IMAGE_SIZE..])
                    .all(|(d, p)| (*d == 2) == (*p == 1.0))
            })
        });
        assert!(same.unwrap());
    }

    #[test]
    fn bytes_that_are_no_image_are_refused() {
        let wafers = WaferSet {
            rows: 1,
            cols: 1,
            dies: vec![1],
            labels: None,
        };
        let data = Data::split(wafers, vec![0], Protocol::Distinct);
        let error = evaluate(b"no image", &data, &[0], false, 1, &|| false).unwrap_err();
        assert!(error.to_string().contains("refused"), "{error:#}");
    }
}
