//! Dense convolutions: rows of four output channels, four pixels a turn.
//!
//! Weights are read as they lie in the image: VLD4 takes a block of sixteen products of four channels apart.
//! Where a pixel's sum is one block long, the weights stay in registers for the whole row. Pixels 0 and 2 of
//! a turn are computed first, then 1 and 3: the narrowing moves interleave pairs.

use crate::graph::RECORD_BYTES;
use crate::kernels::arch::{checked, portable};
use crate::kernels::dense::{Segment, scratch_bytes};
use crate::kernels::{Output, Quantization, record};

/// What a kernel needs of a row and four channels; it reads it by position.
#[repr(C, align(8))]
struct Job {
    weights: *const u8,
    /// The first segment of the next pixel.
    run: *const i8,
    /// Bytes from pixel to pixel.
    step: usize,
    out: *mut i8,
    /// Bytes from an output pixel to the fourth after it.
    out_step: usize,
    /// Bytes from channel to channel.
    plane: usize,
    zero_point: i32,
    /// Turns left, of four pixels.
    turns: usize,
    /// Blocks of sixteen bytes in each segment.
    counts: [usize; 3],
    /// From a segment's end to the next segment.
    gaps: [isize; 2],
    /// Weights that had to be put together.
    extra: *const u8,
    /// The smallest activation, in all bytes.
    least: u32,
    _align: u32,
    bias: [i32; 4],
    multipliers: [i32; 4],
    /// Where the bytes of four channels of four pixels go; or, where a vector is put together from two
    /// segments, where its words come from.
    places: [u32; 4],
}

impl Job {
    const EMPTY: Self = Self {
        weights: core::ptr::null(),
        run: core::ptr::null(),
        step: 0,
        out: core::ptr::null_mut(),
        out_step: 0,
        plane: 0,
        zero_point: 0,
        turns: 0,
        counts: [0; 3],
        gaps: [0; 2],
        extra: core::ptr::null(),
        least: 0,
        _align: 0,
        bias: [0; 4],
        multipliers: [0; 4],
        places: [0; 4],
    };
}

/// The next block of weights, q0 to q3, from r5.
macro_rules! weights {
    () => {
        "vld40.32 {{q0, q1, q2, q3}}, [r5]\n\
         vld41.32 {{q0, q1, q2, q3}}, [r5]\n\
         vld42.32 {{q0, q1, q2, q3}}, [r5]\n\
         vld43.32 {{q0, q1, q2, q3}}, [r5]!\n"
    };
}

/// Vector q4 against four channels' weights; sums in four registers.
macro_rules! four {
    ($multiply:literal, $a:literal, $b:literal, $c:literal, $d:literal) => {
        concat!(
            $multiply,
            " ",
            $a,
            ", q0, q4\n",
            $multiply,
            " ",
            $b,
            ", q1, q4\n",
            $multiply,
            " ",
            $c,
            ", q2, q4\n",
            $multiply,
            " ",
            $d,
            ", q3, q4\n",
        )
    };
}

/// Two pixels' vectors, loaded by $one and $two, against the weights.
macro_rules! two_pixels {
    ($multiply:literal, $one:literal, $two:literal) => {
        concat!(
            $one,
            "\n",
            four!($multiply, "r0", "r2", "r4", "r6"),
            $two,
            "\n",
            four!($multiply, "r8", "r10", "r12", "lr"),
        )
    };
}

/// A block of two pixels, at r1 and r3.
macro_rules! block {
    ($multiply:literal) => {
        concat!(
            weights!(),
            two_pixels!(
                $multiply,
                "vldrb.u8 q4, [r1], #16",
                "vldrb.u8 q4, [r3], #16"
            )
        )
    };
}

/// The sums of two pixels, to q5 and q6.
macro_rules! gather_sums {
    () => {
        "vmov q5[2], q5[0], r0, r4\n\
         vmov q5[3], q5[1], r2, r6\n\
         vmov q6[2], q6[0], r8, r12\n\
         vmov q6[3], q6[1], r10, lr\n"
    };
}

/// One pixel against weights that stay in q0 to q3; its sums to $to.
macro_rules! one_pixel {
    ($load:literal, $multiply:literal, $to:literal) => {
        concat!(
            $load,
            "\n",
            four!($multiply, "r4", "r6", "r8", "r10"),
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
        )
    };
}

/// Sixteen activations from q7 (pixels 0 and 2) and q5 (pixels 1 and 3), with the zero point in $zero: to q7.
macro_rules! narrow {
    ($zero:literal) => {
        concat!(
            "vqadd.s16 q7, q7, ",
            $zero,
            "\n",
            "vqadd.s16 q5, q5, ",
            $zero,
            "\n",
            "vqmovnb.s16 q7, q7\n",
            "vqmovnt.s16 q7, q5\n",
        )
    };
}

/// Raises q7 to the smallest activation.
macro_rules! least {
    () => {
        "ldr r0, [r7, #56]\n\
         vdup.32 q5, r0\n\
         vmax.s8 q7, q7, q5\n"
    };
}

/// Writes q7 as four pixels of four channels.
macro_rules! put_words {
    () => {
        "ldrd r0, r2, [r7, #12]\n\
         vldrb.u8 q0, [r7, #96]\n\
         vstrb.8 q7, [r0, q0]\n\
         add r0, r0, r2\n\
         str r0, [r7, #12]\n"
    };
}

/// Writes q7 as four planes of four pixels.
macro_rules! put_planes {
    () => {
        "ldr r0, [r7, #12]\n\
         ldr r2, [r7, #20]\n\
         vmov r4, r6, q7[2], q7[0]\n\
         vmov r8, r10, q7[3], q7[1]\n\
         add r12, r2, r2, lsl #1\n\
         str r8, [r0, r2]\n\
         str r6, [r0, r2, lsl #1]\n\
         str r10, [r0, r12]\n\
         str r4, [r0], #4\n\
         str r0, [r7, #12]\n"
    };
}

/// A function that computes one row of four output channels.
macro_rules! kernel {
    ($(#[$doc:meta])* $name:ident, $($code:expr),* $(,)?) => {
        $(#[$doc])*
        // SAFETY (of a call): the job's weights, runs and outputs are there for its turns, as its counts
        // and steps say; weights are word-aligned, and so are runs whose words are gathered.
        #[unsafe(naked)]
        unsafe extern "C" fn $name(job: *mut Job) {
            core::arch::naked_asm!(
                processor!(),
                "push {{r4, r5, r6, r7, r8, r9, r10, r11, lr}}",
                "vpush {{d8, d9, d10, d11, d12, d13, d14, d15}}",
                "mov r7, r0",
                $($code,)*
                "vpop {{d8, d9, d10, d11, d12, d13, d14, d15}}",
                "pop {{r4, r5, r6, r7, r8, r9, r10, r11, pc}}",
            )
        }
    };
}

/// On to the next turn's pixels, and to it.
macro_rules! next_turn {
    () => {
        "ldrd r1, r3, [r7, #4]\n\
         add r1, r1, r3, lsl #2\n\
         str r1, [r7, #4]\n\
         ldr r1, [r7, #28]\n\
         subs r1, r1, #1\n\
         str r1, [r7, #28]\n\
         bne 2b\n"
    };
}

/// The sums of two pixels two apart, the first of them $first pixels on: segments of whole blocks.
macro_rules! counted {
    ($first:literal) => {
        concat!(
            "ldrd r1, r3, [r7, #4]\n",
            $first,
            "add r3, r1, r3, lsl #1\n",
            "ldr r5, [r7]\n",
            "ldr r9, [r7, #32]\n",
            block!("vmladav.s8"),
            "subs r9, r9, #1\n",
            "beq 4f\n",
            "3:\n",
            block!("vmladava.s8"),
            "subs r9, r9, #1\n",
            "bne 3b\n",
            "4: ldr r9, [r7, #36]\n",
            "cmp r9, #0\n",
            "beq 6f\n",
            "ldr r11, [r7, #44]\n",
            "add r1, r1, r11\n",
            "add r3, r3, r11\n",
            "3:\n",
            block!("vmladava.s8"),
            "subs r9, r9, #1\n",
            "bne 3b\n",
            "ldr r9, [r7, #40]\n",
            "cmp r9, #0\n",
            "beq 6f\n",
            "ldr r11, [r7, #48]\n",
            "add r1, r1, r11\n",
            "add r3, r3, r11\n",
            "3:\n",
            block!("vmladava.s8"),
            "subs r9, r9, #1\n",
            "bne 3b\n",
            "6:\n",
            gather_sums!(),
        )
    };
}

kernel!(
    /// Segments of whole blocks, to words of four channels.
    words,
    "2:",
    counted!(""),
    requantize!("q7"),
    counted!("add r1, r1, r3\n"),
    requantize!("q5"),
    "ldr r0, [r7, #24]",
    narrow!("r0"),
    least!(),
    put_words!(),
    next_turn!(),
);
kernel!(
    /// Segments of whole blocks, to planes.
    planes,
    "2:",
    counted!(""),
    requantize!("q7"),
    counted!("add r1, r1, r3\n"),
    requantize!("q5"),
    "ldr r0, [r7, #24]",
    narrow!("r0"),
    put_planes!(),
    next_turn!(),
);

/// Three segments of 24: a block of each, the rests of the first two put together, the rest of the third.
macro_rules! rests {
    ($first:literal) => {
        concat!(
            "ldrd r1, r3, [r7, #4]\n",
            $first,
            "add r3, r1, r3, lsl #1\n",
            "ldr r5, [r7]\n",
            weights!(),
            two_pixels!("vmladav.s8", "vldrb.u8 q4, [r1]", "vldrb.u8 q4, [r3]"),
            "ldr r5, [r7, #52]\n",
            weights!(),
            "vldrw.u32 q5, [r7, #96]\n",
            two_pixels!(
                "vmladava.s8",
                "vldrw.u32 q4, [r1, q5]",
                "vldrw.u32 q4, [r3, q5]"
            ),
            "vldrw.u32 q0, [r5]\n",
            "vldrw.u32 q1, [r5, #16]\n",
            "vldrw.u32 q2, [r5, #32]\n",
            "vldrw.u32 q3, [r5, #48]\n",
            // The third segment, then the second.
            "ldrd r9, r11, [r7, #44]\n",
            "add r9, r9, r11\n",
            "add r1, r1, r9\n",
            "add r3, r3, r9\n",
            two_pixels!(
                "vmladava.s16",
                "vldrb.s16 q4, [r1, #16]",
                "vldrb.s16 q4, [r3, #16]"
            ),
            "ldr r5, [r7]\n",
            "add r5, r5, #192\n",
            weights!(),
            two_pixels!("vmladava.s8", "vldrb.u8 q4, [r1]", "vldrb.u8 q4, [r3]"),
            "sub r1, r1, r11\n",
            "sub r3, r3, r11\n",
            "sub r5, r5, #160\n",
            weights!(),
            two_pixels!("vmladava.s8", "vldrb.u8 q4, [r1]", "vldrb.u8 q4, [r3]"),
            gather_sums!(),
        )
    };
}

kernel!(
    /// Three segments of 24, to planes. The gaps are from segment to segment.
    planes_24,
    "2:",
    rests!(""),
    requantize!("q7"),
    rests!("add r1, r1, r3\n"),
    requantize!("q5"),
    "ldr r0, [r7, #24]",
    narrow!("r0"),
    put_planes!(),
    next_turn!(),
);

/// What kernels whose weights stay in registers load before a row: the run (r1), the output (r3), the bytes
/// to the next (r5), the zero point (r12), the turns (lr).
macro_rules! resident {
    () => {
        "ldr r1, [r7, #4]\n\
         ldrd r3, r5, [r7, #12]\n\
         ldr r12, [r7, #24]\n\
         ldr lr, [r7, #28]\n"
    };
}

/// How such kernels end a turn that writes words: q7 and q5 as four pixels of four channels.
macro_rules! put_resident {
    () => {
        concat!(
            narrow!("r12"),
            least!(),
            "vldrb.u8 q4, [r7, #96]\n\
             vstrb.8 q7, [r3, q4]\n\
             add r3, r3, r5\n\
             le lr, 2b\n"
        )
    };
}

kernel!(
    /// One segment of 16, which is all of a pixel.
    words_16,
    "ldr r5, [r7]",
    weights!(),
    resident!(),
    "sub r1, r1, #16",
    "2:",
    one_pixel!("vldrb.u8 q4, [r1, #48]", "vmladav.s8", "q6"),
    one_pixel!("vldrb.u8 q4, [r1, #16]!", "vmladav.s8", "q5"),
    requantize!("q7"),
    one_pixel!("vldrb.u8 q4, [r1, #16]", "vmladav.s8", "q5"),
    one_pixel!("vldrb.u8 q4, [r1, #48]!", "vmladav.s8", "q6"),
    requantize!("q5"),
    put_resident!(),
);
kernel!(
    /// One segment of 8, which is all of a pixel; the weights are sixteen bits each.
    words_8,
    "ldr r5, [r7, #52]",
    "vldrw.u32 q0, [r5]",
    "vldrw.u32 q1, [r5, #16]",
    "vldrw.u32 q2, [r5, #32]",
    "vldrw.u32 q3, [r5, #48]",
    resident!(),
    "sub r1, r1, #8",
    "2:",
    one_pixel!("vldrb.s16 q4, [r1, #24]", "vmladav.s16", "q6"),
    one_pixel!("vldrb.s16 q4, [r1, #8]!", "vmladav.s16", "q5"),
    requantize!("q7"),
    one_pixel!("vldrb.s16 q4, [r1, #8]", "vmladav.s16", "q5"),
    one_pixel!("vldrb.s16 q4, [r1, #24]!", "vmladav.s16", "q6"),
    requantize!("q5"),
    put_resident!(),
);
kernel!(
    /// Two segments of 8, which are all of a pixel, put together; to planes. The words' places are addresses,
    /// one pixel before the run's.
    planes_8_8,
    "ldr r5, [r7]",
    weights!(),
    resident!(),
    "ldr r5, [r7, #20]",
    "add r1, r5, r5, lsl #1",
    "2: vldrw.u32 q6, [r7, #96]",
    one_pixel!("vldrw.u32 q4, [q6, #8]", "vmladav.s8", "q5"),
    one_pixel!("vldrw.u32 q4, [q6, #24]", "vmladav.s8", "q6"),
    requantize!("q7"),
    "vldrw.u32 q6, [r7, #96]",
    one_pixel!("vldrw.u32 q4, [q6, #16]", "vmladav.s8", "q5"),
    "vldrw.u32 q4, [q6, #32]!",
    "vstrw.32 q6, [r7, #96]",
    one_pixel!("", "vmladav.s8", "q6"),
    requantize!("q5"),
    narrow!("r12"),
    "vmov r4, r6, q7[2], q7[0]",
    "vmov r8, r10, q7[3], q7[1]",
    "str r8, [r3, r5]",
    "str r6, [r3, r5, lsl #1]",
    "str r10, [r3, r1]",
    "str r4, [r3], #4",
    "le lr, 2b",
);

/// See [`crate::kernels::dense::dense_row`].
pub fn dense(
    segments: &[Segment<'_>],
    weights: &[u8],
    records: &[u8],
    quantization: Quantization,
    scratch: &mut [i8],
    mut out: Output<'_>,
) {
    if dense_fast(segments, weights, records, quantization, scratch, &mut out).is_none() {
        portable::dense(segments, weights, records, quantization, scratch, out);
    }
}

/// `None`, with nothing written, for what the assembly is not made for.
#[inline(always)]
fn dense_fast(
    segments: &[Segment<'_>],
    weights: &[u8],
    records: &[u8],
    quantization: Quantization,
    scratch: &mut [i8],
    out: &mut Output<'_>,
) -> Option<()> {
    let mut job = Job::EMPTY;
    let mut plan = Plan::EMPTY;
    prepare(
        (&mut job, &mut plan),
        segments,
        weights,
        records,
        &quantization,
        out,
    )?;
    let room = scratch.len() >= scratch_bytes(plan.block / 4);
    if !room || !scratch.as_ptr().addr().is_multiple_of(4) {
        return None;
    }
    run(&mut job, &plan, weights, records, scratch, out);
    Some(())
}

/// What a kernel wants prepared for each four channels.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Shape {
    Words8,
    Planes8And8,
    Planes24,
    Blocks,
}

/// How a row is computed.
#[derive(Clone, Copy)]
struct Plan {
    shape: Shape,
    kernel: unsafe extern "C" fn(*mut Job),
    /// The first segment of the first pixel.
    run: *const i8,
    /// Bytes of weights of four channels.
    block: usize,
    /// Fours of channels.
    groups: usize,
}

impl Plan {
    const EMPTY: Self = Self {
        shape: Shape::Blocks,
        kernel: words,
        run: core::ptr::null(),
        block: 0,
        groups: 0,
    };
}

/// Checks what the kernels will touch and fills what is the same for all channels; `None` for what the
/// assembly is not made for. By itself, so that it takes no stack below the kernels.
#[inline(never)]
fn prepare(
    (job, plan): (&mut Job, &mut Plan),
    segments: &[Segment<'_>],
    weights: &[u8],
    records: &[u8],
    quantization: &Quantization,
    out: &Output<'_>,
) -> Option<()> {
    let checked::Dense { length, groups } = checked::dense(segments, weights, records, out)?;
    let first = segments.first()?;
    let step = first.step;
    let planar = out.pixel_step == 1;
    let aligned = |s: &Segment<'_>| s.row.as_ptr().addr().is_multiple_of(4) && s.step % 4 == 0;
    let whole = |s: &Segment<'_>| s.len % 16 == 0 && s.len > 0;
    let of = |len: usize| move |s: &Segment<'_>| s.len == len;
    let (shape, kernel): (Shape, unsafe extern "C" fn(*mut Job)) = match (segments, planar) {
        ([a], false) if a.len == 8 && step == 8 => (Shape::Words8, words_8),
        ([a], false) if a.len == 16 && step == 16 => (Shape::Blocks, words_16),
        ([_, _], true) if step == 8 && segments.iter().all(of(8)) => {
            (Shape::Planes8And8, planes_8_8)
        }
        ([_, _, _], true) if segments.iter().all(of(24)) => (Shape::Planes24, planes_24),
        (_, false) if segments.iter().all(whole) => (Shape::Blocks, words),
        (_, true) if segments.iter().all(whole) => (Shape::Blocks, planes),
        _ => return None,
    };
    let gathers = matches!(shape, Shape::Planes8And8 | Shape::Planes24);
    let simple = quantization.shift == 0
        && (!planar || quantization.act_min == -128)
        && segments.len() <= 3
        && segments.iter().all(|s| s.step == step)
        && (!gathers || segments.iter().all(aligned))
        && (planar || out.channel_step == 1 && out.pixel_step <= 84)
        && out.pixels >= 4
        && weights.as_ptr().addr().is_multiple_of(4);
    if !simple {
        return None;
    }
    job.step = step;
    job.out_step = 4 * out.pixel_step;
    job.plane = out.channel_step;
    job.zero_point = quantization.zero_point;
    job.least = u32::from_ne_bytes([quantization.act_min as u8; 4]);
    // Addresses alone: the kernel walks from one segment to the next by their differences.
    let start = |s: &Segment<'_>| s.row.as_ptr().expose_provenance();
    for (count, s) in job.counts.iter_mut().zip(segments) {
        *count = s.len / 16;
    }
    for (gap, pair) in job.gaps.iter_mut().zip(segments.windows(2)) {
        if let [a, b] = pair {
            let skipped = if shape == Shape::Blocks { a.len } else { 0 };
            *gap = start(b).wrapping_sub(start(a) + skipped) as isize;
        }
    }
    match (segments, shape) {
        ([a, b, ..], Shape::Planes24 | Shape::Planes8And8) => {
            let (a, b) = (start(a), start(b));
            // The words of two rests, counted from the run; or of two whole segments, from a pixel before.
            let before = if shape == Shape::Planes24 {
                a.wrapping_sub(16)
            } else {
                8
            };
            job.places = [a, a + 4, b, b + 4].map(|at| at.wrapping_sub(before) as u32);
        }
        _ => {
            for (j, place) in job.places.iter_mut().enumerate() {
                // At most 3 · 84 + 3.
                let pixels = [0, 1, 2, 3].map(|x| (x * out.pixel_step + j) as u8);
                *place = u32::from_le_bytes(pixels);
            }
        }
    }
    *plan = Plan {
        shape,
        kernel,
        run: first.row.as_ptr(),
        block: 4 * length,
        groups,
    };
    Some(())
}

/// Computes a prepared row.
#[inline(always)]
fn run(
    job: &mut Job,
    plan: &Plan,
    weights: &[u8],
    records: &[u8],
    scratch: &mut [i8],
    out: &mut Output<'_>,
) {
    // Where the kernel has left the places that are addresses.
    let mut left = 0usize;
    job.extra = scratch.as_ptr().cast();
    for group in 0..plan.groups {
        let weights = weights.get(group * plan.block..).unwrap_or_default();
        let records = records.get(group * 4 * RECORD_BYTES..).unwrap_or_default();
        job.weights = weights.as_ptr();
        // One by one: an array of four is in the way on a small stack.
        for (j, (bias, multiplier)) in job.bias.iter_mut().zip(&mut job.multipliers).enumerate() {
            (*bias, *multiplier) = record(records, j);
        }
        put_together(plan.shape, weights, scratch);
        let mut pixel = 0;
        job.turns = out.pixels / 4;
        loop {
            let skipped = pixel * job.step;
            job.run = plan.run.wrapping_add(skipped);
            let start = pixel * out.pixel_step + 4 * group * out.channel_step;
            job.out = out.bytes.as_mut_ptr().wrapping_add(start);
            if plan.shape == Shape::Planes8And8 {
                for place in &mut job.places {
                    *place = place.wrapping_add(skipped.wrapping_sub(left) as u32);
                }
                left = skipped + 4 * job.turns * job.step;
            }
            // SAFETY: every segment was checked to have its run for each pixel, the weights to be there and
            // aligned, and `out` to reach the last channel of the last pixel; a turn's pixels are four of
            // those.
            unsafe { (plan.kernel)(job) };
            if pixel > 0 || out.pixels.is_multiple_of(4) {
                break;
            }
            // A last turn where pixels are left, so that it ends with the last; it begins behind the first.
            pixel = out.pixels - 4;
            job.turns = 1;
        }
    }
}

/// Prepares weights that are not read as they lie in the image. Scratch for sums of 8 has room for 64 bytes,
/// for sums of 72 for more than 128.
#[inline(never)]
fn put_together(shape: Shape, weights: &[u8], scratch: &mut [i8]) {
    match shape {
        Shape::Words8 => widen(weights, scratch.get_mut(..64).unwrap_or_default()),
        Shape::Planes24 => {
            let scratch = scratch.get_mut(..128).unwrap_or_default();
            let (rests, last) = scratch.split_at_mut_checked(64).unwrap_or_default();
            let words = |at: core::ops::Range<usize>| {
                weights.get(at).unwrap_or_default().as_chunks::<4>().0
            };
            let from = words(64..96).iter().chain(words(160..192));
            for (to, from) in rests.as_chunks_mut::<4>().0.iter_mut().zip(from) {
                *to = from.map(|byte| byte as i8);
            }
            widen(weights.get(256..288).unwrap_or_default(), last);
        }
        Shape::Planes8And8 | Shape::Blocks => {}
    }
}

/// Where eight weights of a channel lie, from its first.
static EIGHT: [u8; 8] = [0, 1, 2, 3, 16, 17, 18, 19];

/// Eight weights of each of four channels, `[k/4][j][k%4]`, as sixteen bits each.
// SAFETY (of a call): 32 bytes of weights are there, and room for 64; `eight` is [`EIGHT`].
#[unsafe(naked)]
unsafe extern "C" fn widen_eights(weights: *const u8, to: *mut i8, eight: *const u8) {
    core::arch::naked_asm!(
        processor!(),
        "vldrb.u16 q0, [r2]",
        "vldrb.s16 q1, [r0, q0]",
        "adds r0, r0, #4",
        "vldrb.s16 q2, [r0, q0]",
        "adds r0, r0, #4",
        "vldrb.s16 q3, [r0, q0]",
        "adds r0, r0, #4",
        "vstrw.32 q1, [r1]",
        "vldrb.s16 q1, [r0, q0]",
        "vstrw.32 q2, [r1, #16]",
        "vstrw.32 q3, [r1, #32]",
        "vstrw.32 q1, [r1, #48]",
        "bx lr",
    )
}

/// [`widen_eights`] of as much as is needed; nothing where it is not there.
fn widen(weights: &[u8], to: &mut [i8]) {
    if weights.len() >= 32 && to.len() >= 64 {
        // SAFETY: what is read and written was checked; the address of scratch was, when the row was prepared.
        unsafe { widen_eights(weights.as_ptr(), to.as_mut_ptr(), EIGHT.as_ptr()) }
    }
}
