//! `trainer schedule`: the same network in less memory.
//!
//! Works on a model image alone: the checkpoint that it was exported from is not needed.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use clap::Args;
use lightwafer_compiler::layer_specs;
use lightwafer_compiler::schedule::{self, Schedule, cheapest, schedules};
use lightwafer_runtime::AlignedBox;
use lightwafer_runtime::image::Model;
use trainer::files::write_atomically;

/// Rewrite a model image so that it needs less memory, at the cost of more arithmetic.
///
/// A schedule computes the first layers a second time instead of keeping their output, and in the smallest arenas in
/// tiles of columns. All schedules of an image give the same answers, bit for bit. The cheapest one that fits the
/// budget is taken; without a budget, the one that computes every layer once.
#[derive(Args)]
#[command(after_help = "Examples:
  trainer schedule light-int8.lw                                     which schedules there are
  trainer schedule light-int8.lw --ram-budget 192K -o small.lw
  trainer schedule small.lw -o light-int8.lw                         and back")]
pub struct ScheduleArgs {
    /// The model image (.lw), by any schedule.
    #[arg(value_name = "IMAGE")]
    image: PathBuf,
    /// The arena that the board has for an inference, such as 192K or 165000.
    #[arg(long, value_name = "BYTES", value_parser = bytes)]
    ram_budget: Option<usize>,
    /// The model image to write (.lw); without it, only the table is printed.
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

pub fn run(args: ScheduleArgs) -> Result<()> {
    let from = args.image.display();
    let image = std::fs::read(&args.image).with_context(|| format!("cannot read {from}"))?;
    let image = AlignedBox::from(image);
    let image = in_budget(&image, args.ram_budget).with_context(|| from.to_string())?;
    if let Some(output) = &args.output {
        write_atomically(output, &image)?;
        println!("{}: {} bytes", output.display(), image.len());
    }
    Ok(())
}

/// Bytes in the usual notation: `192K` and `192KiB` are 196,608, `165000` is 165,000.
///
/// # Errors
/// A text that is no number of bytes.
fn bytes(text: &str) -> Result<usize, String> {
    let config = parse_size::Config::new().with_binary();
    let bytes = config.parse_size(text).map_err(|error| error.to_string())?;
    usize::try_from(bytes).map_err(|error| error.to_string())
}

/// The image by the cheapest schedule in `budget` bytes of arena, after the table it was chosen from; without a
/// budget, by the plain one.
///
/// # Errors
/// When no schedule fits, with the bytes of the smallest.
fn in_budget(image: &[u8], budget: Option<usize>) -> Result<AlignedBox<u8>> {
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
