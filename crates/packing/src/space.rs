//! [`Space`]: which addresses are taken when, and where the next buffer fits.

use crate::sections::Item;

/// Addresses, as ranges in order that do not touch.
#[derive(Clone, Debug, Default)]
struct Ranges(Vec<(u64, u64)>);

impl Ranges {
    fn add(&mut self, mut start: u64, mut end: u64) {
        let first = self.0.partition_point(|range| range.1 < start);
        let touched = self.0[first..].iter().take_while(|range| range.0 <= end).count();
        if touched == 0 {
            self.0.insert(first, (start, end));
            return;
        }
        start = start.min(self.0[first].0);
        end = end.max(self.0[first + touched - 1].1);
        self.0[first] = (start, end);
        self.0.drain(first + 1..first + touched);
    }
}

/// Which of the gaps that are large enough.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fit {
    Lowest,
    Smallest,
}

/// Which addresses are taken in which section.
///
/// A binary tree over the sections. What a buffer takes is noted in the few nodes that together are
/// its lifetime (`whole`), and in all nodes above and among these (`part`). Buffers that live long
/// lie next to each other, so the merged ranges stay few.
#[derive(Debug)]
pub(crate) struct Space {
    leaves: usize,
    /// Taken in every section below the node.
    whole: Vec<Ranges>,
    /// Taken in some section below the node.
    part: Vec<Ranges>,
    /// What is taken during the lifetime asked about.
    taken: Vec<(u64, u64)>,
    /// Ranges looked at so far: the measure of work.
    pub(crate) work: u64,
}

impl Space {
    pub(crate) fn new(sections: usize) -> Self {
        let leaves = sections.next_power_of_two();
        let nodes = vec![Ranges::default(); 2 * leaves];
        Self { leaves, whole: nodes.clone(), part: nodes, taken: Vec::new(), work: 0 }
    }

    /// Takes these addresses while the buffer is live.
    pub(crate) fn take(&mut self, item: &Item, offset: u64) {
        let end = offset + item.size;
        let (below, above) = self.nodes(item);
        for node in below {
            self.whole[node].add(offset, end);
            self.part[node].add(offset, end);
        }
        for node in above {
            self.part[node].add(offset, end);
        }
    }

    /// Where the buffer fits.
    pub(crate) fn find(&mut self, item: &Item, fit: Fit) -> u64 {
        let (below, above) = self.nodes(item);
        let mut taken = std::mem::take(&mut self.taken);
        taken.clear();
        for node in below {
            taken.extend_from_slice(&self.part[node].0);
        }
        for node in above {
            taken.extend_from_slice(&self.whole[node].0);
        }
        taken.sort_unstable();
        self.work += taken.len() as u64 + 1;
        let (mut end, mut best) = (0, None);
        for &(start, next) in &taken {
            if start >= end && start - end >= item.size {
                let gap = start - end;
                if best.is_none_or(|(smallest, _)| gap < smallest) {
                    best = Some((gap, end));
                }
                if fit == Fit::Lowest {
                    break;
                }
            }
            end = end.max(next);
        }
        self.taken = taken;
        best.map_or(end, |(_, offset)| offset)
    }

    /// The nodes that together are the lifetime, and all those above them.
    fn nodes(&self, item: &Item) -> (Vec<usize>, Vec<usize>) {
        let (first, last) = (item.first as usize + self.leaves, item.last as usize + self.leaves);
        let (mut left, mut right) = (first, last + 1);
        let (mut below, mut above) = (Vec::with_capacity(32), Vec::with_capacity(32));
        while left < right {
            if left % 2 == 1 {
                below.push(left);
                left += 1;
            }
            if right % 2 == 1 {
                right -= 1;
                below.push(right);
            }
            left /= 2;
            right /= 2;
        }
        let (mut left, mut right) = (first / 2, last / 2);
        while left >= 1 {
            above.push(left);
            if right != left {
                above.push(right);
            }
            left /= 2;
            right /= 2;
        }
        (below, above)
    }
}
