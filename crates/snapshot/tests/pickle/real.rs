//! Real files, and the same in other protocols and layouts, give the figures that Python finds.

use freeboard_snapshot::pickle::{self, ReadOptions};
use freeboard_snapshot::{Action, BlockState, PoolId, Setting, Snapshot};
use freeboard_units::Bytes;

use crate::data::{bytes, read, spelled};

/// What is in a file, by sums over `pickle.load` of it in Python: of the events their number,
/// allocations and their bytes, completed frees, times and addresses (`addr`), frames and their
/// lines; of the segments and blocks their number and sizes.
#[derive(Debug, PartialEq)]
struct Figures {
    events: usize,
    allocs: usize,
    alloc_bytes: u64,
    freed: usize,
    times: i128,
    addresses: u128,
    frames: usize,
    lines: u64,
    annotations: usize,
    segments: usize,
    blocks: usize,
    reserved: u64,
    allocated: u64,
    active: u64,
    requested: u64,
}

fn figures(snapshot: &Snapshot) -> Figures {
    let events = || snapshot.histories.iter().flat_map(|history| &history.events);
    let is = |action| events().filter(move |event| event.action == action);
    let sum = |of: fn(&freeboard_snapshot::Segment) -> Bytes| {
        snapshot.segments.iter().map(of).sum::<Bytes>().get()
    };
    let frames = || events().flat_map(|event| snapshot.stacks.get(event.stack));
    let placed = || events().filter(|event| event.action != Action::Oom);
    Figures {
        events: events().count(),
        allocs: is(Action::Alloc).count(),
        alloc_bytes: is(Action::Alloc).map(|event| event.size.get()).sum(),
        freed: is(Action::FreeCompleted).count(),
        times: events().map(|event| i128::from(event.time_us)).sum(),
        addresses: placed().map(|event| u128::from(event.address)).sum(),
        frames: frames().count(),
        lines: frames().map(|frame| frame.line).sum(),
        annotations: snapshot.annotations.len(),
        segments: snapshot.segments.len(),
        blocks: snapshot.segments.iter().map(|segment| segment.blocks.len()).sum(),
        reserved: sum(|segment| segment.size),
        allocated: sum(freeboard_snapshot::Segment::allocated),
        active: sum(freeboard_snapshot::Segment::active),
        requested: sum(freeboard_snapshot::Segment::requested),
    }
}

#[test]
fn an_out_of_memory_file_has_the_figures_python_finds() {
    let snapshot = read(&bytes("oom_fragmentation")).unwrap();
    let expected = Figures {
        events: 40_414,
        allocs: 13_784,
        alloc_bytes: 272_493_389_043,
        freed: 13_264,
        times: 72_552_072_412_140_530_616,
        addresses: 711_004_341_420_848_128,
        frames: 161_883,
        lines: 96_077_694,
        annotations: 108,
        segments: 65,
        blocks: 548,
        reserved: 5_236_588_544,
        allocated: 4_706_819_072,
        active: 4_706_819_072,
        requested: 4_699_739_160,
    };
    assert_eq!(figures(&snapshot), expected);
    let oom = snapshot.histories[0].events.last().unwrap();
    assert_eq!((oom.action, oom.address, oom.size.get()), (Action::Oom, 320_864_256, 435_421_184));
    assert_eq!(snapshot.setting("max_split_size"), Some(&Setting::Number(-1)));
    assert_eq!(snapshot.setting("garbage_collection_threshold"), Some(&Setting::Fraction(0.0)));
    assert!(
        matches!(snapshot.setting("roundup_power2_divisions"), Some(Setting::Table(table)) if table.len() == 16)
    );
}

#[test]
fn an_expandable_file_has_the_figures_python_finds() {
    let snapshot = read(&bytes("train_expandable")).unwrap();
    let expected = Figures {
        events: 6_209,
        allocs: 2_160,
        alloc_bytes: 17_763_249_655,
        freed: 2_004,
        times: 11_146_528_830_903_946_979,
        addresses: 327_773_615_449_017_856,
        frames: 25_446,
        lines: 14_953_749,
        annotations: 24,
        segments: 2,
        blocks: 168,
        reserved: 599_785_472,
        allocated: 125_995_008,
        active: 125_995_008,
        requested: 125_995_008,
    };
    assert_eq!(figures(&snapshot), expected);
    assert!(snapshot.segments.iter().all(|segment| segment.expandable));
    assert_eq!(snapshot.names.get(snapshot.annotations[1].stage), "END");
}

fn streams_and_pools() -> Figures {
    Figures {
        events: 105,
        allocs: 48,
        alloc_bytes: 460_170_564,
        freed: 4,
        times: 188_498_234_528_545_861,
        addresses: 1_847_199_595_011_584,
        frames: 3_376,
        lines: 73_480_320_372,
        annotations: 0,
        segments: 29,
        blocks: 51,
        reserved: 486_539_264,
        allocated: 235_930_112,
        active: 462_422_528,
        requested: 449_839_108,
    }
}

#[test]
fn streams_pools_and_tags_are_read() {
    let snapshot = read(&bytes("streams_and_pools")).unwrap();
    assert_eq!(figures(&snapshot), streams_and_pools());
    assert_eq!(snapshot.pools, [PoolId::SHARED, PoolId(0, 1)]);
    assert!(snapshot.segments.iter().any(|segment| segment.pool == PoolId(0, 1)));
    let last = snapshot.histories[0].events.last().unwrap();
    assert_eq!(snapshot.names.get(last.tag), "phase: tail");
    assert!(last.context.is_zero(), "N/A is none");
}

#[test]
fn every_protocol_and_pickler_says_the_same() {
    let snapshot = read(&bytes("streams_and_pools")).unwrap();
    for name in [
        "protocol_0",
        "protocol_1",
        "protocol_2",
        "protocol_3",
        "protocol_5",
        "pure_python",
        "no_memo",
        "extra_keys",
    ] {
        let same = read(&bytes(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(spelled(&same), spelled(&snapshot), "{name}");
    }
}

#[test]
fn old_versions_say_less_and_are_read_all_the_same() {
    let old = read(&bytes("version_2_1")).unwrap();
    let expected = Figures { times: 0, ..streams_and_pools() };
    assert_eq!(figures(&old), expected);
    assert!(old.histories[0].events.iter().all(|event| event.tag.is_zero()));

    // A bare list of segments, whose blocks have a history and no address.
    let oldest = read(&bytes("oldest")).unwrap();
    let of_now = read(&bytes("streams_and_pools")).unwrap();
    assert_eq!(oldest.histories.len(), 0);
    for (old, now) in oldest.segments.iter().zip(&of_now.segments) {
        let pairs = old.blocks.iter().zip(&now.blocks);
        for (old, now) in pairs.filter(|(_, now)| now.state != BlockState::Free) {
            assert_eq!((old.address, old.size, old.state), (now.address, now.size, now.state));
            assert_eq!(old.requested, now.requested);
            assert_eq!(oldest.stacks.get(old.stack).len(), of_now.stacks.get(now.stack).len());
        }
    }
}

#[test]
fn pinned_host_memory_is_kept_apart() {
    let snapshot = read(&bytes("host")).unwrap();
    assert_eq!((snapshot.host_segments.len(), snapshot.host_histories[0].events.len()), (2, 6));
    assert!(snapshot.segments.iter().all(|segment| segment.device.get() == 0));
    let noted = |event: &&freeboard_snapshot::Event| event.action == Action::Annotate;
    let note = snapshot.histories[0].events.iter().find(noted).unwrap();
    assert_eq!(snapshot.names.get(note.tag), "hello");
}

#[test]
fn memory_is_bounded_as_told() {
    let file = bytes("oom_fragmentation");
    let read = |limit| pickle::read(&file[..], &ReadOptions::default().with_memory(limit));
    let error = read(Bytes::mib(2)).unwrap_err().to_string();
    assert!(error.contains("takes more than 2.00 MiB of memory"), "{error}");
    assert!(read(Bytes::mib(4)).is_ok(), "less than the file, which has 3.8 MiB, and buffers");
}
