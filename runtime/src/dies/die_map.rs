//! The die map: the dies of one wafer, two bits each. It is checked once and trusted afterwards.

use core::fmt;

/// The most rows or columns that a grid may have.
pub const MAX_GRID: usize = 256;
/// Bytes of the largest packed map.
pub const MAX_PACKED_LEN: usize = MAX_GRID * MAX_GRID / 4;

/// A borrowed, checked wafer map.
///
/// Dies are packed row-major, four to a byte, the first die in the lowest two bits:
/// 0 = no die, 1 = pass, 2 = fail. Unused bits of the last byte are zero.
/// A value of this type guarantees all of this, so no accessor can fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DieMap<'a> {
    rows: u16,
    cols: u16,
    packed: &'a [u8],
}

/// Why bytes are not a valid die map.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum DieMapError {
    /// A side is 0 or above [`MAX_GRID`].
    Grid {
        /// Requested rows.
        rows: u16,
        /// Requested columns.
        cols: u16,
    },
    /// The number of bytes or dies does not match the grid.
    Length {
        /// The number that the grid needs.
        expected: usize,
        /// The given number.
        found: usize,
    },
    /// A die is none of 0, 1, 2.
    Die {
        /// Row-major position of the die.
        index: usize,
        /// Its value.
        value: u8,
    },
    /// Bits after the last die are not zero.
    Padding,
}

impl fmt::Display for DieMapError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Grid { rows, cols } => {
                write!(f, "grid {rows}×{cols} is outside 1×1…{MAX_GRID}×{MAX_GRID}")
            }
            Self::Length { expected, found } => {
                write!(f, "the grid needs {expected} values, {found} were given")
            }
            Self::Die { index, value } => {
                write!(
                    f,
                    "die {index} is {value}; 0 (no die), 1 (pass) or 2 (fail) expected"
                )
            }
            Self::Padding => write!(f, "unused bits after the last die are not zero"),
        }
    }
}

impl core::error::Error for DieMapError {}

/// Converts one value of MixedWM38's `arr_0` to a die: 0, 1 or 2. The value 3 (noise in about 105 maps) is a fail.
pub const fn die_from_mixedwm38(value: i64) -> Option<u8> {
    match value {
        0 => Some(0),
        1 => Some(1),
        2 | 3 => Some(2),
        _ => None,
    }
}

impl<'a> DieMap<'a> {
    /// Number of bytes of a packed grid.
    ///
    /// # Errors
    /// [`DieMapError::Grid`] when a side is 0 or above [`MAX_GRID`].
    pub fn packed_len(rows: u16, cols: u16) -> Result<usize, DieMapError> {
        let side = 1..=MAX_GRID as u16;
        if !side.contains(&rows) || !side.contains(&cols) {
            return Err(DieMapError::Grid { rows, cols });
        }
        Ok((rows as usize * cols as usize).div_ceil(4))
    }

    /// Checks untrusted packed bytes.
    ///
    /// # Errors
    /// Every variant of [`DieMapError`]; it names the first wrong die.
    pub fn new_checked(rows: u16, cols: u16, packed: &'a [u8]) -> Result<Self, DieMapError> {
        let expected = Self::packed_len(rows, cols)?;
        if packed.len() != expected {
            return Err(DieMapError::Length {
                expected,
                found: packed.len(),
            });
        }
        let dies = rows as usize * cols as usize;
        for (at, &byte) in packed.iter().enumerate() {
            // A die with both bits set is the only invalid value.
            let invalid = byte & (byte >> 1) & 0x55;
            if invalid != 0 {
                let index = at * 4 + invalid.trailing_zeros() as usize / 2;
                if index < dies {
                    return Err(DieMapError::Die { index, value: 3 });
                }
            }
        }
        let used = dies % 4;
        if used != 0 && packed.last().is_some_and(|last| last >> (2 * used) != 0) {
            return Err(DieMapError::Padding);
        }
        Ok(Self { rows, cols, packed })
    }

    /// Packs one-byte dies (row-major, 0, 1 or 2) into `out`.
    ///
    /// # Errors
    /// The same as for [`DieMap::new_checked`]; `Length` also if `out` is too short.
    pub fn pack(rows: u16, cols: u16, dies: &[u8], out: &'a mut [u8]) -> Result<Self, DieMapError> {
        let len = Self::packed_len(rows, cols)?;
        let count = rows as usize * cols as usize;
        if dies.len() != count {
            return Err(DieMapError::Length {
                expected: count,
                found: dies.len(),
            });
        }
        let room = out.len();
        let Some(out) = out.get_mut(..len) else {
            return Err(DieMapError::Length {
                expected: len,
                found: room,
            });
        };
        if let Some(index) = dies.iter().position(|&d| d > 2) {
            let value = dies.get(index).copied().unwrap_or(0);
            return Err(DieMapError::Die { index, value });
        }
        for (byte, four) in out.iter_mut().zip(dies.chunks(4)) {
            *byte = four.iter().rev().fold(0, |bits, die| bits << 2 | die);
        }
        Ok(Self {
            rows,
            cols,
            packed: out,
        })
    }

    /// Rows of the grid, 1…256.
    pub const fn rows(&self) -> usize {
        self.rows as usize
    }

    /// Columns of the grid, 1…256.
    pub const fn cols(&self) -> usize {
        self.cols as usize
    }

    /// The packed bytes.
    pub const fn packed(&self) -> &'a [u8] {
        self.packed
    }

    /// The die at (row, column): 0, 1 or 2; 0 outside the grid.
    #[inline]
    pub fn die(&self, row: usize, col: usize) -> u8 {
        if row >= self.rows() || col >= self.cols() {
            return 0;
        }
        let at = row * self.cols() + col;
        self.packed
            .get(at / 4)
            .map_or(0, |byte| byte >> (2 * (at % 4)) & 3)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packs_and_reads_back_every_size_class() {
        for (rows, cols) in [(1, 1), (1, 256), (256, 1), (3, 5), (52, 52), (256, 256)] {
            let dies: Vec<u8> = (0..rows as usize * cols as usize)
                .map(|i| (i * 7 % 3) as u8)
                .collect();
            let mut bytes = [0xff; MAX_PACKED_LEN];
            let map = DieMap::pack(rows, cols, &dies, &mut bytes).unwrap();
            assert_eq!(DieMap::new_checked(rows, cols, map.packed()), Ok(map));
            for (i, &die) in dies.iter().enumerate() {
                assert_eq!(map.die(i / cols as usize, i % cols as usize), die);
            }
        }
    }

    #[test]
    fn names_what_is_wrong() {
        let bad = |r, c, b: &[u8]| DieMap::new_checked(r, c, b).unwrap_err();
        assert_eq!(bad(0, 5, &[]), DieMapError::Grid { rows: 0, cols: 5 });
        assert_eq!(bad(257, 5, &[]), DieMapError::Grid { rows: 257, cols: 5 });
        assert_eq!(
            bad(2, 2, &[]),
            DieMapError::Length {
                expected: 1,
                found: 0
            }
        );
        assert_eq!(
            bad(1, 4, &[0b00_11_00_10]),
            DieMapError::Die { index: 2, value: 3 }
        );
        assert_eq!(bad(1, 3, &[0b01_00_00_00]), DieMapError::Padding);
        assert_eq!(bad(1, 3, &[0b11_00_00_00]), DieMapError::Padding);
        let mut out = [0; 1];
        assert_eq!(
            DieMap::pack(1, 2, &[1, 3], &mut out),
            Err(DieMapError::Die { index: 1, value: 3 })
        );
    }
}
