//! Renders dies to pixels: nearest neighbour in integers, then a palette of three colours.

use super::DieMap;

/// Side of the network's square input, in pixels.
pub const IMAGE_SIZE: usize = 224;

/// The colours (R, G, B) of no die, pass and fail. The network's input is the colour divided by 255.
pub const PALETTE: [[u8; 3]; 3] = [[255, 0, 255], [0, 255, 255], [255, 255, 0]];

/// The die row (or column) that pixel row (or column) `pixel` of `pixels` shows, for `dies` dies:
/// ⌊pixel · dies / pixels⌋. In a grid finer than the image, a die may have no pixel.
#[inline]
pub const fn source_index(pixel: usize, dies: usize, pixels: usize) -> usize {
    pixel * dies / pixels
}

impl DieMap<'_> {
    /// Renders pixel row `y` (0…223) as die states 0, 1, 2.
    pub fn render_row(&self, y: usize, out: &mut [u8; IMAGE_SIZE]) {
        let row = source_index(y, self.rows(), IMAGE_SIZE);
        for (x, pixel) in out.iter_mut().enumerate() {
            *pixel = self.die(row, source_index(x, self.cols(), IMAGE_SIZE));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_pixel_shows_its_die() {
        let dies: Vec<u8> = (0..52 * 52).map(|i| (i % 3) as u8).collect();
        let mut bytes = [0; 676];
        let map = DieMap::pack(52, 52, &dies, &mut bytes).unwrap();
        let mut row = [0; IMAGE_SIZE];
        for y in [0, 1, 4, 5, 111, 223] {
            map.render_row(y, &mut row);
            for (x, &pixel) in row.iter().enumerate() {
                assert_eq!(pixel, dies[y * 52 / 224 * 52 + x * 52 / 224]);
            }
        }
    }
}
