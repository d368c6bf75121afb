//! A serial line with a buffer in either direction: a UART's interrupts fill and empty them, the
//! program reads and writes them through `embedded-io` and sleeps while it waits.
//!
//! The UART's driver keeps the [`InterruptSide`]; the program gets the [`SerialPort`]. When bytes come
//! faster than they are read, the bytes from there on are dropped until the program has read what
//! came before; its next read then gives [`Overrun`], at the very place where bytes are missing.

use core::cell::RefCell;
use core::fmt;
use core::sync::atomic::{AtomicBool, Ordering};

use cortex_m::interrupt::Mutex;
use cortex_m::{asm, interrupt};
use embedded_io::{ErrorKind, ErrorType, Read, ReadReady, Write, WriteReady};
use heapless::spsc::Queue;

/// Bytes that wait to be read: three frames of the protocol, so that a host may repeat a request while
/// an inference runs.
const RECEIVE: usize = 2048;
/// Bytes that wait to be sent.
const SEND: usize = 512;

/// A queue that both sides use with interrupts held back. Not split into its two ends: those no longer
/// know their capacity, and a remainder by it would be a panic that the compiler cannot rule out.
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

/// The buffers of a line. Belongs into a `static`.
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

    /// The two sides of a line. `lost` carries the news of lost bytes from one to the other, and
    /// `pump` makes the UART's interrupt come to fetch what is to be sent.
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

/// The UART's side of a line.
pub struct InterruptSide {
    buffers: &'static Buffers,
    lost: &'static AtomicBool,
}

impl InterruptSide {
    /// Takes a byte that came.
    pub fn received(&self, byte: u8) {
        if !self.lost.load(Ordering::Acquire) && !self.buffers.receive.put(byte) {
            self.lost();
        }
    }

    /// The UART lost bytes.
    pub fn lost(&self) {
        self.lost.store(true, Ordering::Release);
    }

    /// The next byte to send.
    pub fn to_send(&self) -> Option<u8> {
        self.buffers.send.take()
    }
}

/// The program's side of a line.
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

/// Bytes came faster than they were read; what was lost lies between the reads before and after.
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

/// Sleeps, woken by each interrupt, until something is so.
pub(crate) fn sleep_until(mut is_so: impl FnMut() -> bool) {
    // With interrupts held back, none can come between the question and the sleep; one that pends
    // ends the sleep all the same and is served right after.
    while !interrupt::free(|_| {
        let done = is_so();
        if !done {
            asm::wfi();
        }
        done
    }) {}
}
