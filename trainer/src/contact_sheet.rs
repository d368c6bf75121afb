//! A contact sheet: some wafers of every class in one picture, to check labels by eye.

use std::io;

use embedded_graphics::mono_font::ascii::{FONT_6X10, FONT_9X15_BOLD};
use lightwafer_maps::canvas::{Alignment, Canvas, DIE_COLOURS, Rgb888};
use lightwafer_runtime::dies::{Class, source_index};

use crate::data::Data;

const INK: Rgb888 = Rgb888::new(31, 35, 40);
const FAINT: Rgb888 = Rgb888::new(110, 119, 129);
/// Wafers of each class.
const WAFERS: usize = 6;
/// Classes side by side.
const COLUMNS: usize = 2;
/// Side of a wafer, in pixels.
const SIDE: i32 = 104;
const GAP: i32 = 8;
const LABEL: i32 = 100;
const TOP: i32 = 34;

/// Draws the first wafers of every class, spread over the file, as a PNG file's bytes.
///
/// # Errors
/// Only errors of the PNG encoder.
pub fn contact_sheet(data: &Data, title: &str) -> io::Result<Vec<u8>> {
    let rows = Class::all().count().div_ceil(COLUMNS);
    let column = LABEL + WAFERS as i32 * (SIDE + GAP) + GAP;
    let (width, height) = (
        COLUMNS as i32 * column + GAP,
        TOP + rows as i32 * (SIDE + GAP) + GAP,
    );
    let mut canvas = Canvas::new(width as u16, height as u16);
    canvas.text(title, GAP, GAP, &FONT_9X15_BOLD, INK, Alignment::Left);
    for (i, class) in Class::all().enumerate() {
        let members = data
            .labels
            .iter()
            .enumerate()
            .filter(|(_, l)| **l == class.index());
        let members: Vec<usize> = members.map(|(wafer, _)| wafer).collect();
        let left = GAP + (i / rows) as i32 * column;
        let top = TOP + (i % rows) as i32 * (SIDE + GAP);
        canvas.text(
            class.label(),
            left,
            top + 34,
            &FONT_9X15_BOLD,
            INK,
            Alignment::Left,
        );
        let count = format!("{} wafers", members.len());
        canvas.text(&count, left, top + 54, &FONT_6X10, FAINT, Alignment::Left);
        for (column, wafer) in spread(&members).into_iter().enumerate() {
            let x = left + LABEL + column as i32 * (SIDE + GAP);
            draw(&mut canvas, x, top, data, wafer);
        }
    }
    canvas.png()
}

/// At most [`WAFERS`] of `members`, evenly spread.
fn spread(members: &[usize]) -> Vec<usize> {
    let count = members.len().min(WAFERS);
    (0..count)
        .map(|i| members[i * members.len() / count])
        .collect()
}

fn draw(canvas: &mut Canvas, left: i32, top: i32, data: &Data, wafer: usize) {
    let dies = data.wafers.dies(wafer);
    let (rows, cols) = (usize::from(data.wafers.rows), usize::from(data.wafers.cols));
    for y in 0..SIDE {
        let row = source_index(y as usize, rows, SIDE as usize);
        for x in 0..SIDE {
            let die = dies[row * cols + source_index(x as usize, cols, SIDE as usize)];
            canvas.block(
                left + x,
                top + y,
                1,
                1,
                DIE_COLOURS[usize::from(die.min(2))],
            );
        }
    }
}
