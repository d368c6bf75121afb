//! The worked examples of `docs/serial-protocol.md`: the page's bytes are what this code speaks.

use std::fmt::Write;

use heapless::Vec;

use lightwafer_device::protocol::frame::{self, FrameDecoder, MAX_FRAME, MAX_PAYLOAD};
use lightwafer_device::protocol::mask_code::{decode_rows, encode_rows};
use lightwafer_device::protocol::message::*;
use lightwafer_runtime::Answer;
use lightwafer_runtime::crc32;
use lightwafer_runtime::dies::{DieMap, MASK_ROW_BYTES, MAX_PACKED_LEN, Mask};
use lightwafer_runtime::image::{ModelFacts, Rounding};

const PAGE: &str = include_str!("../../../docs/serial-protocol.md");
/// The page's wafer: three rows of three dies.
const DIES: [u8; 9] = [0, 1, 0, 1, 2, 1, 0, 1, 0];

fn hex(bytes: &[u8]) -> String {
    let mut text = String::new();
    for (at, byte) in bytes.iter().enumerate() {
        let gap = match at {
            0 => "",
            _ if at % 24 == 0 => "\n         ",
            _ => " ",
        };
        write!(text, "{gap}{byte:02x}").unwrap();
    }
    text
}

fn unhex(text: &str) -> std::vec::Vec<u8> {
    text.split_whitespace()
        .map(|byte| u8::from_str_radix(byte, 16).unwrap())
        .collect()
}

/// The fenced blocks of the page that start with this line.
fn blocks(first: &str) -> impl Iterator<Item = &'static str> {
    PAGE.split("```text\n").skip(1).filter_map(move |rest| {
        let block = rest.split("```").next()?;
        block.starts_with(first).then_some(block)
    })
}

/// The value behind `name:`, up to the next line that has a name.
fn field(block: &str, name: &str) -> String {
    let rest = block.split(&format!("{name}:")).nth(1).unwrap();
    let mut value = String::new();
    for line in rest.lines() {
        if line.contains(':') {
            break;
        }
        value += line;
        value += " ";
    }
    value
}

fn mask() -> Mask {
    let mut mask = Mask::new();
    for y in 222..224 {
        mask.row_mut(y).unwrap()[10] = 0x18;
    }
    mask
}

/// The block of version 3 of a model of 1,000 bytes, as far as the line is concerned.
fn block() -> [u8; 128] {
    let mut block: [u8; 128] = std::array::from_fn(|at| at as u8);
    block[..8].copy_from_slice(b"LWSIGN\0\x01");
    block[8..12].copy_from_slice(&3u32.to_le_bytes());
    block[12..16].copy_from_slice(&0u32.to_le_bytes());
    block[16..20].copy_from_slice(&1000u32.to_le_bytes());
    let crc = crc32(&block[..124]);
    block[124..].copy_from_slice(&crc.to_le_bytes());
    block
}

pub fn examples() -> [(&'static str, std::vec::Vec<u8>); 24] {
    let mut packed = [0; MAX_PACKED_LEN];
    let map = DieMap::pack(3, 3, &DIES, &mut packed).unwrap();
    let (data, crc) = (map.packed(), crc32(map.packed()));
    let (wafer, mask) = (7, mask());
    let mut logits = [-65_536; 38];
    logits[1] = 655_360;
    let answer = Answer::from_logits(logits, Vec::from_iter([-128, 0, 5, 127]));
    let report = Report {
        wafer,
        map_crc: crc,
        class: answer.class.index(),
        scores: Vec::from_iter(answer.scores),
        logits: Vec::from_iter(answer.logits),
        embedding: answer.embedding,
        mask_pixels: mask.count(),
        mask_crc: crc32(&mask.0),
        elapsed_us: 1_500_000,
        instructions: Some(400_000_000),
    };
    let hello = Hello {
        protocol: 1,
        board: "mps2-an500",
        firmware: "0.1.0",
        max_map: 16_384,
        max_chunk: 512,
        reset: ResetCause::PowerOn,
        model: ModelFacts {
            name: "light",
            created: "2026-01-02T03:04:05Z",
            parameters: 54_239,
            macs: 98_209_408,
            arena_bytes: 313_000,
            model_bytes: 70_000,
            rounding: Rounding::SingleUp,
            sha256: std::array::from_fn(|i| i as u8),
        },
    };
    let statistics = Statistics {
        uptime_ms: 60_000,
        wafers: 1,
        requests: 6,
        corrupted: 1,
        stack_max: 4_096,
        ..Statistics::default()
    };
    let health = Health {
        starts: [1, 0, 2, 0, 0, 1],
        models: Models {
            version: 3,
            minimum: 4,
            floor: 2,
            limit: 126_976,
            key: Some([1, 2, 3, 4, 5, 6, 7, 8]),
            transfer: Some(Transfer {
                version: 4,
                received: 512,
                expected: 1_000,
            }),
        },
        sha256: std::array::from_fn(|i| i as u8),
    };
    let mut rows = [0; MAX_CHUNK];
    let (_, len) = encode_rows(&mask, 222, &mut rows);
    let rows = &rows[..len];
    let request = |seq, command| payload(&Request { seq, command });
    let response = |seq, reply| payload(&Response { seq, reply });
    [
        (
            "request Hello",
            request(1000, Command::Hello { protocol: 1 }),
        ),
        ("response Hello", response(1000, Reply::Hello(hello))),
        (
            "request Map",
            request(
                1001,
                Command::Map {
                    wafer,
                    rows: 3,
                    cols: 3,
                    crc,
                },
            ),
        ),
        (
            "response Received",
            response(1001, Reply::Received { wafer, bytes: 0 }),
        ),
        (
            "request Dies",
            request(
                1002,
                Command::Dies {
                    wafer,
                    offset: 0,
                    data,
                },
            ),
        ),
        (
            "response Received",
            response(1002, Reply::Received { wafer, bytes: 3 }),
        ),
        ("request Run", request(1003, Command::Run { wafer })),
        ("response Report", response(1003, Reply::Report(report))),
        (
            "request Mask",
            request(1004, Command::Mask { wafer, row: 222 }),
        ),
        (
            "response MaskRows",
            response(
                1004,
                Reply::MaskRows {
                    wafer,
                    row: 222,
                    rows: 2,
                    data: rows,
                },
            ),
        ),
        ("request Statistics", request(1005, Command::Statistics)),
        (
            "response Statistics",
            response(1005, Reply::Statistics(statistics)),
        ),
        (
            "request ModelBegin",
            request(
                1006,
                Command::ModelBegin {
                    signature: &block(),
                },
            ),
        ),
        (
            "response ModelReceived",
            response(
                1006,
                Reply::ModelReceived {
                    version: 3,
                    bytes: 0,
                },
            ),
        ),
        (
            "request ModelChunk",
            request(
                1007,
                Command::ModelChunk {
                    version: 3,
                    offset: 0,
                    data: &[0x4c; 64],
                },
            ),
        ),
        (
            "response ModelReceived",
            response(
                1007,
                Reply::ModelReceived {
                    version: 3,
                    bytes: 64,
                },
            ),
        ),
        (
            "request ModelCommit",
            request(1009, Command::ModelCommit { version: 3 }),
        ),
        (
            "response ModelRuns",
            response(1009, Reply::ModelRuns { version: 3 }),
        ),
        (
            "request ModelRollback",
            request(1010, Command::ModelRollback { from: 3 }),
        ),
        (
            "response Error (no model to go back to)",
            response(1010, Reply::Error(ErrorReply::NoOther)),
        ),
        ("request Health", request(1011, Command::Health)),
        ("response Health", response(1011, Reply::Health(health))),
        (
            "response Error (corrupted frame)",
            response(0, Reply::Error(ErrorReply::Corrupted)),
        ),
        (
            "response Error (a piece is missing)",
            response(1006, Reply::Error(ErrorReply::Gap { received: 3 })),
        ),
    ]
}

fn payload<T: serde::Serialize>(message: &T) -> std::vec::Vec<u8> {
    postcard::to_slice(message, &mut [0; MAX_PAYLOAD])
        .unwrap()
        .to_vec()
}

#[test]
fn the_page_shows_the_bytes_of_every_message() {
    let examples = examples();
    let mut wanted = String::new();
    let mut missing = 0;
    for (name, payload) in &examples {
        let mut out = [0; MAX_FRAME];
        let frame = frame::encode_payload(payload, &mut out).unwrap();
        let crc = crc32(payload).to_le_bytes();
        let block = format!(
            "{name}\npayload: {}\ncrc:     {}\nframe:   {}\n",
            hex(payload),
            hex(&crc),
            hex(frame)
        );
        missing += u32::from(!PAGE.contains(&block));
        write!(wanted, "```text\n{block}```\n\n").unwrap();
    }
    assert!(
        missing == 0,
        "{missing} examples are not on the page; all of them:\n{wanted}"
    );
    let shown = blocks("request ").chain(blocks("response ")).count();
    assert_eq!(shown, examples.len());
}

#[test]
fn the_pages_frames_decode_to_what_they_say() {
    for block in blocks("request ").chain(blocks("response ")) {
        let mut decoder = FrameDecoder::new();
        let mut found = None;
        for byte in unhex(&field(block, "frame")) {
            if let Some(payload) = decoder.push(byte) {
                found = Some(payload.unwrap().to_vec());
            }
        }
        let found = found.unwrap();
        assert_eq!(found, unhex(&field(block, "payload")), "{block}");
        let variant = if block.starts_with("request ") {
            format!(
                "{:?}",
                frame::decode::<Request<'_>>(&found).unwrap().command
            )
        } else {
            format!("{:?}", frame::decode::<Response<'_>>(&found).unwrap().reply)
        };
        let name = block.split_whitespace().nth(1).unwrap();
        assert!(variant.starts_with(name), "{name}: {variant}");
    }
}

#[test]
fn the_pages_mask_rows_are_coded_as_shown() {
    let mut count = 0;
    for block in blocks("above:") {
        let [above, row, code] = ["above", "row", "code"].map(|name| unhex(&field(block, name)));
        let mut mask = Mask::new();
        mask.row_mut(0).unwrap().copy_from_slice(&above);
        mask.row_mut(1).unwrap().copy_from_slice(&row);
        let mut out = [0; MASK_ROW_BYTES + 1];
        let (rows, len) = encode_rows(&mask, 1, &mut out[..code.len()]);
        assert_eq!((rows, &out[..len]), (1, code.as_slice()), "{block}");
        let wanted = mask.clone();
        mask.row_mut(1).unwrap().fill(0x55);
        decode_rows(&mut mask, 1, 1, &code).unwrap();
        assert_eq!(mask, wanted);
        count += 1;
    }
    assert_eq!(count, 3);
}

#[test]
fn the_pages_numbers_are_the_codes() {
    assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
    for (what, value) in [("payload", MAX_PAYLOAD), ("frame", MAX_FRAME)] {
        assert!(
            PAGE.contains(&format!("largest {what} has {value} bytes")),
            "{what} {value}"
        );
    }
    let packed = crc32(&[0x44, 0x46, 0x00]);
    assert!(PAGE.contains(&format!("0x{packed:08x}")), "0x{packed:08x}");
}

/// Every error, so that the vectors hold each of its numbers.
const ERRORS: [ErrorReply; 30] = [
    ErrorReply::Truncated,
    ErrorReply::Oversized,
    ErrorReply::Corrupted,
    ErrorReply::Malformed,
    ErrorReply::Overrun,
    ErrorReply::Protocol { board: 1 },
    ErrorReply::Grid,
    ErrorReply::UnknownWafer,
    ErrorReply::Gap { received: 3 },
    ErrorReply::Conflict { received: 3 },
    ErrorReply::Incomplete {
        received: 3,
        expected: 676,
    },
    ErrorReply::MapCrc,
    ErrorReply::Dies,
    ErrorReply::NotRun,
    ErrorReply::Row,
    ErrorReply::Engine,
    ErrorReply::Unsupported,
    ErrorReply::NoKey,
    ErrorReply::Block,
    ErrorReply::Key,
    ErrorReply::Signature,
    ErrorReply::Version { minimum: 300 },
    ErrorReply::Size { limit: 126_976 },
    ErrorReply::NoTransfer,
    ErrorReply::Digest,
    ErrorReply::Model,
    ErrorReply::Arena {
        needed: 334_960,
        given: 200_000,
    },
    ErrorReply::SelfTest,
    ErrorReply::NoOther,
    ErrorReply::Flash,
];

/// The bytes of every message in `tests/vectors/messages.json`, for clients in other languages. With
/// LIGHTWAFER_WRITE_VECTORS in the environment the file is written anew.
#[test]
fn the_vectors_are_the_bytes_of_every_message() {
    let mut messages =
        std::vec::Vec::from(examples().map(|(name, bytes)| (name.to_owned(), bytes)));
    for (number, error) in ERRORS.into_iter().enumerate() {
        let response = Response {
            seq: 300,
            reply: Reply::Error(error),
        };
        let bytes = payload(&response);
        assert_eq!(usize::from(bytes[3]), number, "{error:?}");
        messages.push((format!("response Error {number}: {error:?}"), bytes));
    }
    let mut text = String::from("[\n");
    for (at, (name, payload)) in messages.iter().enumerate() {
        let mut out = [0; MAX_FRAME];
        let frame = frame::encode_payload(payload, &mut out).unwrap();
        let digits = |bytes: &[u8]| hex(bytes).split_whitespace().collect::<String>();
        let comma = if at == 0 { "" } else { ",\n" };
        let (payload, frame) = (digits(payload), digits(frame));
        write!(
            text,
            "{comma}  {{\"message\": \"{name}\", \"payload\": \"{payload}\", \"frame\": \"{frame}\"}}"
        )
        .unwrap();
    }
    text += "\n]\n";
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../tests/vectors/messages.json"
    );
    if std::env::var_os("LIGHTWAFER_WRITE_VECTORS").is_some() {
        std::fs::write(path, &text).unwrap();
    }
    let found = std::fs::read_to_string(path).unwrap();
    assert!(
        found == text,
        "the vectors differ; what they should be:\n{text}"
    );
}
