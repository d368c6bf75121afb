//! The fast kernels: loops in assembly over rows of four output channels, four pixels a turn.
//!
//! Weights are read in the order of the image. VLD4 loads a block, sixteen weights of each of four channels, and separates
//! the channels. If the sum of a pixel is one block long, the weights stay in registers for the whole row. Pixels 0 and 2
//! of a turn are computed first, then pixels 1 and 3, because the narrowing moves interleave pairs.

use crate::kernels::path::helium::Dense;

/// The input of a kernel: four channels of one row.
#[repr(C, align(8))]
pub struct Job {
    pub weights: *const u8,
    /// The first run of the next pixel.
    pub run: *const i8,
    /// Distance between two input pixels in bytes.
    pub step: usize,
    pub out: *mut i8,
    /// Distance from an output pixel to the fourth after it, in bytes.
    pub out_step: usize,
    /// Distance between two channels in bytes.
    pub plane: usize,
    pub zero_point: i32,
    /// Number of remaining turns.
    pub turns: usize,
    /// Number of blocks of sixteen bytes in each segment.
    pub counts: [usize; 3],
    /// Distance from the end of a segment to the next segment.
    pub gaps: [isize; 2],
    /// Weights in another order than in the image.
    pub extra: *const u8,
    /// The smallest activation, in all bytes.
    pub least: u32,
    pub _align: u32,
    pub bias: [i32; 4],
    pub multipliers: [i32; 4],
    /// The positions of the bytes of four channels of four output pixels. Kernels that gather a vector from two segments
    /// have the positions of its words here instead.
    pub places: [u32; 4],
}

adjacent!(Job: run + 4 = step, out + 4 = out_step, gaps + 8 = extra);

impl Job {
    /// A job whose fields have not been set.
    pub const EMPTY: Self = Self {
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

/// Loads the next block of weights from r5 to q0…q3.
macro_rules! weights {
    () => {
        "vld40.32 {{q0, q1, q2, q3}}, [r5]\n\
         vld41.32 {{q0, q1, q2, q3}}, [r5]\n\
         vld42.32 {{q0, q1, q2, q3}}, [r5]\n\
         vld43.32 {{q0, q1, q2, q3}}, [r5]!\n"
    };
}

/// Multiplies vector q4 with the weights of four channels. The sums go to four registers.
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

/// Multiplies the vectors of two pixels, loaded by $one and $two, with the weights.
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

/// Computes a block of two pixels, at r1 and r3.
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

/// Moves the sums of two pixels to q5 and q6.
macro_rules! gather_sums {
    () => {
        "vmov q5[2], q5[0], r0, r4\n\
         vmov q5[3], q5[1], r2, r6\n\
         vmov q6[2], q6[0], r8, r12\n\
         vmov q6[3], q6[1], r10, lr\n"
    };
}

/// Multiplies one pixel with weights that stay in q0…q3. The sums go to $to.
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

/// Narrows sixteen activations to q7, from q7 (pixels 0 and 2) and q5 (pixels 1 and 3). The zero point is in $zero.
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
        "ldr r0, [r7, #{least}]\n\
         vdup.32 q5, r0\n\
         vmax.s8 q7, q7, q5\n"
    };
}

/// Writes q7 as four pixels of four channels.
macro_rules! put_words {
    () => {
        "ldrd r0, r2, [r7, #{out}]\n\
         vldrb.u8 q0, [r7, #{places}]\n\
         vstrb.8 q7, [r0, q0]\n\
         add r0, r0, r2\n\
         str r0, [r7, #{out}]\n"
    };
}

/// Writes q7 as four planes of four pixels.
macro_rules! put_planes {
    () => {
        "ldr r0, [r7, #{out}]\n\
         ldr r2, [r7, #{plane}]\n\
         vmov r4, r6, q7[2], q7[0]\n\
         vmov r8, r10, q7[3], q7[1]\n\
         add r12, r2, r2, lsl #1\n\
         str r8, [r0, r2]\n\
         str r6, [r0, r2, lsl #1]\n\
         str r10, [r0, r12]\n\
         str r4, [r0], #4\n\
         str r0, [r7, #{out}]\n"
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
            naked_asm_of!(
                Job {
                    weights, run, out, plane, zero_point, turns, counts, gaps, extra, least, bias, multipliers, places,
                },
                [
                    "push {{r4, r5, r6, r7, r8, r9, r10, r11, lr}}",
                    "vpush {{d8, d9, d10, d11, d12, d13, d14, d15}}",
                    "mov r7, r0",
                    $($code,)*
                    "vpop {{d8, d9, d10, d11, d12, d13, d14, d15}}",
                    "pop {{r4, r5, r6, r7, r8, r9, r10, r11, pc}}",
                ]
            )
        }
    };
}

/// Moves to the pixels of the next turn and repeats the loop.
macro_rules! next_turn {
    () => {
        "ldrd r1, r3, [r7, #{run}]\n\
         add r1, r1, r3, lsl #2\n\
         str r1, [r7, #{run}]\n\
         ldr r1, [r7, #{turns}]\n\
         subs r1, r1, #1\n\
         str r1, [r7, #{turns}]\n\
         bne 2b\n"
    };
}

/// The sums of pixels 0 and 2, or of the pixels after them, as $first says. All segments are whole blocks.
macro_rules! counted {
    ($first:literal) => {
        concat!(
            "ldrd r1, r3, [r7, #{run}]\n",
            $first,
            "add r3, r1, r3, lsl #1\n",
            "ldr r5, [r7, #{weights}]\n",
            "ldr r9, [r7, #{counts}]\n",
            block!("vmladav.s8"),
            "subs r9, r9, #1\n",
            "beq 4f\n",
            "3:\n",
            block!("vmladava.s8"),
            "subs r9, r9, #1\n",
            "bne 3b\n",
            "4: ldr r9, [r7, #{counts} + 4]\n",
            "cmp r9, #0\n",
            "beq 6f\n",
            "ldr r11, [r7, #{gaps}]\n",
            "add r1, r1, r11\n",
            "add r3, r3, r11\n",
            "3:\n",
            block!("vmladava.s8"),
            "subs r9, r9, #1\n",
            "bne 3b\n",
            "ldr r9, [r7, #{counts} + 8]\n",
            "cmp r9, #0\n",
            "beq 6f\n",
            "ldr r11, [r7, #{gaps} + 4]\n",
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
    "ldr r0, [r7, #{zero_point}]",
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
    "ldr r0, [r7, #{zero_point}]",
    narrow!("r0"),
    put_planes!(),
    next_turn!(),
);

/// The sums of two pixels of three segments of 24 bytes: first a block of each segment, then the remaining eight bytes of
/// the first two segments as one block, then the remaining eight bytes of the third.
macro_rules! rests {
    ($first:literal) => {
        concat!(
            "ldrd r1, r3, [r7, #{run}]\n",
            $first,
            "add r3, r1, r3, lsl #1\n",
            "ldr r5, [r7, #{weights}]\n",
            weights!(),
            two_pixels!("vmladav.s8", "vldrb.u8 q4, [r1]", "vldrb.u8 q4, [r3]"),
            "ldr r5, [r7, #{extra}]\n",
            weights!(),
            "vldrw.u32 q5, [r7, #{places}]\n",
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
            "ldrd r9, r11, [r7, #{gaps}]\n",
            "add r9, r9, r11\n",
            "add r1, r1, r9\n",
            "add r3, r3, r9\n",
            two_pixels!(
                "vmladava.s16",
                "vldrb.s16 q4, [r1, #16]",
                "vldrb.s16 q4, [r3, #16]"
            ),
            "ldr r5, [r7, #{weights}]\n",
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
    /// Three segments of 24 bytes, to planes. The gaps are distances from the beginning of a segment to the next.
    planes_24,
    "2:",
    rests!(""),
    requantize!("q7"),
    rests!("add r1, r1, r3\n"),
    requantize!("q5"),
    "ldr r0, [r7, #{zero_point}]",
    narrow!("r0"),
    put_planes!(),
    next_turn!(),
);

/// Loads what kernels need whose weights stay in registers: the run (r1), the output (r3), its distance to the next (r5),
/// the zero point (r12), and the turns (lr).
macro_rules! resident {
    () => {
        "ldr r1, [r7, #{run}]\n\
         ldrd r3, r5, [r7, #{out}]\n\
         ldr r12, [r7, #{zero_point}]\n\
         ldr lr, [r7, #{turns}]\n"
    };
}

/// The end of a turn of such kernels, if they write words: writes q7 and q5 as four pixels of four channels.
macro_rules! put_resident {
    () => {
        concat!(
            narrow!("r12"),
            least!(),
            "vldrb.u8 q4, [r7, #{places}]\n\
             vstrb.8 q7, [r3, q4]\n\
             add r3, r3, r5\n\
             le lr, 2b\n"
        )
    };
}

kernel!(
    /// One segment of 16 bytes, which is the whole pixel.
    words_16,
    "ldr r5, [r7, #{weights}]",
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
    /// One segment of 8 bytes, which is the whole pixel. The weights have sixteen bits.
    words_8,
    "ldr r5, [r7, #{extra}]",
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
    /// Two segments of 8 bytes, which are the whole pixel, gathered to one vector; to planes. The positions of the words are
    /// addresses one pixel before the run.
    planes_8_8,
    "ldr r5, [r7, #{weights}]",
    weights!(),
    resident!(),
    "ldr r5, [r7, #{plane}]",
    "add r1, r5, r5, lsl #1",
    "2: vldrw.u32 q6, [r7, #{places}]",
    one_pixel!("vldrw.u32 q4, [q6, #8]", "vmladav.s8", "q5"),
    one_pixel!("vldrw.u32 q4, [q6, #24]", "vmladav.s8", "q6"),
    requantize!("q7"),
    "vldrw.u32 q6, [r7, #{places}]",
    one_pixel!("vldrw.u32 q4, [q6, #16]", "vmladav.s8", "q5"),
    "vldrw.u32 q4, [q6, #32]!",
    "vstrw.32 q6, [r7, #{places}]",
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

/// A function that computes one row of four output channels.
pub type Kernel = unsafe extern "C" fn(*mut Job);

/// The function of a kernel.
pub fn function(kernel: Dense) -> Kernel {
    match kernel {
        Dense::Words8 => words_8,
        Dense::Words16 => words_16,
        Dense::Words => words,
        Dense::Planes8And8 => planes_8_8,
        Dense::Planes24 => planes_24,
        Dense::Planes => planes,
    }
}

/// The positions of eight weights of a channel, relative to the first.
static EIGHT: [u8; 8] = [0, 1, 2, 3, 16, 17, 18, 19];

/// Widens eight weights of each of four channels, `[k/4][j][k%4]`, to sixteen bits.
// SAFETY (of a call): 32 bytes of weights can be read and 64 bytes can be written; `eight` is [`EIGHT`].
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

/// Calls [`widen_eights`], unless a slice is too short.
pub fn widen(weights: &[u8], to: &mut [i8]) {
    if weights.len() >= 32 && to.len() >= 64 {
        // SAFETY: the lengths were checked here, the alignment of scratch before the row was prepared.
        unsafe { widen_eights(weights.as_ptr(), to.as_mut_ptr(), EIGHT.as_ptr()) }
    }
}
