//! [`Repetition`]: the requests that came twice in a row, and how they are found.

use crate::{Key, Recorder};

/// A stretch of requests that are the same as those just before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Repetition {
    /// The serial number of its first request.
    pub start: u64,
    /// How many requests it has.
    pub length: usize,
}

/// The fewest requests taken for a step where nobody marks steps: 64.
pub const MIN_PERIOD: usize = 64;

impl Recorder {
    /// The latest requests, if they are the same as those before them, and nothing accumulated.
    ///
    /// That is, the last `length` keys equal the `length` before them in order, and as many bytes
    /// were live at the last request as one repetition earlier. The second condition tells a step
    /// from the layers in it: these repeat, too, but each leaves its activations behind.
    ///
    /// Where the ring holds marks, `length` is the distance from the last mark to one of the 64
    /// before it, so that two equal steps are enough, and steps that take turns are found as well.
    /// The requests may go on behind the last mark. Without marks it is the smallest that fits from
    /// [`MIN_PERIOD`] on. A loop within a step that leaves nothing behind looks like a step as long
    /// as it goes on; whoever was misled can ask for more with
    /// [`repetition_from`](Self::repetition_from).
    ///
    /// Takes time and memory linear in the ring: some milliseconds when 2¹⁸ requests are in it. Ask
    /// again only after the number of requests recorded has grown by half.
    #[must_use]
    pub fn repetition(&self) -> Option<Repetition> {
        self.repetition_from(1)
    }

    /// As [`repetition`](Self::repetition), of at least this many requests.
    #[must_use]
    pub fn repetition_from(&self, least: usize) -> Option<Repetition> {
        // The newest key first: what repeats is then a prefix.
        let serials = (self.first_serial()..self.next_serial()).rev();
        let (keys, live): (Vec<Key>, Vec<i64>) =
            serials.filter_map(|serial| self.record(serial)).map(|r| (r.key, r.live)).unzip();
        let matches = prefix_matches(&keys);
        let repeats = |length: usize| {
            length >= least.max(1)
                && matches.get(length).is_some_and(|&same| same >= length)
                && live[length] == live[0]
        };
        let length = match self.marks().split_last() {
            Some((newest, earlier)) => {
                let lengths = earlier.iter().rev().map(|mark| usize::try_from(newest - mark).ok());
                lengths.flatten().find(|&length| repeats(length))
            }
            None => (MIN_PERIOD..matches.len()).find(|&length| repeats(length)),
        };
        length.map(|length| Repetition { start: self.next_serial() - length as u64, length })
    }
}

/// For every place up to the middle, how many items from there on equal those from the first on
/// (Gusfield's Z).
fn prefix_matches(items: &[Key]) -> Vec<usize> {
    let mut matches = vec![0; items.len() / 2 + 1];
    // The match known so far that reaches farthest.
    let (mut begin, mut end) = (0, 0);
    for place in 1..matches.len() {
        let known = if place < end { matches[place - begin].min(end - place) } else { 0 };
        let more = items[place + known..].iter().zip(&items[known..]);
        let same = known + more.take_while(|(one, other)| one == other).count();
        if place + same > end {
            (begin, end) = (place, place + same);
        }
        matches[place] = same;
    }
    matches
}
