//! How many bytes of arena an image asks for, while the compiler runs: for the size of a `static`.

use super::fixed::{FORMAT_VERSION, MAGIC, field};

/// The bytes of arena that the model in `image` asks for, as its header says. `None` when the bytes do not begin as an image
/// of this format does.
///
/// It is meant for constants; only [`Model::new_checked`](super::Model::new_checked) checks an image.
///
/// ```
/// use lightwafer_runtime::{Arena, arena_bytes, include_model};
///
/// const MODEL: &[u8] = include_model!("../../../models/light-int8.lw");
/// let mut arena = Arena::<{ arena_bytes(MODEL).unwrap() }>::new();
/// assert_eq!(arena.bytes().len(), 316_080);
/// ```
pub const fn arena_bytes(image: &[u8]) -> Option<usize> {
    let Some((start, header)) = image.split_at_checked(field::END) else {
        return None;
    };
    let (Some((magic, rest)), [low, high]) = (
        start.split_first_chunk::<{ field::MAGIC.end }>(),
        FORMAT_VERSION.to_le_bytes(),
    ) else {
        return None;
    };
    if u64::from_le_bytes(*magic) != u64::from_le_bytes(MAGIC) {
        return None;
    }
    match rest {
        [a, b, ..] if *a == low && *b == high => {}
        _ => return None,
    }
    // The fields of [`Header`](super::Header), in postcard's encoding: name, date, rounding, parameters, multiply-accumulates.
    let Some(header) = after_bytes(header) else {
        return None;
    };
    let Some(mut header) = after_bytes(header) else {
        return None;
    };
    let mut skipped = 0;
    while skipped < 3 {
        match number(header) {
            Some((_, rest)) => header = rest,
            None => return None,
        }
        skipped += 1;
    }
    match number(header) {
        Some((bytes, _)) if bytes <= u32::MAX as u64 => Some(bytes as usize),
        _ => None,
    }
}

/// What comes behind a text or a list of bytes.
const fn after_bytes(bytes: &[u8]) -> Option<&[u8]> {
    let Some((len, rest)) = number(bytes) else {
        return None;
    };
    match rest.split_at_checked(len as usize) {
        Some((_, rest)) => Some(rest),
        None => None,
    }
}

/// A number, lowest seven bits first, and what comes behind it.
const fn number(mut bytes: &[u8]) -> Option<(u64, &[u8])> {
    let (mut value, mut shift) = (0, 0);
    while let Some((byte, rest)) = bytes.split_first() {
        if shift > 63 {
            return None;
        }
        value |= ((*byte & 0x7f) as u64) << shift;
        if *byte & 0x80 == 0 {
            return Some((value, rest));
        }
        shift += 7;
        bytes = rest;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::Model;
    use crate::include_model;

    const IMAGE: &[u8] = include_model!("../../../models/light-int8.lw");

    #[test]
    fn it_is_what_the_header_says() {
        let model = Model::new_checked(IMAGE).unwrap();
        let said = model.header().arena_bytes as usize;
        assert_eq!(arena_bytes(IMAGE), Some(said));
    }

    #[test]
    fn what_does_not_begin_as_an_image_has_none() {
        for len in 0..field::END + 30 {
            assert_eq!(arena_bytes(IMAGE.get(..len).unwrap()), None, "{len}");
        }
        for at in 0..field::VERSION.end {
            let mut bytes = IMAGE.to_vec();
            bytes[at] ^= 1;
            assert_eq!(arena_bytes(&bytes), None, "{at}");
        }
        // Numbers and texts without an end.
        let endless = [IMAGE.get(..field::END).unwrap(), &[0xff; 40]].concat();
        assert_eq!(arena_bytes(&endless), None);
    }
}
