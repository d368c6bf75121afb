//! The RP2350's peripherals as this board uses them.

use core::sync::atomic::AtomicBool;

use cortex_m::singleton;
use embassy_executor::InterruptExecutor;
use embassy_rp::clocks::clk_sys_freq;
use embassy_rp::config::Config;
use embassy_rp::flash::Blocking;
use embassy_rp::gpio::{Input, Level, Output, Pin, Pull};
use embassy_rp::interrupt::{InterruptExt, Priority};
use embassy_rp::watchdog::{ResetReason, Watchdog};
use embassy_rp::{Peri, interrupt, peripherals};
use embassy_time::Duration;
use lightwafer_board::clock::Clock;
use lightwafer_board::serial::{Buffers, SerialPort};
use lightwafer_board::signals::{Edge, Outputs};
use lightwafer_board::{pump, stack, watchdog};
use lightwafer_device::protocol::message::ResetCause;

use crate::usb;

/// Where the processor reads the flash's first byte.
pub const FLASH: u32 = 0x1000_0000;

/// The Pico 2's flash. Interrupts wait while a sector of it is erased, since their handlers lie in it.
pub type Flash = embassy_rp::flash::Flash<'static, peripherals::FLASH, Blocking, { 4 << 20 }>;

/// The longest there is, 16.7 s, less a little. An inference takes about one, erasing a slot two.
const PERIOD: Duration = Duration::from_secs(16);

static TRIGGER: Edge = Edge::new();

/// Runs the USB device and [`trigger`] whenever there is something to do, also while the program computes.
static EXECUTOR: InterruptExecutor = InterruptExecutor::new();

#[interrupt]
#[allow(unsafe_code)]
fn SWI_IRQ_0() {
    // SAFETY: this is the executor's interrupt, unmasked by its start.
    unsafe { EXECUTOR.on_interrupt() }
}

/// The peripherals, ready to use.
pub struct Hardware {
    /// A serial port over USB.
    pub serial: SerialPort,
    /// SysTick.
    pub clock: Clock,
    /// READY, BUSY, REJECT: GP2, GP3, GP4.
    pub outputs: Outputs<Output<'static>, Output<'static>, Output<'static>>,
    /// GP5, held low where nothing drives it.
    pub trigger: &'static Edge,
    /// The flash that the firmware lies in too.
    pub flash: Flash,
    /// The watchdog, running.
    pub watchdog: Dog,
    /// Why the board started, where the hardware knows.
    pub cause: Option<ResetCause>,
}

impl Hardware {
    /// Starts the peripherals and guards the stack; `None` the second time.
    pub fn take() -> Option<Self> {
        let core = cortex_m::Peripherals::take()?;
        stack::guard(&core.MPU);
        // The crystal of 12 MHz, 150 MHz for the cores.
        let p = embassy_rp::init(Config::default());

        let mut watchdog = Watchdog::new(p.WATCHDOG);
        // Any other reset clears the watchdog's reason. What the chip notes of those says nothing of the last one:
        // the note in RAM does.
        let timed_out = watchdog.reset_reason() == Some(ResetReason::TimedOut);
        watchdog.pause_on_debug(true);
        watchdog.start(PERIOD);

        static LOST: AtomicBool = AtomicBool::new(false);
        let buffers = singleton!(: Buffers = Buffers::new())?;
        let (serial, side) = buffers.split(&LOST, pump::wake);
        // Below USB's own interrupt.
        interrupt::SWI_IRQ_0.set_priority(Priority::P3);
        let tasks = EXECUTOR.start(interrupt::SWI_IRQ_0);
        tasks.spawn(usb::carry(p.USB, side).ok()?);
        tasks.spawn(trigger(Input::new(p.PIN_5, Pull::Down)).ok()?);

        Some(Self {
            serial,
            clock: Clock::start(core.SYST, clk_sys_freq(), None),
            outputs: Outputs {
                ready: output(p.PIN_2),
                busy: output(p.PIN_3),
                reject: output(p.PIN_4),
            },
            trigger: &TRIGGER,
            flash: Flash::new_blocking(p.FLASH),
            watchdog: Dog(watchdog),
            cause: timed_out.then_some(ResetCause::Watchdog),
        })
    }
}

fn output(pin: Peri<'static, impl Pin>) -> Output<'static> {
    Output::new(pin, Level::Low)
}

/// Keeps TRIGGER's edges.
#[embassy_executor::task]
async fn trigger(pin: Input<'static>) {
    pump::watch(pin, &TRIGGER).await;
}

/// The watchdog.
pub struct Dog(Watchdog);

impl watchdog::Watchdog for Dog {
    fn feed(&mut self) {
        self.0.feed(PERIOD);
    }
}
