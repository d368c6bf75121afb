//! The `lightwafer` command as a user calls it, with the published model on this machine.

use std::fs;
use std::process::{Command, Output};

use lightwafer_maps::npz::read_wafers;
use lightwafer_testkit::model_path;
use serde_json::Value;
use tempfile::TempDir;

fn lightwafer(folder: &TempDir, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_lightwafer"))
        .args(arguments)
        .current_dir(folder.path())
        .output()
        .unwrap()
}

/// Classifies with the published model; gives the exit code, stdout and stderr.
fn classify(folder: &TempDir, arguments: &[&str]) -> (i32, String, String) {
    let model = model_path();
    let mut all = vec!["classify", "--local", model.to_str().unwrap()];
    all.extend(arguments);
    text(&lightwafer(folder, &all))
}

fn text(output: &Output) -> (i32, String, String) {
    let utf8 = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (
        output.status.code().unwrap(),
        utf8(&output.stdout),
        utf8(&output.stderr),
    )
}

fn folder() -> TempDir {
    let folder = TempDir::new().unwrap();
    let output = lightwafer(&folder, &["synth", "wafers.npz", "--seed", "3"]);
    assert!(output.status.success(), "{output:?}");
    folder
}

fn lines(stdout: &str) -> Vec<Value> {
    stdout
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[test]
fn synthetic_maps_cover_all_classes_and_repeat() {
    let folder = folder();
    let file = |name: &str| folder.path().join(name);
    let set = read_wafers(&file("wafers.npz")).unwrap();
    assert_eq!((set.len(), set.rows, set.cols), (38, 52, 52));
    assert_eq!(set.labels, Some((0..38).collect()));
    let again = [
        "synth",
        "again.npz",
        "--seed",
        "3",
        "--per-class",
        "1",
        "--grid",
        "52x52",
    ];
    assert!(lightwafer(&folder, &again).status.success());
    assert_eq!(read_wafers(&file("again.npz")).unwrap(), set);
    let other = ["synth", "other.npz", "--seed", "4", "--grid", "20x31"];
    assert!(lightwafer(&folder, &other).status.success());
    let other = read_wafers(&file("other.npz")).unwrap();
    assert_eq!((other.rows, other.cols), (20, 31));
}

#[test]
fn json_masks_and_pictures_of_every_wafer() {
    let folder = folder();
    let arguments = [
        "wafers.npz",
        "--limit",
        "9",
        "--json",
        "--masks",
        "masks.npz",
        "--pictures",
        "p",
    ];
    let (code, stdout, stderr) = classify(&folder, &arguments);
    assert_eq!(code, 0, "{stderr}");
    assert!(stderr.contains("9 maps: 9 answered, 0 failed"), "{stderr}");
    let answers = lines(&stdout);
    assert_eq!(answers.len(), 9);
    let masks = read_wafers(&folder.path().join("masks.npz")).unwrap();
    assert_eq!((masks.len(), masks.rows, masks.cols), (9, 224, 224));
    for (index, answer) in answers.iter().enumerate() {
        assert_eq!(answer["index"], index);
        assert_eq!(answer["map"], index);
        assert_eq!(answer["input"], "wafers.npz");
        assert_eq!(answer["truth"], index);
        assert!(answer["elapsed_ms"].as_f64().unwrap() > 0.0);
        assert!(answer.get("instructions").is_none());
        assert!((0.0..=1.0).contains(&answer["mask_dice"].as_f64().unwrap()));
        let scores: Vec<f64> = answer["scores"]
            .as_array()
            .unwrap()
            .iter()
            .map(|s| s.as_f64().unwrap())
            .collect();
        assert_eq!(scores.len(), 38);
        assert!((scores.iter().sum::<f64>() - 1.0).abs() < 1e-4);
        let class = answer["class"].as_u64().unwrap() as usize;
        assert!(scores.iter().all(|score| *score <= scores[class]));
        let label = answer["label"].as_str().unwrap();
        let picture = folder.path().join(format!("p/{index:04}_{label}.png"));
        assert!(fs::read(picture).unwrap().starts_with(b"\x89PNG"));
        // A mask without pixels marks no die; the other way round need not hold.
        let pixels: u32 = masks
            .dies(index)
            .iter()
            .map(|pixel| u32::from(*pixel))
            .sum();
        assert!(pixels > 0 || answer["mask_dies"] == 0);
    }
    // Whatever an earlier model said.
    let stale = folder.path().join("p/0000_NF.png");
    fs::write(&stale, "").unwrap();
    assert_eq!(
        classify(&folder, &["wafers.npz", "--limit", "1", "--pictures", "p"]).0,
        0
    );
    let left = fs::read_dir(folder.path().join("p")).unwrap().count();
    assert!(left == 9 && fs::metadata(stale).map_or(true, |file| file.len() > 0));
}

#[test]
fn the_table_is_aligned_and_counts() {
    let folder = folder();
    let (code, stdout, stderr) = classify(&folder, &["wafers.npz", "--threads", "2"]);
    assert_eq!((code, stderr.as_str()), (0, ""));
    let rows: Vec<&str> = stdout.lines().collect();
    assert_eq!(rows.len(), 1 + 38 + 2);
    let width = rows[0].chars().count();
    assert!(
        rows[..39].iter().all(|row| row.chars().count() == width),
        "{stdout}"
    );
    assert!(
        rows[40].starts_with("38 maps: 38 answered, 0 failed; accuracy "),
        "{stdout}"
    );
}

#[test]
fn what_fails_is_named_and_the_rest_is_answered() {
    let folder = folder();
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
    write("good.csv", "0,1,0\n1;2;1\n0 1 0\n");
    write("one.csv", "2\n");
    write("ragged.csv", "0,1\n1\n");
    write("value.csv", "0,1\n1,7\n");
    write("broken.npz", "PK nothing");
    write("map.klarf", "");
    write("control.csv", "\u{1b}[2J\n");
    let inputs = [
        "good.csv",
        "ragged.csv",
        "value.csv",
        "broken.npz",
        "none.npz",
        "map.klarf",
        "control.csv",
        "one.csv",
    ];
    let (code, stdout, stderr) = classify(&folder, &[&inputs[..], &["--json"]].concat());
    assert_eq!(code, 1);
    let answers = lines(&stdout);
    assert_eq!(answers.len(), 2);
    assert_eq!(answers[0]["input"], "good.csv");
    assert_eq!(
        (&answers[1]["input"], &answers[1]["index"]),
        (&"one.csv".into(), &1.into())
    );
    assert!(answers.iter().all(|answer| answer.get("truth").is_none()));
    for expected in [
        "ragged.csv: line 2 has 1 values, the rows before it have 2",
        "value.csv: line 2, value 2: `7`",
        "broken.npz: ",
        "none.npz: ",
        "map.klarf: unknown kind of file",
        r"control.csv: line 1, value 1: `\u{1b}[2J`",
        "2 maps: 2 answered, 0 failed",
    ] {
        assert!(stderr.contains(expected), "{expected} not in:\n{stderr}");
    }
}

#[test]
fn a_map_without_a_die_gets_no_answer() {
    let folder = folder();
    for (name, text) in [("a.csv", "0,0\n"), ("b.csv", "0,1\n"), ("c.csv", "0\n")] {
        fs::write(folder.path().join(name), text).unwrap();
    }
    let (code, stdout, stderr) = classify(&folder, &["a.csv", "b.csv", "c.csv", "--json"]);
    assert_eq!(code, 1, "{stderr}");
    let answers = lines(&stdout);
    assert_eq!(answers.len(), 3);
    for (index, answer) in answers.iter().enumerate() {
        assert_eq!(answer["index"], index);
        assert_eq!(answer.get("error").is_some(), index != 1, "{answer}");
    }
    assert!(
        stderr.contains("wafer 2 (c.csv, map 0): the map has no die"),
        "{stderr}"
    );
}

/// Names of files may be any bytes there.
#[cfg(target_os = "linux")]
#[test]
fn a_name_that_is_no_text_ends_nothing() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    let folder = folder();
    let name = OsStr::from_bytes(b"m\xff.csv");
    fs::write(folder.path().join(name), "0,1\n1,2\n").unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_lightwafer"))
        .args(["classify", "--json", "--local"])
        .arg(model_path())
        .arg(name)
        .current_dir(folder.path())
        .output()
        .unwrap();
    let (code, stdout, stderr) = text(&output);
    assert_eq!(code, 0, "{stderr}");
    assert_eq!(lines(&stdout)[0]["input"], "m\u{fffd}.csv");
}

/// The device takes no byte.
#[cfg(target_os = "linux")]
#[test]
fn a_full_output_is_an_error() {
    let folder = folder();
    let full = fs::OpenOptions::new()
        .write(true)
        .open("/dev/full")
        .unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_lightwafer"))
        .args(["keygen", "key"])
        .current_dir(folder.path())
        .stdout(full)
        .output()
        .unwrap();
    let (code, _, stderr) = text(&output);
    assert!(code == 1 && stderr.contains("No space left"), "{stderr}");
}

#[test]
fn exit_codes_of_wrong_usage_and_unreachable_parts() {
    let folder = folder();
    let check = |arguments: &[&str], expected: i32, says: &str| {
        let (code, _, stderr) = text(&lightwafer(&folder, arguments));
        assert_eq!(code, expected, "{arguments:?}: {stderr}");
        assert!(stderr.contains(says), "{arguments:?}: {stderr}");
    };
    check(&[], 2, "Usage");
    check(&["classify", "wafers.npz"], 2, "--local <MODEL>");
    check(
        &["classify", "wafers.npz", "--local", "m", "--port", "p"],
        2,
        "cannot be used",
    );
    check(&["synth", "x.npz", "--grid", "300"], 2, "1 to 256");
    check(&["info"], 2, "Usage");
    let (code, stdout, _) = text(&lightwafer(&folder, &["--version"]));
    assert!(code == 0 && stdout.starts_with("lightwafer 0."), "{stdout}");
    check(
        &["classify", "wafers.npz", "--local", "none.lw"],
        1,
        "none.lw",
    );
    check(&["info", "wafers.npz"], 1, "not a LightWafer model image");
    check(
        &["status", "--port", "/dev/no-such-port"],
        1,
        "/dev/no-such-port",
    );
    check(
        &["info", "--emulate", "no-such-board"],
        1,
        "only mps2-an500,",
    );
    check(&["synth", "no/such/folder.npz"], 1, "no/such/folder.npz");
}

#[test]
fn a_model_files_facts() {
    let folder = folder();
    let model = model_path();
    let model = model.to_str().unwrap();
    let (code, stdout, _) = text(&lightwafer(&folder, &["info", model, "--json"]));
    assert_eq!(code, 0);
    let facts: Value = serde_json::from_str(&stdout).unwrap();
    for number in ["parameters", "macs", "arena_bytes", "model_bytes"] {
        assert!(facts[number].as_u64().unwrap() > 0, "{number}: {stdout}");
    }
    assert_eq!(facts["sha256"].as_str().unwrap().len(), 64);
    assert_eq!(facts["rounding"], "single-up");
    assert!(facts["created"].is_string() && facts["name"].is_string());
    assert_eq!(facts["self_test"], "passed");
    // Which kernels boards run for each layer, and why not the fast ones.
    let kernels = facts["kernels"].as_array().unwrap();
    assert_eq!(kernels.len(), 37);
    assert_eq!(kernels[1]["op"], "Depthwise3x3");
    assert_eq!(kernels[1]["helium"]["fast"], 224);
    assert_eq!(kernels[15]["dsp"]["reference"], 14);
    assert!(kernels[15]["dsp"]["reason"].is_string());
    let (_, table, _) = text(&lightwafer(&folder, &["info", model]));
    assert!(table.contains("\nlayer 15: reference: "), "{table}");

    let mut damaged = fs::read(model).unwrap();
    let middle = damaged.len() / 2;
    damaged[middle] ^= 1;
    fs::write(folder.path().join("damaged.lw"), damaged).unwrap();
    let (code, _, stderr) = text(&lightwafer(&folder, &["info", "damaged.lw"]));
    assert_eq!(code, 1);
    assert!(
        stderr.contains("damaged.lw: the CRC-32 is wrong"),
        "{stderr}"
    );
}

#[test]
fn keys_and_signed_models() {
    let folder = folder();
    let file = |name: &str| folder.path().join(name);
    let model = model_path();
    let model = model.to_str().unwrap();
    let run = |arguments: &[&str]| text(&lightwafer(&folder, arguments));
    assert_eq!(run(&["keygen", "key"]).0, 0);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = fs::metadata(file("key")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
    let secret = fs::read(file("key")).unwrap();
    let (code, _, stderr) = run(&["keygen", "key"]);
    assert!(code == 1 && stderr.contains("key exists"), "{stderr}");
    assert_eq!(fs::read(file("key")).unwrap(), secret, "never overwritten");
    fs::write(file("half.pub"), "").unwrap();
    let (code, _, stderr) = run(&["keygen", "half"]);
    assert!(code == 1 && stderr.contains("half.pub exists"), "{stderr}");
    assert!(!file("half").exists());

    let sign = ["--model-version", "4", "--floor", "2", "-o", "signed.lw"];
    let (code, stdout, stderr) = run(&[&["sign", model, "--key", "key"], &sign[..]].concat());
    assert_eq!(code, 0, "{stderr}");
    assert!(stdout.contains("version 4"), "{stdout}");
    let (code, _, stderr) = run(&[&["sign", model, "--key", "key.pub"], &sign[..]].concat());
    assert!(code == 1 && stderr.contains("public key"), "{stderr}");

    // No output takes an input's place.
    let onto = |arguments: &[&str]| {
        let (code, _, stderr) = run(arguments);
        assert!(code == 1 && stderr.contains("the same file"), "{stderr}");
    };
    let version = ["--model-version", "5", "--key", "key", "-o"];
    onto(&[&["sign", model], &version[..], &["key"]].concat());
    onto(&[&["sign", "signed.lw"], &version[..], &["./signed.lw"]].concat());
    let classify = ["classify", "wafers.npz", "--local", "signed.lw", "--masks"];
    onto(&[&classify[..], &["wafers.npz"]].concat());
    onto(&[&classify[..], &["signed.lw"]].concat());
    assert_eq!(fs::read(file("key")).unwrap(), secret);

    // The image is the same one; the signature shows, and does no harm.
    let plain: Value = serde_json::from_str(&run(&["info", model, "--json"]).1).unwrap();
    let signed: Value = serde_json::from_str(&run(&["info", "signed.lw", "--json"]).1).unwrap();
    assert_eq!(signed["sha256"], plain["sha256"]);
    assert_eq!(
        (&signed["model_version"], &signed["model_floor"]),
        (&4.into(), &2.into())
    );
    assert_eq!(signed["signed_with"].as_str().unwrap().len(), 16);
    assert!(plain.get("signed_with").is_none());
    let local = [
        "classify",
        "wafers.npz",
        "--local",
        "signed.lw",
        "--limit",
        "2",
    ];
    assert_eq!(run(&local).0, 0);

    let mut damaged = fs::read(file("signed.lw")).unwrap();
    let at = damaged.len() - 90;
    damaged[at] ^= 1;
    fs::write(file("damaged.lw"), damaged).unwrap();
    for arguments in [
        &["info", "damaged.lw"][..],
        &["update", "damaged.lw", "--port", "none"],
    ] {
        let (code, _, stderr) = run(arguments);
        assert!(
            code == 1 && stderr.contains("signature block is damaged"),
            "{stderr}"
        );
    }
    // A whole block, but with the SHA-256 of another image.
    let mut other = fs::read(file("signed.lw")).unwrap();
    let block = other.len() - 128;
    other[block + 28] ^= 1;
    let crc = lightwafer_runtime::crc32(&other[block..block + 124]);
    other[block + 124..].copy_from_slice(&crc.to_le_bytes());
    fs::write(file("other.lw"), other).unwrap();
    for arguments in [
        &["info", "other.lw"][..],
        &["update", "other.lw", "--port", "none"],
    ] {
        let (code, _, stderr) = run(arguments);
        assert!(code == 1 && stderr.contains("of another image"), "{stderr}");
    }
    let (code, _, stderr) = run(&["update", model, "--port", "none"]);
    assert!(code == 1 && stderr.contains("not signed"), "{stderr}");
}
