//! Distillation on synthetic wafers: runs resume to the same bits, a whole configuration runs, misuse is refused.

mod common;

use std::cell::Cell;
use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;
use tch::Device;
use trainer::architecture::{Architecture, Encoder};
use trainer::checkpoint::Checkpoint;
use trainer::data::Data;
use trainer::evaluation::Evaluation;
use trainer::run_folder::{best, last};
use trainer::settings::{DistillOverrides, Distillation, Settings};
use trainer::train::{End, Run};
use trainer::zoo;

fn settings(architecture: Architecture, stages: &str) -> Settings {
    Settings {
        stages: stages
            .split(',')
            .map(|stage| stage.parse().unwrap())
            .collect(),
        batch: 16,
        mask_every: 2,
        ..Settings::of(architecture)
    }
}

fn start(out: &Path, settings: Settings) -> Run {
    zoo::start(out, settings, |_| Ok(()), Device::Cpu).unwrap()
}

/// A teacher of two epochs.
fn teacher(out: &Path, data: &Data) {
    let settings = Settings {
        rate: 1e-3,
        ..settings(Architecture::Teacher(Encoder::ResNet18), "32x2")
    };
    start(out, settings).train(data, &|| false).unwrap();
}

fn distilled(teacher: &Path, over: DistillOverrides) -> Settings {
    let over = DistillOverrides {
        teacher: Some(best(teacher)),
        ..over
    };
    Settings {
        distill: Distillation::paper(&over).unwrap(),
        ..settings(common::student(), "32x2@2e-3,48x1")
    }
}

fn tensors_differ(a: &Path, b: &Path) -> Vec<String> {
    let [a, b] = [a, b].map(|path| Checkpoint::read(&last(path)).unwrap());
    let student = zoo::build(&common::student(), Device::Cpu);
    let mut names: Vec<_> = student.vars().variables().into_keys().collect();
    names.extend(
        [
            "projection.weight",
            "optimizer.2.first",
            "optimizer.1.second",
        ]
        .map(String::from),
    );
    names.retain(|name| a.tensor(name).unwrap() != b.tensor(name).unwrap());
    names
}

#[test]
fn a_distillation_resumes_to_the_same_bits_and_needs_no_kept_answers() {
    let _alone = common::alone();
    tch::set_num_threads(1);
    let data = common::data(&[0, 4, 19], 30);
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    teacher(&path("teacher"), &data);
    let settings = distilled(&path("teacher"), DistillOverrides::default());

    let end = start(&path("whole"), settings.clone())
        .train(&data, &|| false)
        .unwrap();
    assert_eq!(end, End::Finished);
    let mut run = start(&path("parts"), settings.clone());
    let mut stops = 0;
    loop {
        let asked = Cell::new(0);
        let stop = || {
            asked.set(asked.get() + 1);
            asked.get() > 4
        };
        if run.train(&data, &stop).unwrap() == End::Finished {
            break;
        }
        stops += 1;
        assert!(stops < 20);
        run = zoo::resume(&path("parts"), Device::Cpu).unwrap();
    }
    assert!(stops >= 3, "{stops} stops");
    assert_eq!(tensors_differ(&path("whole"), &path("parts")), [""; 0]);

    // All three losses are in the log, and where the time goes.
    let log = fs::read_to_string(path("whole").join("log.jsonl")).unwrap();
    let lines: Vec<Value> = log
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let step = lines.iter().rfind(|line| line["event"] == "step").unwrap();
    for loss in ["class_loss", "mask_loss", "feature_loss"] {
        assert!(step[loss].is_f64(), "{loss}: {step}");
    }
    let shares = step["time_shares"].as_object().unwrap().values();
    let sum: f64 = shares.map(|share| share.as_f64().unwrap()).sum();
    assert!((sum - 1.0).abs() < 1e-3, "{step}");

    // The student's own checkpoint has nothing of the teacher in it.
    let (student, checkpoint) = zoo::open(&best(&path("whole")), Device::Cpu).unwrap();
    assert_eq!(student.parameters(), 54_239);
    assert!(checkpoint.tensor("projection.weight").is_err());

    // Half floats are all that keeping answers changes.
    let mut asking = settings;
    if let Some(distill) = &mut asking.distill {
        distill.cache = false;
    }
    start(&path("asking"), asking)
        .train(&data, &|| false)
        .unwrap();
    let weights = |name: &str| {
        Checkpoint::read(&last(&path(name)))
            .unwrap()
            .tensor("class_head.weight")
            .unwrap()
    };
    let difference = (weights("asking") - weights("whole"))
        .abs()
        .max()
        .double_value(&[]);
    assert!(difference < 0.02, "{difference}");
}

#[test]
fn the_teachers_answer_is_the_same_for_every_symmetry() {
    let _alone = common::alone();
    tch::set_num_threads(1);
    let data = common::data(&[4, 19], 20);
    let dir = tempfile::tempdir().unwrap();
    teacher(dir.path(), &data);
    let over = DistillOverrides {
        views: Some(8),
        ..Default::default()
    };
    let settings = distilled(dir.path(), over).distill.unwrap();
    let distiller = trainer::distill::Distiller::open(
        &settings,
        64,
        trainer::settings::Precision::F32,
        Device::Cpu,
    )
    .unwrap();
    let source = trainer::batch::Source::new(&data, Device::Cpu);
    let plain = source.batch(&[3], &[0], 32);
    let soft = distiller.soft(&source, &plain, 32, true);
    for symmetry in 1..8 {
        let turned = distiller.soft(&source, &source.batch(&[3], &[symmetry], 32), 32, true);
        assert_eq!(turned.logits, soft.logits);
        let mask = trainer::batch::turn(soft.mask.as_ref().unwrap(), symmetry, [2, 3]);
        let off = (turned.mask.unwrap() - mask).abs().max().double_value(&[]);
        assert!(off < 1e-4, "{symmetry}: {off}");
    }
}

#[test]
fn a_student_does_not_teach() {
    let _alone = common::alone();
    let dir = tempfile::tempdir().unwrap();
    let data = common::data(&[0, 4], 10);
    start(dir.path(), settings(common::student(), "32x1"))
        .train(&data, &|| false)
        .unwrap();
    let settings = distilled(dir.path(), DistillOverrides::default());
    let Err(error) = zoo::start(&dir.path().join("b"), settings, |_| Ok(()), Device::Cpu) else {
        panic!("taught")
    };
    assert!(format!("{error:#}").contains("is no teacher"), "{error:#}");
}

/// `trainer run`: a whole configuration, the same again, and another one in the same folder.
#[test]
fn a_configuration_runs_once_and_its_figures_are_left() {
    let _alone = common::alone();
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    let wafers = common::data(&[0, 4, 19], 20);
    let set = lightwafer_maps::npz::WaferSet {
        labels: Some(wafers.labels.clone()),
        ..wafers.wafers
    };
    lightwafer_maps::npz::write_wafers(&path("wafers.npz"), &set).unwrap();
    fs::write(
        path("run.toml"),
        "[teacher]\nencoder = 'resnet18'\nstages = ['32x1']\nbatch = 8\n[student]\nstages = ['32x1']\nbatch = 8\n\
         [topology]\nencoder = [8, 12, 16, 32]\ndecoder = [16, 12, 8]\n[distill]\nviews = 8\n[export]\nname = 'small'\n",
    )
    .unwrap();
    let run = |config: &str| {
        let output = Command::new(env!("CARGO_BIN_EXE_trainer"))
            .arg("run")
            .arg(path(config))
            .args(["--threads", "1", "--data"])
            .arg(path("wafers.npz"))
            .arg("--out")
            .arg(path("out"))
            .output()
            .unwrap();
        let [text, report] = [output.stderr, output.stdout]
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        (output.status.success(), text, report)
    };
    let (fine, text, report) = run("run.toml");
    assert!(fine, "{text}");
    // What the image needs, and which kernels boards run for it.
    for expected in [
        "encoder.2.first",
        "bytes of arena",
        "Depthwise3x3",
        "Helium",
    ] {
        assert!(report.contains(expected), "{expected}: {report}");
    }
    for name in [
        "eval-teacher.json",
        "eval-student.json",
        "eval-int8.json",
        "eval-student-val.json",
        "config.toml",
    ] {
        assert!(path("out").join(name).exists(), "{name}: {text}");
    }
    let figures = Evaluation::read(&path("out/eval-int8.json")).unwrap();
    assert_eq!(figures.model.name(), "small");
    assert!(figures.views.rotated_90.is_some());
    let student = Checkpoint::read(&path("out/student/best.safetensors")).unwrap();
    let architecture = "LightWaferSegClassNet 8-12-16-32/16-12-8";
    assert_eq!(student.info.architecture, architecture);

    let (fine, text, _) = run("run.toml");
    assert!(fine && text.contains("trained already"), "{text}");
    let record: Value =
        serde_json::from_str(&fs::read_to_string(path("out/run.json")).unwrap()).unwrap();
    assert_eq!(
        record["sessions"].as_array().map(Vec::len),
        Some(2),
        "{record}"
    );
    assert_eq!(record["config"]["distill"]["views"], 8);
    assert_eq!(record["data"]["sha256"].as_str().map(str::len), Some(64));
    let files = fs::read_dir(path("out/student")).unwrap().flatten();
    let mut names = files.map(|file| file.file_name().to_string_lossy().into_owned());
    assert!(names.any(|name| name.contains("tfevents")));
    fs::write(path("other.toml"), "[student]\nstages = ['32x1']\n").unwrap();
    let (fine, text, _) = run("other.toml");
    assert!(!fine && text.contains("another configuration"), "{text}");
}
