//! Draws crates and modules from their imports, and keeps the drawing in ARCHITECTURE.md the same.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use super::check::{self, Rows};
use super::crates::{self, Crate};
use super::resolve::Import;
use super::source::Source;

/// Most columns of a line.
const WIDTH: usize = 100;
/// The lines around the picture in ARCHITECTURE.md.
const START: &str = "<!-- layers: written by `cargo xtask layers --write` -->";
const END: &str = "<!-- layers end -->";

/// Crates from top to bottom, each with what it uses.
pub fn crates(all: &[Crate], rows: Rows) -> String {
    let mut lines: BTreeMap<(usize, String), BTreeSet<String>> = BTreeMap::new();
    let name = |folder: &str| crates::entry(rows, folder).map(|(row, name)| (row, name.to_owned()));
    for one in all {
        if let Some(entry) = name(&one.folder) {
            let uses = one
                .uses
                .iter()
                .filter_map(|folder| name(folder))
                .map(|(_, name)| name);
            lines.entry(entry).or_default().extend(uses);
        }
    }
    draw("crates", lines)
}

/// A crate's modules from top to bottom, each with what it uses.
pub fn modules(folder: &str, source: &Source, imports: &[Import], rows: Rows) -> String {
    let mut lines: BTreeMap<(usize, String), BTreeSet<String>> = BTreeMap::new();
    let entry = |at: usize| {
        let entry = check::entry(rows, source, at);
        entry.map(|(row, name)| (row, name.to_owned()))
    };
    for at in 0..source.modules.len() {
        if let Some(entry) = entry(at) {
            lines.entry(entry).or_default();
        }
    }
    for import in imports {
        if let (Some(from), Some(to)) = (entry(import.from), entry(import.to))
            && from.1 != to.1
        {
            lines.entry(from).or_default().insert(to.1);
        }
    }
    draw(folder, lines)
}

/// One line a name, in the order of the rows; names used in the same order.
fn draw(title: &str, lines: BTreeMap<(usize, String), BTreeSet<String>>) -> String {
    let mut text = format!("{title}\n");
    let width = lines
        .keys()
        .map(|(_, name)| name.chars().count())
        .max()
        .unwrap_or(0);
    let order: BTreeMap<&str, usize> = lines
        .keys()
        .enumerate()
        .map(|(at, (_, name))| (name.as_str(), at))
        .collect();
    for ((_, name), uses) in &lines {
        let mut uses: Vec<&str> = uses.iter().map(String::as_str).collect();
        uses.sort_by_key(|name| order.get(name));
        let mut line = format!("  {name:<width$} ");
        let indent = line.chars().count();
        for (at, used) in uses.iter().enumerate() {
            let arrow = if at == 0 { " → " } else { " " };
            if line.chars().count() + arrow.chars().count() + used.chars().count() > WIDTH {
                let _ = writeln!(text, "{}", line.trim_end());
                line = " ".repeat(indent + 2);
            }
            line += arrow;
            line += used;
        }
        let _ = writeln!(text, "{}", line.trim_end());
    }
    text
}

/// The picture in a document, without its fence; `None` where the document has none.
pub fn inside(document: &str) -> Option<&str> {
    let (_, rest) = document.split_once(START)?;
    let (block, _) = rest.split_once(END)?;
    block.trim().strip_prefix("```text\n")?.strip_suffix("```")
}

/// The document with another picture; `None` where it has none.
pub fn replaced(document: &str, picture: &str) -> Option<String> {
    let (before, rest) = document.split_once(START)?;
    let (_, after) = rest.split_once(END)?;
    Some(format!(
        "{before}{START}\n```text\n{picture}```\n{END}{after}"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_keeps_what_surrounds_its_picture() {
        let document = format!("# A\n\n{START}\n```text\nold\n```\n{END}\n\nmore\n");
        assert_eq!(inside(&document), Some("old\n"));
        let new = replaced(&document, "new\n").unwrap();
        assert_eq!(inside(&new), Some("new\n"));
        assert!(new.starts_with("# A\n") && new.ends_with("\nmore\n"));
        assert_eq!(replaced("no picture", "new"), None);
    }

    #[test]
    fn names_are_listed_in_the_order_of_the_rows() {
        let uses = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let lines = BTreeMap::from([
            ((0, "top".to_owned()), uses(&["a", "middle"])),
            ((1, "middle".to_owned()), uses(&["a"])),
            ((2, "a".to_owned()), uses(&[])),
        ]);
        assert_eq!(
            draw("x", lines),
            "x\n  top     → middle a\n  middle  → a\n  a\n"
        );
    }
}
