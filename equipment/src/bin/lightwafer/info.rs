//! `lightwafer info` and `lightwafer status`.

use std::io::{self, Write};

use anyhow::Result;
use lightwafer_equipment::Local;
use serde::Serialize;
use serde_json::Value;

use crate::args::{Info, Status};
use crate::output::{entries, grouped};
use crate::source::Connection;

/// Shows facts; `false` when a model file fails its golden wafer.
pub fn info(args: &Info) -> Result<bool> {
    let Some(path) = &args.model else {
        let connection = Connection::open(&args.board)?;
        print(connection.board.facts(), args.json)?;
        return Ok(true);
    };
    let local = Local::load(path)?;
    let passed = local.self_test()?;
    let mut facts = serde_json::to_value(local.facts())?;
    if let Value::Object(facts) = &mut facts {
        let result = if passed { "passed" } else { "failed" };
        facts.insert("self_test".into(), result.into());
    }
    print(&facts, args.json)?;
    if !passed {
        eprintln!(
            "lightwafer: {}: the golden wafer's answer is not the expected one; do not use this model",
            path.display()
        );
    }
    Ok(passed)
}

/// Shows a board's counters.
pub fn status(args: &Status) -> Result<bool> {
    let mut connection = Connection::open(&args.board)?;
    print(&connection.board.statistics()?, args.json)?;
    Ok(true)
}

/// One JSON object, or a line an entry.
fn print(facts: &impl Serialize, json: bool) -> Result<()> {
    let mut out = io::stdout().lock();
    if json {
        serde_json::to_writer(&mut out, facts)?;
        writeln!(out)?;
    } else {
        let facts = serde_json::to_value(facts)?;
        for (name, value) in entries(&facts) {
            let value = value.as_u64().map_or_else(
                || {
                    value
                        .as_str()
                        .map_or_else(|| value.to_string(), str::to_owned)
                },
                grouped,
            );
            writeln!(out, "{name:<14}{value}")?;
        }
    }
    Ok(())
}
