//! What we write is in the part of pickle that `PyTorch`'s viewer reads: an unpickler of its own,
//! with the viewer's opcodes and no other, finds the same figures.

use std::cell::RefCell;
use std::rc::Rc;

use freeboard_snapshot::Snapshot;

use crate::data::{bytes, read, written};

#[derive(Clone, Debug)]
enum Object {
    /// None, True, False or a fraction.
    Other,
    Number(i64),
    Text(Rc<str>),
    List(Rc<RefCell<Vec<Object>>>),
    Table(Rc<RefCell<Entries>>),
}

type Entries = Vec<(Rc<str>, Object)>;

impl Object {
    fn list(&self) -> Vec<Self> {
        let Self::List(list) = self else { panic!("{self:?} is no list") };
        list.borrow().clone()
    }

    fn keys(&self) -> Vec<String> {
        let Self::Table(table) = self else { panic!("{self:?} is no dictionary") };
        let mut keys: Vec<_> = table.borrow().iter().map(|(key, _)| key.to_string()).collect();
        keys.sort();
        keys
    }

    fn get(&self, key: &str) -> Self {
        let Self::Table(table) = self else { panic!("{self:?} is no dictionary") };
        let table = table.borrow();
        let found = table.iter().find(|(name, _)| &**name == key);
        found.unwrap_or_else(|| panic!("no {key}")).1.clone()
    }

    fn text(&self) -> Rc<str> {
        let Self::Text(text) = self else { panic!("{self:?} is no text") };
        text.clone()
    }

    fn number(&self) -> u64 {
        let Self::Number(number) = self else { panic!("{self:?} is no number") };
        assert!(*number < 1 << 53, "the viewer's numbers are exact up to 2^53");
        u64::try_from(*number).unwrap()
    }
}

/// As the viewer does it: a run of entries is the arguments of one call.
fn unpickle(mut bytes: &[u8]) -> Object {
    let mut take = |count: usize| {
        let (taken, rest) = bytes.split_at(count);
        bytes = rest;
        taken
    };
    let little = |bytes: &[u8]| bytes.iter().rev().fold(0_u64, |sum, &b| sum << 8 | u64::from(b));
    let (mut stack, mut marks, mut memo): (Vec<Object>, Vec<usize>, Vec<Object>) =
        (Vec::new(), Vec::new(), Vec::new());
    loop {
        match take(1)[0] {
            0x80 => assert!((2..=4).contains(&take(1)[0])),
            b'N' | 0x88 | 0x89 => stack.push(Object::Other),
            b'K' => stack.push(Object::Number(take(1)[0].into())),
            b'M' => stack.push(Object::Number(little(take(2)).cast_signed())),
            b'J' => {
                let number = i32::from_le_bytes(take(4).try_into().unwrap());
                stack.push(Object::Number(number.into()));
            }
            0x8a => {
                let length = usize::from(take(1)[0]);
                assert!((1..=8).contains(&length), "a number of {length} bytes");
                let unused = 64 - 8 * u32::try_from(length).unwrap();
                let number = (little(take(length)) << unused).cast_signed() >> unused;
                stack.push(Object::Number(number));
            }
            b'G' => stack.push((take(8), Object::Other).1),
            opcode @ (0x8c | b'X') => {
                let length = little(take(if opcode == b'X' { 4 } else { 1 }));
                let text = std::str::from_utf8(take(usize::try_from(length).unwrap())).unwrap();
                stack.push(Object::Text(text.into()));
            }
            b'}' => stack.push(Object::Table(Rc::default())),
            b']' => stack.push(Object::List(Rc::default())),
            b'(' => marks.push(stack.len()),
            0x94 => memo.push(stack.last().unwrap().clone()),
            b'h' => stack.push(memo[usize::from(take(1)[0])].clone()),
            b'j' => stack.push(memo[usize::try_from(little(take(4))).unwrap()].clone()),
            0x86 => {
                let pair = stack.split_off(stack.len() - 2);
                stack.push(Object::List(Rc::new(RefCell::new(pair))));
            }
            b'e' => {
                let entries = stack.split_off(marks.pop().unwrap());
                assert!(entries.len() <= 1000, "{} arguments", entries.len());
                let Some(Object::List(list)) = stack.last() else { panic!("no list") };
                list.borrow_mut().extend(entries);
            }
            b'a' => {
                let entry = stack.pop().unwrap();
                let Some(Object::List(list)) = stack.last() else { panic!("no list") };
                list.borrow_mut().push(entry);
            }
            0x95 => _ = take(8),
            b'u' => {
                let entries = stack.split_off(marks.pop().unwrap());
                let Some(Object::Table(table)) = stack.last() else { panic!("no dictionary") };
                let pairs = entries.chunks_exact(2);
                assert!(pairs.remainder().is_empty());
                table.borrow_mut().extend(pairs.map(|pair| (pair[0].text(), pair[1].clone())));
            }
            b'.' => {
                assert!(bytes.is_empty() && marks.is_empty() && stack.len() == 1);
                return stack.remove(0);
            }
            other => panic!("the viewer does not know opcode {other:#x}"),
        }
    }
}

fn check(snapshot: &Snapshot) {
    let whole = unpickle(&written(snapshot));
    let traces = whole.get("device_traces").list();
    for (theirs, ours) in traces.iter().zip(&snapshot.histories) {
        let theirs = theirs.list();
        assert_eq!(theirs.len(), ours.events.len());
        for (theirs, ours) in theirs.iter().zip(&ours.events) {
            assert_eq!(theirs.get("size").number(), ours.size.get());
            let is_oom = &*theirs.get("action").text() == "oom";
            let place = theirs.get(if is_oom { "device_free" } else { "addr" });
            assert_eq!(place.number(), ours.address);
            let frames = theirs.get("frames").list();
            assert_eq!(frames.len(), snapshot.stacks.get(ours.stack).len());
            for (theirs, ours) in frames.iter().zip(snapshot.stacks.get(ours.stack)) {
                assert_eq!(&*theirs.get("filename").text(), snapshot.names.get(ours.file));
                assert_eq!(&*theirs.get("name").text(), snapshot.names.get(ours.function));
            }
        }
    }
    let segments = whole.get("segments").list();
    assert_eq!(segments.len(), snapshot.segments.len());
    for (theirs, ours) in segments.iter().zip(&snapshot.segments) {
        assert_eq!(theirs.get("total_size").number(), ours.size.get());
        assert_eq!(theirs.get("active_size").number(), ours.active().get());
        assert!(theirs.get("device").number() < traces.len() as u64, "it has a history");
        assert_eq!(theirs.get("blocks").list().len(), ours.blocks.len());
    }
}

#[test]
fn the_viewer_reads_what_we_write_of_real_files() {
    for name in ["streams_and_pools", "train_expandable", "oom_fragmentation", "host"] {
        check(&read(&bytes(name)).unwrap());
    }
}

#[test]
fn what_we_write_has_the_keys_that_pytorch_writes() {
    let theirs = unpickle(&bytes("train_expandable"));
    let ours = unpickle(&written(&read(&bytes("train_expandable")).unwrap()));
    let mut expected = theirs.keys();
    expected.push("freeboard".to_owned());
    expected.sort();
    assert_eq!(ours.keys(), expected);
    for path in [
        &["segments"][..],
        &["segments", "blocks"],
        &["device_traces", ""],
        &["external_annotations"],
    ] {
        let first = |whole: &Object| {
            path.iter().fold(whole.clone(), |at, key| {
                let list = if key.is_empty() { at } else { at.get(key) };
                list.list()[0].clone()
            })
        };
        assert_eq!(first(&ours).keys(), first(&theirs).keys(), "{path:?}");
    }
}
