//! Draws one PNG for each wafer: its dies, the predicted mask over them, and the classes with the best scores.

use std::io;
use std::path::Path;

use embedded_graphics::mono_font::ascii::{FONT_9X15, FONT_9X18_BOLD, FONT_10X20};
use embedded_graphics::pixelcolor::RgbColor;
use lightwafer_maps::canvas::{Alignment, Canvas, DIE_COLOURS as DIES, Rgb888};
use lightwafer_runtime::dies::{Class, DieMap, IMAGE_SIZE, Mask, source_index};

use crate::report::Report;
use lightwafer_maps::file;

const PAPER: Rgb888 = Rgb888::new(255, 255, 255);
const INK: Rgb888 = Rgb888::new(31, 35, 40);
const FAINT: Rgb888 = Rgb888::new(110, 119, 129);
const TRACK: Rgb888 = Rgb888::new(234, 238, 242);
const RIGHT: Rgb888 = Rgb888::new(26, 127, 55);
const WRONG: Rgb888 = Rgb888::new(207, 34, 46);
const MASK: Rgb888 = Rgb888::new(46, 58, 140);

/// Screen pixels a mask pixel.
const ZOOM: i32 = 2;
const PANEL: i32 = IMAGE_SIZE as i32 * ZOOM;
const MARGIN: i32 = 24;
const TOP: i32 = 92;
const WIDTH: i32 = 3 * MARGIN + 2 * PANEL;
const BARS: i32 = TOP + PANEL + 46;
const HEIGHT: i32 = BARS + 3 * 26 + MARGIN - 6;

/// Draws a wafer and its report, and returns the bytes of a PNG file.
///
/// `name` is shown as the wafer's name. With `truth`, the class is coloured as right or wrong.
///
/// # Errors
/// Those of the PNG encoder, which has none for this size and format.
pub fn draw(
    name: &str,
    map: &DieMap<'_>,
    report: &Report,
    truth: Option<Class>,
) -> io::Result<Vec<u8>> {
    let mut canvas = Canvas::new(WIDTH as u16, HEIGHT as u16);
    title(&mut canvas, name, map, report, truth);
    canvas.text("dies", MARGIN, TOP - 22, &FONT_9X15, FAINT, Alignment::Left);
    let right = 2 * MARGIN + PANEL;
    canvas.text(
        "predicted mask",
        right,
        TOP - 22,
        &FONT_9X15,
        FAINT,
        Alignment::Left,
    );
    dies(&mut canvas, MARGIN, map);
    overlay(&mut canvas, right, map, &report.mask);
    legend(&mut canvas, right);
    bars(&mut canvas, report);
    canvas.png()
}

/// Draws like [`draw`] and writes the file atomically.
///
/// # Errors
/// Those of the file system.
pub fn write(
    path: &Path,
    name: &str,
    map: &DieMap<'_>,
    report: &Report,
    truth: Option<Class>,
) -> io::Result<()> {
    file::write(path, &draw(name, map, report, truth)?)
}

fn title(canvas: &mut Canvas, name: &str, map: &DieMap<'_>, report: &Report, truth: Option<Class>) {
    let class = report.class;
    let colour = match truth {
        Some(truth) if truth == class => RIGHT,
        Some(_) => WRONG,
        None => INK,
    };
    let text = format!("{}  {:.1} %", class.label(), 100.0 * report.top_score());
    let next = canvas.text(&text, MARGIN, 16, &FONT_10X20, colour, Alignment::Left);
    // Drawn twice, one pixel apart, because there is no bold font of this size.
    canvas.text(&text, MARGIN + 1, 16, &FONT_10X20, colour, Alignment::Left);
    if let Some(truth) = truth {
        let text = format!("truth {}", truth.label());
        canvas.text(
            &text,
            next + 24,
            18,
            &FONT_9X18_BOLD,
            FAINT,
            Alignment::Left,
        );
    }
    let facts = format!(
        "{}x{} dies, {} marked, mask Dice {:.3}",
        map.rows(),
        map.cols(),
        report.mask_dies,
        report.mask.dice(map)
    );
    canvas.text(
        name,
        WIDTH - MARGIN,
        16,
        &FONT_9X18_BOLD,
        INK,
        Alignment::Right,
    );
    canvas.text(
        &facts,
        WIDTH - MARGIN,
        38,
        &FONT_9X15,
        FAINT,
        Alignment::Right,
    );
}

/// Draws the dies, with fine lines between them if there is room.
fn dies(canvas: &mut Canvas, left: i32, map: &DieMap<'_>) {
    let (rows, cols) = (map.rows(), map.cols());
    let range = |at: usize, dies: usize| {
        let edge = |at: usize| (at * PANEL as usize).div_ceil(dies) as i32;
        (edge(at), edge(at + 1))
    };
    let gap = i32::from(rows.max(cols) <= 80);
    for row in 0..rows {
        let (y0, y1) = range(row, rows);
        for col in 0..cols {
            let (x0, x1) = range(col, cols);
            let die = map.die(row, col);
            let gap = if die == 0 { 0 } else { gap };
            let colour = DIES[usize::from(die)];
            canvas.block(left + x0, TOP + y0, x1 - x0 - gap, y1 - y0 - gap, colour);
        }
    }
}

/// Draws the dies as the network sees them, and over them the mask with its outline.
fn overlay(canvas: &mut Canvas, left: i32, map: &DieMap<'_>, mask: &Mask) {
    for y in 0..IMAGE_SIZE {
        for x in 0..IMAGE_SIZE {
            let row = source_index(y, map.rows(), IMAGE_SIZE);
            let col = source_index(x, map.cols(), IMAGE_SIZE);
            let pale = blend(DIES[usize::from(map.die(row, col))], PAPER, 120);
            let inside = mask.get(y, x);
            let border = inside
                && !(mask.get(y, x + 1)
                    && mask.get(y + 1, x)
                    && x.checked_sub(1).is_some_and(|x| mask.get(y, x))
                    && y.checked_sub(1).is_some_and(|y| mask.get(y, x)));
            let colour = match (inside, border) {
                (false, _) => pale,
                (true, false) => blend(pale, MASK, 130),
                (true, true) => blend(pale, MASK, 215),
            };
            let (x, y) = (left + x as i32 * ZOOM, TOP + y as i32 * ZOOM);
            canvas.block(x, y, ZOOM, ZOOM, colour);
        }
    }
}

fn legend(canvas: &mut Canvas, right: i32) {
    let y = TOP + PANEL + 12;
    let mut x = MARGIN;
    for (colour, text) in [(DIES[1], "pass"), (DIES[2], "fail")] {
        x = entry(canvas, x, y, colour, text);
    }
    entry(
        canvas,
        right,
        y,
        blend(blend(DIES[2], PAPER, 120), MASK, 130),
        "marked as defect",
    );
}

fn entry(canvas: &mut Canvas, x: i32, y: i32, colour: Rgb888, text: &str) -> i32 {
    canvas.block(x, y + 1, 13, 13, colour);
    canvas.text(text, x + 20, y, &FONT_9X15, FAINT, Alignment::Left) + 22
}

fn bars(canvas: &mut Canvas, report: &Report) {
    let length = WIDTH - 2 * MARGIN - 100 - 80;
    for (i, (class, score)) in (0..).zip(report.ranking().into_iter().take(3)) {
        let y = BARS + i * 26;
        let (ink, bar) = if i == 0 {
            (INK, MASK)
        } else {
            (FAINT, blend(MASK, PAPER, 120))
        };
        canvas.text(
            class.label(),
            MARGIN,
            y,
            &FONT_9X18_BOLD,
            ink,
            Alignment::Left,
        );
        canvas.block(MARGIN + 100, y + 2, length, 14, TRACK);
        let filled = (score.clamp(0.0, 1.0) * length as f32).round() as i32;
        canvas.block(MARGIN + 100, y + 2, filled, 14, bar);
        let text = format!("{:.1} %", 100.0 * score);
        canvas.text(
            &text,
            WIDTH - MARGIN,
            y,
            &FONT_9X18_BOLD,
            ink,
            Alignment::Right,
        );
    }
}

/// Mixes two colours: `weight` of 255 parts of `top`, the rest of `bottom`.
fn blend(bottom: Rgb888, top: Rgb888, weight: u32) -> Rgb888 {
    let mix = |a: u8, b: u8| ((u32::from(a) * (255 - weight) + u32::from(b) * weight) / 255) as u8;
    Rgb888::new(
        mix(bottom.r(), top.r()),
        mix(bottom.g(), top.g()),
        mix(bottom.b(), top.b()),
    )
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use lightwafer_maps::synth::synthesize;
    use lightwafer_runtime::Answer;
    use lightwafer_runtime::dies::CLASS_COUNT;

    use super::*;

    /// A report like that of a good model for a synthetic wafer.
    fn example(class: Class, grid: u16) -> (Vec<u8>, Report) {
        let dies = synthesize(class, 5, grid, grid);
        let mut packed = vec![0; DieMap::packed_len(grid, grid).unwrap()];
        let map = DieMap::pack(grid, grid, &dies, &mut packed).unwrap();
        let mask = Mask::of_failing(&map);
        let mut logits = [0; CLASS_COUNT];
        logits[usize::from(class.index())] = 6 << 16;
        logits[3] += 4 << 16;
        let answer = Answer::from_logits(logits, Default::default());
        let report = Report::new(&answer, mask, &map, Duration::from_millis(40), None);
        (packed, report)
    }

    #[test]
    fn pictures_of_any_grid_are_whole_pngs() {
        let class = Class::new(34).unwrap();
        for grid in [1, 3, 52, 224, 256] {
            let (packed, report) = example(class, grid);
            let map = DieMap::new_checked(grid, grid, &packed).unwrap();
            for truth in [None, Some(class), Some(Class::NORMAL)] {
                let bytes = draw("demo.npz, map 7", &map, &report, truth).unwrap();
                let decoder = png::Decoder::new(std::io::Cursor::new(&bytes));
                let mut reader = decoder.read_info().unwrap();
                let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
                let info = reader.next_frame(&mut pixels).unwrap();
                assert_eq!((info.width, info.height), (WIDTH as u32, HEIGHT as u32));
                assert!(pixels.iter().any(|byte| *byte != 255));
            }
        }
        if let Some(dir) = std::env::var_os("LIGHTWAFER_KEEP_PICTURES") {
            for (truth, index) in [(34, 34), (0, 14), (7, 7), (6, 6)] {
                let (packed, report) = example(Class::new(index).unwrap(), 52);
                let map = DieMap::new_checked(52, 52, &packed).unwrap();
                let path = Path::new(&dir).join(format!("{index}.png"));
                write(&path, "demo.npz, map 7", &map, &report, Class::new(truth)).unwrap();
            }
        }
    }
}
