//! The public key in the firmware.

use core::ptr;

/// The key behind a mark by which tools find it in an image.
#[repr(C)]
struct Marked {
    mark: [u8; 16],
    key: [u8; 32],
}

/// All zeros, which are no key, where the firmware was built without LIGHTWAFER_UPDATE_KEY.
#[used]
static UPDATE_KEY: Marked = Marked {
    mark: *b"LIGHTWAFER-KEY:\0",
    key: *include_bytes!(concat!(env!("OUT_DIR"), "/update.key")),
};

/// The public key that models must be signed with; `None` where the firmware has none.
pub fn update_key() -> Option<[u8; 32]> {
    // SAFETY: a valid static; volatile, so that the linked image's bytes count and not those compiled in, and
    // so that firmware without a key takes the flash that it takes with one.
    #[allow(unsafe_code)]
    let key = unsafe { ptr::read_volatile(&raw const UPDATE_KEY.key) };
    (key != [0; 32]).then_some(key)
}
