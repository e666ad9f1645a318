//! Who holds memory: live blocks grouped by tag, or else by the program's own line.

use std::borrow::Cow;
use std::collections::HashMap;

use freeboard_units::{Bytes, DeviceId};

use crate::facts::Holder;
use crate::model::{BlockState, Snapshot};
use crate::names::{Frame, NameId, StackId};
use crate::timeline::Timeline;

/// What blocks that belong together have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Key {
    /// A tag.
    Tag(NameId),
    /// The line that asked for them: the innermost frame that is neither `PyTorch`'s own nor in a
    /// binary.
    Line(Frame),
    /// No stack was recorded, or none of its frames is the program's.
    Unknown,
}

/// Groups blocks, and remembers what it learned about stacks and files.
#[derive(Clone, Debug)]
pub struct Grouping<'a> {
    snapshot: &'a Snapshot,
    stacks: HashMap<StackId, Option<Frame>>,
    files: HashMap<NameId, bool>,
}

impl<'a> Grouping<'a> {
    /// For the blocks of one snapshot.
    #[must_use]
    pub fn new(snapshot: &'a Snapshot) -> Self {
        Self { snapshot, stacks: HashMap::new(), files: HashMap::new() }
    }

    /// The group of a block.
    pub fn key(&mut self, tag: NameId, stack: StackId) -> Key {
        if !self.snapshot.names.get(tag).is_empty() {
            return Key::Tag(tag);
        }
        self.line(stack).map_or(Key::Unknown, Key::Line)
    }

    /// The program's own line in a stack: its innermost frame that is neither `PyTorch`'s nor in a
    /// binary.
    pub fn line(&mut self, stack: StackId) -> Option<Frame> {
        let Self { snapshot, stacks, files } = self;
        *stacks.entry(stack).or_insert_with(|| {
            let mut frames = snapshot.stacks.get(stack);
            let is_own = |file: NameId| is_own_file(snapshot.names.get(file));
            frames
                .find(|frame| *files.entry(frame.file).or_insert_with(|| is_own(frame.file)))
                .copied()
        })
    }

    /// The group's name: the tag, or file (its last two parts), line and function.
    #[must_use]
    pub fn name(&self, key: Key) -> String {
        let names = &self.snapshot.names;
        match key {
            Key::Tag(tag) => names.get(tag).to_owned(),
            Key::Line(frame) => {
                let file = short_path(names.get(frame.file));
                format!("{file}:{} {}", frame.line, names.get(frame.function))
            }
            Key::Unknown => "no stack (autograd's own threads have none)".to_owned(),
        }
    }

    /// The groups of these blocks, told by tag, stack and size; the largest first.
    pub fn group(
        &mut self,
        blocks: impl IntoIterator<Item = (NameId, StackId, Bytes)>,
    ) -> Vec<Holder> {
        let mut groups: HashMap<Key, (Bytes, u64)> = HashMap::new();
        for (tag, stack, size) in blocks {
            let (bytes, count) = groups.entry(self.key(tag, stack)).or_default();
            (*bytes, *count) = (bytes.saturating_add(size), *count + 1);
        }
        let mut groups: Vec<(Key, (Bytes, u64))> = groups.into_iter().collect();
        groups.sort_unstable_by_key(|(key, (bytes, _))| (std::cmp::Reverse(*bytes), *key));
        let holder = |(key, (bytes, blocks))| Holder { name: self.name(key), bytes, blocks };
        groups.into_iter().map(holder).collect()
    }

    /// Who holds memory right after an event (`None`: before the first), the largest first;
    /// pending blocks are left out.
    pub fn at(&mut self, timeline: &Timeline<'_>, event: Option<u32>) -> Vec<Holder> {
        let held = timeline.live_after(event).filter(|life| !life.is_pending_after(event));
        self.group(held.map(|life| (life.tag, life.stack, life.size)))
    }
}

/// Who holds memory of a device now, the largest first; pending blocks are left out.
///
/// Tags and stacks come from the segments; [`Grouping::at`] also knows the tags of a history.
#[must_use]
pub fn of_segments(snapshot: &Snapshot, device: DeviceId) -> Vec<Holder> {
    let blocks = snapshot.segments_of(device).flat_map(|segment| &segment.blocks);
    let held = blocks.filter(|block| block.state == BlockState::Allocated);
    Grouping::new(snapshot).group(held.map(|block| (block.tag, block.stack, block.size)))
}

/// Whether a file is the program's: source text, and not `PyTorch`'s, nor Python's or Rust's own.
fn is_own_file(path: &str) -> bool {
    let path = &with_slashes(path);
    let name = path.rsplit('/').next().unwrap_or_default();
    let ending = name.rsplit('.').next().unwrap_or_default();
    let is_binary = name.split('.').skip(1).any(|part| part == "so")
        || ["dylib", "dll", "exe"].contains(&ending)
        || name.starts_with("python") && ending != "py"
        || !name.contains(['.', '<']);
    let is_interpreter = path.starts_with("<frozen")
        || path.contains("/lib/python3") && !path.contains("-packages/");
    let is_rusts = path.starts_with("/rustc/") || path.contains("/.cargo/registry/");
    let is_torch = path.starts_with("torch/")
        || ["-packages/torch/", "/pytorch/torch/", "/aten/src/", "/c10/"]
            .iter()
            .any(|part| path.contains(part));
    !(is_binary || is_interpreter || is_rusts || is_torch)
}

/// The last two parts of a path.
fn short_path(path: &str) -> Cow<'_, str> {
    let path = with_slashes(path);
    let Some((at, _)) = path.rmatch_indices('/').nth(1) else { return path };
    Cow::Owned(path[at + 1..].to_owned())
}

fn with_slashes(path: &str) -> Cow<'_, str> {
    if path.contains('\\') { Cow::Owned(path.replace('\\', "/")) } else { Cow::Borrowed(path) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_programs_files_are_told_from_those_below_it() {
        let own =
            ["/home/me/train.py", "<string>", "/x/site-packages/transformers/a.py", "C:\\a\\b.py"];
        let others = [
            "/x/lib/python3.11/site-packages/torch/nn/modules/module.py",
            "C:\\x\\site-packages\\torch\\optim\\adamw.py",
            "/site-packages/torch/lib/libtorch_cpu.so",
            "/libpython3.11.so.1.0",
            "/usr/bin/python3",
            "/usr/bin/python3.11",
            "C:\\x\\c10.dll",
            "/usr/lib/python3.11/threading.py",
            "/rustc/0/library/core/src/ops/function.rs",
            "/home/me/.cargo/registry/src/index/rayon/src/lib.rs",
            "torch/csrc/autograd/engine.cpp",
            "/build/pytorch/aten/src/ATen/Utils.cpp",
            "<frozen importlib._bootstrap>",
            "??",
            "",
        ];
        assert!(own.iter().all(|path| is_own_file(path)));
        assert_eq!(others.iter().find(|path| is_own_file(path)), None);
    }

    #[test]
    fn blocks_are_grouped_by_tag_or_else_by_line_and_the_largest_come_first() {
        let mut snapshot = Snapshot::default();
        let mut name = |text: &str| snapshot.names.intern(text);
        let (torch, user) = (name("/site-packages/torch/x.py"), name("/home/me/project/train.py"));
        let (inner, outer, tag) = (name("empty"), name("main"), name("cache"));
        let frames = [
            Frame { file: torch, function: inner, line: 1 },
            Frame { file: user, function: outer, line: 42 },
            Frame { file: user, function: outer, line: 99 },
        ];
        let (long, short) = (snapshot.stacks.intern(frames), snapshot.stacks.intern([frames[0]]));
        let none = NameId::default();
        let groups = Grouping::new(&snapshot).group([
            (none, long, Bytes::mib(1)),
            (tag, long, Bytes::mib(3)),
            (none, long, Bytes::mib(1)),
            (none, short, Bytes::kib(1)),
        ]);
        let told: Vec<_> = groups.iter().map(|group| (group.name.as_str(), group.blocks)).collect();
        let line = "project/train.py:42 main";
        assert_eq!(
            told,
            [("cache", 1), (line, 2), ("no stack (autograd's own threads have none)", 1)]
        );
        assert_eq!(groups[1].bytes, Bytes::mib(2));
    }
}
