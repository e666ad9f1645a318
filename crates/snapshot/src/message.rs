//! [`Message`]: out-of-memory messages, and what looks like them, found in plain log text.
//!
//! [`find`] looks through a text, [`read`] through a reader, [`Messages`] gives one at a time. Marks
//! of launchers (`[rank3]:`, `3: `, `[1,3]<stderr>:`, `(TrainWorker pid=7)`), times, colours and
//! JSON escapes are looked through; a message that a terminal broke over lines is put together
//! again; of one that was cut off, the numbers that are there count and
//! [`truncated`](Message::truncated) is set.
//!
//! Sizes in messages have two decimals: a number of MiB is off by up to 5,243 bytes, one of GiB by
//! up to 5,368,710. Sums and differences of two are off by twice that.
//!
//! ```
//! use freeboard_snapshot::message::{self, Kind};
//!
//! let log = "[rank1]: torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 20.00 MiB. \
//!            GPU 1 has a total capacity of 79.15 GiB of which 12.31 MiB is free.";
//! let found = message::find(log);
//! assert_eq!((found[0].rank, found[0].kind, found[0].truncated), (Some(1), Kind::Device, true));
//! assert_eq!(found[0].facts.requested.map(|bytes| bytes.get()), Some(20 << 20));
//! ```

mod cursor;
mod driver;
mod fault;
mod host;
mod lines;
mod others;
mod pytorch;
mod scan;
mod traceback;

use std::collections::BTreeSet;
use std::io::{self, BufRead};

use memchr::memmem;
use serde::Serialize;

use crate::facts::Facts;
use cursor::Cursor;
pub use fault::Fault;
use lines::Gathered;
pub use scan::Messages;
pub use traceback::{Phase, Place};

/// The most messages that [`find`] and [`read`] give.
pub const MOST: usize = 10_000;

/// One message in a log.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Message {
    /// The line it is on, from 1.
    pub line: usize,
    /// The rank that wrote it, if the log says; a local rank where it says only that.
    pub rank: Option<u32>,
    /// The process that wrote it, where the launcher marks lines with it.
    pub pid: Option<u32>,
    /// The time before the line, as it is written there.
    pub time: Option<String>,
    /// The step that was told last before it.
    pub step: Option<u64>,
    /// What failed.
    pub kind: Kind,
    /// Whose words these are.
    pub origin: Origin,
    /// Which wording it is: `PyTorch 1.4 to 1.9`.
    pub wording: &'static str,
    /// Whether it breaks off.
    pub truncated: bool,
    /// The numbers in it. What the words do not say is `None`.
    pub facts: Facts,
    /// The innermost line of the program's own in the traceback above.
    pub place: Option<Place>,
    /// What the program was doing, by the names in the traceback.
    pub phase: Option<Phase>,
}

/// What failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub enum Kind {
    /// Device memory, with numbers.
    Device,
    /// Device memory, refused by a limit before the device was asked.
    RefusedEarly,
    /// Device memory: the driver's or a library's bare error.
    Driver,
    /// Memory of the machine.
    Host {
        /// How it showed.
        cause: HostCause,
    },
    /// Shared memory of the machine's processes, `/dev/shm`.
    SharedMemory,
    /// No lack of memory at all.
    NotMemory {
        /// What it is instead.
        what: Fault,
    },
}

/// How the machine's memory ran out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub enum HostCause {
    /// An allocation failed.
    Allocation,
    /// Pinned memory could not be had.
    Pinned,
    /// The system killed a process for its memory.
    Killed,
    /// A process died of signal 9, which may have had another sender.
    Signal9,
}

/// Whose words a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
#[expect(missing_docs, reason = "names of programs")]
pub enum Origin {
    PyTorch,
    Freeboard,
    Cudarc,
    Candle,
    Burn,
    Tch,
    TensorFlow,
    Xla,
    OnnxRuntime,
    Rmm,
    Ggml,
    Nccl,
    CudaLibrary,
    Driver,
    Kernel,
    System,
    Launcher,
    Python,
    Java,
}

impl Kind {
    /// Whether it is about memory of any kind.
    #[must_use]
    pub fn is_memory(self) -> bool {
        !matches!(self, Self::NotMemory { .. })
    }

    /// Whether it is about the device's memory.
    #[must_use]
    pub fn is_device(self) -> bool {
        matches!(self, Self::Device | Self::RefusedEarly | Self::Driver)
    }

    /// What it means and what to do, in one sentence.
    #[must_use]
    pub fn advice(self) -> &'static str {
        match self {
            Self::Device => "The device had no memory for the request.",
            Self::RefusedEarly => {
                "The limit on this process refused the request before the device was asked: raise \
                 per_process_memory_fraction or ask for less."
            }
            Self::Driver => {
                "The device had no memory, and whoever asked went past the caching allocator: leave \
                 some free for libraries and other processes."
            }
            Self::Host { cause: HostCause::Allocation } => {
                "The machine's memory ran out, not the device's: use fewer workers, or load less at \
                 once."
            }
            Self::Host { cause: HostCause::Pinned } => {
                "Pinned memory of the machine ran out, not the device's: pin less, and check ulimit \
                 -l."
            }
            Self::Host { cause: HostCause::Killed } => {
                "The system killed the process because the machine's or the job's memory ran out, \
                 not the device's: ask for more, or use fewer workers."
            }
            Self::Host { cause: HostCause::Signal9 } => {
                "The process was killed with signal 9, most often because the machine's memory ran \
                 out: the kernel's log says whether."
            }
            Self::SharedMemory => {
                "/dev/shm is full, not the device: enlarge it (docker: --shm-size), or use fewer \
                 DataLoader workers."
            }
            Self::NotMemory { what } => what.advice(),
        }
    }
}

/// The messages in a text, in order: see [`read`].
#[must_use]
pub fn find(text: &str) -> Vec<Message> {
    read(text.as_bytes()).unwrap_or_default() // a slice has no errors
}

/// The messages in a log, in order, at most [`MOST`].
///
/// Failures that are not about memory are told only where nothing else is.
///
/// # Errors
/// The reader's.
pub fn read(reader: impl BufRead) -> io::Result<Vec<Message>> {
    let mut memory = Vec::new();
    let mut others = Vec::new();
    for message in Messages::new(reader) {
        let message = message?;
        let list = if message.kind.is_memory() { &mut memory } else { &mut others };
        if list.len() < MOST {
            list.push(message);
        }
    }
    Ok(if memory.is_empty() { others } else { memory })
}

/// The first message of each rank: what comes after is most often its echo.
///
/// Where a rank has messages about device memory, the first of those.
#[must_use]
pub fn firsts(messages: &[Message]) -> Vec<&Message> {
    let mut seen = BTreeSet::new();
    let has_device = |rank: Option<u32>| {
        messages.iter().any(|message| message.rank == rank && message.kind.is_device())
    };
    let counts = |message: &&Message| message.kind.is_device() || !has_device(message.rank);
    messages.iter().filter(counts).filter(|message| seen.insert(message.rank)).collect()
}

/// A place where a message may begin.
struct Hit<'a> {
    window: &'a [u8],
    found: usize,
    /// The text without white space, where the find is in it, and where its line ends.
    text: &'a [u8],
    at: usize,
    line_end: usize,
    source: lines::Source,
}

impl<'a> Hit<'a> {
    fn before(&self) -> &'a [u8] {
        &self.text[..self.at]
    }

    fn after(&self) -> &'a [u8] {
        &self.text[self.at..]
    }

    fn cursor(&self) -> Cursor<'a> {
        Cursor::new(self.text, self.at)
    }

    /// What follows on the same line.
    fn line(&self) -> Cursor<'a> {
        Cursor::new(&self.text[..self.line_end], self.at)
    }

    /// The number at `text` that ends its line: digits below are no part of it.
    fn last_number(&self, text: &mut Cursor<'_>) -> Option<u64> {
        let own = self.text.get(text.at()..self.line_end).unwrap_or_default();
        let ends = !own.is_empty() && own.iter().all(u8::is_ascii_digit);
        if ends && self.line_end < self.text.len() {
            return Cursor::new(&[own, b"\n"].concat(), 0).number();
        }
        text.number()
    }

    /// What follows `words` in the lines just before, without white space, if this source said it.
    fn line_before(&self, words: &str) -> Vec<u8> {
        let start = self.found.saturating_sub(4 << 10);
        let near = &self.window[start..self.found];
        let Some(offset) = memmem::rfind(near, words.as_bytes()) else { return Vec::new() };
        let mut gathered = Gathered::new(self.window, start + offset + words.len());
        if gathered.prefix.source != self.source {
            return Vec::new();
        }
        gathered.text.split_off(gathered.at)
    }
}

/// What a family of wordings made of a hit.
struct Found {
    kind: Kind,
    origin: Origin,
    wording: &'static str,
    truncated: bool,
    facts: Facts,
    /// Where it ends in the text without white space.
    end: usize,
}

impl Found {
    fn new(kind: Kind, origin: Origin, wording: &'static str, end: usize) -> Self {
        Self { kind, origin, wording, truncated: false, facts: Facts::default(), end }
    }
}

/// The message at `found` in the window, and the parts of the window it takes up.
fn at(window: &[u8], found: usize) -> Option<(Message, Vec<(usize, usize)>)> {
    let gathered = Gathered::new(window, found);
    let (line, prefix) = (gathered.line, &gathered.prefix);
    let hit = Hit {
        window,
        found,
        text: &gathered.text,
        at: gathered.at,
        line_end: gathered.line_end(),
        source: prefix.source,
    };
    let families = [others::read, pytorch::read, host::read, fault::read, driver::read];
    let Found { mut kind, mut origin, wording, truncated, facts, end } =
        families.iter().find_map(|family| family(&hit))?;
    if hit.before().ends_with(b"Torch(\"CUDA") {
        origin = Origin::Tch;
    }
    let frames = traceback::frames(window, line, found, prefix.source);
    if kind == Kind::Driver && frames.first().is_some_and(pins) {
        kind = Kind::Host { cause: HostCause::Pinned };
    }
    let time = prefix.time.map(|(start, end)| &window[line + start..line + end]);
    let message = Message {
        line: 0,
        rank: prefix.source.rank.or_else(|| rank(window, line, found, kind)),
        pid: prefix.source.pid,
        time: time.map(|time| String::from_utf8_lossy(time).into_owned()),
        step: step(&window[found.saturating_sub(4 << 10)..found]),
        kind,
        origin,
        wording,
        truncated,
        facts,
        place: traceback::place(&frames),
        phase: traceback::phase(&frames),
    };
    Some((message, gathered.spans(end)))
}

/// Whether a frame asks for pinned memory.
fn pins(frame: &Place) -> bool {
    frame.function == "pin_memory"
        || frame.code.as_ref().is_some_and(|it| it.contains("pin_memory"))
}

/// The number behind the last of these words, with at most a few marks between.
fn number_behind(text: &[u8], word: &str) -> Option<u64> {
    memmem::rfind_iter(text, word.as_bytes()).find_map(|start| {
        let rest = &text[start + word.len()..];
        let gap = rest.iter().take(12).take_while(|byte| b" :=/'\"[(".contains(byte)).count();
        Cursor::new(rest, gap).number().filter(|_| gap > 0)
    })
}

/// A rank that is named in the line, or in the lines above where a launcher lists its dead.
fn rank(window: &[u8], line: usize, found: usize, kind: Kind) -> Option<u32> {
    let near = &window[line.max(found.saturating_sub(4 << 10))..found];
    let mut rank = number_behind(near, "rank").or_else(|| number_behind(near, "Rank"));
    if kind == (Kind::Host { cause: HostCause::Signal9 }) {
        let above = &window[found.saturating_sub(80)..found];
        let behind = &window[found..lines::line_end(window, found)];
        rank = rank
            .or_else(|| number_behind(above, " rank     "))
            .or_else(|| number_behind(behind, "local_rank"));
    }
    rank?.try_into().ok()
}

/// The step that was told last: `step 120`, `Step: 120`, or a progress bar's `| 120/1000 [`.
fn step(text: &[u8]) -> Option<u64> {
    let bar = || {
        memmem::rfind_iter(text, b"| ").find_map(|start| {
            let mut cursor = Cursor::new(text, start + 2);
            let number = cursor.number()?;
            (cursor.eat("/") && cursor.number().is_some() && cursor.eat(" [")).then_some(number)
        })
    };
    number_behind(text, "step").or_else(|| number_behind(text, "Step")).or_else(bar)
}
