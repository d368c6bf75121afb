//! `trainer export --ram-budget`: the same network in less memory.
//!
//! Works on a model image alone: what an image was exported from is not needed to schedule it anew.

use std::path::Path;

use anyhow::{Context, Result, bail};
use lightwafer_compiler::layer_specs;
use lightwafer_compiler::schedule::{self, Schedule, cheapest, schedules};
use lightwafer_runtime::AlignedBox;
use lightwafer_runtime::image::Model;
use trainer::checkpoint::write_atomically;

/// Bytes as people write them: `192K` and `192KiB` are 196,608, `165000` is 165,000.
///
/// # Errors
/// A text that is no number of bytes.
pub fn bytes(text: &str) -> Result<usize, String> {
    let config = parse_size::Config::new().with_binary();
    let bytes = config.parse_size(text).map_err(|error| error.to_string())?;
    usize::try_from(bytes).map_err(|error| error.to_string())
}

/// Whether `path` is a model image rather than a checkpoint.
pub fn is_image(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "lw")
}

/// Reads the image `from`, and writes it to `output` by the cheapest schedule in `budget` bytes of arena.
///
/// # Errors
/// A file that is no model image, and a budget that no schedule fits.
pub fn rewrite(from: &Path, budget: Option<usize>, output: &Path) -> Result<()> {
    let image = std::fs::read(from).with_context(|| format!("cannot read {}", from.display()))?;
    let image =
        in_budget(&AlignedBox::from(image), budget).with_context(|| from.display().to_string())?;
    write_atomically(output, &image)?;
    println!("{}: {} bytes", output.display(), image.len());
    Ok(())
}

/// The image by the cheapest schedule in `budget` bytes of arena, after the table it was chosen from; by the
/// plain one without a budget.
///
/// # Errors
/// When no schedule fits, with the bytes of the smallest.
pub fn in_budget(image: &[u8], budget: Option<usize>) -> Result<AlignedBox<u8>> {
    let model = Model::new_checked(image)?;
    let all = schedules(&layer_specs(&model))?;
    let chosen = cheapest(&all, budget.unwrap_or(usize::MAX));
    print_table(&all, chosen.ok());
    let chosen = match chosen {
        Ok(schedule) => schedule,
        Err(smallest) => bail!(
            "no schedule fits {} bytes of arena; the smallest needs {smallest}",
            budget.unwrap_or_default()
        ),
    };
    Ok(schedule::rewrite(image, chosen)?)
}

fn print_table(all: &[Schedule], chosen: Option<&Schedule>) {
    let plain = all.first().map_or(1, |schedule| schedule.macs).max(1);
    println!(
        "  {:<28}{:>8}{:>12}{:>14}{:>8}",
        "schedule", "tiles", "arena bytes", "MACs", "ratio"
    );
    for schedule in all {
        let mark = if chosen.is_some_and(|c| std::ptr::eq(c, schedule)) {
            '>'
        } else {
            ' '
        };
        let name = match schedule.recomputed {
            0 => "every layer once".to_owned(),
            1 => "level 0 computed twice".to_owned(),
            levels => format!("levels 0 to {} computed twice", levels - 1),
        };
        println!(
            "{mark} {name:<28}{:>8}{:>12}{:>14}{:>8.2}",
            schedule.tiles,
            schedule.arena_bytes,
            schedule.macs,
            schedule.macs as f64 / plain as f64
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_binary() {
        assert_eq!(bytes("192K"), Ok(196_608));
        assert_eq!(bytes("64KiB"), Ok(65_536));
        assert_eq!(bytes("165000"), Ok(165_000));
        assert!(bytes("much").is_err());
    }
}
