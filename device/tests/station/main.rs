//! The station with a small engine: every message, every refusal, and any bytes whatever.

mod damage;

use lightwafer_device::protocol::frame::{self, FrameDecoder, MAX_FRAME};
use lightwafer_device::protocol::mask_code::decode_rows;
use lightwafer_device::protocol::message::*;
use lightwafer_device::{LineError, Station, StationMemory};
use lightwafer_runtime::dies::Mask;
use lightwafer_runtime::{Engine, crc32};
use lightwafer_testkit::exchange::{ask, feed};
use lightwafer_testkit::{Clock, FakePlatform, HashingEngine, expected, wafer};

type TestStation<'m> = Station<'m, HashingEngine, FakePlatform>;

/// The engine fails on a map whose first byte is 0.
fn station(memory: &mut StationMemory) -> TestStation<'_> {
    let engine = HashingEngine::failing(|map| map.packed().first() == Some(&0));
    let platform = FakePlatform {
        reset: ResetCause::Watchdog,
        clock: Clock::Steps { now: 0, by: 1500 },
        instructions: Some(25),
        stack_max: 4321,
        overruns: 2,
        ..FakePlatform::new("desktop")
    };
    Station::new(memory, engine, platform)
}

fn received(bytes: u32) -> impl FnOnce(Reply<'_>) {
    move |reply| assert_eq!(reply, Reply::Received { wafer: 9, bytes })
}

fn refused(error: ErrorReply) -> impl FnOnce(Reply<'_>) {
    move |reply| assert_eq!(reply, Reply::Error(error))
}

/// A packed map that the engine does not fail on.
fn a_map(rows: u16, cols: u16, seed: u64) -> Vec<u8> {
    let mut rng = fastrand::Rng::with_seed(seed);
    let count = usize::from(rows) * usize::from(cols);
    let mut dies: Vec<u8> = (0..count).map(|_| rng.u8(..3)).collect();
    dies[0] = 1;
    wafer::of(rows, cols, &dies).map().packed().to_vec()
}

#[test]
fn a_wafer_goes_through() {
    let mut memory = StationMemory::new();
    let mut station = station(&mut memory);
    ask(
        &mut station,
        1,
        Command::Hello {
            protocol: PROTOCOL_VERSION,
        },
        |reply| {
            let Reply::Hello(hello) = reply else {
                panic!("{reply:?}")
            };
            assert_eq!(
                (hello.board, hello.firmware, hello.max_chunk),
                ("desktop", "test", 512)
            );
            assert_eq!((hello.max_map, hello.reset), (16384, ResetCause::Watchdog));
            assert!(hello.model.name.len() <= 64 && HashingEngine::new().facts().name.len() > 64);
        },
    );
    for (rows, cols) in [(52, 52), (1, 1), (256, 256), (33, 57)] {
        let packed = a_map(rows, cols, u64::from(rows));
        let map = lightwafer_runtime::DieMap::new_checked(rows, cols, &packed).unwrap();
        let (answer, mask) = expected(&map);
        let crc = crc32(&packed);
        ask(
            &mut station,
            2,
            Command::Map {
                wafer: 9,
                rows,
                cols,
                crc,
            },
            received(0),
        );
        let mut sent = 0;
        for (at, data) in packed.chunks(MAX_CHUNK).enumerate() {
            let dies = Command::Dies {
                wafer: 9,
                offset: sent,
                data,
            };
            sent += data.len() as u32;
            ask(&mut station, 3 + at as u16, dies.clone(), received(sent));
            ask(&mut station, 3 + at as u16, dies, received(sent));
        }
        let runs = station.engine().runs;
        for _ in 0..2 {
            ask(&mut station, 50, Command::Run { wafer: 9 }, |reply| {
                let Reply::Report(report) = reply else {
                    panic!("{reply:?}")
                };
                assert_eq!((report.wafer, report.map_crc), (9, crc));
                assert_eq!(report.class, answer.class.index());
                assert_eq!(report.scores, answer.scores);
                assert_eq!(report.logits, answer.logits);
                assert_eq!(report.embedding, answer.embedding);
                assert_eq!(
                    (report.mask_pixels, report.mask_crc),
                    (mask.count(), crc32(&mask.0))
                );
                assert_eq!((report.elapsed_us, report.instructions), (1500, Some(0)));
            });
        }
        assert_eq!(station.engine().runs, runs + 1);
        let mut back = Mask::new();
        let mut at = 0;
        while at < 224 {
            ask(
                &mut station,
                60 + at,
                Command::Mask { wafer: 9, row: at },
                |reply| {
                    let Reply::MaskRows {
                        wafer: 9,
                        row,
                        rows,
                        data,
                    } = reply
                    else {
                        panic!("{reply:?}")
                    };
                    assert_eq!(row, at);
                    decode_rows(&mut back, row, rows, data).unwrap();
                    at += rows;
                },
            );
        }
        assert_eq!(back, *mask);
    }
    ask(&mut station, 7, Command::Statistics, |reply| {
        let Reply::Statistics(statistics) = reply else {
            panic!("{reply:?}")
        };
        assert_eq!(
            (statistics.wafers, statistics.refused, statistics.overruns),
            (4, 0, 2)
        );
        assert_eq!(statistics.stack_max, 4321);
        assert!(statistics.repeated > 4 && statistics.requests > 100);
    });
}

/// Announces wafer 9 and sends its first `bytes`.
fn bring(station: &mut TestStation<'_>, packed: &[u8], bytes: usize) {
    let crc = crc32(packed);
    let (rows, cols) = (9, 9);
    let map = Command::Map {
        wafer: 9,
        rows,
        cols,
        crc,
    };
    ask(station, 2, map, received(0));
    let dies = Command::Dies {
        wafer: 9,
        offset: 0,
        data: &packed[..bytes],
    };
    ask(station, 3, dies, received(bytes as u32));
}

#[test]
fn a_trigger_runs_the_wafer_and_run_repeats_its_report() {
    let mut memory = StationMemory::new();
    let mut station = station(&mut memory);
    let packed = a_map(9, 9, 5);
    bring(&mut station, &packed, packed.len());
    assert!(station.trigger());
    assert_eq!((station.engine().runs, station.statistics().wafers), (1, 1));
    // Once more, as a bouncing contact would; then the host asks.
    assert!(!station.trigger());
    let (answer, _) = expected(&lightwafer_runtime::DieMap::new_checked(9, 9, &packed).unwrap());
    ask(&mut station, 4, Command::Run { wafer: 9 }, |reply| {
        let Reply::Report(report) = reply else {
            panic!("{reply:?}")
        };
        assert_eq!(report.logits, answer.logits);
    });
    assert_eq!((station.engine().runs, station.statistics().wafers), (1, 1));
    // The next wafer is triggered anew.
    bring(&mut station, &packed, packed.len());
    assert!(station.trigger());
    assert_eq!(station.engine().runs, 2);
}

#[test]
fn a_trigger_without_a_wafer_that_can_run_changes_nothing() {
    let mut memory = StationMemory::new();
    let mut station = station(&mut memory);
    assert!(!station.trigger());
    let mut packed = a_map(9, 9, 6);
    bring(&mut station, &packed, 4);
    assert!(!station.trigger());
    assert_eq!(station.engine().runs, 0);
    let incomplete = ErrorReply::Incomplete {
        received: 4,
        expected: packed.len() as u32,
    };
    let run = Command::Run { wafer: 9 };
    ask(&mut station, 4, run.clone(), refused(incomplete));
    // An engine that fails: the host hears of it when it asks.
    packed[0] = 0;
    bring(&mut station, &packed, packed.len());
    assert!(!station.trigger());
    assert_eq!(station.engine().runs, 1);
    ask(&mut station, 5, run, refused(ErrorReply::Engine));
    assert_eq!(station.statistics().wafers, 0);
}

#[test]
fn refuses_by_name_and_goes_on() {
    let mut memory = StationMemory::new();
    let mut station = station(&mut memory);
    let s = &mut station;
    let packed = a_map(52, 52, 5);
    let (first, last) = packed.split_at(500);
    let map = |rows, cols, crc| Command::Map {
        wafer: 9,
        rows,
        cols,
        crc,
    };
    let dies = |offset, data| Command::Dies {
        wafer: 9,
        offset,
        data,
    };
    let run = Command::Run { wafer: 9 };

    ask(
        s,
        1,
        Command::Hello { protocol: 9 },
        refused(ErrorReply::Protocol { board: 1 }),
    );
    ask(s, 2, run.clone(), refused(ErrorReply::UnknownWafer));
    ask(
        s,
        2,
        Command::Mask { wafer: 9, row: 0 },
        refused(ErrorReply::UnknownWafer),
    );
    ask(s, 2, dies(0, first), refused(ErrorReply::UnknownWafer));
    ask(s, 3, map(0, 52, 0), refused(ErrorReply::Grid));
    ask(s, 3, map(52, 257, 0), refused(ErrorReply::Grid));
    ask(s, 4, map(52, 52, crc32(&packed)), received(0));
    ask(
        s,
        5,
        dies(1, first),
        refused(ErrorReply::Gap { received: 0 }),
    );
    ask(
        s,
        5,
        dies(u32::MAX, first),
        refused(ErrorReply::Gap { received: 0 }),
    );
    ask(s, 6, dies(0, &[]), received(0));
    ask(s, 6, dies(0, first), received(500));
    ask(s, 6, dies(0, first), received(500));
    ask(s, 6, dies(100, &packed[100..200]), received(500));
    let conflict = refused(ErrorReply::Conflict { received: 500 });
    ask(s, 6, dies(0, &first[1..]), conflict);
    ask(
        s,
        6,
        dies(500, &packed[..177]),
        refused(ErrorReply::Conflict { received: 500 }),
    );
    ask(s, 6, dies(0, &[0; 513]), refused(ErrorReply::Oversized));
    ask(
        s,
        7,
        run.clone(),
        refused(ErrorReply::Incomplete {
            received: 500,
            expected: 676,
        }),
    );
    // A refused grid leaves the wafer at hand.
    ask(s, 7, map(300, 1, 0), refused(ErrorReply::Grid));
    // A piece may overlap what is there and go on.
    ask(s, 8, dies(400, &packed[400..]), received(676));
    ask(s, 8, dies(500, last), received(676));
    ask(
        s,
        8,
        dies(676, &[1]),
        refused(ErrorReply::Conflict { received: 676 }),
    );
    ask(
        s,
        9,
        Command::Mask { wafer: 9, row: 0 },
        refused(ErrorReply::NotRun),
    );
    ask(
        s,
        9,
        Command::Run { wafer: 8 },
        refused(ErrorReply::UnknownWafer),
    );
    ask(s, 9, run.clone(), |reply| {
        assert!(matches!(reply, Reply::Report(_)))
    });
    ask(
        s,
        9,
        Command::Mask { wafer: 9, row: 224 },
        refused(ErrorReply::Row),
    );
    // The same wafer again forgets the report.
    ask(s, 10, map(1, 3, 1), received(0));
    ask(
        s,
        11,
        Command::Mask { wafer: 9, row: 0 },
        refused(ErrorReply::NotRun),
    );
    ask(s, 11, dies(0, &[0b0011_0001]), received(1));
    ask(s, 11, run.clone(), refused(ErrorReply::MapCrc));
    ask(s, 12, map(1, 3, crc32(&[0b0011_0001])), received(0));
    ask(s, 12, dies(0, &[0b0011_0001]), received(1));
    ask(s, 12, run.clone(), refused(ErrorReply::Dies));
    ask(s, 13, map(1, 3, crc32(&[0])), received(0));
    ask(s, 13, dies(0, &[0]), received(1));
    ask(s, 13, run, refused(ErrorReply::Engine));
    ask(
        s,
        13,
        Command::Mask { wafer: 9, row: 0 },
        refused(ErrorReply::NotRun),
    );
}

#[test]
fn unreadable_frames_are_named() {
    let mut memory = StationMemory::new();
    let mut station = station(&mut memory);
    let mut check = |bytes: &[u8], seq, error| {
        let answers = feed(&mut station, bytes);
        assert_eq!(answers.len(), 1, "{bytes:?}");
        let response: Response<'_> = frame::decode(&answers[0]).unwrap();
        assert_eq!(
            response,
            Response {
                seq,
                reply: Reply::Error(error)
            }
        );
    };
    let mut out = [0; MAX_FRAME + 2];
    let request = Request {
        seq: 300,
        command: Command::Statistics,
    };
    let good = frame::encode(&request, &mut out).unwrap().to_vec();
    for cut in 2..good.len() - 1 {
        check(&[&good[..cut], &[0]].concat(), 0, ErrorReply::Truncated);
    }
    let mut bad = good.clone();
    bad[4] ^= 1;
    check(&bad, 0, ErrorReply::Corrupted);
    check(
        &[&[0], &[1; MAX_FRAME + 1][..], &[0]].concat(),
        0,
        ErrorReply::Oversized,
    );
    check(
        &[&[0], &[0xee; MAX_FRAME + 1][..], &[0]].concat(),
        0,
        ErrorReply::Oversized,
    );
    let payloads: [(&[u8], u16); 6] = [
        (&[0xac, 0x02, 6], 300),           // a command of a later version
        (&[0xac, 0x02, 5, 0], 300),        // a byte too many
        (&[0xac, 0x02], 300),              // no command
        (&[0, 5], 0),                      // the number that means none
        (&[0xff, 0xff, 0xff, 0xff, 5], 0), // a number above 65535
        (&[1, 2, 9, 0, 200, 1], 1),        // die data that is not there
    ];
    for (payload, seq) in payloads {
        let bytes = frame::encode_payload(payload, &mut out).unwrap().to_vec();
        check(&bytes, seq, ErrorReply::Malformed);
    }
    // A cut frame, then a good one: its leading zero ends the cut one.
    let answers = feed(&mut station, &[&good[..5], &good].concat());
    assert_eq!(answers.len(), 2);
    let response: Response<'_> = frame::decode(&answers[1]).unwrap();
    let Reply::Statistics(statistics) = response.reply else {
        panic!("{response:?}")
    };
    assert_eq!(statistics.truncated as usize, good.len() - 2);
    let counts = (
        statistics.corrupted,
        statistics.oversized,
        statistics.malformed,
    );
    assert_eq!((counts, statistics.requests), ((1, 2, 6), 1));
}

/// A line that plays back what to read and records what is written.
struct Script {
    reads: std::vec::IntoIter<Result<Vec<u8>, embedded_io::ErrorKind>>,
    written: Vec<u8>,
}

impl embedded_io::ErrorType for Script {
    type Error = embedded_io::ErrorKind;
}

impl embedded_io::Read for Script {
    fn read(&mut self, buf: &mut [u8]) -> Result<usize, Self::Error> {
        let Some(next) = self.reads.next() else {
            return Ok(0);
        };
        let bytes = next?;
        buf[..bytes.len()].copy_from_slice(&bytes);
        Ok(bytes.len())
    }
}

impl embedded_io::Write for Script {
    fn write(&mut self, buf: &[u8]) -> Result<usize, Self::Error> {
        self.written.extend(buf.iter().take(3));
        Ok(buf.len().min(3))
    }
    fn flush(&mut self) -> Result<(), Self::Error> {
        Ok(())
    }
}

#[test]
fn serves_a_line_until_it_closes_and_reports_overruns() {
    use embedded_io::ErrorKind::{InvalidData, OutOfMemory, TimedOut};
    let mut memory = StationMemory::new();
    let mut station = station(&mut memory);
    let mut out = [0; MAX_FRAME];
    let request = Request {
        seq: 5,
        command: Command::Statistics,
    };
    let good = frame::encode(&request, &mut out).unwrap().to_vec();
    let reads = vec![
        Ok(good[..4].to_vec()),
        Err(OutOfMemory),
        Ok(good[6..].to_vec()),
        Err(InvalidData),
        Ok(good.clone()),
        Err(TimedOut),
        Ok(vec![1]),
    ];
    let mut line = Script {
        reads: reads.into_iter(),
        written: Vec::new(),
    };
    assert_eq!(station.serve(&mut line), Err(LineError::Io(TimedOut)));
    assert_eq!(station.serve(&mut line), Err(LineError::Closed));
    let mut decoder = FrameDecoder::new();
    let mut replies = Vec::new();
    for byte in line.written {
        if let Some(payload) = decoder.push(byte) {
            let response: Response<'_> = frame::decode(payload.unwrap()).unwrap();
            replies.push((response.seq, format!("{:?}", response.reply)));
        }
    }
    assert_eq!(replies.len(), 2, "{replies:?}");
    assert_eq!(replies[0], (0, "Error(Overrun)".into()));
    assert!(replies[1].1.contains("overruns: 3"), "{replies:?}");
}
