//! What must not happen with any text, cut or changed or made up.
//!
//! More inputs: `PROPTEST_CASES=1000000 cargo test --release -p freeboard-snapshot --test message`.

use std::collections::BTreeSet;

use freeboard_snapshot::message::{self, Messages};
use proptest::prelude::*;

use crate::show::{log, logs, show, sizes};

/// Every size and number in a text, read in another way than the crate does.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "digits of a log")]
fn numbers(text: &str) -> BTreeSet<u64> {
    let squeezed: String = text.split_whitespace().collect();
    let bytes = squeezed.as_bytes();
    let mut numbers = BTreeSet::new();
    for start in 0..bytes.len() {
        let rest = &squeezed[start..];
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let inside = start > 0 && bytes[start - 1].is_ascii_digit();
        let Ok(number) = rest[..end].trim_end_matches('.').parse::<f64>() else { continue };
        let unit = rest[end..].chars().next().unwrap_or(' ');
        let shift = match unit {
            _ if inside => continue,
            'K' | 'k' => 10,
            'M' => 20,
            'G' => 30,
            'T' => 40,
            _ => 0,
        };
        numbers.insert((number * f64::from(1_u32 << (shift / 2)).powi(2)).round() as u64);
    }
    numbers
}

/// Whether a number stands in the text, or is a sum or a difference of two that do.
fn stands_in(number: u64, known: &BTreeSet<u64>) -> bool {
    let near =
        |wanted: u64| known.range(wanted.saturating_sub(2)..=wanted.saturating_add(2)).next();
    near(number).is_some()
        || known.iter().any(|&one| {
            number.checked_sub(one).is_some_and(|rest| near(rest).is_some())
                || number.checked_add(one).is_some_and(|whole| near(whole).is_some())
        })
}

#[test]
fn a_message_cut_off_anywhere_says_nothing_that_is_not_there() {
    for (name, log) in logs() {
        let whole = message::find(&log);
        for end in (0..log.len()).filter(|&end| log.is_char_boundary(end)) {
            let cut = &log[..end];
            for message in message::find(cut) {
                let known = numbers(cut);
                // TensorFlow gives a shape.
                let told = whole.iter().find(|told| told.line == message.line);
                for (fact, number) in sizes(&message.facts) {
                    let is_told = told.is_some_and(|told| {
                        name == "tensorflow" && sizes(&told.facts).contains(&(fact.clone(), number))
                    });
                    let is_there = is_told || stands_in(number, &known);
                    assert!(is_there, "{name} cut at {end}: {fact}={number} in {}", show(&message));
                }
                let device = message.facts.device.map(|device| device.get().into());
                assert!(device.is_none_or(|device| known.contains(&device)), "{name} at {end}");
            }
        }
    }
}

#[test]
fn what_is_cut_off_is_marked() {
    let log = log("pytorch-2.1");
    let words = "is reserved by PyTorch but unallocated.";
    let end = log.find(words).unwrap() + words.len();
    let start = log.find("Tried to allocate").unwrap() + 20;
    for cut in start..log.len() {
        let found = message::find(&log[..cut]);
        assert_eq!((found.len(), found[0].truncated), (1, cut < end), "{}", &log[..cut]);
    }
}

/// A log with bytes changed, taken out, doubled or put elsewhere.
fn mutated() -> impl Strategy<Value = Vec<u8>> {
    let logs: Vec<Vec<u8>> = logs().into_iter().map(|(_, log)| log.into_bytes()).collect();
    let edit = (any::<prop::sample::Index>(), 0..40_usize, 0..5_u8, any::<u8>());
    (prop::sample::select(logs), prop::collection::vec(edit, 0..12)).prop_map(|(mut log, edits)| {
        for (place, len, kind, byte) in edits {
            let at = place.index(log.len() + 1);
            let end = log.len().min(at + len);
            match kind {
                0 if at < log.len() => log[at] = byte,
                1 => drop(log.drain(at..end)),
                2 => log.insert(at, b"0123456789\n.\\\x1b"[usize::from(byte) % 14]),
                3 => {
                    let piece = log[at..end].to_vec();
                    let to = usize::from(byte) % (log.len() + 1);
                    log.splice(to..to, piece);
                }
                _ => log.truncate(end.max(1)),
            }
        }
        log
    })
}

fn check(log: &[u8]) {
    let lines = memchr::memchr_iter(b'\n', log).count() + 1;
    let mut last = 1;
    for message in Messages::new(log) {
        let message = message.unwrap();
        assert!((last..=lines).contains(&message.line), "{message:?}");
        assert!(sizes(&message.facts).iter().all(|(_, bytes)| i64::try_from(*bytes).is_ok()));
        last = message.line;
    }
}

proptest! {
    #[test]
    fn arbitrary_text_is_read(log in prop::collection::vec(any::<u8>(), 0..600)) {
        check(&log);
    }

    #[test]
    fn pieces_of_messages_in_any_order_are_read(
        pieces in prop::collection::vec((prop::sample::select(PIECES), any::<u32>()), 0..30)
    ) {
        let log: String =
            pieces.iter().map(|(piece, n)| piece.replace('#', &n.to_string())).collect();
        check(log.as_bytes());
    }

    #[test]
    fn changed_messages_are_read(log in mutated()) {
        check(&log);
    }
}

const PIECES: &[&str] = &[
    "CUDA out of memory. ",
    "Tried to allocate ",
    "#.00 MiB",
    "# bytes",
    "99999999999999999999# GiB",
    ". GPU # ",
    "has a total capacity of ",
    " of which ",
    " is free. ",
    "Process # has ",
    " memory in use. ",
    "Including non-PyTorch memory, this process has ",
    " allowed; ",
    "Of the allocated memory ",
    " is allocated by PyTorch, ",
    "with ",
    "and ",
    "(GPU #; ",
    " total capacity; ",
    " already allocated; ",
    " free; ",
    " cached)",
    "\n",
    "\r",
    "\\n",
    "[rank#]: ",
    "[1,#]<stderr>:",
    "#: ",
    "(W pid=#) ",
    "\x1b[#m",
    "12:00:# ",
    "  File \"a.py\", line #, in f",
    "    x.backward()",
    "OOM when allocating tensor with shape[#,#] and type float on device:GPU:#",
    "MPS backend out of memory (MPS allocated: ",
    ", other allocations: ",
    "_ALLOC_FAILED",
    "CUBLAS_STATUS",
    "RESOURCE_EXHAUSTED: ",
    "Failed to allocate request for ",
    "Out of memory: Killed process # (x)",
    "std::bad_alloc: out_of_memory: ",
    "(failed to allocate ",
    "exitcode: -9 (pid: #)",
    "Signal 9 (SIGKILL)",
    "would exceed allowed memory. (out of memory)",
    "Currently allocated     : ",
    "Requested    : ",
    "Allocation on device # ",
    "Preemptively rejecting allocation: requested ",
    "Allocation was preemptively rejected",
    "is allocated, ",
    " is reserved but unallocated",
    "\u{fc}",
    "; the largest free block for stream # has ",
    "| #/# [",
    "step #",
    "rank#",
    "DriverError(CUDA_ERROR_OUT_OF_MEMORY",
];
