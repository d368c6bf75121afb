//! A board's clock, in 64 bits: SysTick, which also counts instructions on emulators, or
//! another counter where SysTick stands still while the core sleeps.
//!
//! SysTick has 24 bits; its interrupt counts the overflows. An emulator that advances its
//! clock by a fixed time per instruction (QEMU's `-icount`) makes the same ticks count instructions.
//! The firmware measures at start whether it does; if not, the number of instructions is not known.

use core::arch::asm;
use core::num::{NonZeroU32, NonZeroU64};
use core::sync::atomic::{AtomicU32, Ordering};

use cortex_m::interrupt;
use cortex_m::peripheral::syst::SystClkSource;
use cortex_m::peripheral::{SCB, SYST};
use cortex_m_rt::exception;

/// Ticks between two overflows of SysTick.
const PERIOD: u32 = 1 << 24;

/// How often SysTick overflowed.
static TURNS: AtomicU32 = AtomicU32::new(0);

#[exception]
fn SysTick() {
    TURNS.fetch_add(1, Ordering::Relaxed);
}

/// How an emulator's clock follows instructions: `ticks` ticks pass in `instructions` instructions.
#[derive(Debug, Clone, Copy)]
pub struct InstructionRate {
    /// Ticks…
    pub ticks: NonZeroU32,
    /// …per this many instructions.
    pub instructions: NonZeroU32,
}

impl InstructionRate {
    /// `None` when either is 0.
    pub const fn new(ticks: u32, instructions: u32) -> Option<Self> {
        match (NonZeroU32::new(ticks), NonZeroU32::new(instructions)) {
            (Some(ticks), Some(instructions)) => Some(Self {
                ticks,
                instructions,
            }),
            _ => None,
        }
    }

    /// Of a core under QEMU's `-icount shift=…`, which takes 2^`shift` ns for every instruction.
    pub const fn under_icount(core_hz: u32, shift: u8) -> Option<Self> {
        if shift > 16 {
            return None;
        }
        let (ticks, instructions) = ((core_hz as u64) << shift, 1_000_000_000);
        // The fraction in lowest terms: Euclid's algorithm.
        let (mut divisor, mut rest) = (ticks, instructions);
        while rest > 0 {
            (divisor, rest) = (rest, divisor % rest);
        }
        let (ticks, instructions) = (ticks / divisor, instructions / divisor);
        if ticks > u32::MAX as u64 {
            return None;
        }
        Self::new(ticks as u32, instructions as u32)
    }
}

/// Time since start.
#[derive(Debug)]
pub struct Clock(Source);

#[derive(Debug)]
enum Source {
    SysTick {
        ticks_per_us: NonZeroU32,
        rate: Option<InstructionRate>,
    },
    Counter(fn() -> u64),
}

impl Clock {
    /// Starts SysTick at the core's clock, `core_hz`, of which whole MHz count. In an emulator that is the clock that it gives
    /// the machine, whatever the firmware sets. It counts instructions by `rate` if the ticks are found to follow it.
    pub fn start(mut syst: SYST, core_hz: u32, rate: Option<InstructionRate>) -> Self {
        syst.set_clock_source(SystClkSource::Core);
        syst.set_reload(PERIOD - 1);
        syst.clear_current();
        syst.enable_counter();
        syst.enable_interrupt();
        Self(Source::SysTick {
            ticks_per_us: NonZeroU32::new(core_hz / 1_000_000).unwrap_or(NonZeroU32::MIN),
            rate: rate.filter(|rate| follows(*rate)),
        })
    }

    /// A counter of the board's own that returns microseconds since start and never runs backwards. Some interrupt
    /// must wake the board now and then, since it feeds the watchdog when it wakes.
    pub const fn of(microseconds: fn() -> u64) -> Self {
        Self(Source::Counter(microseconds))
    }

    /// Microseconds since start.
    pub fn microseconds(&self) -> u64 {
        match self.0 {
            Source::SysTick { ticks_per_us, .. } => ticks() / NonZeroU64::from(ticks_per_us),
            Source::Counter(microseconds) => microseconds(),
        }
    }

    /// Instructions since start, sleeping counted as if it were work; `None` where ticks don't count
    /// instructions.
    pub fn instructions(&self) -> Option<u64> {
        let Source::SysTick {
            rate: Some(rate), ..
        } = self.0
        else {
            return None;
        };
        let scaled = ticks() * u64::from(rate.instructions.get());
        Some(scaled / NonZeroU64::from(rate.ticks))
    }
}

/// Ticks since start.
fn ticks() -> u64 {
    interrupt::free(|_| {
        let mut turns = TURNS.load(Ordering::Relaxed);
        let mut left = SYST::get_current();
        // It overflowed after interrupts were disabled: read again, so that `left` is from after that.
        if SCB::is_pendst_pending() {
            left = SYST::get_current();
            turns = turns.wrapping_add(1);
        }
        // It pends at 0 and reloads a tick later: 0 is the first tick of a turn, not the last.
        u64::from(turns) * u64::from(PERIOD) + u64::from((PERIOD - left) % PERIOD)
    })
}

/// Whether ticks follow the instructions of a known loop, to 1 %.
fn follows(rate: InstructionRate) -> bool {
    const LOOPS: u32 = 50_000;
    let before = ticks();
    spin(LOOPS);
    let spent = ticks() - before;
    let scaled = u64::from(2 * LOOPS) * u64::from(rate.ticks.get());
    let expected = scaled / NonZeroU64::from(rate.instructions);
    spent.abs_diff(expected) * 100 <= expected
}

/// Executes two instructions, `loops` times.
#[inline(never)]
#[allow(unsafe_code)]
fn spin(loops: u32) {
    // SAFETY: the loop touches nothing but its own register and the flags; it ends for `loops` > 0.
    unsafe {
        asm!("2:", "subs {n}, {n}, #1", "bne 2b", n = inout(reg) loops.max(1) => _, options(nomem, nostack));
    }
}
