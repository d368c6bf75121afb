//! Any bytes whatever: no panic, every answer readable, and the next good frame is answered.

use super::{TestStation, a_map, ask, feed, station};
use fastrand::Rng;
use lightwafer_device::StationMemory;
use lightwafer_device::protocol::frame::{self, MAX_FRAME};
use lightwafer_device::protocol::message::*;
use lightwafer_runtime::crc32;

#[test]
fn random_bytes_leave_a_station_that_answers() {
    let mut rng = Rng::with_seed(17);
    let mut memory = StationMemory::new();
    let mut station = station(&mut memory);
    let mut named = 0;
    for round in 0..3000u16 {
        let mask = [0xff, 0x0f, 0x03, 0xf1][rng.usize(..4)];
        let bytes: Vec<u8> = (0..rng.u32(..700)).map(|_| rng.u8(..) & mask).collect();
        for payload in feed(&mut station, &bytes) {
            let response: Response<'_> = frame::decode(&payload).unwrap();
            assert!(matches!(response.reply, Reply::Error(_)));
            named += 1;
        }
        assert_answers(&mut station, round + 1);
    }
    assert!(named > 50_000, "{named}");
}

/// Sends a good frame; the last answer must be its.
fn assert_answers(station: &mut TestStation<'_>, seq: u16) {
    let mut out = [0; MAX_FRAME];
    let request = Request {
        seq,
        command: Command::Statistics,
    };
    let answers = feed(station, frame::encode(&request, &mut out).unwrap());
    let response: Response<'_> = frame::decode(answers.last().unwrap()).unwrap();
    assert!(response.seq == seq && matches!(response.reply, Reply::Statistics(_)));
}

/// Good conversations with damaged bytes, and damaged payloads in good frames.
#[test]
fn mutated_frames_are_refused_or_answered() {
    let mut rng = Rng::with_seed(29);
    let mut memory = StationMemory::new();
    let mut station = station(&mut memory);
    let packed = a_map(20, 20, 1);
    let crc = crc32(&packed);
    let commands = [
        Command::Hello { protocol: 1 },
        Command::Map {
            wafer: 9,
            rows: 20,
            cols: 20,
            crc,
        },
        Command::Dies {
            wafer: 9,
            offset: 0,
            data: &packed,
        },
        Command::Run { wafer: 9 },
        Command::Mask { wafer: 9, row: 0 },
        Command::Statistics,
        Command::Health,
        Command::ModelBegin { signature: &packed },
        Command::ModelChunk {
            version: 3,
            offset: 70_000,
            data: &packed,
        },
        Command::ModelCommit { version: 3 },
        Command::ModelRollback { from: 3 },
    ];
    let mut kinds = [0u32; 7];
    for round in 0..60_000u32 {
        let command = commands[rng.usize(..commands.len())].clone();
        let mut out = [0; MAX_FRAME];
        let request = Request {
            seq: round as u16 | 1,
            command,
        };
        let bytes = if rng.bool() {
            let mut payload = postcard::to_slice(&request, &mut out).unwrap().to_vec();
            let at = rng.usize(..payload.len());
            match rng.u8(..3) {
                0 => payload[at] = rng.u8(..),
                1 => payload.truncate(at.max(1)),
                _ => payload.insert(at, rng.u8(..)),
            }
            frame::encode_payload(&payload, &mut out).unwrap().to_vec()
        } else {
            let mut bytes = frame::encode(&request, &mut out).unwrap().to_vec();
            let at = rng.usize(..bytes.len());
            bytes[at] ^= 1 << rng.u8(..8);
            bytes
        };
        for payload in feed(&mut station, &bytes) {
            let response: Response<'_> = frame::decode(&payload).unwrap();
            let kind = match response.reply {
                Reply::Hello(_) => 0,
                Reply::Received { .. } => 1,
                Reply::Report(_) => 2,
                Reply::MaskRows { .. } => 3,
                Reply::Statistics(_) => 4,
                Reply::Error(_) => 5,
                Reply::Health(_) => 6,
                other => panic!("a station without updates says {other:?}"),
            };
            kinds[kind] += 1;
        }
        if round % 64 == 0 {
            assert_answers(&mut station, round as u16 | 1);
            let [_, map, dies, run, ..] = commands.clone();
            let good = [map, dies, run][(round / 64 % 3) as usize].clone();
            ask(&mut station, round as u16 | 1, good, |_| ());
        }
    }
    assert!(kinds.iter().all(|&count| count > 0), "{kinds:?}");
    assert!(kinds[5] > 20_000, "{kinds:?}");
}
