//! Whether every published crate compiles with each of its features alone, and with none.
//!
//! Features are read from the manifests. Crates for microcontrollers are compiled for one too, with all features
//! but those that are for hosts.

use anyhow::{Result, bail};

use crate::outcome::Outcome;
use crate::{process, project, setup, toolchain, workspaces};

/// Crates without the standard library, and their features that bring it.
const NO_STD: [(&str, &[&str]); 2] = [
    ("lightwafer-runtime", &[]),
    ("lightwafer-device", &["sign", "sim"]),
];
/// The processor that they are compiled for: Cortex-M4 and M7.
const TARGET: &str = "thumbv7em-none-eabihf";

/// Runs clippy on each crate with each set.
///
/// # Errors
/// When one does not compile, or a crate of the table does not exist.
pub fn check() -> Result<Outcome> {
    toolchain::components()?;
    let arm = setup::arm::setup()?;
    let packages = workspaces::packages(project::root())?;
    let published: Vec<_> = packages
        .iter()
        .filter(|package| package.is_published())
        .collect();
    for (name, for_hosts) in NO_STD {
        let Some(package) = published.iter().find(|package| package.name == name) else {
            bail!("xtask/src/test/features.rs: {name} is no published crate");
        };
        if let Some(unknown) = for_hosts
            .iter()
            .find(|feature| !package.features.contains_key(**feature))
        {
            bail!("xtask/src/test/features.rs: {name} has no feature {unknown}");
        }
    }
    for package in published {
        let features: Vec<&str> = package.features.keys().map(String::as_str).collect();
        for set in sets(&features) {
            clippy(process::cargo(), &package.name, &set)?;
        }
        if let Some((name, for_hosts)) = NO_STD.iter().find(|(name, _)| *name == package.name) {
            let features: Vec<&str> = features
                .into_iter()
                .filter(|name| !for_hosts.contains(name))
                .collect();
            for set in sets(&features) {
                let mut cargo = process::cargo_of(&arm);
                cargo.env("CARGO_BUILD_TARGET", TARGET);
                clippy(cargo, name, &set)?;
            }
        }
    }
    Ok(Outcome::Whole)
}

/// None, each alone, and all of them.
fn sets(features: &[&str]) -> Vec<String> {
    let features: Vec<&str> = features
        .iter()
        .copied()
        .filter(|name| *name != "default")
        .collect();
    let mut sets = vec![String::new()];
    sets.extend(features.iter().map(|name| (*name).to_owned()));
    if features.len() > 1 {
        sets.push(features.join(","));
    }
    sets
}

fn clippy(mut cargo: std::process::Command, package: &str, features: &str) -> Result<()> {
    cargo.args(["clippy", "--quiet", "--lib", "--package", package]);
    cargo.args([
        "--no-default-features",
        "--features",
        features,
        "--",
        "-D",
        "warnings",
    ]);
    process::run(&mut cargo)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_feature_is_tried_alone() {
        assert_eq!(sets(&[]), [""]);
        assert_eq!(sets(&["a", "default"]), ["", "a"]);
        assert_eq!(sets(&["a", "b", "default"]), ["", "a", "b", "a,b"]);
    }
}
