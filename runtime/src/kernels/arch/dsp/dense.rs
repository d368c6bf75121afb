//! Dense convolutions: the check that a kernel may compute a row, and the preparation of weights.

use core::arch::asm;

use crate::kernels::Output;
use crate::kernels::arch::checked;
use crate::kernels::row::Segment;
use crate::kernels::row::dense_scratch_words;

/// Multiplies four activations, in the named register, with the weights of four channels (r12). Adds to r4…r7.
macro_rules! four {
    ($x:literal) => {
        concat!(
            "sxtb16 r2, ",
            $x,
            "\n",
            "sxtb16 ",
            $x,
            ", ",
            $x,
            ", ror #8\n",
            "ldm r12!, {{r8, r9, r10, r11}}\n",
            "smlad r4, r2, r8, r4\n",
            "smlad r4, ",
            $x,
            ", r9, r4\n",
            "smlad r5, r2, r10, r5\n",
            "smlad r5, ",
            $x,
            ", r11, r5\n",
            "ldm r12!, {{r8, r9, r10, r11}}\n",
            "smlad r6, r2, r8, r6\n",
            "smlad r6, ",
            $x,
            ", r9, r6\n",
            "smlad r7, r2, r10, r7\n",
            "smlad r7, ",
            $x,
            ", r11, r7\n",
        )
    };
}

#[cfg(not(arm_mve))]
mod fast;
mod general;
#[cfg(not(arm_mve))]
mod kernels;

#[cfg(not(arm_mve))]
pub use fast::dense;
#[cfg(arm_mve)]
pub use general::dense as dense_general;

/// A row that passed the check: every byte that a kernel reads or writes lies in its slice, and all words are aligned.
struct Proof<'a> {
    /// Number of bytes that a pixel reads, over all segments.
    length: usize,
    /// Number of groups of four output channels.
    groups: usize,
    /// Scratch, for constants and for the weights of four channels as halfwords.
    words: &'a mut [u32],
}

/// Checks a row. `None` if a kernel must not compute it.
#[inline(always)]
fn prove<'a>(
    segments: &[Segment<'_>],
    weights: &[u8],
    records: &[u8],
    scratch: &'a mut [i8],
    out: &Output<'_>,
) -> Option<Proof<'a>> {
    let checked::Dense { length, groups } = checked::dense(segments, weights, records, out)?;
    let good = |s: &Segment<'_>| {
        s.len > 0 && s.row.as_ptr().addr().is_multiple_of(4) && s.step.is_multiple_of(4)
    };
    // SAFETY: any bytes are words.
    let (unaligned, words, _) = unsafe { scratch.align_to_mut::<u32>() };
    let words = words.get_mut(..dense_scratch_words(length))?;
    (segments.iter().all(good) && unaligned.is_empty()).then_some(Proof {
        length,
        groups,
        words,
    })
}

/// Widens words of four weights to pairs of halfwords: bytes 0 and 2, then bytes 1 and 3. The number of words is even.
#[inline(always)]
fn widen(weights: &[u8], pairs: &mut [u32]) {
    let count = (weights.len() / 8).min(pairs.len() / 4);
    if count == 0 {
        return;
    }
    // SAFETY: reads 8·count bytes of `weights` (LDR needs no alignment) and writes 4·count words of `pairs`.
    unsafe {
        asm!(
            "2: ldr {b}, [{w}], #4",
            "ldr {d}, [{w}], #4",
            "sxtb16 {a}, {b}",
            "sxtb16 {b}, {b}, ror #8",
            "sxtb16 {c}, {d}",
            "sxtb16 {d}, {d}, ror #8",
            "strd {a}, {b}, [{p}], #8",
            "strd {c}, {d}, [{p}], #8",
            "subs {n}, {n}, #1",
            "bne 2b",
            w = inout(reg) weights.as_ptr() => _,
            p = inout(reg) pairs.as_mut_ptr() => _,
            n = inout(reg) count => _,
            a = out(reg) _,
            b = out(reg) _,
            c = out(reg) _,
            d = out(reg) _,
            options(nostack),
        );
    }
}
