//! Files that are cut, wrong or made to do harm: each gets an error that says where and what to do.

use std::io::{self, Read};

use freeboard_snapshot::pickle::{self, PickleError, ReadOptions};
use freeboard_units::Bytes;

use crate::data::{bytes, read};

/// A pickle of protocol 4 from its parts.
fn pickled(parts: &[&[u8]]) -> Vec<u8> {
    [b"\x80\x04", &parts.concat()[..], b"."].concat()
}

fn text(text: &str) -> Vec<u8> {
    [&[0x8c, u8::try_from(text.len()).unwrap()], text.as_bytes()].concat()
}

/// The opcodes of `{"device_traces": [[{...}, {"action": "alloc", "addr": 1, "size": <size>}]]}`.
fn with_size(size: &[u8]) -> Vec<u8> {
    let event = |size: &[u8]| {
        let fields = [text("action"), text("alloc"), text("addr"), b"K\x01".into(), text("size")];
        [b"}(", &fields.concat()[..], size, b"u"].concat()
    };
    let events = [event(b"K\x02"), event(size)].concat();
    let traces = [b"](](", &events[..], b"ee"].concat();
    pickled(&[b"}(", &text("device_traces"), &traces, b"u"])
}

#[track_caller]
fn error(bytes: &[u8]) -> PickleError {
    read(bytes).expect_err("it is no sound snapshot")
}

#[test]
fn a_wrong_number_is_named_with_its_place_and_what_it_should_be() {
    assert_eq!(read(&with_size(b"K\x07")).unwrap().histories[0].events[1].size, Bytes::new(7));
    let cases: [(&[u8], &str); 8] = [
        (b"J\xff\xff\xff\xff", "-1"),
        (b"\x8a\x09\0\0\0\0\0\0\0\x80\0", "9223372036854775808"),
        (b"G\x3f\xf8\0\0\0\0\0\0", "the fraction 1.5"),
        (b"\x88", "True"),
        (b"N", "None"),
        (b"\x8c\x0212", "the text \"12\""),
        (b"K\x01K\x02\x86", "a tuple"),
        (b"]", "a list"),
    ];
    for (size, found) in cases {
        let message = error(&with_size(size)).to_string();
        // The place is that of the opcode that made the value: the last one of a tuple's.
        let at = if found == "a tuple" { 92 } else { 88 };
        let start = format!("device_traces[0][1].size (byte {at}) is {found}, expected a whole");
        assert!(message.starts_with(&start), "{message}");
        assert!(message.ends_with("dump anew with torch.cuda.memory._dump_snapshot"), "{message}");
    }
    let message = error(&with_size(b"\x8a\x0a0123456789")).to_string();
    assert!(message.starts_with("byte 88: a whole number of 10 bytes"), "{message}");
}

#[test]
fn segments_and_blocks_that_do_not_fit_are_named() {
    let block = |address: u8, size: u8| {
        let fields = [
            text("address"),
            vec![b'K', address],
            text("size"),
            vec![b'K', size],
            text("state"),
            text("inactive"),
        ];
        [b"}(", &fields.concat()[..], b"u"].concat()
    };
    let file = |total: u8, blocks: &[Vec<u8>]| {
        let fields = [text("address"), b"K\x10".into(), text("total_size"), vec![b'K', total]];
        let blocks = [b"](", &blocks.concat()[..], b"e"].concat();
        let segment = [b"}(", &fields.concat()[..], &text("blocks"), &blocks, b"u"].concat();
        pickled(&[b"}(", &text("segments"), b"](", &segment, b"eu"])
    };
    assert_eq!(read(&file(8, &[block(16, 4), block(20, 4)])).unwrap().segments[0].blocks.len(), 2);
    for (total, second, place) in [
        (8, block(21, 3), "segments[0].blocks[1].address"),
        (8, block(19, 5), "segments[0].blocks[1].address"),
        (8, block(20, 5), "segments[0].blocks[1].size"),
        (9, block(20, 4), "segments[0].blocks (byte"),
    ] {
        let message = error(&file(total, &[block(16, 4), second])).to_string();
        assert!(message.starts_with(place), "{message}");
    }
}

#[test]
fn code_is_refused_by_name_and_place() {
    let cases: [(&[u8], &str); 13] = [
        (b"cos\nsystem\n", "GLOBAL"),
        (b")R", "REDUCE"),
        (b"}b", "BUILD"),
        (b"(ios\nsystem\n", "INST"),
        (b"(o", "OBJ"),
        (b")\x81", "NEWOBJ"),
        (b")\x92", "NEWOBJ_EX"),
        (b"\x8c\x02os\x8c\x06system\x93", "STACK_GLOBAL"),
        (b"\x82\x01", "EXT1"),
        (b"\x83\x01\x01", "EXT2"),
        (b"\x84\x01\x01\x01\x01", "EXT4"),
        (b"P1\n", "PERSID"),
        (b"NQ", "BINPERSID"),
    ];
    for (opcodes, name) in cases {
        let error = error(&pickled(&[opcodes]));
        let PickleError::Code { offset, opcode } = error else { panic!("{name}: {error}") };
        assert_eq!(opcode, name);
        assert!(offset >= 2 && error.to_string().contains("refused: the file wants to run code"));
    }
}

#[test]
fn what_no_snapshot_has_is_refused() {
    for (opcodes, what) in [
        (&b"C\x01x"[..], "a text of bytes"),
        (b"\x96\0\0\0\0\0\0\0\0", "an array of bytes"),
        (b"\x97", "a buffer kept outside"),
        (b"\x8f", "a set"),
        (b"\x80\x06", "pickle protocol 6"),
    ] {
        let message = error(&pickled(&[opcodes])).to_string();
        assert!(message.starts_with("byte 2: ") && message.contains(what), "{message}");
    }
    let message = error(&pickled(&[b"}"])).to_string();
    assert!(message.starts_with("this is a pickled dictionary without 'segments'"), "{message}");
    let message = error(&pickled(&[b"K\x05"])).to_string();
    assert!(message.starts_with("this is a pickle of 5"), "{message}");
}

#[test]
fn other_files_are_told_by_name() {
    for (start, what) in [
        (&b""[..], "an empty file"),
        (b"\x1f\x8b\x08\0\0", "a compressed file"),
        (b"\x28\xb5\x2f\xfd\0", "a compressed file"),
        (b"PK\x03\x04", "a zip archive, as torch.save writes"),
        (b"{\"segments\": []}", "text, perhaps JSON"),
    ] {
        let message = error(start).to_string();
        assert!(message.contains(what) && message.contains("_dump_snapshot"), "{message}");
    }
}

#[test]
fn a_cut_file_says_where_it_ends_and_what_is_missing() {
    let file = bytes("train_expandable");
    let cut = &file[..400_000];
    let message = error(cut).to_string();
    assert!(message.starts_with("the file ends at byte 400000, in device_traces[0]["), "{message}");
    assert!(message.contains("copy it again"), "{message}");
    let small = bytes("streams_and_pools");
    for length in 0..small.len() {
        assert!(read(&small[..length]).is_err(), "cut at {length}");
    }
}

#[test]
fn a_source_that_fails_is_told_with_its_place() {
    struct Failing(usize);
    impl Read for Failing {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let now = self.0.min(buffer.len());
            buffer[..now].fill(b'N');
            self.0 -= now;
            if now == 0 { Err(io::Error::other("the disk is gone")) } else { Ok(now) }
        }
    }
    let error = pickle::read(Failing(1000), &ReadOptions::default()).unwrap_err().to_string();
    assert!(error.starts_with("cannot read on after byte 1000: the disk is gone"), "{error}");
}

/// Few bytes that would take much memory or time: each ends soon, with an error.
#[test]
fn small_files_that_want_much_are_stopped() {
    let limited = |bytes: &[u8]| {
        let options = ReadOptions::default().with_memory(Bytes::mib(8));
        pickle::read(bytes, &options).expect_err("it is made to do harm").to_string()
    };
    // A memo number, a text and a list that are not there.
    assert!(limited(b"\x80\x04}r\xff\xff\xff\xff.").contains("a memo number skips others"));
    assert!(limited(b"\x80\x04X\xff\xff\xff\xffabc").contains("longer than 16 MiB"));
    assert!(limited(b"\x80\x04\x8d\xff\xff\xff\xff\xff\xff\xff\xffabc").contains("16 MiB"));
    assert!(limited(b"\x80\x04X\xff\xff\xff\x00abc").contains("ends at byte 10"));
    // Millions of objects, values, marks.
    for opcode in [b']', b'}', b'N', b'('] {
        let many = vec![opcode; 3 << 20];
        let opening = if opcode == b'}' { &b"\x80\x04"[..] } else { b"" };
        assert!(limited(&[opening, &many].concat()).contains("takes more than 8.00 MiB"));
    }
    // Depth costs nothing but room: lists in lists, tables in tables, settings too deep.
    let deep = [vec![b']'; 100_000], vec![b'a'; 99_999], b".".to_vec()].concat();
    assert!(error(&deep).to_string().contains("is a list, expected a list of segments"));
    let key = text("k");
    let table = [b"}", &key[..]].concat();
    let tables = |depth: usize| {
        let tables = [table.repeat(depth), b"N".to_vec(), b"s".repeat(depth)].concat();
        let settings = [&text("allocator_settings")[..], &tables].concat();
        pickled(&[b"}(", &text("segments"), b"]", &settings, b"u"])
    };
    assert!(read(&tables(4)).is_ok());
    assert!(error(&tables(100_000)).to_string().contains("in tables up to 4 deep"));
    // A long text in many settings.
    let long = [&b"X\0\0\x01\0"[..], &b"x".repeat(65536), b"\x94"].concat();
    let many: Vec<u8> =
        (0..100).flat_map(|i| [text(&i.to_string()), b"h\0".into()].concat()).collect();
    let settings =
        [&text("allocator_settings")[..], b"}(", &text("first"), &long, &many, b"u"].concat();
    let file = pickled(&[b"}(", &text("segments"), b"]", &settings, b"u"]);
    assert!(error(&file).to_string().contains("up to 1 MiB of settings"));
}

#[test]
fn objects_in_themselves_or_in_two_places_are_refused() {
    let cases: [&[u8]; 7] = [
        b"]\x942a",
        b"]\x94h\0a",
        b"]2a",
        b"](]\x94(}(\x8c\x06actionNuh\0e",
        b"}\x94\x8c\x06framesh\0s",
        b"](}2e",
        b"]\x94]h\0ah\0a",
    ];
    for opcodes in cases {
        let file = pickled(&[opcodes]);
        let error = error(&file).to_string();
        assert!(error.contains("byte") || error.starts_with("this is"), "{error}");
    }
}
