//! Armv7E-M and Armv8-M DSP (Cortex-M4, M7, M33): two multiply-accumulates an instruction.
//!
//! SXTB16 widens bytes 0 and 2 of a word (1 and 3 after a rotation) to halfwords, SMLAD multiplies
//! two pairs of halfwords and adds both products. An int8 product is below 2^14 and the checked model
//! bounds every sum, so the accumulator cannot overflow.
#![allow(unsafe_code)]

use core::arch::asm;

/// Bytes 0 and 2, sign-extended to halfwords.
#[inline(always)]
fn even(word: u32) -> u32 {
    let pair;
    // SAFETY: arithmetic on registers only; the target has the DSP extension (build.rs).
    unsafe { asm!("sxtb16 {}, {}", out(reg) pair, in(reg) word, options(pure, nomem, nostack)) };
    pair
}

/// Bytes 1 and 3, sign-extended to halfwords.
#[inline(always)]
fn odd(word: u32) -> u32 {
    let pair;
    // SAFETY: arithmetic on registers only; the target has the DSP extension (build.rs).
    unsafe {
        asm!("sxtb16 {}, {}, ror #8", out(reg) pair, in(reg) word, options(pure, nomem, nostack));
    };
    pair
}

/// acc + a.low·b.low + a.high·b.high.
#[inline(always)]
fn smlad(a: u32, b: u32, acc: i32) -> i32 {
    let sum;
    // SAFETY: arithmetic on registers only; the target has the DSP extension (build.rs). SMLAD may
    // set the sticky Q flag, which nothing reads.
    unsafe {
        asm!("smlad {}, {}, {}, {}", lateout(reg) sum, in(reg) a, in(reg) b, in(reg) acc,
            options(pure, nomem, nostack));
    };
    sum
}

/// Adds the dot products of `run` with four channels' weights, `[k/4][j][k%4]`.
#[inline(always)]
pub fn dot4(run: &[i8], weights: &[u8], acc: &mut [i32; 4]) {
    let [mut a, mut b, mut c, mut d] = *acc;
    for (x, w) in run.as_chunks::<4>().0.iter().zip(weights.as_chunks::<16>().0) {
        let x = u32::from_le_bytes(x.map(|x| x as u8));
        let (x0, x1) = (even(x), odd(x));
        let dot = |at: usize, acc: i32| {
            let w = u32::from_le_bytes([w[at], w[at + 1], w[at + 2], w[at + 3]]);
            smlad(x1, odd(w), smlad(x0, even(w), acc))
        };
        a = dot(0, a);
        b = dot(4, b);
        c = dot(8, c);
        d = dot(12, d);
    }
    *acc = [a, b, c, d];
}

/// acc + a.low·b.low.
#[inline(always)]
fn smlabb(a: u32, b: u32, acc: i32) -> i32 {
    let sum;
    // SAFETY: as for `smlad`.
    unsafe {
        asm!("smlabb {}, {}, {}, {}", lateout(reg) sum, in(reg) a, in(reg) b, in(reg) acc,
            options(pure, nomem, nostack));
    };
    sum
}

/// acc + a.high·b.high.
#[inline(always)]
fn smlatt(a: u32, b: u32, acc: i32) -> i32 {
    let sum;
    // SAFETY: as for `smlad`.
    unsafe {
        asm!("smlatt {}, {}, {}, {}", lateout(reg) sum, in(reg) a, in(reg) b, in(reg) acc,
            options(pure, nomem, nostack));
    };
    sum
}

/// Adds the products of four channels' activations and weights.
#[inline(always)]
pub fn multiply_add4(x: [i8; 4], weights: [u8; 4], acc: &mut [i32; 4]) {
    let x = u32::from_le_bytes(x.map(|x| x as u8));
    let w = u32::from_le_bytes(weights);
    let ((x0, w0), (x1, w1)) = ((even(x), even(w)), (odd(x), odd(w)));
    let [a, b, c, d] = *acc;
    *acc = [smlabb(x0, w0, a), smlabb(x1, w1, b), smlatt(x0, w0, c), smlatt(x1, w1, d)];
}
