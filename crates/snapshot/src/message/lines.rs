//! What stands before a log line, and one message's text gathered from several of them.

use memchr::{memchr2, memrchr2};

/// How far back a line is looked at for its beginning.
pub(super) const BACK: usize = 64 << 10;
/// How far ahead a message may reach.
pub(super) const AHEAD: usize = 16 << 10;
/// Bytes before the place of the find that are gathered with it.
const BEFORE: usize = 512;
/// Bytes that are gathered of one line.
const WIDE: usize = 4 << 10;
/// Lines of a message, the first left out.
const LINES: usize = 12;
/// The widths at which terminals break lines.
const WIDTHS: std::ops::RangeInclusive<usize> = 40..=400;

/// Who wrote a line, as far as what stands before it says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Source {
    pub(super) rank: Option<u32>,
    pub(super) pid: Option<u32>,
}

/// What stands before a line's own text.
#[derive(Clone, Debug, Default)]
pub(super) struct Prefix {
    pub(super) source: Source,
    /// Where the time stands, in the line.
    pub(super) time: Option<(usize, usize)>,
    pub(super) len: usize,
}

impl Prefix {
    /// Takes off marks of launchers, times and colours, in any order.
    pub(super) fn of(line: &[u8]) -> Self {
        let mut prefix = Self::default();
        for _ in 0..8 {
            let rest = &line[prefix.len..];
            let blanks = rest.iter().take_while(|byte| byte.is_ascii_whitespace()).count();
            let rest = &rest[blanks..];
            let Some(step) = colour(rest)
                .or_else(|| mark(rest, &mut prefix.source))
                .or_else(|| time(rest, prefix.len + blanks, &mut prefix.time))
            else {
                break;
            };
            prefix.len += blanks + step;
        }
        prefix
    }
}

/// The length of an ANSI escape.
fn colour(text: &[u8]) -> Option<usize> {
    let start = [&b"\x1b["[..], b"\\u001b[", b"\\x1b[", b"\\033[", b"#033["]
        .into_iter()
        .find_map(|escape| text.starts_with(escape).then_some(escape.len()))?;
    let reach = &text[start..text.len().min(start + 16)];
    let end = reach.iter().position(|byte| !byte.is_ascii_digit() && *byte != b';')?;
    reach[end].is_ascii_alphabetic().then_some(start + end + 1)
}

/// Digits at the start: their number and how many.
fn digits(text: &[u8]) -> Option<(u32, usize)> {
    let count = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let number = std::str::from_utf8(&text[..count]).ok()?.parse().ok()?;
    Some((number, count))
}

/// The length of a launcher's mark, noting what it says.
fn mark(text: &[u8], source: &mut Source) -> Option<usize> {
    // torchrun: `[rank3]:`, `[default3]:`; others: `[Rank 3]`, `rank 3:`.
    for (open, close) in [
        (&b"[rank"[..], &b"]"[..]),
        (b"[Rank ", b"]"),
        (b"[rank: ", b"]"),
        (b"[rank ", b"]"),
        (b"[default", b"]:"),
        (b"rank", b":"),
        (b"rank ", b":"),
        (b"Rank ", b":"),
        (b"[1,", b"]<std"), // mpirun: `[1,3]<stderr>:`
        (b"", b": "),       // srun -l: ` 3: `
    ] {
        let Some(inner) = text.strip_prefix(open) else { continue };
        let Some((rank, count)) = digits(inner) else { continue };
        if inner[count..].starts_with(close) {
            source.rank = Some(rank);
            let len = open.len() + count + close.len();
            let rest = &text[len..];
            let tail = if close.ends_with(b"<std") { memchr::memchr(b':', rest) } else { None };
            let colon = usize::from(tail.is_none() && rest.starts_with(b":"));
            return Some(len + tail.map_or(colon, |tail| tail + 1));
        }
    }
    // docker compose: `worker-1  | `.
    let word = text.iter().take(64).take_while(|byte| byte.is_ascii_graphic()).count();
    let blanks = text[word..].iter().take(64).take_while(|byte| **byte == b' ').count();
    if word > 0 && blanks > 0 && text[word + blanks..].starts_with(b"| ") {
        return Some(word + blanks + 1);
    }
    // ray: `(TrainWorker pid=123, ip=10.0.0.2)`.
    let inner = text.strip_prefix(b"(")?;
    let end = memchr::memchr(b')', &inner[..inner.len().min(128)])?;
    let pid = memchr::memmem::find(&inner[..end], b" pid=")?;
    source.pid = digits(&inner[pid + 5..]).map(|(pid, _)| pid);
    Some(end + 2)
}

/// The length of a time, noting where it stands.
fn time(text: &[u8], at: usize, place: &mut Option<(usize, usize)>) -> Option<usize> {
    let open = usize::from(text.starts_with(b"["));
    let glog = text.get(open).is_some_and(|byte| b"IWEF".contains(byte));
    let start = open + usize::from(glog);
    let inner = text.get(start..)?;
    let mut has_clock = false;
    let mut of_time = |byte: &&u8| {
        has_clock |= **byte == b':';
        // The blank between day and clock belongs to it, the one behind the clock does not.
        byte.is_ascii_digit() || b"-/:.,TZ+".contains(byte) || **byte == b' ' && !has_clock
    };
    let mut count = inner.iter().take(40).take_while(|byte| of_time(byte)).count();
    while count > 0 && b" :,-".contains(&inner[count - 1]) {
        count -= 1;
    }
    if !has_clock || count < 8 || !inner[0].is_ascii_digit() {
        return None;
    }
    place.get_or_insert((at + start, at + start + count));
    let end = start + count;
    // glog goes on with a thread and a file up to the bracket.
    let close = |reach: usize| memchr::memchr(b']', &text[end..text.len().min(end + reach)]);
    let tail = if glog { close(100) } else { close(1) };
    Some(end + tail.map_or(0, |tail| tail + 1))
}

/// Where the line around `at` begins; carriage returns begin lines too, as progress bars use them.
pub(super) fn line_start(window: &[u8], at: usize) -> usize {
    let from = at.saturating_sub(BACK);
    memrchr2(b'\n', b'\r', &window[from..at]).map_or(from, |end| from + end + 1)
}

/// Where the line around `at` ends.
pub(super) fn line_end(window: &[u8], at: usize) -> usize {
    let until = window.len().min(at + AHEAD);
    memchr2(b'\n', b'\r', &window[at..until]).map_or(until, |end| at + end)
}

/// A message's text without white space, colours and escapes, from the line of the find on.
#[derive(Debug, Default)]
pub(super) struct Gathered {
    pub(super) text: Vec<u8>,
    /// Where each byte stands in the window.
    origin: Vec<usize>,
    /// Where lines begin in `text`.
    starts: Vec<usize>,
    /// Where the find is in `text`.
    pub(super) at: usize,
    pub(super) prefix: Prefix,
    /// Where the line of the find begins in the window.
    pub(super) line: usize,
}

impl Gathered {
    /// The text around the find at `found`, with the lines that go on with it.
    pub(super) fn new(window: &[u8], found: usize) -> Self {
        let window = &window[..window.len().min(found + AHEAD)];
        let line = line_start(window, found);
        let mut end = line_end(window, found);
        let prefix = Prefix::of(&window[line..end]);
        let mut all = Self { line, ..Self::default() };
        let first = (line + prefix.len).min(found).max(found.saturating_sub(BEFORE));
        all.push(window, first, found);
        all.at = all.text.len();
        all.push(window, found, end.min(found + WIDE));
        // Where the last line that was taken begins and ends.
        let mut last = (line, end);
        let mut is_whole = end <= found + WIDE;
        let (mut lines, mut ours) = (0, true);
        while is_whole && lines < LINES && end + 1 < window.len() {
            let start = end + 1;
            end = line_end(window, start);
            let next = Prefix::of(&window[start..end]);
            ours = next.source == prefix.source || ours && next.source == Source::default();
            if !ours || start == end {
                continue;
            }
            let content = start + next.len;
            let width = last.1 - last.0;
            let breaks = |byte: Option<&u8>| byte.is_some_and(|b| b.is_ascii_digit() || *b == b'.');
            if breaks(all.text.last()) && breaks(window.get(content)) && !WIDTHS.contains(&width) {
                break; // two numbers, not the halves of one
            }
            all.starts.push(all.text.len());
            all.push(window, content, end.min(content + WIDE));
            is_whole = end <= content + WIDE;
            last = (start, end);
            lines += 1;
        }
        if is_whole && all.text.last().is_some_and(u8::is_ascii_digit) && last.1 < window.len() {
            all.text.push(b'\n'); // a number that is whole
            all.origin.push(last.1);
        }
        all.prefix = prefix;
        all
    }

    /// Where the line of the find ends in `text`.
    pub(super) fn line_end(&self) -> usize {
        self.starts.first().copied().unwrap_or(self.text.len())
    }

    fn push(&mut self, window: &[u8], start: usize, end: usize) {
        let mut at = start;
        while at < end {
            let rest = &window[at..end];
            let skipped = match rest {
                [byte, ..] if byte.is_ascii_whitespace() => 1,
                [b'\\', b'n' | b'r' | b't', ..] => 2,
                [b'\\', b'"' | b'\'', ..] => 1,
                [0x1b | b'\\' | b'#', ..] => colour(rest).unwrap_or(0),
                _ => 0,
            };
            if skipped == 0 {
                self.text.push(rest[0]);
                self.origin.push(at);
            }
            at += skipped.max(1);
        }
    }

    /// Where in the window the bytes up to `end` of the text stand, line by line.
    pub(super) fn spans(&self, end: usize) -> Vec<(usize, usize)> {
        let mut spans = Vec::new();
        let mut start = self.at;
        for stop in self.starts.iter().copied().chain([self.text.len()]) {
            let stop = stop.min(end);
            if start < stop {
                spans.push((self.origin[start], self.origin[stop - 1] + 1));
            }
            start = stop.max(start);
        }
        spans
    }
}
