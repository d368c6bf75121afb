//! A board's build script: hands the linker the board's memory layout, refuses to build for another
//! processor, and fits the model to the board's memory where it asks for that.

use std::error::Error;
use std::path::PathBuf;
use std::{env, fs};

use lightwafer_board_list::Board;

/// Prepares the firmware of the board whose package this is: its folder's `memory.x` becomes the linker's.
///
/// # Errors
/// A board that `boards/list` does not have, a release build for another processor than its own, no `memory.x`, or an
/// output folder that cannot be written.
pub fn firmware() -> Result<(), Box<dyn Error>> {
    let name = env::var("CARGO_PKG_NAME")?;
    let board = Board::named(&name)
        .ok_or_else(|| format!("{name} is not in BOARDS of boards/list/src/lib.rs: add it"))?;
    let (core, target, cpu) = (
        board.core.name(),
        board.core.target(),
        board.core.target_cpu(),
    );
    let flags = env::var("CARGO_ENCODED_RUSTFLAGS").unwrap_or_default();
    let right = flags.contains(&format!("target-cpu={cpu}")) && env::var("TARGET")? == target;
    // Checking (clippy, an editor) from another folder is fine, firmware from there would not be.
    let release = env::var("PROFILE").is_ok_and(|profile| profile == "release");
    if release && !right {
        let folder = env::var("CARGO_MANIFEST_DIR")?;
        return Err(format!(
            "this would not be built for the {core} of {name}: run cargo in {folder}, whose .cargo/config.toml must say \
             target {target} and target-cpu={cpu}"
        )
        .into());
    }
    let memory = fs::read("memory.x").map_err(|error| format!("memory.x: {error}"))?;
    linker_script("memory.x", &memory)?;
    let out = PathBuf::from(env::var("OUT_DIR")?);
    println!("cargo::rustc-link-search={}", out.display());
    println!("cargo::rustc-link-arg=--nmagic");
    println!("cargo::rustc-link-arg=-Tlink.x");
    if env::var_os("CARGO_FEATURE_LOGS").is_some() {
        println!("cargo::rustc-link-arg=-Tdefmt.x");
    }
    println!("cargo::rerun-if-changed=memory.x");
    Ok(())
}

/// Puts a file where the linker looks for what cortex-m-rt's script includes.
///
/// # Errors
/// An output folder that cannot be written.
pub fn linker_script(name: &str, content: &[u8]) -> Result<(), Box<dyn Error>> {
    let out = PathBuf::from(env::var("OUT_DIR")?);
    fs::write(out.join(name), content)?;
    Ok(())
}

/// Writes `model.lw` into the build's output folder: the model image `from` by the cheapest schedule that needs at
/// most `budget` bytes of arena. It gives the same answers, bit for bit.
///
/// # Errors
/// A file that is no model image, a budget that no schedule fits, or an output folder that cannot be written.
#[cfg(feature = "schedule")]
pub fn model(from: &str, budget: usize) -> Result<(), Box<dyn Error>> {
    use lightwafer_compiler::layer_specs;
    use lightwafer_compiler::schedule::{cheapest, rewrite, schedules};
    use lightwafer_runtime::AlignedBox;
    use lightwafer_runtime::image::Model;

    println!("cargo::rerun-if-changed={from}");
    let image = fs::read(from).map_err(|error| format!("{from}: {error}"))?;
    let image = AlignedBox::from(image);
    let all = schedules(&layer_specs(&Model::new_checked(&image)?))?;
    let chosen = cheapest(&all, budget).map_err(|smallest| {
        format!("{from}: no schedule fits {budget} bytes of arena; the smallest needs {smallest}")
    })?;
    let path = PathBuf::from(env::var("OUT_DIR")?).join("model.lw");
    fs::write(path, &*rewrite(&image, chosen)?)?;
    Ok(())
}
