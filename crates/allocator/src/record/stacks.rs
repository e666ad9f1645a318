//! Backtraces: taken as bare instruction pointers, given names only when somebody looks.

use std::collections::BTreeMap;
use std::sync::Arc;

use freeboard_snapshot::{Frame, NameId, Names, StackId, Stacks};
use parking_lot::Mutex;

/// The most frames of a backtrace that are kept, the allocator's own included.
const DEEPEST: usize = 96;

/// What is known of an instruction.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Symbol {
    function: String,
    file: String,
    line: u64,
}

/// By instruction pointer: its functions, innermost first; more than one where calls are inlined.
static SYMBOLS: Mutex<BTreeMap<u64, Arc<[Symbol]>>> = Mutex::new(BTreeMap::new());

/// The stack of the call at hand; each frame's `line` is its instruction pointer.
#[inline(never)]
pub(super) fn capture(stacks: &mut Stacks) -> StackId {
    let (mut frames, mut count) = ([0; DEEPEST], 0);
    backtrace::trace(|frame| {
        let line = frame.ip().addr() as u64;
        frames[count] = stacks.frame(Frame { line, ..Frame::default() });
        count += 1;
        count < DEEPEST
    });
    stacks.intern_frames(&frames[..count])
}

/// Gives names to the frames of captured stacks, each stack once.
pub(super) struct Namer {
    captured: Stacks,
    known: BTreeMap<StackId, StackId>,
}

impl Namer {
    pub(super) const fn new(captured: Stacks) -> Self {
        Self { captured, known: BTreeMap::new() }
    }

    /// The same stack among `stacks`, with names, and without the allocator's own frames at its top.
    pub(super) fn name(&mut self, id: StackId, names: &mut Names, stacks: &mut Stacks) -> StackId {
        if id.is_zero() {
            return id;
        }
        if let Some(&known) = self.known.get(&id) {
            return known;
        }
        let symbols: Vec<Symbol> =
            self.captured.get(id).flat_map(|frame| symbols(frame.line).to_vec()).collect();
        let frames = outside(&symbols).iter().map(|symbol| Frame {
            file: names.intern(&symbol.file),
            function: names.intern(&symbol.function),
            line: symbol.line,
        });
        let given = stacks.intern(frames.collect::<Vec<_>>());
        self.known.insert(id, given);
        given
    }
}

fn symbols(pointer: u64) -> Arc<[Symbol]> {
    let mut known = SYMBOLS.lock();
    Arc::clone(known.entry(pointer).or_insert_with(|| resolve(pointer)))
}

fn resolve(pointer: u64) -> Arc<[Symbol]> {
    let mut found = Vec::new();
    let address = usize::try_from(pointer).unwrap_or_default();
    backtrace::resolve(std::ptr::without_provenance_mut(address), |symbol| {
        found.push(Symbol {
            function: symbol.name().map_or_else(|| "??".into(), |name| format!("{name:#}")),
            file: symbol.filename().map(|file| file.display().to_string()).unwrap_or_default(),
            line: symbol.lineno().map_or(pointer, u64::from),
        });
    });
    if found.is_empty() {
        found.push(Symbol { function: "??".into(), file: String::new(), line: pointer });
    }
    found.into()
}

/// What lies outside the allocator: behind its last frame at the top, which the standard library's
/// and those of this module may be mixed with.
fn outside(symbols: &[Symbol]) -> &[Symbol] {
    let mut begin = 0;
    for (place, symbol) in symbols.iter().enumerate() {
        let name = symbol.function.trim_start_matches(['<', '_', '&']);
        let is_in = |prefixes: &[&str]| prefixes.iter().any(|prefix| name.starts_with(prefix));
        if is_in(&["freeboard_allocator::", "core::ptr::drop_in_place<freeboard_allocator::"]) {
            begin = place + 1;
        } else if !is_in(&["backtrace::", "core::", "alloc::", "std::"]) {
            break;
        }
    }
    &symbols[begin..]
}

/// The number that a name of the process-wide list has in a snapshot.
#[derive(Debug, Default)]
pub(super) struct Renamed(BTreeMap<NameId, NameId>);

impl Renamed {
    pub(super) fn name(&mut self, id: NameId, all: &Names, names: &mut Names) -> NameId {
        *self.0.entry(id).or_insert_with(|| names.intern(all.get(id)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_allocators_own_frames_are_cut_off_at_the_top_only() {
        let symbol =
            |function: &str| Symbol { function: function.into(), file: String::new(), line: 1 };
        let all = [
            "backtrace::backtrace::trace",
            "freeboard_allocator::record::stacks::capture",
            "core::option::Option<T>::map",
            "<freeboard_allocator::allocation::Allocation<D,R> as core::ops::drop::Drop>::drop",
            "core::ptr::drop_in_place<freeboard_allocator::allocation::Allocation<D>>",
            "core::mem::drop",
            "model::forward",
            "freeboard_allocator::call_back",
            "main",
        ]
        .map(symbol);
        let names: Vec<&str> = outside(&all).iter().map(|s| &*s.function).collect();
        assert_eq!(
            names,
            ["core::mem::drop", "model::forward", "freeboard_allocator::call_back", "main"]
        );
        assert_eq!(outside(&all[6..7]).len(), 1);
    }
}
