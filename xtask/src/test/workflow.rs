//! Whether the jobs of `.github/workflows/ci.yml` run the steps of `cargo xtask test`: each one, and no other.

use std::collections::BTreeSet;
use std::fs;

use anyhow::{Context, Result, bail};
use saphyr::{LoadableYamlNode, Yaml};

use super::STEPS;
use crate::process::say;
use crate::project;

const FILE: &str = ".github/workflows/ci.yml";
/// What a job calls.
const COMMAND: &str = "cargo xtask test ";

/// Reads the workflow and compares.
///
/// # Errors
/// When a job calls a step that does not exist, no job calls one that does, or the file is no workflow.
pub fn check() -> Result<()> {
    let text = fs::read_to_string(project::root().join(FILE))
        .with_context(|| format!("cannot read {FILE}"))?;
    let steps: Vec<&str> = STEPS.iter().map(|step| step.name).collect();
    let wrong = compare(&text, &steps)?;
    for line in &wrong {
        say(format_args!("{FILE}: {line}"));
    }
    if !wrong.is_empty() {
        bail!("{FILE} and the steps differ");
    }
    Ok(())
}

fn compare(text: &str, steps: &[&str]) -> Result<Vec<String>> {
    let documents = Yaml::load_from_str(text).with_context(|| format!("{FILE} is no YAML"))?;
    let jobs = documents
        .first()
        .and_then(|workflow| workflow.as_mapping_get("jobs"));
    let jobs = jobs
        .and_then(Yaml::as_mapping)
        .with_context(|| format!("{FILE} has no jobs"))?;
    let mut wrong = Vec::new();
    let mut called = BTreeSet::new();
    for (name, job) in jobs {
        let name = name.as_str().unwrap_or("?");
        if job.as_mapping_get("runs-on").is_none() {
            wrong.push(format!("job {name} has no runs-on"));
        }
        // What runs at times only, or may fail, checks nothing.
        let counts = |of: &Yaml| {
            ["if", "continue-on-error"]
                .iter()
                .all(|key| of.as_mapping_get(key).is_none())
        };
        let own = job.as_mapping_get("steps").and_then(Yaml::as_sequence);
        for step in own.into_iter().flatten() {
            let run = step.as_mapping_get("run").and_then(Yaml::as_str);
            if run.is_none() && step.as_mapping_get("uses").is_none() {
                wrong.push(format!(
                    "a step of job {name} neither runs nor uses anything"
                ));
            }
            for line in run.unwrap_or_default().lines() {
                let Some((_, arguments)) = line.split_once(COMMAND) else {
                    continue;
                };
                for arguments in expand(arguments, job) {
                    let words = arguments
                        .split_whitespace()
                        .filter(|word| !word.starts_with('-'));
                    for word in words {
                        if !steps.contains(&word) {
                            wrong.push(format!("job {name} calls {word}, which is no step"));
                        }
                        if counts(job) && counts(step) {
                            called.insert(word.to_owned());
                        }
                    }
                }
            }
        }
    }
    let missing = steps.iter().filter(|step| !called.contains(**step));
    wrong.extend(missing.map(|step| format!("no job calls {step}")));
    Ok(wrong)
}

/// A line for each value of the job's matrix that it names.
fn expand(line: &str, job: &Yaml) -> Vec<String> {
    let Some((before, rest)) = line.split_once("${{") else {
        return vec![line.to_owned()];
    };
    let Some((name, after)) = rest.split_once("}}") else {
        return vec![line.to_owned()];
    };
    let values = name
        .trim()
        .strip_prefix("matrix.")
        .map(|name| values(name, job))
        .unwrap_or_default();
    let lines = values
        .iter()
        .flat_map(|value| expand(&format!("{before}{value}{after}"), job));
    lines.collect()
}

/// All that a job's matrix has under a name.
fn values(name: &str, job: &Yaml) -> Vec<String> {
    let matrix = job
        .as_mapping_get("strategy")
        .and_then(|strategy| strategy.as_mapping_get("matrix"));
    let Some(matrix) = matrix else {
        return Vec::new();
    };
    let listed = matrix.as_mapping_get(name).and_then(Yaml::as_sequence);
    let included = matrix.as_mapping_get("include").and_then(Yaml::as_sequence);
    let included = included
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.as_mapping_get(name));
    let all = listed.into_iter().flatten().chain(included);
    all.filter_map(|value| value.as_str().map(str::to_owned))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const WORKFLOW: &str = "
jobs:
  matrix:
    runs-on: ubuntu-latest
    strategy:
      matrix:
        include:
          - steps: format layers
          - steps: lint
    steps:
      - uses: actions/checkout@v4
      - run: cargo xtask test --strict ${{ matrix.steps }}
  other:
    runs-on: ubuntu-latest
    steps:
      - run: |
          echo first
          cargo xtask test docs
";

    #[test]
    fn every_step_is_called_and_no_other() {
        assert_eq!(
            compare(WORKFLOW, &["format", "layers", "lint", "docs"]).unwrap(),
            [""; 0]
        );
        let wrong = compare(WORKFLOW, &["format", "layers", "docs", "tests"]).unwrap();
        assert_eq!(
            wrong,
            [
                "job matrix calls lint, which is no step",
                "no job calls tests"
            ]
        );
    }

    #[test]
    fn a_job_that_runs_at_times_only_does_not_count() {
        let at_times = WORKFLOW.replace(
            "  other:\n",
            "  other:\n    if: github.event_name == 'schedule'\n",
        );
        let wrong = compare(&at_times, &["format", "layers", "lint", "docs"]).unwrap();
        assert_eq!(wrong, ["no job calls docs"]);
    }

    #[test]
    fn what_is_no_workflow_is_told() {
        assert!(compare("a: [", &[]).is_err());
        assert!(
            compare("on: push", &[])
                .unwrap_err()
                .to_string()
                .contains("has no jobs")
        );
        let empty = "jobs: {a: {steps: [{name: x}]}}";
        let wrong = compare(empty, &[]).unwrap();
        assert_eq!(
            wrong,
            [
                "job a has no runs-on",
                "a step of job a neither runs nor uses anything"
            ]
        );
    }
}
