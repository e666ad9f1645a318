//! [`Texts`]: every text of a file once, by number; [`Pairs`]: the same for pairs of numbers.

use std::collections::HashMap;
use std::sync::Arc;

use super::key::WORDS;
use super::value::NUMBER_MAX;

/// The words of [`WORDS`] come first. Hashing is keyed, because files come from strangers.
pub(super) struct Texts {
    numbers: HashMap<Arc<str>, u32>,
    known: Vec<Arc<str>>,
    /// The last short texts, by their bytes: a file says `N/A` as often as it has events.
    recent: Box<[(u64, u32); RECENT]>,
    bytes: usize,
}

const RECENT: usize = 64;

/// A text of up to seven bytes as a number that is not zero.
fn short(text: &[u8]) -> Option<u64> {
    if text.len() > 7 {
        return None;
    }
    let mut bytes = [0; 8];
    bytes[..text.len()].copy_from_slice(text);
    bytes[7] = u8::try_from(text.len() + 1).unwrap_or(u8::MAX);
    Some(u64::from_le_bytes(bytes))
}

impl Texts {
    pub(super) fn new() -> Self {
        let recent = Box::new([(0, 0); RECENT]);
        let mut all = Self { numbers: HashMap::new(), known: Vec::new(), recent, bytes: 0 };
        for word in WORDS {
            all.add(word);
        }
        all
    }

    fn add(&mut self, text: &str) -> Option<u32> {
        if let Some(&number) = self.numbers.get(text) {
            return Some(number);
        }
        let number = u32::try_from(self.known.len()).ok().filter(|&number| number < NUMBER_MAX)?;
        let text: Arc<str> = text.into();
        // The text, its two counts, and a place in each table.
        self.bytes += text.len() + 80;
        self.known.push(text.clone());
        self.numbers.insert(text, number);
        Some(number)
    }

    /// The number of a text; `None` if there are too many. What is no UTF-8 (Python writes
    /// half-pairs from file names) is replaced by `�`.
    pub(super) fn intern(&mut self, bytes: &[u8]) -> Option<u32> {
        let Some(key) = short(bytes) else {
            return self.add(&String::from_utf8_lossy(bytes));
        };
        // Any spreading will do: a wrong guess costs a look into the table.
        let place = (key.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 58) as usize;
        let (known, number) = self.recent[place];
        if known == key {
            return Some(number);
        }
        let number = self.add(&String::from_utf8_lossy(bytes))?;
        self.recent[place] = (key, number);
        Some(number)
    }

    pub(super) fn get(&self, number: u32) -> &str {
        self.known.get(number as usize).map_or("", |text| text)
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }
}

/// Pairs of whole numbers, each once.
#[derive(Default)]
pub(super) struct Pairs {
    numbers: HashMap<(i64, i64), u32>,
    known: Vec<(i64, i64)>,
    last: Option<((i64, i64), u32)>,
}

impl Pairs {
    pub(super) fn intern(&mut self, pair: (i64, i64)) -> Option<u32> {
        if let Some((last, number)) = self.last
            && last == pair
        {
            return Some(number);
        }
        let next = u32::try_from(self.known.len()).ok().filter(|&next| next < NUMBER_MAX)?;
        let number = *self.numbers.entry(pair).or_insert(next);
        if number == next {
            self.known.push(pair);
        }
        self.last = Some((pair, number));
        Some(number)
    }

    pub(super) fn get(&self, number: u32) -> (i64, i64) {
        self.known.get(number as usize).copied().unwrap_or_default()
    }

    pub(super) fn bytes(&self) -> usize {
        48 * self.known.len()
    }
}
