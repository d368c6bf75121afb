//! From a path as written to the module that defines what it names.
//!
//! Re-exports are followed: `crate::Answer` is an import of `answer`, where the type is, not of the root, which
//! hands it on.

use std::collections::BTreeSet;

use super::source::{Named, Source};

/// Names that lead to names that lead to names …: no honest crate goes deeper.
const DEPTH: usize = 32;

/// One module's use of another.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Import {
    /// The module that names the other.
    pub from: usize,
    /// The module that defines what is named.
    pub to: usize,
    /// The line in the first one's file.
    pub line: usize,
    /// As written.
    pub path: String,
}

/// What a path leads to.
enum Found {
    /// A module as such.
    Module(usize),
    /// Something that a module defines.
    Item(usize),
}

impl Source {
    /// Every import between two modules of the crate, in the order of the files, the first line for each path.
    pub fn imports(&self) -> Vec<Import> {
        let mut imports = BTreeSet::new();
        for (from, module) in self.modules.iter().enumerate() {
            for Named { path, line, glob } in &module.paths {
                let to = match self.find(from, path, 0) {
                    Some(Found::Item(to)) => to,
                    // `use …::module` alone uses nothing of it; what is named through it counts by itself.
                    Some(Found::Module(to)) if *glob => to,
                    _ => continue,
                };
                if to != from {
                    imports.insert(Import {
                        from,
                        to,
                        line: *line,
                        path: path.join("::"),
                    });
                }
            }
        }
        imports.into_iter().collect()
    }

    fn find(&self, from: usize, path: &[String], depth: usize) -> Option<Found> {
        if depth > DEPTH {
            return None;
        }
        let (first, mut rest) = path.split_first()?;
        let mut at = match first.as_str() {
            "crate" => 0,
            "self" => from,
            "super" => self.modules[from].parent?,
            // A name without one of these is looked for here; what is not here is another crate's.
            _ => return self.in_module(from, path, depth, false),
        };
        while let Some((next, more)) = rest.split_first()
            && next == "super"
        {
            (at, rest) = (self.modules[at].parent?, more);
        }
        if rest.is_empty() {
            return Some(Found::Module(at));
        }
        self.in_module(at, rest, depth, true)
    }

    /// Looks for a name and what follows it in one module. `named`: the module was named, so that what is not
    /// seen there is made by a macro or comes from another crate by way of it.
    fn in_module(&self, at: usize, path: &[String], depth: usize, named: bool) -> Option<Found> {
        let module = &self.modules[at];
        let (name, rest) = path.split_first()?;
        // A function may have its module's name: `pub use softmax::softmax`.
        let child = module.children.get(name).copied();
        if let Some(child) = child.filter(|_| !rest.is_empty()) {
            return self.in_module(child, rest, depth, true);
        }
        if module.items.contains(name) {
            return Some(Found::Item(at));
        }
        if at == 0
            && let Some(&defines) = self.macros.get(name)
        {
            return Some(Found::Item(defines));
        }
        if let Some(stands_for) = module.names.get(name) {
            let path: Vec<String> = stands_for.iter().chain(rest).cloned().collect();
            let found = self.find(at, &path, depth + 1);
            return found.or(named.then_some(Found::Item(at)));
        }
        if let Some(child) = child {
            return Some(Found::Module(child));
        }
        for glob in &module.globs {
            let path: Vec<String> = glob.iter().chain(path).cloned().collect();
            if let Some(Found::Module(of)) = self.find(at, glob, depth + 1)
                && self.has(of, name, depth + 1)
                && let Some(found) = self.find(at, &path, depth + 1)
            {
                return Some(found);
            }
        }
        named.then_some(Found::Item(at))
    }

    fn has(&self, at: usize, name: &String, depth: usize) -> bool {
        let module = &self.modules[at];
        module.children.contains_key(name)
            || module.items.contains(name)
            || module.names.contains_key(name)
            || depth < DEPTH
                && module
                    .globs
                    .iter()
                    .any(|glob| match self.find(at, glob, depth + 1) {
                        Some(Found::Module(of)) => of != at && self.has(of, name, depth + 1),
                        _ => false,
                    })
    }
}
