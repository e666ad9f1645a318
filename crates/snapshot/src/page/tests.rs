//! Tests of what a page is given; the browser's tests look at what it does with it.

use freeboard_units::{Address, Bytes, DeviceId, StreamId};

use super::clock::Clock;
use super::lives::{self, Life};
use super::marks::Marks;
use super::ranges::Ranges;
use super::strings::Strings;
use super::*;
use crate::{
    Action, Annotation, Block, BlockState, Event, NameId, PoolId, PoolIndex, Segment, StackId,
    Timeline,
};

const SHARED: PoolId = PoolId::SHARED;

fn event(action: Action, address: u64, size: u64) -> Event {
    Event {
        address,
        size: Bytes::new(size),
        stream: StreamId::DEFAULT,
        time_us: 5,
        action,
        pool: PoolIndex::default(),
        stack: StackId::default(),
        tag: NameId::default(),
        context: NameId::default(),
    }
}

fn block(address: u64, size: u64, state: BlockState) -> Block {
    Block {
        address: Address::new(address),
        size: Bytes::new(size),
        requested: Bytes::new(size - 12),
        state,
        stack: StackId::default(),
        tag: NameId::default(),
    }
}

fn segment(address: u64, size: u64, blocks: Vec<Block>) -> Segment {
    Segment {
        device: DeviceId::new(0),
        address: Address::new(address),
        size: Bytes::new(size),
        stream: StreamId::DEFAULT,
        small: false,
        pool: SHARED,
        expandable: true,
        stack: StackId::default(),
        blocks,
    }
}

/// What happened, and what there was in the end.
fn snapshot(events: &[Event], segments: &[Segment]) -> Snapshot {
    let history = crate::History { events: events.to_vec(), dropped: 0 };
    Snapshot { histories: vec![history], segments: segments.to_vec(), ..Snapshot::default() }
}

fn lives<'a>(timeline: &'a Timeline<'_>) -> (Vec<Life<'a>>, Clock) {
    let mut clock = Clock::default();
    let has_end = !timeline.snapshot().segments.is_empty();
    let (after, lives) = lives::follow(timeline, has_end, &mut clock);
    assert_eq!(after.len(), timeline.events().len());
    (lives, clock)
}

/// Address, birth, request and death of each block, in order.
type Span = (u64, u32, Option<u32>, Option<u32>);

fn spans(lives: &[Life<'_>]) -> Vec<Span> {
    lives.iter().map(|life| (life.block.address, life.birth, life.request, life.death)).collect()
}

#[test]
fn a_block_lives_from_its_allocation_until_it_is_free_and_the_address_may_come_again() {
    use Action::{Alloc, FreeCompleted, FreeRequested};
    let events = [
        event(Alloc, 512, 100),
        event(FreeRequested, 512, 100),
        event(FreeCompleted, 512, 100),
        event(Alloc, 512, 1000),
    ];
    let snapshot = snapshot(&events, &[]);
    let timeline = Timeline::new(&snapshot, DeviceId::new(0));
    let (all, _) = lives(&timeline);
    assert_eq!(spans(&all), [(512, 1, Some(2), Some(3)), (512, 4, None, None)]);
    assert_eq!(
        [all[0].block.size.get(), all[1].block.size.get()],
        [512, 1024],
        "as the allocator rounds"
    );
    assert_eq!([all[0].block.requested.get(), all[1].block.requested.get()], [100, 1000]);
}

#[test]
fn what_was_there_before_the_history_is_found_by_its_end_or_in_the_snapshot() {
    let events = [
        Event { stack: StackId::new(3), ..event(Action::FreeCompleted, 0, 512) },
        event(Action::FreeRequested, 512, 512),
        event(Action::FreeCompleted, 512, 512),
    ];
    let last = segment(
        0,
        4096,
        vec![
            block(0, 1024, BlockState::Free),
            block(1024, 1024, BlockState::Allocated),
            block(2048, 2048, BlockState::Pending),
        ],
    );
    let snapshot = snapshot(&events, &[last]);
    let timeline = Timeline::new(&snapshot, DeviceId::new(0));
    let (all, _) = lives(&timeline);
    let expected = [
        (0, 0, Some(0), Some(1)),
        (512, 0, Some(2), Some(3)),
        (1024, 0, None, None),
        (2048, 0, Some(0), None),
    ];
    assert_eq!(spans(&all), expected);
    assert!(all[0].origin.0.is_zero(), "the stack of a free is not where a block came from");
    assert_eq!(all[2].block.requested.get(), 1012, "the snapshot knows what was asked");
}

#[test]
fn ends_that_nobody_recorded_are_put_where_they_must_have_been() {
    let events =
        [(0, 512), (0, 512), (512, 9), (1024, 9)].map(|(at, size)| event(Action::Alloc, at, size));
    let last = vec![block(0, 512, BlockState::Allocated), block(1024, 512, BlockState::Pending)];
    let kept = segment(0, 2048, last);
    let snapshot = snapshot(&events, &[kept]);
    let timeline = Timeline::new(&snapshot, DeviceId::new(0));
    let (all, clock) = lives(&timeline);
    // The first ended before the second began; the third is not in the snapshot; the fourth was
    // given back at some time.
    let expected = [
        (0, 1, None, Some(2)),
        (0, 3, None, None),
        (512, 4, None, Some(6)),
        (1024, 5, Some(7), None),
    ];
    assert_eq!((spans(&all).as_slice(), clock.now()), (&expected[..], 7));
}

#[test]
fn pages_are_held_from_map_to_unmap_piece_by_piece() {
    use Action::{SegmentMap, SegmentUnmap};
    let mut ranges = Ranges::default();
    let page = 2 << 20;
    // [0, 2) was there before; [2, 6) is mapped; [1, 3) goes; [8, 9) goes, from before.
    ranges.see(&event(SegmentMap, 2 * page, 4 * page), SHARED, 1);
    ranges.see(&event(SegmentUnmap, page, 2 * page), SHARED, 2);
    ranges.see(&event(SegmentUnmap, 8 * page, page), SHARED, 3);
    ranges.see(&event(SegmentMap, 20 * page, page), SHARED, 4);
    let last = [segment(0, page, Vec::new()), segment(3 * page, 3 * page, Vec::new())];
    let pieces = ranges.finish(&last.iter().collect::<Vec<_>>(), 5);
    let told: Vec<_> = pieces
        .iter()
        .map(|piece| (piece.start / page, piece.end / page, piece.birth, piece.death))
        .collect();
    let expected = [
        (0, 1, 0, None),
        (1, 2, 0, Some(2)),
        (8, 9, 0, Some(3)),
        (2, 3, 1, Some(2)),
        (3, 6, 1, None),
        (20, 21, 4, Some(5)),
    ];
    assert_eq!(told, expected);
}

#[test]
fn intervals_are_paired_and_one_without_its_other_end_reaches_the_edge() {
    let mut snapshot = Snapshot::default();
    let mut end = |name: &str, stage: &str, time_us| Annotation {
        device: DeviceId::new(0),
        time_us,
        name: snapshot.names.intern(name),
        stage: snapshot.names.intern(stage),
    };
    let ends =
        [end("a", "START", 10), end("a", "END", 30), end("b", "END", 20), end("c", "START", 25)];
    let mut clock = Clock::default();
    for time_us in [0, 10, 20, 30, 40, 35] {
        clock.tick(time_us);
    }
    let (mut marks, mut strings) = (Marks::default(), Strings::new(&snapshot));
    marks.pair(ends.iter(), &snapshot.names, &clock, &mut strings);
    let told = serde_json::to_value(&marks).expect("plain data");
    let (_, names) = strings.finish();
    assert_eq!(names, ["", "b", "a", "c"]);
    assert_eq!(told["spans"], serde_json::json!([[0, 2, 1], [1, 3, 2], [2, 5, 3]]));
    assert_eq!(clock.times[5], 40, "a clock that was set back stands still");
}

#[test]
fn a_page_is_one_file_that_loads_nothing_and_holds_names_as_data() {
    let mut snapshot = Snapshot::default();
    let hostile = "</script><img src=x onerror=alert(1)>";
    let mut block = block(0, 1024, BlockState::Allocated);
    block.tag = snapshot.names.intern(hostile);
    snapshot.segments.push(segment(0, 1024, vec![block]));
    let mut html = Vec::new();
    write(&snapshot, &PageOptions::default().title(hostile), &mut html).expect("memory takes all");
    let html = String::from_utf8(html).expect("text");
    assert!(!html.contains("<img"), "markup of a name got through");
    assert!(html.contains("\\u003c/script>\\u003cimg src=x"), "the name itself is there");
    assert!(html.contains("default-src 'none'"), "nothing may be loaded");
    for word in ["http://", "https://", "@import", "src=\"", "{{"] {
        assert!(!html.contains(word), "{word}");
    }
}

#[test]
fn numbers_at_the_end_of_their_range_are_written_without_harm() {
    let mut snapshot = Snapshot::default();
    let mut history = crate::History::default();
    for action in [
        Action::Alloc,
        Action::SegmentMap,
        Action::FreeCompleted,
        Action::SegmentUnmap,
        Action::Oom,
        Action::Other(NameId::new(77)),
    ] {
        for (address, size) in [(0, 0), (u64::MAX, u64::MAX), (1, u64::MAX), (u64::MAX, 1)] {
            for time_us in [i64::MIN, i64::MAX, 0] {
                let (stack, tag) = (StackId::new(u32::MAX), NameId::new(u32::MAX));
                let pool = PoolIndex::new(u32::MAX);
                history.events.push(Event {
                    time_us,
                    pool,
                    stack,
                    tag,
                    ..event(action, address, size)
                });
            }
        }
    }
    snapshot.histories.push(history);
    snapshot.segments.push(segment(
        u64::MAX,
        u64::MAX,
        vec![block(3, u64::MAX, BlockState::Pending)],
    ));
    let mut html = Vec::new();
    write(&snapshot, &PageOptions::default(), &mut html).expect("memory takes all");
    assert!(html.ends_with(b"</html>\n"));
}
