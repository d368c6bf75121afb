//! The checks on small trees that are wrong on purpose.

use std::fs;
use std::path::Path;

use tempfile::TempDir;

use super::check::Rows;
use super::{Outcome, look};

/// Writes files; the workspace's own Cargo.toml and the crates' are made here.
fn tree(crates: &[(&str, &str)], files: &[(&str, &str)]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    let members: Vec<String> = crates.iter().map(|(name, _)| format!("{name:?}")).collect();
    let workspace = format!(
        "[workspace]\nresolver = \"3\"\nmembers = [{}]\n",
        members.join(", ")
    );
    write("Cargo.toml", &workspace);
    for (name, dependencies) in crates {
        let package = format!(
            "[package]\nname = \"{name}\"\nversion = \"0.1.0\"\nedition = \"2024\"\n{dependencies}"
        );
        write(&format!("{name}/Cargo.toml"), &package);
        write(&format!("{name}/src/lib.rs"), "");
    }
    for (name, text) in files {
        write(name, text);
    }
    folder
}

fn outcome(folder: &TempDir, crates: Rows, modules: &[(&str, Rows)]) -> Outcome {
    // Temporary folders may lie behind a link; cargo gives the real path.
    let root: &Path = &folder.path().canonicalize().unwrap();
    look(root, crates, modules).unwrap()
}

/// One crate `a` whose library has the given root and files.
fn one_crate(files: &[(&str, &str)], rows: Rows) -> Outcome {
    outcome(&tree(&[("a", "")], files), &[&["a"]], &[("a", rows)])
}

#[test]
fn a_crate_that_uses_one_above_is_named() {
    let upward = "[dependencies]\nb = { path = \"../b\" }\n";
    let for_tests = "[dev-dependencies]\na = { path = \"../a\" }\n";
    let folder = tree(&[("a", upward), ("b", for_tests)], &[]);
    let right = outcome(&folder, &[&["a"], &["b"]], &[]);
    assert_eq!(right.wrong, [""; 0]);
    assert_eq!(right.picture, "crates\n  a  → b\n  b\n");
    let upward = outcome(&folder, &[&["b"], &["a"]], &[]);
    assert_eq!(
        upward.wrong,
        ["a/Cargo.toml:6: a uses b, but b stands above a"]
    );
    let sideways = outcome(&folder, &[&["a", "b"]], &[]);
    assert_eq!(
        sideways.wrong,
        ["a/Cargo.toml:6: a uses b, but a and b stand side by side"]
    );
    let unknown = outcome(&folder, &[&["a"], &["c"]], &[]);
    assert_eq!(
        unknown.wrong,
        [
            "b: stands in no row of xtask/src/layers/table.rs",
            "xtask/src/layers/table.rs: there is no crate c"
        ]
    );
}

#[test]
fn crates_of_a_folder_share_a_place() {
    let other = "[dependencies]\nshared = { path = \"../shared\" }\n";
    let folder = tree(&[("boards/one", ""), ("boards/shared", "")], &[]);
    let manifest = format!("[package]\nname = \"one\"\nversion = \"0.1.0\"\n{other}");
    fs::write(folder.path().join("boards/one/Cargo.toml"), manifest).unwrap();
    let shared = "[package]\nname = \"shared\"\nversion = \"0.1.0\"\n";
    fs::write(folder.path().join("boards/shared/Cargo.toml"), shared).unwrap();
    let right = outcome(&folder, &[&["boards/*"], &["boards/shared"]], &[]);
    assert_eq!(right.wrong, [""; 0]);
    assert!(
        right.picture.contains("boards/*       → boards/shared"),
        "{}",
        right.picture
    );
    let wrong = outcome(&folder, &[&["boards/*"]], &[]);
    assert!(
        wrong.wrong[0].contains("stand side by side"),
        "{:?}",
        wrong.wrong
    );
}

#[test]
fn an_import_that_goes_up_is_named() {
    let files = [
        (
            "a/src/lib.rs",
            "pub mod high;\npub mod low;\npub use high::High;\n",
        ),
        (
            "a/src/high.rs",
            "use crate::low::Low;\npub struct High(pub Low);\n",
        ),
        // A re-export stands for where the type is; a path in a macro counts.
        (
            "a/src/low.rs",
            "pub struct Low;\nuse crate::High;\nfn f() {\n    println!(\"{}\", crate::high::NAME);\n}\n",
        ),
    ];
    let found = one_crate(&files, &[&["lib"], &["high"], &["low"]]);
    assert_eq!(
        found.wrong,
        [
            "a circle of 2 files:\n  a/src/high.rs:1: uses a/src/low.rs (`crate::low::Low`)\n  \
             a/src/low.rs:2: uses a/src/high.rs (`crate::High`)",
            "a/src/low.rs:2: low uses high (`crate::High`), but high stands above low",
            "a/src/low.rs:4: low uses high (`crate::high::NAME`), but high stands above low",
        ]
    );
}

#[test]
fn what_the_root_defines_is_at_the_top() {
    let files = [
        ("a/src/lib.rs", "mod low;\npub const LIMIT: usize = 1;\n"),
        (
            "a/src/low.rs",
            "pub fn f() -> usize {\n    super::LIMIT\n}\n",
        ),
    ];
    let found = one_crate(&files, &[&["lib"], &["low"]]);
    assert_eq!(
        found.wrong,
        ["a/src/low.rs:2: low uses lib (`super::LIMIT`), but lib stands above low"]
    );
}

#[test]
fn circles_within_a_folder_are_found_and_its_own_file_is_none() {
    let files = [
        ("a/src/lib.rs", "mod folder;\n"),
        // The folder's own file defines what its parts use.
        (
            "a/src/folder/mod.rs",
            "mod one;\nmod two;\npub struct Shared;\npub fn f() { one::g(); }\n",
        ),
        (
            "a/src/folder/one.rs",
            "use super::Shared;\nuse super::two;\npub fn g() -> Shared { two::h() }\n",
        ),
        (
            "a/src/folder/two.rs",
            "use super::Shared;\npub fn h() -> Shared { Shared }\n",
        ),
    ];
    let rows: Rows = &[&["lib"], &["folder"]];
    assert_eq!(one_crate(&files, rows).wrong, [""; 0]);
    let mut circle = files;
    circle[3].1 = "use super::Shared;\npub fn h() -> Shared {\n    super::one::g()\n}\n";
    assert_eq!(
        one_crate(&circle, rows).wrong,
        [
            "a circle of 2 files:\n  a/src/folder/one.rs:3: uses a/src/folder/two.rs (`two::h`)\n  \
          a/src/folder/two.rs:3: uses a/src/folder/one.rs (`super::one::g`)"
        ]
    );
}

#[test]
fn tests_may_use_what_they_like() {
    let files = [
        ("a/src/lib.rs", "pub mod low;\npub mod high;\n"),
        ("a/src/high.rs", "pub fn f() {}\n"),
        (
            "a/src/low.rs",
            "#[cfg(test)]\nuse crate::high;\n#[cfg(all(test, unix))]\nmod tests {\n    use crate::high::f;\n}\n\
             #[test]\nfn t() {\n    crate::high::f();\n}\n",
        ),
    ];
    assert_eq!(
        one_crate(&files, &[&["lib"], &["high"], &["low"]]).wrong,
        [""; 0]
    );
    let mut other = files;
    other[2].1 = "#[cfg(any(test, unix))]\nuse crate::high::f;\n";
    assert_eq!(
        one_crate(&other, &[&["lib"], &["high"], &["low"]])
            .wrong
            .len(),
        1
    );
}

#[test]
fn modules_without_a_place_are_named() {
    let files = [
        ("a/src/lib.rs", "mod known;\nmod new;\nmod inside {}\n"),
        ("a/src/known.rs", ""),
        ("a/src/new.rs", ""),
    ];
    let found = one_crate(&files, &[&["lib"], &["known", "gone"]]);
    assert_eq!(
        found.wrong,
        [
            "a/src/new.rs: module new stands in no row of xtask/src/layers/table.rs",
            "xtask/src/layers/table.rs: there is no module gone"
        ]
    );
}
