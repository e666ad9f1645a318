//! A diagnosis as text, in four parts.

use std::fmt;

use freeboard_units::Bytes;

use super::{Diagnosis, Lever};

impl fmt::Display for Diagnosis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "Root cause: {}", self.verdict.name())?;
        writeln!(f, "  {}", self.summary)?;
        if let Some(phase) = self.phase {
            writeln!(f, "  It happened {phase}.")?;
        }
        for evidence in &self.evidence {
            row(f, evidence.bytes, &evidence.what, &evidence.text)?;
        }
        for (rank, holder) in (1..).zip(&self.holders) {
            let blocks = if holder.blocks == 1 { "block" } else { "blocks" };
            let text = format!("{} ({} {blocks})", holder.name, holder.blocks);
            row(f, Some(holder.bytes), &format!("holder {rank}"), &text)?;
        }
        if !self.replays.is_empty() {
            writeln!(f, "\nReplays of this run, up to the failed request, on the same memory")?;
        }
        for trial in &self.replays {
            let text = if trial.spare.is_some() { "to spare" } else { "fails" };
            row(f, trial.spare, text, &trial.policy)?;
        }
        if !self.levers.is_empty() {
            writeln!(f, "\nFix, best first")?;
        }
        for (rank, lever) in (1..).zip(&self.levers) {
            writeln!(f, "  {rank}. {lever}")?;
        }
        list(f, "How to verify", &self.verify)?;
        list(f, "How to prevent it", &self.prevent)
    }
}

impl fmt::Display for Lever {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.action)?;
        if let Some(setting) = &self.setting {
            write!(f, ": {setting}")?;
        }
        match (self.gain_bytes, self.verified) {
            (Some(gain), true) => write!(f, " [gains {gain}; verified by replay]"),
            (Some(gain), false) => write!(f, " [would gain up to {gain}]"),
            (None, true) => f.write_str(" [verified by replay]"),
            (None, false) => Ok(()),
        }
    }
}

fn row(f: &mut fmt::Formatter<'_>, bytes: Option<Bytes>, what: &str, text: &str) -> fmt::Result {
    let bytes = bytes.map_or_else(String::new, |bytes| bytes.to_string());
    writeln!(f, "  {bytes:>12}  {what:<20}  {text}")
}

fn list(f: &mut fmt::Formatter<'_>, title: &str, lines: &[String]) -> fmt::Result {
    if lines.is_empty() {
        return Ok(());
    }
    writeln!(f, "\n{title}")?;
    for line in lines {
        writeln!(f, "  - {line}")?;
    }
    Ok(())
}
