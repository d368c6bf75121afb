//! Prepares the firmware for the board whose package this is.

use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    lightwafer_board_build::firmware()?;
    // The vector table names its handlers itself, so there are no aliases to provide.
    lightwafer_board_build::linker_script("device.x", b"")
}
