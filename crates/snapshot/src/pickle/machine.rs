//! [`Machine`]: a pickle's opcodes, carried out on plain data and on nothing else.

use std::io::Read;

use crate::model::Snapshot;

use super::ReadOptions;
use super::builder::Builder;
use super::error::{Fault, PickleError, Result, malformed};
use super::input::Input;
use super::path::path;
use super::value::{Data, Kept, Value};

pub(super) struct Machine<R> {
    pub(super) input: Input<R>,
    pub(super) stack: Vec<Value>,
    /// How high the stack was at each mark.
    pub(super) marks: Vec<usize>,
    pub(super) builder: Builder,
    /// Where the opcode is that is carried out.
    pub(super) at: u64,
    options: ReadOptions,
}

/// What an opcode led to.
pub(super) enum Next {
    Go,
    Stop,
}

impl<R: Read> Machine<R> {
    pub(super) fn new(source: R, options: ReadOptions) -> Self {
        let (input, builder) = (Input::new(source), Builder::new());
        Self { input, stack: Vec::new(), marks: Vec::new(), builder, at: 0, options }
    }

    pub(super) fn run(mut self) -> Result<Snapshot> {
        self.check_start()?;
        loop {
            match self.step() {
                Ok(Next::Go) => {}
                Ok(Next::Stop) => break,
                Err(error) => {
                    let is_cut = error.is_cut();
                    let place = if is_cut { self.path(self.stack.len()) } else { String::new() };
                    return Err(error.within(place.trim_start_matches('.')));
                }
            }
        }
        let whole = self.pop()?;
        self.builder.finish(whole)
    }

    /// Files that people take for a snapshot are told by name.
    fn check_start(&mut self) -> Result<()> {
        while self.input.peek().len() < 4 && self.input.more()? {}
        let found = match self.input.peek() {
            [] => "an empty file",
            [0x1f, 0x8b, ..] | [0x28, 0xb5, 0x2f, 0xfd, ..] => "a compressed file, still packed",
            [b'P', b'K', ..] => "a zip archive, as torch.save writes",
            [b'{' | b'<' | b' ' | b'\n', ..] => "text, perhaps JSON or HTML",
            _ => return Ok(()),
        };
        Err(Fault::from(PickleError::NotASnapshot { found: found.to_owned() }))
    }

    /// One opcode costs as much as its bytes, so that once a buffer is often enough.
    #[cold]
    fn check_memory(&self) -> Result<()> {
        let stacks = self.stack.capacity() * size_of::<Value>() + self.marks.capacity() * 8;
        let (bytes, limit) = (stacks + self.builder.bytes(), self.options.memory);
        if bytes as u64 > limit.get() {
            return Err(Fault::from(PickleError::TooLarge { offset: self.input.offset(), limit }));
        }
        Ok(())
    }

    #[inline]
    fn step(&mut self) -> Result<Next> {
        if self.input.is_drained() {
            self.check_memory()?;
        }
        self.at = self.input.offset();
        match self.input.byte()? {
            b'h' => {
                let index = self.input.byte()?;
                self.get(u32::from(index))?;
            }
            b'j' => {
                let index = u32::from_le_bytes(self.input.array()?);
                self.get(index)?;
            }
            b'K' => {
                let number = self.input.byte()?;
                self.push(Data::Int(number.into()));
            }
            b'M' => {
                let number = u16::from_le_bytes(self.input.array()?);
                self.push(Data::Int(number.into()));
            }
            b'J' => {
                let number = i32::from_le_bytes(self.input.array()?);
                self.push(Data::Int(number.into()));
            }
            0x8a => {
                let length = self.input.byte()?;
                self.long(length.into())?;
            }
            0x94 => {
                let index = u32::try_from(self.builder.memo.len()).unwrap_or(u32::MAX);
                self.put(index)?;
            }
            0x8c => {
                let length = self.input.byte()?;
                self.text(length.into())?;
            }
            b'(' => self.marks.push(self.stack.len()),
            b'}' => self.new_dict(self.stack.len())?,
            b']' => self.new_list(self.stack.len())?,
            b'u' => self.set_items()?,
            b'e' => self.append_items()?,
            0x86 => self.tuple_of(2)?,
            b'a' => {
                let from = self.below(1)?;
                self.append_from(from)?;
            }
            other => return self.seldom(other),
        }
        Ok(Next::Go)
    }

    #[inline]
    pub(super) fn push(&mut self, data: Data) {
        self.stack.push(Value { data, at: self.at });
    }

    /// The stack's height without its top `count`, which must lie above the last mark.
    pub(super) fn below(&self, count: usize) -> Result<usize> {
        let floor = self.marks.last().copied().unwrap_or_default();
        match self.stack.len().checked_sub(count) {
            Some(height) if height >= floor => Ok(height),
            _ => Err(malformed(self.at, "an operation finds nothing to work on")),
        }
    }

    pub(super) fn pop(&mut self) -> Result<Value> {
        let height = self.below(1)?;
        let value = self.stack[height];
        self.stack.truncate(height);
        Ok(value)
    }

    pub(super) fn pop_mark(&mut self) -> Result<usize> {
        self.marks.pop().ok_or_else(|| malformed(self.at, "an operation finds no mark"))
    }

    #[inline]
    pub(super) fn get(&mut self, index: u32) -> Result<()> {
        let data = match self.builder.memo.get(index, self.at)? {
            Kept::Data(data) => data,
            Kept::Dict(slot) => self.settle(Data::Dict(self.builder.dicts.current(slot)))?,
            Kept::List(slot) => self.settle(Data::List(self.builder.lists.current(slot)))?,
        };
        self.push(data);
        Ok(())
    }

    /// A frame or stack that is referred to again becomes its number now: its first mention may
    /// lie on the stack still, waiting for what it is part of, and becomes the same.
    fn settle(&mut self, data: Data) -> Result<Data> {
        let (now, height) = self.builder.settle(data, self.at)?;
        if let Some(first) = self.stack.get_mut(height).filter(|first| first.data == data) {
            first.data = now;
        }
        Ok(now)
    }

    /// Keeps the top of the stack in the memo.
    pub(super) fn put(&mut self, index: u32) -> Result<()> {
        let height = self.below(1)?;
        let data = self.stack[height].data;
        let is_first = match data {
            Data::Dict(handle) => self.builder.dicts.keep(handle, index),
            Data::List(handle) => self.builder.lists.keep(handle, index),
            _ => true,
        };
        if !is_first {
            return Err(malformed(self.at, "an object gets two memo numbers"));
        }
        self.builder.memo.put(index, data, self.at)
    }

    pub(super) fn text(&mut self, length: u64) -> Result<()> {
        let text = self.input.bytes(length)?;
        let number = self.builder.texts.intern(text);
        let number = number.ok_or_else(|| malformed(self.at, "there are too many texts"))?;
        self.push(Data::Text(number));
        Ok(())
    }

    /// A whole number in two's complement, lowest byte first.
    pub(super) fn long(&mut self, length: u64) -> Result<()> {
        let bytes = self.input.bytes(length)?;
        let mut low = [if bytes.last().is_some_and(|&last| last >= 128) { 255 } else { 0 }; 8];
        let data = match bytes {
            [low_bytes @ .., 0] if low_bytes.len() == 8 => {
                low.copy_from_slice(low_bytes);
                Data::Wide(u64::from_le_bytes(low))
            }
            bytes if bytes.len() <= 8 => {
                low[..bytes.len()].copy_from_slice(bytes);
                Data::Int(i64::from_le_bytes(low))
            }
            _ => {
                let what = format!("a whole number of {length} bytes");
                return Err(Fault::from(PickleError::Unsupported { offset: self.at, what }));
            }
        };
        self.push(data);
        Ok(())
    }

    pub(super) fn new_dict(&mut self, height: usize) -> Result<()> {
        let handle = self.builder.dicts.add(height);
        let handle = handle.ok_or_else(|| malformed(self.at, "there are too many dictionaries"))?;
        self.push(Data::Dict(handle));
        Ok(())
    }

    pub(super) fn new_list(&mut self, height: usize) -> Result<()> {
        let handle = self.builder.lists.add(height);
        let handle = handle.ok_or_else(|| malformed(self.at, "there are too many lists"))?;
        self.push(Data::List(handle));
        Ok(())
    }

    fn set_items(&mut self) -> Result<()> {
        let from = self.pop_mark()?;
        self.set_from(from)
    }

    /// Adds what lies from `from` on to the dictionary below it.
    pub(super) fn set_from(&mut self, from: usize) -> Result<()> {
        let dict = self.container(from)?;
        if let Err(error) = self.builder.set(dict, &self.stack[from..]) {
            return Err(error.within(&self.path(from)));
        }
        self.stack.truncate(from);
        Ok(())
    }

    fn append_items(&mut self) -> Result<()> {
        let from = self.pop_mark()?;
        self.append_from(from)
    }

    /// Adds what lies from `from` on to the list below it.
    pub(super) fn append_from(&mut self, from: usize) -> Result<()> {
        let list = self.container(from)?;
        if let Err(error) = self.builder.append(list, &self.stack[from..]) {
            return Err(error.within(&self.path(from)));
        }
        self.stack.truncate(from);
        Ok(())
    }

    fn container(&self, from: usize) -> Result<Value> {
        let floor = self.marks.last().copied().unwrap_or_default();
        match from.checked_sub(1) {
            Some(place) if place >= floor && from <= self.stack.len() => Ok(self.stack[place]),
            _ => Err(malformed(self.at, "entries come without a dictionary or list")),
        }
    }

    pub(super) fn tuple_of(&mut self, count: usize) -> Result<()> {
        let from = self.below(count)?;
        self.tuple_from(from)
    }

    pub(super) fn tuple_from(&mut self, from: usize) -> Result<()> {
        let tuple = self.builder.tuple(&self.stack[from..]);
        let tuple = tuple.ok_or_else(|| malformed(self.at, "there are too many tuples"))?;
        self.stack.truncate(from);
        self.push(tuple);
        Ok(())
    }

    /// The path of what lies on top of the lowest `height` values.
    fn path(&self, height: usize) -> String {
        path(&self.stack[..height], &self.marks, &self.builder)
    }
}
