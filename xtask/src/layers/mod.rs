//! `cargo xtask layers`: who uses whom, and whether all of it points down.
//!
//! The order is a table (`table.rs`); what is held against it are the imports themselves: the dependencies in each
//! Cargo.toml, and every `use` and path in each crate's files. An import that goes up or sideways, a circle of
//! files, a crate or module without a place, and a picture in ARCHITECTURE.md that differs are errors. What is built
//! for tests alone may use what it likes.

mod check;
mod crates;
mod picture;
mod resolve;
mod source;
mod table;
#[cfg(test)]
mod tests;

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::process::say;
use crate::project;
use source::Source;

/// What to do with the picture.
#[derive(clap::Args)]
pub struct Args {
    /// Put the picture into ARCHITECTURE.md
    #[arg(long)]
    write: bool,
}

/// The document that shows the picture.
const DOCUMENT: &str = "ARCHITECTURE.md";

/// What was found.
struct Outcome {
    picture: String,
    wrong: Vec<String>,
}

/// Prints the picture, or writes it.
///
/// # Errors
/// When an import goes another way than down, or a file cannot be read.
pub fn run(args: &Args) -> Result<()> {
    let outcome = look(project::root(), table::CRATES, table::MODULES)?;
    if args.write {
        let file = project::root().join(DOCUMENT);
        let text = fs::read_to_string(&file).with_context(|| format!("cannot read {DOCUMENT}"))?;
        let new = picture::replaced(&text, &outcome.picture);
        let new = new.with_context(|| format!("{DOCUMENT} has no place for the picture"))?;
        if new != text {
            fs::write(&file, new).with_context(|| format!("cannot write {DOCUMENT}"))?;
        }
    } else {
        print!("{}", outcome.picture);
    }
    fail(&outcome.wrong)
}

/// The check of `cargo xtask test`: order, circles and the picture in ARCHITECTURE.md.
///
/// # Errors
/// When one of them does not hold.
pub fn check() -> Result<()> {
    let mut outcome = look(project::root(), table::CRATES, table::MODULES)?;
    let text = fs::read_to_string(project::root().join(DOCUMENT));
    let text = text.with_context(|| format!("cannot read {DOCUMENT}"))?;
    if picture::inside(&text) != Some(&outcome.picture) {
        outcome.wrong.push(format!(
            "{DOCUMENT}: its picture is not what the imports say; run: cargo xtask layers --write"
        ));
    }
    fail(&outcome.wrong)
}

fn fail(wrong: &[String]) -> Result<()> {
    for line in wrong {
        say(line);
    }
    if !wrong.is_empty() {
        bail!(
            "{} imports or places are not as they should be",
            wrong.len()
        );
    }
    Ok(())
}

/// Reads everything below `root`.
fn look(root: &Path, crates: check::Rows, tables: &[(&str, check::Rows)]) -> Result<Outcome> {
    let all = crates::read(root)?;
    let mut outcome = Outcome {
        picture: picture::crates(&all, crates),
        wrong: crates::order(&all, crates, root)?,
    };
    let mut pictures = vec![String::new(); tables.len()];
    for one in &all {
        let library = one.package.library();
        let programs = one
            .package
            .targets
            .iter()
            .filter(|target| target.kind.iter().any(|kind| kind == "bin"));
        for target in library.into_iter().chain(programs) {
            let source = Source::read(&target.src_path)?;
            let imports = source.imports();
            outcome
                .wrong
                .extend(check::circles(&source, &imports, root));
            let is_library = library.is_some_and(|library| std::ptr::eq(library, target));
            let table = tables
                .iter()
                .position(|(folder, _)| is_library && *folder == one.folder);
            if let Some(table) = table {
                let (folder, rows) = tables[table];
                outcome
                    .wrong
                    .extend(check::order(&source, &imports, rows, root));
                pictures[table] = picture::modules(folder, &source, &imports, rows);
            }
        }
    }
    for (picture, (folder, _)) in pictures.into_iter().zip(tables) {
        if picture.is_empty() {
            let text = format!("xtask/src/layers/table.rs: there is no library in {folder}");
            outcome.wrong.push(text);
        }
        outcome.picture += "\n";
        outcome.picture += &picture;
    }
    Ok(outcome)
}
