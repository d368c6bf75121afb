//! `trainer data` through the command line: statistics, splits, synthetic wafers, and errors.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use lightwafer_maps::npz::{WaferSet, read_wafers, write_wafers};
use lightwafer_maps::synth::every_class;
use serde_json::Value;

fn trainer(args: &[&str], paths: &[&Path]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_trainer"));
    let mut paths = paths.iter();
    for arg in args {
        match *arg {
            "PATH" => command.arg(paths.next().unwrap()),
            arg => command.arg(arg),
        };
    }
    command.output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Wafers of every class; wafer 1 again at the end, and wafer 2 mirrored.
fn with_repeats() -> WaferSet {
    let mut set = every_class(10, 1, 20, 20);
    let labels = set.labels.as_mut().unwrap();
    labels.extend([labels[1], labels[2]]);
    let (again, mirrored) = (set.dies(1).to_vec(), set.dies(2).to_vec());
    set.dies.extend(again);
    set.dies.extend(mirrored.chunks_exact(20).rev().flatten());
    set
}

#[test]
fn repeats_and_leaks_are_counted() {
    let dir = tempfile::tempdir().unwrap();
    let (file, sheet) = (dir.path().join("wafers.npz"), dir.path().join("sheet.png"));
    write_wafers(&file, &with_repeats()).unwrap();
    let output = trainer(
        &["data", "inspect", "PATH", "--json", "--sheet", "PATH"],
        &[&file, &sheet],
    );
    assert!(output.status.success(), "{}", text(&output.stderr));
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        (&found["wafers"], &found["repeated"]),
        (&382.into(), &1.into())
    );
    // Small synthetic maps may be symmetric to each other by themselves: at least the planted one.
    assert!(found["repeated_turned"].as_u64() >= Some(1), "{found}");
    let leaks = found["leaks"].as_array().unwrap();
    assert!(leaks.iter().all(|leak| leak["same"] == 0), "{leaks:?}");
    assert_eq!(found["classes"][0]["repeated"], 1);
    assert_eq!(found["classes"][5]["test"], 1);
    assert!(fs::read(&sheet).unwrap().starts_with(b"\x89PNG"));
    let table = text(&trainer(&["data", "inspect", "PATH"], &[&file]).stdout);
    assert!(
        table.contains("D+ER+L+S") && table.contains("test wafers that are in train too: 0"),
        "{table}"
    );
}

#[test]
fn a_split_is_whole_and_not_overwritten() {
    let dir = tempfile::tempdir().unwrap();
    let (file, out) = (dir.path().join("wafers.npz"), dir.path().join("split"));
    let set = with_repeats();
    write_wafers(&file, &set).unwrap();
    let split = |more: &[&str]| {
        let args = [&["data", "split", "PATH", "--out", "PATH"], more].concat();
        trainer(&args, &[&file, &out])
    };
    assert!(split(&[]).status.success());
    let list: Value = serde_json::from_slice(&fs::read(out.join("split.json")).unwrap()).unwrap();
    let mut all = 0;
    for part in ["train", "val", "test"] {
        let read = read_wafers(&out.join(format!("{part}.npz"))).unwrap();
        let positions = list["positions"][part].as_array().unwrap();
        assert_eq!(read.len(), positions.len());
        let first = positions[0].as_u64().unwrap() as usize;
        assert_eq!(read.dies(0), set.dies(first));
        assert_eq!(
            read.labels.as_ref().unwrap()[0],
            set.labels.as_ref().unwrap()[first]
        );
        all += read.len();
    }
    assert_eq!(all, 381);
    let again = split(&[]);
    assert!(!again.status.success() && text(&again.stderr).contains("--force"));
    assert!(split(&["--force"]).status.success());
}

#[test]
fn synthetic_wafers_come_with_labels_and_masks() {
    let dir = tempfile::tempdir().unwrap();
    let (file, masks) = (dir.path().join("s.npz"), dir.path().join("m.npz"));
    let args = [
        "data",
        "synth",
        "--per-class",
        "2",
        "--rows",
        "30",
        "--out",
        "PATH",
        "--masks",
        "PATH",
    ];
    let output = trainer(&args, &[&file, &masks]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let set = read_wafers(&file).unwrap();
    assert_eq!((set.len(), set.rows, set.cols), (76, 30, 52));
    assert!(fs::metadata(&masks).unwrap().len() > 1000);
}

#[test]
fn what_is_wrong_with_a_file_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("wafers.npz");
    let refused = |expected: &str| {
        for command in ["inspect", "split"] {
            let out = dir.path().join("out");
            let args: &[&str] = match command {
                "split" => &["data", "split", "PATH", "--out", "PATH"],
                _ => &["data", "inspect", "PATH"],
            };
            let output = trainer(args, &[&path, &out]);
            let said = text(&output.stderr);
            assert_eq!(output.status.code(), Some(1), "{said}");
            assert!(
                said.contains("wafers.npz") && said.contains(expected),
                "{said}"
            );
            assert!(!out.join("train.npz").exists());
        }
    };
    refused("No such file");
    let set = with_repeats();
    write_wafers(
        &path,
        &WaferSet {
            labels: None,
            ..set.clone()
        },
    )
    .unwrap();
    refused("no labels");
    write_wafers(&path, &set).unwrap();
    let whole = fs::read(&path).unwrap();
    for part in [0, 10, 100, whole.len() / 2, whole.len() - 1] {
        fs::write(&path, &whole[..part]).unwrap();
        refused("");
    }
    fs::write(&path, "no zip").unwrap();
    refused("");
}

/// A file system that is full: an error, and nothing under the final names.
#[test]
#[cfg(unix)]
fn a_full_disk_leaves_nothing_half_written() {
    let dir = tempfile::tempdir().unwrap();
    let (file, out) = (dir.path().join("wafers.npz"), dir.path().join("big.npz"));
    write_wafers(&file, &every_class(1, 1, 20, 20)).unwrap();
    // A limit on file size fails as a full disk does, with an error from `write` (SIGXFSZ ignored).
    let limited = |command: &str| {
        let script = format!(
            "trap '' XFSZ; ulimit -f 8; exec '{}' {command}",
            env!("CARGO_BIN_EXE_trainer")
        );
        Command::new("sh").args(["-c", &script]).output().unwrap()
    };
    let output = limited(&format!(
        "data synth --per-class 50 --out '{}'",
        out.display()
    ));
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
    assert!(
        text(&output.stderr).contains("big.npz"),
        "{}",
        text(&output.stderr)
    );
    assert!(!out.exists());
    let run = dir.path().join("run");
    let output = limited(&format!(
        "student --stages 16x1 --threads 1 --data '{}' --out '{}'",
        file.display(),
        run.display()
    ));
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
    assert!(
        text(&output.stderr).contains("cannot write"),
        "{}",
        text(&output.stderr)
    );
    assert!(!run.join("last.safetensors").exists() && !run.join("best.safetensors").exists());
}
