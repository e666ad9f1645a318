//! The parser of the text format: one pass over the bytes, no allocation per line.

use freeboard_units::Bytes;

use super::ids::Ids;
use super::recorder::Recorder;
use super::{Problem, STREAM_MAX, Trace, TraceError};

const ALLOCATE: &str = "a ID BYTES STREAM";
const FREE: &str = "f ID";
const RECORD_USE: &str = "r ID STREAM";
const EMPTY_CACHE: &str = "e";

/// Sizes fit a signed counter, so that sums of them are safe wherever they are kept.
const SIZE_MAX: u64 = i64::MAX as u64;

/// Reads a text; `name` is for errors and for the trace.
pub(super) fn parse(name: &str, text: &[u8]) -> Result<Trace, TraceError> {
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text); // a mark some editors leave
    let mut parser = Parser {
        line: Cursor { rest: text },
        number: 0,
        ids: Ids::for_text(text.len()),
        record: Recorder::default(),
        slots: 0,
    };
    while !parser.line.rest.is_empty() {
        let Some(number) = parser.number.checked_add(1) else {
            return Err(TraceError::TooLong { name: name.to_owned() });
        };
        parser.number = number;
        parser.read_line().map_err(|problem| TraceError::Line {
            name: name.to_owned(),
            line: number,
            problem,
        })?;
        parser.line.end_line();
    }
    if parser.record.ops_len() == 0 {
        return Err(TraceError::Empty { name: name.to_owned() });
    }
    Ok(parser.record.finish(name, parser.slots))
}

struct Parser<'t> {
    line: Cursor<'t>,
    number: u32,
    ids: Ids,
    record: Recorder,
    slots: u32,
}

impl Parser<'_> {
    /// Reads a line up to its end, which it leaves to the caller.
    fn read_line(&mut self) -> Result<(), Problem> {
        self.line.skip_blanks();
        let form = match self.line.operation()? {
            Some(b'a') => self.allocate()?,
            Some(b'f') => self.free()?,
            Some(b'r') => self.record_use()?,
            Some(_) => {
                self.record.empty_cache(self.number);
                EMPTY_CACHE
            }
            None => {
                if let Some(comment) = self.line.comment() {
                    self.record.comment(&String::from_utf8_lossy(comment), self.number);
                }
                return Ok(());
            }
        };
        self.line.finish(form)
    }

    fn allocate(&mut self) -> Result<&'static str, Problem> {
        let id = self.line.number("id", u64::MAX, ALLOCATE)?;
        let size = self.line.number("size", SIZE_MAX, ALLOCATE)?;
        let stream = self.line.stream(ALLOCATE)?;
        let slot = self.ids.find_or_add(id);
        if self.record.is_live(slot) {
            let since = self.record.allocated_on(slot).unwrap_or(self.number);
            return Err(Problem::AlreadyLive { id, since });
        }
        self.slots = self.slots.max(slot + 1);
        self.record.allocate(slot, Bytes::new(size), stream, self.number);
        Ok(ALLOCATE)
    }

    fn free(&mut self) -> Result<&'static str, Problem> {
        let slot = self.live_slot(FREE)?;
        self.record.free(slot, self.number);
        Ok(FREE)
    }

    fn record_use(&mut self) -> Result<&'static str, Problem> {
        let slot = self.live_slot(RECORD_USE)?;
        let stream = self.line.stream(RECORD_USE)?;
        self.record.record_use(slot, stream, self.number);
        Ok(RECORD_USE)
    }

    fn live_slot(&mut self, form: &'static str) -> Result<u32, Problem> {
        let id = self.line.number("id", u64::MAX, form)?;
        let slot = self.ids.find(id).filter(|&slot| self.record.is_live(slot));
        slot.ok_or(Problem::NotLive { id })
    }
}

/// What is left of the text; every method but [`Cursor::end_line`] stays within the line.
struct Cursor<'t> {
    rest: &'t [u8],
}

impl<'t> Cursor<'t> {
    fn skip_blanks(&mut self) {
        while let [b' ' | b'\t' | b'\r', rest @ ..] = self.rest {
            self.rest = rest;
        }
    }

    /// The letter of an operation, or `None` where the line is empty or a comment.
    fn operation(&mut self) -> Result<Option<u8>, Problem> {
        let [letter, rest @ ..] = self.rest else { return Ok(None) };
        match letter {
            b'a' | b'f' | b'r' | b'e' if rest.first().is_none_or(|&byte| ends_word(byte)) => {
                self.rest = rest;
                Ok(Some(*letter))
            }
            b'\n' | b'#' => Ok(None),
            _ => Err(Problem::UnknownOperation { word: self.word() }),
        }
    }

    fn stream(&mut self, form: &'static str) -> Result<u16, Problem> {
        let stream = self.number("stream", u64::from(STREAM_MAX), form)?;
        Ok(u16::try_from(stream).unwrap_or(STREAM_MAX)) // checked against it just above
    }

    fn number(
        &mut self,
        field: &'static str,
        limit: u64,
        form: &'static str,
    ) -> Result<u64, Problem> {
        self.skip_blanks();
        let start = self.rest;
        let mut value = Some(0_u64);
        while let [digit @ b'0'..=b'9', rest @ ..] = self.rest {
            let digit = u64::from(digit - b'0');
            value = value.and_then(|value| value.checked_mul(10)?.checked_add(digit));
            self.rest = rest;
        }
        let no_digit = self.rest.len() == start.len();
        let ended = self.rest.first().is_none_or(|&byte| ends_word(byte));
        match value {
            Some(value) if !no_digit && ended && value <= limit => return Ok(value),
            _ => self.rest = start, // for the word in the message
        }
        if no_digit && ended {
            return Err(Problem::MissingField { field, form });
        }
        let word = self.word();
        Err(if ended {
            Problem::TooLarge { field, word, limit }
        } else {
            Problem::BadNumber { field, word, form }
        })
    }

    /// The words of a comment that begins here.
    fn comment(&mut self) -> Option<&'t [u8]> {
        let text = self.rest.strip_prefix(b"#")?;
        let (comment, rest) = text.split_at(line_length(text));
        self.rest = rest;
        Some(comment)
    }

    /// Makes sure that nothing but a comment follows.
    fn finish(&mut self, form: &'static str) -> Result<(), Problem> {
        self.skip_blanks();
        match self.rest.first() {
            None | Some(b'\n') => Ok(()),
            Some(b'#') => {
                self.comment();
                Ok(())
            }
            Some(_) => Err(Problem::TrailingWords { word: self.word(), form }),
        }
    }

    fn end_line(&mut self) {
        self.rest = self.rest.strip_prefix(b"\n").unwrap_or(self.rest);
    }

    /// The word that begins here, made printable, for a message.
    fn word(&self) -> String {
        const SHOWN: usize = 32;
        let length = self.rest.iter().position(|&byte| ends_word(byte)).unwrap_or(self.rest.len());
        let shown = String::from_utf8_lossy(&self.rest[..length.min(SHOWN)]);
        shown.escape_debug().chain((length > SHOWN).then_some('…')).collect()
    }
}

const fn ends_word(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n' | b'#')
}

fn line_length(text: &[u8]) -> usize {
    text.iter().position(|&byte| byte == b'\n').unwrap_or(text.len())
}
