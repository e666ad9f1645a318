//! The text, as numbers.

use std::collections::BTreeSet;

/// How many characters the network sees.
pub(crate) const CONTEXT: usize = 8;
/// The characters of one share of a batch.
pub(crate) const BATCH: usize = 128;

/// A text in characters numbered from 0.
pub(crate) struct Text {
    ids: Vec<usize>,
    pub(crate) vocabulary: usize,
    random: u64,
}

impl Text {
    pub(crate) fn new() -> Self {
        let text = include_str!("../data/alice.txt").to_lowercase();
        let vocabulary: Vec<char> = text.chars().collect::<BTreeSet<_>>().into_iter().collect();
        let ids = text.chars().filter_map(|c| vocabulary.binary_search(&c).ok()).collect();
        Self { ids, vocabulary: vocabulary.len(), random: 1 }
    }

    /// The characters before, one line of [`CONTEXT`] after the other, and those that follow.
    pub(crate) fn batch(&mut self) -> (Vec<usize>, Vec<usize>) {
        let (mut before, mut next) = (Vec::new(), Vec::new());
        for _ in 0..BATCH {
            self.random = self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let places = (self.ids.len() - CONTEXT) as u64;
            let place = ((self.random >> 33) % places) as usize;
            before.extend(&self.ids[place..place + CONTEXT]);
            next.push(self.ids[place + CONTEXT]);
        }
        (before, next)
    }
}
