//! 64-bit division for processors that have no instruction for it.

use core::num::NonZeroU64;

/// `n / by`, computed bit by bit. It takes a seventh of the code of the compiler's routine, which then nothing
/// else needs. Slow, so only for a few divisions an inference.
pub fn divide(mut n: u64, by: NonZeroU64) -> u64 {
    let bits = by.leading_zeros().saturating_sub(n.leading_zeros());
    let mut part = by.get() << bits;
    let mut quotient = 0;
    for _ in 0..=bits {
        quotient <<= 1;
        if n >= part {
            n -= part;
            quotient |= 1;
        }
        part >>= 1;
    }
    quotient
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn divides_as_the_processor_does() {
        let edges = [
            0,
            1,
            2,
            3,
            999,
            1000,
            1 << 31,
            1 << 36,
            u64::MAX / 2,
            u64::MAX - 1,
            u64::MAX,
        ];
        for n in edges {
            for by in edges.into_iter().filter_map(NonZeroU64::new) {
                assert_eq!(divide(n, by), n / by);
            }
        }
        let mut state = 7u64;
        for _ in 0..100_000 {
            let mut next = || {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                state >> (state % 64)
            };
            let (n, by) = (next(), next());
            if let Some(by) = NonZeroU64::new(by) {
                assert_eq!(divide(n, by), n / by);
            }
        }
    }
}
