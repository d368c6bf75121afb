//! The fast kernels: loops in assembly over rows of four output channels.
//!
//! Before a row, the weights are widened to pairs of halfwords. The kernel then loads them with LDM: 13 instructions
//! compute the 16 products of four activations. The biases lie before the weights, the constants of requantization after
//! them, so that one pointer is enough for all three.

use crate::kernels::path::dsp::Dense;

/// Loads the next eight activations (r3) and multiplies them.
macro_rules! eight {
    () => {
        concat!("ldrd r0, r1, [r3], #8\n", four!("r0"), four!("r1"))
    };
}

/// A loop of `lr` turns.
macro_rules! times {
    ($($eight:expr),*) => {
        concat!("2:\n", $($eight,)* "subs lr, lr, #1\n", "bne 2b\n")
    };
}

/// Moves to the next segment or pixel, by the gap of this name in the [`Frame`].
macro_rules! gap {
    ($gap:literal) => {
        concat!("ldr r2, [sp, #{", $gap, "}]\n", "add r3, r3, r2\n")
    };
    // The count of the next segment lies after the gap.
    ($gap:literal, then count) => {
        concat!("ldrd r2, lr, [sp, #{", $gap, "}]\n", "add r3, r3, r2\n")
    };
}

/// Writes four activations as a word of four channels. The two constants are the distance between two pixels, and the
/// smallest activation in each byte.
macro_rules! put_word {
    ($out:literal) => {
        concat!(
            "bfi r4, r5, #8, #8\n",
            "bfi r4, r6, #16, #8\n",
            "bfi r4, r7, #24, #8\n",
            "ssub8 r5, r4, r2\n",
            "sel r4, r4, r2\n",
            "str r4, [",
            $out,
            "]\n",
            "add ",
            $out,
            ", ",
            $out,
            ", r1\n",
        )
    };
}

/// Writes four activations to four planes. The two constants are the distance between two planes, and three times that.
macro_rules! put_planes {
    ($out:literal) => {
        concat!(
            "strb r5, [",
            $out,
            ", r1]\n",
            "strb r6, [",
            $out,
            ", r1, lsl #1]\n",
            "strb r7, [",
            $out,
            ", r2]\n",
            "strb r4, [",
            $out,
            "], #1\n",
        )
    };
}

/// The stack while a kernel runs: the arguments that were passed in registers, the saved registers, and the other
/// arguments, where the calling convention puts them.
#[repr(C)]
struct Frame {
    block: *const u32,
    count: usize,
    out: *mut i8,
    end: *mut i8,
    saved: [u32; 9],
    run: *const i8,
    gap0: isize,
    count1: usize,
    gap1: isize,
    count2: usize,
    gap2: isize,
}

adjacent!(Frame: block + 4 = count, out + 4 = end, gap0 + 4 = count1, gap1 + 4 = count2);
const _: () = assert!(core::mem::offset_of!(Frame, saved) == 4 * 4);

/// A kernel; see [`kernel`].
pub type Kernel = unsafe extern "C" fn(
    block: *const u32,
    count: usize,
    out: *mut i8,
    end: *mut i8,
    run: *const i8,
    gap0: isize,
    count1: usize,
    gap1: isize,
    count2: usize,
    gap2: isize,
);

/// Defines a kernel, which computes a row of four output channels.
///
/// `block` holds four biases, the widened weights, the zero point, the two constants of the store, and four multipliers.
/// `run` is the first run of the first segment. `count`, `count1` and `count2` are the turns of the inner loop for the
/// three segments. `gap0`, `gap1` and `gap2` are the distances from the end of each segment to the run that is read next.
/// Outputs are written from `out` up to `end`.
///
/// A kernel is a naked function because its loop needs all fourteen registers. All other values stay on the stack.
macro_rules! kernel {
    ($(#[$doc:meta])* $name:ident, counted, [$($body:expr),*], $put:ident) => {
        kernel!($(#[$doc])* $name, [
            "3: ldrd r12, lr, [sp, #{block}]",
            $($body),*
        ], [
            "ldrd r12, lr, [sp, #{out}]",
            $put!("r12"),
            "str r12, [sp, #{out}]",
            "cmp r12, lr"
        ]);
    };
    // Without a count, a register is free for the output.
    ($(#[$doc:meta])* $name:ident, unrolled, [$($body:expr),*], $put:ident) => {
        kernel!($(#[$doc])* $name, [
            "mov lr, r2",
            "3: ldr r12, [sp, #{block}]",
            $($body),*
        ], [
            $put!("lr"),
            "ldr r2, [sp, #{end}]",
            "cmp lr, r2"
        ]);
    };
    ($(#[$doc:meta])* $name:ident, [$start:literal, $($body:expr),*], [$($put:expr),*]) => {
        $(#[$doc])*
        // SAFETY (of a call): the block has the length that the counts say; the block and all runs of all pixels are
        // readable and aligned to words; all outputs are writable; `out` reaches `end` in steps of a pixel.
        #[unsafe(naked)]
        unsafe extern "C" fn $name(
            block: *const u32,
            count: usize,
            out: *mut i8,
            end: *mut i8,
            run: *const i8,
            gap0: isize,
            count1: usize,
            gap1: isize,
            count2: usize,
            gap2: isize,
        ) {
            naked_asm_of!(Frame { block, out, end, saved, run, gap0, gap1, gap2 }, [
                "push {{r4, r5, r6, r7, r8, r9, r10, r11, lr}}",
                "push {{r0, r1, r2, r3}}",
                "ldr r3, [sp, #{run}]",
                $start,
                $($body,)*
                "ldm r12, {{r0, r1, r2, r8, r9, r10, r11}}",
                "smmlar r4, r4, r8, r0",
                "smmlar r5, r5, r9, r0",
                "smmlar r6, r6, r10, r0",
                "smmlar r7, r7, r11, r0",
                "ssat r4, #8, r4",
                "ssat r5, #8, r5",
                "ssat r6, #8, r6",
                "ssat r7, #8, r7",
                $($put,)*
                "bne 3b",
                "add sp, sp, #{saved}",
                "pop {{r4, r5, r6, r7, r8, r9, r10, r11, pc}}",
            ])
        }
    };
}

/// Loads the biases.
macro_rules! bias {
    () => {
        "ldm r12!, {{r4, r5, r6, r7}}"
    };
}

kernel!(
    /// One segment of 8 bytes, which is the whole pixel.
    words_8, unrolled, [bias!(), eight!()], put_word
);
kernel!(
    /// One segment of 16 bytes, which is the whole pixel.
    words_16, unrolled, [bias!(), eight!(), eight!()], put_word
);
kernel!(
    /// One segment of a multiple of 8 bytes, which is the whole pixel.
    words, counted, [bias!(), times!(eight!())], put_word
);
kernel!(
    /// Two segments of 8 bytes.
    planes_8_8, unrolled,
    [bias!(), eight!(), gap!("gap0"), eight!(), gap!("gap1")],
    put_planes
);
kernel!(
    /// Two segments of 16 bytes.
    planes_16_16, unrolled,
    [bias!(), eight!(), eight!(), gap!("gap0"), eight!(), eight!(), gap!("gap1")],
    put_planes
);
kernel!(
    /// Two segments of multiples of 8 bytes.
    planes_2, counted,
    [bias!(), times!(eight!()), gap!("gap0", then count), times!(eight!()), gap!("gap1")],
    put_planes
);
kernel!(
    /// Three segments of multiples of 24 bytes.
    planes_3, counted,
    [
        bias!(),
        times!(eight!(), eight!(), eight!()),
        gap!("gap0", then count),
        times!(eight!(), eight!(), eight!()),
        gap!("gap1", then count),
        times!(eight!(), eight!(), eight!()),
        gap!("gap2")
    ],
    put_planes
);

/// The function of a kernel.
pub fn function(kernel: Dense) -> Kernel {
    match kernel {
        Dense::Words8 => words_8,
        Dense::Words16 => words_16,
        Dense::Words => words,
        Dense::Planes8And8 => planes_8_8,
        Dense::Planes16And16 => planes_16_16,
        Dense::Planes2 => planes_2,
        Dense::Planes3 => planes_3,
    }
}
