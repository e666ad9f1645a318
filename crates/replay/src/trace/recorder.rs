//! [`Recorder`]: the one place where a trace grows and its sums are kept.

use freeboard_units::Bytes;

use super::{Comment, Op, OpKind, StepMark, Trace};

/// No size: sizes lie below 2^63.
const NOT_LIVE: u64 = u64::MAX;

/// A trace in the making.
#[derive(Debug, Default)]
pub(super) struct Recorder {
    ops: Vec<Op>,
    steps: Vec<StepMark>,
    comments: Vec<Comment>,
    allocs: u64,
    frees: u64,
    /// By slot: the size where it is live, else [`NOT_LIVE`].
    live: Vec<u64>,
    /// The sum of the live sizes; 2^32 sizes below 2^63 fit.
    live_bytes: u128,
    peak_bytes: u128,
    stream_max: u16,
}

impl Recorder {
    pub(super) fn is_live(&self, slot: u32) -> bool {
        self.live.get(slot as usize).is_some_and(|&size| size != NOT_LIVE)
    }

    /// The line that last allocated the slot.
    pub(super) fn allocated_on(&self, wanted: u32) -> Option<u32> {
        self.ops.iter().rev().find_map(|op| match op.kind {
            OpKind::Allocate { slot, .. } if slot == wanted => Some(op.line),
            _ => None,
        })
    }

    pub(super) fn ops_len(&self) -> usize {
        self.ops.len()
    }

    /// Adds an allocation; the slot is not live, and at most one past the largest so far.
    pub(super) fn allocate(&mut self, slot: u32, size: Bytes, stream: u16, line: u32) {
        debug_assert!(!self.is_live(slot) && size.get() < 1 << 63);
        let index = slot as usize;
        if index == self.live.len() {
            self.live.push(size.get());
        } else {
            self.live[index] = size.get();
        }
        self.live_bytes += u128::from(size.get());
        self.peak_bytes = self.peak_bytes.max(self.live_bytes);
        self.stream_max = self.stream_max.max(stream);
        self.allocs += 1;
        self.push(OpKind::Allocate { slot, size, stream }, line);
    }

    /// Adds a free; the slot is live.
    pub(super) fn free(&mut self, slot: u32, line: u32) {
        debug_assert!(self.is_live(slot));
        let size = std::mem::replace(&mut self.live[slot as usize], NOT_LIVE);
        self.live_bytes -= u128::from(size);
        self.frees += 1;
        self.push(OpKind::Free { slot }, line);
    }

    /// Adds a use on another stream; the slot is live.
    pub(super) fn record_use(&mut self, slot: u32, stream: u16, line: u32) {
        debug_assert!(self.is_live(slot));
        self.stream_max = self.stream_max.max(stream);
        self.push(OpKind::RecordUse { slot, stream }, line);
    }

    pub(super) fn empty_cache(&mut self, line: u32) {
        self.push(OpKind::EmptyCache, line);
    }

    /// Adds a comment, given without its `#` and free of line ends.
    pub(super) fn comment(&mut self, text: &str, line: u32) {
        let text = trim(text);
        let op_index = self.ops.len();
        match text.strip_prefix("step") {
            Some(rest) if rest.is_empty() || rest.starts_with(BLANKS) => {
                self.steps.push(StepMark { line, op_index, text: trim(rest).to_owned() });
            }
            _ => self.comments.push(Comment { line, op_index, text: text.to_owned() }),
        }
    }

    /// The trace as it stands.
    pub(super) fn finish(self, name: &str, slots: u32) -> Trace {
        Trace {
            name: name.to_owned(),
            slots,
            streams: u32::from(self.stream_max) + 1,
            peak_requested: u64::try_from(self.peak_bytes).map_or(Bytes::MAX, Bytes::new),
            ops: self.ops,
            steps: self.steps,
            comments: self.comments,
            allocs: self.allocs,
            frees: self.frees,
        }
    }

    fn push(&mut self, kind: OpKind, line: u32) {
        self.ops.push(Op { kind, line });
    }
}

/// What parts words within a line.
const BLANKS: [char; 3] = [' ', '\t', '\r'];

fn trim(text: &str) -> &str {
    text.trim_matches(BLANKS)
}
