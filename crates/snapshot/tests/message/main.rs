//! Messages in logs: every wording with its exact numbers, and every way a log can hold them.
#![allow(clippy::unwrap_used, reason = "a test that cannot read its data has failed")]

mod any;
mod show;

use std::fmt::Write;
use std::io::{self, BufReader, Read};

use freeboard_snapshot::message::{self, Fault, HostCause, Kind, Message, Messages, Phase};

use show::{log, logs, show};

#[test]
fn every_wording_gives_its_exact_numbers() {
    let mut text = String::new();
    for (name, log) in logs() {
        writeln!(text, "== {name}").unwrap();
        for message in message::find(&log) {
            writeln!(text, "{}", show(&message)).unwrap();
        }
    }
    let expected = include_str!("../data/messages.expected");
    for (line, (is, should)) in (1..).zip(text.lines().zip(expected.lines())) {
        assert_eq!(is, should, "line {line} of messages.expected");
    }
    assert_eq!(text.lines().count(), expected.lines().count());
}

#[test]
fn a_message_is_put_together_from_lines_of_any_width() {
    for name in ["pytorch-2.1", "pytorch-2.6-others", "pytorch-1.13-limit", "mps", "xpu"] {
        let log = log(name);
        let line = log.lines().next().unwrap();
        let whole = message::find(line).remove(0);
        for width in 60..200 {
            let letters: Vec<char> = line.chars().collect();
            let broken: Vec<String> =
                letters.chunks(width).map(|row| row.iter().collect()).collect();
            for end in ["\n", "\r\n"] {
                let found = message::find(&broken.join(end));
                assert_eq!((found.len(), &found[0].facts), (1, &whole.facts), "{name} at {width}");
                assert!(!found[0].truncated, "{name} at {width}");
            }
        }
    }
}

#[test]
fn lines_of_two_ranks_in_turn_are_told_apart() {
    let log = log("pytorch-2.1");
    let (message, other) = (log.trim_end(), log.replace("9.30 GiB", "5.00 GiB"));
    let rows = |rank: u32, text: &str| -> Vec<String> {
        let row = |row: &[u8]| format!("[rank{rank}]: {}", std::str::from_utf8(row).unwrap());
        text.trim_end().as_bytes().chunks(100).map(row).collect()
    };
    let turns: Vec<String> = rows(0, message)
        .into_iter()
        .zip(rows(1, &other))
        .flat_map(|(first, second)| [first, second])
        .collect();
    let found = message::find(&turns.join("\n"));
    let used = |message: &Message| (message.rank, message.facts.process.unwrap().to_string());
    let expected = [(Some(0), "9.30 GiB".to_owned()), (Some(1), "5.00 GiB".to_owned())];
    assert_eq!(found.iter().map(used).collect::<Vec<_>>(), expected);
}

#[test]
fn what_is_not_about_memory_is_told_only_where_nothing_else_is() {
    let fault = "RuntimeError: CUDA error: device-side assert triggered\n";
    let memory = "RuntimeError: CUDA error: out of memory\n";
    let assert = Kind::NotMemory { what: Fault::DeviceAssert };
    assert_eq!(message::find(fault)[0].kind, assert);
    let both = message::find(&[fault, memory].concat());
    assert_eq!((both.len(), both[0].kind), (1, Kind::Driver));
    let mut kinds =
        vec![assert, Kind::Device, Kind::RefusedEarly, Kind::Driver, Kind::SharedMemory];
    for cause in [HostCause::Allocation, HostCause::Pinned, HostCause::Killed, HostCause::Signal9] {
        kinds.push(Kind::Host { cause });
    }
    assert!(kinds.iter().all(|kind| kind.advice().ends_with('.')));
}

#[test]
fn the_first_message_of_each_rank_counts() {
    let log = log("pytorch-2.6-two-ranks");
    let found = message::find(&log);
    let firsts = message::firsts(&found);
    assert_eq!(firsts.iter().map(|message| message.line).collect::<Vec<_>>(), [12, 13]);
    assert_eq!(firsts[0].phase, Some(Phase::Optimizer));
}

#[test]
fn digits_of_the_next_line_are_no_part_of_a_number() {
    let size = |log: &str| message::find(log)[0].facts.requested.map(freeboard_units::Bytes::get);
    let pool =
        "thread 'main' panicked at memory_manage.rs: No pool handles allocation of size 4110";
    assert_eq!(size(&format!("{pool}\n41792 steps\n")), Some(4110));
    assert_eq!(size(&format!("{pool}\n")), Some(4110));
    assert_eq!(size(pool), None, "there may have been more");
    let short = "CUDA out of memory. Tried to allocate 2\n0.00 MiB. GPU";
    assert_eq!(size(short), None, "no terminal is that narrow");
    let long = format!("{pool}{}", "1".repeat(100_000));
    assert_eq!(size(&long), None);
}

/// Gives a few bytes at a time.
struct Drops<'a>(&'a [u8], usize);

impl Read for Drops<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = buffer.len().min(self.1);
        self.0.read(&mut buffer[..count])
    }
}

#[test]
fn long_logs_are_read_as_short_ones() {
    let noise = "step 7 loss 0.5 \u{fc}ber \u{2588}\u{2588} memory 61.2 GiB\n";
    let (all, mut whole, mut lines) = (logs(), Vec::new(), 0);
    let mut expected = Vec::new();
    for (index, (name, log)) in all.iter().enumerate() {
        // Messages fall on every place of the window, among lines of 1 byte to 300 KiB.
        let padding = noise.repeat(500 * (index % 7) + 100);
        let long = if index % 5 == 0 { "x".repeat(300 << 10) + "\n" } else { String::new() };
        whole.extend([padding.as_bytes(), b"\xff\xfe\n", long.as_bytes(), b"\n"].concat());
        lines = memchr::memchr_iter(b'\n', &whole).count();
        let mut text = noise.repeat(100) + "\n";
        let before = text.lines().count();
        whole.extend(text.as_bytes());
        text += log;
        let found: Vec<Message> = Messages::new(text.as_bytes()).map(Result::unwrap).collect();
        expected.extend(found.into_iter().map(|mut message| {
            message.line = message.line - before + lines + before;
            (name.clone(), message)
        }));
        whole.extend(log.as_bytes());
        whole.extend(noise.repeat(20).as_bytes());
    }
    assert!(whole.len() > 4 << 20 && lines > 10_000);
    for reader in [1 << 16, 4099, 97] {
        let found = Messages::new(BufReader::with_capacity(reader, Drops(&whole, reader)));
        let mut expected = expected.iter();
        for message in found {
            let (name, should) = expected.next().unwrap();
            assert_eq!(&message.unwrap(), should, "{name} read {reader} bytes at a time");
        }
        assert_eq!(expected.count(), 0);
    }
}

#[test]
fn an_error_of_the_reader_is_passed_on_and_ends_the_log() {
    struct Fails;
    impl Read for Fails {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::other("the disk is gone"))
        }
    }
    let begun = b"CUDA error: out of memory\n".chain(Fails);
    let mut messages = Messages::new(BufReader::new(begun));
    assert_eq!(messages.next().unwrap().unwrap_err().to_string(), "the disk is gone");
    assert!(messages.next().is_none());
}
