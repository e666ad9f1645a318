//! A diagnosis as text, in four parts.

use std::fmt;

use super::Diagnosis;

impl fmt::Display for Diagnosis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "Root cause: {}", self.verdict.name())?;
        writeln!(f, "  {}", self.summary)?;
        if let Some(phase) = self.phase {
            writeln!(f, "  It happened {phase}.")?;
        }
        for evidence in &self.evidence {
            let bytes = evidence.bytes.map_or_else(String::new, |bytes| bytes.to_string());
            writeln!(f, "  {bytes:>12}  {:<22} {}", evidence.what, evidence.text)?;
        }
        for (rank, holder) in (1..).zip(&self.holders) {
            let blocks = holder.blocks;
            writeln!(
                f,
                "  {:>12}  holder {rank}: {} ({blocks} blocks)",
                holder.bytes.to_string(),
                holder.name
            )?;
        }
        if !self.levers.is_empty() {
            writeln!(f, "\nFix, best first")?;
        }
        for (rank, lever) in (1..).zip(&self.levers) {
            write!(f, "  {rank}. {}", lever.action)?;
            match lever.gain_bytes {
                Some(gain) if lever.verified => writeln!(f, " [gains {gain}; verified by replay]")?,
                Some(gain) => writeln!(f, " [would gain up to {gain}]")?,
                None if lever.verified => writeln!(f, " [verified by replay]")?,
                None => writeln!(f)?,
            }
            if let Some(setting) = &lever.setting {
                writeln!(f, "     export {setting}")?;
            }
        }
        list(f, "How to verify", &self.verify)?;
        list(f, "How to prevent it", &self.prevent)
    }
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
