//! Hands the linker the memory layout of the board that the target stands for.

use std::path::PathBuf;
use std::{env, fs};

fn main() {
    let target = env::var("TARGET").unwrap();
    // Where flash and RAM begin on Arm's MPS2 with the images an500 and an505.
    let (flash, ram) = if target.starts_with("thumbv8m") {
        ("0x10000000", "0x38000000")
    } else {
        ("0x00000000", "0x20000000")
    };
    let out = PathBuf::from(env::var("OUT_DIR").unwrap());
    let memory = format!(
        "MEMORY {{ FLASH : ORIGIN = {flash}, LENGTH = 4M RAM : ORIGIN = {ram}, LENGTH = 4M }}"
    );
    fs::write(out.join("memory.x"), memory).unwrap();
    println!("cargo::rustc-link-search={}", out.display());
    println!("cargo::rerun-if-changed=build.rs");
}
