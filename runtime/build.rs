//! Chooses the kernels' instruction set: `cfg(target_feature = "dsp")` does not exist on stable Rust, so the
//! target triple decides. Armv8-M (Cortex-M33, M55) has the same instructions, but LLVM refuses them in
//! naked functions for that target: it gets the portable kernels.

fn main() {
    println!("cargo::rustc-check-cfg=cfg(arm_dsp)");
    println!("cargo::rerun-if-changed=build.rs");
    let target = std::env::var("TARGET").unwrap_or_default();
    if target.starts_with("thumbv7em") {
        println!("cargo::rustc-cfg=arm_dsp");
    }
}
