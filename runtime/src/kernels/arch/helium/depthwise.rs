//! Depthwise convolutions: a loop in assembly over the channels of a row, sixteen pixels a turn.
//!
//! One gather load reads four columns of all three rows, as six halfwords: the windows of two neighbouring outputs. One
//! VMLADAV with the nine weights in the right bytes computes the sum of the first output. Another one, with the weights
//! one byte further, computes the sum of the second.

use crate::graph::RECORD_BYTES;
use crate::kernels::arch::{checked, dsp};
use crate::kernels::path::helium::{Depthwise, TURN};
use crate::kernels::row::{PLANE_START, plane_bytes};
use crate::kernels::{Output, Quantization, path};

/// The input of [`near`] and [`far`]: one row.
#[repr(C, align(8))]
struct Job {
    /// The first weight of the next channel. The weights of a channel are four bytes apart.
    weights: *const u8,
    /// The column before the first one of the next channel, in the row with the lowest address.
    columns: *const i8,
    /// Distance between two input planes in bytes.
    plane: usize,
    out: *mut i8,
    /// Distance between two outputs and between two channels, in bytes.
    pixel_step: usize,
    channel_step: usize,
    zero_point: i32,
    channels: usize,
    /// Number of complete turns a channel, at least one.
    turns: usize,
    /// By how many pixels an additional last turn overlaps the previous one; 0 if there is none.
    back: usize,
    records: *const u8,
    /// The position of the next channel in its group of four.
    within: usize,
    /// The bytes of a window that have a weight, for the first and for the second output.
    used: [u32; 2],
    _align: [u32; 2],
    /// The positions of these weights.
    taps: [[u8; 16]; 2],
    /// The positions of the halfwords of a window.
    window: [u16; 8],
    /// The positions of the sixteen outputs of a turn, relative to `out`, as bytes; in [`far`], eight halfwords.
    places: [u8; 16],
}

adjacent!(Job: columns + 4 = plane, channel_step + 4 = zero_point, turns + 4 = back);

impl Job {
    const EMPTY: Self = Self {
        weights: core::ptr::null(),
        columns: core::ptr::null(),
        plane: 0,
        out: core::ptr::null_mut(),
        pixel_step: 0,
        channel_step: 0,
        zero_point: 0,
        channels: 0,
        turns: 0,
        back: 0,
        records: core::ptr::null(),
        within: 0,
        used: [0x0777, 0x0eee],
        _align: [0; 2],
        taps: TAPS,
        window: [0; 8],
        places: [0; 16],
    };
}

/// The sums of two pairs of outputs: one pair at r1, the other eight pixels further.
macro_rules! pairs {
    ($high:literal, $low:literal) => {
        concat!(
            "vldrh.u16 q3, [r1, q2]\n",
            "vmladav.s8 r4, q0, q3\n",
            "vmladav.s8 r6, q1, q3\n",
            "add r1, r1, #8\n",
            "vldrh.u16 q3, [r1, q2]\n",
            "vmladav.s8 r8, q0, q3\n",
            "vmladav.s8 r10, q1, q3\n",
            "vmov q5",
            $high,
            ", q5",
            $low,
            ", r4, r8\n",
            "vmov q6",
            $high,
            ", q6",
            $low,
            ", r6, r10\n",
        )
    };
}

/// Eight outputs of a turn, every other pair, as sixteen bits in $to.
macro_rules! eight {
    ($to:literal) => {
        concat!(
            pairs!("[2]", "[0]"),
            "sub r1, r1, #4\n",
            pairs!("[3]", "[1]"),
            "vadd.i32 q5, q5, r5\n",
            "vadd.i32 q6, q6, r5\n",
            "vrmulh.s32 q5, q5, q4\n",
            "vrmulh.s32 q6, q6, q4\n",
            "vqmovnb.s32 ",
            $to,
            ", q5\n",
            "vqmovnt.s32 ",
            $to,
            ", q6\n",
        )
    };
}

/// Defines a function that computes a row, channel by channel.
macro_rules! kernel {
    ($(#[$doc:meta])* $name:ident, $($put:literal),* $(,)?) => {
        $(#[$doc])*
        // SAFETY (of a call): the planes, weights and records of all channels can be read; records are aligned to words,
        // columns have even addresses; all outputs are writable.
        #[unsafe(naked)]
        unsafe extern "C" fn $name(job: *mut Job) {
            naked_asm_of!(
                Job {
                    weights, columns, out, pixel_step, channel_step, zero_point, channels, turns, records, within,
                    used, taps, window, places,
                },
                [
                    "push {{r4, r5, r6, r7, r8, r9, r10, r11, lr}}",
                    "vpush {{d8, d9, d10, d11, d12, d13, d14, d15}}",
                    "mov r7, r0",
                    "vldrw.u32 q2, [r7, #{window}]",
                    "ldr r12, [r7, #{zero_point}]",
                    "ldr r11, [r7, #{pixel_step}]",
                    "3: ldr r0, [r7, #{weights}]",
                    "ldrd r2, r4, [r7, #{used}]",
                    "vldrb.u8 q5, [r7, #{taps}]",
                    "vldrb.u8 q6, [r7, #{taps} + 16]",
                    "vmsr p0, r2",
                    "vpst",
                    "vldrbt.u8 q0, [r0, q5]",
                    "vmsr p0, r4",
                    "vpst",
                    "vldrbt.u8 q1, [r0, q6]",
                    // The weights of the next channel.
                    "ldr r2, [r7, #{within}]",
                    "adds r0, r0, #1",
                    "adds r2, r2, #1",
                    "ands r2, r2, #3",
                    "it eq",
                    "addeq r0, r0, #{rest}",
                    "str r0, [r7, #{weights}]",
                    "str r2, [r7, #{within}]",
                    "ldr r0, [r7, #{records}]",
                    "ldrd r5, r2, [r0], #{record}",
                    "str r0, [r7, #{records}]",
                    "vdup.32 q4, r2",
                    "ldr r1, [r7, #{columns}]",
                    "ldr r3, [r7, #{out}]",
                    "ldrd lr, r9, [r7, #{turns}]",
                    "2:",
                    eight!("q7"),
                    "sub r1, r1, #10",
                    eight!("q5"),
                    "add r1, r1, #2",
                    "vqadd.s16 q7, q7, r12",
                    "vqadd.s16 q5, q5, r12",
                    "vqmovnb.s16 q7, q7",
                    "vqmovnt.s16 q7, q5",
                    $($put,)*
                    "add r3, r3, r11, lsl #4",
                    "le lr, 2b",
                    "cmp r9, #0",
                    "beq 5f",
                    "sub r1, r1, r9",
                    "mls r3, r9, r11, r3",
                    "mov r9, #0",
                    "mov lr, #1",
                    "b 2b",
                    "5: ldrd r0, r2, [r7, #{columns}]",
                    "add r0, r0, r2",
                    "str r0, [r7, #{columns}]",
                    "ldr r0, [r7, #{out}]",
                    "ldrd r2, r4, [r7, #{channel_step}]",
                    "add r0, r0, r2",
                    "str r0, [r7, #{out}]",
                    "ldr r0, [r7, #{channels}]",
                    "subs r0, r0, #1",
                    "str r0, [r7, #{channels}]",
                    "bne 3b",
                    "vpop {{d8, d9, d10, d11, d12, d13, d14, d15}}",
                    "pop {{r4, r5, r6, r7, r8, r9, r10, r11, pc}}",
                ],
                rest = GROUP_BYTES - 4,
                record = RECORD_BYTES,
            )
        }
    };
}

kernel!(
    /// The outputs of a turn lie within 256 bytes.
    near,
    "vldrb.u8 q3, [r7, #{places}]",
    "vstrb.8 q7, [r3, q3]",
);
kernel!(
    /// The outputs of a turn lie further apart.
    far,
    "vldrb.u8 q3, [r7, #{places}]",
    "vmovlb.s8 q5, q7",
    "vmovlt.s8 q6, q7",
    "vstrb.16 q5, [r3, q3]",
    "add r0, r3, r11, lsl #1",
    "vstrb.16 q6, [r0, q3]",
);

/// A function that computes a row.
type Kernel = unsafe extern "C" fn(*mut Job);

/// Number of bytes of the weights of four channels.
const GROUP_BYTES: usize = 9 * 4;

/// The position of the weight for each byte of a window, for the first output and for the second.
const TAPS: [[u8; 16]; 2] = [
    [0, 4, 8, 0, 12, 16, 20, 0, 24, 28, 32, 0, 0, 0, 0, 0],
    [0, 0, 4, 8, 0, 12, 16, 20, 0, 24, 28, 32, 0, 0, 0, 0],
];

/// See [`crate::kernels::depthwise::depthwise_row`].
pub fn depthwise(
    rows: [&[i8]; 3],
    weights: &[u8],
    records: &[u8],
    quantization: Quantization,
    mut out: Output<'_>,
) {
    if depthwise_fast(&rows, weights, records, quantization, &mut out).is_none() {
        dsp::depthwise(rows, weights, records, quantization, out);
    }
}

/// Computes a row. Returns `None` and writes nothing if no fast kernel supports the row or if the check fails.
#[inline(never)]
fn depthwise_fast(
    rows: &[&[i8]; 3],
    weights: &[u8],
    records: &[u8],
    quantization: Quantization,
    out: &mut Output<'_>,
) -> Option<()> {
    let mut job = Job::EMPTY;
    let kernel = prepare(&mut job, rows, weights, records, quantization, out)?;
    taken!(Fast);
    run(&mut job, kernel, out);
    Some(())
}

/// Selects the kernel, checks that it may compute the row, and sets the job. Not inlined, so that the kernels do not run on
/// top of its stack frame.
#[inline(never)]
fn prepare(
    job: &mut Job,
    rows: &[&[i8]; 3],
    weights: &[u8],
    records: &[u8],
    quantization: Quantization,
    out: &Output<'_>,
) -> Option<Kernel> {
    let starts = rows.map(|row| row.as_ptr().expose_provenance());
    let kernel = path::helium::depthwise(starts, &quantization, out).ok()?;
    job.channels = checked::depthwise(*rows, weights, records, out)?;
    let even = starts.iter().all(|start| start.is_multiple_of(2));
    // A record is loaded with LDRD, which faults at addresses that are not aligned to words.
    if !even || !records.as_ptr().addr().is_multiple_of(4) {
        return None;
    }
    let lowest = rows.iter().min_by_key(|row| row.as_ptr().addr())?;
    let base = lowest.as_ptr().expose_provenance();
    for (pair, start) in job.window.as_chunks_mut::<2>().0.iter_mut().zip(starts) {
        // Below 64 KiB: the kernel was selected only for such distances.
        let distance = (start - base) as u16;
        *pair = [distance, distance.wrapping_add(2)];
    }
    let (turns, rest) = (out.pixels / TURN, out.pixels % TURN);
    let narrow = turns == 0;
    job.plane = plane_bytes(out.pixels);
    job.weights = weights.as_ptr();
    job.columns = lowest.as_ptr().wrapping_add(PLANE_START - 1);
    job.pixel_step = path::helium::pixel_step(out);
    job.channel_step = out.channel_step;
    job.zero_point = quantization.zero_point;
    job.turns = turns.max(1);
    job.back = if narrow || rest == 0 { 0 } else { TURN - rest };
    job.records = records.as_ptr();
    let step = job.pixel_step;
    Some(match kernel {
        Depthwise::Near => {
            for (at, place) in job.places.iter_mut().enumerate() {
                // Pairs of pixels alternate between two registers.
                let pixel = at / 4 * 4 + at % 2 * 2 + at / 2 % 2;
                *place = (pixel * step) as u8;
            }
            near
        }
        Depthwise::Far => {
            for (at, place) in job.places.as_chunks_mut::<2>().0.iter_mut().enumerate() {
                *place = (((at / 2 * 4 + at % 2) * step) as u16).to_le_bytes();
            }
            far
        }
    })
}

/// Computes a prepared row.
#[inline(always)]
fn run(job: &mut Job, kernel: Kernel, out: &mut Output<'_>) {
    if out.pixels >= TURN {
        job.out = out.bytes.as_mut_ptr();
        // SAFETY: the check showed that the planes, weights, records and outputs of all channels exist. The row has the
        // pixels of at least one turn, and the last turn ends with the row.
        return unsafe { kernel(job) };
    }
    run_narrow(job, kernel, out);
}

/// Computes a row of less than one turn, channel by channel.
#[inline(never)]
fn run_narrow(job: &mut Job, kernel: Kernel, out: &mut Output<'_>) {
    for channel in 0..job.channels {
        let mut turn = [0i8; TURN];
        job.out = turn.as_mut_ptr();
        job.channels = 1;
        // SAFETY: as above. The columns of the turn lie in the plane, and its outputs go to `turn`. The kernel has moved
        // the other pointers to the next channel.
        unsafe { kernel(job) };
        let bytes = out.bytes.get_mut(channel * out.channel_step..);
        let places = bytes.unwrap_or_default().iter_mut();
        for (place, value) in places
            .step_by(out.pixel_step.max(1))
            .zip(turn)
            .take(out.pixels)
        {
            *place = value;
        }
    }
}

// The two words of a record are loaded together.
const _: () = assert!(RECORD_BYTES == 8);
