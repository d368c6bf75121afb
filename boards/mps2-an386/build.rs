//! Hands the linker this board's memory layout, and refuses to build for another processor.

use std::error::Error;
use std::path::PathBuf;
use std::{env, fs};

fn main() -> Result<(), Box<dyn Error>> {
    let flags = env::var("CARGO_ENCODED_RUSTFLAGS").unwrap_or_default();
    // Checking (clippy, an editor) from another folder is fine, firmware from there would not be.
    let release = env::var("PROFILE").is_ok_and(|profile| profile == "release");
    assert!(
        !release || flags.contains("target-cpu=cortex-m4"),
        "this would not be built for the cortex-m4: run cargo in boards/mps2-an386, whose .cargo/config.toml says so"
    );
    let out = PathBuf::from(env::var("OUT_DIR")?);
    fs::write(out.join("memory.x"), include_bytes!("memory.x"))?;
    println!("cargo::rustc-link-search={}", out.display());
    println!("cargo::rustc-link-arg=--nmagic");
    println!("cargo::rustc-link-arg=-Tlink.x");
    if env::var_os("CARGO_FEATURE_LOGS").is_some() {
        println!("cargo::rustc-link-arg=-Tdefmt.x");
    }
    println!("cargo::rerun-if-changed=memory.x");
    println!("cargo::rerun-if-changed=build.rs");
    Ok(())
}
