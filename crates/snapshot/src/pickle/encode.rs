//! [`Encoder`]: values as opcodes, each text, frame, stack and pool once.

use std::collections::HashMap;
use std::io::{self, Write};

use crate::model::Snapshot;
use crate::names::{Frame, NameId, PoolId, StackId};

use super::key::{self, WORDS};

/// How much is gathered before it is written.
const FULL: usize = 64 << 10;
const UNKNOWN: u32 = u32::MAX;

/// Each text, frame, stack and pool has a number in the file's memo once it was written.
pub(super) struct Encoder<'s, W> {
    to: W,
    bytes: Vec<u8>,
    snapshot: &'s Snapshot,
    memo: u32,
    words: Vec<u32>,
    names: Vec<u32>,
    stacks: Vec<u32>,
    frames: HashMap<Frame, u32>,
    pools: HashMap<PoolId, u32>,
    texts: HashMap<String, u32>,
}

/// A number that no such file can hold.
pub(super) fn out_of_range(what: &str, number: u64) -> io::Error {
    let text = format!("{what} {number} is larger than a snapshot file can say");
    io::Error::new(io::ErrorKind::InvalidInput, text)
}

impl<'s, W: Write> Encoder<'s, W> {
    pub(super) fn new(snapshot: &'s Snapshot, to: W) -> Self {
        Self {
            to,
            bytes: b"\x80\x04".to_vec(),
            snapshot,
            memo: 0,
            words: vec![UNKNOWN; WORDS.len()],
            names: vec![UNKNOWN; snapshot.names.len()],
            stacks: vec![UNKNOWN; snapshot.stacks.len()],
            frames: HashMap::new(),
            pools: HashMap::new(),
            texts: HashMap::new(),
        }
    }

    pub(super) fn finish(mut self) -> io::Result<()> {
        self.bytes.push(b'.');
        self.to.write_all(&self.bytes)?;
        self.to.flush()
    }

    pub(super) fn dict(&mut self) {
        self.bytes.extend_from_slice(b"}(");
    }

    pub(super) fn list(&mut self) {
        self.bytes.push(b']');
    }

    pub(super) fn mark(&mut self) {
        self.bytes.push(b'(');
    }

    /// Ends a dictionary.
    pub(super) fn set(&mut self) -> io::Result<()> {
        self.bytes.push(b'u');
        self.drain()
    }

    /// Ends a run of a list's entries.
    pub(super) fn append(&mut self) -> io::Result<()> {
        self.bytes.push(b'e');
        self.drain()
    }

    fn drain(&mut self) -> io::Result<()> {
        if self.bytes.len() >= FULL {
            self.to.write_all(&self.bytes)?;
            self.bytes.clear();
        }
        Ok(())
    }

    pub(super) fn none(&mut self) {
        self.bytes.push(b'N');
    }

    pub(super) fn flag(&mut self, flag: bool) {
        self.bytes.push(if flag { 0x88 } else { 0x89 });
    }

    pub(super) fn fraction(&mut self, number: f64) {
        self.bytes.push(b'G');
        self.bytes.extend_from_slice(&number.to_be_bytes());
    }

    /// A whole number in as few bytes as its value needs.
    pub(super) fn number(&mut self, number: i64) {
        if let Ok(byte) = u8::try_from(number) {
            self.bytes.extend_from_slice(&[b'K', byte]);
        } else if let Ok(number) = u16::try_from(number) {
            self.bytes.push(b'M');
            self.bytes.extend_from_slice(&number.to_le_bytes());
        } else if let Ok(number) = i32::try_from(number) {
            self.bytes.push(b'J');
            self.bytes.extend_from_slice(&number.to_le_bytes());
        } else {
            // Bytes above the highest that differs from the sign, but for the sign itself.
            let spare = (number ^ (number >> 63)).leading_zeros().saturating_sub(1) / 8;
            let length = 8 - spare as usize;
            self.bytes.push(0x8a);
            self.bytes.extend_from_slice(&[8 - u8::try_from(spare).unwrap_or(0)]);
            self.bytes.extend_from_slice(&number.to_le_bytes()[..length]);
        }
    }

    fn get(&mut self, number: u32) {
        if let Ok(byte) = u8::try_from(number) {
            self.bytes.extend_from_slice(&[b'h', byte]);
        } else {
            self.bytes.push(b'j');
            self.bytes.extend_from_slice(&number.to_le_bytes());
        }
    }

    /// Gives what was written last the next number.
    fn keep(&mut self) -> io::Result<u32> {
        self.bytes.push(0x94);
        let number = self.memo;
        self.memo = number.checked_add(1).ok_or_else(|| out_of_range("count", u64::MAX))?;
        Ok(number)
    }

    fn new_text(&mut self, text: &str) -> io::Result<u32> {
        if let Ok(length) = u8::try_from(text.len()) {
            self.bytes.extend_from_slice(&[0x8c, length]);
        } else {
            let length = text.len() as u64;
            let short = u32::try_from(length).map_err(|_| out_of_range("text length", length))?;
            self.bytes.push(b'X');
            self.bytes.extend_from_slice(&short.to_le_bytes());
        }
        self.bytes.extend_from_slice(text.as_bytes());
        self.keep()
    }

    #[inline]
    pub(super) fn word(&mut self, word: u32) -> io::Result<()> {
        let number = self.words[word as usize];
        if number == UNKNOWN {
            self.words[word as usize] = self.new_text(WORDS[word as usize])?;
        } else {
            self.get(number);
        }
        Ok(())
    }

    #[inline]
    pub(super) fn name(&mut self, name: NameId) -> io::Result<()> {
        match self.names.get(name.index()).copied() {
            // A number that was never given is the empty name.
            None => self.word(key::NOTHING)?,
            Some(UNKNOWN) => {
                let snapshot = self.snapshot;
                self.names[name.index()] = self.new_text(snapshot.names.get(name))?;
            }
            Some(number) => self.get(number),
        }
        Ok(())
    }

    pub(super) fn text(&mut self, text: &str) -> io::Result<()> {
        if let Some(&number) = self.texts.get(text) {
            self.get(number);
        } else {
            let number = self.new_text(text)?;
            self.texts.insert(text.to_owned(), number);
        }
        Ok(())
    }

    pub(super) fn pool(&mut self, pool: PoolId) -> io::Result<()> {
        if let Some(&number) = self.pools.get(&pool) {
            self.get(number);
            return Ok(());
        }
        for number in [pool.0, pool.1] {
            self.number(i64::try_from(number).map_err(|_| out_of_range("pool", number))?);
        }
        self.bytes.push(0x86);
        let number = self.keep()?;
        self.pools.insert(pool, number);
        Ok(())
    }

    #[inline]
    pub(super) fn stack(&mut self, stack: StackId) -> io::Result<()> {
        // A number that was never given is the empty stack.
        let stack = if stack.index() < self.stacks.len() { stack } else { StackId::default() };
        let number = self.stacks[stack.index()];
        if number == UNKNOWN {
            self.stacks[stack.index()] = self.new_stack(stack)?;
        } else {
            self.get(number);
        }
        Ok(())
    }

    fn new_stack(&mut self, stack: StackId) -> io::Result<u32> {
        self.list();
        let number = self.keep()?;
        let snapshot = self.snapshot;
        let mut frames = snapshot.stacks.get(stack).peekable();
        while frames.peek().is_some() {
            self.mark();
            for &frame in frames.by_ref().take(1000) {
                self.frame(frame)?;
            }
            self.append()?;
        }
        Ok(number)
    }

    fn frame(&mut self, frame: Frame) -> io::Result<()> {
        if let Some(&number) = self.frames.get(&frame) {
            self.get(number);
            return Ok(());
        }
        self.bytes.push(b'}');
        let number = self.keep()?;
        self.mark();
        self.word(key::NAME)?;
        self.name(frame.function)?;
        self.word(key::FILENAME)?;
        self.name(frame.file)?;
        self.word(key::LINE)?;
        // PyTorch's "no line" is −1 without a sign; a longer number is more than viewers read.
        self.number(frame.line.cast_signed());
        self.frames.insert(frame, number);
        self.set()
    }
}
