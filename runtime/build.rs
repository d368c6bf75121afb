//! Chooses the kernels' instruction set: `cfg(target_feature = "dsp")` does not exist on stable Rust,
//! so the target triple (and `-Ctarget-cpu` for Armv8-M, where DSP is optional) decides.

fn main() {
    println!("cargo::rustc-check-cfg=cfg(arm_dsp)");
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=CARGO_ENCODED_RUSTFLAGS");
    let target = std::env::var("TARGET").unwrap_or_default();
    let flags = std::env::var("CARGO_ENCODED_RUSTFLAGS").unwrap_or_default();
    let cpu = ["cortex-m33", "cortex-m35p", "cortex-m55", "cortex-m85"];
    let armv8 = target.starts_with("thumbv8m.main") && cpu.iter().any(|cpu| flags.contains(cpu));
    if target.starts_with("thumbv7em") || armv8 {
        println!("cargo::rustc-cfg=arm_dsp");
    }
}
