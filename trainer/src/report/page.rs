//! The page: results first, then the curves, tables and pictures behind them.

use lightwafer_runtime::dies::{CLASS_COUNT, Class};
use maud::{DOCTYPE, Markup, PreEscaped, html};
use serde_json::Value;

use super::charts::{Axis, Series, confusion, lines, mean_roc, roc, scatter};
use super::material::Material;
use super::pictures;
use super::subject::Subject;
use crate::data::Random;
use crate::evaluation::{Evaluation, Model};
use crate::paper_figures as paper;
use crate::run_folder::reader::Training;
use crate::student::PARAMETER_BUDGET;

const STYLE: &str = include_str!("style.css");
const SCRIPT: &str = include_str!("sort.js");
/// Wafers shown at random.
const SOME: usize = 9;
/// Wrong answers shown.
const WORST: usize = 12;

pub(super) fn page(material: &Material<'_>) -> String {
    let name = material
        .folder
        .path
        .file_name()
        .unwrap_or_default()
        .to_string_lossy();
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { "LightWafer run " (name) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                h1 { "Run " (name) }
                p.faint { (material.data.describe()) }
                @for subject in &material.subjects { (verdict(subject)) }
                @if let Some(int8) = &material.int8 { (image(int8)) }
                @if !material.missing.is_empty() {
                    h3 { "Not in this page" }
                    ul.missing { @for text in &material.missing { li { (text) } } }
                }
                @for training in &material.folder.trainings { (curves(training)) }
                @for subject in &material.subjects { (classes(subject)) }
                @for subject in &material.subjects { (embedding(subject, material)) }
                @for subject in &material.subjects { (gallery(subject, material)) }
                (sizes(material))
                (origin(material))
                script { (PreEscaped(SCRIPT)) }
            }
        }
    };
    page.into_string()
}

fn card(value: String, what: &str) -> Markup {
    html! { div.card { b { (value) } span { (what) } } }
}

fn percent(value: f64) -> String {
    format!("{:.2} %", 100.0 * value)
}

fn verdict(subject: &Subject) -> Markup {
    let report = &subject.report;
    let theirs = if subject.name == "teacher" {
        paper::TEACHER
    } else {
        paper::STUDENT
    };
    html! {
        h2 { "The " (subject.name) " on " (report.wafers) " test wafers" }
        p { (subject.architecture.to_string()) " at " (subject.size) "×" (subject.size) ", float. In brackets: the paper's "
            (subject.name) ", on a split that keeps repeated maps." }
        div.cards {
            (card(percent(report.accuracy), &format!("accuracy ({})", percent(theirs.accuracy))))
            (card(percent(report.f1), &format!("macro F1 ({})", percent(theirs.f1))))
            (card(format!("{:.3} %", 100.0 * report.auc), &format!("AUC ({})", percent(theirs.auc))))
            @if let Some(mask) = &report.mask {
                (card(format!("{:.5}", mask.dice), &format!("mask Dice ({:.4})", theirs.dice)))
                (card(format!("{:.5}", mask.iou), &format!("mask IoU ({:.4})", theirs.iou)))
            }
        }
    }
}

fn image(int8: &Evaluation) -> Markup {
    let (plain, rotated) = (&int8.views.plain, &int8.views.rotated_90);
    html! {
        h2 { "The int8 image, as boards answer" }
        div.cards {
            (card(percent(plain.accuracy), "accuracy"))
            @if let Some(rotated) = rotated { (card(percent(rotated.accuracy), "rotated by 90°")) }
            (card(percent(plain.f1), "macro F1"))
            @if let Some(mask) = &plain.mask { (card(format!("{:.5}", mask.dice), "mask Dice")) }
            @if let Model::ModelImage { bytes, arena_bytes, macs, .. } = &int8.model {
                (card(bytes.to_string(), "bytes of image"))
                (card(arena_bytes.to_string(), "bytes of arena"))
                (card(macs.to_string(), "multiply-accumulates"))
            }
        }
    }
}

fn curves(training: &Training) -> Markup {
    let series = |event: &'static str, name: &str, path: &'static str, colour: usize| {
        let epoch = |line: &Value| line["epochs"].as_f64().or(line["epoch"].as_f64());
        let points = training
            .events(event)
            .filter_map(|line| Some((epoch(line)?, line.pointer(path)?.as_f64()?)));
        Series {
            name: name.into(),
            colour,
            points: points.collect(),
            marked: event == "validation",
        }
    };
    // A stage begins where the image size changes.
    let mut borders = Vec::new();
    let mut size = None;
    for line in training.events("step") {
        let now = line["size"].as_i64();
        if size.is_some() && now != size {
            borders.extend(line["epochs"].as_f64());
        }
        size = now;
    }
    let chart = |title: &str, series: &[Series], axis| {
        PreEscaped(lines(title, "epochs", series, axis, &borders))
    };
    let settings = training.start().map(|start| &start["settings"]);
    let last = training.events("step").last();
    html! {
        h2 { "Training of the " (training.name) }
        @if let Some(settings) = settings {
            p { "Stages " (settings["stages"]) ", batch " (settings["batch"]) ", " (settings["precision"].as_str().unwrap_or("f32"))
                @if training.is_distilled() { ", distilled" } @else { ", labels and masks only" }
                @if let Some(seconds) = training.seconds() { ", " (format!("{:.0}", seconds / 60.0)) " minutes" } "."
                @if !borders.is_empty() { " Dashed lines: the image size changes." } }
        }
        div.row {
            (chart("accuracy", &[series("step", "training", "/train_accuracy", 6),
                series("validation", "validation", "/metrics/val_accuracy", 1)], Axis::Linear))
            (chart("class loss", &[series("step", "class", "/class_loss", 1)], Axis::Log))
            (chart("mask and feature loss", &[series("step", "mask", "/mask_loss", 2),
                series("step", "feature", "/feature_loss", 4)], Axis::Log))
            (chart("validation Dice", &[series("validation", "Dice", "/metrics/val_dice", 3)], Axis::Linear))
            (chart("learning rate", &[series("step", "rate", "/rate", 5)], Axis::Linear))
            (chart("images a second", &[series("step", "images", "/images_per_second", 6)], Axis::Linear))
        }
        @if let Some(shares) = last.and_then(|line| line["time_shares"].as_object()) { (time(shares)) }
    }
}

/// The shares of a step's time.
fn time(shares: &serde_json::Map<String, Value>) -> Markup {
    let order = ["data", "teacher", "forward", "backward", "optimizer"];
    let share = |name: &str| shares.get(name).and_then(Value::as_f64).unwrap_or(0.0);
    html! {
        h3 { "Where the time of a step goes" }
        div.bar { @for (i, name) in order.iter().enumerate() {
            i class={ "b" (i + 1) } style={ "width:" (format!("{:.2}", 100.0 * share(name))) "%" } {}
        } }
        p.faint { @for (i, name) in order.iter().enumerate() {
            i class={ "swatch b" (i + 1) } {} (name) " " (format!("{:.1} %", 100.0 * share(name)))
        } }
    }
}

fn classes(subject: &Subject) -> Markup {
    let report = &subject.report;
    let series = roc_curves(subject);
    let near = |p: &(f64, f64)| p.0 <= 0.05;
    let close = series.iter().map(|s| Series {
        name: s.name.clone(),
        colour: s.colour,
        marked: false,
        points: s.points.iter().copied().filter(near).collect(),
    });
    let close: Vec<_> = close.collect();
    let (y, x) = ("true positives", "false positives");
    html! {
        h2 { "Classes: the " (subject.name) }
        p.faint { "Rows are the true classes, columns the predicted ones. Green: right; red: wrong, by the root of its share." }
        div.scroll { (PreEscaped(confusion(&report.confusion))) }
        div.row {
            table.sortable {
                thead { tr { th { "class" } th { "wafers" } th { "precision" } th { "recall" } th { "F1" } th { "AUC" } } }
                tbody { @for row in report.classes.iter().filter(|row| row.support > 0) { tr {
                    td { (row.class) } td { (row.support) }
                    td { (format!("{:.4}", row.precision)) } td { (format!("{:.4}", row.recall)) }
                    td { (format!("{:.4}", row.f1)) }
                    td { (row.auc.map_or("–".into(), |auc| format!("{auc:.5}"))) }
                } } }
            }
            div {
                h3 { "ROC, one class against the rest" }
                p.faint { "The mean and the four classes of the smallest area; true positives over false positives." }
                (PreEscaped(lines(y, x, &series, Axis::Linear, &[])))
                h3 { "The same, false positives up to 5 %" }
                (PreEscaped(lines(y, x, &close, Axis::Linear, &[])))
            }
        }
    }
}

/// ROC curves: the mean of the classes, and the four classes of the smallest area.
fn roc_curves(subject: &Subject) -> Vec<Series> {
    let report = &subject.report;
    let mut weakest: Vec<usize> = (0..CLASS_COUNT)
        .filter(|c| report.classes[*c].auc.is_some())
        .collect();
    let auc = |c: &usize| report.classes[*c].auc.unwrap_or(1.0);
    weakest.sort_by(|a, b| auc(a).total_cmp(&auc(b)));
    let curve = |class: usize| {
        let scores: Vec<f32> = subject.scores.iter().map(|row| row[class]).collect();
        let positive = subject.truth.iter().map(|t| usize::from(*t) == class);
        roc(&scores, &positive.collect::<Vec<_>>())
    };
    let all: Vec<_> = weakest.iter().map(|class| curve(*class)).collect();
    let mut series = vec![Series {
        name: "mean of classes".into(),
        colour: 6,
        points: mean_roc(&all),
        marked: false,
    }];
    for (i, class) in weakest.iter().take(4).enumerate() {
        series.push(Series {
            name: report.classes[*class].class.clone(),
            colour: i + 1,
            points: curve(*class),
            marked: false,
        });
    }
    series
}

fn label(class: usize) -> &'static str {
    Class::new(class as u8).map_or("?", Class::label)
}

fn embedding(subject: &Subject, material: &Material<'_>) -> Markup {
    let title = |i: usize| {
        let (taken, score) = subject.answer(i);
        let truth = label(subject.truth[i].into());
        format!(
            "map {}: {truth}, taken for {} ({:.1} %)",
            subject.wafers[i],
            label(taken),
            100.0 * score
        )
    };
    let titles: Vec<String> = (0..subject.wafers.len()).map(title).collect();
    html! {
        h2 { "Embeddings: the " (subject.name) }
        p.faint { "The " (subject.features) " pooled features of each of " (material.data.test.len())
            " test wafers, by t-SNE. A class's name stands in its middle." }
        (PreEscaped(scatter(&subject.places, &subject.truth, &titles)))
    }
}

fn gallery(subject: &Subject, material: &Material<'_>) -> Markup {
    let count = subject.wafers.len();
    let wrong = |i: &usize| subject.answer(*i).0 != usize::from(subject.truth[*i]);
    let mut errors: Vec<usize> = (0..count).filter(wrong).collect();
    errors.sort_by(|a, b| subject.answer(*b).1.total_cmp(&subject.answer(*a).1));
    let shown = errors.len().min(WORST);
    let mut masks: Vec<usize> = (0..subject.dice.len()).collect();
    masks.sort_by(|a, b| subject.dice[*a].total_cmp(&subject.dice[*b]));
    let mut some: Vec<usize> = (0..count).collect();
    Random::new(&[7]).shuffle(&mut some);
    let cards = |chosen: &[usize]| {
        html! { div.gallery { @for i in chosen { (wafer(subject, material, *i)) } } }
    };
    html! {
        h2 { "Wafers: the " (subject.name) }
        p.faint { "Dies, true mask, predicted mask, difference (red: missed, yellow: too much)." }
        h3 { "Wrong with the most confidence: " (shown) " of " (errors.len()) " wrong answers" }
        (cards(&errors[..shown]))
        @if !masks.is_empty() {
            h3 { "Worst masks" }
            (cards(&masks[..masks.len().min(6)]))
        }
        h3 { "At random" }
        (cards(&some[..count.min(SOME)]))
    }
}

fn wafer(subject: &Subject, material: &Material<'_>, i: usize) -> Markup {
    let wafer = subject.wafers[i];
    let masks = subject.masks(material.source, wafer);
    let (taken, score) = subject.answer(i);
    let truth = usize::from(subject.truth[i]);
    let names = ["dies", "true mask", "predicted mask", "difference"];
    let pictures = pictures::strip(material.data, wafer, &masks);
    html! {
        div.wafer {
            div { @for (picture, name) in pictures.iter().zip(names) { img src=(picture) alt=(name) title=(name); } }
            b class=(if taken == truth { "ok" } else { "bad" }) { (label(taken)) } " " (format!("{:.1} %", 100.0 * score))
            @if taken != truth { ", is " b { (label(truth)) } " " (format!("({:.1} %)", 100.0 * subject.scores[i][truth])) }
            span.faint { " · map " (wafer) @if let Some(dice) = subject.dice.get(i) { " · Dice " (format!("{dice:.4}")) } }
        }
    }
}

fn sizes(material: &Material<'_>) -> Markup {
    html! {
        h2 { "Sizes" }
        table {
            thead { tr { th { "" } th { "parameters" } th { "the paper's" } th { "bytes of checkpoint" } } }
            tbody { @for subject in &material.subjects {
                tr { td { b { (subject.name) } } td { b { (subject.parts.iter().map(|p| p.parameters).sum::<i64>()) } }
                    td { @if subject.name == "student" { (PARAMETER_BUDGET) } @else { "46.7 million (ResNet101)" } }
                    td { (subject.bytes) } }
                @for part in &subject.parts { tr { td { (part.part) } td { (part.parameters) }
                    td { (part.paper.map_or("–".into(), |n| n.to_string())) } td {} } }
            } }
        }
    }
}

fn origin(material: &Material<'_>) -> Markup {
    let pretty = |value: &Value| serde_json::to_string_pretty(value).unwrap_or_default();
    let manifest = material.folder.manifest.as_ref();
    let manifest = manifest.and_then(|manifest| serde_json::to_value(manifest).ok());
    html! {
        h2 { "What it was made from" }
        @if let Some(manifest) = &manifest { pre { (pretty(manifest)) } }
        @for training in &material.folder.trainings {
            @if let Some(start) = training.start() {
                h3 { "Settings of the " (training.name) }
                pre { (pretty(&start["settings"])) }
            }
        }
    }
}
