//! 2×2 pools. The scale stays, so a pool works on stored values.

/// One row of 2×2 maxima; the input rows and `out` without borders.
#[inline]
pub fn max_row(rows: [&[i8]; 2], channels: usize, out: &mut [i8]) {
    pool(rows, channels, out, |a, b, c, d| a.max(b).max(c.max(d)));
}

/// One row of 2×2 means, (a + b + c + d + 2) >> 2: to nearest, ties up.
#[inline]
pub fn mean_row(rows: [&[i8]; 2], channels: usize, out: &mut [i8]) {
    pool(rows, channels, out, |a, b, c, d| {
        ((i32::from(a) + i32::from(b) + i32::from(c) + i32::from(d) + 2) >> 2) as i8
    });
}

#[inline(always)]
fn pool(rows: [&[i8]; 2], channels: usize, out: &mut [i8], f: impl Fn(i8, i8, i8, i8) -> i8) {
    let channels = channels.max(1);
    let [top, bottom] = rows.map(|row| row.chunks_exact(2 * channels));
    for ((pixel, top), bottom) in out.chunks_exact_mut(channels).zip(top).zip(bottom) {
        let halves = (
            top.split_at_checked(channels),
            bottom.split_at_checked(channels),
        );
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
        let top = [1, -2, 3, -4, 127, 127, 127, 127];
        let bottom = [5, -6, 7, -8, 127, -128, 127, -128];
        let mut out = [0; 4];
        max_row([&top, &bottom], 2, &mut out);
        assert_eq!(out, [7, -2, 127, 127]);
        mean_row([&top, &bottom], 2, &mut out);
        assert_eq!(out, [4, -5, 127, 0]);
    }
}
