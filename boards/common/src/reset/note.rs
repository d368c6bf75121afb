//! The note that a start leaves for the next: what ended it.

use core::ptr;

use lightwafer_device::protocol::message::ResetCause;
use lightwafer_runtime::crc32;

use super::starts;

/// Bytes of a note's text.
const TEXT: usize = 52;
/// Bytes of a note without its CRC-32.
const BODY: usize = 12 + TEXT;
/// A note's words: read and written as such, since each is an instruction.
type Words = [u32; (BODY + 4) / 4];

/// What a start leaves for the next.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Note {
    /// What ended the start before.
    pub cause: ResetCause,
    /// The line of a panic, or the program counter of a fault (0 when the stack ran over) or of a hang (0 where the
    /// watchdog reset without a word before).
    pub at: u32,
    /// A fault's status register (CFSR).
    pub status: u32,
    text: [u8; TEXT],
}

/// The note; all of its bytes may hold anything at power-on.
#[unsafe(link_section = ".uninit.lightwafer.note")]
#[allow(unsafe_code)]
static mut NOTE: Words = [0; (BODY + 4) / 4];

impl Note {
    pub(super) const fn new(cause: ResetCause) -> Self {
        Self {
            cause,
            at: 0,
            status: 0,
            text: [0; TEXT],
        }
    }

    /// The last part of the path of the file that panicked; empty otherwise.
    pub fn file(&self) -> &str {
        let len = self.text.iter().position(|b| *b == 0).unwrap_or(TEXT);
        let text = self.text.get(..len).unwrap_or(&[]);
        core::str::from_utf8(text).unwrap_or("")
    }

    /// Keeps the last part of a path, whole characters only.
    pub(super) fn keep_file(&mut self, path: &str) {
        let mut start = path.len().saturating_sub(TEXT);
        while !path.is_char_boundary(start) {
            start += 1;
        }
        let end = path.as_bytes().get(start..).unwrap_or(&[]);
        for (place, byte) in self.text.iter_mut().zip(end) {
            *place = *byte;
        }
    }

    /// What ended the start before; from here on an unexplained end counts as External.
    ///
    /// `hardware` is what the processor's register says. A note of a panic, a fault, a restart or the watchdog
    /// says more than that; but no note outlives a loss of power.
    pub fn take(hardware: Option<ResetCause>) -> Self {
        let note = Self::load().unwrap_or(Self::new(ResetCause::PowerOn));
        let note = match (hardware, note.cause) {
            (None, _) => note,
            (Some(ResetCause::PowerOn), _) => Self::new(ResetCause::PowerOn),
            (Some(hardware), ResetCause::PowerOn | ResetCause::External) => Self::new(hardware),
            (Some(_), _) => note,
        };
        Self::new(ResetCause::External).store();
        starts::count(note.cause);
        note
    }

    #[allow(unsafe_code)]
    fn load() -> Option<Self> {
        // SAFETY: no reference to NOTE exists anywhere; any bytes are a valid value; volatile because
        // its content comes from before this start.
        let words = unsafe { ptr::read_volatile(&raw const NOTE) };
        let mut bytes = [0; BODY + 4];
        for (place, word) in bytes.as_chunks_mut().0.iter_mut().zip(words) {
            *place = word.to_le_bytes();
        }
        let (body, crc) = bytes.split_first_chunk::<BODY>()?;
        if *crc != crc32(body).to_le_bytes() {
            return None;
        }
        let (numbers, text) = body.split_first_chunk::<12>()?;
        let number = |at: usize| {
            let bytes = numbers.get(at..at + 4)?.try_into().ok()?;
            Some(u32::from_le_bytes(bytes))
        };
        let cause = match number(0)? {
            1 => ResetCause::External,
            2 => ResetCause::Software,
            3 => ResetCause::Panic,
            4 => ResetCause::Fault,
            5 => ResetCause::Watchdog,
            _ => return None,
        };
        Some(Self {
            cause,
            at: number(4)?,
            status: number(8)?,
            text: text.try_into().ok()?,
        })
    }

    #[allow(unsafe_code)]
    pub(super) fn store(&self) {
        let cause: u32 = match self.cause {
            ResetCause::External => 1,
            ResetCause::Software => 2,
            ResetCause::Panic => 3,
            ResetCause::Fault => 4,
            ResetCause::Watchdog => 5,
            ResetCause::PowerOn => 0,
        };
        let mut bytes = [0; BODY + 4];
        let (body, crc) = bytes.split_at_mut(BODY);
        let numbers = [cause, self.at, self.status];
        let fields = numbers.iter().flat_map(|n| n.to_le_bytes());
        for (place, byte) in body.iter_mut().zip(fields.chain(self.text)) {
            *place = byte;
        }
        crc.copy_from_slice(&crc32(body).to_le_bytes());
        let mut words: Words = [0; (BODY + 4) / 4];
        for (word, bytes) in words.iter_mut().zip(bytes.as_chunks().0) {
            *word = u32::from_le_bytes(*bytes);
        }
        // SAFETY: no reference to NOTE exists anywhere, and what interrupts this and writes it never returns.
        unsafe { ptr::write_volatile(&raw mut NOTE, words) }
    }
}
