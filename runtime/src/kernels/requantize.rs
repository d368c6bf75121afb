//! Requantization: from a 32-bit accumulator to an int8 activation, with a single rounding.

use super::arch::max4::max4;

/// (acc·2^shift·multiplier + 2^31) >> 32, computed in 64 bits: one rounding, ties towards +∞. On a Cortex-M with the
/// DSP extension it is one instruction, SMMULR. A checked model guarantees that acc·2^shift fits 32 bits.
#[inline(always)]
pub fn requantize(acc: i32, multiplier: i32, shift: u32) -> i32 {
    let product = i64::from(acc.wrapping_shl(shift)) * i64::from(multiplier);
    (product.wrapping_add(1 << 31) >> 32) as i32
}

/// The quantization of a layer's output: how accumulators become activations.
#[derive(Debug, Clone, Copy)]
pub struct Quantization {
    /// Left shift of the accumulator before the multiplication.
    pub shift: u32,
    /// Zero point of the output.
    pub zero_point: i32,
    /// The smallest activation: the zero point after a ReLU, −128 otherwise (`act_min` in TensorFlow Lite Micro).
    pub act_min: i32,
}

impl Quantization {
    /// The activation of an accumulator: requantized, zero point added, saturated to int8.
    #[inline(always)]
    pub fn activation(&self, acc: i32, multiplier: i32) -> i8 {
        let value = requantize(acc, multiplier, self.shift).saturating_add(self.zero_point);
        value.clamp(-128, 127).max(self.act_min) as i8
    }

    /// The activations of four channels, as [`Quantization::activation`] computes each.
    #[inline(always)]
    pub fn activation4(&self, acc: [i32; 4], multipliers: [i32; 4]) -> [i8; 4] {
        let mut out = [0; 4];
        for ((out, acc), multiplier) in out.iter_mut().zip(acc).zip(multipliers) {
            let value = requantize(acc, multiplier, self.shift).saturating_add(self.zero_point);
            *out = value.clamp(-128, 127) as i8;
        }
        max4(out, [self.act_min as i8; 4])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The same in 128 bits and in plain arithmetic: floor(x + 1/2).
    fn oracle(acc: i32, multiplier: i32, shift: u32) -> i128 {
        let product = i128::from(acc) * (1i128 << shift) * i128::from(multiplier);
        (product + (1i128 << 31)).div_euclid(1i128 << 32)
    }

    #[test]
    fn agrees_with_the_oracle() {
        let mut state = 7u64;
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state
        };
        let edges = [
            0,
            1,
            -1,
            2,
            -2,
            i32::MAX,
            i32::MIN,
            i32::MIN + 1,
            1 << 30,
            -(1 << 30),
        ];
        let check = |acc: i32, multiplier: i32, shift: u32| {
            if i64::from(acc) << shift == i64::from(acc.wrapping_shl(shift)) {
                let want = oracle(acc, multiplier, shift);
                assert_eq!(i128::from(requantize(acc, multiplier, shift)), want);
                for (zero_point, act_min) in [(0, -128), (-128, -128), (127, -128), (-3, -3)] {
                    let q = Quantization {
                        shift,
                        zero_point,
                        act_min,
                    };
                    let want = (want + i128::from(zero_point)).clamp(-128, 127);
                    let want = want.max(i128::from(act_min));
                    assert_eq!(i128::from(q.activation(acc, multiplier)), want);
                    let four = q.activation4([acc, 0, acc, 1], [multiplier, 0, multiplier, 0]);
                    assert_eq!([i128::from(four[0]), i128::from(four[2])], [want; 2]);
                }
            }
        };
        for acc in edges {
            for multiplier in edges.into_iter().filter(|m| *m >= 0) {
                for shift in 0..31 {
                    check(acc, multiplier, shift);
                }
            }
        }
        for _ in 0..300_000 {
            let shift = (next() % 24) as u32;
            let acc = (next() as i32) >> (next() % 32);
            check(
                acc >> shift,
                (next() as i32 & i32::MAX) >> (next() % 31),
                shift,
            );
        }
    }

    #[test]
    fn ties_go_up() {
        let half = 1 << 30; // 0.25 at shift 0
        assert_eq!(requantize(2, half, 0), 1);
        assert_eq!(requantize(-2, half, 0), 0);
        assert_eq!(requantize(-6, half, 0), -1);
    }
}
