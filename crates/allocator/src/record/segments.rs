//! Blocks, copied while the allocator was locked, become segments once it is not.

use freeboard_snapshot::{Block, BlockState, NameId, PoolId, Segment, StackId};
use freeboard_units::{Address, AddressRange, Bytes, DeviceId, StreamId};

/// Which run of blocks a copied block may share a segment with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A segment of fixed size.
    Fixed,
    /// The expandable segment with this number.
    Expandable(u32),
    /// Stitched memory.
    Stitched,
    /// What is set aside for a plan: a segment of its own.
    Region,
    /// A place of the plan that is in use; its bytes lie in the region.
    Place,
}

/// A block as it was.
#[derive(Clone, Copy, Debug)]
pub(super) struct Copied {
    pub(super) range: AddressRange,
    pub(super) requested: Bytes,
    pub(super) state: BlockState,
    pub(super) kind: Kind,
    pub(super) stream: u16,
    pub(super) pool: u16,
    /// Whether nothing lies before it in its segment.
    pub(super) is_first: bool,
    pub(super) tag: NameId,
    pub(super) stack: StackId,
}

/// What a pool's number stands for.
#[derive(Clone, Copy, Debug)]
pub(super) struct PoolFacts {
    pub(super) small: bool,
    pub(super) id: PoolId,
}

impl Copied {
    fn block(&self) -> Block {
        Block {
            address: self.range.start(),
            size: self.range.size(),
            requested: self.requested,
            state: self.state,
            stack: self.stack,
            tag: self.tag,
        }
    }

    /// Whether it goes on where `before` ends, in the same segment.
    fn continues(&self, before: &Self) -> bool {
        !self.is_first
            && self.kind != Kind::Region
            && before.range.end() == self.range.start()
            && (before.kind, before.stream, before.pool) == (self.kind, self.stream, self.pool)
    }
}

/// Segments, in address order: for each fixed one, and for each stretch of mapped neighbours of one
/// stream and pool.
pub(super) fn segments(
    device: DeviceId,
    mut blocks: Vec<Copied>,
    pools: &[PoolFacts],
    streams: &[StreamId],
) -> Vec<Segment> {
    blocks.sort_unstable_by_key(|block| (block.range.start(), block.kind == Kind::Place));
    let (places, blocks): (Vec<_>, Vec<_>) =
        blocks.into_iter().partition(|block| block.kind == Kind::Place);
    let mut segments = Vec::new();
    for run in blocks.chunk_by(|before, block| block.continues(before)) {
        let (first, pool) = (&run[0], pools[usize::from(run[0].pool)]);
        let end = run[run.len() - 1].range.end();
        segments.push(Segment {
            device,
            address: first.range.start(),
            size: end.offset_from(first.range.start()),
            stream: streams[usize::from(first.stream)],
            small: pool.small,
            pool: pool.id,
            expandable: first.kind != Kind::Fixed,
            stack: StackId::default(),
            blocks: if first.kind == Kind::Region {
                region(first.range, &places)
            } else {
                run.iter().map(Copied::block).collect()
            },
        });
    }
    segments
}

/// The places in use of a plan, and what is free between them.
fn region(range: AddressRange, places: &[Copied]) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut at = range.start();
    for place in places.iter().filter(|place| range.covers(place.range)) {
        blocks.extend(gap(at, place.range.start()));
        blocks.push(place.block());
        at = place.range.end();
    }
    blocks.extend(gap(at, range.end()));
    blocks
}

fn gap(from: Address, to: Address) -> Option<Block> {
    (from < to).then(|| Block {
        address: from,
        size: to.offset_from(from),
        requested: Bytes::ZERO,
        state: BlockState::Free,
        stack: StackId::default(),
        tag: NameId::default(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn copied(start: u64, size: u64, kind: Kind) -> Copied {
        Copied {
            range: AddressRange::new(Address::new(start), Bytes::new(size)),
            requested: Bytes::ZERO,
            state: BlockState::Free,
            kind,
            stream: 0,
            pool: 0,
            is_first: false,
            tag: NameId::default(),
            stack: StackId::default(),
        }
    }

    #[test]
    fn stretches_of_one_kind_and_stream_are_segments_and_a_region_is_one() {
        let other_stream = Copied { stream: 1, ..copied(60, 10, Kind::Stitched) };
        let fixed = Copied { is_first: true, ..copied(200, 10, Kind::Fixed) };
        let next_fixed = Copied { is_first: true, ..copied(210, 10, Kind::Fixed) };
        let used = |start, size| Copied {
            state: BlockState::Allocated,
            ..copied(start, size, Kind::Place)
        };
        let blocks = vec![
            next_fixed,
            fixed,
            copied(70, 30, Kind::Region),
            used(75, 5),
            used(90, 10),
            copied(0, 40, Kind::Stitched),
            copied(40, 20, Kind::Stitched),
            other_stream,
            copied(100, 5, Kind::Stitched),
        ];
        let pools = [PoolFacts { small: false, id: PoolId::SHARED }];
        let found = segments(DeviceId::new(0), blocks, &pools, &[0, 7].map(StreamId::new));
        let seen: Vec<_> = found
            .iter()
            .map(|s| (s.address.get(), s.size.get(), s.stream.get(), s.blocks.len(), s.expandable))
            .collect();
        let expected = [
            (0, 60, 0, 2, true),
            (60, 10, 7, 1, true),
            (70, 30, 0, 4, true),
            (100, 5, 0, 1, true),
            (200, 10, 0, 1, false),
            (210, 10, 0, 1, false),
        ];
        assert_eq!(seen, expected);
        assert_eq!(found[2].allocated(), Bytes::new(15));
        assert_eq!(found[2].bytes_in(BlockState::Free), Bytes::new(15));
    }
}
