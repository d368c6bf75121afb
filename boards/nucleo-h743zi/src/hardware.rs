//! The STM32H743's peripherals as this board uses them.

use core::sync::atomic::AtomicBool;

use cortex_m::singleton;
use embassy_executor::InterruptExecutor;
use embassy_stm32::exti::{self, ExtiInput};
use embassy_stm32::flash::Flash;
use embassy_stm32::gpio::{Level, Output, Pin, Pull, Speed};
use embassy_stm32::interrupt::{InterruptExt, Priority};
use embassy_stm32::mode::Async;
use embassy_stm32::usart::{self, BufferedInterruptHandler, BufferedUart};
use embassy_stm32::wdg::IndependentWatchdog;
use embassy_stm32::{Config, Peri, bind_interrupts, interrupt, pac, peripherals, rcc};
use lightwafer_board::clock::Clock;
use lightwafer_board::serial::{Buffers, InterruptSide, SerialPort};
use lightwafer_board::signals::{Edge, Outputs};
use lightwafer_board::watchdog::Watchdog;
use lightwafer_board::{pump, stack};
use lightwafer_device::protocol::message::ResetCause;

use crate::flash::EccFlash;

/// The core's clock.
const CORE_HZ: u32 = 400_000_000;
/// The watchdog's period, by a clock that is off by a few per cent. Erasing a slot takes two to four seconds.
const PERIOD_US: u32 = 16_000_000;

bind_interrupts!(struct Interrupts {
    USART3 => BufferedInterruptHandler<peripherals::USART3>;
    EXTI15_10 => exti::InterruptHandler<interrupt::typelevel::EXTI15_10>;
});

static TRIGGER: Edge = Edge::new();

/// Runs the tasks below whenever there is something to do, also while the program computes.
static EXECUTOR: InterruptExecutor = InterruptExecutor::new();

/// The interrupt of a peripheral that nobody uses.
#[interrupt]
#[allow(unsafe_code)]
fn CEC() {
    // SAFETY: this is the executor's interrupt, unmasked by its start.
    unsafe { EXECUTOR.on_interrupt() }
}

/// The peripherals, ready to use.
pub struct Hardware {
    /// USART 3, which the debugger shows as a serial port.
    pub serial: SerialPort,
    /// SysTick.
    pub clock: Clock,
    /// READY, BUSY, REJECT: PF15, PE13, PF14.
    pub outputs: Outputs<Output<'static>, Output<'static>, Output<'static>>,
    /// PE11, held low where nothing drives it.
    pub trigger: &'static Edge,
    /// Both banks.
    pub flash: EccFlash,
    /// The watchdog, running.
    pub watchdog: Dog,
    /// Why the board started.
    pub cause: Option<ResetCause>,
}

impl Hardware {
    /// Starts the peripherals and guards the stack; `None` the second time.
    pub fn take() -> Option<Self> {
        let mut core = cortex_m::Peripherals::take()?;
        stack::guard(&core.MPU);
        core.SCB.enable_icache();
        core.SCB.enable_dcache(&mut core.CPUID);
        let cause = cause();
        let p = embassy_stm32::init(clocks());

        // A core that a probe has stopped does not feed it.
        pac::DBGMCU.apb4fzr1().modify(|w| w.set_iwdg1(true));
        let mut watchdog = IndependentWatchdog::new(p.IWDG1, PERIOD_US);
        watchdog.unleash();

        // 115,200 baud 8N1.
        let uart = BufferedUart::new(
            p.USART3,
            p.PD9,
            p.PD8,
            singleton!(: [u8; 64] = [0; 64])?,
            singleton!(: [u8; 256] = [0; 256])?,
            Interrupts,
            usart::Config::default(),
        )
        .ok()?;
        static LOST: AtomicBool = AtomicBool::new(false);
        let buffers = singleton!(: Buffers = Buffers::new())?;
        let (serial, side) = buffers.split(&LOST, pump::wake);
        // Below the UART's own interrupt: that one has little time.
        interrupt::CEC.set_priority(Priority::P6);
        let tasks = EXECUTOR.start(interrupt::CEC);
        tasks.spawn(carry(uart, side).ok()?);
        let pin = ExtiInput::new(p.PE11, p.EXTI11, Pull::Down, Interrupts);
        tasks.spawn(trigger(pin).ok()?);

        Some(Self {
            serial,
            clock: Clock::start(core.SYST, CORE_HZ, None),
            outputs: Outputs {
                ready: output(p.PF15),
                busy: output(p.PE13),
                reject: output(p.PF14),
            },
            trigger: &TRIGGER,
            flash: EccFlash::new(Flash::new_blocking(p.FLASH), core.SCB),
            watchdog: Dog(watchdog),
            cause,
        })
    }
}

/// 400 MHz for the core, 200 for memories, 100 for peripherals, from the internal oscillator: the board's crystal is the
/// debugger's, and need not be there.
fn clocks() -> Config {
    let mut config = Config::default();
    config.rcc.hsi = Some(rcc::HSIPrescaler::DIV1);
    config.rcc.pll1 = Some(rcc::Pll {
        source: rcc::PllSource::HSI,
        prediv: rcc::PllPreDiv::DIV4,
        mul: rcc::PllMul::MUL50,
        fracn: None,
        divp: Some(rcc::PllDiv::DIV2),
        divq: None,
        divr: None,
    });
    config.rcc.sys = rcc::Sysclk::PLL1_P;
    config.rcc.ahb_pre = rcc::AHBPrescaler::DIV2;
    config.rcc.apb1_pre = rcc::APBPrescaler::DIV2;
    config.rcc.apb2_pre = rcc::APBPrescaler::DIV2;
    config.rcc.apb3_pre = rcc::APBPrescaler::DIV2;
    config.rcc.apb4_pre = rcc::APBPrescaler::DIV2;
    config.rcc.voltage_scale = rcc::VoltageScale::Scale1;
    config
}

fn output(pin: Peri<'static, impl Pin>) -> Output<'static> {
    Output::new(pin, Level::Low, Speed::Low)
}

/// Carries the line's bytes.
#[embassy_executor::task]
async fn carry(uart: BufferedUart<'static>, side: InterruptSide) {
    let (to, from) = uart.split();
    pump::run(from, to, &side).await;
}

/// Keeps TRIGGER's edges.
#[embassy_executor::task]
async fn trigger(pin: ExtiInput<'static, Async>) {
    pump::watch(pin, &TRIGGER).await;
}

/// The watchdog.
pub struct Dog(IndependentWatchdog<'static, peripherals::IWDG1>);

impl Watchdog for Dog {
    fn feed(&mut self) {
        self.0.pet();
    }
}

/// Why the board started, as RCC_RSR says; it adds up until cleared. Every reset pulls the reset pin too.
fn cause() -> Option<ResetCause> {
    let register = pac::RCC.rsr();
    let reasons = register.read();
    register.modify(|w| w.set_rmvf(true));
    Some(if reasons.porrstf() || reasons.borrstf() {
        ResetCause::PowerOn
    } else if reasons.iwdg1rstf() || reasons.wwdg1rstf() {
        ResetCause::Watchdog
    } else if reasons.sftrstf() {
        ResetCause::Software
    } else {
        ResetCause::External
    })
}
