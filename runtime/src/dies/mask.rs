//! The mask: one bit for each pixel of the 224×224 image.

use super::{DieMap, IMAGE_SIZE, source_index};

/// Bytes of one mask row.
pub const MASK_ROW_BYTES: usize = IMAGE_SIZE / 8;
/// Bytes of a whole mask.
pub const MASK_BYTES: usize = MASK_ROW_BYTES * IMAGE_SIZE;

/// A 224×224 one-bit mask, row-major, the leftmost pixel of eight in the lowest bit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mask(pub [u8; MASK_BYTES]);

impl Default for Mask {
    fn default() -> Self {
        Self::new()
    }
}

impl Mask {
    /// An empty mask.
    pub const fn new() -> Self {
        Self([0; MASK_BYTES])
    }

    /// The mask that marks the pixels of all failing dies: the ground truth of the data set.
    pub fn of_failing(map: &DieMap<'_>) -> Self {
        let mut mask = Self::new();
        let mut dies = [0; IMAGE_SIZE];
        for y in 0..IMAGE_SIZE {
            map.render_row(y, &mut dies);
            if let Some(row) = mask.row_mut(y) {
                for (x, die) in dies.iter().enumerate() {
                    row[x / 8] |= u8::from(*die == 2) << (x % 8);
                }
            }
        }
        mask
    }

    /// Whether pixel (y, x) is marked; `false` outside the image.
    #[inline]
    pub fn get(&self, y: usize, x: usize) -> bool {
        x < IMAGE_SIZE
            && self
                .0
                .get(y * MASK_ROW_BYTES + x / 8)
                .is_some_and(|byte| byte >> (x % 8) & 1 != 0)
    }

    /// Row `y`, to be written; `None` outside the image.
    pub fn row_mut(&mut self, y: usize) -> Option<&mut [u8; MASK_ROW_BYTES]> {
        let start = y.checked_mul(MASK_ROW_BYTES)?;
        self.0
            .get_mut(start..start + MASK_ROW_BYTES)?
            .try_into()
            .ok()
    }

    /// The number of marked pixels.
    pub fn count(&self) -> u32 {
        self.0.iter().map(|byte| byte.count_ones()).sum()
    }

    /// Whether die (row, col) of a `rows`×`cols` grid is marked: if at least half of its pixels are.
    /// A die without pixels (in a grid finer than the image) takes the nearest pixel.
    pub fn die(&self, row: usize, col: usize, rows: usize, cols: usize) -> bool {
        let (mut marked, mut seen) = (0u32, 0u32);
        for y in pixels_of(row, rows) {
            for x in pixels_of(col, cols) {
                seen += 1;
                marked += u32::from(self.get(y, x));
            }
        }
        2 * marked >= seen && marked > 0
    }

    /// The number of dies of `map` that the mask marks; places without a die do not count.
    pub fn count_dies(&self, map: &DieMap<'_>) -> u32 {
        let (rows, cols) = (map.rows(), map.cols());
        let mut count = 0;
        for row in 0..rows {
            for col in 0..cols {
                let marked = map.die(row, col) != 0 && self.die(row, col, rows, cols);
                count += u32::from(marked);
            }
        }
        count
    }

    /// Dice coefficient of the mask and the failing dies of `map` at 224×224, 0…1; 1 if both are empty.
    pub fn dice(&self, map: &DieMap<'_>) -> f32 {
        let (mut both, mut sum) = (0u32, 0u32);
        let mut pixels = [0; IMAGE_SIZE];
        for y in 0..IMAGE_SIZE {
            map.render_row(y, &mut pixels);
            for (x, &die) in pixels.iter().enumerate() {
                let (is, should) = (self.get(y, x), die == 2);
                both += u32::from(is && should);
                sum += u32::from(is) + u32::from(should);
            }
        }
        if sum == 0 {
            1.0
        } else {
            2.0 * both as f32 / sum as f32
        }
    }
}

/// The pixels along one axis that show die `at` of `dies`: the inverse of [`source_index`].
fn pixels_of(at: usize, dies: usize) -> core::ops::Range<usize> {
    let dies = dies.max(1);
    let start = (at * IMAGE_SIZE).div_ceil(dies);
    let end = ((at + 1) * IMAGE_SIZE).div_ceil(dies).min(IMAGE_SIZE);
    if start < end && source_index(start, dies, IMAGE_SIZE) == at {
        start..end
    } else {
        let nearest = (at * IMAGE_SIZE / dies).min(IMAGE_SIZE - 1);
        nearest..nearest + 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pixels_and_dies_are_inverse() {
        for dies in 1..=224 {
            let mut next = 0;
            for at in 0..dies {
                let range = pixels_of(at, dies);
                assert_eq!(range.start, next);
                for pixel in range.clone() {
                    assert_eq!(source_index(pixel, dies, IMAGE_SIZE), at);
                }
                next = range.end;
            }
            assert_eq!(next, IMAGE_SIZE);
        }
        for at in 0..256 {
            assert!(pixels_of(at, 256).end <= IMAGE_SIZE);
        }
    }

    #[test]
    fn a_perfect_mask_has_dice_one_and_counts_failing_dies() {
        let dies: Vec<u8> = (0..52 * 52).map(|i| (i % 3) as u8).collect();
        let failing = dies.iter().filter(|d| **d == 2).count() as u32;
        let mut bytes = [0; 676];
        let map = DieMap::pack(52, 52, &dies, &mut bytes).unwrap();
        let mut mask = Mask::new();
        let mut pixels = [0; IMAGE_SIZE];
        for y in 0..IMAGE_SIZE {
            map.render_row(y, &mut pixels);
            let row = mask.row_mut(y).unwrap();
            for (x, &die) in pixels.iter().enumerate() {
                row[x / 8] |= u8::from(die == 2) << (x % 8);
            }
        }
        assert_eq!(mask.dice(&map), 1.0);
        assert_eq!(mask.count_dies(&map), failing);
        assert_eq!(Mask::new().dice(&map), 0.0);
    }
}
