//! Opcodes that `PyTorch`'s files seldom have: those of other protocols, and those that are refused.

use std::io::Read;

use super::error::{Fault, PickleError, Result, malformed};
use super::machine::{Machine, Next};
use super::value::Data;

impl<R: Read> Machine<R> {
    pub(super) fn seldom(&mut self, opcode: u8) -> Result<Next> {
        match opcode {
            b'.' => return Ok(Next::Stop),
            b'N' => self.push(Data::None),
            0x88 => self.push(Data::Bool(true)),
            0x89 => self.push(Data::Bool(false)),
            b'G' => {
                let number = f64::from_be_bytes(self.input.array()?);
                self.push(Data::Float(number));
            }
            b'X' => {
                let length = u32::from_le_bytes(self.input.array()?);
                self.text(length.into())?;
            }
            0x8d => {
                let length = u64::from_le_bytes(self.input.array()?);
                self.text(length)?;
            }
            0x8b => {
                let length = u32::from_le_bytes(self.input.array()?);
                self.long(length.into())?;
            }
            b'q' => {
                let index = self.input.byte()?;
                self.put(index.into())?;
            }
            b'r' => {
                let index = u32::from_le_bytes(self.input.array()?);
                self.put(index)?;
            }
            b's' => {
                let from = self.below(2)?;
                self.set_from(from)?;
            }
            b')' => self.tuple_of(0)?,
            0x85 => self.tuple_of(1)?,
            0x87 => self.tuple_of(3)?,
            b't' => {
                let from = self.pop_mark()?;
                self.tuple_from(from)?;
            }
            // What follows a new container at its mark lies above it, as with "append all".
            b'd' => self.contain(Self::new_dict, Self::set_from)?,
            b'l' => self.contain(Self::new_list, Self::append_from)?,
            b'0' => self.pop_value()?,
            b'1' => {
                let from = self.pop_mark()?;
                self.stack.truncate(from);
            }
            b'2' => {
                let top = self.below(1)?;
                self.stack.push(self.stack[top]);
            }
            0x80 => self.protocol()?,
            // Frames tell how much to read at once, which is decided here already.
            0x95 => drop(self.input.array::<8>()?),
            _ => self.textual(opcode)?,
        }
        Ok(Next::Go)
    }

    fn protocol(&mut self) -> Result<()> {
        match self.input.byte()? {
            0..=5 => Ok(()),
            other => {
                let what = format!("pickle protocol {other} (0 to 5 are read)");
                Err(Fault::from(PickleError::Unsupported { offset: self.at, what }))
            }
        }
    }

    /// Puts a new container below the values since the mark, and them into it.
    fn contain(
        &mut self,
        new: fn(&mut Self, usize) -> Result<()>,
        fill: fn(&mut Self, usize) -> Result<()>,
    ) -> Result<()> {
        let from = self.pop_mark()?;
        new(self, from)?;
        let container = self.stack.pop();
        self.stack.splice(from..from, container);
        fill(self, from + 1)
    }

    /// Takes the top value away, or the last mark where nothing lies above it.
    fn pop_value(&mut self) -> Result<()> {
        if self.marks.last() == Some(&self.stack.len()) {
            self.marks.pop();
            return Ok(());
        }
        self.pop().map(drop)
    }

    /// The opcodes of protocol 0, whose arguments are lines of text.
    fn textual(&mut self, opcode: u8) -> Result<()> {
        let at = self.at;
        match opcode {
            b'I' => {
                let data = match self.input.line()? {
                    b"00" => Some(Data::Bool(false)),
                    b"01" => Some(Data::Bool(true)),
                    line => whole(line),
                };
                self.push(data.ok_or_else(|| malformed(at, "a whole number has no digits"))?);
            }
            b'L' => {
                let line = self.input.line()?;
                let data = whole(line.strip_suffix(b"L").unwrap_or(line));
                self.push(data.ok_or_else(|| malformed(at, "a whole number has no digits"))?);
            }
            b'F' => {
                let line = std::str::from_utf8(self.input.line()?).ok();
                let number = line.and_then(|line| line.trim().parse().ok());
                let number = number.ok_or_else(|| malformed(at, "a fraction has no digits"))?;
                self.push(Data::Float(number));
            }
            b'V' => {
                let text = unescape(self.input.line()?);
                let number = self.builder.texts.intern(text.as_bytes());
                let number = number.ok_or_else(|| malformed(at, "there are too many texts"))?;
                self.push(Data::Text(number));
            }
            b'p' | b'g' => {
                let index = match whole(self.input.line()?) {
                    Some(Data::Int(number)) => u32::try_from(number).ok(),
                    _ => None,
                };
                let index = index.ok_or_else(|| malformed(at, "a memo number has no digits"))?;
                if opcode == b'p' { self.put(index)? } else { self.get(index)? }
            }
            _ => return Err(refusal(opcode, at)),
        }
        Ok(())
    }
}

/// A whole number in decimal digits.
fn whole(line: &[u8]) -> Option<Data> {
    let text = std::str::from_utf8(line).ok()?.trim();
    if let Ok(number) = text.parse() {
        return Some(Data::Int(number));
    }
    text.parse().ok().map(Data::Wide)
}

/// Python's "raw-unicode-escape": Latin-1, with `\uXXXX` and `\UXXXXXXXX`.
fn unescape(line: &[u8]) -> String {
    let mut text = String::with_capacity(line.len());
    let mut rest = line;
    while let [first, after @ ..] = rest {
        rest = after;
        let digits = match (first, after.first()) {
            (b'\\', Some(b'u')) => 4,
            (b'\\', Some(b'U')) => 8,
            _ => 0,
        };
        let code = after.get(1..1 + digits).filter(|_| digits > 0);
        let code = code.and_then(|code| std::str::from_utf8(code).ok());
        match code.and_then(|code| u32::from_str_radix(code, 16).ok()) {
            Some(code) => {
                text.push(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER));
                rest = &after[1 + digits..];
            }
            None => text.push(char::from(*first)),
        }
    }
    text
}

/// Why an opcode is not carried out.
#[cold]
fn refusal(opcode: u8, offset: u64) -> Fault {
    let code = match opcode {
        b'c' => "GLOBAL",
        b'R' => "REDUCE",
        b'b' => "BUILD",
        b'i' => "INST",
        b'o' => "OBJ",
        b'P' => "PERSID",
        b'Q' => "BINPERSID",
        0x81 => "NEWOBJ",
        0x92 => "NEWOBJ_EX",
        0x93 => "STACK_GLOBAL",
        0x82 => "EXT1",
        0x83 => "EXT2",
        0x84 => "EXT4",
        _ => {
            let what = match opcode {
                b'B' | b'C' | 0x8e | b'S' | b'T' | b'U' => "a text of bytes",
                0x96 => "an array of bytes",
                0x97 | 0x98 => "a buffer kept outside the file",
                0x8f..=0x91 => "a set",
                _ => return malformed(offset, "an operation that Python does not know"),
            };
            return Fault::from(PickleError::Unsupported { offset, what: what.to_owned() });
        }
    };
    Fault::from(PickleError::Code { offset, opcode: code })
}
