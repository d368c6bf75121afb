//! The report of a small run has every section and loads nothing from elsewhere.

mod common;

use std::fs;
use std::process::Command;

use scraper::{Html, Selector};

#[test]
fn a_page_has_every_section_and_needs_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    let wafers = common::data(&[0, 4, 19], 30);
    let set = lightwafer_maps::npz::WaferSet {
        labels: Some(wafers.labels.clone()),
        ..wafers.wafers
    };
    lightwafer_maps::npz::write_wafers(&path("wafers.npz"), &set).unwrap();
    fs::write(
        path("run.toml"),
        "[teacher]\nencoder = 'resnet18'\nstages = ['32x1']\nbatch = 8\n[student]\nstages = ['32x1']\nbatch = 8\n[distill]\n",
    )
    .unwrap();
    let trainer = |args: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_trainer"))
            .current_dir(dir.path())
            .args(args)
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{text}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let threads = ["--threads", "1", "--data", "wafers.npz"];
    trainer(&[&["run", "run.toml", "--out", "small"], &threads[..]].concat());
    trainer(&[&["report", "small"], &threads[..]].concat());

    let text = fs::read_to_string(path("small/report.html")).unwrap();
    assert!(text.len() < 4 << 20, "{} bytes", text.len());
    let page = Html::parse_document(&text);
    assert!(page.errors.is_empty(), "{:?}", page.errors);
    let all = |what: &str| {
        let selector = Selector::parse(what).unwrap();
        page.select(&selector)
            .map(|e| e.text().collect::<String>())
            .collect::<Vec<_>>()
    };
    let headings = all("h2").join("\n");
    for expected in [
        "The student on 9 test wafers",
        "The teacher on 9 test wafers",
        "Training of the teacher",
        "Training of the student",
        "Classes: the student",
        "Embeddings: the teacher",
        "Wafers: the student",
        "Sizes",
        "What it was made from",
    ] {
        assert!(headings.contains(expected), "{expected}: {headings}");
    }
    assert_eq!(all("circle title").len(), 18);
    assert!(all("ul.missing li").join(" ").contains("int8 image"));
    let sources = Selector::parse("[src], link, [href]").unwrap();
    for element in page.select(&sources) {
        assert!(
            element
                .attr("src")
                .is_some_and(|src| src.starts_with("data:")),
            "{:?}",
            element.value()
        );
    }
    let drawings = Selector::parse("svg").unwrap();
    assert!(
        page.select(&drawings)
            .all(|svg| !svg.html().contains("NaN"))
    );

    let table = trainer(&["compare", "small"]);
    assert!(
        table.contains("Student, distilled") && table.contains("not run"),
        "{table}"
    );
    let refused = Command::new(env!("CARGO_BIN_EXE_trainer"))
        .args(["compare", "nowhere"])
        .output()
        .unwrap();
    assert_eq!(refused.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("no run is here"));
}
