//! A comparison as a table.

use std::fmt::Write as _;

use freeboard_replay::compare::{Comparison, Row, Summary, TightSummary};

/// Rows under their traces, then the summary.
pub(super) fn table(comparison: &Comparison, searched: bool) -> String {
    let (mut text, mut trace) = (String::new(), "");
    let mut lines = Vec::new();
    for row in &comparison.rows {
        if row.trace != trace {
            trace = &row.trace;
            lines.push(Line::Title(format!("{trace}, live peak {}", row.peak_requested)));
        }
        lines.push(Line::Cells(cells(row, searched)));
        if let Some(error) = &row.error {
            lines.push(Line::Remark(error.clone()));
        }
    }
    let first = comparison.summary.first();
    let tight = first.map_or(&[][..], |summary| &summary.tight);
    text.push_str(&aligned(&heading(searched, tight), &lines));
    let traces = first.map_or(0, |summary| summary.traces);
    let plural = if traces == 1 { "" } else { "s" };
    let title = format!("over {traces} trace{plural}, geometric mean (worst)");
    let mut lines = vec![Line::Title(title)];
    lines.extend(comparison.summary.iter().map(|it| Line::Cells(sums(it, searched))));
    let _ = write!(text, "\n{}", aligned(&summary_heading(searched, tight), &lines));
    text
}

/// Room for the names of contenders: enough for one setting.
const NAME_WIDTH_MAX: usize = 44;

enum Line {
    Title(String),
    Cells(Vec<String>),
    Remark(String),
}

fn heading(searched: bool, tight: &[TightSummary]) -> Vec<String> {
    let device: &[&str] = if searched { &["least device", "÷ live peak"] } else { &[] };
    let words = [&["", "survives", "reserved", "÷ allocated"], device].concat();
    let more = ["driver calls", "driver time", "stalls", "retries"];
    let words = words.into_iter().chain(more).map(str::to_owned);
    words.chain(tight.iter().map(|it| format!("on {} ×", it.factor))).collect()
}

fn cells(row: &Row, searched: bool) -> Vec<String> {
    let survives = match (&row.error, row.survived) {
        (Some(_), _) => "failed",
        (None, true) => "yes",
        (None, false) => "NO",
    };
    let mut cells = vec![row.contender.clone(), survives.to_owned()];
    cells.extend([row.peak_reserved.to_string(), ratio(row.reserved_ratio)]);
    if searched {
        let least = row.min_capacity.map_or_else(|| "–".to_owned(), |least| least.to_string());
        cells.extend([least, ratio(row.capacity_ratio)]);
    }
    cells.extend([row.driver_calls.to_string(), time(row.driver_time_ns)]);
    cells.extend([row.stalls.to_string(), row.retries.to_string()]);
    cells.extend(row.tight.iter().map(|it| match (it.survived, it.stalls) {
        (false, _) => "NO".to_owned(),
        (true, 0) => "yes".to_owned(),
        (true, stalls) => format!("yes, {stalls} stalls"),
    }));
    cells
}

fn summary_heading(searched: bool, tight: &[TightSummary]) -> Vec<String> {
    let device: &[&str] = if searched { &["least device ÷ live peak"] } else { &[] };
    let words = [&["", "deaths", "reserved ÷ allocated"], device].concat();
    let more = ["driver calls", "driver time", "÷ expandable", "stalls"];
    let words = words.into_iter().chain(more).map(str::to_owned);
    words.chain(tight.iter().map(|it| format!("deaths, stalls on {} ×", it.factor))).collect()
}

fn sums(summary: &Summary, searched: bool) -> Vec<String> {
    let both = |mean, worst| format!("{} ({})", ratio(mean), ratio(worst));
    let mut cells = vec![summary.contender.clone(), summary.deaths.to_string()];
    cells.push(both(summary.reserved_ratio_mean, summary.reserved_ratio_worst));
    if searched {
        cells.push(both(summary.capacity_ratio_mean, summary.capacity_ratio_worst));
    }
    cells.extend([summary.driver_calls.to_string(), time(summary.driver_time_ns)]);
    cells.push(both(summary.driver_time_ratio_mean, summary.driver_time_ratio_worst));
    cells.push(summary.stalls.to_string());
    cells.extend(summary.tight.iter().map(|it| format!("{}, {}", it.deaths, it.stalls)));
    cells
}

/// Columns of one width each: the first to the left, numbers to the right.
fn aligned(heading: &[String], lines: &[Line]) -> String {
    let letters = |cell: &String| cell.chars().count();
    let mut widths: Vec<_> = heading.iter().map(letters).collect();
    for line in lines {
        if let Line::Cells(cells) = line {
            for (width, cell) in widths.iter_mut().zip(cells) {
                *width = letters(cell).max(*width);
            }
        }
    }
    if let Some(first) = widths.first_mut() {
        *first = NAME_WIDTH_MAX.min(*first);
    }
    let mut text = format!("{}\n", row(heading, &widths));
    for line in lines {
        let _ = match line {
            Line::Title(title) => writeln!(text, "{title}"),
            Line::Cells(cells) => writeln!(text, "{}", row(cells, &widths)),
            Line::Remark(remark) => writeln!(text, "    {remark}"),
        };
    }
    text
}

/// One row; a name too long for its column has a line of its own.
fn row(cells: &[String], widths: &[usize]) -> String {
    let mut text = String::new();
    let mut first = cells.first().map_or("", String::as_str);
    if first.chars().count() > NAME_WIDTH_MAX {
        let _ = writeln!(text, "  {first}");
        first = "";
    }
    let width = widths.first().copied().unwrap_or(0);
    let _ = write!(text, "  {first:<width$}");
    for (cell, width) in cells.iter().zip(widths).skip(1) {
        let _ = write!(text, "  {cell:>width$}");
    }
    text.trim_end().to_owned()
}

fn ratio(ratio: Option<f64>) -> String {
    ratio.map_or_else(|| "–".to_owned(), |ratio| format!("{ratio:.4}"))
}

/// Nanoseconds in a unit that suits them.
#[expect(clippy::cast_precision_loss, reason = "two decimals are shown")]
pub(super) fn time(nanoseconds: u64) -> String {
    let nanoseconds = nanoseconds as f64;
    match nanoseconds {
        _ if nanoseconds >= 1e9 => format!("{:.2} s", nanoseconds / 1e9),
        _ if nanoseconds >= 1e6 => format!("{:.2} ms", nanoseconds / 1e6),
        _ => format!("{:.2} µs", nanoseconds / 1e3),
    }
}
