//! Chooses the kernels' instruction sets for Arm microcontrollers.
//!
//! `cfg(target_feature = "dsp")` does not exist on stable Rust and `target-cpu` does not show in cfg at all, so
//! the target decides, and for Armv8-M, where the DSP and Helium extensions are options, the processor
//! that the compiler's flags name. An Armv8-M processor that is not named or not known gets the reference
//! kernels, which are several times slower, and a warning that says what to pass.

/// Armv8-M processors that have the DSP extension unless they were made without.
const DSP: [&str; 4] = ["cortex-m33", "cortex-m35p", "star-mc1", "star-mc3"];
/// Armv8.1-M processors that have Helium, and with it the DSP extension, unless they were made without.
const HELIUM: [&str; 3] = ["cortex-m52", "cortex-m55", "cortex-m85"];

fn main() {
    println!("cargo::rustc-check-cfg=cfg(arm_dsp)");
    println!("cargo::rustc-check-cfg=cfg(arm_mve)");
    println!("cargo::rustc-check-cfg=cfg(arm_v8m)");
    println!("cargo::rustc-check-cfg=cfg(fuzzing)");
    println!("cargo::rerun-if-changed=build.rs");
    let target = std::env::var("TARGET").unwrap_or_default();
    let flags = std::env::var("CARGO_ENCODED_RUSTFLAGS").unwrap_or_default();
    let (mut dsp, mut mve) = (target.starts_with("thumbv7em"), false);
    if target.starts_with("thumbv8m.main") {
        println!("cargo::rustc-cfg=arm_v8m");
        (dsp, mve) = armv8(&flags);
    }
    if dsp {
        println!("cargo::rustc-cfg=arm_dsp");
    }
    if mve {
        println!("cargo::rustc-cfg=arm_mve");
    }
}

/// Whether the processor that the flags name has the DSP extension, and whether it has Helium.
fn armv8(flags: &str) -> (bool, bool) {
    let processor = options(flags, "target-cpu").last().unwrap_or_default();
    let mve = HELIUM.contains(&processor);
    let (mut dsp, mut mve) = (mve || DSP.contains(&processor), mve);
    let mut known = dsp;
    // Processors are sold without their options.
    let features = options(flags, "target-feature").flat_map(|list| list.split(','));
    for feature in features {
        match feature {
            "-dsp" => (dsp, mve, known) = (false, false, true),
            "-mve" => mve = false,
            _ => {}
        }
    }
    if !known {
        let named = match processor {
            "" | "generic" => "no processor is named".to_owned(),
            other => format!("the processor {other} is not known"),
        };
        println!(
            "cargo::warning={named}: inference runs the reference kernels, several times slower. Pass \
             `-C target-cpu=` with one of {}, or `-C target-feature=-dsp` for a processor without the DSP extension",
            [&DSP[..], &HELIUM[..]].concat().join(", ")
        );
    }
    (dsp, mve)
}

/// The values of a code generation option, `-C name=value` or `-Cname=value`, in the compiler's flags.
fn options<'f>(flags: &'f str, name: &'f str) -> impl Iterator<Item = &'f str> {
    flags.split('\u{1f}').filter_map(move |flag| {
        let option = flag.strip_prefix("-C").unwrap_or(flag);
        option.strip_prefix(name)?.strip_prefix('=')
    })
}
