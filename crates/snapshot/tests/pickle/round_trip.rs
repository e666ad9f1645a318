//! What is written is read again as it was, whatever the snapshot.

use freeboard_snapshot::{
    Action, Annotation, Block, BlockState, DeviceMemory, Event, Frame, History, NameId, PoolId,
    PoolIndex, Segment, Setting, Snapshot, StackId,
};
use freeboard_units::{Address, Bytes, DeviceId, StreamId};
use proptest::prelude::*;

use crate::data::{bytes, read, spelled, written};

const NAMES: u32 = 6;
const STACKS: u32 = 5;

/// Sizes and places of every length in bytes.
fn number() -> impl Strategy<Value = u64> {
    (any::<u64>(), 1..=63_u32).prop_map(|(number, bits)| number >> (64 - bits))
}

fn name() -> impl Strategy<Value = NameId> {
    (0..NAMES).prop_map(NameId::new)
}

fn stack() -> impl Strategy<Value = StackId> {
    (0..STACKS).prop_map(StackId::new)
}

fn action() -> impl Strategy<Value = Action> {
    prop_oneof![
        Just(Action::Alloc),
        Just(Action::FreeRequested),
        Just(Action::FreeCompleted),
        Just(Action::SegmentAlloc),
        Just(Action::SegmentFree),
        Just(Action::SegmentMap),
        Just(Action::SegmentUnmap),
        Just(Action::Snapshot),
        Just(Action::Oom),
        Just(Action::Annotate),
        Just(Action::Stitch),
        Just(Action::Plan),
        name().prop_map(Action::Other),
    ]
}

fn event() -> impl Strategy<Value = Event> {
    let numbers = (number(), number(), number(), any::<i64>());
    (numbers, action(), 0..3_u32, stack(), name(), name()).prop_map(
        |((address, size, stream, time_us), action, pool, stack, tag, context)| Event {
            address,
            size: Bytes::new(size),
            stream: StreamId::new(stream),
            time_us,
            action,
            pool: PoolIndex::new(pool),
            stack,
            tag,
            context,
        },
    )
}

fn history() -> impl Strategy<Value = History> {
    let events = prop_oneof![
        9 => prop::collection::vec(event(), 0..5),
        // More than one run of entries.
        1 => prop::collection::vec(event(), 990..1010),
    ];
    (events, prop_oneof![Just(0), number()])
        .prop_map(|(events, dropped)| History { events, dropped })
}

fn segment(on_host: bool) -> impl Strategy<Value = Segment> {
    let block = (0..1_u64 << 40, 0..3_u8, any::<u64>(), stack(), name());
    let of = (0..4_u32, 0..1_u64 << 60, number(), any::<bool>(), any::<bool>());
    let pool = prop::sample::select(vec![PoolId::SHARED, PoolId(0, 7), PoolId(3, 1 << 40)]);
    (of, pool, stack(), prop::collection::vec(block, 0..5)).prop_map(
        move |((device, address, stream, small, expandable), pool, stack, blocks)| {
            let mut next = address;
            let block = |(size, state, requested, stack, tag)| {
                let address = Address::new(next);
                next += size;
                let state = [BlockState::Free, BlockState::Allocated, BlockState::Pending]
                    [usize::from(state)];
                let requested = if state == BlockState::Free { 0 } else { requested % (size + 1) };
                let [size, requested] = [size, requested].map(Bytes::new);
                Block { address, size, requested, state, stack, tag }
            };
            let blocks = blocks.into_iter().map(block).collect();
            Segment {
                device: DeviceId::new(if on_host { 0 } else { device }),
                address: Address::new(address),
                size: Bytes::new(next - address),
                stream: StreamId::new(stream),
                small,
                pool,
                expandable,
                stack,
                blocks,
            }
        },
    )
}

fn setting() -> impl Strategy<Value = Setting> {
    let leaf = prop_oneof![
        any::<bool>().prop_map(Setting::Flag),
        any::<i64>().prop_map(Setting::Number),
        (-1e300..1e300_f64).prop_map(Setting::Fraction),
        "\\PC{0,300}".prop_map(Setting::Text),
    ];
    leaf.prop_recursive(3, 8, 3, |inner| {
        prop::collection::btree_map("\\PC{0,5}", inner, 0..3).prop_map(Setting::Table)
    })
}

fn snapshot() -> impl Strategy<Value = Snapshot> {
    let memory = (0..9_u32, prop::option::of(number()), prop::option::of(number())).prop_map(
        |(device, total, free)| DeviceMemory {
            device: DeviceId::new(device),
            total: total.map(Bytes::new),
            free: free.map(Bytes::new),
            limit: free.map(|free| Bytes::new(free / 2)),
        },
    );
    let annotation =
        (0..9_u32, any::<i64>(), name(), name()).prop_map(|(device, time_us, name, stage)| {
            Annotation { device: DeviceId::new(device), time_us, name, stage }
        });
    let names = prop::collection::vec("\\PC{0,9}|x{250,260}", NAMES as usize);
    let frame = (0..NAMES, 0..NAMES, any::<u64>());
    let stacks = prop::collection::vec(prop::collection::vec(frame, 0..4), STACKS as usize);
    let lists = (
        prop::collection::vec(segment(false), 0..4),
        prop::collection::vec(history(), 0..4),
        prop::collection::btree_map("[a-z]{0,9}", setting(), 0..4),
        prop::collection::vec(annotation, 0..4),
    );
    let rest = (
        prop::collection::vec(segment(true), 0..3),
        prop::collection::vec(history(), 0..3),
        prop::collection::vec(memory, 0..3),
    );
    (lists, rest, names, stacks).prop_map(|(lists, rest, names, stacks)| {
        let (segments, histories, settings, annotations) = lists;
        let (host_segments, host_histories, devices) = rest;
        let pools = vec![PoolId::SHARED, PoolId(0, 7), PoolId(2, 0)];
        let mut all =
            Snapshot { segments, histories, settings, annotations, pools, ..<_>::default() };
        (all.host_segments, all.host_histories, all.devices) =
            (host_segments, host_histories, devices);
        // Words that the format has for itself are no names of ours.
        for name in names {
            all.names.intern(&format!("~{name}"));
        }
        for stack in stacks {
            let frames = stack.into_iter().map(|(file, function, line)| Frame {
                file: NameId::new(file),
                function: NameId::new(function),
                line,
            });
            all.stacks.intern(frames.collect::<Vec<_>>());
        }
        all
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..<_>::default() })]

    #[test]
    fn what_is_written_reads_back_equal(snapshot in snapshot()) {
        let file = written(&snapshot);
        let again = read(&file);
        prop_assert!(again.is_ok(), "{}", again.unwrap_err());
        prop_assert_eq!(spelled(&again.unwrap()), spelled(&snapshot));
    }
}

#[test]
fn real_files_survive_being_written() {
    for name in ["streams_and_pools", "train_expandable", "host"] {
        let snapshot = read(&bytes(name)).unwrap();
        let file = written(&snapshot);
        assert_eq!(spelled(&read(&file).unwrap()), spelled(&snapshot), "{name}");
        assert!(file.len() < bytes(name).len() * 2 / 3, "{name} takes {} bytes", file.len());
    }
}

#[test]
fn what_a_file_cannot_say_is_an_error_and_no_panic() {
    let mut snapshot = read(&bytes("streams_and_pools")).unwrap();
    let cannot = |snapshot: &Snapshot| {
        freeboard_snapshot::pickle::write(snapshot, Vec::new()).unwrap_err().to_string()
    };
    snapshot.histories[0].events[0].address = 1 << 63;
    assert_eq!(
        cannot(&snapshot),
        "addr 9223372036854775808 is larger than a snapshot file can say"
    );
    snapshot.histories.clear();
    snapshot.segments[0].device = DeviceId::new(1 << 20);
    assert!(cannot(&snapshot).starts_with("device number 1048576"));
}
