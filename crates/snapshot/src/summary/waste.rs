//! [`Waste`]: why memory that is held is not in use, every byte under one cause.

use freeboard_units::{Bytes, StreamId};
use serde::{Deserialize, Serialize};

use crate::model::{Block, BlockState, Segment};

/// Why bytes that are held from the device are not in use. The causes add up to what is held less
/// what was asked for in blocks handed out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waste {
    /// Blocks are larger than what was asked for.
    pub rounding: Bytes,
    /// Given back, but other streams still use it.
    pub pending: Bytes,
    /// Free in private pools: nobody else gets it while the pool lives.
    pub private: Bytes,
    /// Whole segments or pages are free: an emptied cache gives them back to the device.
    pub returnable: Bytes,
    /// Free, in segments that are partly in use, for another stream than [`stream`](Self::stream).
    pub other_streams: Bytes,
    /// Free in pieces, in segments that are partly in use, for that stream.
    pub pieces: Bytes,
    /// The stream that counts: that of the request that failed, or the one with most in use.
    pub stream: StreamId,
}

/// Pages of expandable segments, for requests up to 1 MiB and for larger ones.
const PAGE_SMALL: Bytes = Bytes::mib(2);
const PAGE_LARGE: Bytes = Bytes::mib(20);

impl Waste {
    /// All of it.
    #[must_use]
    pub fn total(&self) -> Bytes {
        let causes = [self.pending, self.private, self.returnable, self.other_streams, self.pieces];
        causes.into_iter().fold(self.rounding, Bytes::saturating_add)
    }

    pub(super) fn of<'a>(segments: impl Iterator<Item = &'a Segment>, stream: StreamId) -> Self {
        let mut waste = Self { stream, ..Self::default() };
        for segment in segments {
            for block in &segment.blocks {
                waste.add(segment, block);
            }
        }
        waste
    }

    fn add(&mut self, segment: &Segment, block: &Block) {
        let add = |cause: &mut Bytes, bytes: Bytes| *cause = cause.saturating_add(bytes);
        match block.state {
            BlockState::Allocated => {
                add(&mut self.rounding, block.size.saturating_sub(block.requested));
            }
            BlockState::Pending => add(&mut self.pending, block.size),
            BlockState::Free if segment.pool.is_private() => add(&mut self.private, block.size),
            BlockState::Free => {
                let whole = returnable(segment, block);
                add(&mut self.returnable, whole);
                let is_own = segment.stream == self.stream;
                let rest = if is_own { &mut self.pieces } else { &mut self.other_streams };
                add(rest, block.size.saturating_sub(whole));
            }
        }
    }
}

/// What of a free block can be given back to the device.
fn returnable(segment: &Segment, block: &Block) -> Bytes {
    if block.size == segment.size {
        return block.size;
    }
    if !segment.expandable {
        return Bytes::ZERO;
    }
    // Pages are counted from where the stretch begins: it begins with a page.
    let page = if segment.small { PAGE_SMALL } else { PAGE_LARGE };
    let start = Bytes::new(block.address.get().saturating_sub(segment.address.get()));
    let end = start.saturating_add(block.size).align_down(page);
    start.checked_align_up(page).map_or(Bytes::ZERO, |start| end.saturating_sub(start))
}

/// Bytes asked for in blocks handed out.
pub(super) fn requested(segment: &Segment) -> Bytes {
    let held = segment.blocks.iter().filter(|block| block.state == BlockState::Allocated);
    // A file may claim that more was asked for than the block has.
    held.map(|block| block.requested.min(block.size)).fold(Bytes::ZERO, Bytes::saturating_add)
}
