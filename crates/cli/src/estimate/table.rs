//! The report as text.

use std::fmt::Write as _;

use freeboard_estimate::{Activations, Category, Part, Row, When};
use freeboard_units::Bytes;

use super::{Fit, Report};

/// The widest bar, in letters.
const BAR: f64 = 32.0;

const CATEGORIES: [Category; 9] = [
    Category::Parameters,
    Category::Copies,
    Category::Gradients,
    Category::Optimizer,
    Category::Activations,
    Category::Logits,
    Category::Temporary,
    Category::Workspace,
    Category::Context,
];

pub(super) fn table(report: &Report<'_>, explain: bool) -> String {
    let mut text = String::new();
    let (training, peak) = (report.training, report.peak);
    let _ = writeln!(
        text,
        "{}: {} parameters, {} trained; batch {} × {} tokens",
        report.model,
        report.estimate.parameters,
        report.estimate.trained,
        training.batch,
        training.sequence,
    );
    let _ = writeln!(text, "\npeak on each device: {}, {}", peak.total, peak.when);
    for category in CATEGORIES {
        let bytes = peak.bytes(category);
        if bytes.is_zero() {
            continue;
        }
        let part = bytes.as_f64() / peak.total.as_f64().max(1.0);
        let size = bytes.to_string();
        let line = format!("  {category:<16} {size:>12} {:>5.1} %  {}", part * 100.0, bar(part));
        let _ = writeln!(text, "{}", line.trim_end());
        let parts = peak.parts.iter().filter(|it| explain && it.category == category);
        formulas(&mut text, parts);
    }
    text.push_str("\nother moments\n");
    let layers = report.estimate.moments.iter().filter(|it| matches!(it.when, When::Layer(_)));
    let worst = layers.max_by_key(|it| it.total).map(|it| it.when);
    for moment in &report.estimate.moments {
        let is_layer = matches!(moment.when, When::Layer(_));
        if moment.when != peak.when && (!is_layer || Some(moment.when) == worst) {
            let _ = writeln!(text, "  {:<34} {:>12}", moment.when, moment.total.to_string());
        }
    }
    if !report.estimate.host.is_empty() {
        text.push_str("\nin this machine's memory, for each device\n");
        for part in &report.estimate.host {
            let _ = writeln!(text, "  {:<16} {:>12}", part.category, part.bytes.to_string());
            formulas(&mut text, Some(part).filter(|_| explain));
        }
    }
    if let Some(rows) = report.estimate.activations.as_ref().filter(|_| explain) {
        activations(&mut text, rows);
    }
    if let Some(card) = &report.card {
        verdict(&mut text, card, peak.total, training.batch);
    }
    text
}

/// A bar as long as this part of the whole.
fn bar(part: f64) -> String {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a part of the whole is from 0 to 1"
    )]
    "█".repeat((part * BAR).round() as usize)
}

fn formulas<'a>(text: &mut String, parts: impl IntoIterator<Item = &'a Part>) {
    for part in parts {
        let _ = writeln!(text, "    {:>15} bytes = {}", part.bytes.get(), part.formula);
    }
}

fn activations(text: &mut String, rows: &Activations) {
    for (heading, rows) in [
        ("kept before the first block", &rows.before),
        ("kept by every block's attention", &rows.attention),
        ("kept by every block's feed-forward network", &rows.feed_forward),
        ("kept after the last block", &rows.after),
    ] {
        let total: Bytes = rows.iter().map(|row| row.bytes).sum();
        let _ = writeln!(text, "\n{heading}: {total}");
        for Row { what, formula, bytes, .. } in rows {
            let _ = writeln!(text, "  {what:<40} {:>15} bytes = {formula}", bytes.get());
        }
    }
    text.push_str(
        "b batch, s sequence, h hidden, a heads, d width of a head, g heads of keys and values,\n\
         i intermediate, V vocabulary, k experts per token, e experts, r rank, t tensor-parallel devices\n",
    );
}

fn verdict(text: &mut String, card: &Fit<'_>, peak: Bytes, batch: u32) {
    let Fit { name, bytes, largest_batch, .. } = card;
    let _ = write!(text, "\n{name} has {bytes}: ");
    if card.fits {
        let _ = writeln!(text, "it fits, with {} to spare", bytes.saturating_sub(peak));
    } else {
        let _ = writeln!(text, "it does not fit, by {}", peak.saturating_sub(*bytes));
    }
    let _ = match largest_batch {
        0 => writeln!(text, "  no batch fits"),
        _ if largest_batch == &batch => writeln!(text, "  this is the largest batch that fits"),
        _ => writeln!(text, "  the largest batch that fits: {largest_batch}"),
    };
    for advice in &card.advice {
        let verb = if advice.fits { "fits" } else { "still does not fit, but needs less" };
        let _ = writeln!(text, "  {verb} with {}: {}", advice.change, advice.peak);
    }
}
