//! A [`Summary`] as one screen of text: at most 100 columns and 40 lines.

use std::fmt::{self, Display, Write};

use freeboard_units::{Bytes, StreamId};

use super::{Part, Summary};
use crate::facts::{Growth, Holder};

/// Columns of a screen.
const WIDTH: usize = 100;
/// Columns of the names in tables of pools and streams.
const NAME: usize = 24;
/// Columns of the numbers in the table of holders.
const NUMBERS: usize = 32;

impl Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.head(f)?;
        self.waste(f)?;
        if self.pools.len() > 1 || self.pools.iter().any(|pool| pool.of.is_private()) {
            table(f, "pool", &self.pools, self.reserved, ToString::to_string)?;
        }
        table(f, "stream", &self.streams, self.reserved, |stream: &StreamId| {
            stream.get().to_string()
        })?;
        holders(f, "who holds it", &self.holders, self.allocated, 5)?;
        if let Some(peak) = self.peak.as_ref().filter(|peak| peak.holders != self.holders) {
            holders(f, "who held it at the peak", &peak.holders, peak.active, 4)?;
        }
        Ok(())
    }
}

impl Summary {
    fn head(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { device, reserved, allocated, .. } = self;
        let part = share(*allocated, *reserved);
        writeln!(
            f,
            "{device}: {} reserved, {} in use ({part})",
            size(*reserved),
            size(*allocated)
        )?;
        let facts =
            [("the device has", self.total), ("free there", self.free), ("limit", self.limit)];
        let facts = facts.into_iter().filter_map(|(word, bytes)| Some((word, bytes?)));
        let facts: Vec<String> =
            facts.map(|(word, bytes)| format!("{word}: {}", size(bytes))).collect();
        if !facts.is_empty() {
            writeln!(f, "{}", facts.join(", "))?;
        }
        if let Some(failed) = &self.out_of_memory {
            let (wanted, free) = (size(failed.requested), size(failed.free));
            let (stream, event) = (failed.stream, failed.event);
            write!(f, "out of memory: {wanted} wanted on {stream}, {free} free on the device")?;
            writeln!(f, "\n      {} in use at that moment (event {event})", size(failed.active))?;
        }
        if let Some(peak) = &self.peak {
            write!(f, "peak: {} in use, {} reserved", size(peak.active), size(peak.reserved))?;
            if let Some(us) = peak.before_end_us {
                write!(f, ", {} before the end", duration(us))?;
            }
            match peak.event {
                Some(event) => writeln!(f, " (event {event} of {})", self.events)?,
                None => writeln!(f, ", before the first of {} events", self.events)?,
            }
            if !peak.pending.is_zero() {
                let pending = size(peak.pending);
                writeln!(f, "      {pending} of it were given back, but used by other streams")?;
            }
        }
        self.steps(f)
    }

    /// Steps and growth, on one line.
    fn steps(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut line = match self.steps {
            0 => String::new(),
            steps => format!("steps: {steps} seen; "),
        };
        if let Some(growth) = &self.growth {
            // Without marked steps, growth is measured over equal stretches of the history.
            let each = if growth.are_stretches { "growth: each stretch" } else { "each" };
            let Growth { per_step, steps, holders, .. } = growth;
            write!(line, "{each} of the last {steps} keeps {} more", size(*per_step))?;
            if let Some(holder) = holders.first() {
                line += ", most of it ";
                line += &fitted(&holder.name, WIDTH.saturating_sub(line.len()));
            }
        }
        match line.trim_end_matches("; ") {
            "" => Ok(()),
            line => writeln!(f, "{line}"),
        }
    }

    fn waste(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let waste = &self.waste;
        let total = waste.total();
        let part = share(total, self.reserved);
        writeln!(f, "\nreserved, but not what was asked for: {} ({part})", size(total))?;
        let other = format!("free in pieces for other streams than {}", waste.stream.get());
        let mut causes = [
            ("rounding of requests", waste.rounding),
            ("given back, but still used by another stream", waste.pending),
            ("free in private pools", waste.private),
            ("free as a whole, could be returned to the device", waste.returnable),
            (other.as_str(), waste.other_streams),
            ("free in pieces", waste.pieces),
        ];
        causes.sort_by_key(|(_, bytes)| std::cmp::Reverse(*bytes));
        for (name, bytes) in causes.into_iter().filter(|(_, bytes)| !bytes.is_zero()) {
            let (bytes, part) = (size(bytes), share(bytes, self.reserved));
            writeln!(f, "  {name:<62}{bytes:>13}{part:>9}")?;
        }
        Ok(())
    }
}

fn table<T>(
    f: &mut fmt::Formatter<'_>,
    what: &str,
    parts: &[Part<T>],
    reserved: Bytes,
    name: impl Fn(&T) -> String,
) -> fmt::Result {
    if parts.is_empty() {
        return Ok(());
    }
    let heads = ["reserved", "", "in use", "pending", "free", "largest free"];
    write!(f, "\n{what:<w$}", w = NAME + 2)?;
    for (head, width) in heads.iter().zip([12, 8, 12, 12, 12, 14]) {
        write!(f, "{head:>width$}")?;
    }
    writeln!(f)?;
    let shown = if parts.len() > 4 { 3 } else { parts.len() };
    for part in &parts[..shown] {
        let largest = part.largest.max(part.largest_small);
        let numbers = [part.reserved, part.allocated, part.pending, part.free, largest];
        let [reserved_text, allocated, pending, free, largest] = numbers.map(size);
        writeln!(
            f,
            "  {:<NAME$}{reserved_text:>12}{:>8}{allocated:>12}{pending:>12}{free:>12}{largest:>14}",
            fitted(&name(&part.of), NAME - 1),
            share(part.reserved, reserved),
        )?;
    }
    let rest = parts[shown..].iter().map(|part| part.reserved);
    others(f, parts.len() - shown, rest)
}

fn holders(
    f: &mut fmt::Formatter<'_>,
    title: &str,
    all: &[Holder],
    total: Bytes,
    most: usize,
) -> fmt::Result {
    if all.is_empty() {
        return Ok(());
    }
    let name = WIDTH - NUMBERS;
    writeln!(f, "\n{title:<name$}{:>12}{:>8}{:>12}", "bytes", "", "blocks")?;
    let shown = if all.len() > most { most - 1 } else { all.len() };
    for holder in &all[..shown] {
        let (bytes, part) = (size(holder.bytes), share(holder.bytes, total));
        let (text, blocks) = (fitted(&holder.name, name - 3), holder.blocks);
        writeln!(f, "  {text:<w$}{bytes:>12}{part:>8}{blocks:>12}", w = name - 2)?;
    }
    others(f, all.len() - shown, all[shown..].iter().map(|holder| holder.bytes))
}

fn others(
    f: &mut fmt::Formatter<'_>,
    count: usize,
    bytes: impl Iterator<Item = Bytes>,
) -> fmt::Result {
    if count > 0 {
        writeln!(
            f,
            "  and {count} more: {}",
            size(bytes.fold(Bytes::ZERO, Bytes::saturating_add))
        )?;
    }
    Ok(())
}

/// A size in at most eleven columns.
fn size(bytes: Bytes) -> String {
    let tib = bytes.as_f64() / Bytes::gib(1024).as_f64();
    match tib {
        ..10.0 => bytes.to_string(),
        ..10_000.0 => format!("{tib:.2} TiB"),
        _ => format!("{:.1e} B", bytes.as_f64()),
    }
}

fn share(part: Bytes, whole: Bytes) -> String {
    format!("{:.1} %", part.as_f64() / whole.as_f64().max(1.0) * 100.0)
}

/// A name without control characters, its beginning cut off if it is too long.
fn fitted(name: &str, most: usize) -> String {
    let length = name.chars().count();
    let clean = name.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c });
    if length <= most {
        return clean.collect();
    }
    std::iter::once('…').chain(clean.skip(length - most + 1)).collect()
}

fn duration(us: i64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "three decimals are shown")]
    let seconds = us as f64 / 1e6;
    format!("{seconds:.3} s")
}
