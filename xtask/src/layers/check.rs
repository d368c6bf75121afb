//! Holds imports against the order of [`table`](super::table) and looks for circles of files.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::Path;

use petgraph::algo::tarjan_scc;
use petgraph::graphmap::DiGraphMap;

use super::resolve::Import;
use super::source::Source;

/// Rows of names, top to bottom. What stands in a row may use what stands in rows below, and nothing beside it.
pub type Rows<'a> = &'a [&'a [&'a str]];

/// What a crate's root file defines itself, in a table of modules.
pub const ROOT: &str = "lib";

/// The row of a module, and the entry that it falls under: the longest that is the module or holds it. A module
/// inside of another's file falls under that one.
pub fn entry<'a>(rows: Rows<'a>, source: &Source, mut at: usize) -> Option<(usize, &'a str)> {
    while let Some(parent) = source.modules[at].parent
        && source.modules[parent].file == source.modules[at].file
    {
        at = parent;
    }
    let path = source.modules[at].path.join("::");
    let entries = rows
        .iter()
        .enumerate()
        .flat_map(|(row, names)| names.iter().map(move |name| (row, *name)));
    entries
        .filter(|(_, name)| match path.is_empty() {
            true => *name == ROOT,
            false => {
                path == *name
                    || path
                        .strip_prefix(name)
                        .is_some_and(|rest| rest.starts_with("::"))
            }
        })
        .max_by_key(|(_, name)| name.len())
}

/// Why an import that is not allowed is not.
pub fn reason(from: (usize, &str), to: (usize, &str)) -> String {
    match from.0 == to.0 {
        true => format!("{} and {} stand side by side", from.1, to.1),
        false => format!("{} stands above {}", to.1, from.1),
    }
}

/// Imports that go up or sideways, modules that the table lacks, and entries that nothing falls under.
pub fn order(source: &Source, imports: &[Import], rows: Rows, root: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut used = BTreeSet::new();
    for (at, module) in source.modules.iter().enumerate() {
        match entry(rows, source, at) {
            Some((_, name)) => _ = used.insert(name),
            None if module.path.len() == 1 => found.push(format!(
                "{}: module {} stands in no row of xtask/src/layers/table.rs",
                shown(&module.file, root),
                module.path[0]
            )),
            None => {}
        }
    }
    let entries = rows.iter().flat_map(|names| names.iter().copied());
    for name in entries.filter(|name| *name != ROOT && !used.contains(name)) {
        found.push(format!(
            "xtask/src/layers/table.rs: there is no module {name}"
        ));
    }
    for import in imports {
        let [from, to] = [import.from, import.to].map(|at| entry(rows, source, at));
        if let (Some(from), Some(to)) = (from, to)
            && from.1 != to.1
            && from.0 >= to.0
        {
            let at = place(source, import, root);
            found.push(format!(
                "{at}: {} uses {} (`{}`), but {}",
                from.1,
                to.1,
                import.path,
                reason(from, to)
            ));
        }
    }
    found
}

/// Circles of files: each file of one leads to all others of it.
///
/// A file may use what the `mod.rs` (or the root) of its own folder defines, which in turn uses the file: that is
/// one subject in several files, and no circle.
pub fn circles(source: &Source, imports: &[Import], root: &Path) -> Vec<String> {
    let mut files: BTreeMap<&Path, usize> = BTreeMap::new();
    for module in &source.modules {
        let next = files.len();
        files.entry(&module.file).or_insert(next);
    }
    let of = |module: usize| files[source.modules[module].file.as_path()];
    let mut graph: DiGraphMap<usize, &Import> = DiGraphMap::new();
    for import in imports {
        let inward = source.modules[import.from]
            .path
            .starts_with(&source.modules[import.to].path);
        if of(import.from) != of(import.to) && !inward {
            // The first import stands for all between the two files.
            if !graph.contains_edge(of(import.from), of(import.to)) {
                graph.add_edge(of(import.from), of(import.to), import);
            }
        }
    }
    let mut found = Vec::new();
    for mut members in tarjan_scc(&graph)
        .into_iter()
        .filter(|members| members.len() > 1)
    {
        members.sort_unstable();
        let circle = members
            .iter()
            .filter_map(|file| shortest(&graph, *file))
            .min_by_key(Vec::len);
        let circle = circle.unwrap_or_default();
        let lines = circle.iter().map(|import| {
            let to = shown(&source.modules[import.to].file, root);
            format!(
                "\n  {}: uses {to} (`{}`)",
                place(source, import, root),
                import.path
            )
        });
        let more = match members.len() - circle.len() {
            0 => String::new(),
            more => format!(", with circles through {more} more"),
        };
        found.push(format!(
            "a circle of {} files{more}:{}",
            circle.len(),
            lines.collect::<String>()
        ));
    }
    found.sort();
    found
}

/// The shortest way from a file back to itself.
fn shortest<'a>(graph: &DiGraphMap<usize, &'a Import>, start: usize) -> Option<Vec<&'a Import>> {
    let mut came_from: BTreeMap<usize, (usize, &Import)> = BTreeMap::new();
    let mut waiting = VecDeque::from([start]);
    while let Some(at) = waiting.pop_front() {
        for (_, to, import) in graph.edges(at) {
            if let Entry::Vacant(entry) = came_from.entry(to) {
                entry.insert((at, *import));
                waiting.push_back(to);
            }
        }
        if came_from.contains_key(&start) {
            break;
        }
    }
    let mut way = Vec::new();
    let mut at = start;
    loop {
        let (from, import) = *came_from.get(&at)?;
        way.push(import);
        at = from;
        if at == start {
            way.reverse();
            return Some(way);
        }
    }
}

fn place(source: &Source, import: &Import, root: &Path) -> String {
    format!(
        "{}:{}",
        shown(&source.modules[import.from].file, root),
        import.line
    )
}

/// A file as seen from the repository's root.
pub fn shown(file: &Path, root: &Path) -> String {
    file.strip_prefix(root)
        .unwrap_or(file)
        .display()
        .to_string()
}
