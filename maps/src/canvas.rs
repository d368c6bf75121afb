//! A canvas for pictures that people look at: rectangles and text, encoded as PNG.
//!
//! These colours are for people. The colours of the network's input are in [`lightwafer_runtime::dies::PALETTE`].

use std::convert::Infallible;
use std::io;

use embedded_graphics::mono_font::{MonoFont, MonoTextStyle};
pub use embedded_graphics::pixelcolor::Rgb888;
use embedded_graphics::prelude::*;
use embedded_graphics::primitives::{PrimitiveStyle, Rectangle};
pub use embedded_graphics::text::Alignment;
use embedded_graphics::text::{Baseline, Text, TextStyleBuilder};

/// Colours of no die, pass and fail in pictures for people.
pub const DIE_COLOURS: [Rgb888; 3] = [
    Rgb888::new(246, 248, 250),
    Rgb888::new(176, 214, 205),
    Rgb888::new(214, 73, 51),
];

/// An RGB picture in memory, white at first. Drawing is clipped at its edges.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Canvas {
    width: i32,
    height: i32,
    rgb: Vec<u8>,
}

impl Canvas {
    /// A white canvas of `width`×`height` pixels.
    pub fn new(width: u16, height: u16) -> Self {
        Self {
            width: width.into(),
            height: height.into(),
            rgb: vec![255; 3 * usize::from(width) * usize::from(height)],
        }
    }

    /// Fills a rectangle.
    pub fn block(&mut self, x: i32, y: i32, width: i32, height: i32, colour: Rgb888) {
        let size = Size::new(width.max(0) as u32, height.max(0) as u32);
        let Ok(()) = Rectangle::new(Point::new(x, y), size)
            .into_styled(PrimitiveStyle::with_fill(colour))
            .draw(self);
    }

    /// Writes text with its top at `y`, and returns the position after it.
    pub fn text(
        &mut self,
        text: &str,
        x: i32,
        y: i32,
        font: &MonoFont<'_>,
        colour: Rgb888,
        alignment: Alignment,
    ) -> i32 {
        let style = TextStyleBuilder::new()
            .alignment(alignment)
            .baseline(Baseline::Top)
            .build();
        let character = MonoTextStyle::new(font, colour);
        let Ok(end) = Text::with_text_style(text, Point::new(x, y), character, style).draw(self);
        end.x
    }

    /// The picture as the bytes of a PNG file.
    ///
    /// # Errors
    /// Those of the encoder, for a canvas without pixels.
    pub fn png(&self) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let mut encoder = png::Encoder::new(&mut bytes, self.width as u32, self.height as u32);
        encoder.set_color(png::ColorType::Rgb);
        encoder.set_depth(png::BitDepth::Eight);
        let mut writer = encoder.write_header()?;
        writer.write_image_data(&self.rgb)?;
        writer.finish()?;
        Ok(bytes)
    }
}

impl OriginDimensions for Canvas {
    fn size(&self) -> Size {
        Size::new(self.width as u32, self.height as u32)
    }
}

impl DrawTarget for Canvas {
    type Color = Rgb888;
    type Error = Infallible;

    fn draw_iter<I: IntoIterator<Item = Pixel<Rgb888>>>(
        &mut self,
        pixels: I,
    ) -> Result<(), Infallible> {
        for Pixel(point, colour) in pixels {
            if (0..self.width).contains(&point.x) && (0..self.height).contains(&point.y) {
                let at = 3 * (point.y * self.width + point.x) as usize;
                self.rgb[at..at + 3].copy_from_slice(&[colour.r(), colour.g(), colour.b()]);
            }
        }
        Ok(())
    }
}
