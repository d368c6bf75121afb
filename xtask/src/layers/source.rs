//! Reads a crate's modules: the files, what each defines, and every path that it names.
//!
//! Only what is built into the crate counts: items under `#[cfg(test)]` and `#[test]` are left out, as are the
//! folders `tests`, `examples` and `benches`. Paths inside macro calls are found too, by their tokens.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use proc_macro2::{TokenStream, TokenTree};
use syn::visit::{self, Visit};
use syn::{Attribute, Item, Meta, UseTree};

/// A module: a file, or a `mod name { … }` inside of one.
#[derive(Default)]
pub struct Module {
    /// Its name from the crate's root on; empty for the root.
    pub path: Vec<String>,
    /// The file that holds it.
    pub file: PathBuf,
    /// The module around it.
    pub parent: Option<usize>,
    /// Its own modules, by name.
    pub children: BTreeMap<String, usize>,
    /// Names that it defines: types, functions, constants, traits, macros.
    pub items: BTreeSet<String>,
    /// Names that `use` brings in, each with the path it stands for.
    pub names: BTreeMap<String, Vec<String>>,
    /// Modules and enums whose names `use …::*` brings in.
    pub globs: Vec<Vec<String>>,
    /// Every path of two or more names, and every `use`.
    pub paths: Vec<Named>,
}

/// A path in the source.
#[derive(Clone)]
pub struct Named {
    /// As written, `crate`, `self` and `super` included.
    pub path: Vec<String>,
    /// Where it stands.
    pub line: usize,
    /// `use` of everything in it.
    pub glob: bool,
}

/// A crate's modules; the first one is its root.
pub struct Source {
    /// All of them.
    pub modules: Vec<Module>,
    /// Macros that `#[macro_export]` puts at the root, with the module that defines each.
    pub macros: BTreeMap<String, usize>,
}

impl Source {
    /// Reads the root file and all files that it declares.
    ///
    /// # Errors
    /// When a file is missing or is no Rust.
    pub fn read(root: &Path) -> Result<Self> {
        let mut source = Self {
            modules: Vec::new(),
            macros: BTreeMap::new(),
        };
        let folder = root.parent().context("a root file lies in a folder")?;
        source.file(root, folder, Vec::new(), None)?;
        Ok(source)
    }

    /// Reads one file; the files of its modules lie in `folder`.
    fn file(
        &mut self,
        file: &Path,
        folder: &Path,
        path: Vec<String>,
        parent: Option<usize>,
    ) -> Result<usize> {
        let text =
            fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
        let parsed = syn::parse_file(&text)
            .with_context(|| format!("{} cannot be parsed", file.display()))?;
        let at = self.add(file, path, parent);
        self.items(at, &parsed.items, folder)?;
        Ok(at)
    }

    fn add(&mut self, file: &Path, path: Vec<String>, parent: Option<usize>) -> usize {
        self.modules.push(Module {
            path,
            file: file.to_owned(),
            parent,
            ..Module::default()
        });
        self.modules.len() - 1
    }

    fn items(&mut self, at: usize, items: &[Item], folder: &Path) -> Result<()> {
        for item in items {
            if is_test(attributes(item)) {
                continue;
            }
            if let Item::Mod(module) = item {
                self.module(at, module, folder)?;
                continue;
            }
            if let Some(name) = defined(item) {
                self.modules[at].items.insert(name);
            }
            if let Item::Macro(item) = item
                && let Some(name) = &item.ident
                && item
                    .attrs
                    .iter()
                    .any(|attribute| attribute.path().is_ident("macro_export"))
            {
                self.macros.insert(name.to_string(), at);
            }
            Reader {
                module: &mut self.modules[at],
            }
            .visit_item(item);
        }
        Ok(())
    }

    fn module(&mut self, at: usize, module: &syn::ItemMod, folder: &Path) -> Result<()> {
        let name = module.ident.to_string();
        let mut path = self.modules[at].path.clone();
        path.push(name.clone());
        let own = folder.join(&name);
        let child = match &module.content {
            Some((_, items)) => {
                let file = self.modules[at].file.clone();
                let child = self.add(&file, path, Some(at));
                self.items(child, items, &own)?;
                child
            }
            None => {
                let (file, folder) = match path_attribute(&module.attrs) {
                    // Seen from the folder of the file that says so.
                    Some(given) => {
                        let beside = self.modules[at].file.parent().unwrap_or(folder);
                        let file = beside.join(given);
                        let folder = file.parent().unwrap_or(folder).to_owned();
                        (file, folder)
                    }
                    None => {
                        let flat = own.with_extension("rs");
                        (
                            if flat.is_file() {
                                flat
                            } else {
                                own.join("mod.rs")
                            },
                            own,
                        )
                    }
                };
                self.file(&file, &folder, path, Some(at))?
            }
        };
        // Of two under different conditions the first stands for both.
        self.modules[at].children.entry(name).or_insert(child);
        Ok(())
    }
}

/// The name that an item gives its module.
fn defined(item: &Item) -> Option<String> {
    let ident = match item {
        Item::Const(item) => &item.ident,
        Item::Enum(item) => &item.ident,
        Item::Fn(item) => &item.sig.ident,
        Item::Macro(item) => item.ident.as_ref()?,
        Item::Static(item) => &item.ident,
        Item::Struct(item) => &item.ident,
        Item::Trait(item) => &item.ident,
        Item::TraitAlias(item) => &item.ident,
        Item::Type(item) => &item.ident,
        Item::Union(item) => &item.ident,
        _ => return None,
    };
    Some(ident.to_string())
}

fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::ExternCrate(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::ForeignMod(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Macro(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::TraitAlias(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Union(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}

/// Whether an item is built for tests alone: `#[test]`, `#[cfg(test)]`, `#[cfg(all(test, …))]`.
fn is_test(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| match &attribute.meta {
        Meta::Path(path) => path.is_ident("test"),
        Meta::List(list) if list.path.is_ident("cfg") => needs_test(&list.tokens),
        _ => false,
    })
}

fn needs_test(condition: &TokenStream) -> bool {
    let mut tokens = condition.clone().into_iter();
    let Some(TokenTree::Ident(first)) = tokens.next() else {
        return false;
    };
    match tokens.next() {
        None => first == "test",
        Some(TokenTree::Group(group)) if first == "all" => {
            let tokens: Vec<TokenTree> = group.stream().into_iter().collect();
            let parts =
                tokens.split(|token| matches!(token, TokenTree::Punct(p) if p.as_char() == ','));
            parts
                .into_iter()
                .any(|part| needs_test(&part.iter().cloned().collect()))
        }
        _ => false,
    }
}

fn path_attribute(attributes: &[Attribute]) -> Option<String> {
    attributes
        .iter()
        .find_map(|attribute| match &attribute.meta {
            Meta::NameValue(pair) if pair.path.is_ident("path") => match &pair.value {
                syn::Expr::Lit(syn::ExprLit {
                    lit: syn::Lit::Str(text),
                    ..
                }) => Some(text.value()),
                _ => None,
            },
            _ => None,
        })
}

/// Collects what an item names.
struct Reader<'a> {
    module: &'a mut Module,
}

impl Reader<'_> {
    fn named(&mut self, path: Vec<String>, line: usize, glob: bool) {
        self.module.paths.push(Named { path, line, glob });
    }

    fn tree(&mut self, before: &[String], tree: &UseTree) {
        let with = |name: &syn::Ident| {
            let mut path = before.to_vec();
            // `use a::{self}` is a itself.
            if name != "self" || path.is_empty() {
                path.push(name.to_string());
            }
            path
        };
        match tree {
            UseTree::Path(part) => self.tree(&with(&part.ident), &part.tree),
            UseTree::Name(part) => {
                self.bind(with(&part.ident), None, part.ident.span().start().line)
            }
            UseTree::Rename(part) => {
                self.bind(
                    with(&part.ident),
                    Some(part.rename.to_string()),
                    part.ident.span().start().line,
                );
            }
            UseTree::Glob(star) => {
                self.module.globs.push(before.to_vec());
                self.named(before.to_vec(), star.star_token.spans[0].start().line, true);
            }
            UseTree::Group(group) => group.items.iter().for_each(|tree| self.tree(before, tree)),
        }
    }

    fn bind(&mut self, path: Vec<String>, rename: Option<String>, line: usize) {
        let Some(name) = rename.or_else(|| path.last().cloned()) else {
            return;
        };
        self.named(path.clone(), line, false);
        self.module.names.entry(name).or_insert(path);
    }
}

impl<'ast> Visit<'ast> for Reader<'_> {
    fn visit_item(&mut self, item: &'ast Item) {
        if !is_test(attributes(item)) {
            visit::visit_item(self, item);
        }
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        if !is_test(&item.attrs) {
            visit::visit_impl_item_fn(self, item);
        }
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        // `use ::name` is another crate.
        if item.leading_colon.is_none() {
            self.tree(&[], &item.tree);
        }
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        if path.leading_colon.is_none() && path.segments.len() > 1 {
            let names = path
                .segments
                .iter()
                .map(|segment| segment.ident.to_string());
            let line = path.segments[0].ident.span().start().line;
            self.named(names.collect(), line, false);
        }
        visit::visit_path(self, path);
    }

    fn visit_token_stream(&mut self, tokens: &'ast TokenStream) {
        self.scan(tokens.clone());
    }
}

impl Reader<'_> {
    /// Finds paths among tokens: names with `::` between them.
    fn scan(&mut self, tokens: TokenStream) {
        let (mut path, mut line, mut colons) = (Vec::new(), 0, 0);
        for token in tokens {
            match token {
                TokenTree::Ident(ident) => {
                    if colons != 2 {
                        self.end(&mut path, line);
                        line = ident.span().start().line;
                    }
                    path.push(ident.to_string());
                    colons = 0;
                }
                TokenTree::Punct(punct) if punct.as_char() == ':' => colons += 1,
                other => {
                    self.end(&mut path, line);
                    colons = 0;
                    if let TokenTree::Group(group) = other {
                        self.scan(group.stream());
                    }
                }
            }
        }
        self.end(&mut path, line);
    }

    fn end(&mut self, path: &mut Vec<String>, line: usize) {
        let path = std::mem::take(path);
        if path.len() > 1 {
            self.named(path, line, false);
        }
    }
}
