//! What a bad line does to frames, drawn from a seed.

use std::collections::VecDeque;

/// What can happen to a frame (or, last three, to the line and the board).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// One bit is flipped.
    FlippedBit,
    /// Up to sixteen bits anywhere are flipped.
    FlippedBits,
    /// One byte is lost.
    LostByte,
    /// The whole frame is lost.
    LostFrame,
    /// The frame comes twice.
    Repeated,
    /// A frame from before comes once more, ahead of this one.
    Replayed,
    /// The frame ends early.
    Cut,
    /// A random byte gets in.
    InsertedByte,
    /// Noise in place of a part of the frame, up to 1,500 bytes.
    Burst,
    /// The frame comes late, after the host has given up waiting for it.
    Stalled,
    /// The board restarts and knows nothing any more.
    BoardReset,
    /// The board's driver loses bytes and says so.
    Overrun,
    /// The cable is pulled and plugged in again.
    Unplugged,
}

use Fault::*;

impl Fault {
    /// All kinds.
    pub const ALL: [Self; 13] = [
        FlippedBit,
        FlippedBits,
        LostByte,
        LostFrame,
        Repeated,
        Replayed,
        Cut,
        InsertedByte,
        Burst,
        Stalled,
        BoardReset,
        Overrun,
        Unplugged,
    ];
}

/// A direction of the line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Direction {
    /// Requests.
    ToBoard = 0,
    /// Answers.
    ToHost = 1,
}

/// Frames of before that may be replayed.
const HISTORY: usize = 24;

/// One direction's bytes on their way.
#[derive(Debug, Default)]
pub struct Way {
    history: VecDeque<Vec<u8>>,
    /// Bytes that come late.
    held: Vec<u8>,
}

impl Way {
    /// A frame sets out; it may be replayed later.
    pub fn remember(&mut self, frame: &[u8]) {
        self.history.push_back(frame.to_vec());
        if self.history.len() > HISTORY {
            self.history.pop_front();
        }
    }

    /// What came late, and comes now.
    pub fn late(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.held)
    }

    /// Does a fault to a frame. `false` for faults of the line or the board, which are the caller's to bring about.
    pub fn inflict(&mut self, fault: Fault, frame: &mut Vec<u8>, rng: &mut fastrand::Rng) -> bool {
        let at = rng.usize(..frame.len().max(1));
        match fault {
            _ if frame.is_empty() => {}
            FlippedBit => frame[at] ^= 1 << rng.u8(..8),
            FlippedBits => {
                for _ in 0..rng.u8(2..=16) {
                    let at = rng.usize(..frame.len());
                    frame[at] ^= 1 << rng.u8(..8);
                }
            }
            LostByte => drop(frame.remove(at)),
            LostFrame => frame.clear(),
            Repeated => frame.extend_from_within(..),
            Replayed => {
                let old = self.history[rng.usize(..self.history.len())].clone();
                frame.splice(..0, old);
            }
            Cut => frame.truncate(at),
            InsertedByte => frame.insert(at, rng.u8(..)),
            Burst => {
                let end = rng.usize(at..=frame.len());
                let len = if rng.bool() {
                    rng.usize(1..40)
                } else {
                    rng.usize(1..1500)
                };
                // Half of the bursts have no zeros: they grow into oversized frames.
                let least = rng.u8(..2);
                let noise: Vec<u8> = (0..len).map(|_| rng.u8(least..)).collect();
                frame.splice(at..end, noise);
            }
            Stalled => self.held = std::mem::take(frame),
            BoardReset | Overrun | Unplugged => return false,
        }
        true
    }
}
