//! The format read, written, and misused.

use std::fs;
use std::io::Write;
use std::path::PathBuf;

use freeboard_units::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;

use super::{OpKind, Problem, Trace, TraceError};

const EXAMPLE: &str = "# a small program\n# step 0 length 5\na 7 1024 0\r\n\n  a\t900 2 3 # note\n\
    r 7 3\nf 7\n#step\na 7 8 1\ne\n";

fn text_of(trace: &Trace) -> Vec<u8> {
    let mut text = Vec::new();
    trace.write(&mut text).unwrap();
    text
}

fn parse(text: impl AsRef<[u8]>) -> Result<Trace, TraceError> {
    Trace::parse("test", text.as_ref())
}

/// A folder of its own for a test, under the system's temporary one.
fn folder(name: &str) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("freeboard-{name}-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    folder
}

#[test]
fn a_trace_is_read_with_its_sums_steps_and_lines() {
    let trace = parse(EXAMPLE).unwrap();
    let kinds: Vec<_> = trace.ops.iter().map(|op| (op.line, op.kind)).collect();
    let allocate = |slot, size, stream| OpKind::Allocate { slot, size: Bytes::new(size), stream };
    assert_eq!(
        kinds,
        [
            (3, allocate(0, 1024, 0)),
            (5, allocate(1, 2, 3)),
            (6, OpKind::RecordUse { slot: 0, stream: 3 }),
            (7, OpKind::Free { slot: 0 }),
            (9, allocate(0, 8, 1)),
            (10, OpKind::EmptyCache),
        ]
    );
    assert_eq!((trace.slots, trace.streams, trace.allocs, trace.frees), (2, 4, 3, 1));
    assert_eq!(trace.peak_requested, Bytes::new(1026));
    let steps: Vec<_> = trace.steps.iter().map(|it| (it.line, it.op_index, &*it.text)).collect();
    assert_eq!(steps, [(2, 0, "0 length 5"), (8, 4, "")]);
    assert_eq!(trace.comments[0].text, "a small program");
}

#[test]
fn operations_are_small() {
    assert!(size_of::<super::Op>() <= 24);
}

#[test]
fn slips_are_named_with_their_line_and_remedy() {
    for (text, words) in [
        ("alloc 1 2 3", "line 1: unknown operation 'alloc': a line starts with a (allocate)"),
        ("\n\nA 1 2 3", "line 3: unknown operation 'A'"),
        ("a 1 2", "line 1: the stream is missing: write 'a ID BYTES STREAM'"),
        ("a # 1 2 3", "line 1: the id is missing"),
        ("f", "line 1: the id is missing: write 'f ID'"),
        ("a 1 -2 0", "the size '-2' is no number: write 'a ID BYTES STREAM' with plain"),
        ("a 1 2k 0", "the size '2k' is no number"),
        ("a 1 9223372036854775808 0", "is too large: the largest is 9223372036854775807"),
        ("a 18446744073709551616 1 0", "the id '18446744073709551616' is too large"),
        ("a 1 1 65536", "the stream '65536' is too large: the largest is 65535"),
        ("a 1 1 0\nf 1 2", "line 2: '2' follows a complete line: write 'f ID'"),
        ("a 1 1 0\ne f 1", "line 2: 'f' follows a complete line: write 'e'"),
        ("a 1 1 0\n\na 1 1 0", "line 3: id 1 is live since line 1: free it first"),
        ("a 1 1 0\nf 1\nf 1", "line 3: id 1 is not live: it was freed before"),
        ("r 5 1", "line 1: id 5 is not live"),
        ("a 1 1 0\n\u{1}\u{ff} 7", "unknown operation '\\u{1}ÿ'"),
        ("", "test holds no operation: a trace has lines such as"),
        ("# step 1\n\n", "test holds no operation"),
    ] {
        let error = parse(text).unwrap_err().to_string();
        assert!(error.contains(words), "{text:?} gives: {error}");
    }
}

#[test]
fn long_words_are_cut_in_messages() {
    let error = parse("x".repeat(100)).unwrap_err();
    let TraceError::Line { problem: Problem::UnknownOperation { word }, .. } = error else {
        panic!("{error}");
    };
    assert_eq!(word, "x".repeat(32) + "…");
}

#[test]
fn limits_are_inclusive_and_the_peak_saturates() {
    let largest = i64::MAX;
    let text = format!("a 18446744073709551615 {largest} 65535\na 0 {largest} 0\na 1 0 0\n");
    let trace = parse(&text).unwrap();
    assert_eq!(trace.peak_requested, Bytes::new(u64::MAX - 1));
    assert_eq!((trace.slots, trace.streams), (3, 65_536));
    let more = parse(format!("{text}a 2 {largest} 0")).unwrap();
    assert_eq!(more.peak_requested, Bytes::MAX);
}

#[test]
fn sparse_and_dense_ids_get_slots_in_order_of_appearance() {
    let trace = parse("a 900000000 1 0\na 0 1 0\na 3 1 0\nf 900000000\na 900000000 1 0").unwrap();
    let slots: Vec<_> = trace
        .ops
        .iter()
        .map(|op| match op.kind {
            OpKind::Allocate { slot, .. } | OpKind::Free { slot } => slot,
            _ => unreachable!(),
        })
        .collect();
    assert_eq!(slots, [0, 1, 2, 0, 0]);
}

#[test]
fn snapshots_are_told_from_traces() {
    let pickle = b"\x80\x02}q\x00";
    for content in [pickle.to_vec(), gzip(pickle)] {
        let error = parse(content).unwrap_err().to_string();
        assert!(error.contains("is a PyTorch snapshot, not a trace"), "{error}");
        assert!(error.contains("freeboard convert FILE -o x.trace --to trace"), "{error}");
    }
}

fn gzip(content: &[u8]) -> Vec<u8> {
    let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packer.write_all(content).unwrap();
    packer.finish().unwrap()
}

#[test]
fn compression_is_told_by_content_and_damage_is_named() {
    let expected = parse(EXAMPLE).unwrap();
    let (first, second) = EXAMPLE.as_bytes().split_at(40);
    let zstd = zstd::encode_all(EXAMPLE.as_bytes(), 1).unwrap();
    let members = [gzip(first), gzip(second)].concat();
    assert_eq!(parse(&members).unwrap(), expected);
    assert_eq!(parse(&zstd).unwrap(), expected);
    for (content, format) in [(gzip(EXAMPLE.as_bytes()), "gzip"), (zstd, "zstd")] {
        let error = parse(&content[..content.len() - 6]).unwrap_err().to_string();
        assert!(error.starts_with(&format!("test is no sound {format} file")), "{error}");
    }
}

#[test]
fn files_are_saved_as_their_ending_says_and_named_without_it() {
    let folder = folder("save");
    let trace = parse(EXAMPLE).unwrap();
    for (file, magic) in
        [("run.trace", "# a "), ("run.trace.gz", "\u{1f}"), ("run.trace.zst", "\u{28}")]
    {
        let path = folder.join(file);
        trace.save(&path).unwrap();
        assert!(fs::read(&path).unwrap().starts_with(magic.as_bytes()), "{file}");
        let back = Trace::read(&path).unwrap();
        assert_eq!((&*back.name, back.allocs), ("run", trace.allocs));
        assert_eq!(text_of(&back), text_of(&trace));
    }
    let left: Vec<_> = fs::read_dir(&folder).unwrap().collect();
    assert_eq!(left.len(), 3, "temporary files are gone: {left:?}");
    fs::remove_dir_all(folder).unwrap();
}

#[test]
fn missing_files_and_folders_are_named() {
    let folder = folder("missing");
    let error = Trace::read(folder.join("none.trace")).unwrap_err().to_string();
    assert!(error.contains("none.trace") && error.starts_with("cannot read"), "{error}");
    let trace = parse(EXAMPLE).unwrap();
    let error = trace.save(folder.join("no/folder.trace")).unwrap_err().to_string();
    assert!(error.starts_with("cannot write"), "{error}");
    // A folder stands where the file should: the rename fails and leaves nothing behind.
    let error = trace.save(&folder).unwrap_err();
    assert!(matches!(error, TraceError::Write { .. }), "{error}");
    fs::remove_dir_all(folder).unwrap();
}

#[test]
#[should_panic(expected = "allocation 0 is not live")]
fn a_builder_refuses_a_second_free() {
    let mut program = Trace::builder();
    let id = program.alloc(Bytes::new(1), 0);
    program.free(id);
    program.free(id);
}

/// A program made of choices: (what, which or how large, stream).
fn program(choices: &[(u8, u64, u16)]) -> Trace {
    let (mut trace, mut live) = (Trace::builder(), Vec::new());
    for &(what, number, stream) in choices {
        let index = usize::try_from(number).unwrap() % live.len().max(1);
        match what {
            0 if !live.is_empty() => trace.free(live.swap_remove(index)),
            1 if !live.is_empty() => trace.record(live[index], stream),
            2 => trace.empty_cache(),
            3 => trace.step(&format!(" {number}\nlength {stream}\t")),
            4 => trace.comment(&format!("seen {number}\nand {stream}")),
            5 => trace.comment(""),
            _ => live.push(trace.alloc(Bytes::new(number), stream)),
        }
    }
    trace.alloc(Bytes::new(1), 0);
    trace.finish("test")
}

fn choices() -> impl Strategy<Value = Vec<(u8, u64, u16)>> {
    vec((0_u8..10, 0_u64..1 << 63, any::<u16>()), 0..200)
}

proptest! {
    #[test]
    fn what_is_written_reads_back_equal(choices in choices()) {
        let trace = program(&choices);
        let text = text_of(&trace);
        prop_assert_eq!(parse(&text).unwrap(), trace);
        prop_assert_eq!(text_of(&parse(&text).unwrap()), text);
    }

    #[test]
    fn no_bytes_make_the_reader_panic(
        content in vec(prop_oneof![any::<u8>(), 0x30_u8..0x3a, Just(b' '), Just(b'\n'), Just(b'a')], 0..300)
    ) {
        drop(parse(&content));
        for magic in [&[0x1f, 0x8b, 8, 0][..], &[0x28, 0xb5, 0x2f, 0xfd]] {
            drop(parse([magic, &content].concat()));
        }
    }

    #[test]
    fn no_edit_of_a_trace_makes_the_reader_panic(
        choices in choices(),
        edits in vec((any::<usize>(), any::<u8>(), 0_u8..3), 1..8),
        packed in 0..3,
    ) {
        let text = text_of(&program(&choices));
        let mut content = match packed {
            0 => text,
            1 => gzip(&text),
            _ => zstd::encode_all(&*text, 1).unwrap(),
        };
        for (at, byte, edit) in edits {
            let at = at % content.len().max(1);
            match edit {
                0 if at < content.len() => content[at] = byte,
                1 => content.insert(at, byte),
                _ => content.truncate(at.max(1)),
            }
        }
        if let Ok(trace) = parse(&content) {
            // What was read can be written, and then reads back the same but for its lines.
            let again = parse(text_of(&trace)).unwrap();
            prop_assert_eq!(text_of(&again), text_of(&trace));
            prop_assert_eq!(again.peak_requested, trace.peak_requested);
        }
    }
}
