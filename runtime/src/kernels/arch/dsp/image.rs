//! The first convolution: a loop in assembly over a row of four channels.

use crate::kernels::arch::reference;
use crate::kernels::row::{CODES, CodeRow, Table};
use crate::kernels::{Output, Quantization, path};

/// The input of [`image_pixels`]: four channels of one row.
#[repr(C)]
struct Image {
    /// The value of a lit colour: 255.
    lit: i32,
    bias: [i32; 4],
    multipliers: [i32; 4],
    zero_point: i32,
    /// Distance between two planes in bytes, and three times that.
    step: usize,
    step3: usize,
    /// The codes of the third row.
    codes: *const u8,
}

adjacent!(Image: lit + 4 = bias, step + 4 = step3);
// LDM reads from the beginning of the struct.
const _: () = assert!(core::mem::offset_of!(Image, lit) == 0);
// The assembly computes the address of a table entry with a shift.
const _: () = assert!(size_of::<[i8; 8]>() == 1 << 3);

/// Computes a row of four channels. `codes0` and `codes1` are the codes of the first two rows. `table` is the table of the
/// second row; the tables of the other two rows lie before and after it.
// SAFETY (of a call): each row has `count` codes, all below 64; there are three aligned tables of 64 entries of eight
// bytes; `count` outputs are writable in each of four planes.
#[unsafe(naked)]
unsafe extern "C" fn image_pixels(
    image: *const Image,
    codes0: *const u8,
    codes1: *const u8,
    out: *mut i8,
    table: *const [i8; 8],
    count: usize,
) {
    naked_asm_of!(
        Image {
            multipliers,
            zero_point,
            step,
            codes
        },
        [
            "push {{r4, r5, r6, r7, r8, r9, r10, r11, lr}}",
            "mov r5, r3",
            "ldr r3, [r0, #{codes}]",
            // The arguments `table` and `count` lie above nine saved registers.
            "ldrd r4, lr, [sp, #9 * 4]",
            "2: ldrb r6, [r1], #1",
            "ldrb r8, [r2], #1",
            "ldrb r10, [r3], #1",
            "add r6, r4, r6, lsl #3",
            "add r8, r4, r8, lsl #3",
            "add r10, r4, r10, lsl #3",
            "ldrd r6, r7, [r6, #-{table}]",
            "ldrd r8, r9, [r8]",
            "ldrd r10, r11, [r10, #{table}]",
            "sadd16 r6, r6, r8",
            "sadd16 r7, r7, r9",
            "sadd16 r6, r6, r10",
            "sadd16 r7, r7, r11",
            "ldm r0, {{r8, r9, r10, r11, r12}}",
            "smlabb r9, r6, r8, r9",
            "smlatb r10, r6, r8, r10",
            "smlabb r11, r7, r8, r11",
            "smlatb r12, r7, r8, r12",
            "ldrd r6, r7, [r0, #{multipliers}]",
            "ldr r8, [r0, #{zero_point}]",
            "smmlar r9, r9, r6, r8",
            "smmlar r10, r10, r7, r8",
            "ldrd r6, r7, [r0, #{multipliers} + 8]",
            "smmlar r11, r11, r6, r8",
            "smmlar r12, r12, r7, r8",
            "ldrd r6, r7, [r0, #{step}]",
            "ssat r9, #8, r9",
            "ssat r10, #8, r10",
            "ssat r11, #8, r11",
            "ssat r12, #8, r12",
            "strb r10, [r5, r6]",
            "strb r11, [r5, r6, lsl #1]",
            "strb r12, [r5, r7]",
            "strb r9, [r5], #1",
            "subs lr, lr, #1",
            "bne 2b",
            "pop {{r4, r5, r6, r7, r8, r9, r10, r11, pc}}",
        ],
        table = size_of::<[[i8; 8]; CODES]>()
    )
}

/// A row of the first convolution: the first four channels of `out`.
#[inline(always)]
pub fn image4(
    codes: [&CodeRow; 3],
    table: &Table,
    bias: [i32; 4],
    multipliers: [i32; 4],
    quantization: Quantization,
    out: &mut Output<'_>,
) {
    let [a, b, c] = codes.map(CodeRow::codes);
    let [_, middle, _] = table;
    let planes = path::dsp::image(&quantization, out).is_ok();
    let room =
        (1..=a.len()).contains(&out.pixels) && out.bytes.len() >= 3 * out.channel_step + out.pixels;
    if !planes || !room || !table.as_ptr().cast::<u32>().is_aligned() {
        return reference::image4(codes, table, bias, multipliers, quantization, out);
    }
    taken!(Fast);
    let image = Image {
        lit: 255,
        bias,
        multipliers,
        zero_point: quantization.zero_point,
        step: out.channel_step,
        step3: 3 * out.channel_step,
        codes: c.as_ptr(),
    };
    // SAFETY: each row has a code for every pixel, and all codes are below 64 by construction. The middle table lies
    // between the other two of an aligned `table`. `out` contains the last pixel of the fourth plane.
    unsafe {
        let middle = table.as_ptr().cast::<[i8; 8]>().add(middle.len());
        let out = (out.bytes.as_mut_ptr(), out.pixels);
        image_pixels(&image, a.as_ptr(), b.as_ptr(), out.0, middle, out.1);
    }
}
