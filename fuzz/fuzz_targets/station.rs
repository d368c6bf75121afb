//! Anything a host or a line may send to a board's station: it answers with whole frames that decode, says
//! nothing wrong, and answers the next good request.
#![no_main]

use arbitrary::Unstructured;
use libfuzzer_sys::fuzz_target;
use lightwafer_runtime::model::{ModelFacts, Rounding};
use lightwafer_runtime::serial::frame::{FrameDecoder, MAX_FRAME, decode, encode, encode_payload};
use lightwafer_runtime::serial::message::{Command, Reply, Request, ResetCause, Response};
use lightwafer_runtime::serial::{Platform, Station, StationMemory};
use lightwafer_runtime::wafer::{DieMap, MAX_PACKED_LEN, Mask};
use lightwafer_runtime::{Answer, Engine, EngineFailure, crc32};

struct Quick;

impl Engine for Quick {
    fn facts(&self) -> ModelFacts<'_> {
        ModelFacts {
            name: "a name that is too long to be sent as it is, with äöü at the cut: äöüäöü",
            created: "2026-01-01T00:00:00Z",
            parameters: 1,
            macs: u64::MAX,
            arena_bytes: u32::MAX,
            model_bytes: u32::MAX,
            rounding: Rounding::SingleUp,
            sha256: [255; 32],
        }
    }

    fn classify(&mut self, map: &DieMap<'_>, mask: &mut Mask) -> Result<Answer, EngineFailure> {
        let seed = crc32(map.packed());
        if seed.is_multiple_of(16) {
            return Err(EngineFailure);
        }
        for (at, byte) in mask.0.iter_mut().enumerate() {
            *byte = (seed >> (at % 25)) as u8;
        }
        let logits = core::array::from_fn(|at| (seed.rotate_left(at as u32)) as i32);
        Ok(Answer::from_logits(
            logits,
            (0..64).map(|v| v as i8).collect(),
        ))
    }
}

struct Desk;

impl Platform for Desk {
    fn board(&self) -> &str {
        "fuzz"
    }
    fn firmware(&self) -> &str {
        "1"
    }
    fn reset_cause(&self) -> ResetCause {
        ResetCause::PowerOn
    }
    fn uptime_us(&mut self) -> u64 {
        u64::MAX
    }
    fn instructions(&mut self) -> Option<u64> {
        Some(u64::MAX)
    }
}

fuzz_target!(|bytes: &[u8]| {
    let mut memory = StationMemory::new();
    let mut station = Station::new(&mut memory, Quick, Desk);
    let mut u = Unstructured::new(bytes);
    let mut packed = vec![0; MAX_PACKED_LEN];
    let (mut rows, mut cols) = (1, 1);
    let mut frame = [0; MAX_FRAME];
    while !u.is_empty() {
        let Ok(sent) = next(&mut u, &mut packed, (&mut rows, &mut cols), &mut frame) else {
            break;
        };
        if sent.is_empty() && station.overrun().is_none() {
            panic!("an overrun is not answered");
        }
        feed(&mut station, sent);
    }
    // Whatever came before: a zero ends it, and the station answers.
    let hello = Request {
        seq: 7,
        command: Command::Statistics,
    };
    let hello = encode(&hello, &mut frame).expect("a small message");
    feed(&mut station, &[0]);
    let answers = feed(&mut station, hello);
    let last = answers.last().expect("an answer");
    let last = decode::<Response<'_>>(last).expect("a message");
    assert!(last.seq == 7 && matches!(last.reply, Reply::Statistics(_)));
});

/// The next bytes for the line: raw ones, a payload, or a request; none is an overrun.
fn next<'f>(
    u: &mut Unstructured<'_>,
    packed: &mut [u8],
    grid: (&mut u16, &mut u16),
    frame: &'f mut [u8; MAX_FRAME],
) -> arbitrary::Result<&'f [u8]> {
    let seq = u.int_in_range(0..=3)?;
    let wafer = u.int_in_range(0..=1)?;
    let expected = DieMap::packed_len(*grid.0, *grid.1).unwrap_or(1);
    let command = match u.int_in_range(0..=9u8)? {
        0 => {
            let raw = u.arbitrary_len::<u8>()?.min(64);
            let raw = u.bytes(raw)?;
            frame[..raw.len()].copy_from_slice(raw);
            return Ok(&frame[..raw.len()]);
        }
        1 => {
            let raw = u.arbitrary_len::<u8>()?.min(64);
            let raw = u.bytes(raw)?;
            return Ok(encode_payload(raw, frame).expect("a small payload"));
        }
        2 => Command::Hello {
            protocol: u.arbitrary()?,
        },
        3 | 4 => {
            (*grid.0, *grid.1) = (u.int_in_range(0..=257)?, u.int_in_range(0..=60)?);
            let fill = [0, 0x55, 0xaa, 0x99, 0xff][usize::from(u.int_in_range(0..=4u8)?)];
            packed.fill(fill);
            let len = DieMap::packed_len(*grid.0, *grid.1).unwrap_or(1);
            let wrong: bool = u.ratio(1, 8)?;
            Command::Map {
                wafer,
                rows: *grid.0,
                cols: *grid.1,
                crc: crc32(&packed[..len]) ^ u32::from(wrong),
            }
        }
        5 | 6 => {
            let offset = match u.arbitrary()? {
                true => u.int_in_range(0..=expected)? / 512 * 512,
                false => u.int_in_range(0..=expected + 3)?,
            };
            let most = (packed.len() - offset.min(packed.len())).min(600);
            let len = match u.arbitrary()? {
                true => expected.saturating_sub(offset).min(512),
                false => u.int_in_range(0..=most)?,
            };
            let from = offset.min(packed.len() - len);
            let request = Request {
                seq,
                command: Command::Dies {
                    wafer,
                    offset: offset as u32,
                    data: &packed[from..from + len],
                },
            };
            return match encode(&request, frame) {
                Ok(frame) => Ok(frame),
                Err(_) => Err(arbitrary::Error::IncorrectFormat),
            };
        }
        7 => Command::Run { wafer },
        8 => Command::Mask {
            wafer,
            row: u.int_in_range(0..=230)?,
        },
        _ => Command::Statistics,
    };
    encode(&Request { seq, command }, frame).map_err(|_| arbitrary::Error::IncorrectFormat)
}

/// Feeds bytes and gives the payloads of the answers, each of which must be one whole frame that decodes.
fn feed(station: &mut Station<'_, Quick, Desk>, bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut payloads = Vec::new();
    for &byte in bytes {
        let Some(answer) = station.feed(byte) else {
            continue;
        };
        assert!(answer.len() <= MAX_FRAME);
        let mut decoder = FrameDecoder::new();
        let mut found = Vec::new();
        for &byte in answer {
            if let Some(payload) = decoder.push(byte) {
                found.push(payload.expect("a right CRC-32").to_vec());
            }
        }
        let [payload] = found.try_into().expect("one frame");
        assert!(decode::<Response<'_>>(&payload).is_ok());
        payloads.push(payload);
    }
    payloads
}
