//! The reference for every instruction set.

/// Adds the dot products of `run` with four channels' weights, `[k/4][j][k%4]`.
#[inline(always)]
pub fn dot4(run: &[i8], weights: &[u8], acc: &mut [i32; 4]) {
    for (x, w) in run
        .as_chunks::<4>()
        .0
        .iter()
        .zip(weights.as_chunks::<16>().0)
    {
        for (acc, w) in acc.iter_mut().zip(w.as_chunks::<4>().0) {
            for (&x, &w) in x.iter().zip(w) {
                *acc = acc.wrapping_add(i32::from(x) * i32::from(w as i8));
            }
        }
    }
}

/// Adds the products of four channels' activations and weights.
#[inline(always)]
pub fn multiply_add4(x: [i8; 4], weights: [u8; 4], acc: &mut [i32; 4]) {
    for ((acc, x), w) in acc.iter_mut().zip(x).zip(weights) {
        *acc = acc.wrapping_add(i32::from(x) * i32::from(w as i8));
    }
}

/// acc + 255·(sum of the three), for four i16 each, whose sums fit 16 bits.
#[inline(always)]
pub fn add_scaled4(terms: [[[u8; 2]; 4]; 3], acc: [i32; 4]) -> [i32; 4] {
    let [p, q, r] = terms.map(|term| term.map(i16::from_le_bytes));
    let mut out = acc;
    for (((out, p), q), r) in out.iter_mut().zip(p).zip(q).zip(r) {
        *out = out.wrapping_add(255 * i32::from(p.wrapping_add(q).wrapping_add(r)));
    }
    out
}

/// The larger of each of four values and `least`.
#[inline(always)]
pub fn max4(values: [i8; 4], least: i8) -> [i8; 4] {
    values.map(|v| v.max(least))
}
