//! `equipment/python/lightwafer.py` against an emulated board: the answer is the host's, also where the board hangs the
//! first time and is reset.
//!
//! `cargo xtask test` makes a Python with pyserial and cobs and names it in LIGHTWAFER_CLIENT_PYTHON; without it
//! this is skipped, and says so.

use std::fmt::Write;
use std::fs;
use std::process::Command;

use lightwafer_equipment::emulator::Emulator;
use lightwafer_equipment::{Board, BoardOptions, Class, DieMap, Local};
use lightwafer_maps::synth::synthesize;

use super::{options, root, skipped};
use lightwafer_tests::debugger::Debugger;

#[test]
fn the_python_client_answers_as_the_host_does() {
    if skipped() {
        return;
    }
    let Some(python) = std::env::var_os("LIGHTWAFER_CLIENT_PYTHON") else {
        eprintln!("SKIPPED: no Python with pyserial and cobs (LIGHTWAFER_CLIENT_PYTHON)");
        return;
    };
    let class = Class::new(9).unwrap();
    let (rows, cols) = (52, 52);
    let dies = synthesize(class, 5, rows, cols);
    let mut packed = vec![0; usize::from(rows) * usize::from(cols) / 4];
    let map = DieMap::pack(rows, cols, &dies, &mut packed).unwrap();
    let model = root().join("models/light-int8.lw");
    let expected = Local::load(model).unwrap().classify(&map).unwrap();

    let mut text = String::new();
    for row in dies.chunks(usize::from(cols)) {
        let row: Vec<String> = row.iter().map(u8::to_string).collect();
        writeln!(text, "{}", row.join(",")).unwrap();
    }
    let input = std::env::temp_dir().join(format!("lightwafer-{}.csv", std::process::id()));
    fs::write(&input, text).unwrap();
    let machine = "mps2-an500";
    let mut options = options(machine);
    let socket = format!("lightwafer-python-{}", std::process::id());
    let socket = std::env::temp_dir().join(socket);
    options.debugger = Some(socket.clone());
    let debugger = Debugger::new(socket, &options.firmware).unwrap();
    let (emulator, mut board) = Emulator::boot(&options, BoardOptions::default()).unwrap();
    board.hello().unwrap();
    drop(board);
    debugger.make_inference_hang().unwrap();
    let output = Command::new(python)
        .arg(root().join("equipment/python/lightwafer.py"))
        .args([emulator.port().as_ref(), input.as_os_str()])
        .output()
        .unwrap();
    fs::remove_file(&input).unwrap();
    let mut board = Board::over(emulator.line().unwrap()).unwrap();
    assert_eq!(board.health().unwrap().starts, [1, 0, 0, 1, 0, 0]);
    let (said, complained) = (output.stdout, String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{complained}");
    let answer: serde_json::Value = serde_json::from_slice(&said).unwrap();
    assert_eq!(answer["board"], machine);
    assert_eq!(answer["class"], expected.class.index());
    assert_eq!(answer["label"], expected.class.label());
    assert_eq!(answer["mask"], expected.mask.count());
    // In the protocol's own units, since JSON's decimals are rounded.
    let numbers = |name: &str, unit: f64| -> Vec<i64> {
        let list = answer[name].as_array().unwrap();
        let list = list.iter().map(|number| number.as_f64().unwrap() * unit);
        list.map(|number| number.round() as i64).collect()
    };
    assert_eq!(numbers("logits", 65_536.0), expected.logits.map(i64::from));
    let scores = expected.raw_scores.map(i64::from);
    assert_eq!(numbers("scores", 16_777_216.0), scores);
}
