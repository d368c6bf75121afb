//! Damage on the board's own line: each kind is named, and the next good frame is answered.

use std::time::{Duration, Instant};

use lightwafer_device::protocol::frame::{FrameDecoder, MAX_FRAME, decode, encode, encode_payload};
use lightwafer_device::protocol::message::{
    Command, ErrorReply, PROTOCOL_VERSION, Reply, Request, Response, Statistics,
};
use lightwafer_equipment::{SerialLine, Transport};
use lightwafer_runtime::crc32;

use super::{options, power_on, skipped};

/// Longest wait for an answer; an inference takes seconds.
const PATIENCE: Duration = Duration::from_secs(120);

/// A line without a host's manners: bytes go out as they are.
pub struct RawLine {
    line: SerialLine,
    decoder: FrameDecoder,
    pending: Vec<u8>,
}

impl RawLine {
    pub fn new(line: SerialLine) -> Self {
        Self {
            line,
            decoder: FrameDecoder::new(),
            pending: Vec::new(),
        }
    }

    pub fn send(&mut self, bytes: &[u8]) {
        self.line.write(bytes).unwrap();
    }

    /// The next byte, `None` when none comes within the time.
    pub fn byte(&mut self, within: Duration) -> Option<u8> {
        if self.pending.is_empty() {
            let mut buffer = [0; 256];
            let count = self.line.read(&mut buffer, within).unwrap();
            self.pending = buffer[..count].iter().rev().copied().collect();
        }
        self.pending.pop()
    }

    /// Hands the board's next response on.
    fn response<R>(&mut self, take: impl FnOnce(Response<'_>) -> R) -> R {
        let end = Instant::now() + PATIENCE;
        while Instant::now() < end {
            let Some(byte) = self.byte(Duration::from_millis(200)) else {
                continue;
            };
            if let Some(payload) = self.decoder.push(byte) {
                return take(decode(payload.unwrap()).unwrap());
            }
        }
        panic!("no answer within {PATIENCE:?}");
    }

    fn error(&mut self) -> (u16, ErrorReply) {
        self.response(|response| match response.reply {
            Reply::Error(error) => (response.seq, error),
            other => panic!("an error expected, not {other:?}"),
        })
    }

    /// A request that the board must answer with anything but an error.
    fn ask<R>(&mut self, seq: u16, command: Command<'_>, take: impl FnOnce(Reply<'_>) -> R) -> R {
        self.send(&request(seq, command));
        self.response(|response| {
            assert_eq!(response.seq, seq);
            take(response.reply)
        })
    }

    fn statistics(&mut self, seq: u16) -> Statistics {
        self.ask(seq, Command::Statistics, |reply| match reply {
            Reply::Statistics(statistics) => statistics,
            other => panic!("statistics expected, not {other:?}"),
        })
    }
}

fn request(seq: u16, command: Command<'_>) -> Vec<u8> {
    let mut out = [0; MAX_FRAME];
    encode(&Request { seq, command }, &mut out)
        .unwrap()
        .to_vec()
}

const HELLO: Command<'_> = Command::Hello {
    protocol: PROTOCOL_VERSION,
};

#[test]
fn damage_is_named_and_the_next_good_frame_is_answered() {
    if skipped() {
        return;
    }
    let machine = "mps2-an500";
    let (_emulator, mut line) = power_on(&options(machine));
    let mut seq = 1;
    let mut hello = |line: &mut RawLine| {
        seq += 1;
        line.ask(seq, HELLO, |reply| match reply {
            Reply::Hello(hello) => assert_eq!(hello.board, machine),
            other => panic!("hello expected, not {other:?}"),
        });
    };
    // The board may still be starting; its first answer ends that.
    hello(&mut line);

    let good = request(1000, HELLO);
    // A byte that is data in COBS too, before and after.
    let mut flipped = request(1000, Command::Statistics);
    flipped[2] ^= 1;
    let mut cut = good.clone();
    cut.truncate(good.len() - 3);
    cut.push(0);
    let mut endless = vec![0xffu8; 3 * MAX_FRAME];
    endless.push(0);
    let mut out = [0; MAX_FRAME];
    // A command of no known number, and a message with more behind it.
    let unknown = encode_payload(&[7, 99], &mut out).unwrap().to_vec();
    let more = encode_payload(&[8, 5, 5], &mut out).unwrap().to_vec();
    let other_version = request(77, Command::Hello { protocol: 99 });

    let cases = [
        (flipped, 0, ErrorReply::Corrupted),
        (cut, 0, ErrorReply::Truncated),
        (endless, 0, ErrorReply::Oversized),
        (unknown, 7, ErrorReply::Malformed),
        (more, 8, ErrorReply::Malformed),
        (
            other_version,
            77,
            ErrorReply::Protocol {
                board: PROTOCOL_VERSION,
            },
        ),
        (
            request(78, Command::Run { wafer: 4 }),
            78,
            ErrorReply::UnknownWafer,
        ),
    ];
    for (bytes, seq, error) in cases {
        line.send(&bytes);
        assert_eq!(line.error(), (seq, error));
        hello(&mut line);
    }
    // Half a frame, then silence: the next frame's leading zero ends it.
    line.send(&good[..good.len() / 2]);
    line.send(&request(79, HELLO));
    assert_eq!(line.error(), (0, ErrorReply::Truncated));
    line.response(|response| assert_eq!(response.seq, 79));

    let seen = line.statistics(90);
    assert_eq!((seen.corrupted, seen.truncated), (1, 2));
    assert_eq!((seen.oversized, seen.malformed), (1, 2));
    assert_eq!((seen.overruns, seen.wafers), (0, 0));
}

#[test]
fn a_flood_during_an_inference_is_an_overrun_and_spoils_nothing() {
    if skipped() {
        return;
    }
    let machine = "mps2-an386";
    let (_emulator, mut line) = power_on(&options(machine));
    let (wafer, dies) = (5, [0b10_01_10_01u8; 4]);
    let crc = crc32(&dies);
    let map = Command::Map {
        wafer,
        rows: 4,
        cols: 4,
        crc,
    };
    line.ask(1, map, |reply| {
        assert_eq!(reply, Reply::Received { wafer, bytes: 0 });
    });
    let data = &dies;
    let offset = 0;
    let piece = Command::Dies {
        wafer,
        offset,
        data,
    };
    line.ask(2, piece, |reply| {
        assert_eq!(reply, Reply::Received { wafer, bytes: 4 });
    });

    line.send(&request(3, Command::Run { wafer }));
    // More than the board buffers while it is busy; no zero in it, so that it is one endless frame.
    line.send(&[0x55; 6000]);
    let report = line.response(|response| match (response.seq, response.reply) {
        (3, Reply::Report(report)) => report,
        other => panic!("a report expected, not {other:?}"),
    });
    assert_eq!(report.map_crc, crc);
    assert_eq!(line.error(), (0, ErrorReply::Overrun));
    // What still lay in the pseudo-terminal is part of the same endless frame.
    line.send(&[0]);
    // Asked again, the board repeats its answer.
    let again = line.ask(4, Command::Run { wafer }, |reply| match reply {
        Reply::Report(report) => report,
        other => panic!("a report expected, not {other:?}"),
    });
    assert_eq!(again, report);
    let seen = line.statistics(5);
    assert_eq!((seen.wafers, seen.overruns), (1, 1));
}
