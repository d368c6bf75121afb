//! Wafers of given or random dies.

use std::path::Path;

use fastrand::Rng;
use lightwafer_maps::Wafer;
use lightwafer_runtime::dies::DieMap;

/// A wafer of these dies, row-major, 0, 1 or 2.
///
/// # Panics
/// When they are no map.
pub fn of(rows: u16, cols: u16, dies: &[u8]) -> Wafer {
    Wafer::new(Path::new("").into(), 0, (rows, cols), dies, None).expect("a map")
}

/// A wafer of this grid, each die drawn by itself.
///
/// # Panics
/// When the grid is none.
pub fn noise(rows: u16, cols: u16, rng: &mut Rng) -> Wafer {
    let count = usize::from(rows) * usize::from(cols);
    let dies: Vec<u8> = (0..count).map(|_| rng.u8(..3)).collect();
    of(rows, cols, &dies)
}

/// A wafer of any grid, half of the time 52×52, with a share of failing dies of its own.
pub fn any(rng: &mut Rng) -> Wafer {
    let (rows, cols) = match rng.u8(..4) {
        0 | 1 => (52, 52),
        2 => (rng.u16(1..=256), rng.u16(1..=256)),
        _ => (rng.u16(20..60), rng.u16(20..60)),
    };
    let failing = rng.u8(..100);
    let count = usize::from(rows) * usize::from(cols);
    let die = |rng: &mut Rng| match rng.u8(..8) {
        0 => 0,
        _ => 1 + u8::from(rng.u8(..100) < failing),
    };
    let dies: Vec<u8> = (0..count).map(|_| die(rng)).collect();
    of(rows, cols, &dies)
}

/// Grid and CRC-32 of a map, as they are announced to a board.
pub fn announced(map: &DieMap<'_>) -> (u16, u16, u32) {
    let crc = lightwafer_runtime::crc32(map.packed());
    (map.rows() as u16, map.cols() as u16, crc)
}
