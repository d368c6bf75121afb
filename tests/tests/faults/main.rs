//! Thousands of faults on the line between the real host client and the real station: every answer
//! that is accepted is the right one, every failure has a name, and nothing hangs or panics.

mod line;

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use lightwafer_device::StationMemory;
use lightwafer_device::protocol::message::Statistics;
use lightwafer_equipment::{
    Board, BoardError, BoardOptions, ClassifyError, Report, Transport as _,
};
use lightwafer_maps::Wafer;
use lightwafer_runtime::dies::Mask;
use lightwafer_runtime::image::Model;
use lightwafer_runtime::{AlignedBox, Answer, Engine, FixedEngine};
use lightwafer_testkit::{HashingEngine, MODEL, expected, wafer};

use lightwafer_tests::fault::{Direction, Fault};
use lightwafer_tests::soak::sum;
use line::FaultyLine;

/// No call may take longer, whatever the line does.
const LONGEST_CALL: Duration = Duration::from_secs(20);

/// What an engine says of a wafer without a line in between.
fn direct<E: Engine>(wafer: &Wafer, engine: &mut E) -> (Answer, Box<Mask>) {
    let mut mask = Box::new(Mask::new());
    let answer = engine.classify(&wafer.map(), &mut mask).unwrap();
    (answer, mask)
}

/// The defaults with waits for a line that answers at once.
fn options() -> BoardOptions {
    BoardOptions {
        baud: u32::MAX,
        request_timeout: Duration::from_millis(2),
        run_timeout: Duration::from_millis(20),
        run_repeat: Duration::from_millis(2),
        connect_timeout: Duration::from_millis(50),
        reconnect_timeout: Duration::from_secs(2),
        ..BoardOptions::default()
    }
}

/// What a run of wafers came to.
#[derive(Default)]
struct Tally {
    wafers: u64,
    unanswered_hellos: u64,
    answered: u64,
    /// Failures by name.
    failed: BTreeMap<&'static str, u64>,
    injected: BTreeMap<(Fault, Direction), u64>,
    board: Statistics,
    damaged: u64,
    stale: u64,
    repeats: u64,
    resends: u64,
    reopens: u64,
    longest: Duration,
}

impl Tally {
    fn faults(&self) -> u64 {
        self.injected.values().sum()
    }

    fn print(&self, title: &str) {
        println!("{title}: {} faults, {} wafers", self.faults(), self.wafers);
        println!("  {:<14}{:>10}{:>10}", "injected", "to board", "to host");
        let kinds: BTreeSet<_> = self.injected.keys().map(|k| k.0).collect();
        for kind in kinds {
            let count = |way| self.injected.get(&(kind, way)).copied().unwrap_or(0);
            let (board, host) = (count(Direction::ToBoard), count(Direction::ToHost));
            println!("  {:<14}{board:>10}{host:>10}", format!("{kind:?}"));
        }
        let b = &self.board;
        println!(
            "  board saw: {} truncated, {} oversized, {} corrupted, {} malformed, {} overruns, \
             {} refused, {} repeated of {} requests, {} inferences",
            b.truncated,
            b.oversized,
            b.corrupted,
            b.malformed,
            b.overruns,
            b.refused,
            b.repeated,
            b.requests,
            b.wafers
        );
        println!(
            "  host saw: {} damaged, {} stale; repeated {} requests, resent {} wafers, \
             reopened the line {} times",
            self.damaged, self.stale, self.repeats, self.resends, self.reopens
        );
        println!(
            "  {} right answers, 0 wrong ones, failures {:?}, {} hellos in vain, longest call {:.2} s",
            self.answered,
            self.failed,
            self.unanswered_hellos,
            self.longest.as_secs_f32()
        );
    }
}

/// The failures that a bad line may cause; any other is a bug.
fn name(error: &ClassifyError) -> &'static str {
    match error {
        ClassifyError::Board(BoardError::NoAnswer { .. }) => "no answer",
        ClassifyError::Board(BoardError::Lost { .. }) => "line lost again and again",
        ClassifyError::Refused { .. } => "refused",
        ClassifyError::BadReport { .. } => "bad report",
        ClassifyError::Lost { losses, .. } if losses.len() == 2 => "lost twice",
        other => panic!("a failure that no fault explains: {other:?}"),
    }
}

fn assert_right(report: &Report, answer: &Answer, mask: &Mask) {
    assert_eq!(report.class, answer.class);
    assert_eq!(report.logits, answer.logits);
    assert_eq!(report.raw_scores, answer.scores);
    assert_eq!(report.embedding, answer.embedding.as_slice());
    assert!(report.mask == *mask, "the mask differs");
}

/// Sends wafers over a line with faults at `rate` until there were enough of them; each connection
/// ends with a good line and a wafer that must be answered. `wafer` gives a wafer and its check.
fn endure<E: Engine>(
    tally: &mut Tally,
    engine: E,
    (seed, rate, faults): (u64, f64, u64),
    mut wafer: impl FnMut() -> (Wafer, Box<dyn Fn(&Report)>),
) {
    let mut memory = StationMemory::new();
    let chance = Rc::new(Cell::new(0.0));
    let mut line = FaultyLine::new(&mut memory, engine, seed, chance.clone());
    while line.faults() < faults {
        chance.set(rate);
        let mut board = match Board::over_with(&mut line, options()) {
            Ok(board) => board,
            Err(BoardError::NoAnswer { .. }) => {
                tally.unanswered_hellos += 1;
                continue;
            }
            // The cable was pulled during the first hello: nobody is to open it again yet.
            Err(BoardError::Lost { .. }) => {
                (&mut line).reopen().unwrap();
                continue;
            }
            Err(error) => panic!("{error:?}"),
        };
        for last in [false; 31].into_iter().chain([true]) {
            if last {
                chance.set(0.0);
            }
            let (this, check) = wafer();
            let start = Instant::now();
            let result = board.classify(&this.map());
            let took = start.elapsed();
            tally.wafers += 1;
            tally.longest = tally.longest.max(took);
            assert!(took < LONGEST_CALL, "a call took {took:?} (seed {seed})");
            match result {
                Ok(report) => {
                    tally.answered += 1;
                    check(&report);
                }
                Err(error) if last => panic!("no answer on a good line: {error:?} (seed {seed})"),
                Err(error) => *tally.failed.entry(name(&error)).or_default() += 1,
            }
            PROGRESS.fetch_add(1, Ordering::Relaxed);
        }
        let seen = board.line();
        tally.damaged += seen.damaged;
        tally.stale += seen.stale;
        tally.repeats += seen.repeats;
        tally.resends += seen.resends;
        tally.reopens += seen.reopens;
    }
    tally.board = sum(&tally.board, &line.seen());
    for (kind, count) in &line.injected {
        *tally.injected.entry(*kind).or_default() += count;
    }
}

static PROGRESS: AtomicU64 = AtomicU64::new(0);

/// Fails when `test` makes no progress for a minute, instead of hanging with it.
fn watched(test: impl FnOnce() + Send + 'static) {
    let thread = std::thread::spawn(test);
    let (mut seen, mut since) = (0, Instant::now());
    while !thread.is_finished() {
        std::thread::sleep(Duration::from_millis(20));
        let now = PROGRESS.load(Ordering::Relaxed);
        if now != seen {
            (seen, since) = (now, Instant::now());
        }
        assert!(
            since.elapsed() < Duration::from_secs(60),
            "it hangs after {seen} wafers"
        );
    }
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

#[test]
fn thousands_of_faults_and_no_wrong_answer() {
    watched(|| {
        for (seed, rate, faults) in [
            (1, 0.02, 2_000),
            (2, 0.08, 6_000),
            (3, 0.2, 6_000),
            (4, 0.5, 6_000),
            (6, 1.0, 2_000),
        ] {
            let mut rng = fastrand::Rng::with_seed(seed);
            let mut tally = Tally::default();
            endure(
                &mut tally,
                HashingEngine::new(),
                (seed, rate, faults),
                || {
                    let wafer = wafer::any(&mut rng);
                    let (answer, mask) = expected(&wafer.map());
                    (
                        wafer,
                        Box::new(move |report| assert_right(report, &answer, &mask)),
                    )
                },
            );
            tally.print(&format!(
                "hashing engine, {:.0} % of frames hit",
                100.0 * rate
            ));
            assert!(tally.faults() >= faults);
            // Every kind of fault happened, and the board named every kind of damage.
            let kinds: BTreeSet<_> = tally.injected.keys().map(|key| key.0).collect();
            assert_eq!(kinds.len(), Fault::ALL.len());
            let b = &tally.board;
            let named = [
                b.truncated,
                b.oversized,
                b.corrupted,
                b.overruns,
                b.refused,
                b.repeated,
            ];
            assert!(named.iter().all(|&count| count > 0), "{named:?}");
            // A board that was reset twice while it had one wafer is all that a fair line brings about.
            if rate < 0.1 {
                let lost = tally.failed.remove("lost twice").unwrap_or(0);
                assert_eq!(tally.failed, BTreeMap::new());
                assert!(100 * lost < tally.wafers, "{lost} of {}", tally.wafers);
            }
        }
    });
}

#[test]
fn faults_with_the_real_engine_and_no_wrong_answer() {
    watched(|| {
        let model = Model::new_checked(MODEL).unwrap();
        let mut arenas = [(); 2].map(|()| AlignedBox::zeroed(model.header().arena_bytes as usize));
        let [board, arena] = &mut arenas;
        let board = FixedEngine::new(model.clone(), board).unwrap();
        let mut engine = FixedEngine::new(model, arena).unwrap();

        // A few wafers whose answers are worked out once; the board works out each anew.
        let mut rng = fastrand::Rng::with_seed(5);
        let pool: Vec<_> = (0..12)
            .map(|_| {
                let wafer = wafer::any(&mut rng);
                let (answer, mask) = direct(&wafer, &mut engine);
                (wafer, answer, mask)
            })
            .collect();
        let mut tally = Tally::default();
        endure(&mut tally, board, (5, 0.2, 1_500), || {
            let (wafer, answer, mask) = pool[rng.usize(..pool.len())].clone();
            (
                wafer,
                Box::new(move |report| assert_right(report, &answer, &mask)),
            )
        });
        tally.print("published model, 20 % of frames hit");
        assert!(tally.answered > tally.wafers / 2);
    });
}
