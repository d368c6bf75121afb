//! Armv7E-M and Armv8-M DSP (Cortex-M4, M7, M33): two multiply-accumulates an instruction.
//!
//! SXTB16 widens bytes 0 and 2 of a word (1 and 3 after a rotation) to halfwords, SMLAD multiplies
//! two pairs of halfwords and adds both products, SMLABB and SMLATT one pair. An int8 product is below
//! 2^14 and the checked model bounds every sum, so no accumulator can overflow.
//! `asm!` because the intrinsics are not stable; `build.rs` makes sure the target has the extension.
#![allow(unsafe_code)]

use core::arch::asm;

/// A register operation of two operands.
macro_rules! binary {
    ($name:ident, $code:literal) => {
        #[inline(always)]
        fn $name(a: u32, b: u32) -> u32 {
            let out;
            // SAFETY: arithmetic on registers only.
            unsafe {
                asm!($code, out(reg) out, in(reg) a, in(reg) b, options(pure, nomem, nostack));
            }
            out
        }
    };
}

/// A register operation that multiplies two operands and adds a third.
macro_rules! multiply {
    ($name:ident, $code:literal) => {
        #[inline(always)]
        fn $name(a: u32, b: u32, acc: i32) -> i32 {
            let sum;
            // SAFETY: arithmetic on registers only. The sticky Q flag may be set; nothing reads it.
            unsafe {
                asm!($code, lateout(reg) sum, in(reg) a, in(reg) b, in(reg) acc,
                    options(pure, nomem, nostack));
            }
            sum
        }
    };
}

binary!(add_halves, "sadd16 {}, {}, {}");
multiply!(smlabb, "smlabb {}, {}, {}, {}");
multiply!(smlatb, "smlatb {}, {}, {}, {}");
multiply!(smlatt, "smlatt {}, {}, {}, {}");

/// Bytes 0 and 2, sign-extended to halfwords.
#[inline(always)]
fn even(word: u32) -> u32 {
    let pair;
    // SAFETY: arithmetic on registers only.
    unsafe { asm!("sxtb16 {}, {}", out(reg) pair, in(reg) word, options(pure, nomem, nostack)) };
    pair
}

/// Bytes 1 and 3, sign-extended to halfwords.
#[inline(always)]
fn odd(word: u32) -> u32 {
    let pair;
    // SAFETY: arithmetic on registers only.
    unsafe {
        asm!("sxtb16 {}, {}, ror #8", out(reg) pair, in(reg) word, options(pure, nomem, nostack));
    }
    pair
}

/// Adds the dot products of `run` with four channels' weights, `[k/4][j][k%4]`.
#[inline(always)]
pub fn dot4(run: &[i8], weights: &[u8], acc: &mut [i32; 4]) {
    let count = (run.len() / 4).min(weights.len() / 16);
    if count == 0 {
        return;
    }
    let [mut a, mut b, mut c, mut d] = *acc;
    // SAFETY: reads 4·count bytes of `run` and 16·count of `weights`, which both have; the core
    // allows unaligned LDR. The whole loop is one block because the register allocator, left to
    // interleave four chains, spills accumulators.
    unsafe {
        asm!(
            "2:",
            "ldr {o}, [{x}], #4",
            "ldr {w}, [{p}], #4",
            "sxtb16 {e}, {o}",
            "sxtb16 {o}, {o}, ror #8",
            "sxtb16 {t}, {w}",
            "sxtb16 {w}, {w}, ror #8",
            "smlad {a}, {e}, {t}, {a}",
            "smlad {a}, {o}, {w}, {a}",
            "ldr {w}, [{p}], #4",
            "sxtb16 {t}, {w}",
            "sxtb16 {w}, {w}, ror #8",
            "smlad {b}, {e}, {t}, {b}",
            "smlad {b}, {o}, {w}, {b}",
            "ldr {w}, [{p}], #4",
            "sxtb16 {t}, {w}",
            "sxtb16 {w}, {w}, ror #8",
            "smlad {c}, {e}, {t}, {c}",
            "smlad {c}, {o}, {w}, {c}",
            "ldr {w}, [{p}], #4",
            "sxtb16 {t}, {w}",
            "sxtb16 {w}, {w}, ror #8",
            "smlad {d}, {e}, {t}, {d}",
            "smlad {d}, {o}, {w}, {d}",
            "subs {n}, {n}, #1",
            "bne 2b",
            x = inout(reg) run.as_ptr() => _,
            p = inout(reg) weights.as_ptr() => _,
            n = inout(reg) count => _,
            a = inout(reg) a,
            b = inout(reg) b,
            c = inout(reg) c,
            d = inout(reg) d,
            e = out(reg) _,
            o = out(reg) _,
            t = out(reg) _,
            w = out(reg) _,
            options(pure, readonly, nostack),
        );
    }
    *acc = [a, b, c, d];
}

/// Adds the products of four channels' activations and weights.
#[inline(always)]
pub fn multiply_add4(x: [i8; 4], weights: [u8; 4], acc: &mut [i32; 4]) {
    let x = u32::from_le_bytes(x.map(|x| x as u8));
    let w = u32::from_le_bytes(weights);
    let ((x0, w0), (x1, w1)) = ((even(x), even(w)), (odd(x), odd(w)));
    let [a, b, c, d] = *acc;
    *acc = [
        smlabb(x0, w0, a),
        smlabb(x1, w1, b),
        smlatt(x0, w0, c),
        smlatt(x1, w1, d),
    ];
}

/// acc + 255·(sum of the three), for four i16 each, whose sums fit 16 bits.
#[inline(always)]
pub fn add_scaled4(terms: [[[u8; 2]; 4]; 3], acc: [i32; 4]) -> [i32; 4] {
    let [p, q, r] = terms.map(|[[a, b], [c, d], [e, f], [g, h]]| {
        [
            u32::from_le_bytes([a, b, c, d]),
            u32::from_le_bytes([e, f, g, h]),
        ]
    });
    let low = add_halves(add_halves(p[0], q[0]), r[0]);
    let high = add_halves(add_halves(p[1], q[1]), r[1]);
    let [a, b, c, d] = acc;
    [
        smlabb(low, 255, a),
        smlatb(low, 255, b),
        smlabb(high, 255, c),
        smlatb(high, 255, d),
    ]
}

/// The larger of each of four values and `least`.
#[inline(always)]
pub fn max4(values: [i8; 4], least: i8) -> [i8; 4] {
    let values = u32::from_le_bytes(values.map(|v| v as u8));
    let least = u32::from(least as u8) * 0x0101_0101;
    let out: u32;
    // SAFETY: arithmetic on registers only; SSUB8 sets the GE flags that SEL reads.
    unsafe {
        asm!("ssub8 {o}, {v}, {l}", "sel {o}, {v}, {l}", o = out(reg) out, v = in(reg) values,
            l = in(reg) least, options(pure, nomem, nostack));
    }
    out.to_le_bytes().map(|v| v as i8)
}
