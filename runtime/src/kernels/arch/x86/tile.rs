//! Transposition of square tiles of bytes: from channels of a pixel to pixels of a channel, and back.

use core::arch::x86_64::*;

/// Sixteen rows of sixteen bytes.
#[repr(C, align(16))]
#[derive(Clone, Copy)]
pub struct Tile(pub [[i8; 16]; 16]);

impl Tile {
    /// All zeros.
    pub const ZERO: Self = Self([[0; 16]; 16]);

    /// Transposes the tile.
    #[inline]
    #[target_feature(enable = "sse2")]
    pub fn transpose(&mut self) {
        // SAFETY: sixteen aligned rows of sixteen bytes, as the types say.
        *self = unsafe {
            let rows: [__m128i; 16] = core::mem::transmute(*self);
            core::mem::transmute::<[__m128i; 16], Self>(transposed(rows))
        };
    }

    /// Writes the first bytes of the first rows to memory. The two pairs are the (distance, number) of rows and of bytes.
    ///
    /// # Safety
    /// All these bytes, relative to `to`, are writable.
    #[inline]
    #[target_feature(enable = "sse2")]
    pub unsafe fn put(&mut self, to: *mut i8, [rows, bytes]: [(usize, usize); 2]) {
        let (mut rows, mut bytes) = (rows, bytes);
        if bytes.0 != 1 && rows.0 == 1 {
            self.transpose();
            (rows, bytes) = (bytes, rows);
        }
        for (i, row) in self.0.iter().take(rows.1).enumerate() {
            let to = to.wrapping_add(i * rows.0);
            // SAFETY: the caller guarantees that the bytes are writable; not more than the sixteen bytes of a row are read.
            unsafe {
                if bytes == (1, 16) {
                    _mm_storeu_si128(to.cast(), _mm_load_si128(row.as_ptr().cast()));
                } else if bytes.0 == 1 {
                    let count = bytes.1.min(16);
                    let mut at = 0;
                    while at + 8 <= count {
                        let eight = row.as_ptr().add(at).cast::<u64>().read_unaligned();
                        to.add(at).cast::<u64>().write_unaligned(eight);
                        at += 8;
                    }
                    while at + 2 <= count {
                        let two = row.as_ptr().add(at).cast::<u16>().read_unaligned();
                        to.add(at).cast::<u16>().write_unaligned(two);
                        at += 2;
                    }
                    if at < count {
                        to.add(at).write(row[at]);
                    }
                } else {
                    for (j, &value) in row.iter().take(bytes.1).enumerate() {
                        to.wrapping_add(j * bytes.0).write(value);
                    }
                }
            }
        }
    }
}

/// The transpose of sixteen rows of sixteen bytes.
///
/// Four rounds interleave row i with row i + 8. Each round doubles the distance between neighbouring bytes of a row.
#[inline]
#[target_feature(enable = "sse2")]
fn transposed(mut rows: [__m128i; 16]) -> [__m128i; 16] {
    for _ in 0..4 {
        let mut next = rows;
        for i in 0..8 {
            next[2 * i] = _mm_unpacklo_epi8(rows[i], rows[i + 8]);
            next[2 * i + 1] = _mm_unpackhi_epi8(rows[i], rows[i + 8]);
        }
        rows = next;
    }
    rows
}
