//! Small pictures of wafers for the page as data URIs: dies, masks, and the difference of masks.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use lightwafer_maps::canvas::{Canvas, DIE_COLOURS, Rgb888};
use lightwafer_runtime::dies::source_index;

use super::subject::Masks;
use crate::data::Data;

/// Side of a picture, in pixels.
const SIDE: i32 = 112;
const MARKED: Rgb888 = Rgb888::new(46, 58, 140);
const CLEAR: Rgb888 = Rgb888::new(234, 238, 242);
const MISSED: Rgb888 = Rgb888::new(214, 73, 51);
const EXTRA: Rgb888 = Rgb888::new(227, 160, 8);

/// Dies, true mask, predicted mask, difference.
pub(crate) fn strip(data: &Data, wafer: u32, masks: &Masks) -> [String; 4] {
    let dies = data.wafers.dies(wafer as usize);
    let (rows, cols) = (usize::from(data.wafers.rows), usize::from(data.wafers.cols));
    let side = SIDE as usize;
    let die = |x: usize, y: usize| {
        let die = dies[source_index(y, rows, side) * cols + source_index(x, cols, side)];
        DIE_COLOURS[usize::from(die.min(2))]
    };
    let of = |mask: &[u8], x: usize, y: usize| {
        let at = |v: usize| source_index(v, masks.size, side);
        mask.get(at(y) * masks.size + at(x))
            .is_some_and(|pixel| *pixel != 0)
    };
    let plain = |mask: &[u8], x, y| if of(mask, x, y) { MARKED } else { CLEAR };
    let difference = |x, y| match (of(&masks.truth, x, y), of(&masks.predicted, x, y)) {
        (true, false) => MISSED,
        (false, true) => EXTRA,
        _ => CLEAR,
    };
    [
        picture(die),
        picture(|x, y| plain(&masks.truth, x, y)),
        picture(|x, y| plain(&masks.predicted, x, y)),
        picture(difference),
    ]
}

fn picture(colour: impl Fn(usize, usize) -> Rgb888) -> String {
    let mut canvas = Canvas::new(SIDE as u16, SIDE as u16);
    for y in 0..SIDE {
        for x in 0..SIDE {
            canvas.block(x, y, 1, 1, colour(x as usize, y as usize));
        }
    }
    let bytes = canvas.png().unwrap_or_default();
    format!("data:image/png;base64,{}", STANDARD.encode(bytes))
}
