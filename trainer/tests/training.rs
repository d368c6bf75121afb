//! Training runs learn, resume to the same bits, and refuse wrong files and settings.

mod common;

use std::cell::Cell;
use std::fs;
use std::path::Path;

use tch::{Device, Tensor, nn};
use trainer::checkpoint::{self, Checkpoint, Info};
use trainer::data::{Data, Protocol};
use trainer::network::Network;
use trainer::run_folder::{best, last};
use trainer::settings::{Settings, Stage};
use trainer::student::{PARAMETER_BUDGET, Student};
use trainer::topology::Topology;
use trainer::train::{End, Run};
use trainer::zoo;

fn settings(stages: &str) -> Settings {
    Settings {
        stages: stages
            .split(',')
            .map(|stage| stage.parse().unwrap())
            .collect(),
        batch: 16,
        rate: 3e-3,
        dropout: 0.1,
        mask_every: 2,
        seed: 7,
        ..Settings::of(common::student())
    }
}

fn start(out: &Path, stages: &str) -> Run {
    zoo::start(out, settings(stages), |_| Ok(()), Device::Cpu).unwrap()
}

fn same_tensors(a: &Path, b: &Path) -> bool {
    let (a, b) = (
        Checkpoint::read(&last(a)).unwrap(),
        Checkpoint::read(&last(b)).unwrap(),
    );
    let student = Student::new(&Topology::default(), Device::Cpu);
    let mut names: Vec<_> = student.vars().variables().into_keys().collect();
    names.extend(["optimizer.0.first", "optimizer.1.second"].map(String::from));
    names
        .iter()
        .all(|name| a.tensor(name).unwrap() == b.tensor(name).unwrap())
}

#[test]
fn a_stopped_run_resumes_to_the_same_bits() {
    let _alone = common::alone();
    tch::set_num_threads(1);
    let data = common::data(&[0, 4, 19], 30);
    let dir = tempfile::tempdir().unwrap();
    let (whole, parts) = (dir.path().join("whole"), dir.path().join("parts"));
    let stages = "32x1.5@2e-3,48x1/12";
    assert_eq!(
        start(&whole, stages).train(&data, &|| false).unwrap(),
        End::Finished
    );

    // Stopped in the first stage, in a validation, and in the second stage.
    let mut run = start(&parts, stages);
    let mut stops = 0;
    loop {
        let asked = Cell::new(0);
        let stop = || {
            asked.set(asked.get() + 1);
            asked.get() > 3
        };
        if run.train(&data, &stop).unwrap() == End::Finished {
            break;
        }
        stops += 1;
        assert!(stops < 20);
        run = zoo::resume(&parts, Device::Cpu).unwrap();
    }
    assert!(stops >= 3, "{stops} stops");
    assert!(same_tensors(&whole, &parts));
    let saved = Checkpoint::read(&best(&parts)).unwrap();
    assert_eq!(
        (saved.info.size, saved.info.split),
        (48, Some(Protocol::Distinct))
    );
    assert_eq!(saved.info.metrics["val_size"], 48.0);
    let log = fs::read_to_string(parts.join("log.jsonl")).unwrap();
    assert!(
        log.lines()
            .all(|line| serde_json::from_str::<serde_json::Value>(line).is_ok())
    );
    assert!(log.contains("\"event\":\"validation\"") && log.contains("\"event\":\"finished\""));
}

#[test]
fn two_kinds_of_wafer_are_told_apart_and_masked() {
    let _alone = common::alone();
    let data = common::data(&[0, 4], 80);
    let dir = tempfile::tempdir().unwrap();
    let mut run = zoo::start(
        dir.path(),
        Settings {
            mask_every: 1,
            dropout: 0.0,
            rate: 1e-2,
            ..settings("32x14")
        },
        |_| Ok(()),
        Device::Cpu,
    )
    .unwrap();
    run.train(&data, &|| false).unwrap();
    let info = Checkpoint::read(&best(dir.path())).unwrap().info;
    assert!(info.metrics["val_accuracy"] > 0.9, "{info:?}");
    assert!(info.metrics["val_dice"] > 0.9, "{info:?}");
}

#[test]
fn a_folder_with_a_run_is_not_overwritten() {
    let _alone = common::alone();
    let dir = tempfile::tempdir().unwrap();
    fs::write(last(dir.path()), b"something").unwrap();
    let Err(error) = zoo::start(dir.path(), settings("32x1"), |_| Ok(()), Device::Cpu) else {
        panic!("overwritten")
    };
    assert!(error.to_string().contains("--resume"), "{error:#}");
    let Err(error) = zoo::resume(dir.path(), Device::Cpu) else {
        panic!("resumed")
    };
    assert!(format!("{error:#}").contains("safetensors"), "{error:#}");
}

#[test]
fn another_architecture_is_refused_by_name() {
    let _alone = common::alone();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("other.safetensors");
    let student = Student::new(&Topology::default(), Device::Cpu);
    let save = |tensors: &[(String, Tensor)], architecture: &str| {
        let info = Info {
            architecture: architecture.into(),
            ..Default::default()
        };
        checkpoint::save(&path, tensors, &info).unwrap();
        let result = Checkpoint::read(&path)
            .unwrap()
            .load(student.vars(), &student.architecture());
        result.map_err(|e| format!("{e:#}"))
    };
    let architecture = student.architecture().to_string();
    let mut tensors = checkpoint::tensors(student.vars());
    assert!(save(&tensors, &architecture).is_ok());
    // Files of other programs name no architecture; their tensors decide.
    assert!(save(&tensors, "").is_ok());
    let error = save(&tensors, "SomethingElse 1-2-3").unwrap_err();
    assert!(
        error.contains("SomethingElse 1-2-3") && error.contains(&architecture),
        "{error}"
    );
    let (name, tensor) = tensors.remove(0);
    assert!(save(&tensors, &architecture).unwrap_err().contains(&name));
    tensors.push((name.clone(), tensor.unsqueeze(0)));
    assert!(save(&tensors, &architecture).unwrap_err().contains(&name));
}

#[test]
fn a_damaged_checkpoint_is_an_error() {
    let _alone = common::alone();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("model.safetensors");
    let vars = nn::VarStore::new(Device::Cpu);
    nn::linear(vars.root() / "a", 3, 2, Default::default());
    checkpoint::save(&path, &checkpoint::tensors(&vars), &Info::default()).unwrap();
    let whole = fs::read(&path).unwrap();
    for len in 0..whole.len() {
        fs::write(&path, &whole[..len]).unwrap();
        assert!(Checkpoint::read(&path).is_err(), "cut to {len}");
    }
    assert!(Checkpoint::read(&dir.path().join("none")).is_err());
}

#[test]
fn the_student_is_within_its_budget_and_has_the_stated_cost() {
    let _alone = common::alone();
    let student = Student::new(&Topology::default(), Device::Cpu);
    assert_eq!(student.parameters(), 54_239);
    assert!(student.parameters() <= PARAMETER_BUDGET);
    let output = tch::no_grad(|| {
        let image = Tensor::zeros([2, 3, 64, 64], (tch::Kind::Float, Device::Cpu));
        student.forward(&image, false, true)
    });
    assert_eq!(output.logits.size(), [2, 38]);
    assert_eq!(output.embedding.size(), [2, 64]);
    assert_eq!(output.mask.unwrap().size(), [2, 1, 64, 64]);
    assert!(
        student
            .vars()
            .variables()
            .contains_key("decoder.3.reduce.weight")
    );
}

#[test]
fn stages_are_read_or_refused_in_words() {
    let _alone = common::alone();
    let stage: Stage = "224x1.5/16@1e-3".parse().unwrap();
    assert_eq!(
        (stage.size, stage.epochs, stage.batch, stage.rate),
        (224, 1.5, Some(16), Some(1e-3))
    );
    for wrong in [
        "", "224", "100x1", "240x1", "64x0", "64x-1", "64x1@0", "64x1/0", "64xnan", "64x1@inf",
    ] {
        let error = wrong.parse::<Stage>().unwrap_err();
        assert!(
            error.contains("expected") && error.contains(wrong),
            "{error}"
        );
    }
}

#[test]
fn nothing_to_train_on_is_an_error() {
    let _alone = common::alone();
    let wafers = lightwafer_maps::npz::WaferSet {
        rows: 1,
        cols: 1,
        dies: vec![],
        labels: None,
    };
    let data = Data::split(wafers, vec![], Protocol::Distinct);
    let dir = tempfile::tempdir().unwrap();
    assert!(start(dir.path(), "32x1").train(&data, &|| false).is_err());
}
