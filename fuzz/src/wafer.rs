//! Random wafer maps.

use arbitrary::{Result, Unstructured};
use lightwafer_runtime::dies::DieMap;

/// A grid and its packed dies.
#[derive(Debug, Clone)]
pub struct Wafer {
    rows: u16,
    cols: u16,
    packed: Vec<u8>,
}

impl Wafer {
    /// Any grid; dies from a few bytes, repeated.
    ///
    /// # Errors
    /// When the bytes are used up.
    pub fn arbitrary(u: &mut Unstructured<'_>) -> Result<Self> {
        let side = |u: &mut Unstructured<'_>| match u.int_in_range(0..=3)? {
            0 => Ok(52),
            1 => u.int_in_range(1..=8),
            _ => u.int_in_range(1..=256),
        };
        let (rows, cols): (u16, u16) = (side(u)?, side(u)?);
        let pattern: [u8; 13] = u.arbitrary()?;
        let count = usize::from(rows) * usize::from(cols);
        let dies: Vec<u8> = (0..count)
            .map(|at| pattern[at % 13].wrapping_mul((at / 97 % 250) as u8 + 1) % 3)
            .collect();
        let mut packed = vec![0; count.div_ceil(4)];
        DieMap::pack(rows, cols, &dies, &mut packed).expect("dies are 0, 1 or 2");
        Ok(Self { rows, cols, packed })
    }

    /// The map.
    pub fn map(&self) -> DieMap<'_> {
        DieMap::new_checked(self.rows, self.cols, &self.packed).expect("it was packed")
    }
}
