//! How often the board started since power came on.

use core::ptr;

use lightwafer_device::protocol::message::ResetCause;
use lightwafer_runtime::crc32;

/// How often the board started since power came on, by cause, and a CRC-32; all of it may hold anything at
/// power-on.
#[unsafe(link_section = ".uninit.lightwafer.starts")]
#[allow(unsafe_code)]
static mut STARTS: Counts = [0; ResetCause::COUNT + 1];

type Counts = [u32; ResetCause::COUNT + 1];

/// How often the board started since power came on, by [`ResetCause`] in order, this start included.
#[allow(unsafe_code)]
pub fn starts() -> [u32; ResetCause::COUNT] {
    // SAFETY: no reference to STARTS exists anywhere; any bytes are a valid value; volatile because its content
    // may come from before this start.
    let words = unsafe { ptr::read_volatile(&raw const STARTS) };
    match words.split_last_chunk::<1>() {
        Some((counts, [crc])) if *crc == crc_of(counts) => {
            core::array::from_fn(|at| counts.get(at).copied().unwrap_or(0))
        }
        _ => [0; ResetCause::COUNT],
    }
}

fn crc_of(counts: &[u32]) -> u32 {
    let mut bytes = [0; 4 * ResetCause::COUNT];
    for (place, count) in bytes.as_chunks_mut().0.iter_mut().zip(counts) {
        *place = count.to_le_bytes();
    }
    crc32(&bytes)
}

#[allow(unsafe_code)]
pub(super) fn count(cause: ResetCause) {
    let mut counts = match cause {
        // Whatever was counted, it was before the power went.
        ResetCause::PowerOn => [0; ResetCause::COUNT],
        _ => starts(),
    };
    if let Some(count) = counts.get_mut(cause as usize) {
        *count = count.saturating_add(1);
    }
    let mut words: Counts = [0; ResetCause::COUNT + 1];
    let crc = crc_of(&counts);
    for (place, word) in words.iter_mut().zip(counts.into_iter().chain([crc])) {
        *place = word;
    }
    // SAFETY: no reference to STARTS exists anywhere, and interrupts never touch it.
    unsafe { ptr::write_volatile(&raw mut STARTS, words) }
}
