//! A port that disappears and comes back: the host against a real station on a pseudo-terminal.
#![cfg(unix)]

use std::io::{self, Read, Write};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use lightwafer_device::protocol::message::ResetCause;
use lightwafer_device::{Station, StationMemory};
use lightwafer_equipment::{Board, BoardError, BoardOptions, ClassifyError, DieMap, Local, Loss};
use lightwafer_maps::synth::synthesize;
use lightwafer_runtime::AlignedBox;
use lightwafer_runtime::FixedEngine;
use lightwafer_runtime::dies::Class;
use lightwafer_runtime::image::Model;
use lightwafer_testkit::{FakePlatform, MODEL, model_path, wafer};
use serialport::{SerialPort, TTYPort};

/// A station on a pseudo-terminal whose name `link` points to; it ends when told to, or after
/// `requests` requests.
struct Device {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Device {
    fn plug_in(name: &'static str, link: &Path, requests: usize) -> Self {
        let (mut master, slave) = TTYPort::pair().unwrap();
        let _ = std::fs::remove_file(link);
        symlink(slave.name().unwrap(), link).unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let path = link.to_path_buf();
        let (ready, plugged) = mpsc::channel();
        let thread = std::thread::spawn(move || {
            let model = Model::new_checked(MODEL).unwrap();
            let mut arena = AlignedBox::zeroed(model.header().arena_bytes as usize);
            let engine = FixedEngine::new(model, &mut arena).unwrap();
            let mut memory = Box::new(StationMemory::new());
            let mut station = Station::new(&mut memory, engine, FakePlatform::new(name));
            master.set_timeout(Duration::from_millis(20)).unwrap();
            ready.send(()).unwrap();
            // Held until the host has opened it, else the master reads an error; then let go, so
            // that the host sees the end of `master`.
            let mut slave = Some(slave);
            let (mut buffer, mut answered) = ([0; 256], 0);
            while !stopped.load(Ordering::Relaxed) && answered < requests {
                let count = match master.read(&mut buffer) {
                    Ok(count) => count,
                    Err(error) if error.kind() == io::ErrorKind::TimedOut => continue,
                    Err(_) => break,
                };
                slave = None;
                for &byte in &buffer[..count] {
                    if let Some(frame) = station.feed(byte) {
                        answered += 1;
                        if answered >= requests || master.write_all(frame).is_err() {
                            break;
                        }
                    }
                }
            }
            // Before the system gives the name to the next pseudo-terminal that anyone opens.
            let _ = std::fs::remove_file(path);
            drop((slave, master));
        });
        plugged.recv().unwrap();
        Self { stop, thread }
    }

    fn wait(self) {
        self.thread.join().unwrap();
    }

    fn unplug(self) {
        self.stop.store(true, Ordering::Relaxed);
        self.wait();
    }
}

fn options() -> BoardOptions {
    BoardOptions {
        request_timeout: Duration::from_millis(500),
        reconnect_timeout: Duration::from_secs(20),
        ..BoardOptions::default()
    }
}

#[test]
fn a_wafer_survives_an_unplugged_cable() {
    let folder = tempfile::TempDir::new().unwrap();
    let link = folder.path().join("board");
    let dies = synthesize(Class::new(9).unwrap(), 1, 52, 52);
    let wafer = wafer::of(52, 52, &dies);
    let map = wafer.map();
    let expected = Local::load(model_path()).unwrap().classify(&map).unwrap();
    // Hello, map, two pieces of dies, run, mask…: the first device goes at each of these moments.
    for requests in 2..=7 {
        let first = Device::plug_in("desk", &link, requests);
        let mut board = Board::open_with(link.to_str().unwrap(), options()).unwrap();
        let second = std::thread::spawn({
            let link = link.clone();
            move || {
                first.wait();
                Device::plug_in("desk", &link, usize::MAX)
            }
        });
        let report = board.classify(&map).unwrap();
        assert_eq!(report.logits, expected.logits);
        assert_eq!(
            (report.class, &report.mask),
            (expected.class, &expected.mask)
        );
        assert_eq!(board.line().reopens, 1, "after {requests} requests");
        second.join().unwrap().unplug();
    }
}

#[test]
fn a_wafer_that_is_lost_twice_is_an_error_that_names_it() {
    let folder = tempfile::TempDir::new().unwrap();
    let link = folder.path().join("board");
    let map = DieMap::new_checked(2, 2, &[0x99]).unwrap();
    // Each device goes while it has the wafer: hello, map, dies, run.
    let first = Device::plug_in("desk", &link, 4);
    let mut board = Board::open_with(link.to_str().unwrap(), options()).unwrap();
    let others = std::thread::spawn({
        let link = link.clone();
        move || {
            first.wait();
            // Hello, run (forgotten), hello, map, dies, run.
            Device::plug_in("desk", &link, 6).wait();
            Device::plug_in("desk", &link, usize::MAX)
        }
    });
    let error = board.classify(&map).unwrap_err();
    let said = error.to_string();
    assert!(
        said.contains("2×2 dies") && said.contains("PowerOn"),
        "{said}"
    );
    match error {
        ClassifyError::Lost {
            rows,
            cols,
            map_crc,
            losses,
        } => {
            assert_eq!((rows, cols), (2, 2));
            assert_eq!(map_crc, lightwafer_runtime::crc32(map.packed()));
            let loss = Loss {
                request: "run",
                silent: false,
                reset: ResetCause::PowerOn,
            };
            assert_eq!(losses, [loss; 2]);
        }
        other => panic!("{other}"),
    }
    let line = board.line();
    assert_eq!((line.losses, line.reopens), (2, 2));
    // The board as such is well.
    board.classify(&map).unwrap();
    others.join().unwrap().unplug();
}

#[test]
fn another_board_in_its_place_is_refused() {
    let folder = tempfile::TempDir::new().unwrap();
    let link = folder.path().join("board");
    let first = Device::plug_in("desk", &link, usize::MAX);
    let mut board = Board::open_with(link.to_str().unwrap(), options()).unwrap();
    first.unplug();
    let second = Device::plug_in("another desk", &link, usize::MAX);
    let error = board.statistics().err().unwrap();
    assert!(matches!(error, BoardError::Changed { .. }), "{error}");
    second.unplug();

    let wafer = wafer::of(1, 1, &[2]);
    let map = wafer.map();
    let mut board_options = options();
    board_options.reconnect_timeout = Duration::from_millis(300);
    let third = Device::plug_in("desk", &link, usize::MAX);
    let mut board = Board::open_with(link.to_str().unwrap(), board_options).unwrap();
    third.unplug();
    let error = board.classify(&map).err().unwrap();
    assert!(
        matches!(error, ClassifyError::Board(BoardError::Lost { .. })),
        "{error}"
    );
}
