//! Prepares the firmware for this board's processor and memory.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    lightwafer_board_build::firmware()
}
