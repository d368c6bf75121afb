//! The kernels' DSP code against its portable twins: random shapes, extreme values, odd alignments.
//!
//! Answers with one line of text on UART 0: how many cases of which kernel were compared and how many
//! differed. The whole output buffer is compared, so that a byte written beside the output is found too.
#![no_std]
#![no_main]

use core::fmt::Write as _;

use cortex_m_rt::entry;
use embedded_io::Write;
use lightwafer_board::{Aligned, mps2, reset};
use lightwafer_runtime::kernels::arch::{self, portable};
use lightwafer_runtime::kernels::dense::{Segment, scratch_bytes};
use lightwafer_runtime::kernels::depthwise::plane_bytes;
use lightwafer_runtime::kernels::image_conv::{CODES, CodeRow, Table};
use lightwafer_runtime::kernels::{Output, Quantization, record};
use lightwafer_runtime::wafer::IMAGE_SIZE;

/// Cases of each kernel.
const CASES: u32 = 3000;
/// Bytes of the input, which are more than any case reads, and of the outputs.
const BYTES: usize = 6144;

/// What a case works on.
struct Bench {
    random: Random,
    input: [i8; BYTES],
    weights: [u8; BYTES],
    records: [u8; 256],
    scratch: Aligned<[i8; BYTES]>,
    fast: [i8; BYTES],
    plain: [i8; BYTES],
    table: Aligned<[i8; 3 * CODES * 8 + 8]>,
}

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

    /// Any value, the extreme ones often.
    fn byte(&mut self) -> u8 {
        match self.below(4) {
            0 => 0x80,
            1 => 0x7f,
            _ => self.next() as u8,
        }
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

impl Bench {
    /// New input, weights and records; multipliers mostly such that outputs are not all saturated.
    fn refill(&mut self) {
        let random = &mut self.random;
        self.input.fill_with(|| random.byte() as i8);
        self.weights.fill_with(|| random.byte());
        for record in self.records.as_chunks_mut::<8>().0 {
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

    /// A run of the input, word-aligned but for one in sixteen.
    fn run(&mut self, len: usize) -> usize {
        let at = self.random.below((BYTES - len - 4) as u32) & !3;
        if self.random.one_in(16) { at + 1 } else { at }
    }

    fn dense(&mut self) -> bool {
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
        let (pixels, groups) = (1 + random.below(12), 1 + random.below(4));
        let (channels, planar) = (4 * groups, random.one_in(8) != (count > 1));
        let steps = if planar {
            (1, pixels + random.below(5))
        } else {
            (channels + 4 * random.below(2), 1)
        };
        let quantization = random.quantization();
        let bytes = (pixels - 1) * step + len;
        let runs = [(); 3].map(|()| self.run(bytes));
        let segments = runs.map(|at| Segment {
            row: self.input.get(at..at + bytes).unwrap_or_default(),
            step,
            len,
        });
        let segments = segments.get(..count).unwrap_or_default();
        let start = 4 + self.random.below(8);
        let reach = (pixels - 1) * steps.0 + (channels - 1) * steps.1 + 1;
        // Too short by one now and then: the rest is written all the same.
        let reach = reach - usize::from(self.random.one_in(32));
        let weights = self
            .weights
            .get(..4 * groups * count * len)
            .unwrap_or_default();
        let records = self.records.get(..channels * 8).unwrap_or_default();
        let scratch = self.scratch.0.get_mut(..scratch_bytes(count * len));
        let scratch = scratch.unwrap_or_default();
        let [fast, plain] = [&mut self.fast, &mut self.plain].map(|bytes| Output {
            bytes: bytes.get_mut(start..start + reach).unwrap_or_default(),
            pixels,
            pixel_step: steps.0,
            channel_step: steps.1,
        });
        arch::dense(segments, weights, records, quantization, scratch, fast);
        portable::dense(segments, weights, records, quantization, scratch, plain);
        self.fast == self.plain
    }

    fn depthwise(&mut self) -> bool {
        let random = &mut self.random;
        let (pixels, groups) = (1 + random.below(40), 1 + random.below(4));
        let channels = 4 * groups;
        let steps = match random.below(4) {
            0 => (1, plane_bytes(pixels)),
            _ => (channels, 1),
        };
        let quantization = random.quantization();
        let bytes = channels * plane_bytes(pixels);
        let rows = [(); 3].map(|()| self.run(bytes));
        let rows = rows.map(|at| self.input.get(at..at + bytes).unwrap_or_default());
        let weights = self.weights.get(..groups * 36).unwrap_or_default();
        let records = self.records.get(..channels * 8).unwrap_or_default();
        let start = 4 + self.random.below(8);
        let reach = (pixels - 1) * steps.0 + (channels - 1) * steps.1 + 1;
        let [fast, plain] = [&mut self.fast, &mut self.plain].map(|bytes| Output {
            bytes: bytes.get_mut(start..start + reach).unwrap_or_default(),
            pixels,
            pixel_step: steps.0,
            channel_step: steps.1,
        });
        arch::depthwise(rows, weights, records, quantization, fast);
        portable::depthwise(rows, weights, records, quantization, plain);
        self.fast == self.plain
    }

    fn image(&mut self) -> bool {
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
                codes.set(&states);
            }
            codes
        });
        let (quantization, aligned) = (random.quantization(), !random.one_in(16));
        // The sum of three terms fits a halfword.
        for term in self.table.0.as_chunks_mut::<2>().0 {
            let sum = ((random.next() as i16) >> random.below(12)) / 3;
            *term = sum.to_le_bytes().map(|byte| byte as i8);
        }
        let table = self
            .table
            .0
            .get(usize::from(!aligned)..)
            .unwrap_or_default();
        let table: Option<&Table> = table.as_chunks().0.as_chunks().0.first_chunk();
        let Some(table) = table else { return false };
        let (bias, multipliers) = record4(&self.records);
        let reach = (pixels - 1) * steps.0 + 3 * steps.1 + 1;
        let [fast, plain] = [&mut self.fast, &mut self.plain].map(|bytes| Output {
            bytes: bytes.get_mut(4..4 + reach).unwrap_or_default(),
            pixels,
            pixel_step: steps.0,
            channel_step: steps.1,
        });
        let [a, b, c] = &codes;
        for (image4, mut out) in [(arch::image4 as Image4, fast), (portable::image4, plain)] {
            image4([a, b, c], table, bias, multipliers, quantization, &mut out);
        }
        self.fast == self.plain
    }

    fn words(&mut self) -> bool {
        let eights = self.input.as_chunks::<8>().0;
        let (Some(weights), Some(pixels)) = (eights.first(), eights.as_chunks::<8>().0.last())
        else {
            return false;
        };
        let bias = (self.random.next() as i32) >> (4 + self.random.below(24));
        let masks = arch::mask8(pixels, weights, bias) == portable::mask8(pixels, weights, bias);
        let mut fours = self.input.as_chunks::<4>().0.windows(2);
        let larger = fours.all(|pair| match *pair {
            [a, b] => arch::max4(a, b) == portable::max4(a, b),
            _ => false,
        });
        masks && larger
    }
}

/// Runs a case and tells whether the twins agree.
type Case = fn(&mut Bench) -> bool;
type Image4 = fn([&CodeRow; 3], &Table, [i32; 4], [i32; 4], Quantization, &mut Output<'_>);

/// The biases and multipliers of the first four records.
fn record4(records: &[u8]) -> ([i32; 4], [i32; 4]) {
    let records = [0, 1, 2, 3].map(|at| record(records, at));
    (records.map(|r| r.0), records.map(|r| r.1))
}

#[entry]
fn main() -> ! {
    static mut BENCH: Bench = Bench {
        random: Random(0x9e37_79b9),
        input: [0; BYTES],
        weights: [0; BYTES],
        records: [0; 256],
        scratch: Aligned([0; BYTES]),
        fast: [0; BYTES],
        plain: [0; BYTES],
        table: Aligned([0; 3 * CODES * 8 + 8]),
    };
    let Some(mut peripherals) = mps2::Peripherals::take() else {
        reset::restart()
    };
    let kernels: [(&str, Case); 4] = [
        ("dense", Bench::dense),
        ("depthwise", Bench::depthwise),
        ("image", Bench::image),
        ("words", Bench::words),
    ];
    let mut text = heapless::String::<160>::new();
    for (name, kernel) in kernels {
        let (mut differ, mut first) = (0, 0);
        for _ in 0..CASES {
            let seed = BENCH.random.0;
            BENCH.refill();
            if !kernel(BENCH) {
                first = if differ == 0 { seed } else { first };
                differ += 1;
            }
        }
        let _ = write!(text, "{name} {CASES} cases {differ} differ");
        if differ > 0 {
            let _ = write!(text, " from {first:#x}");
        }
        let _ = text.push_str("; ");
    }
    let _ = text.push('\n');
    let _ = peripherals.line.write_all(text.as_bytes());
    let _ = peripherals.line.flush();
    loop {
        cortex_m::asm::wfi();
    }
}
