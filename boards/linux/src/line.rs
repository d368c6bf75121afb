//! The serial line: a terminal device that may vanish, or a pseudo-terminal of our own.

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serialport::{ClearBuffer, SerialPort, TTYPort};
use signal_hook::consts::{SIGINT, SIGTERM};

/// How often a wait looks whether it is to end.
const TICK: Duration = Duration::from_millis(200);
/// How often a vanished device is looked for.
const RETRY: Duration = Duration::from_secs(1);
/// A host that takes no bytes for this long is not listening; its answer is dropped.
const STUCK: Duration = Duration::from_secs(5);

/// Whether the daemon is to end.
#[derive(Debug, Clone)]
pub struct Stop(Arc<AtomicBool>);

impl Stop {
    /// Set by SIGTERM and SIGINT; the second one ends the process at once.
    ///
    /// # Errors
    /// The system does not let signals be handled.
    pub fn on_signals() -> Result<Self> {
        let flag = Arc::new(AtomicBool::new(false));
        for signal in [SIGTERM, SIGINT] {
            // In this order: the flag is still clear when the first signal comes.
            signal_hook::flag::register_conditional_shutdown(signal, 1, Arc::clone(&flag))
                .and_then(|_| signal_hook::flag::register(signal, Arc::clone(&flag)))
                .context("cannot handle signals")?;
        }
        Ok(Self(flag))
    }

    /// Whether it was set.
    pub fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// A terminal in raw mode. Reads wait for bytes; `ConnectionAborted` means that the daemon is to end.
pub struct Tty {
    name: String,
    baud: u32,
    port: Option<TTYPort>,
    /// The other end of a pseudo-terminal, kept open so that it outlives its clients.
    other_end: Option<TTYPort>,
    stop: Stop,
}

impl Tty {
    /// Opens a device, for this process alone.
    ///
    /// # Errors
    /// It does not exist, is no terminal, is in use, or may not be opened.
    pub fn open(device: &str, baud: u32, stop: Stop) -> Result<Self> {
        let port = open(device, baud).with_context(|| {
            format!("cannot open {device}; does it exist, and is this user in its group (dialout)?")
        })?;
        Ok(Self {
            name: device.to_owned(),
            baud,
            port: Some(port),
            other_end: None,
            stop,
        })
    }

    /// Makes a pseudo-terminal and prints the path of its other end.
    ///
    /// # Errors
    /// The system has none left, or stdout is closed.
    pub fn pseudo(stop: Stop) -> Result<Self> {
        let (port, other_end) = TTYPort::pair().context("cannot make a pseudo-terminal")?;
        let name = other_end
            .name()
            .context("the pseudo-terminal has no name")?;
        let mut out = io::stdout();
        writeln!(out, "{name}")
            .and_then(|()| out.flush())
            .context("cannot print the pseudo-terminal's path")?;
        Ok(Self {
            name,
            baud: 0,
            port: Some(port),
            other_end: Some(other_end),
            stop,
        })
    }

    /// What to call it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Opens the device again, trying until it is there. `false` when the daemon is to end.
    pub fn reopen(&mut self) -> bool {
        // Closed first: it is opened exclusively. A pseudo-terminal of our own does not vanish.
        if self.other_end.is_none() {
            self.port = None;
        }
        let mut said = false;
        while !self.stop.is_set() {
            if self.port.is_some() {
                return true;
            }
            match open(&self.name, self.baud) {
                Ok(port) => self.port = Some(port),
                Err(error) => {
                    if !said {
                        log::warn!("{}: {error}; trying until it is back", self.name);
                        said = true;
                    }
                    let end = Instant::now() + RETRY;
                    while Instant::now() < end && !self.stop.is_set() {
                        thread::sleep(TICK);
                    }
                }
            }
        }
        false
    }

    fn port(&mut self) -> io::Result<&mut TTYPort> {
        if self.stop.is_set() {
            return Err(ErrorKind::ConnectionAborted.into());
        }
        self.port
            .as_mut()
            .ok_or_else(|| ErrorKind::NotConnected.into())
    }
}

/// 8 data bits, no parity, 1 stop bit, no flow control are the builder's defaults.
fn open(device: &str, baud: u32) -> serialport::Result<TTYPort> {
    serialport::new(device, baud).timeout(TICK).open_native()
}

impl embedded_io::ErrorType for Tty {
    type Error = io::Error;
}

impl embedded_io::Read for Tty {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.port()?.read(buffer) {
                Err(error)
                    if matches!(error.kind(), ErrorKind::TimedOut | ErrorKind::Interrupted) => {}
                other => return other,
            }
        }
    }
}

impl embedded_io::Write for Tty {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let end = Instant::now() + STUCK;
        loop {
            let port = self.port()?;
            match port.write(bytes) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::TimedOut => {
                    if Instant::now() >= end {
                        // The host asks again when it listens; half an answer is a damaged frame.
                        log::warn!("the host takes no bytes; an answer was dropped");
                        if let Err(error) = port.clear(ClearBuffer::Output) {
                            log::debug!("cannot drop what was written: {error}");
                        }
                        return Ok(bytes.len());
                    }
                }
                other => return other,
            }
        }
    }

    /// Bytes leave by themselves; waiting for that would wait for hosts that have gone.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
