//! The nRF52840's peripherals as this board uses them.

use core::sync::atomic::AtomicBool;

use cortex_m::singleton;
use embassy_executor::InterruptExecutor;
use embassy_nrf::buffered_uarte::{self, BufferedUarte};
use embassy_nrf::config::{Config, LfclkSource};
use embassy_nrf::gpio::{Input, Level, Output, OutputDrive, Pin, Pull};
use embassy_nrf::interrupt::{InterruptExt, Priority};
use embassy_nrf::nvmc::Nvmc;
use embassy_nrf::wdt::{self, HaltConfig, WatchdogHandle};
use embassy_nrf::{Peri, bind_interrupts, interrupt, pac, peripherals, uarte};
use embassy_time::{Instant, Timer};
use lightwafer_board::clock::Clock;
use lightwafer_board::serial::{Buffers, InterruptSide, SerialPort};
use lightwafer_board::signals::{Edge, Outputs};
use lightwafer_board::watchdog::Watchdog;
use lightwafer_board::{pump, stack};
use lightwafer_device::protocol::message::ResetCause;

/// Ticks of the watchdog's 32,768 Hz: 16 s. An inference takes about two, erasing a slot three.
const WATCHDOG_TICKS: u32 = 16 * 32_768;

bind_interrupts!(struct Interrupts {
    UARTE0 => buffered_uarte::InterruptHandler<peripherals::UARTE0>;
});

static TRIGGER: Edge = Edge::new();

/// Runs the tasks below whenever there is something to do, also while the program computes.
static EXECUTOR: InterruptExecutor = InterruptExecutor::new();

#[interrupt]
#[allow(unsafe_code)]
fn EGU1_SWI1() {
    // SAFETY: this is the executor's interrupt, unmasked by its start.
    unsafe { EXECUTOR.on_interrupt() }
}

/// The peripherals, ready to use.
pub struct Hardware {
    /// UARTE 0, which the debugger shows as a serial port.
    pub serial: SerialPort,
    /// RTC 1: SysTick stands still while the core sleeps.
    pub clock: Clock,
    /// READY, BUSY, REJECT: P1.01, P1.02, P1.03.
    pub outputs: Outputs<Output<'static>, Output<'static>, Output<'static>>,
    /// P1.04, held low where nothing drives it.
    pub trigger: &'static Edge,
    /// The flash that the firmware lies in too.
    pub flash: Nvmc<'static>,
    /// The watchdog, running.
    pub watchdog: Dog,
    /// Why the board started.
    pub cause: Option<ResetCause>,
}

impl Hardware {
    /// Starts the peripherals and guards the stack; `None` the second time.
    pub fn take() -> Option<Self> {
        let core = cortex_m::Peripherals::take()?;
        stack::guard(&core.MPU);
        let cause = cause();
        let mut config = Config::default();
        config.lfclk_source = LfclkSource::ExternalXtal;
        config.gpiote_interrupt_priority = Priority::P2;
        config.time_interrupt_priority = Priority::P2;
        let p = embassy_nrf::init(config);
        // Instructions come from flash with waits; the cache hides most of them.
        pac::NVMC.icachecnf().write(|w| w.set_cacheen(true));

        let mut config = wdt::Config::default();
        config.timeout_ticks = WATCHDOG_TICKS;
        config.action_during_debug_halt = HaltConfig::Pause;
        let watchdog = match wdt::Watchdog::try_new(p.WDT, config) {
            Ok((_, [handle])) => handle,
            // It runs already, with another period: a bootloader's. It outlives every reset but its own.
            // SAFETY: handle 0 is the one that every watchdog has, and there is no other of it.
            #[allow(unsafe_code)]
            Err(_) => unsafe { WatchdogHandle::steal::<peripherals::WDT>(0) },
        };

        let uart = BufferedUarte::new(
            p.UARTE0,
            p.TIMER0,
            p.PPI_CH0,
            p.PPI_CH1,
            p.PPI_GROUP0,
            p.P0_08,
            p.P0_06,
            Interrupts,
            // 115,200 baud 8N1.
            uarte::Config::default(),
            singleton!(: [u8; 512] = [0; 512])?,
            singleton!(: [u8; 64] = [0; 64])?,
        );
        static LOST: AtomicBool = AtomicBool::new(false);
        let buffers = singleton!(: Buffers = Buffers::new())?;
        let (serial, side) = buffers.split(&LOST, pump::wake);
        // Below the UART's own interrupt: that one has little time.
        interrupt::EGU1_SWI1.set_priority(Priority::P3);
        let tasks = EXECUTOR.start(interrupt::EGU1_SWI1);
        tasks.spawn(carry(uart, side).ok()?);
        tasks.spawn(tick().ok()?);
        tasks.spawn(trigger(Input::new(p.P1_04, Pull::Down)).ok()?);

        Some(Self {
            serial,
            clock: Clock::of(|| Instant::now().as_micros()),
            outputs: Outputs {
                ready: output(p.P1_01),
                busy: output(p.P1_02),
                reject: output(p.P1_03),
            },
            trigger: &TRIGGER,
            flash: Nvmc::new(p.NVMC),
            watchdog: Dog(watchdog),
            cause,
        })
    }
}

fn output(pin: Peri<'static, impl Pin>) -> Output<'static> {
    Output::new(pin, Level::Low, OutputDrive::Standard)
}

/// Carries the line's bytes.
#[embassy_executor::task]
async fn carry(uart: BufferedUarte<'static>, side: InterruptSide) {
    let (from, to) = uart.split();
    pump::run(from, to, &side).await;
}

/// Wakes the core once a second, so that the watchdog is fed while nothing comes.
#[embassy_executor::task]
async fn tick() {
    loop {
        Timer::after_secs(1).await;
    }
}

/// Keeps TRIGGER's edges.
#[embassy_executor::task]
async fn trigger(pin: Input<'static>) {
    pump::watch(pin, &TRIGGER).await;
}

/// The watchdog.
pub struct Dog(WatchdogHandle);

impl Watchdog for Dog {
    fn feed(&mut self) {
        self.0.pet();
    }
}

/// Why the board started, as RESETREAS says; it adds up until cleared.
fn cause() -> Option<ResetCause> {
    let register = pac::POWER.resetreas();
    let reasons = register.read();
    register.write_value(reasons);
    Some(if reasons.dog() {
        ResetCause::Watchdog
    } else if reasons.lockup() {
        ResetCause::Fault
    } else if reasons.sreq() {
        ResetCause::Software
    } else if reasons.0 != 0 {
        ResetCause::External
    } else {
        ResetCause::PowerOn
    })
}
