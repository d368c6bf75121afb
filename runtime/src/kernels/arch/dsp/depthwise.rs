//! Depthwise convolutions: a loop in assembly over a row of one channel.

use crate::graph::RECORD_BYTES;
use crate::kernels::arch::{checked, reference};
use crate::kernels::row::plane_bytes;
use crate::kernels::row::record4;
use crate::kernels::{Output, Quantization, path};

/// The input of [`depthwise_fours`]: one channel of one row.
#[repr(C)]
struct Row {
    /// For each column, the weights of the first two rows.
    upper: [u32; 3],
    bias: i32,
    /// The ends of the input rows.
    rows: [*const i8; 3],
    /// The weights of the third row: first and third in one word, the second in the next.
    outer: u32,
    middle: u32,
    multiplier: i32,
    zero_point: i32,
    /// Distance between two outputs in bytes, and three times that.
    step: usize,
    step3: usize,
}

adjacent!(Row: upper + 12 = bias, rows + 12 = outer, multiplier + 4 = zero_point, step + 4 = step3);
// LDM reads from the beginning of the struct.
const _: () = assert!(core::mem::offset_of!(Row, upper) == 0);

/// Loads the next four columns of the first two rows. Each column is a pair of halfwords: r9, r8, r7, r6.
macro_rules! columns {
    () => {
        concat!(
            "ldrd r6, r10, [r0, #{rows}]\n",
            "ldr r6, [r6, r2]\n",
            "ldr r10, [r10, r2]\n",
            "sxtb16 r7, r6\n",
            "sxtb16 r6, r6, ror #8\n",
            "sxtb16 r8, r10\n",
            "sxtb16 r10, r10, ror #8\n",
            "pkhbt r9, r7, r8, lsl #16\n",
            "pkhtb r7, r8, r7, asr #16\n",
            "pkhbt r8, r6, r10, lsl #16\n",
            "pkhtb r6, r10, r6, asr #16\n",
        )
    };
}

/// Computes a row of one channel, four outputs at a time. Each output is computed when its last column has been loaded.
/// `from` is minus the number of bytes still to load, counted from the word before the first column.
///
/// Three outputs use the first two rows of a column, as one pair of halfwords. So four outputs need 22 multiplications
/// instead of 36.
// SAFETY (of a call): each row has the word before the columns and the words of all columns; all outputs are writable.
#[unsafe(naked)]
unsafe extern "C" fn depthwise_fours(row: *const Row, out: *mut i8, from: isize) {
    // r3, r4: the pairs of the previous two columns; r5: the third row of these columns.
    naked_asm_of!(
        Row {
            rows,
            middle,
            multiplier,
            step
        },
        [
            "push {{r4, r5, r6, r7, r8, r9, r10, r11, lr}}",
            columns!(),
            "ldr r10, [r0, #{rows} + 8]",
            "ldr r10, [r10, r2]",
            "sxtb16 r12, r10",
            "sxtb16 r10, r10, ror #8",
            "pkhtb r5, r10, r12, asr #16",
            "mov r3, r7",
            "mov r4, r6",
            "adds r2, r2, #4",
            "2:",
            columns!(),
            "ldm r0, {{r10, r11, r12, lr}}",
            "smlad r3, r3, r10, lr",
            "smlad r3, r4, r11, r3",
            "smlad r3, r9, r12, r3",
            "smlad r4, r4, r10, lr",
            "smlad r4, r9, r11, r4",
            "smlad r4, r8, r12, r4",
            "smlad r9, r9, r10, lr",
            "smlad r9, r8, r11, r9",
            "smlad r9, r7, r12, r9",
            "smlad r8, r8, r10, lr",
            "smlad r8, r7, r11, r8",
            "smlad r8, r6, r12, r8",
            // The third row.
            "ldrd r10, r11, [r0, #{rows} + 8]",
            "ldr r10, [r10, r2]",
            "ldr lr, [r0, #{middle}]",
            "sxtb16 r12, r10",
            "sxtb16 r10, r10, ror #8",
            "smlabb r3, r5, r11, r3",
            "smlatb r3, r5, lr, r3",
            "smlabt r3, r12, r11, r3",
            "smlatb r4, r5, r11, r4",
            "smlabb r4, r12, lr, r4",
            "smlabt r4, r10, r11, r4",
            "smlad r9, r12, r11, r9",
            "smlabb r9, r10, lr, r9",
            "smlad r8, r10, r11, r8",
            "smlatb r8, r12, lr, r8",
            "pkhtb r5, r10, r12, asr #16",
            "ldrd r10, r11, [r0, #{multiplier}]",
            "smmlar r3, r3, r10, r11",
            "smmlar r4, r4, r10, r11",
            "smmlar r9, r9, r10, r11",
            "smmlar r8, r8, r10, r11",
            "ldrd r10, r11, [r0, #{step}]",
            "ssat r3, #8, r3",
            "ssat r4, #8, r4",
            "ssat r9, #8, r9",
            "ssat r8, #8, r8",
            "strb r3, [r1]",
            "strb r4, [r1, r10]",
            "strb r9, [r1, r10, lsl #1]",
            "strb r8, [r1, r11]",
            "add r1, r1, r10, lsl #2",
            "mov r3, r7",
            "mov r4, r6",
            "adds r2, r2, #4",
            "bne 2b",
            "pop {{r4, r5, r6, r7, r8, r9, r10, r11, pc}}",
        ]
    )
}

/// See [`crate::kernels::depthwise::depthwise_row`].
pub fn depthwise(
    rows: [&[i8]; 3],
    weights: &[u8],
    records: &[u8],
    quantization: Quantization,
    mut out: Output<'_>,
) {
    if depthwise_fast(rows, weights, records, quantization, &mut out).is_none() {
        reference::depthwise(rows, weights, records, quantization, out);
    }
}

/// Computes a row. Returns `None` and writes nothing if the assembly does not support the row.
#[inline(never)]
fn depthwise_fast(
    rows: [&[i8]; 3],
    weights: &[u8],
    records: &[u8],
    quantization: Quantization,
    out: &mut Output<'_>,
) -> Option<()> {
    path::dsp::depthwise(&quantization).ok()?;
    checked::depthwise(rows, weights, records, out)?;
    let (groups, _) = weights.as_chunks::<36>();
    let (records, _) = records.as_chunks::<{ 4 * RECORD_BYTES }>();
    let plane = plane_bytes(out.pixels);
    #[cfg(not(arm_mve))]
    taken!(Fast);
    #[cfg(arm_mve)]
    taken!(General);
    // The pixels of complete groups of four, and the remaining pixels.
    let (fours, rest) = (out.pixels & !3, out.pixels & 3);
    let mut starts = rows.map(<[i8]>::as_ptr);
    let mut start = out.bytes.as_mut_ptr();
    for (weights, records) in groups.iter().zip(records) {
        let (biases, multipliers) = record4(records);
        let (taps, _) = weights.as_chunks::<4>();
        for (j, (bias, multiplier)) in biases.into_iter().zip(multipliers).enumerate() {
            let tap = |k: usize| taps.get(k).map_or(0, |tap| u32::from(tap[j] as i8 as u16));
            let mut row = Row {
                upper: [0, 1, 2].map(|k| tap(k) | tap(k + 3) << 16),
                bias,
                rows: starts.map(|start| start.wrapping_add(fours + 4)),
                outer: tap(6) | tap(8) << 16,
                middle: tap(7),
                multiplier,
                zero_point: quantization.zero_point,
                step: out.pixel_step,
                step3: 3 * out.pixel_step,
            };
            // SAFETY: a plane has the words of all pixels and the word before them. The check showed that the planes and
            // the outputs of every channel exist. The last group goes to a buffer, from which only the remaining pixels
            // are copied.
            unsafe {
                if fours > 0 {
                    depthwise_fours(&row, start, -(fours as isize) - 4);
                }
                if rest > 0 {
                    let mut four = [0; 4];
                    row.rows = starts.map(|start| start.wrapping_add(fours + 8));
                    (row.step, row.step3) = (1, 3);
                    depthwise_fours(&row, four.as_mut_ptr(), -8);
                    for (x, value) in four.into_iter().take(rest).enumerate() {
                        start.add((fours + x) * out.pixel_step).write(value);
                    }
                }
            }
            starts = starts.map(|start| start.wrapping_add(plane));
            start = start.wrapping_add(out.channel_step);
        }
    }
    Some(())
}
