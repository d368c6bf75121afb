//! Chooses the kernels' instruction sets for Arm microcontrollers.
//!
//! `cfg(target_feature = "dsp")` does not exist on stable Rust and `target-cpu` does not show in cfg at all, so
//! the target decides, and for Armv8-M, where the DSP and Helium extensions are options, the processor
//! that the compiler's flags name. An Armv8-M processor that is not named or not known gets the portable
//! kernels.

fn main() {
    println!("cargo::rustc-check-cfg=cfg(arm_dsp)");
    println!("cargo::rustc-check-cfg=cfg(arm_mve)");
    println!("cargo::rustc-check-cfg=cfg(arm_v8m)");
    println!("cargo::rerun-if-changed=build.rs");
    let target = std::env::var("TARGET").unwrap_or_default();
    let flags = std::env::var("CARGO_ENCODED_RUSTFLAGS").unwrap_or_default();
    let (mut dsp, mut mve) = (target.starts_with("thumbv7em"), false);
    if target.starts_with("thumbv8m.main") {
        println!("cargo::rustc-cfg=arm_v8m");
        let processor = options(&flags, "target-cpu").last().unwrap_or_default();
        (dsp, mve) = match processor {
            "cortex-m33" | "cortex-m35p" | "star-mc1" => (true, false),
            "cortex-m52" | "cortex-m55" | "cortex-m85" => (true, true),
            _ => (false, false),
        };
        // Processors are sold without their options.
        let features = options(&flags, "target-feature").flat_map(|list| list.split(','));
        for feature in features {
            match feature {
                "-dsp" => (dsp, mve) = (false, false),
                "-mve" => mve = false,
                _ => {}
            }
        }
    }
    if dsp {
        println!("cargo::rustc-cfg=arm_dsp");
    }
    if mve {
        println!("cargo::rustc-cfg=arm_mve");
    }
}

/// The values of a code generation option, `-C name=value` or `-Cname=value`, in the compiler's flags.
fn options<'f>(flags: &'f str, name: &'f str) -> impl Iterator<Item = &'f str> {
    flags.split('\u{1f}').filter_map(move |flag| {
        let option = flag.strip_prefix("-C").unwrap_or(flag);
        option.strip_prefix(name)?.strip_prefix('=')
    })
}
