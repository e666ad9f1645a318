//! Writing a trace as text.

use std::io::{self, BufWriter, Write};
use std::path::Path;

use super::{OpKind, Trace, TraceError, compress};

impl Trace {
    /// Writes the trace as text, comments included; ids are slot numbers.
    ///
    /// What [`Trace::parse`] makes of it equals this trace, with the line numbers of this text
    /// where the trace was read from one that had blank lines.
    ///
    /// # Errors
    /// When `to` cannot be written to.
    pub fn write(&self, to: &mut dyn Write) -> io::Result<()> {
        let mut to = BufWriter::with_capacity(1 << 16, to);
        let mut remarks = self.remarks().into_iter().peekable();
        for (index, op) in self.ops.iter().enumerate() {
            while let Some(remark) = remarks.next_if(|remark| remark.op_index <= index) {
                remark.write(&mut to)?;
            }
            match op.kind {
                OpKind::Allocate { slot, size, stream } => {
                    writeln!(to, "a {slot} {} {stream}", size.get())
                }
                OpKind::Free { slot } => writeln!(to, "f {slot}"),
                OpKind::RecordUse { slot, stream } => writeln!(to, "r {slot} {stream}"),
                OpKind::EmptyCache => writeln!(to, "e"),
            }?;
        }
        for remark in remarks {
            remark.write(&mut to)?;
        }
        to.flush()
    }

    /// Writes the trace to a file: gzip for `.gz`, zstd for `.zst`, else plain text.
    ///
    /// The file appears whole or not at all: it is written under another name beside and renamed.
    ///
    /// # Errors
    /// When the file cannot be written; one that was there before is as it was.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<(), TraceError> {
        let path = path.as_ref();
        compress::save(path, |to| self.write(to))
            .map_err(|source| TraceError::Write { name: path.display().to_string(), source })
    }

    /// Steps and comments together, in the order of their lines.
    fn remarks(&self) -> Vec<Remark<'_>> {
        let steps = self.steps.iter().map(|step| Remark {
            op_index: step.op_index,
            line: step.line,
            opening: "# step",
            text: &step.text,
        });
        let comments = self.comments.iter().map(|comment| Remark {
            op_index: comment.op_index,
            line: comment.line,
            opening: "#",
            text: &comment.text,
        });
        let mut remarks: Vec<_> = steps.chain(comments).collect();
        remarks.sort_by_key(|remark| (remark.op_index, remark.line));
        remarks
    }
}

struct Remark<'t> {
    op_index: usize,
    line: u32,
    opening: &'static str,
    text: &'t str,
}

impl Remark<'_> {
    fn write(&self, to: &mut impl Write) -> io::Result<()> {
        let blank = if self.text.is_empty() { "" } else { " " };
        writeln!(to, "{}{blank}{}", self.opening, self.text)
    }
}
