//! The line of a Python program that a message comes from, read from the traceback above it.

use memchr::memmem;
use serde::Serialize;

use super::lines::{BACK, Prefix, Source, line_start};

/// A line of a program.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Place {
    /// The file.
    pub file: String,
    /// The line's number, from 1.
    pub line: u64,
    /// The function.
    pub function: String,
    /// The line itself, if the traceback shows it.
    pub code: Option<String>,
}

/// What the program was doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub enum Phase {
    /// Moving a model or data to the device.
    Load,
    /// The forward pass.
    Forward,
    /// The backward pass, forward passes that it repeats included.
    Backward,
    /// The optimizer's step.
    Optimizer,
}

/// The most frames that are read.
const FRAMES: usize = 100;
/// The longest text that is kept of a frame.
const LONGEST: usize = 300;

/// The frames above `line` of the same source, innermost first. Within one line of JSON, `found`
/// is where the message begins.
pub(super) fn frames(window: &[u8], line: usize, found: usize, source: Source) -> Vec<Place> {
    let own = &window[line..found];
    let escaped = memmem::find(own, br#"File \""#).is_some();
    let mut frames = Vec::new();
    let mut code = None;
    let mut visit = |text: &[u8]| {
        let prefix = Prefix::of(text);
        if prefix.source != source && !escaped {
            return true;
        }
        let text = &text[prefix.len..];
        let is_indented = text.starts_with(b"  ");
        let text = text.trim_ascii();
        if !is_indented && !text.is_empty() {
            return false; // where the traceback begins, or something else
        }
        match frame(text, code.take()) {
            Ok(place) => frames.push(place),
            Err(previous) => code = if is_marker(text) { previous } else { Some(short(text)) },
        }
        frames.len() < FRAMES
    };
    if escaped {
        // The last piece is the message's own line.
        let mut end = memmem::rfind(own, b"\\n").unwrap_or(0);
        while let Some(start) = memmem::rfind(&own[..end], b"\\n") {
            if !visit(&own[start + 2..end]) {
                break;
            }
            end = start;
        }
        return frames;
    }
    let (mut end, floor) = (line, line.saturating_sub(BACK));
    while end > floor {
        let start = line_start(window, end - 1).max(floor);
        if !visit(&window[start..end - 1]) {
            break;
        }
        end = start;
    }
    frames
}

/// Whether a line only marks columns of the one above: `^^^^`, `~~~~^^^^`.
fn is_marker(text: &[u8]) -> bool {
    text.iter().all(|byte| b"^~ ".contains(byte))
}

/// `File "x.py", line 3, in f`, with quotes escaped or not; the code if it is no frame.
fn frame(text: &[u8], code: Option<String>) -> Result<Place, Option<String>> {
    let read = || {
        let rest = text.strip_prefix(b"File ")?;
        let rest = rest.strip_prefix(b"\\").unwrap_or(rest).strip_prefix(b"\"")?;
        let end = memmem::find(rest, b"\", line ")?;
        let file = rest[..end].strip_suffix(b"\\").unwrap_or(&rest[..end]);
        let rest = &rest[end + 8..];
        let count = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let line = std::str::from_utf8(&rest[..count]).ok()?.parse().ok()?;
        let function = rest[count..].strip_prefix(b", in ").unwrap_or_default();
        Some((short(file), line, short(function)))
    };
    let Some((file, line, function)) = read() else { return Err(code) };
    Ok(Place { file, line, function, code })
}

fn short(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(&text[..text.len().min(LONGEST)]);
    text.into_owned()
}

/// Whether a frame is a library's.
fn is_library(place: &Place) -> bool {
    ["site-packages", "dist-packages", "lib/python", "<frozen"]
        .iter()
        .any(|part| place.file.contains(part))
}

/// The innermost frame of the program's own; else the innermost.
pub(super) fn place(frames: &[Place]) -> Option<Place> {
    frames.iter().find(|frame| !is_library(frame)).or(frames.first()).cloned()
}

/// What the program was doing, as far as names tell.
pub(super) fn phase(frames: &[Place]) -> Option<Phase> {
    let any = |test: fn(&Place, &str) -> bool| {
        frames.iter().any(|frame| test(frame, frame.code.as_deref().unwrap_or_default()))
    };
    if any(|frame, code| frame.function == "backward" || code.contains(".backward(")) {
        return Some(Phase::Backward);
    }
    if any(|frame, code| {
        frame.file.contains("/optim/")
            || code.contains("optimizer.step(")
            || code.contains("opt.step(")
    }) {
        return Some(Phase::Optimizer);
    }
    if any(|frame, _| frame.function.ends_with("forward") || frame.function == "_call_impl") {
        return Some(Phase::Forward);
    }
    let loads = |_: &Place, code: &str| {
        [".to(", ".cuda(", "from_pretrained(", "load_state_dict("]
            .iter()
            .any(|call| code.contains(call))
    };
    any(loads).then_some(Phase::Load)
}
