//! [`Input`]: the bytes of a file, a buffer at a time, with their place.

use std::io::{self, Read};

use super::error::{Fault, PickleError, Result, malformed};

const BUFFER: usize = 128 << 10;
/// The longest text; the longest in a real file is a function's name with its template arguments.
const TEXT_MAX: u64 = 16 << 20;

pub(super) struct Input<R> {
    source: R,
    buffer: Box<[u8]>,
    at: usize,
    end: usize,
    /// The place in the file of the first byte in the buffer.
    base: u64,
    /// A text or line that does not lie in the buffer whole.
    long: Vec<u8>,
}

impl<R: Read> Input<R> {
    pub(super) fn new(source: R) -> Self {
        let buffer = vec![0; BUFFER].into();
        Self { source, buffer, at: 0, end: 0, base: 0, long: Vec::new() }
    }

    /// The place of the next byte.
    pub(super) fn offset(&self) -> u64 {
        self.base + self.at as u64
    }

    /// Whether the buffer has nothing left: what follows will be read from the source.
    pub(super) fn is_drained(&self) -> bool {
        self.at == self.end
    }

    /// The bytes in the buffer.
    pub(super) fn peek(&self) -> &[u8] {
        &self.buffer[self.at..self.end]
    }

    /// Reads more behind what is in the buffer; says whether there was any.
    pub(super) fn more(&mut self) -> Result<bool> {
        self.buffer.copy_within(self.at..self.end, 0);
        self.base += self.at as u64;
        self.end -= self.at;
        self.at = 0;
        loop {
            match self.source.read(&mut self.buffer[self.end..]) {
                Ok(count) => {
                    self.end += count;
                    return Ok(count > 0);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(source) => {
                    let offset = self.base + self.end as u64;
                    return Err(Fault::from(PickleError::Read { offset, source }));
                }
            }
        }
    }

    /// Sees to it that `count` bytes, of a few, are in the buffer.
    #[cold]
    fn fill(&mut self, count: usize) -> Result<()> {
        while self.end - self.at < count {
            if !self.more()? {
                let offset = self.base + self.end as u64;
                return Err(Fault::from(PickleError::Truncated { offset, place: String::new() }));
            }
        }
        Ok(())
    }

    #[inline]
    pub(super) fn byte(&mut self) -> Result<u8> {
        if self.at == self.end {
            self.fill(1)?;
        }
        self.at += 1;
        Ok(self.buffer[self.at - 1])
    }

    #[inline]
    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        if self.end - self.at < N {
            self.fill(N)?;
        }
        let mut bytes = [0; N];
        bytes.copy_from_slice(&self.buffer[self.at..self.at + N]);
        self.at += N;
        Ok(bytes)
    }

    /// The next `length` bytes.
    #[inline]
    pub(super) fn bytes(&mut self, length: u64) -> Result<&[u8]> {
        match usize::try_from(length) {
            Ok(length) if self.end - self.at >= length => {
                self.at += length;
                Ok(&self.buffer[self.at - length..self.at])
            }
            _ => self.long_bytes(length),
        }
    }

    /// Takes memory only as bytes really come, whatever length was promised.
    #[cold]
    fn long_bytes(&mut self, length: u64) -> Result<&[u8]> {
        if length > TEXT_MAX {
            return Err(malformed(self.offset(), "a text is said to be longer than 16 MiB"));
        }
        self.long.clear();
        let mut left = usize::try_from(length).unwrap_or(usize::MAX);
        while left > 0 {
            if self.is_drained() {
                self.fill(1)?;
            }
            let count = left.min(self.end - self.at);
            self.long.extend_from_slice(&self.buffer[self.at..self.at + count]);
            self.at += count;
            left -= count;
        }
        Ok(&self.long)
    }

    /// The bytes up to the next line feed, which is skipped.
    pub(super) fn line(&mut self) -> Result<&[u8]> {
        self.long.clear();
        loop {
            let byte = self.byte()?;
            if byte == b'\n' {
                return Ok(&self.long);
            }
            if self.long.len() as u64 == TEXT_MAX {
                return Err(malformed(self.offset(), "a text is longer than 16 MiB"));
            }
            self.long.push(byte);
        }
    }
}
