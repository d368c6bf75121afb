//! Tells Armv8-M from Armv7-M, and puts the public key that models must be signed with where the firmware includes it.

use std::error::Error;
use std::path::PathBuf;
use std::{env, fs};

/// Names the file with the public key; a path from the root, since cargo runs this elsewhere.
const VARIABLE: &str = "LIGHTWAFER_UPDATE_KEY";

fn main() -> Result<(), Box<dyn Error>> {
    let out = PathBuf::from(env::var("OUT_DIR")?);
    println!("cargo::rustc-check-cfg=cfg(armv8m)");
    if env::var("TARGET").is_ok_and(|target| target.starts_with("thumbv8m")) {
        println!("cargo::rustc-cfg=armv8m");
    }
    fs::write(out.join("update.key"), update_key()?)?;
    println!("cargo::rerun-if-changed=build.rs");
    Ok(())
}

/// The key in the file that LIGHTWAFER_UPDATE_KEY names; zeros, which are no key, where it names none.
fn update_key() -> Result<[u8; 32], Box<dyn Error>> {
    println!("cargo::rerun-if-env-changed={VARIABLE}");
    let mut key = [0; 32];
    let Some(path) = env::var_os(VARIABLE).filter(|path| !path.is_empty()) else {
        return Ok(key);
    };
    let path = PathBuf::from(path);
    println!("cargo::rerun-if-changed={}", path.display());
    let wrong = |why: &str| format!("{VARIABLE}: {}: {why}", path.display());
    let text = fs::read_to_string(&path).map_err(|error| wrong(&error.to_string()))?;
    let digits = text
        .trim()
        .strip_prefix("lightwafer-public-key ")
        .filter(|digits| digits.len() == 64)
        .ok_or_else(|| wrong("not a public key of `lightwafer keygen`"))?;
    for (at, place) in key.iter_mut().enumerate() {
        let pair = digits.get(2 * at..2 * at + 2).unwrap_or("");
        *place = u8::from_str_radix(pair, 16).map_err(|error| wrong(&error.to_string()))?;
    }
    Ok(key)
}
