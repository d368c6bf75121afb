//! Anything a host or a line may send to a board's station, models included: it answers with whole frames that
//! decode, says nothing wrong, runs no model but a signed one that started and passed its test, and answers the next
//! good request.
#![no_main]

use std::sync::LazyLock;

use arbitrary::Unstructured;
use libfuzzer_sys::fuzz_target;
use lightwafer_device::protocol::frame::{MAX_FRAME, decode, encode, encode_payload};
use lightwafer_device::protocol::message::{Command, Reply, Request, Response};
use lightwafer_device::store::Store;
use lightwafer_device::store::sim::{InPlace, SimFlash};
use lightwafer_device::{Reload, Station, StationMemory, Updater};
use lightwafer_fuzz::models::{Models, damaged};
use lightwafer_runtime::dies::{DieMap, MAX_PACKED_LEN, Mask};
use lightwafer_runtime::image::ModelFacts;
use lightwafer_runtime::{Answer, Engine, EngineFailure, crc32};
use lightwafer_runtime::{EngineError, SelfTestFailed, StartError};
use lightwafer_testkit::exchange::feed;
use lightwafer_testkit::{Clock, FakePlatform, HashingEngine};

/// The firmware's own.
static FACTORY: [u8; 1] = [STARTS];

const STARTS: u8 = 0;
const FAILS_ITS_TEST: u8 = 1;
const TOO_LARGE: u8 = 2;

/// The first byte of an image says what becomes of it, see [`Quick::load`].
static MODELS: LazyLock<Models> = LazyLock::new(|| {
    let first = [STARTS, STARTS, FAILS_ITS_TEST, STARTS, TOO_LARGE, STARTS];
    Models::new(250, first)
});

/// What is read in place must stay for good: it is the signed model of the same bytes.
fn keep(bytes: &[u8]) -> &'static [u8] {
    let mut images = MODELS.signed.iter().map(|(image, _)| &image[..]);
    let signed = images.find(|image| image == &bytes);
    signed.expect("nothing is started but what was signed")
}

/// An engine with the image that it runs; none where it refuses.
struct Quick {
    image: Option<&'static [u8]>,
    engine: HashingEngine,
}

impl Reload<'static> for Quick {
    fn load(&mut self, image: &'static [u8]) -> Result<(), StartError> {
        self.image = (image[0] != TOO_LARGE).then_some(image);
        self.image
            .map(drop)
            .ok_or(StartError::Engine(EngineError::Arena {
                needed: 2,
                given: 1,
            }))
    }

    fn self_test(&mut self, mask: &mut Mask) -> Result<(), SelfTestFailed> {
        mask.0.fill(0xa5);
        match self.image {
            Some(image) if image[0] != FAILS_ITS_TEST => Ok(()),
            _ => Err(SelfTestFailed),
        }
    }
}

impl Engine for Quick {
    fn facts(&self) -> ModelFacts<'_> {
        self.engine.facts()
    }

    fn classify(&mut self, map: &DieMap<'_>, mask: &mut Mask) -> Result<Answer, EngineFailure> {
        self.engine.classify(map, mask)
    }
}

fuzz_target!(|bytes: &[u8]| {
    let mut memory = StationMemory::new();
    let flash = InPlace::new(SimFlash::<4, 256>::new(4096), keep);
    let store = Store::open(flash, Some(MODELS.key)).expect("its sizes suit");
    let mut updater = Updater::new(store, &FACTORY);
    updater.boot(|_| true);
    let engine = Quick {
        image: Some(&FACTORY),
        engine: HashingEngine::failing(|map| crc32(map.packed()).is_multiple_of(16)),
    };
    let platform = FakePlatform {
        clock: Clock::Steps {
            now: u64::MAX,
            by: 0,
        },
        instructions: Some(1),
        ..FakePlatform::new("fuzz")
    };
    let mut station = Station::with_updates(&mut memory, engine, platform, updater);
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
            .image
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
    assert!(updater.into_store().flash().inner().misused().is_none());
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
            let block = match u.ratio(1, 8)? {
                true => damaged(u, block)?,
                false => *block.bytes(),
            };
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
