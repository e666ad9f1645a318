//! The screen: every byte under one cause, and never more than a screen.

use freeboard_units::Address;
use proptest::prelude::*;

use super::*;
use crate::history::{Event, History};
use crate::model::{Block, DeviceMemory};
use crate::names::{NameId, PoolIndex, StackId};

fn segment(stream: u64, pool: PoolId, blocks: &[(u64, u64, BlockState)]) -> Segment {
    let mut address = 1 << 30;
    let blocks: Vec<Block> = blocks
        .iter()
        .map(|&(size, requested, state)| {
            let block = Block {
                address: Address::new(address),
                size: Bytes::new(size),
                requested: Bytes::new(requested),
                state,
                stack: StackId::default(),
                tag: NameId::default(),
            };
            address += size;
            block
        })
        .collect();
    Segment {
        device: DeviceId::new(0),
        address: Address::new(1 << 30),
        size: blocks.iter().map(|block| block.size).sum(),
        stream: StreamId::new(stream),
        small: false,
        pool,
        expandable: false,
        stack: StackId::default(),
        blocks,
    }
}

const MIB: u64 = 1 << 20;
use BlockState::{Allocated, Free, Pending};

#[test]
fn every_byte_that_is_not_in_use_has_one_cause() {
    let own = [(8 * MIB, 8 * MIB - 100, Allocated), (3 * MIB, 0, Free), (9 * MIB, 1, Pending)];
    let mut stretch = segment(
        0,
        PoolId::SHARED,
        &[(30 * MIB, 30 * MIB, Allocated), (70 * MIB, 0, Free), (20 * MIB, 20 * MIB, Allocated)],
    );
    stretch.expandable = true;
    let snapshot = Snapshot {
        segments: vec![
            segment(0, PoolId::SHARED, &own),
            segment(0, PoolId::SHARED, &[(20 * MIB, 0, Free)]),
            segment(5, PoolId::SHARED, &[(MIB, MIB, Allocated), (19 * MIB, 0, Free)]),
            segment(0, PoolId(0, 1), &[(40 * MIB, 0, Free)]),
            stretch,
        ],
        ..Snapshot::default()
    };
    let summary = ours(&snapshot, DeviceId::new(0));
    let expected = Waste {
        rounding: Bytes::new(100),
        pending: Bytes::mib(9),
        private: Bytes::mib(40),
        // One whole segment, and the pages from 40 to 100 MiB of the stretch.
        returnable: Bytes::mib(20 + 60),
        other_streams: Bytes::mib(19),
        pieces: Bytes::mib(3 + 10),
        stream: StreamId::new(0),
    };
    assert_eq!(summary.waste, expected);
    assert_eq!(summary.waste.total() + summary.requested, summary.reserved);
    // Private pools serve nobody else.
    let largest: Vec<_> = summary.streams.iter().map(|s| (s.of.get(), s.largest)).collect();
    assert_eq!(largest, [(0, Bytes::mib(70)), (5, Bytes::mib(19))]);
    let text = summary.to_string();
    assert!(text.contains("private pool (0, 1)") && text.contains("free in pieces"), "{text}");
}

proptest! {
    #[test]
    fn a_summary_fits_a_screen_and_survives_json(
        blocks in prop::collection::vec((0_u64..9, 0_u64..3, any::<u64>(), any::<u64>(), 0_u8..3), 0..60),
        name in ".{0,300}",
    ) {
        let mut snapshot =
            Snapshot { histories: vec![History::default()], ..Snapshot::default() };
        for (number, (stream, pool, size, requested, state)) in blocks.into_iter().enumerate() {
            let state = [Allocated, Free, Pending][usize::from(state)];
            // Sizes as a damaged file may claim them: their sums exceed 64 bits.
            let mut segment = segment(stream, PoolId(0, pool), &[(0, requested, state)]);
            segment.size = Bytes::new(size);
            segment.blocks[0].size = Bytes::new(size);
            segment.blocks[0].tag = snapshot.names.intern(&format!("{name}{number}"));
            let action = if pool == 2 { Action::Oom } else { Action::Alloc };
            snapshot.histories[0].events.push(Event {
                address: segment.blocks[0].address.get() + number as u64,
                size: Bytes::new(requested),
                stream: StreamId::new(stream),
                time_us: size.cast_signed(),
                action,
                pool: PoolIndex::default(),
                stack: StackId::default(),
                tag: segment.blocks[0].tag,
                context: NameId::default(),
            });
            snapshot.segments.push(segment);
        }
        let (device, most) = (DeviceId::new(0), Some(Bytes::MAX));
        snapshot.devices.push(DeviceMemory { device, total: most, free: most, limit: most });
        let summary = ours(&snapshot, device);
        let text = summary.to_string();
        prop_assert!(text.lines().count() <= 40, "{text}");
        prop_assert!(text.lines().all(|line| line.chars().count() <= 100), "{text}");
        prop_assert!(!text.contains(|c: char| c.is_control() && c != '\n'));
        let json = serde_json::to_string(&summary).expect("plain data");
        prop_assert_eq!(serde_json::from_str::<Summary>(&json).expect("ours"), summary);
        let counters = PytorchStats::of_timeline(&Timeline::new(&snapshot, DeviceId::new(0)));
        prop_assert!(pytorch(&counters, DeviceId::new(0), false).ends_with("=|\n"));
    }
}
