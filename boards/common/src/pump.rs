//! Connects a [`SerialPort`](crate::serial::SerialPort) with an asynchronous driver, such as those of embassy's HALs, and TRIGGER with
//! one of their pins.
//!
//! Call [`run`] and [`watch`] in tasks of an executor that an interrupt polls: bytes then come and go while the program
//! computes. [`wake`] is the port's `pump`.

use core::convert::Infallible;

use embassy_futures::join::join;
use embassy_sync::blocking_mutex::raw::CriticalSectionRawMutex;
use embassy_sync::signal::Signal;
use embedded_hal_async::digital::Wait;
use embedded_io_async::{Error, ErrorKind, Read, Write};

use crate::serial::InterruptSide;
use crate::signals::Edge;

/// Bytes that a driver is given, or asked for, at once: a packet of full-speed USB.
const BYTES: usize = 64;

/// Whether there may be something to send.
static TO_SEND: Signal<CriticalSectionRawMutex, ()> = Signal::new();

/// Says that there are bytes to send: the `pump` of [`Buffers::split`](crate::serial::Buffers::split).
pub fn wake() {
    TO_SEND.signal(());
}

/// Carries bytes both ways, for as long as neither direction ends.
///
/// If the driver lost bytes, the port reports an overrun. Framing errors and noise are left to the frames' CRC-32.
pub async fn run<R: Read, W: Write>(from: R, to: W, side: &InterruptSide) -> Infallible {
    join(receive(from, side), send(to, side)).await.0
}

/// Carries bytes from the driver to the port.
async fn receive<R: Read>(mut from: R, side: &InterruptSide) -> Infallible {
    let mut bytes = [0; BYTES];
    loop {
        match from.read(&mut bytes).await {
            Ok(count) => bytes.iter().take(count).for_each(|b| side.received(*b)),
            Err(error) => match error.kind() {
                ErrorKind::InvalidData | ErrorKind::Interrupted => {}
                _ => side.lost(),
            },
        }
    }
}

/// Carries bytes from the port to the driver.
async fn send<W: Write>(mut to: W, side: &InterruptSide) -> Infallible {
    let mut bytes = [0; BYTES];
    loop {
        let mut count = 0;
        for (place, byte) in bytes.iter_mut().zip(core::iter::from_fn(|| side.to_send())) {
            *place = byte;
            count += 1;
        }
        match bytes.get(..count) {
            // What cannot be sent is lost; the host will ask again.
            Some(taken) if count > 0 => _ = write(&mut to, taken).await,
            _ => TO_SEND.wait().await,
        }
    }
}

/// As `write_all`, but it ends when the driver takes nothing.
async fn write<W: Write>(to: &mut W, mut bytes: &[u8]) -> Result<(), W::Error> {
    while !bytes.is_empty() {
        let count = to.write(bytes).await?;
        if count == 0 {
            break;
        }
        bytes = bytes.get(count..).unwrap_or(&[]);
    }
    to.flush().await
}

/// Keeps the rising edges of a pin, until the pin fails.
pub async fn watch<P: Wait>(mut pin: P, edge: &Edge) {
    while pin.wait_for_rising_edge().await.is_ok() {
        edge.rose();
    }
}
