//! Rows of four output channels as loops in assembly.
//!
//! Weights are widened to pairs of halfwords once a row and then streamed with LDM: four activations
//! cost 13 instructions for 16 products. Biases lie before the weights and the constants of requantization
//! behind them, so that the same pointer runs through all three.

use crate::kernels::path::dsp::Dense;

/// The next eight activations (r3).
macro_rules! eight {
    () => {
        concat!("ldrd r0, r1, [r3], #8\n", four!("r0"), four!("r1"))
    };
}

/// `lr` times what is in between.
macro_rules! times {
    ($($eight:expr),*) => {
        concat!("2:\n", $($eight,)* "subs lr, lr, #1\n", "bne 2b\n")
    };
}

/// On to the next segment, or pixel: by the gap of this name in the [`Frame`].
macro_rules! gap {
    ($gap:literal) => {
        concat!("ldr r2, [sp, #{", $gap, "}]\n", "add r3, r3, r2\n")
    };
    // The next segment's count lies behind it.
    ($gap:literal, then count) => {
        concat!("ldrd r2, lr, [sp, #{", $gap, "}]\n", "add r3, r3, r2\n")
    };
}

/// Four activations to words of four channels, whose constants are the bytes from pixel to pixel, and the
/// smallest value in all bytes.
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

/// Four activations to planes; the constants are the bytes from one to the next, and three times that.
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

/// What lies on the stack while a kernel runs: the arguments that came in registers, the registers it saves, then
/// the other arguments, where the calling convention puts them.
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

/// One row of four output channels; see [`kernel`].
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

/// One row of four output channels. `block`: four biases, the widened weights, the zero point, two
/// constants of the store, four multipliers. `run` is the first segment's; `count` and `count1`, `count2`
/// are how many units a pixel reads of each segment, `gap0` … how far it is from a segment's end to what
/// is read next. `out` goes up to `end`.
///
/// A function of its own in assembly: the loop takes all fourteen registers, and what a pixel needs
/// besides lies on the stack where the calling convention puts it.
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
    // Without a count there is a register for the output.
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
        // SAFETY (of a call): the block has the words for the counts; all runs of all pixels and `block`
        // are readable and word-aligned, all outputs are writable, `end` is reached from `out`.
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
    /// One segment of 8, which is all of a pixel.
    words_8, unrolled, [bias!(), eight!()], put_word
);
kernel!(
    /// One segment of 16, which is all of a pixel.
    words_16, unrolled, [bias!(), eight!(), eight!()], put_word
);
kernel!(
    /// One segment of eights, which is all of a pixel.
    words, counted, [bias!(), times!(eight!())], put_word
);
kernel!(
    /// Two segments of 8.
    planes_8_8, unrolled,
    [bias!(), eight!(), gap!("gap0"), eight!(), gap!("gap1")],
    put_planes
);
kernel!(
    /// Two segments of 16.
    planes_16_16, unrolled,
    [bias!(), eight!(), eight!(), gap!("gap0"), eight!(), eight!(), gap!("gap1")],
    put_planes
);
kernel!(
    /// Two segments of eights.
    planes_2, counted,
    [bias!(), times!(eight!()), gap!("gap0", then count), times!(eight!()), gap!("gap1")],
    put_planes
);
kernel!(
    /// Three segments of 24s.
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
