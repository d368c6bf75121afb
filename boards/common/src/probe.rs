//! Firmware for tests and measurements: it says why it started, as a line of text, then does what a letter
//! asks for.
//!
//! | letter | what it does |
//! | --- | --- |
//! | `t` | compares the kernels with the reference kernels ([`differential`]) and says how many cases differed |
//! | `l` | classifies the model's golden wafer and gives the instructions of each layer, a line of JSON each |
//! | `p` | panics |
//! | `f` | faults |
//! | `s` | runs the stack over |
//! | `h` | starts the watchdog and hangs |
//! | `r` | restarts |

use core::fmt::Write as _;
use core::hint::black_box;

use cortex_m::singleton;
use embedded_io::{Read, Write};
use heapless::String;
use lightwafer_runtime::dies::Mask;
use lightwafer_runtime::graph::{Op, channels_in};
use lightwafer_runtime::internals::kernels::differential::{self, Differential};
use lightwafer_runtime::limits::MAX_LAYERS;
use lightwafer_runtime::{FixedEngine, RowEvent};

use crate::clock::Clock;
use crate::reset;
use crate::watchdog::Watchdog;

/// Cases of each kernel.
const CASES: u32 = 3000;
/// Bytes of a line of text.
const TEXT: usize = 200;

/// Does what letters on `serial` ask for, for good. `watchdog` starts the board's.
pub fn run<L: Read + Write, W: Watchdog>(
    mut serial: L,
    clock: &Clock,
    image: &'static [u8],
    arena: &'static mut [i8],
    watchdog: fn() -> W,
) -> ! {
    let note = reset::Note::take(None);
    let mut text = String::<TEXT>::new();
    let (cause, file) = (note.cause, note.file());
    let _ = writeln!(
        text,
        "{cause:?} at {} status {:#x} {file}",
        note.at, note.status
    );
    say(&mut serial, &text);
    let mut arena = Some(arena);
    loop {
        let mut letter = [0];
        let _ = serial.read(&mut letter);
        match letter {
            [b't'] => compare(&mut serial),
            [b'l'] => layers(&mut serial, clock, image, arena.take()),
            [b'p'] => {
                #[expect(clippy::panic, reason = "that is the point")]
                {
                    panic!("told to")
                }
            }
            [b'f'] => fault(),
            [b's'] => _ = deeper(1),
            [b'h'] => hang(watchdog()),
            [b'r'] => reset::restart(),
            _ => {}
        }
    }
}

fn say(serial: &mut impl Write, text: &str) {
    let _ = serial.write_all(text.as_bytes());
    let _ = serial.flush();
}

#[inline(never)]
fn compare(serial: &mut impl Write) {
    let mut text = String::<TEXT>::new();
    if let Some(test) = singleton!(: Differential = Differential::new()) {
        for outcome in test.compare(&differential::CHOSEN, CASES) {
            let (kernel, differ, fast) = (outcome.kernel, outcome.differ, outcome.fast);
            let _ = write!(text, "{kernel} {CASES} cases {differ} differ {fast} fast");
            if differ > 0 {
                let _ = write!(text, " from {:#x}", outcome.first);
            }
            let _ = text.push_str("; ");
        }
    }
    let _ = text.push('\n');
    say(serial, &text);
}

/// A line a layer, then one for all; or one that says what is missing.
#[inline(never)]
fn layers(
    serial: &mut impl Write,
    clock: &Clock,
    image: &'static [u8],
    arena: Option<&'static mut [i8]>,
) {
    let parts = (
        singleton!(: FixedEngine<'static, 'static> = FixedEngine::idle()),
        singleton!(: Mask = Mask::new()),
        arena,
    );
    let (Some(engine), Some(mask), Some(arena)) = parts else {
        return say(serial, "{\"error\":\"asked twice\"}\n");
    };
    let started = engine.start(image, arena);
    let (Ok(()), Some(map), Some(_)) = (started, engine.model().golden_map(), clock.instructions())
    else {
        return say(serial, "{\"error\":\"no engine, or no counter\"}\n");
    };
    let now = || clock.instructions().unwrap_or(0);
    // What looking at the clock costs, in tenths.
    let begin = now();
    for _ in 0..10 {
        black_box(now());
    }
    let look = (now() - begin) * 10 / 11;
    let mut spent = [0u64; MAX_LAYERS];
    let mut looks = [0u64; MAX_LAYERS];
    let mut from = 0;
    let begin = now();
    engine.infer_watched(&map, mask, |event| match event {
        RowEvent::Begins => from = now(),
        RowEvent::Ends(layer) => {
            let until = now();
            if let (Some(spent), Some(looks)) = (spent.get_mut(layer), looks.get_mut(layer)) {
                *spent += until - from;
                *looks += 1;
            }
        }
        _ => {}
    });
    let all = now() - begin;
    let mut rest = all;
    let rows: u64 = looks.iter().sum();
    for (at, layer) in engine.model().layers().iter().enumerate() {
        let count = |list: &[u64]| list.get(at).copied().unwrap_or(0);
        rest = rest.saturating_sub(count(&spent));
        let instructions = count(&spent).saturating_sub(count(&looks) * look / 10);
        let inputs = channels_in(engine.model().layers(), layer);
        // Of an image that is not cut into tiles.
        let columns = if layer.op == Op::ClassHead {
            1
        } else {
            layer.width
        };
        let macs = layer.macs(inputs, columns);
        let mut text = String::<TEXT>::new();
        let _ = writeln!(
            text,
            "{{\"layer\":{at},\"op\":\"{:?}\",\"width\":{},\"height\":{},\"inputs\":{inputs},\
             \"outputs\":{},\"macs\":{macs},\"instructions\":{instructions}}}",
            layer.op, layer.width, layer.height, layer.channels
        );
        say(serial, &text);
    }
    let mut text = String::<TEXT>::new();
    let rest = rest.saturating_sub(rows * look / 10);
    let _ = writeln!(text, "{{\"rest\":{rest}}}");
    say(serial, &text);
}

/// Reads where nothing is.
fn fault() {
    // SAFETY: nothing answers at this address, so nothing is changed; the fault is wanted.
    #[allow(unsafe_code)]
    let word = unsafe { core::ptr::read_volatile(0xf000_0000 as *const u32) };
    black_box(word);
}

/// Feeds the watchdog for the last time.
fn hang(mut watchdog: impl Watchdog) {
    watchdog.feed();
    while black_box(true) {}
}

/// Takes stack until there is none.
fn deeper(depth: u32) -> u32 {
    let room = black_box([depth; 16]);
    let below = if black_box(true) {
        deeper(depth + 1)
    } else {
        0
    };
    below + black_box(room).iter().sum::<u32>()
}
