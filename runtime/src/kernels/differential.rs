//! The differential test: the kernels of an instruction set against the reference kernels, on random shapes, extreme
//! values and odd alignments.
//!
//! `no_std` and without allocation, so that the same cases run in the host's tests and on a board. The whole
//! output buffer is compared, so that a byte written beside the output is found too. On a board, each row must also
//! be computed by the kernel that [`path`] names.

use super::arch::set::Set;
use super::arch::{self, max4, reference};
use crate::Aligned;
use crate::dies::{IMAGE_SIZE, MASK_ROW_BYTES};
use crate::kernels::path::{self, Isa, KernelPath};
use crate::kernels::row::plane_bytes;
use crate::kernels::row::record4;
use crate::kernels::row::{CODES, CodeRow, Table};
use crate::kernels::row::{Segment, scratch_bytes};
use crate::kernels::{Output, Quantization, pool};

/// The kernels that inference uses on this processor.
pub const CHOSEN: Set = Set {
    dense: arch::dense,
    depthwise: arch::depthwise,
    image4: arch::image4,
    mask_row: arch::mask_row,
    max4: max4::max4,
};

/// Number of bytes of the input and of each output, which is more than any case uses.
const BYTES: usize = 6144;

/// The result of all cases of one kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outcome {
    /// Name of the kernel.
    pub kernel: &'static str,
    /// Number of cases whose result differed, or that another kernel than [`path`] names computed.
    pub differ: u32,
    /// Number of cases that a fast kernel computed. Only known on boards.
    pub fast: u32,
    /// The random state before the first case that differed.
    pub first: u32,
}

/// The buffers of the test: 37 kB, for a `static`.
#[derive(Debug)]
pub struct Differential {
    random: Random,
    /// Number of cases of the current kernel that a fast kernel computed.
    fast_cases: u32,
    input: Aligned<[i8; BYTES]>,
    weights: Aligned<[u8; BYTES]>,
    records: Aligned<[u8; 256]>,
    scratch: Aligned<[i8; BYTES]>,
    fast: [i8; BYTES],
    plain: [i8; BYTES],
    table: Aligned<[i8; 3 * CODES * 8 + 8]>,
}

#[derive(Debug)]
struct Random(u32);

impl Random {
    fn next(&mut self) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 17;
        self.0 ^= self.0 << 5;
        self.0
    }

    /// One of 0…n − 1.
    fn below(&mut self, n: u32) -> usize {
        (self.next() % n) as usize
    }

    fn one_in(&mut self, n: u32) -> bool {
        self.below(n) == 0
    }

    /// Any value; extreme values are frequent.
    fn byte(&mut self) -> u8 {
        match self.below(4) {
            0 => 0x80,
            1 => 0x7f,
            _ => self.next() as u8,
        }
    }

    /// A number of pixels, of at most `step` bytes each, and a number of groups of four channels. Most rows are short. Some
    /// are long enough for several turns of kernels that compute many pixels at a time.
    fn extent(&mut self, step: usize) -> (usize, usize) {
        let groups = 1 + self.below(6);
        let pixels = match self.below(8) {
            0 => (BYTES - 256) / step.max(4 * groups + 4),
            _ => 40,
        };
        (1 + self.below(pixels.min(IMAGE_SIZE) as u32), groups)
    }

    /// A position in the input for a run of `len` bytes. One in sixteen is not aligned to a word.
    fn start(&mut self, len: usize) -> usize {
        let at = self.below((BYTES - len - 4) as u32) & !3;
        if self.one_in(16) { at + 1 } else { at }
    }

    /// The first `len` bytes of a buffer. One in 32 begins at the second byte, which is not aligned to a word.
    fn part<'b>(&mut self, bytes: &'b [u8], len: usize) -> &'b [u8] {
        let at = usize::from(self.one_in(32));
        bytes.get(at..at + len).unwrap_or_default()
    }

    fn quantization(&mut self) -> Quantization {
        let zero_point = i32::from(self.byte() as i8);
        let relu = self.one_in(2);
        Quantization {
            shift: if self.one_in(16) { 1 } else { 0 },
            zero_point,
            act_min: if relu { zero_point } else { -128 },
        }
    }
}

impl Default for Differential {
    fn default() -> Self {
        Self::new()
    }
}

impl Differential {
    /// A test with the same cases every time.
    pub const fn new() -> Self {
        Self {
            random: Random(0x9e37_79b9),
            fast_cases: 0,
            input: Aligned([0; BYTES]),
            weights: Aligned([0; BYTES]),
            records: Aligned([0; 256]),
            scratch: Aligned([0; BYTES]),
            fast: [0; BYTES],
            plain: [0; BYTES],
            table: Aligned([0; 3 * CODES * 8 + 8]),
        }
    }

    /// Compares each kernel of `set` with its reference kernel, in `cases` cases.
    pub fn compare(&mut self, set: &Set, cases: u32) -> [Outcome; 4] {
        let kernels: [(&str, Case); 4] = [
            ("dense", Self::dense),
            ("depthwise", Self::depthwise),
            ("image", Self::image),
            ("words", Self::words),
        ];
        kernels.map(|(kernel, case)| {
            let mut outcome = Outcome {
                kernel,
                differ: 0,
                fast: 0,
                first: 0,
            };
            for _ in 0..cases {
                let seed = self.random.0;
                self.refill();
                if !case(self, set) {
                    outcome.first = if outcome.differ == 0 {
                        seed
                    } else {
                        outcome.first
                    };
                    outcome.differ += 1;
                }
            }
            outcome.fast = core::mem::take(&mut self.fast_cases);
            outcome
        })
    }

    /// Makes new input, weights and records. Most multipliers are chosen so that few outputs saturate.
    fn refill(&mut self) {
        let random = &mut self.random;
        self.input.0.fill_with(|| random.byte() as i8);
        self.weights.0.fill_with(|| random.byte());
        for record in self.records.0.as_chunks_mut::<8>().0 {
            let bias = (random.next() as i32) >> (2 + random.below(28));
            let multiplier = (random.next() & 0x7fff_ffff) >> random.below(31);
            let multiplier = if random.one_in(16) {
                0x7fff_ffff
            } else {
                multiplier
            };
            let [a, b, c, d] = bias.to_le_bytes();
            let [e, f, g, h] = multiplier.to_le_bytes();
            *record = [a, b, c, d, e, f, g, h];
        }
        self.fast.fill(85);
        self.plain.fill(85);
    }

    fn dense(&mut self, set: &Set) -> bool {
        let random = &mut self.random;
        let count = 1 + random.below(3);
        let multiple = if count == 3 { 24 } else { 8 };
        let mut len = multiple * (1 + random.below(64 / multiple as u32));
        if random.one_in(2) {
            len = if random.one_in(2) {
                multiple
            } else {
                2 * multiple
            };
        } else if random.one_in(8) {
            len += 4;
        }
        let step = match count {
            3 => len / 12 * 4,
            _ if random.one_in(8) => len + 4,
            _ => len,
        };
        // In one of eight cases the last segment differs from the others: a concatenation of different tensors.
        let (mut lens, mut strides) = ([len; 3], [step; 3]);
        if random.one_in(8)
            && let (Some(len), Some(step)) = (lens.get_mut(count - 1), strides.get_mut(count - 1))
        {
            *len = 4 * (1 + random.below(8));
            *step = *len;
        }
        let lens = lens.get(..count).unwrap_or_default();
        let length = lens.iter().sum::<usize>();
        let (pixels, groups) = random.extent(step.max(32));
        let (channels, planar) = (4 * groups, random.one_in(8) != (count > 1));
        let steps = if planar {
            (1, pixels + random.below(5))
        } else {
            (channels + 4 * random.below(2), 1)
        };
        let quantization = random.quantization();
        let mut segments = [Segment {
            row: &[],
            step: 0,
            len: 0,
        }; 3];
        for ((segment, &len), step) in segments.iter_mut().zip(lens).zip(strides) {
            let bytes = (pixels - 1) * step + len;
            let at = self.random.start(bytes);
            let row = self.input.0.get(at..at + bytes).unwrap_or_default();
            *segment = Segment { row, step, len };
        }
        let segments = segments.get(..count).unwrap_or_default();
        let start = 4 + self.random.below(8);
        let reach = (pixels - 1) * steps.0 + (channels - 1) * steps.1 + 1;
        // In one of 32 cases the output is one byte too short.
        let short = self.random.one_in(32);
        let reach = reach - usize::from(short);
        let weights = self.random.part(&self.weights.0, 4 * groups * length);
        let records = self.random.part(&self.records.0, channels * 8);
        let scratch = self.scratch.0.get_mut(..scratch_bytes(length));
        let scratch = scratch.unwrap_or_default();
        let [fast, plain] = [&mut self.fast, &mut self.plain].map(|bytes| Output {
            bytes: bytes.get_mut(start..start + reach).unwrap_or_default(),
            pixels,
            pixel_step: steps.0,
            channel_step: steps.1,
        });
        let path = path::dense(Isa::TARGET, segments, &quantization, &fast);
        (set.dense)(segments, weights, records, quantization, scratch, fast);
        let proper = !short && on_word(weights) && segments.iter().all(|s| on_word(s.row));
        let as_said = as_said(proper, path, &mut self.fast_cases);
        reference::dense(segments, weights, records, quantization, scratch, plain);
        self.fast == self.plain && as_said
    }

    fn depthwise(&mut self, set: &Set) -> bool {
        let random = &mut self.random;
        let (pixels, groups) = random.extent(24);
        let channels = 4 * groups;
        let steps = match random.below(4) {
            0 => (1, plane_bytes(pixels)),
            _ => (channels, 1),
        };
        let quantization = random.quantization();
        let bytes = channels * plane_bytes(pixels);
        let rows = [(); 3].map(|()| self.random.start(bytes));
        let rows = rows.map(|at| self.input.0.get(at..at + bytes).unwrap_or_default());
        let weights = self.random.part(&self.weights.0, groups * 36);
        let records = self.random.part(&self.records.0, channels * 8);
        let start = 4 + self.random.below(8);
        let reach = (pixels - 1) * steps.0 + (channels - 1) * steps.1 + 1;
        let [fast, plain] = [&mut self.fast, &mut self.plain].map(|bytes| Output {
            bytes: bytes.get_mut(start..start + reach).unwrap_or_default(),
            pixels,
            pixel_step: steps.0,
            channel_step: steps.1,
        });
        let starts = rows.map(|row| row.as_ptr().addr());
        let path = path::depthwise(Isa::TARGET, starts, &quantization, &fast);
        (set.depthwise)(rows, weights, records, quantization, fast);
        let proper = on_word(records) && rows.iter().all(|row| on_word(row));
        let as_said = as_said(proper, path, &mut self.fast_cases);
        reference::depthwise(rows, weights, records, quantization, plain);
        self.fast == self.plain && as_said
    }

    fn image(&mut self, set: &Set) -> bool {
        let random = &mut self.random;
        let pixels = if random.one_in(2) {
            IMAGE_SIZE
        } else {
            1 + random.below(224)
        };
        let steps = match random.below(4) {
            0 => (8, 1),
            _ => (1, pixels + random.below(5)),
        };
        let codes = [(); 3].map(|()| {
            let mut states = [0; IMAGE_SIZE];
            states.fill_with(|| random.below(3) as u8);
            let mut codes = CodeRow::OUTSIDE;
            if !random.one_in(8) {
                codes.set(&states, random.below(IMAGE_SIZE as u32));
            }
            codes
        });
        let (quantization, aligned) = (random.quantization(), !random.one_in(16));
        // The sum of three terms fits 16 bits.
        let table = self.table.0.get_mut(usize::from(!aligned)..);
        let table = table.unwrap_or_default();
        for term in table.as_chunks_mut::<2>().0 {
            let sum = ((random.next() as i16) >> random.below(12)) / 3;
            *term = sum.to_le_bytes().map(|byte| byte as i8);
        }
        let table: Option<&Table> = table.as_chunks().0.as_chunks().0.first_chunk();
        let Some(table) = table else { return false };
        let (bias, multipliers) = record4(&self.records.0);
        let reach = (pixels - 1) * steps.0 + 3 * steps.1 + 1;
        let [fast, plain] = [&mut self.fast, &mut self.plain].map(|bytes| Output {
            bytes: bytes.get_mut(4..4 + reach).unwrap_or_default(),
            pixels,
            pixel_step: steps.0,
            channel_step: steps.1,
        });
        let [a, b, c] = &codes;
        let path = path::image(Isa::TARGET, &quantization, &fast);
        let (mut fast, mut plain) = (fast, plain);
        (set.image4)([a, b, c], table, bias, multipliers, quantization, &mut fast);
        let as_said = as_said(aligned, path, &mut self.fast_cases);
        reference::image4(
            [a, b, c],
            table,
            bias,
            multipliers,
            quantization,
            &mut plain,
        );
        self.fast == self.plain && as_said
    }

    /// The maximum pool, which is not part of a set.
    fn pool(&mut self) -> bool {
        let channels = [8, 16, 4, 32][self.random.below(4)];
        let bytes = channels * (1 + self.random.below(20));
        let rows = [(); 2].map(|()| self.random.start(2 * bytes));
        let [top, bottom] = rows.map(|at| self.input.0.get(at..at + 2 * bytes).unwrap_or_default());
        let start = 4 * self.random.below(4);
        let fast = self.fast.get_mut(start..start + bytes).unwrap_or_default();
        pool::max_row([top, bottom], channels, fast);
        let pixels = self.plain.get_mut(start..start + bytes).unwrap_or_default();
        let inputs = top
            .chunks_exact(2 * channels)
            .zip(bottom.chunks_exact(2 * channels));
        for (pixel, (top, bottom)) in pixels.chunks_exact_mut(channels).zip(inputs) {
            for (channel, value) in pixel.iter_mut().enumerate() {
                let four = [top, bottom].map(|row| {
                    let of = |at: usize| row.get(at).copied().unwrap_or(i8::MIN);
                    of(channel).max(of(channels + channel))
                });
                *value = four[0].max(four[1]);
            }
        }
        self.fast == self.plain
    }

    fn words(&mut self, set: &Set) -> bool {
        let eights = self.input.0.as_chunks::<8>().0;
        let Some(weights) = eights.first() else {
            return false;
        };
        let pixels = eights.as_chunks::<8>().0;
        let bias = (self.random.next() as i32) >> (4 + self.random.below(24));
        let [mut fast, mut plain] = [[85; MASK_ROW_BYTES]; 2];
        let path = path::mask(Isa::TARGET, weights.len(), pixels.len().min(fast.len()));
        (set.mask_row)(pixels, weights, bias, &mut fast);
        let as_said = as_said(true, path, &mut self.fast_cases);
        reference::mask_row(pixels, weights, bias, &mut plain);
        let mut fours = self.input.0.as_chunks::<4>().0.windows(2);
        let larger = fours.all(|pair| match *pair {
            [a, b] => (set.max4)(a, b) == max4::reference(a, b),
            _ => false,
        });
        fast == plain && as_said && larger && self.pool()
    }
}

/// Whether the last row was computed as `path` says. Hosts do not know, and return false.
fn taken(path: KernelPath) -> bool {
    #[cfg(all(arm_dsp, feature = "differential"))]
    let taken = super::arch::taken::last(path);
    #[cfg(not(all(arm_dsp, feature = "differential")))]
    let taken = {
        let _ = path;
        false
    };
    taken
}

/// Whether the last row was computed as `path` says. True if that is not known, and if the slices were not `proper`: too
/// short, or not aligned. Adds to `fast` if a fast kernel computed the row.
fn as_said(proper: bool, path: KernelPath, fast: &mut u32) -> bool {
    *fast += u32::from(taken(KernelPath::Fast));
    !proper || Isa::TARGET == Isa::Portable || taken(path)
}

fn on_word<T>(slice: &[T]) -> bool {
    slice.as_ptr().addr().is_multiple_of(4)
}

/// Runs one case. Returns whether the kernels agree.
type Case = fn(&mut Differential, &Set) -> bool;

#[cfg(test)]
mod tests {
    use super::*;

    fn check(name: &str, set: &Set) {
        for outcome in Differential::new().compare(set, 5000) {
            assert_eq!(outcome.differ, 0, "{name}: {outcome:x?}");
        }
    }

    #[test]
    fn what_inference_uses_agrees_with_the_reference_kernels() {
        check("chosen", &CHOSEN);
    }

    #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
    #[test]
    fn every_set_that_runs_here_agrees_with_the_reference_kernels() {
        #[cfg(target_arch = "aarch64")]
        use crate::kernels::arch::neon as sets;
        #[cfg(target_arch = "x86_64")]
        use crate::kernels::arch::x86 as sets;
        for (name, set) in sets::sets() {
            check(name, &set);
        }
    }
}
