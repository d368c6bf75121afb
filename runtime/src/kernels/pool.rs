//! 2×2 pools. Input and output have the same scale and zero point, so a pool works on the stored values.

use super::arch::max4::max4;

/// One row of a maximum pool. The input rows and `out` have no padding. `channels` is a multiple of 4.
#[inline(never)]
pub fn max_row(rows: [&[i8]; 2], channels: usize, out: &mut [i8]) {
    if super::arch::max_row(rows, channels, out) {
        return;
    }
    pool(rows, channels, out, |a, b, c, d| {
        max4(max4(a, b), max4(c, d))
    });
}

/// One row of a mean pool: (a + b + c + d + 2) >> 2, rounded to nearest with ties up. Arguments as for [`max_row`].
#[inline(never)]
pub fn mean_row(rows: [&[i8]; 2], channels: usize, out: &mut [i8]) {
    pool(rows, channels, out, |a, b, c, d| {
        let sum = |i: usize| {
            [a[i], b[i], c[i], d[i]]
                .into_iter()
                .map(i32::from)
                .sum::<i32>()
        };
        [0, 1, 2, 3].map(|i| ((sum(i) + 2) >> 2) as i8)
    });
}

#[inline(always)]
fn pool(
    rows: [&[i8]; 2],
    channels: usize,
    out: &mut [i8],
    f: impl Fn([i8; 4], [i8; 4], [i8; 4], [i8; 4]) -> [i8; 4],
) {
    // A pixel is so many words of four channels.
    let words = (channels / 4).max(1);
    let [top, bottom] = rows.map(|row| row.as_chunks::<4>().0.chunks_exact(2 * words));
    let pixels = out.as_chunks_mut::<4>().0.chunks_exact_mut(words);
    for ((pixel, top), bottom) in pixels.zip(top).zip(bottom) {
        let halves = (top.split_at_checked(words), bottom.split_at_checked(words));
        let (Some((a, b)), Some((c, d))) = halves else {
            return;
        };
        for ((((value, &a), &b), &c), &d) in pixel.iter_mut().zip(a).zip(b).zip(c).zip(d) {
            *value = f(a, b, c, d);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pools_pairs_of_pixels() {
        let top = [
            1, -2, 3, -4, 5, 6, 7, 8, 127, 127, -128, 0, 127, 127, -128, 1,
        ];
        let bottom = [
            5, -6, 7, -8, 1, 2, 3, 4, 127, -128, -128, 0, 127, -128, -128, 1,
        ];
        let mut out = [0; 8];
        max_row([&top, &bottom], 4, &mut out);
        assert_eq!(out, [5, 6, 7, 8, 127, 127, -128, 1]);
        mean_row([&top, &bottom], 4, &mut out);
        assert_eq!(out, [3, 0, 5, 0, 127, 0, -128, 1]);
    }
}
