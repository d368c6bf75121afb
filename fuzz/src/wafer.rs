//! Random wafer maps, from a fuzzer's bytes.

use arbitrary::{Result, Unstructured};
use lightwafer_maps::Wafer;

/// Any grid; dies from a few bytes, repeated.
///
/// # Errors
/// When the bytes are used up.
pub fn arbitrary(u: &mut Unstructured<'_>) -> Result<Wafer> {
    let side = |u: &mut Unstructured<'_>| match u.int_in_range(0..=3)? {
        0 => Ok(52),
        1 => u.int_in_range(1..=8),
        _ => u.int_in_range(1..=256),
    };
    let (rows, cols): (u16, u16) = (side(u)?, side(u)?);
    let pattern: [u8; 13] = u.arbitrary()?;
    let count = usize::from(rows) * usize::from(cols);
    let dies: Vec<u8> = (0..count)
        .map(|at| pattern[at % 13].wrapping_mul((at / 97 % 250) as u8 + 1) % 3)
        .collect();
    Ok(lightwafer_testkit::wafer::of(rows, cols, &dies))
}
