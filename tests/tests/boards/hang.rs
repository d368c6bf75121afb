//! An inference that hangs: the watchdog resets the board, the host library sends the wafer anew, once, and whoever
//! asks hears why the board started.
//!
//! The firmware is that of `cargo xtask firmware`; a debugger changes an instruction of a kernel, and a reset brings it back.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use lightwafer_device::protocol::frame::{FrameDecoder, decode};
use lightwafer_device::protocol::message::{Command, Request};
use lightwafer_equipment::emulator::Emulator;
use lightwafer_equipment::{
    Board, BoardOptions, ClassifyError, DieMap, Local, Loss, ResetCause, SerialLine, Transport,
};
use lightwafer_maps::synth::synthesize;
use lightwafer_runtime::crc32;
use lightwafer_runtime::dies::Class;
use lightwafer_tests::debugger::Debugger;

use super::{boards, options, root, skipped};

/// Hangs are made when the host asks for an inference, so many times.
struct Trap {
    line: SerialLine,
    debugger: Debugger,
    hangs: u32,
}

impl Transport for Trap {
    fn read(&mut self, buffer: &mut [u8], timeout: Duration) -> std::io::Result<usize> {
        self.line.read(buffer, timeout)
    }
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        let mut decoder = FrameDecoder::new();
        let frame = bytes
            .iter()
            .find_map(|byte| decoder.push(*byte)?.ok().map(<[u8]>::to_vec));
        let request: Request<'_> = decode(frame.as_deref().unwrap()).unwrap();
        // With the map, not with the request to run, which is sent again while the board hangs.
        if self.hangs > 0 && matches!(request.command, Command::Map { .. }) {
            self.hangs -= 1;
            self.debugger.make_inference_hang().unwrap();
        }
        self.line.write(bytes)
    }
}

fn board(machine: &str) -> (Emulator, Board<Trap>) {
    let mut options = options(machine);
    // Two tests run at once, on the same machine too: each board has a socket of its own.
    static BOARDS: AtomicU32 = AtomicU32::new(0);
    let number = BOARDS.fetch_add(1, Ordering::Relaxed);
    let socket = format!("lightwafer-hang-{}-{number}", std::process::id());
    let socket = std::env::temp_dir().join(socket);
    options.debugger = Some(socket.clone());
    let mut emulator = Emulator::start(&options).unwrap();
    let line = emulator.line().unwrap();
    emulator.resume().unwrap();
    let trap = Trap {
        line,
        debugger: Debugger::new(socket, &options.firmware).unwrap(),
        hangs: 0,
    };
    let board = Board::over_with(trap, BoardOptions::default()).unwrap();
    (emulator, board)
}

/// The board with so many hangs to come.
fn with_hangs(mut board: Board<Trap>, hangs: u32) -> Board<Trap> {
    let options = *board.options();
    let mut trap = board.into_transport();
    trap.hangs = hangs;
    board = Board::over_with(trap, options).unwrap();
    board
}

#[test]
fn a_hang_ends_in_a_reset_and_the_answer_comes_all_the_same() {
    if skipped() {
        return;
    }
    let dies = synthesize(Class::new(9).unwrap(), 3, 52, 52);
    let mut packed = vec![0; 52 * 52 / 4];
    let map = DieMap::pack(52, 52, &dies, &mut packed).unwrap();
    let local = Local::load(root().join("models/light-int8.lw")).unwrap();
    let expected = local.classify(&map).unwrap();
    for machine in boards() {
        let (_emulator, board) = board(machine);
        assert_eq!(board.facts().reset, ResetCause::PowerOn, "{machine}");
        let mut board = with_hangs(board, 1);
        let start = Instant::now();
        let report = board.classify(&map).unwrap();
        let took = start.elapsed().as_secs_f64();
        assert_eq!(report.logits, expected.logits, "{machine}");
        assert!(report.mask == expected.mask, "{machine}");
        assert_eq!(board.facts().reset, ResetCause::Watchdog, "{machine}");
        let line = board.line();
        assert_eq!((line.losses, line.resends), (1, 1), "{machine}");
        let starts = board.health().unwrap().starts;
        assert_eq!(starts, [1, 0, 0, 1, 0, 0], "{machine}");
        eprintln!("{machine}: hung, was reset, and answered in {took:.1} s");
    }
}

#[test]
fn a_wafer_that_hangs_the_board_each_time_is_given_up() {
    if skipped() {
        return;
    }
    let map = DieMap::new_checked(2, 2, &[0x99]).unwrap();
    let (_emulator, board) = board("mps2-an386");
    let mut board = with_hangs(board, u32::MAX);
    let error = board.classify(&map).unwrap_err();
    assert!(error.to_string().contains("2×2 dies"), "{error}");
    assert!(error.to_string().contains("Watchdog"), "{error}");
    assert!(!error.is_board_failure());
    let loss = Loss {
        request: "run",
        silent: false,
        reset: ResetCause::Watchdog,
    };
    match error {
        ClassifyError::Lost {
            map_crc, losses, ..
        } => {
            assert_eq!(map_crc, crc32(map.packed()));
            assert_eq!(losses, [loss; 2]);
        }
        other => panic!("{other}"),
    }
    // And the next wafer is answered.
    let mut board = with_hangs(board, 0);
    board.classify(&map).unwrap();
    assert_eq!(board.health().unwrap().starts, [1, 0, 0, 2, 0, 0]);
}
