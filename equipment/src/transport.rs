//! The transport of bytes to and from a board: a serial port, or a replacement in tests.

use std::io::{self, Read, Write};
use std::time::Duration;

use serialport::{ClearBuffer, DataBits, FlowControl, Parity, SerialPort, StopBits};

/// A line to one board.
pub trait Transport {
    /// Waits at most `timeout` for bytes. Returns how many were read, 0 if none came.
    ///
    /// # Errors
    /// Every error except `Interrupted` means that the line is lost.
    fn read(&mut self, buffer: &mut [u8], timeout: Duration) -> io::Result<usize>;

    /// Sends all bytes.
    ///
    /// # Errors
    /// Every error means that the line is lost.
    fn write(&mut self, bytes: &[u8]) -> io::Result<()>;

    /// Drops bytes that were written but not sent yet. Called after a timeout, so that buffers do not fill up if the
    /// line accepts no bytes.
    fn discard_output(&mut self) {}

    /// Opens the line again after it was lost.
    ///
    /// # Errors
    /// `Unsupported` if this line cannot be opened again. Any other error may pass with time.
    fn reopen(&mut self) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// The name of the line in errors, such as the name of the port.
    fn name(&self) -> &str {
        "the line"
    }
}

impl<T: Transport + ?Sized> Transport for Box<T> {
    fn read(&mut self, buffer: &mut [u8], timeout: Duration) -> io::Result<usize> {
        (**self).read(buffer, timeout)
    }
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        (**self).write(bytes)
    }
    fn discard_output(&mut self) {
        (**self).discard_output();
    }
    fn reopen(&mut self) -> io::Result<()> {
        (**self).reopen()
    }
    fn name(&self) -> &str {
        (**self).name()
    }
}

/// A serial port (or pseudo-terminal): 8 data bits, no parity, 1 stop bit, no flow control.
pub struct SerialLine {
    path: String,
    baud: u32,
    port: Option<Box<dyn SerialPort>>,
}

impl SerialLine {
    /// Opens a port by its name: `/dev/ttyACM0`, `/dev/pts/3`, `COM4`.
    ///
    /// # Errors
    /// The port does not exist, is in use, or may not be opened.
    pub fn open(path: &str, baud: u32) -> io::Result<Self> {
        let mut line = Self {
            path: path.into(),
            baud,
            port: None,
        };
        line.reopen()?;
        Ok(line)
    }

    fn port(&mut self) -> io::Result<&mut Box<dyn SerialPort>> {
        self.port
            .as_mut()
            .ok_or_else(|| io::ErrorKind::NotConnected.into())
    }
}

impl Transport for SerialLine {
    fn read(&mut self, buffer: &mut [u8], timeout: Duration) -> io::Result<usize> {
        let port = self.port()?;
        port.set_timeout(timeout)?;
        match port.read(buffer) {
            Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
            Err(error) if error.kind() == io::ErrorKind::TimedOut => Ok(0),
            other => other,
        }
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let port = self.port()?;
        port.set_timeout(Duration::from_secs(5))?;
        port.write_all(bytes)
    }

    fn discard_output(&mut self) {
        if let Some(port) = &self.port {
            // A port that cannot do this keeps its bytes, which does no harm.
            let _ = port.clear(ClearBuffer::Output);
        }
    }

    fn reopen(&mut self) -> io::Result<()> {
        // Close it first, because the port is opened exclusively.
        self.port = None;
        let port = serialport::new(&self.path, self.baud)
            .data_bits(DataBits::Eight)
            .parity(Parity::None)
            .stop_bits(StopBits::One)
            .flow_control(FlowControl::None)
            .open()?;
        self.port = Some(port);
        Ok(())
    }

    fn name(&self) -> &str {
        &self.path
    }
}
