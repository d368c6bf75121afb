//! Boards emulated by [QEMU](https://www.qemu.org/docs/master/system/arm/mps2.html), with their UART on a
//! pseudo-terminal of this machine.
//!
//! QEMU starts halted. The board runs only after the pseudo-terminal is open, so no byte of its start is lost.
//! `-icount` makes instruction counts repeatable. Dropping an [`Emulator`] ends its QEMU.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use lightwafer_board_list::ICOUNT_SHIFT;
use serde_json::Value;
use thiserror::Error;

use crate::board::{Board, BoardOptions};
use crate::error::BoardError;
use crate::transport::SerialLine;

/// How long to wait until QEMU has started, and for its answers.
const START: Duration = Duration::from_secs(20);
/// Lines of QEMU's output that are kept for errors: this many of the first and of the last ones.
const FIRST_LINES: usize = 8;
const LAST_LINES: usize = 8;

/// What to emulate, and how.
#[derive(Debug, Clone)]
pub struct EmulatorOptions {
    /// QEMU's machine, such as `mps2-an500`.
    pub machine: String,
    /// The firmware's ELF file.
    pub firmware: PathBuf,
    /// The QEMU command.
    pub qemu: OsString,
    /// File for the logs that the firmware writes over semihosting. `None`: they are dropped.
    pub log: Option<PathBuf>,
    /// QEMU's `-icount shift=`: an instruction takes 2^shift ns of the board's time. `None`: the board's time is that of
    /// this machine, and instructions are not counted.
    pub icount_shift: Option<u8>,
    /// A socket on which QEMU waits for a debugger.
    pub debugger: Option<PathBuf>,
}

impl EmulatorOptions {
    /// `qemu-system-arm` (or the command in `LIGHTWAFER_QEMU`), no log, [`ICOUNT_SHIFT`].
    pub fn new(machine: impl Into<String>, firmware: impl Into<PathBuf>) -> Self {
        Self {
            machine: machine.into(),
            firmware: firmware.into(),
            qemu: std::env::var_os("LIGHTWAFER_QEMU").unwrap_or_else(|| "qemu-system-arm".into()),
            log: None,
            icount_shift: Some(ICOUNT_SHIFT),
            debugger: None,
        }
    }
}

/// Why an emulated board did not start.
#[derive(Debug, Error)]
pub enum EmulatorError {
    /// QEMU is not installed.
    #[error(
        "`{0}` is not installed; install it (Debian and Ubuntu: `sudo apt-get install \
         qemu-system-arm`) or name it in LIGHTWAFER_QEMU"
    )]
    NoQemu(String),
    /// The firmware file is missing.
    #[error("no firmware at {}; build it with `cargo xtask firmware`", .0.display())]
    NoFirmware(PathBuf),
    /// QEMU could not be started, or its control connection failed.
    #[error("cannot run QEMU: {0}")]
    Io(io::Error),
    /// QEMU ended, or did not execute a command.
    #[error("QEMU {what}{}", tail(.output))]
    Qemu {
        /// The failure.
        what: String,
        /// The first and the last lines it wrote.
        output: String,
    },
    /// The board does not answer.
    #[error("the emulated board: {reason}{}", tail(.output))]
    Board {
        /// The reason.
        reason: BoardError,
        /// The first and the last lines QEMU wrote.
        output: String,
    },
}

fn tail(output: &str) -> String {
    if output.is_empty() {
        String::new()
    } else {
        format!("; QEMU wrote:\n{output}")
    }
}

/// A running QEMU; dropping it ends it.
#[derive(Debug)]
pub struct Emulator {
    child: Child,
    stdin: ChildStdin,
    /// QMP messages.
    messages: Receiver<Value>,
    output: Arc<Mutex<VecDeque<String>>>,
    port: String,
}

impl Emulator {
    /// Starts an emulated board and sends Hello to it.
    ///
    /// # Errors
    /// [`EmulatorError`]; each one says what to do.
    pub fn boot(
        options: &EmulatorOptions,
        mut board: BoardOptions,
    ) -> Result<(Self, Board<SerialLine>), EmulatorError> {
        let mut emulator = Self::start(options)?;
        let line = emulator.line()?;
        emulator.resume()?;
        // If QEMU has ended, its port does not come back.
        board.reconnect_timeout = Duration::from_millis(500);
        match Board::over_with(line, board) {
            Ok(board) => Ok((emulator, board)),
            Err(reason) => Err(EmulatorError::Board {
                reason,
                output: emulator.output(),
            }),
        }
    }

    /// Starts QEMU with the board halted before its first instruction.
    ///
    /// # Errors
    /// [`EmulatorError`]; each one says what to do.
    pub fn start(options: &EmulatorOptions) -> Result<Self, EmulatorError> {
        if !options.firmware.is_file() {
            return Err(EmulatorError::NoFirmware(options.firmware.clone()));
        }
        let mut child = command(options)
            .spawn()
            .map_err(|error| match error.kind() {
                io::ErrorKind::NotFound => {
                    EmulatorError::NoQemu(options.qemu.to_string_lossy().into_owned())
                }
                _ => EmulatorError::Io(error),
            })?;
        let (Some(stdin), Some(stdout), Some(stderr)) =
            (child.stdin.take(), child.stdout.take(), child.stderr.take())
        else {
            return Err(EmulatorError::Io(io::ErrorKind::BrokenPipe.into()));
        };
        let output = Arc::new(Mutex::new(VecDeque::new()));
        let messages = listen(stdout, stderr, &output);
        // From here on, dropping `emulator` ends the child.
        let mut emulator = Self {
            child,
            stdin,
            messages,
            output,
            port: String::new(),
        };
        emulator.execute("qmp_capabilities")?;
        let devices = emulator.execute("query-chardev")?;
        let port = devices
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|device| device.get("filename")?.as_str()?.strip_prefix("pty:"))
            .next();
        match port {
            Some(port) => emulator.port = port.into(),
            None => return Err(emulator.failed("offers no pseudo-terminal")),
        }
        Ok(emulator)
    }

    /// The pseudo-terminal of the board's UART, such as `/dev/pts/5`.
    pub fn port(&self) -> &str {
        &self.port
    }

    /// Opens the board's UART.
    ///
    /// # Errors
    /// [`EmulatorError::Board`] when the pseudo-terminal cannot be opened.
    pub fn line(&self) -> Result<SerialLine, EmulatorError> {
        SerialLine::open(&self.port, 115_200).map_err(|reason| EmulatorError::Board {
            reason: BoardError::Open {
                port: self.port.clone(),
                reason,
            },
            output: self.output(),
        })
    }

    /// Lets the halted board run. Open its [`Emulator::line`] first.
    ///
    /// # Errors
    /// [`EmulatorError::Qemu`] if QEMU does not do it.
    pub fn resume(&mut self) -> Result<(), EmulatorError> {
        self.execute("cont").map(drop)
    }

    /// Resets the board. It starts again; its RAM keeps its content.
    ///
    /// # Errors
    /// [`EmulatorError::Qemu`] if QEMU does not do it.
    pub fn reset(&mut self) -> Result<(), EmulatorError> {
        self.execute("system_reset").map(drop)
    }

    /// The first and the last lines that QEMU wrote.
    pub fn output(&self) -> String {
        let Ok(lines) = self.output.lock() else {
            return String::new();
        };
        lines.iter().cloned().collect::<Vec<_>>().join("\n")
    }

    /// Sends a QMP command and waits for its result.
    fn execute(&mut self, command: &str) -> Result<Value, EmulatorError> {
        if writeln!(self.stdin, "{{\"execute\":\"{command}\"}}").is_err() {
            return Err(self.failed("ended"));
        }
        let deadline = Instant::now() + START;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.messages.recv_timeout(left) {
                Ok(mut message) => {
                    if let Some(result) = message.get_mut("return") {
                        return Ok(result.take());
                    }
                    if let Some(error) = message.get("error") {
                        return Err(self.failed(&format!("refuses `{command}`: {error}")));
                    }
                    // A greeting or an event.
                }
                Err(RecvTimeoutError::Timeout) => {
                    return Err(self.failed(&format!("does not answer to `{command}`")));
                }
                Err(RecvTimeoutError::Disconnected) => return Err(self.failed("ended")),
            }
        }
    }

    fn failed(&mut self, what: &str) -> EmulatorError {
        // The last lines of its output may still be on their way.
        let end = Instant::now() + Duration::from_millis(300);
        let mut status = None;
        while status.is_none() && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(20));
            status = self.child.try_wait().ok().flatten();
        }
        std::thread::sleep(Duration::from_millis(20));
        let what = status.map_or_else(|| what.to_owned(), |status| format!("{what} ({status})"));
        EmulatorError::Qemu {
            what,
            output: self.output(),
        }
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        // It may have ended already. In both cases it is gone afterwards.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// QEMU with its options.
fn command(options: &EmulatorOptions) -> Command {
    let mut command = Command::new(&options.qemu);
    command
        .args([
            "-M",
            &options.machine,
            "-display",
            "none",
            "-monitor",
            "none",
        ])
        .args(["-serial", "pty", "-S", "-qmp", "stdio"])
        // QMP uses stdout, so the firmware's logs must go elsewhere.
        .args(["-chardev", &chardev(options.log.as_deref())])
        .args(["-semihosting-config", "enable=on,target=native,chardev=log"])
        .arg("-kernel")
        .arg(&options.firmware)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    if let Some(shift) = options.icount_shift {
        command.arg("-icount").arg(format!("shift={shift}"));
    }
    if let Some(socket) = &options.debugger {
        let path = escaped(socket);
        command
            .arg("-gdb")
            .arg(format!("unix:path={path},server=on,wait=off"));
    }
    command
}

/// Reads what QEMU prints for as long as it runs: the messages of QMP, and other lines into `output`.
fn listen(
    stdout: ChildStdout,
    stderr: ChildStderr,
    output: &Arc<Mutex<VecDeque<String>>>,
) -> Receiver<Value> {
    let (sender, messages) = mpsc::channel();
    let lines = Arc::clone(output);
    std::thread::spawn(move || {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            match serde_json::from_str(&line) {
                Ok(message) => drop(sender.send(message)),
                Err(_) => keep(&lines, line),
            }
        }
    });
    let lines = Arc::clone(output);
    std::thread::spawn(move || {
        for line in BufReader::new(stderr).lines().map_while(Result::ok) {
            keep(&lines, line);
        }
    });
    messages
}

fn keep(lines: &Mutex<VecDeque<String>>, line: String) {
    if let Ok(mut lines) = lines.lock() {
        lines.push_back(line);
        if lines.len() > FIRST_LINES + LAST_LINES {
            lines.remove(FIRST_LINES);
        }
    }
}

fn chardev(log: Option<&Path>) -> String {
    match log {
        None => "null,id=log".into(),
        Some(path) => format!("file,id=log,path={}", escaped(path)),
    }
}

/// A path as the value of a QEMU option: commas in it are doubled.
fn escaped(path: &Path) -> String {
    path.display().to_string().replace(',', ",,")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_parts_are_named_with_what_to_do() {
        let mut options = EmulatorOptions::new("mps2-an500", "/no/such/firmware");
        let error = Emulator::start(&options).unwrap_err().to_string();
        assert!(error.contains("cargo xtask firmware"), "{error}");
        options.firmware = std::env::current_exe().unwrap();
        options.qemu = "no-such-qemu".into();
        let error = Emulator::start(&options).unwrap_err().to_string();
        assert!(error.contains("apt-get install"), "{error}");
    }
}
