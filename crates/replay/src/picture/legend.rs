//! The column beside a panel: what each colour is, and its peak.

use freeboard_units::Bytes;
use plotters::coord::Shift;
use plotters::prelude::*;

use super::axis::grouped;
use super::panel::{AREA, AREA_FAINT, Range};
use super::{DrawError, FAINT, INK, Panel, Series, label};

pub(super) const WIDTH: u32 = 330;

const LINE: i32 = 17;
const GAP: i32 = 11;
/// Where the text begins, right of the key.
const INDENT: i32 = 42;
const LETTERS_MAX: usize = 36;
const LINES_MAX: usize = 4;

/// One key and its text: a name in ink, then remarks in grey.
pub(super) struct Entry {
    key: Key,
    name: Vec<String>,
    remarks: Vec<String>,
}

enum Key {
    Area,
    Line(usize),
    Dashes,
}

impl Entry {
    fn height(&self) -> i32 {
        let lines = self.name.len() + self.remarks.len();
        LINE * i32::try_from(lines).unwrap_or(i32::MAX / LINE) + GAP
    }
}

/// What there is to say about a panel, from the top.
pub(super) fn entries(panel: &Panel) -> Vec<Entry> {
    let range = Range::of(panel);
    let mut entries = vec![Entry {
        key: Key::Area,
        name: vec!["allocated".to_owned()],
        remarks: vec![format!("peak {}", range.allocated)],
    }];
    entries.extend(panel.series.iter().enumerate().map(|(index, series)| Entry {
        key: Key::Line(index),
        name: wrap(&series.name),
        remarks: remarks(series, &range),
    }));
    if let Some(capacity) = panel.capacity {
        let beyond = if range.shows(capacity) { "" } else { ", above the picture" };
        entries.push(Entry {
            key: Key::Dashes,
            name: vec!["device memory".to_owned()],
            remarks: vec![format!("{capacity}{beyond}")],
        });
    }
    entries
}

/// How high a column with these entries is.
pub(super) fn height(entries: &[Entry]) -> i32 {
    entries.iter().map(Entry::height).sum()
}

fn remarks(series: &Series, range: &Range) -> Vec<String> {
    let peak = |of: fn(&crate::run::Sample) -> Bytes| series.samples.iter().map(of).max();
    let (Some(reserved), Some(allocated)) = (peak(|it| it.reserved), peak(|it| it.allocated))
    else {
        return vec!["nothing recorded".to_owned()];
    };
    let mut remarks = vec![format!("reserved, peak {reserved}")];
    if !allocated.is_zero() {
        let ratio = reserved.as_f64() / allocated.as_f64();
        remarks[0] = format!("reserved, peak {reserved} ({ratio:.3} ×)");
    }
    let last = series.samples.last().map_or(0, |sample| sample.op);
    if last < range.last_op {
        remarks.push(format!("ends at operation {}", grouped(last)));
    }
    remarks
}

/// A long name in lines, cut after a comma or a blank where there is one.
fn wrap(name: &str) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in name.split_inclusive([' ', ',']) {
        for letter_group in groups(word) {
            let last = lines.last().map_or(0, |line| line.chars().count());
            if last > 0 && last + letter_group.trim_end().chars().count() > LETTERS_MAX {
                lines.push(String::new());
            }
            if let Some(line) = lines.last_mut() {
                line.push_str(&letter_group);
            }
        }
    }
    if lines.len() > LINES_MAX {
        lines.truncate(LINES_MAX);
        lines[LINES_MAX - 1].push('…');
    }
    lines
}

/// A word in pieces that fit in a line.
fn groups(word: &str) -> Vec<String> {
    let letters: Vec<char> = word.chars().collect();
    letters.chunks(LETTERS_MAX).map(|piece| piece.iter().collect()).collect()
}

pub(super) fn draw(
    area: &DrawingArea<SVGBackend<'_>, Shift>,
    entries: &[Entry],
) -> Result<(), DrawError> {
    let mut top = 0;
    for entry in entries {
        draw_key(area, &entry.key, top + LINE / 2)?;
        let mut middle = top + LINE / 2;
        let names = entry.name.iter().map(|line| (line, 17, INK));
        for (line, size, color) in names.chain(entry.remarks.iter().map(|it| (it, 15, FAINT))) {
            area.draw(&label(line, (INDENT, middle), size, color))?;
            middle += LINE;
        }
        top += entry.height();
    }
    Ok(())
}

fn draw_key(
    area: &DrawingArea<SVGBackend<'_>, Shift>,
    key: &Key,
    middle: i32,
) -> Result<(), DrawError> {
    let (left, right) = (0, INDENT - 12);
    match *key {
        Key::Area => {
            let upper = [(left, middle - 7), (right, middle)];
            let lower = [(left, middle), (right, middle + 7)];
            area.draw(&Rectangle::new(upper, AREA_FAINT.filled()))?;
            area.draw(&Rectangle::new(lower, AREA.filled()))
        }
        Key::Line(index) => {
            let style = super::panel::stroke(index);
            area.draw(&PathElement::new([(left, middle), (right, middle)], style))
        }
        Key::Dashes => {
            for start in [left, left + 12, left + 24] {
                let dash = [(start, middle), ((start + 6).min(right), middle)];
                area.draw(&PathElement::new(dash, INK.stroke_width(2)))?;
            }
            Ok(())
        }
    }
}
