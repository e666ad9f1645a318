//! Pictures of memory over time, as SVG: what is held from the device against what is handed out.
//!
//! Each [`Panel`] is one program; allocated memory is a grey area behind it, from the lowest to the
//! highest of each stretch, and reserved memory a line for each policy. Where the viewer prefers
//! dark pages, it is drawn on a dark one. The same data gives the same text, to the byte.

mod axis;
mod legend;
mod panel;
mod thin;

#[cfg(test)]
mod tests;

use std::io;
use std::path::Path;

use freeboard_units::Bytes;
use plotters::prelude::*;

pub use thin::thin;

use crate::run::Sample;
use crate::trace::compress;

/// One program under several policies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Panel {
    /// What to write above it.
    pub title: String,
    /// The device's memory, where it is worth showing.
    pub capacity: Option<Bytes>,
    /// The policies; the first seven have colours of their own.
    pub series: Vec<Series>,
}

/// One policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Series {
    /// What to call it.
    pub name: String,
    /// Memory over time, by operation; may be empty.
    pub samples: Vec<Sample>,
}

/// Why a picture could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PictureError {
    /// The drawing library failed; no data is known to make it.
    #[error("cannot draw the picture: {0}")]
    Draw(String),
    /// The file could not be written. Nothing was left behind under its name.
    #[error("cannot write {name}: {source}; an earlier file of that name is as it was")]
    Write {
        /// The file.
        name: String,
        /// What the system said.
        source: io::Error,
    },
}

/// Points of a line that a panel can show apart: its width in pixels.
pub const STRETCHES: usize = panel::PLOT_WIDTH as usize;

const WIDTH: u32 = panel::PLOT_WIDTH + panel::LEFT + legend::WIDTH;
const INK: RGBColor = RGBColor(0x22, 0x26, 0x2b);
const FAINT: RGBColor = RGBColor(0x5c, 0x64, 0x6e);

/// The greys turned round where dark pages are preferred; colours stand out on either.
const STYLE: &str = r##"
<style>
@media (prefers-color-scheme: dark) {
  [fill="#FFFFFF"] { fill: #14171a }
  [fill="#22262B"] { fill: #e8eaed }
  [fill="#5C646E"] { fill: #a3abb5 }
  [fill="#C3CAD3"] { fill: #4a525c }
  [fill="#E2E6EB"] { fill: #333a42 }
  [stroke="#22262B"], [stroke="#000000"] { stroke: #e8eaed }
  [stroke="#5C646E"] { stroke: #a3abb5 }
  [stroke="#E9EBEE"] { stroke: #262b31 }
}
</style>"##;

/// The picture as SVG.
///
/// # Errors
/// When the drawing library fails, which no data should make it do.
pub fn draw(panels: &[Panel]) -> Result<String, PictureError> {
    let mut text = String::new();
    draw_onto(&mut text, panels).map_err(|error| PictureError::Draw(error.to_string()))?;
    let head = text.find('>').map_or(0, |end| end + 1);
    text.insert_str(head, STYLE);
    Ok(text)
}

/// Writes the picture to a file, which appears whole or not at all.
///
/// # Errors
/// When the file cannot be written; one that was there before is as it was.
pub fn save(panels: &[Panel], path: impl AsRef<Path>) -> Result<(), PictureError> {
    let (text, path) = (draw(panels)?, path.as_ref());
    compress::save(path, |to| to.write_all(text.as_bytes()))
        .map_err(|source| PictureError::Write { name: path.display().to_string(), source })
}

type DrawError = DrawingAreaErrorKind<io::Error>;

fn draw_onto(text: &mut String, panels: &[Panel]) -> Result<(), DrawError> {
    let heights: Vec<_> = panels.iter().map(panel::height).collect();
    let height = heights.iter().sum::<u32>().max(panel::HEIGHT_MIN);
    let root = SVGBackend::with_string(text, (WIDTH, height)).into_drawing_area();
    root.fill(&WHITE)?;
    if panels.is_empty() {
        let (x, y) = (pixels(WIDTH / 2), pixels(height / 2));
        root.draw(&label("nothing to show", (x, y), 18, FAINT))?;
    }
    let mut top = 0;
    for (panel, height) in panels.iter().zip(heights) {
        panel::draw(&root.clone().shrink((0, top), (WIDTH, height)), panel)?;
        top += height;
    }
    root.present()
}

/// A text with its left end here, and its middle at this height.
fn label(text: &str, at: (i32, i32), size: u32, color: RGBColor) -> Text<'_, (i32, i32), String> {
    use plotters::style::text_anchor::{HPos, Pos, VPos};
    let style = ("sans-serif", size).into_font().color(&color);
    Text::new(printable(text), at, style.pos(Pos::new(HPos::Left, VPos::Center)))
}

/// The text without the characters that no XML may hold, not even escaped.
fn printable(text: &str) -> String {
    let forbidden = |c: char| c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}');
    text.chars().map(|c| if forbidden(c) { '\u{fffd}' } else { c }).collect()
}

fn pixels(length: u32) -> i32 {
    i32::try_from(length).unwrap_or(i32::MAX)
}
