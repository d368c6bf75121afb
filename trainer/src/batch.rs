//! From dies to the network's input, on the device: the 8 symmetries of the square, then pixels.
//!
//! Symmetries act on the dies, before rendering, so that a turned wafer looks exactly as a board would
//! render it. Pixels come from the runtime's [`source_index`] and [`PALETTE`].

use std::cell::RefCell;
use std::collections::HashMap;

use lightwafer_runtime::dies::{PALETTE, source_index};
use tch::{Device, Kind, Tensor};

use crate::data::{Data, Random};

/// One of the 8 symmetries of the square: quarter turns `0…3` in the low bits, then a flip (4).
pub type Symmetry = u8;

/// A rendered batch.
#[derive(Debug)]
pub struct Batch {
    /// Images (B, 3, S, S), f32 in 0…1, channels last in memory.
    pub image: Tensor,
    /// Failing dies (B, 1, S, S), f32 0 or 1.
    pub mask: Tensor,
    /// Classes (B), i64.
    pub class: Tensor,
    /// The wafers' positions in the data set.
    pub wafers: Vec<u32>,
    /// The symmetry of each.
    pub symmetries: Vec<Symmetry>,
}

/// `tensor` under `symmetry`, whose quarter turns go from the first of `dims` to the second.
pub fn turn(tensor: &Tensor, symmetry: Symmetry, dims: [i64; 2]) -> Tensor {
    let turned = tensor.rot90(i64::from(symmetry % 4), dims);
    if symmetry >= 4 {
        turned.flip([dims[1]])
    } else {
        turned
    }
}

/// Undoes [`turn`].
pub fn turn_back(tensor: &Tensor, symmetry: Symmetry, dims: [i64; 2]) -> Tensor {
    let quarters = -i64::from(symmetry % 4);
    if symmetry >= 4 {
        tensor.flip([dims[1]]).rot90(quarters, dims)
    } else {
        tensor.rot90(quarters, dims)
    }
}

/// For each symmetry, the place in the original grid of each value of the turned grid: (8, `rows`·`cols`),
/// row-major.
pub fn turned_places(rows: i64, cols: i64, device: Device) -> Tensor {
    let places = Tensor::arange(rows * cols, (Kind::Int64, device)).view([1, rows, cols]);
    let turned = |symmetry| turn(&places, symmetry, [1, 2]).contiguous().view([-1]);
    Tensor::stack(&(0..8).map(turned).collect::<Vec<_>>(), 0)
}

/// A data set on the device, from which batches are rendered.
pub struct Source {
    /// (N, rows·cols).
    dies: Tensor,
    rows: i64,
    cols: i64,
    labels: Tensor,
    palette: Tensor,
    device: Device,
    /// By image size S: for each symmetry, the die under every pixel, (8, S·S).
    die_under: RefCell<HashMap<i64, Tensor>>,
}

impl Source {
    /// Copies all wafers of `data` to the device.
    pub fn new(data: &Data, device: Device) -> Self {
        let palette: Vec<f32> = PALETTE
            .iter()
            .flatten()
            .map(|v| f32::from(*v) / 255.0)
            .collect();
        Self {
            dies: Tensor::from_slice(&data.wafers.dies)
                .view([-1, data.wafers.dies_per_wafer() as i64])
                .to_device(device),
            rows: data.wafers.rows.into(),
            cols: data.wafers.cols.into(),
            labels: Tensor::from_slice(&data.labels)
                .to_kind(Kind::Int64)
                .to_device(device),
            palette: Tensor::from_slice(&palette).view([3, 3]).to_device(device),
            device,
            die_under: RefCell::default(),
        }
    }

    /// Renders wafers at `size`×`size`. `symmetries` holds one symmetry a wafer, or one for all.
    pub fn batch(&self, wafers: &[u32], symmetries: &[Symmetry], size: i64) -> Batch {
        let each = symmetries.iter().cycle().map(|s| s % 8);
        let symmetries: Vec<Symmetry> = each
            .chain([0].into_iter().cycle())
            .take(wafers.len())
            .collect();
        let (b, index) = (wafers.len() as i64, self.index(wafers));
        let places = self
            .die_under(size)
            .index_select(0, &self.turns(&symmetries));
        let states = self.dies.index_select(0, &index).gather(1, &places, false);
        let flat = states.view([-1]).to_kind(Kind::Int64);
        // (B, S, S, 3) in memory is channels last as the convolutions like it.
        let image = self.palette.index_select(0, &flat).view([b, size, size, 3]);
        Batch {
            image: image.permute([0, 3, 1, 2]),
            mask: states.eq(2).to_kind(Kind::Float).view([b, 1, size, size]),
            class: self.labels.index_select(0, &index),
            wafers: wafers.to_vec(),
            symmetries,
        }
    }

    /// Wafers in the data set.
    pub fn len(&self) -> usize {
        self.labels.numel()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Positions in the data set as an index on the device.
    pub fn index(&self, wafers: &[u32]) -> Tensor {
        let wafers: Vec<i64> = wafers.iter().map(|w| i64::from(*w)).collect();
        Tensor::from_slice(&wafers).to_device(self.device)
    }

    /// Symmetries as an index on the device.
    pub fn turns(&self, symmetries: &[Symmetry]) -> Tensor {
        let symmetries: Vec<i64> = symmetries.iter().map(|s| i64::from(*s)).collect();
        Tensor::from_slice(&symmetries).to_device(self.device)
    }

    /// For each symmetry, the die under every pixel, (8, S·S): nearest neighbour in the turned grid.
    fn die_under(&self, size: i64) -> Tensor {
        let mut known = self.die_under.borrow_mut();
        let table = known.entry(size).or_insert_with(|| {
            let places = Tensor::arange(self.rows * self.cols, (Kind::Int64, self.device));
            let places = places.view([1, self.rows, self.cols]);
            let index = |dies: i64| {
                let of = |pixel| source_index(pixel, dies as usize, size as usize) as i64;
                let index: Vec<_> = (0..size as usize).map(of).collect();
                Tensor::from_slice(&index).to_device(self.device)
            };
            let rendered = |symmetry| {
                let turned = turn(&places, symmetry, [1, 2]);
                let rows = turned.index_select(1, &index(turned.size()[1]));
                rows.index_select(2, &index(turned.size()[2])).view([-1])
            };
            Tensor::stack(&(0..8).map(rendered).collect::<Vec<_>>(), 0)
        });
        table.shallow_clone()
    }
}

/// A symmetry for each of `count` wafers.
pub fn random_symmetries(random: &mut Random, count: usize) -> Vec<Symmetry> {
    (0..count).map(|_| random.below(8) as u8).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Protocol;
    use lightwafer_maps::npz::WaferSet;
    use lightwafer_runtime::dies::{DieMap, IMAGE_SIZE};

    fn source(rows: u16, cols: u16) -> (Source, Vec<u8>) {
        let n = usize::from(rows) * usize::from(cols);
        let dies: Vec<u8> = (0..2 * n).map(|i| (i * 7 / 3 % 3) as u8).collect();
        let wafers = WaferSet {
            rows,
            cols,
            dies: dies.clone(),
            labels: None,
        };
        let data = Data::split(wafers, vec![3, 4], Protocol::Paper);
        (Source::new(&data, Device::Cpu), dies)
    }

    #[test]
    fn pixels_are_the_runtimes() {
        for (rows, cols) in [(52u16, 52u16), (9, 30), (256, 250)] {
            let (source, dies) = source(rows, cols);
            let batch = source.batch(&[1], &[0], IMAGE_SIZE as i64);
            let mut bytes = [0; 256 * 256 / 4];
            let n = usize::from(rows) * usize::from(cols);
            let map = DieMap::pack(rows, cols, &dies[n..], &mut bytes).unwrap();
            let image = Vec::<f32>::try_from(batch.image.contiguous().view([-1])).unwrap();
            let mask = Vec::<f32>::try_from(batch.mask.view([-1])).unwrap();
            let mut row = [0; IMAGE_SIZE];
            for y in 0..IMAGE_SIZE {
                map.render_row(y, &mut row);
                for (x, &die) in row.iter().enumerate() {
                    let at = y * IMAGE_SIZE + x;
                    assert_eq!(mask[at], f32::from(die == 2));
                    for channel in 0..3 {
                        let value = image[channel * IMAGE_SIZE * IMAGE_SIZE + at];
                        assert_eq!(value * 255.0, f32::from(PALETTE[usize::from(die)][channel]));
                    }
                }
            }
            assert_eq!(i64::try_from(batch.class.view([])).unwrap(), 4);
        }
    }

    #[test]
    fn the_eight_symmetries_differ_and_keep_the_wafer() {
        let (source, _) = source(4, 4);
        let batch = source.batch(&[0; 8], &[7, 6, 5, 4, 3, 2, 1, 0], 16);
        let masks: Vec<Vec<f32>> = (0..8)
            .map(|i| Vec::try_from(batch.mask.get(i).contiguous().view([-1])).unwrap())
            .collect();
        for (i, mask) in masks.iter().enumerate() {
            assert_eq!(mask.iter().sum::<f32>(), masks[0].iter().sum::<f32>());
            assert!(!masks[..i].contains(mask), "symmetry {i} repeats another");
        }
    }

    #[test]
    fn every_symmetry_can_be_undone() {
        let tensor = Tensor::arange(12, (Kind::Int64, Device::Cpu)).view([1, 3, 4]);
        for symmetry in 0..8 {
            let turned = turn(&tensor, symmetry, [1, 2]);
            assert_eq!(turn_back(&turned, symmetry, [1, 2]), tensor, "{symmetry}");
        }
    }

    #[test]
    fn a_grid_that_is_not_square_can_be_turned() {
        let (source, _) = source(3, 5);
        assert_eq!(
            source.batch(&[0, 1], &[1, 4], 32).image.size(),
            [2, 3, 32, 32]
        );
    }
}
