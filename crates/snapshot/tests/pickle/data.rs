//! The files under `tests/data`, and a snapshot in words, without numbers that depend on the order.
//!
//! `streams_and_pools`, `train_expandable` and `oom_fragmentation` were written by PyTorch 2.15's
//! `_dump_snapshot`, and so was `host`, with `record_pinned_host_memory`. The others were made
//! from the first: `pickle.dump(..., protocol=n)`, Python's own `_Pickler` with and without `fast`,
//! and the layouts of old versions, by taking away the keys they lack.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use flate2::read::GzDecoder;
use freeboard_snapshot::pickle::{self, PickleError, ReadOptions};
use freeboard_snapshot::{Action, Event, History, NameId, Segment, Snapshot, StackId};

/// The pickle in one of the files.
pub(crate) fn bytes(name: &str) -> Vec<u8> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data");
    let file = File::open(folder.join(format!("{name}.pickle.gz"))).unwrap();
    let mut bytes = Vec::new();
    GzDecoder::new(file).read_to_end(&mut bytes).unwrap();
    bytes
}

pub(crate) fn read(bytes: &[u8]) -> Result<Snapshot, PickleError> {
    pickle::read(bytes, &ReadOptions::default())
}

pub(crate) fn written(snapshot: &Snapshot) -> Vec<u8> {
    let mut bytes = Vec::new();
    pickle::write(snapshot, &mut bytes).unwrap();
    bytes
}

/// Everything a snapshot says, as lines of text.
pub(crate) fn spelled(snapshot: &Snapshot) -> Vec<String> {
    let name = |id: NameId| snapshot.names.get(id);
    let stack = |id: StackId| -> Vec<(&str, &str, u64)> {
        let frames = snapshot.stacks.get(id);
        frames.map(|frame| (name(frame.file), name(frame.function), frame.line)).collect()
    };
    let mut lines = Vec::new();
    let event = |event: &Event| {
        let Event { address, size, stream, time_us, action, pool, stack: at, tag, context } =
            *event;
        let action = match action {
            Action::Other(other) => name(other).to_owned(),
            known => format!("{known:?}"),
        };
        let (pool, tag, context) = (snapshot.pool(pool), name(tag), name(context));
        let at = stack(at);
        format!("{action} {address} {size} {stream} {time_us} {pool} {tag:?} {context:?} {at:?}")
    };
    let mut history = |history: &History| {
        lines.push(format!("history without {}", history.dropped));
        lines.extend(history.events.iter().map(event));
    };
    snapshot.histories.iter().for_each(&mut history);
    snapshot.host_histories.iter().for_each(&mut history);
    let mut segment = |segment: &Segment| {
        let Segment { device, address, size, stream, small, pool, expandable, stack: at, blocks } =
            segment;
        let at = stack(*at);
        lines
            .push(format!("{device} {address} {size} {stream} {small} {pool} {expandable} {at:?}"));
        lines.extend(blocks.iter().map(|block| {
            let (at, tag) = (stack(block.stack), name(block.tag));
            let (size, requested) = (block.size, block.requested);
            format!("{} {size} {requested} {:?} {tag:?} {at:?}", block.address, block.state)
        }));
    };
    snapshot.segments.iter().for_each(&mut segment);
    snapshot.host_segments.iter().for_each(&mut segment);
    lines.extend(snapshot.annotations.iter().map(|annotation| {
        let (what, stage) = (name(annotation.name), name(annotation.stage));
        format!("{} {} {what} {stage}", annotation.device, annotation.time_us)
    }));
    lines.push(format!("{:?} {:?}", snapshot.settings, snapshot.devices));
    lines
}
