//! Puts `device.x` where cortex-m-rt's linker script looks for it.

use std::path::PathBuf;
use std::{env, fs};

fn main() {
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    // The vector table in this crate names its handlers itself, so there are no aliases to provide.
    fs::write(out.join("device.x"), "").expect("OUT_DIR can be written");
    println!("cargo::rustc-link-search={}", out.display());
    println!("cargo::rerun-if-changed=build.rs");
}
