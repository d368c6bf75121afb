//! `trainer schedule` on a model image: no checkpoint, no data.

use std::path::Path;
use std::process::{Command, Output};

use lightwafer_runtime::AlignedBox;
use lightwafer_runtime::image::Model;

const IMAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../models/light-int8.lw");

fn schedule(from: &Path, budget: &str, to: &Path) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_trainer"));
    command.arg("schedule").arg(from);
    if !budget.is_empty() {
        command.args(["--ram-budget", budget]);
    }
    command.arg("-o").arg(to).output().unwrap()
}

#[test]
fn an_image_is_written_by_the_cheapest_schedule_that_fits() {
    let folder = tempfile::tempdir().unwrap();
    let [small, back] = ["small.lw", "back.lw"].map(|name| folder.path().join(name));
    let published = AlignedBox::from(std::fs::read(IMAGE).unwrap());
    let published = Model::new_checked(&published).unwrap();

    let output = schedule(Path::new(IMAGE), "192K", &small);
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{output:?}");
    assert!(text.contains("> level 0 computed twice"), "{text}");
    let image = AlignedBox::from(std::fs::read(&small).unwrap());
    let model = Model::new_checked(&image).unwrap();
    assert!(model.header().arena_bytes <= 192 * 1024);
    // The same answer, and weights that are there once.
    assert_eq!(model.golden(), published.golden());
    assert!(image.len() < published.image().len() + 200);

    // And back: from a scheduled image every schedule can be had.
    assert!(schedule(&small, "", &back).status.success());
    assert_eq!(std::fs::read(&back).unwrap(), published.image());
}

#[test]
fn strips_fit_64_kib_with_the_same_answer() {
    let folder = tempfile::tempdir().unwrap();
    let tiles = folder.path().join("tiles.lw");
    assert!(schedule(Path::new(IMAGE), "64K", &tiles).status.success());
    let [published, image] = [Path::new(IMAGE), tiles.as_path()]
        .map(|path| AlignedBox::from(std::fs::read(path).unwrap()));
    let model = Model::new_checked(&image).unwrap();
    assert!(model.header().arena_bytes <= 65_536);
    let published = Model::new_checked(&published).unwrap();
    assert_eq!(model.golden(), published.golden());
}

#[test]
fn a_budget_that_nothing_fits_is_refused_with_the_smallest() {
    let folder = tempfile::tempdir().unwrap();
    let to = folder.path().join("none.lw");
    let output = schedule(Path::new(IMAGE), "10K", &to);
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success());
    assert!(text.contains("no schedule fits 10240 bytes"), "{text}");
    assert!(text.contains("the smallest needs "), "{text}");
    assert!(!to.exists());

    let output = schedule(Path::new(IMAGE), "little", &to);
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn a_damaged_image_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let [bad, to] = ["bad.lw", "to.lw"].map(|name| folder.path().join(name));
    let mut image = std::fs::read(IMAGE).unwrap();
    image[100] ^= 1;
    std::fs::write(&bad, &image).unwrap();
    let output = schedule(&bad, "192K", &to);
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success());
    assert!(text.contains("bad.lw") && text.contains("CRC"), "{text}");
}
