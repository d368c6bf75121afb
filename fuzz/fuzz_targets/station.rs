//! Anything a host or a line may send to a board's station, models included: it answers with whole frames that
//! decode, says nothing wrong, runs no model but a signed one that started and passed its test, and answers the next
//! good request.
#![no_main]

use core::ops::Range;
use std::sync::LazyLock;

use arbitrary::Unstructured;
use embedded_storage::nor_flash::{ErrorType, NorFlash, ReadNorFlash};
use libfuzzer_sys::fuzz_target;
use lightwafer_device::protocol::frame::{FrameDecoder, MAX_FRAME, decode, encode, encode_payload};
use lightwafer_device::protocol::message::{Command, Reply, Request, ResetCause, Response};
use lightwafer_device::store::sign::SecretKey;
use lightwafer_device::store::sim::{SimError, SimFlash};
use lightwafer_device::store::{Block, Mapped, Reload, Store, Updater};
use lightwafer_device::{Platform, Station, StationMemory};
use lightwafer_runtime::dies::{DieMap, MAX_PACKED_LEN, Mask};
use lightwafer_runtime::image::{ModelFacts, Rounding};
use lightwafer_runtime::{Answer, Engine, EngineFailure, crc32};
use lightwafer_runtime::{EngineError, SelfTestFailed, StartError};

/// Models of a few versions, signed once. The first byte says what becomes of them, see [`Quick::load`].
struct Models {
    key: [u8; 32],
    signed: Vec<(Vec<u8>, Block)>,
}

/// The firmware's own.
static FACTORY: [u8; 1] = [STARTS];

const STARTS: u8 = 0;
const FAILS_ITS_TEST: u8 = 1;
const TOO_LARGE: u8 = 2;

static MODELS: LazyLock<Models> = LazyLock::new(|| {
    let key = SecretKey::new(&[3; 32]);
    let signed = (1..7u32).map(|version| {
        let length = 40 + 250 * version;
        let mut image: Vec<u8> = (0..length).map(|at| (at * version / 5) as u8).collect();
        image[0] =
            [STARTS, STARTS, FAILS_ITS_TEST, STARTS, TOO_LARGE, STARTS][version as usize - 1];
        let block = key.vouch(&image, version, version / 4).expect("a block");
        (image, block)
    });
    Models {
        key: key.public(),
        signed: signed.collect(),
    }
});

/// A simulated flash. What is read in place must stay for good: it is the signed model of the same bytes.
struct Flash(SimFlash<4, 256>);

impl ErrorType for Flash {
    type Error = SimError;
}

impl ReadNorFlash for Flash {
    const READ_SIZE: usize = 1;
    fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), SimError> {
        self.0.read(offset, bytes)
    }
    fn capacity(&self) -> usize {
        self.0.capacity()
    }
}

impl NorFlash for Flash {
    const WRITE_SIZE: usize = 4;
    const ERASE_SIZE: usize = 256;
    fn erase(&mut self, from: u32, to: u32) -> Result<(), SimError> {
        self.0.erase(from, to)
    }
    fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), SimError> {
        self.0.write(offset, bytes)
    }
}

impl Mapped<'static> for Flash {
    fn mapped(&self, range: Range<u32>) -> Option<&'static [u8]> {
        let mut flash = self.0.clone();
        let there = flash
            .bytes_mut()
            .get(range.start as usize..range.end as usize)?;
        let images = MODELS.signed.iter().map(|(image, _)| &image[..]);
        let signed = images.into_iter().find(|image| image == &there);
        Some(signed.expect("nothing is started but what was signed"))
    }
}

/// The image it runs; none where it refuses.
struct Quick(Option<&'static [u8]>);

impl Reload<'static> for Quick {
    fn load(&mut self, image: &'static [u8]) -> Result<(), StartError> {
        self.0 = (image[0] != TOO_LARGE).then_some(image);
        self.0
            .map(drop)
            .ok_or(StartError::Engine(EngineError::Arena {
                needed: 2,
                given: 1,
            }))
    }

    fn self_test(&mut self, mask: &mut Mask) -> Result<(), SelfTestFailed> {
        mask.0.fill(0xa5);
        match self.0 {
            Some(image) if image[0] != FAILS_ITS_TEST => Ok(()),
            _ => Err(SelfTestFailed),
        }
    }
}

type Served<'m> = Station<'m, Quick, Desk, Updater<'static, Flash>>;

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
    let store = Store::open(Flash(SimFlash::new(4096)), Some(MODELS.key)).expect("its sizes suit");
    let mut updater = Updater::new(store, &FACTORY);
    updater.boot(|_| true);
    let mut station = Station::with_updates(&mut memory, Quick(Some(&FACTORY)), Desk, updater);
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
        let runs = station
            .engine()
            .0
            .expect("what does not start is gone back from");
        assert_eq!(runs[0], STARTS);
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
    let (_, _, _, updater) = station.into_parts();
    assert!(updater.into_store().flash().0.misused().is_none());
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
    let command = match u.int_in_range(0..=16u8)? {
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
        9 => Command::Health,
        10 | 11 => {
            let (_, block) = &MODELS.signed[u.int_in_range(0..=5)?];
            let mut block = *block.bytes();
            if u.ratio(1, 8)? {
                block[usize::from(u.int_in_range(0..=127u8)?)] ^= 1 << u.int_in_range(0..=7)?;
                let crc = crc32(&block[..124]);
                block[124..].copy_from_slice(&crc.to_le_bytes());
            }
            let command = Command::ModelBegin { signature: &block };
            return Ok(encode(&Request { seq, command }, frame).expect("a small message"));
        }
        12 | 13 => {
            let (image, block) = &MODELS.signed[u.int_in_range(0..=5)?];
            // Most pieces are those that a host sends.
            let offset = match u.ratio(7, 8)? {
                true => u.int_in_range(0..=3usize)? * 512,
                false => u.int_in_range(0..=image.len() + 3)?,
            };
            let from = offset.min(image.len());
            let most = image.len() - from;
            let len = match u.ratio(7, 8)? {
                true => most.min(512),
                false => u.int_in_range(0..=most.min(520))?,
            };
            let command = Command::ModelChunk {
                version: block.version(),
                offset: offset as u32,
                data: &image[from..from + len],
            };
            return encode(&Request { seq, command }, frame)
                .map(|frame| &*frame)
                .map_err(|_| arbitrary::Error::IncorrectFormat);
        }
        14 => Command::ModelCommit {
            version: u.int_in_range(0..=7)?,
        },
        15 => Command::ModelRollback {
            from: u.int_in_range(0..=7)?,
        },
        _ => Command::Statistics,
    };
    encode(&Request { seq, command }, frame).map_err(|_| arbitrary::Error::IncorrectFormat)
}

/// Feeds bytes and gives the payloads of the answers, each of which must be one whole frame that decodes.
fn feed(station: &mut Served<'_>, bytes: &[u8]) -> Vec<Vec<u8>> {
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
