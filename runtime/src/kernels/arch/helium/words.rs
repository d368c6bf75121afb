//! Maximum pools and the mask head: sixteen values or pixels a turn.

use crate::kernels::arch::dsp;
use crate::kernels::path::{self, helium::Max};

/// A maximum pool of eight channels. VLD4 separates the words of two neighbouring pixels.
// SAFETY (of a call): both rows are aligned to words; 64 bytes a turn can be read from each, and 32 bytes can be written.
#[unsafe(naked)]
unsafe extern "C" fn max_8(top: *const i8, bottom: *const i8, out: *mut i8, turns: usize) {
    core::arch::naked_asm!(
        processor!(),
        "push {{r7, lr}}",
        "vpush {{d8, d9, d10, d11, d12, d13, d14, d15}}",
        "mov lr, r3",
        "2: vld40.32 {{q0, q1, q2, q3}}, [r0]",
        "vld41.32 {{q0, q1, q2, q3}}, [r0]",
        "vld42.32 {{q0, q1, q2, q3}}, [r0]",
        "vld43.32 {{q0, q1, q2, q3}}, [r0]!",
        "vld40.32 {{q4, q5, q6, q7}}, [r1]",
        "vld41.32 {{q4, q5, q6, q7}}, [r1]",
        "vld42.32 {{q4, q5, q6, q7}}, [r1]",
        "vld43.32 {{q4, q5, q6, q7}}, [r1]!",
        "vmax.s8 q0, q0, q4",
        "vmax.s8 q1, q1, q5",
        "vmax.s8 q2, q2, q6",
        "vmax.s8 q3, q3, q7",
        "vmax.s8 q0, q0, q2",
        "vmax.s8 q1, q1, q3",
        "vst20.32 {{q0, q1}}, [r2]",
        "vst21.32 {{q0, q1}}, [r2]!",
        "le lr, 2b",
        "vpop {{d8, d9, d10, d11, d12, d13, d14, d15}}",
        "pop {{r7, pc}}",
    )
}

/// A maximum pool of sixteen channels.
// SAFETY (of a call): 32 bytes a turn can be read from both rows, and 16 bytes can be written.
#[unsafe(naked)]
unsafe extern "C" fn max_16(top: *const i8, bottom: *const i8, out: *mut i8, turns: usize) {
    core::arch::naked_asm!(
        processor!(),
        "push {{r7, lr}}",
        "mov lr, r3",
        "2: vldrb.u8 q0, [r0], #16",
        "vldrb.u8 q1, [r0], #16",
        "vldrb.u8 q2, [r1], #16",
        "vldrb.u8 q3, [r1], #16",
        "vmax.s8 q0, q0, q1",
        "vmax.s8 q2, q2, q3",
        "vmax.s8 q0, q0, q2",
        "vstrb.8 q0, [r2], #16",
        "le lr, 2b",
        "pop {{r7, pc}}",
    )
}

/// A row of a maximum pool. Returns `false` and writes nothing if no fast kernel supports the row.
pub fn max_row(rows: [&[i8]; 2], channels: usize, out: &mut [i8]) -> bool {
    let Ok(kernel) = path::helium::max(channels, out.len()) else {
        return false;
    };
    let whole = rows.iter().all(|row| row.len() / 2 >= out.len()) && !out.is_empty();
    let [top, bottom] = rows.map(<[i8]>::as_ptr);
    let aligned = [top.addr(), bottom.addr(), out.as_ptr().addr()];
    if !whole || aligned.iter().any(|at| at % 4 != 0) {
        return false;
    }
    let turns = out.len() / kernel.turn();
    // SAFETY: the output has a whole number of turns, and each row is at least twice as long.
    unsafe {
        match kernel {
            Max::Channels8 => max_8(top, bottom, out.as_mut_ptr(), turns),
            Max::Channels16 => max_16(top, bottom, out.as_mut_ptr(), turns),
        }
    }
    true
}

/// The sums of four pixels, whose positions in bytes are $a to $d, in $to.
macro_rules! sums {
    ($to:literal, $a:literal, $b:literal, $c:literal, $d:literal) => {
        concat!(
            "vldrb.s16 q0, [r0, #",
            $a,
            "]\n",
            "vmladav.s16 r4, q0, q4\n",
            "vldrb.s16 q0, [r0, #",
            $b,
            "]\n",
            "vmladav.s16 r6, q0, q4\n",
            "vldrb.s16 q0, [r0, #",
            $c,
            "]\n",
            "vmladav.s16 r8, q0, q4\n",
            "vldrb.s16 q0, [r0, #",
            $d,
            "]\n",
            "vmladav.s16 r10, q0, q4\n",
            "vmov ",
            $to,
            "[2], ",
            $to,
            "[0], r4, r8\n",
            "vmov ",
            $to,
            "[3], ",
            $to,
            "[1], r6, r10\n",
            "vadd.i32 ",
            $to,
            ", ",
            $to,
            ", r2\n",
        )
    };
}

/// The mask of sixteen pixels of eight channels a turn. Narrowing keeps the signs.
// SAFETY (of a call): 128 bytes a turn and eight weights can be read, and two bytes a turn can be written.
#[unsafe(naked)]
unsafe extern "C" fn mask_16(
    pixels: *const i8,
    weights: *const i8,
    bias: i32,
    out: *mut u8,
    turns: usize,
) {
    core::arch::naked_asm!(
        processor!(),
        "push {{r4, r5, r6, r7, r8, r9, r10, lr}}",
        "vpush {{d8, d9}}",
        // The argument `turns` lies above eight saved registers and two of eight bytes.
        "ldr lr, [sp, #8 * 4 + 2 * 8]",
        "vldrb.s16 q4, [r1]",
        "2:",
        sums!("q1", "0", "32", "64", "96"),
        sums!("q2", "16", "48", "80", "112"),
        "vqmovnb.s32 q1, q1",
        "vqmovnt.s32 q1, q2",
        sums!("q2", "8", "40", "72", "104"),
        sums!("q3", "24", "56", "88", "120"),
        "vqmovnb.s32 q2, q2",
        "vqmovnt.s32 q2, q3",
        "vqmovnb.s16 q1, q1",
        "vqmovnt.s16 q1, q2",
        "vcmp.s8 ge, q1, zr",
        "vmrs r4, p0",
        "strh r4, [r3], #2",
        "add r0, r0, #128",
        "le lr, 2b",
        "vpop {{d8, d9}}",
        "pop {{r4, r5, r6, r7, r8, r9, r10, pc}}",
    )
}

/// See [`crate::kernels::arch::reference::mask_row`].
pub fn mask_row(pixels: &[[[i8; 8]; 8]], weights: &[i8; 8], bias: i32, out: &mut [u8]) {
    let bytes = pixels.len().min(out.len());
    if path::helium::mask(bytes).is_err() {
        dsp::mask_row(pixels, weights, bias, out);
        taken!(General);
        return;
    }
    taken!(Fast);
    let turns = bytes / 2;
    // SAFETY: there are eight pixels for each output byte.
    unsafe {
        mask_16(
            pixels.as_ptr().cast(),
            weights.as_ptr(),
            bias,
            out.as_mut_ptr(),
            turns,
        );
    }
}
