//! The daemon as a whole: the equipment library talks to it over a pseudo-terminal.

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use lightwafer_equipment::{Board, Local};
use lightwafer_maps::synth::synthesize;
use lightwafer_runtime::dies::{Class, DieMap, MAX_PACKED_LEN};

fn model() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../models/light-int8.lw")
}

/// Lets no other test of the program run: a program that one starts holds the other's line, lock and all, until it
/// has become itself.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A daemon that ends with the test.
struct Daemon {
    child: Child,
    port: String,
}

/// The daemon of this build, or what `LIGHTWAFER_DAEMON` says: one for another processor behind its emulator.
fn daemon() -> Command {
    let words = std::env::var("LIGHTWAFER_DAEMON").unwrap_or_default();
    let mut words = words.split_whitespace();
    let own = env!("CARGO_BIN_EXE_lightwafer-linux");
    let mut command = Command::new(words.next().unwrap_or(own));
    command.args(words);
    command
}

impl Daemon {
    fn start() -> Self {
        Self::of("fixed", model())
    }

    fn of(engine: &str, model: PathBuf) -> Self {
        let mut child = daemon()
            .args(["--pty", "--engine", engine, "--model"])
            .arg(model)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut port = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut port)
            .unwrap();
        let port = port.trim_end().to_owned();
        Self { child, port }
    }

    /// Sends a signal, and gives the exit code and the log.
    fn end(mut self, signal: &str) -> (Option<i32>, String) {
        let kill = Command::new("kill")
            .args([format!("-{signal}"), self.child.id().to_string()])
            .status();
        assert!(kill.unwrap().success());
        let end = Instant::now() + Duration::from_secs(10);
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(Instant::now() < end, "the daemon did not end");
            std::thread::sleep(Duration::from_millis(20));
        };
        let mut log = String::new();
        let mut stderr = self.child.stderr.take().unwrap();
        stderr.read_to_string(&mut log).unwrap();
        (status.code(), log)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // Ended already where the test went well.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn answers_equal_the_local_engines_and_a_signal_ends_it() {
    let _alone = alone();
    let daemon = Daemon::start();
    let local = Local::load(model()).unwrap();
    let mut wafers = 0;
    // The second client finds the pseudo-terminal that the first one left.
    for (client, (rows, cols)) in [(52, 52), (31, 77)].into_iter().enumerate() {
        let mut board = Board::open(&daemon.port).unwrap();
        assert!(board.facts().board.starts_with("linux-"));
        assert_eq!(board.facts().model, *local.facts());
        for class in Class::all().skip(client).step_by(5) {
            let dies = synthesize(class, 7, rows, cols);
            let mut packed = [0; MAX_PACKED_LEN];
            let map = DieMap::pack(rows, cols, &dies, &mut packed).unwrap();
            let (mut far, mut near) =
                (board.classify(&map).unwrap(), local.classify(&map).unwrap());
            (far.elapsed, near.elapsed) = (Duration::ZERO, Duration::ZERO);
            assert_eq!(far, near, "{}", class.label());
            wafers += 1;
        }
    }
    let (code, log) = daemon.end("TERM");
    assert_eq!(code, Some(0), "{log}");
    assert!(log.contains(&format!("ending: {wafers} wafers")), "{log}");
}

/// The student in floats need not answer the same bits; on clear wafers it says the same.
#[cfg(feature = "tract")]
#[test]
fn tract_says_the_same_over_the_line() {
    let _alone = alone();
    let daemon = Daemon::of("tract", model().with_file_name("light.onnx"));
    let local = Local::load(model()).unwrap();
    let mut board = Board::open(&daemon.port).unwrap();
    let mut wafers = 0;
    for class in Class::all().step_by(5) {
        let dies = synthesize(class, 7, 52, 52);
        let mut packed = [0; MAX_PACKED_LEN];
        let map = DieMap::pack(52, 52, &dies, &mut packed).unwrap();
        let (far, near) = (board.classify(&map).unwrap(), local.classify(&map).unwrap());
        assert_eq!(far.class, near.class, "{}", class.label());
        let differ = far
            .mask
            .0
            .iter()
            .zip(&near.mask.0)
            .map(|(a, b)| (a ^ b).count_ones());
        assert!(differ.sum::<u32>() <= 4, "{}", class.label());
        wafers += 1;
    }
    let (code, log) = daemon.end("TERM");
    assert_eq!(code, Some(0), "{log}");
    assert!(log.contains(&format!("ending: {wafers} wafers")), "{log}");
}

#[test]
fn an_interrupt_ends_it_too() {
    let _alone = alone();
    assert_eq!(Daemon::start().end("INT").0, Some(0));
}

fn outcome(args: &[&str]) -> Output {
    daemon().args(args).output().unwrap()
}

#[test]
fn what_is_wrong_is_named_and_has_its_exit_code() {
    let _alone = alone();
    let model = model();
    let model = model.to_str().unwrap();
    let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
    let cases: [(&[&str], i32, &str); 5] = [
        (&["--model", model], 2, "--port"),
        (
            &["--port", "/dev/null", "--pty", "--model", model],
            2,
            "--pty",
        ),
        (&["--pty", "--model", "/nowhere.lw"], 3, "/nowhere.lw"),
        (&["--pty", "--model", manifest], 3, "Cargo.toml"),
        (&["--port", "/dev/nowhere", "--model", model], 1, "dialout"),
    ];
    for (args, code, words) in cases {
        let output = outcome(args);
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{args:?}: {text}");
        assert!(text.contains(words), "{args:?}: {text}");
    }
}
