//! A serial port with a buffer in either direction. The UART's interrupts fill and empty the buffers; the
//! program reads and writes them through `embedded-io` and sleeps while it waits.
//!
//! The UART's driver keeps the [`InterruptSide`]; the program gets the [`SerialPort`]. When the receive buffer is full, further
//! bytes are dropped until the program has read everything before them. Its next read then returns [`Overrun`], exactly where
//! bytes are missing.

use core::cell::RefCell;
use core::fmt;
use core::sync::atomic::{AtomicBool, Ordering};

use cortex_m::interrupt::Mutex;
use cortex_m::{asm, interrupt};
use embedded_io::{ErrorKind, ErrorType, Read, ReadReady, Write, WriteReady};
use heapless::spsc::Queue;
use lightwafer_device::protocol::frame::MAX_FRAME;

/// Size of the receive buffer, of which a queue leaves one byte unused: three of the protocol's largest frames, so that a host
/// may repeat a request while an inference runs. `docs/serial-protocol.md` tells it to hosts.
const RECEIVE: usize = 2048;
const _: () = assert!(RECEIVE > 3 * MAX_FRAME && RECEIVE - 1 == 2047);
/// Size of the send buffer.
const SEND: usize = 512;

/// A queue that both sides use with interrupts disabled. It is not split into its two ends: those no longer
/// know their capacity, and a remainder by it could panic as far as the compiler knows.
struct Shared<const N: usize>(Mutex<RefCell<Queue<u8, N>>>);

impl<const N: usize> Shared<N> {
    const fn new() -> Self {
        Self(Mutex::new(RefCell::new(Queue::new())))
    }

    /// Calls `work` with the queue. It is never borrowed already: `work` only moves bytes.
    fn with<R>(&self, work: impl FnOnce(&mut Queue<u8, N>) -> R) -> Option<R> {
        interrupt::free(|section| {
            let mut queue = self.0.borrow(section).try_borrow_mut().ok()?;
            Some(work(&mut queue))
        })
    }

    /// Whether it took the byte.
    fn put(&self, byte: u8) -> bool {
        self.with(|queue| queue.enqueue(byte).is_ok())
            .unwrap_or(false)
    }

    fn take(&self) -> Option<u8> {
        self.with(Queue::dequeue).flatten()
    }

    fn is_empty(&self) -> bool {
        self.with(|queue| queue.is_empty()).unwrap_or(false)
    }

    fn is_full(&self) -> bool {
        self.with(|queue| queue.is_full()).unwrap_or(true)
    }
}

/// The buffers of a serial port, for a `static`.
pub struct Buffers {
    receive: Shared<RECEIVE>,
    send: Shared<SEND>,
}

impl Buffers {
    /// Empty buffers.
    pub const fn new() -> Self {
        Self {
            receive: Shared::new(),
            send: Shared::new(),
        }
    }

    /// The two sides of a port. `lost` is a static of the driver's, `false` at first: it tells one side that the other
    /// lost bytes. The program calls `pump` after each write; it makes the UART's interrupt fetch the bytes to send, for
    /// example by `NVIC::pend`.
    pub fn split(
        &'static mut self,
        lost: &'static AtomicBool,
        pump: fn(),
    ) -> (SerialPort, InterruptSide) {
        let buffers = &*self;
        (
            SerialPort {
                buffers,
                lost,
                pump,
            },
            InterruptSide { buffers, lost },
        )
    }
}

impl Default for Buffers {
    fn default() -> Self {
        Self::new()
    }
}

/// The UART's side of a serial port, for its interrupt handlers, of any priority.
pub struct InterruptSide {
    buffers: &'static Buffers,
    lost: &'static AtomicBool,
}

impl InterruptSide {
    /// Takes a received byte.
    pub fn received(&self, byte: u8) {
        if !self.lost.load(Ordering::Acquire) && !self.buffers.receive.put(byte) {
            self.lost();
        }
    }

    /// To call when the UART lost bytes: an overrun.
    pub fn lost(&self) {
        self.lost.store(true, Ordering::Release);
    }

    /// The next byte to send, which this removes; `None` where there is nothing to send until `pump` is called again.
    pub fn to_send(&self) -> Option<u8> {
        self.buffers.send.take()
    }
}

/// The program's side of a serial port.
pub struct SerialPort {
    buffers: &'static Buffers,
    lost: &'static AtomicBool,
    pump: fn(),
}

impl SerialPort {
    fn has_news(&self) -> bool {
        !self.buffers.receive.is_empty() || self.lost.load(Ordering::Acquire)
    }
}

/// Bytes came faster than they were read. The lost ones lie between the reads before and after.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Overrun;

impl fmt::Display for Overrun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("bytes came faster than they were read, some are lost")
    }
}

impl core::error::Error for Overrun {}

impl embedded_io::Error for Overrun {
    fn kind(&self) -> ErrorKind {
        ErrorKind::OutOfMemory
    }
}

impl ErrorType for SerialPort {
    type Error = Overrun;
}

impl Read for SerialPort {
    /// Waits for at least one byte.
    fn read(&mut self, buf: &mut [u8]) -> Result<usize, Overrun> {
        if buf.is_empty() {
            return Ok(0);
        }
        sleep_until(|| self.has_news());
        let mut count = 0;
        for place in buf.iter_mut() {
            let Some(byte) = self.buffers.receive.take() else {
                break;
            };
            *place = byte;
            count += 1;
        }
        if count == 0 {
            log!(
                warn,
                "serial: bytes lost, they came faster than they were read"
            );
            self.lost.store(false, Ordering::Release);
            return Err(Overrun);
        }
        Ok(count)
    }
}

impl ReadReady for SerialPort {
    fn read_ready(&mut self) -> Result<bool, Overrun> {
        Ok(self.has_news())
    }
}

impl Write for SerialPort {
    /// Waits until at least one byte can be taken.
    fn write(&mut self, buf: &[u8]) -> Result<usize, Overrun> {
        if buf.is_empty() {
            return Ok(0);
        }
        sleep_until(|| !self.buffers.send.is_full());
        let mut count = 0;
        for byte in buf {
            if !self.buffers.send.put(*byte) {
                break;
            }
            count += 1;
        }
        (self.pump)();
        Ok(count)
    }

    /// Waits until the UART has taken every byte.
    fn flush(&mut self) -> Result<(), Overrun> {
        sleep_until(|| self.buffers.send.is_empty());
        Ok(())
    }
}

impl WriteReady for SerialPort {
    fn write_ready(&mut self) -> Result<bool, Overrun> {
        Ok(!self.buffers.send.is_full())
    }
}

/// Sleeps until `is_so` returns true; each interrupt wakes it to ask again.
pub(crate) fn sleep_until(mut is_so: impl FnMut() -> bool) {
    // With interrupts disabled, none can come between the question and the sleep. A pending one
    // still ends the sleep, and is served right after.
    while !interrupt::free(|_| {
        let done = is_so();
        if !done {
            asm::wfi();
        }
        done
    }) {}
}
