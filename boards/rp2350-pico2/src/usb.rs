//! A serial port over USB (CDC-ACM): the line of a board whose debugger has none.

use cortex_m::singleton;
use embassy_futures::join::join;
use embassy_rp::peripherals::USB;
use embassy_rp::usb::{Driver, InterruptHandler};
use embassy_rp::{Peri, bind_interrupts};
use embassy_usb::class::cdc_acm::{CdcAcmClass, CdcAcmError, Receiver, Sender, State};
use embassy_usb::driver::EndpointError;
use embassy_usb::{Builder, Config, UsbDevice};
use embedded_io_async::{ErrorType, Read, Write};
use lightwafer_board::pump;
use lightwafer_board::serial::InterruptSide;

bind_interrupts!(struct Interrupts {
    USBCTRL_IRQ => InterruptHandler<USB>;
});

/// Bytes of a packet: full speed's.
const PACKET: usize = 64;

type Usb = Driver<'static, USB>;

/// The device and its serial port.
struct Port {
    device: UsbDevice<'static, Usb>,
    class: CdcAcmClass<'static, Usb>,
}

/// Makes the device; `None` the second time.
fn start(usb: Peri<'static, USB>) -> Option<Port> {
    // pid.codes' numbers for tests: a product needs its own.
    let mut config = Config::new(0x1209, 0x0001);
    config.manufacturer = Some("LightWafer");
    config.product = Some(env!("CARGO_PKG_NAME"));
    config.max_power = 100;
    let mut builder = Builder::new(
        Driver::new(usb, Interrupts),
        config,
        singleton!(: [u8; 128] = [0; 128])?,
        singleton!(: [u8; 64] = [0; 64])?,
        &mut [],
        singleton!(: [u8; 64] = [0; 64])?,
    );
    let state = singleton!(: State<'static> = State::new())?;
    let class = CdcAcmClass::new(&mut builder, state, PACKET as u16);
    let device = builder.build();
    Some(Port { device, class })
}

/// Answers the host, and carries the line's bytes while it listens.
#[embassy_executor::task]
pub async fn carry(usb: Peri<'static, USB>, side: InterruptSide) {
    // Made here: it must not move between the program and the interrupt.
    let Some(mut port) = start(usb) else {
        return;
    };
    let (to, from) = port.class.split();
    let to = To { to, full: false };
    join(port.device.run(), pump::run(From(from), to, &side)).await;
}

/// From the host.
struct From(Receiver<'static, Usb>);

impl ErrorType for From {
    type Error = CdcAcmError;
}

impl Read for From {
    /// Waits for a host, and for a packet of it. `bytes` has room for one.
    async fn read(&mut self, bytes: &mut [u8]) -> Result<usize, CdcAcmError> {
        loop {
            self.0.wait_connection().await;
            if let Ok(count) = self.0.read_packet(bytes).await {
                return Ok(count);
            }
        }
    }
}

/// To the host.
struct To {
    to: Sender<'static, Usb>,
    /// Whether the last packet was a whole one: more is expected behind it.
    full: bool,
}

impl ErrorType for To {
    type Error = CdcAcmError;
}

impl Write for To {
    async fn write(&mut self, bytes: &[u8]) -> Result<usize, CdcAcmError> {
        let packet = bytes.get(..PACKET).unwrap_or(bytes);
        self.to.write_packet(packet).await.map_err(gone)?;
        self.full = packet.len() == PACKET;
        Ok(packet.len())
    }

    /// Ends the transfer: a host hands a program what came only after a packet that is not full.
    async fn flush(&mut self) -> Result<(), CdcAcmError> {
        if self.full {
            self.full = false;
            self.to.write_packet(&[]).await.map_err(gone)?;
        }
        Ok(())
    }
}

fn gone(_: EndpointError) -> CdcAcmError {
    CdcAcmError::NotConnected
}
