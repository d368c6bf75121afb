//! Mask rows in few bytes: differences from the row above, zeros as counts.
//!
//! Each row of 28 bytes is XORed with the row above it (row 0 with zeros) and written as tokens:
//! a token `t` below 128 stands for `t + 1` zero bytes; any other says that `t − 127` bytes follow as
//! they are. Tokens never reach into the next row, so both sides agree on whole rows only.
//! A row takes 1 to 29 bytes. [`decode_rows`] accepts any bytes and never panics.

use core::fmt;

use lightwafer_runtime::dies::{IMAGE_SIZE, MASK_ROW_BYTES, Mask};

/// Most bytes that one coded row takes.
pub const MAX_ROW_CODE: usize = MASK_ROW_BYTES + 1;
/// First token that announces bytes as they are.
const LITERAL: u8 = 128;

/// Why bytes are not the coded rows they are said to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum MaskCodeError {
    /// Rows were announced that no mask has.
    Rows {
        /// The first row.
        row: u16,
        /// How many.
        rows: u16,
    },
    /// The bytes end within this row.
    Truncated {
        /// The row.
        row: u16,
    },
    /// A token reaches beyond the end of this row.
    Token {
        /// The row.
        row: u16,
    },
    /// Bytes are left behind the last row.
    Trailing {
        /// How many.
        bytes: usize,
    },
}

impl fmt::Display for MaskCodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Rows { row, rows } => write!(f, "{rows} mask rows from row {row} do not exist"),
            Self::Truncated { row } => write!(f, "the coded mask ends within row {row}"),
            Self::Token { row } => write!(f, "a token reaches beyond mask row {row}"),
            Self::Trailing { bytes } => write!(f, "{bytes} bytes behind the last mask row"),
        }
    }
}

impl core::error::Error for MaskCodeError {}

/// Codes rows from `first_row` on, as many whole ones as fit `out`, and gives (rows, bytes).
/// At least one row fits [`MAX_ROW_CODE`] bytes. (0, 0) for rows outside the mask.
pub fn encode_rows(mask: &Mask, first_row: usize, out: &mut [u8]) -> (usize, usize) {
    let (mut rows, mut bytes) = (0, 0);
    for row in first_row..IMAGE_SIZE {
        let Some(difference) = difference(mask, row) else {
            break;
        };
        let mut code = [0; MAX_ROW_CODE];
        let len = encode_row(&difference, &mut code);
        let Some(place) = out.get_mut(bytes..bytes + len) else {
            break;
        };
        let Some(code) = code.get(..len) else { break };
        place.copy_from_slice(code);
        rows += 1;
        bytes += len;
    }
    (rows, bytes)
}

/// Decodes `rows` rows from `first_row` on into `mask`, whose row above must have been decoded already.
/// On an error some of the rows may have been written; asking for them again mends that.
///
/// # Errors
/// Every variant of [`MaskCodeError`].
pub fn decode_rows(
    mask: &mut Mask,
    first_row: u16,
    rows: u16,
    mut bytes: &[u8],
) -> Result<(), MaskCodeError> {
    let end = usize::from(first_row) + usize::from(rows);
    if end > IMAGE_SIZE {
        return Err(MaskCodeError::Rows {
            row: first_row,
            rows,
        });
    }
    for row in first_row..end as u16 {
        let mut difference = [0; MASK_ROW_BYTES];
        let mut rest = difference.as_mut_slice();
        while !rest.is_empty() {
            let (&token, after) = bytes
                .split_first()
                .ok_or(MaskCodeError::Truncated { row })?;
            let literal = token >= LITERAL;
            let count = usize::from(token % LITERAL) + 1;
            let (now, later) = rest
                .split_at_mut_checked(count)
                .ok_or(MaskCodeError::Token { row })?;
            bytes = after;
            if literal {
                let (data, after) = bytes
                    .split_at_checked(count)
                    .ok_or(MaskCodeError::Truncated { row })?;
                now.copy_from_slice(data);
                bytes = after;
            }
            rest = later;
        }
        let above = row
            .checked_sub(1)
            .and_then(|y| mask.row_mut(usize::from(y)).copied());
        if let Some(out) = mask.row_mut(usize::from(row)) {
            let above = above.unwrap_or([0; MASK_ROW_BYTES]);
            for ((out, above), difference) in out.iter_mut().zip(above).zip(difference) {
                *out = above ^ difference;
            }
        }
    }
    if bytes.is_empty() {
        Ok(())
    } else {
        Err(MaskCodeError::Trailing { bytes: bytes.len() })
    }
}

/// A row XORed with the one above.
fn difference(mask: &Mask, row: usize) -> Option<[u8; MASK_ROW_BYTES]> {
    let start = row * MASK_ROW_BYTES;
    let mut out: [u8; MASK_ROW_BYTES] =
        mask.0.get(start..start + MASK_ROW_BYTES)?.try_into().ok()?;
    if let Some(above) = start
        .checked_sub(MASK_ROW_BYTES)
        .and_then(|at| mask.0.get(at..start))
    {
        out.iter_mut()
            .zip(above)
            .for_each(|(out, above)| *out ^= above);
    }
    Some(out)
}

/// Writes one row's tokens and gives their bytes.
fn encode_row(row: &[u8; MASK_ROW_BYTES], out: &mut [u8; MAX_ROW_CODE]) -> usize {
    let mut places = out.iter_mut();
    let mut put = |byte: u8| {
        if let Some(place) = places.next() {
            *place = byte;
        }
    };
    let mut rest = row.as_slice();
    let mut len = 0;
    while !rest.is_empty() {
        let zeros = rest.iter().take_while(|byte| **byte == 0).count();
        if zeros > 0 {
            put(zeros as u8 - 1);
            len += 1;
            rest = rest.get(zeros..).unwrap_or(&[]);
            continue;
        }
        // A single zero inside costs as a byte what it saves as a token: only two or more, or one
        // at the end of the row, end the bytes. That keeps a row within MAX_ROW_CODE.
        let ends = |at: &usize| matches!(rest.get(*at..), Some([0] | [0, 0, ..]));
        let count = (0..rest.len()).find(ends).unwrap_or(rest.len());
        put(LITERAL - 1 + count as u8);
        let (bytes, after) = rest.split_at_checked(count).unwrap_or((rest, &[]));
        bytes.iter().for_each(|byte| put(*byte));
        len += 1 + bytes.len();
        rest = after;
    }
    len
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::message::MAX_CHUNK;
    use fastrand::Rng;

    fn round_trip(mask: &Mask, chunk: usize) -> usize {
        let mut back = Mask::new();
        back.0.fill(0xa5);
        let (mut row, mut total) = (0, 0);
        let mut out = vec![0; chunk];
        while row < IMAGE_SIZE {
            let (rows, bytes) = encode_rows(mask, row, &mut out);
            assert!(rows > 0 && bytes <= rows * MAX_ROW_CODE);
            decode_rows(&mut back, row as u16, rows as u16, &out[..bytes]).unwrap();
            row += rows;
            total += bytes;
        }
        assert_eq!(&back, mask);
        total
    }

    #[test]
    fn every_kind_of_mask_comes_back() {
        let mut rng = Rng::with_seed(7);
        let mut mask = Mask::new();
        assert_eq!(round_trip(&mask, MAX_CHUNK), IMAGE_SIZE);
        for density in [1u32, 8, 60, 128, 200, 255] {
            for _ in 0..20 {
                for byte in &mut mask.0 {
                    *byte = if rng.u32(..256) < density {
                        rng.u8(..)
                    } else {
                        0
                    };
                }
                round_trip(&mask, MAX_CHUNK);
                round_trip(&mask, MAX_ROW_CODE);
            }
        }
        assert_eq!(encode_rows(&mask, IMAGE_SIZE, &mut [0; 99]), (0, 0));
        assert_eq!(encode_rows(&mask, 5, &mut []), (0, 0));
    }

    #[test]
    fn no_row_takes_more_than_its_limit() {
        // Every pattern of zero and non-zero bytes in the first 16, with three tails.
        for bits in 0u32..1 << 16 {
            for tail in [0u32, 0xfff, 0x555] {
                let bits = bits | tail << 16;
                let row = core::array::from_fn(|i| (bits >> i & 1) as u8);
                let len = encode_row(&row, &mut [0; MAX_ROW_CODE]);
                assert!((1..=MAX_ROW_CODE).contains(&len), "{row:?} takes {len}");
            }
        }
    }

    #[test]
    fn names_what_is_wrong() {
        let mut mask = Mask::new();
        let mut bad = |row, rows, bytes: &[u8]| decode_rows(&mut mask, row, rows, bytes);
        assert_eq!(bad(223, 1, &[27]), Ok(()));
        assert_eq!(bad(0, 0, &[]), Ok(()));
        assert_eq!(
            bad(223, 2, &[27, 27]),
            Err(MaskCodeError::Rows { row: 223, rows: 2 })
        );
        assert_eq!(
            bad(9, u16::MAX, &[]),
            Err(MaskCodeError::Rows {
                row: 9,
                rows: u16::MAX
            })
        );
        assert_eq!(
            bad(3, 2, &[27, 20]),
            Err(MaskCodeError::Truncated { row: 4 })
        );
        assert_eq!(
            bad(3, 1, &[26, 128]),
            Err(MaskCodeError::Truncated { row: 3 })
        );
        assert_eq!(bad(3, 1, &[28]), Err(MaskCodeError::Token { row: 3 }));
        assert_eq!(
            bad(3, 1, &[25, 130, 1, 2, 3]),
            Err(MaskCodeError::Token { row: 3 })
        );
        assert_eq!(
            bad(3, 1, &[27, 0, 0]),
            Err(MaskCodeError::Trailing { bytes: 2 })
        );
    }

    #[test]
    fn random_bytes_never_panic() {
        let mut rng = Rng::with_seed(11);
        let mut mask = Mask::new();
        let mut accepted = 0;
        for _ in 0..200_000 {
            let bytes: Vec<u8> = (0..rng.u8(..70)).map(|_| rng.u8(..) & 0x9f).collect();
            let (row, rows) = (rng.u16(..230), rng.u16(..4));
            accepted += u32::from(decode_rows(&mut mask, row, rows, &bytes).is_ok());
        }
        assert!(accepted > 0);
    }
}
