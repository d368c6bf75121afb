//! Prepares the firmware for this board's processor and memory, and fits the model to its RAM.

/// Most bytes of arena. The published model needs 316,080, more than this board has RAM; with its first level computed twice it
/// needs just these.
const ARENA: usize = 162_064;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    lightwafer_board_build::model("../../models/light-int8.lw", ARENA)?;
    lightwafer_board_build::firmware()
}
