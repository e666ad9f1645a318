//! `freeboard view` on snapshots that the library wrote itself.

use std::fs;

use freeboard_snapshot::{Block, BlockState, PoolId, Segment, Snapshot, StackId, pickle};
use freeboard_units::{Address, Bytes, DeviceId, StreamId};

use super::{Folder, freeboard};

/// A snapshot file with one segment on device 2.
fn snapshot() -> Vec<u8> {
    let mut snapshot = Snapshot::default();
    let block = Block {
        address: Address::new(1 << 32),
        size: Bytes::mib(2),
        requested: Bytes::mib(2),
        state: BlockState::Allocated,
        stack: StackId::default(),
        tag: snapshot.names.intern("weights"),
    };
    snapshot.segments.push(Segment {
        device: DeviceId::new(2),
        address: block.address,
        size: block.size,
        stream: StreamId::DEFAULT,
        small: true,
        pool: PoolId::SHARED,
        expandable: false,
        stack: StackId::default(),
        blocks: vec![block],
    });
    let mut bytes = Vec::new();
    pickle::write(&snapshot, &mut bytes).unwrap();
    bytes
}

#[test]
fn a_page_is_written_beside_the_snapshot_or_where_it_is_said() {
    let folder = Folder::new("view");
    let file = folder.file("run.pickle", snapshot());
    let said = freeboard(&["view", &file]);
    assert_eq!((said.status, said.err.as_str()), (0, ""));
    assert_eq!(said.out, format!("{}\n", folder.path("run.html")));
    let html = fs::read_to_string(folder.path("run.html")).unwrap();
    assert!(html.starts_with("<!doctype html>") && html.contains("run.pickle · Freeboard"));
    assert!(html.contains("\"device 2\"") && html.trim_end().ends_with("</html>"));

    let other = folder.path("other.page");
    let said = freeboard(&["view", &file, "-o", &other, "--device", "2"]);
    assert_eq!((said.status, said.out), (0, format!("{other}\n")));
    assert_eq!(fs::read_to_string(&other).unwrap(), html, "the only device is all there is");
    let said = freeboard(&["view", &file, "-o", "-"]);
    assert_eq!((said.status, said.out), (0, html));
    assert_eq!(fs::read_dir(folder.path(".")).unwrap().count(), 3, "nothing else is left behind");
    let json = folder.path("run.json.gz");
    assert_eq!(freeboard(&["convert", &file, "-o", &json]).status, 0);
    assert_eq!(freeboard(&["view", &json]).out, format!("{}\n", folder.path("run.html")));
}

#[test]
fn what_cannot_be_shown_is_told_and_leaves_no_file() {
    let folder = Folder::new("view-bad");
    let file = folder.file("run.pickle", snapshot());
    let cut = folder.file("cut.pickle", &snapshot()[..40]);
    for (arguments, words) in [
        (vec!["view", &file, "--device", "0"], "says nothing of device 0; it knows 2"),
        (vec!["view", "-"], "say where to write with -o"),
        (vec!["view", "/nowhere/at/all"], "check that the path is right"),
        (vec!["view", &cut], "cut.pickle"),
        (vec!["view", &file, "-o", "/nowhere/at/all.html"], "cannot write /nowhere/at/all.html"),
    ] {
        let said = freeboard(&arguments);
        assert_eq!(said.status, 2, "{said:?}");
        assert!(said.out.is_empty() && said.err.contains(words), "{words}: {said:?}");
    }
    assert_eq!(fs::read_dir(folder.path(".")).unwrap().count(), 2, "only what was there");
}
