//! Who holds memory: live blocks grouped by tag, or by the line of the program that asked for them.

use std::collections::HashMap;

use freeboard_units::Bytes;

use crate::facts::Holder;
use crate::model::Snapshot;
use crate::moment::Moment;
use crate::names::{Frame, NameId, StackId};

/// Parts of paths that are frameworks' and not the program's.
const FRAMEWORKS: &[&str] =
    &["/torch/", "/torchvision/", "/accelerate/", "<frozen ", "/lib/python", "/rustc/"];
/// Files that are no source.
const LIBRARIES: &[&str] = &[".so", "??"];

/// Who holds the blocks of a moment, largest first.
#[must_use]
pub fn of_moment(snapshot: &Snapshot, moment: &Moment) -> Vec<Holder> {
    let mut sums: HashMap<(NameId, StackId), (Bytes, u64)> = HashMap::new();
    for (_, used) in moment.used().filter(|(_, used)| !used.pending) {
        let sum = sums.entry((used.tag, used.stack)).or_default();
        *sum = (sum.0 + used.size, sum.1 + 1);
    }
    let mut by_name: HashMap<String, Holder> = HashMap::new();
    for ((tag, stack), (bytes, blocks)) in sums {
        let name = name(snapshot, tag, stack);
        let holder = by_name.entry(name).or_insert_with_key(|name| Holder {
            name: name.clone(),
            bytes: Bytes::ZERO,
            blocks: 0,
        });
        holder.bytes += bytes;
        holder.blocks += blocks;
    }
    largest_first(by_name.into_values().collect())
}

/// Largest first; of equal ones by name, so that the order does not depend on chance.
#[must_use]
pub fn largest_first(mut holders: Vec<Holder>) -> Vec<Holder> {
    holders.sort_by(|a, b| (b.bytes, &a.name).cmp(&(a.bytes, &b.name)));
    holders
}

/// What to call the holder of a block: its tag; else the innermost line of the program itself.
#[must_use]
pub fn name(snapshot: &Snapshot, tag: NameId, stack: StackId) -> String {
    if !tag.is_zero() {
        return snapshot.names.get(tag).to_owned();
    }
    let frames = || snapshot.stacks.get(stack);
    let file = |frame: &Frame| snapshot.names.get(frame.file);
    let source = |frame: &&Frame| !LIBRARIES.iter().any(|part| file(frame).contains(part));
    let own = |frame: &&Frame| !FRAMEWORKS.iter().any(|part| file(frame).contains(part));
    let frame = frames().filter(source).find(own).or_else(|| frames().find(source));
    let Some(frame) = frame.or_else(|| frames().next()) else {
        return "(no stack recorded)".to_owned();
    };
    let (path, function) = (file(frame), snapshot.names.get(frame.function));
    let short = path.rsplit(['/', '\\']).next().unwrap_or(path);
    format!("{function} ({short}:{})", frame.line)
}
