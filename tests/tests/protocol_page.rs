//! The client of `docs/serial-protocol.md`, taken from the page and run against the real station:
//! whoever writes a client from the page gets right answers, also on a line that damages frames.
//! Skipped where there is no `python3`.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Stdio};

use lightwafer_device::{Station, StationMemory};
use lightwafer_runtime::dies::Mask;
use lightwafer_runtime::image::Model;
use lightwafer_runtime::{AlignedBox, Engine, FixedEngine, crc32};
use lightwafer_testkit::{FakePlatform, MODEL, wafer};

const PAGE: &str = include_str!("../../docs/serial-protocol.md");

/// Runs the page's client over a socket: maps in on stdin, answers out on stdout.
const DRIVER: &str = r#"
import socket, sys

class Port:
    def __init__(self, number):
        self.socket = socket.create_connection(("127.0.0.1", number))
        self.socket.settimeout(0.1)

    def write(self, data):
        self.socket.sendall(data)

    def read(self, count):
        try:
            return self.socket.recv(count)
        except socket.timeout:
            return b""

board = Board(Port(int(sys.argv[1])))
assert (board.protocol, board.name, board.firmware) == (1, "bench", "test")
for line in sys.stdin:
    rows, cols, dies = line.split()
    label, scores, mask = board.classify(int(rows), int(cols), [int(die) for die in dies])
    raw = " ".join(str(round(score * 2**24)) for score in scores)
    print(label, zlib.crc32(b"".join(mask)), raw)
try:
    board.ask(3, varint(board.wafer + 1), 2, 1.0)
except Refused as error:
    print("refused", error.args[0])
"#;

/// Serves one connection; the seventh and the twelfth answer and the ninth request are damaged.
fn serve(mut socket: TcpStream) {
    let model = Model::new_checked(MODEL).unwrap();
    let mut arena = AlignedBox::zeroed(model.header().arena_bytes as usize);
    let mut memory = Box::new(StationMemory::new());
    let engine = FixedEngine::new(model, &mut arena).unwrap();
    let mut station = Station::new(&mut memory, engine, FakePlatform::new("bench"));
    let (mut answers, mut requests) = (0, 0);
    let mut bytes = [0; 600];
    // The client waits for each answer, so one read seldom holds more than one request.
    while let Ok(count @ 1..) = socket.read(&mut bytes) {
        requests += 1;
        if requests == 9 {
            bytes[count / 2] ^= 0x10;
        }
        for &byte in &bytes[..count] {
            if let Some(answer) = station.feed(byte) {
                let mut answer = answer.to_vec();
                answers += 1;
                if answers == 7 || answers == 12 {
                    answer[3] ^= 0x40;
                }
                socket.write_all(&answer).unwrap();
            }
        }
    }
    assert!(station.statistics().repeated >= 2);
}

#[test]
fn the_pages_client_gets_right_answers() {
    if Command::new("python3").arg("--version").output().is_err() {
        eprintln!("skipped: no python3 on this machine");
        return;
    }
    let code = PAGE
        .split("```python\n")
        .nth(1)
        .unwrap()
        .split("```")
        .next()
        .unwrap();
    let mut rng = fastrand::Rng::with_seed(8);
    let (mut input, mut wanted) = (String::new(), String::new());
    let model = Model::new_checked(MODEL).unwrap();
    let mut arena = AlignedBox::zeroed(model.header().arena_bytes as usize);
    let mut engine = FixedEngine::new(model, &mut arena).unwrap();
    for (rows, cols) in [(52, 52), (3, 5), (256, 256), (1, 1), (52, 51)] {
        let dies: Vec<u8> = (0..usize::from(rows) * usize::from(cols))
            .map(|_| rng.u8(..3))
            .collect();
        let wafer = wafer::of(rows, cols, &dies);
        let mut mask = Mask::new();
        let answer = engine.classify(&wafer.map(), &mut mask).unwrap();
        let digits: String = dies.iter().map(|die| char::from(b'0' + die)).collect();
        input += &format!("{rows} {cols} {digits}\n");
        wanted += &format!("{} {}", answer.class.index(), crc32(&mask.0));
        wanted.extend(answer.scores.iter().map(|score| format!(" {score}")));
        wanted += "\n";
    }
    wanted += "refused 7\n";

    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    let server = std::thread::spawn(move || serve(listener.accept().unwrap().0));
    let mut client = Command::new("python3")
        .args(["-c", &format!("{code}\n{DRIVER}"), &port])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    client
        .stdin
        .take()
        .unwrap()
        .write_all(input.as_bytes())
        .unwrap();
    let output = client.wait_with_output().unwrap();
    assert!(output.status.success(), "the page's client failed");
    assert_eq!(String::from_utf8(output.stdout).unwrap(), wanted);
    server.join().unwrap();
}
