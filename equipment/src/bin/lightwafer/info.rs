//! `lightwafer info` and `lightwafer status`.

use std::io::{self, Write};

use anyhow::Result;
use lightwafer_equipment::{Health, KeyId, Local, ResetCause, UpdateError};
use serde::Serialize;
use serde_json::{Value, json};

use crate::args::{Info, Status};
use crate::output::{entries, grouped};
use crate::source::Connection;

/// Shows facts, and of a model file also the kernels that boards run for each layer. `false` if a model file fails its
/// self-test.
pub fn info(args: &Info) -> Result<bool> {
    let Some(path) = &args.model else {
        let mut connection = Connection::open(&args.board)?;
        let mut facts = serde_json::to_value(connection.board.facts())?;
        if let Some(health) = connection.health()? {
            extend(&mut facts, models(&health));
            if health.models.limit > 0 && health.models.key.is_none() {
                eprintln!("lightwafer: {}", UpdateError::NoKey);
            }
        }
        print(&facts, args.json)?;
        return Ok(true);
    };
    let local = Local::load(path)?;
    let passed = local.self_test()?;
    let mut facts = serde_json::to_value(local.facts())?;
    if let Value::Object(facts) = &mut facts {
        let result = if passed { "passed" } else { "failed" };
        facts.insert("self_test".into(), result.into());
    }
    if let Some(block) = local.signature() {
        let signature = json!({
            "model_version": block.version(),
            "model_floor": block.floor(),
            "signed_with": block.key().to_string(),
        });
        extend(&mut facts, signature);
    }
    let kernels = local.kernels()?;
    if args.json {
        extend(&mut facts, json!({ "kernels": kernels }));
        print(&facts, true)?;
    } else {
        print(&facts, false)?;
        write!(io::stdout(), "\n{kernels}")?;
    }
    if !passed {
        eprintln!(
            "lightwafer: {}: the self-test failed: the answer to the golden wafer is not the expected one; do not use this model",
            path.display()
        );
    }
    Ok(passed)
}

/// Shows a board's counters.
pub fn status(args: &Status) -> Result<bool> {
    let mut connection = Connection::open(&args.board)?;
    let mut status = serde_json::to_value(connection.board.statistics()?)?;
    if let Some(health) = connection.health()? {
        for (cause, count) in ResetCause::ALL.into_iter().zip(health.starts) {
            extend(
                &mut status,
                json!({ format!("starts_{}", cause.name()): count }),
            );
        }
        extend(&mut status, models(&health));
        let sha256 = base16ct::lower::encode_string(&health.sha256);
        extend(&mut status, json!({ "model_sha256": sha256 }));
    }
    print(&status, args.json)?;
    Ok(true)
}

/// The running model, and the rules for its replacement. Without a limit the board accepts no models.
fn models(health: &Health) -> Value {
    let models = &health.models;
    let key = models.key.map(|key| KeyId(key).to_string());
    let mut facts = json!({ "model_version": models.version });
    if models.limit > 0 {
        let key = key.unwrap_or_else(|| "NONE: this firmware accepts no models".into());
        let more = json!({
            "model_minimum": models.minimum,
            "model_floor": models.floor,
            "model_limit": models.limit,
            "update_key": key,
        });
        extend(&mut facts, more);
    }
    if let Some(transfer) = &models.transfer {
        let more = json!({
            "incoming_version": transfer.version,
            "incoming_received": transfer.received,
            "incoming_bytes": transfer.expected,
        });
        extend(&mut facts, more);
    }
    facts
}

/// Appends the entries of one JSON object to another.
fn extend(object: &mut Value, more: Value) {
    if let (Value::Object(object), Value::Object(more)) = (object, more) {
        object.extend(more);
    }
}

/// Prints one JSON object, or one line for each entry.
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
            writeln!(out, "{name:<18}{value}")?;
        }
    }
    Ok(())
}
