//! [`Random`]: random numbers that are a function of where they are used.

use freeboard_units::philox;

/// Random numbers for one place of a program: a pure function of a seed, a path and an index.
///
/// Nothing advances. What a layer draws in its forward pass it draws again when it is recomputed, on
/// any thread and any device, because it is handed the same value. Philox4x32-10 (Salmon et al.,
/// SC '11) makes the bits.
///
/// ```
/// use freeboard_checkpoint::Random;
///
/// let step = Random::new(42).fork(7); // the seventh step
/// let layer = step.fork(3); // its third layer
/// assert_eq!(layer.uniform(1_000), Random::new(42).fork(7).fork(3).uniform(1_000));
/// assert_ne!(layer.uniform(1_000), step.fork(4).uniform(1_000));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Random {
    seed: u64,
    path: u64,
}

impl Random {
    /// The root of all numbers of this seed.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self { seed, path: 0 }
    }

    /// The numbers of a place within this one: a step, a layer, a use.
    #[must_use]
    pub fn fork(self, label: u64) -> Self {
        let [a, b, c, d] = philox(self.seed ^ self.path, words(label, 1 << 63));
        Self { seed: join(a, b), path: join(c, d) }
    }

    /// The four words of random bits at `index`.
    #[must_use]
    pub fn bits(self, index: u64) -> [u32; 4] {
        philox(self.seed, words(index, self.path >> 1))
    }

    /// A number in [0, 1) with 24 random bits at `index`.
    #[must_use]
    pub fn uniform(self, index: u64) -> f32 {
        let bits = self.bits(index / 4)[usize::try_from(index % 4).unwrap_or(0)];
        unit(bits)
    }

    /// Fills `numbers` with those from index 0 on, as [`uniform`](Self::uniform) gives them.
    pub fn fill(self, numbers: &mut [f32]) {
        for (chunk, index) in numbers.chunks_mut(4).zip(0..) {
            for (number, bits) in chunk.iter_mut().zip(self.bits(index)) {
                *number = unit(bits);
            }
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "24 bits are exact")]
fn unit(bits: u32) -> f32 {
    (bits >> 8) as f32 / 16_777_216.0
}

#[expect(clippy::cast_possible_truncation, reason = "two halves of each number")]
const fn words(low: u64, high: u64) -> [u32; 4] {
    [low as u32, (low >> 32) as u32, high as u32, (high >> 32) as u32]
}

const fn join(low: u32, high: u32) -> u64 {
    low as u64 | (high as u64) << 32
}

#[cfg(test)]
mod tests {
    use super::Random;

    #[test]
    fn filling_is_asking_one_by_one() {
        let random = Random::new(3).fork(9);
        let mut numbers = [0.0; 11];
        random.fill(&mut numbers);
        for (number, index) in numbers.iter().zip(0..) {
            assert!(number.to_bits() == random.uniform(index).to_bits());
            assert!((0.0..1.0).contains(number));
        }
    }

    #[test]
    fn places_differ_and_the_mean_is_a_half() {
        let places = (0..100).map(|label| Random::new(1).fork(label));
        let mut numbers: Vec<f32> =
            places.flat_map(|place| (0..100).map(move |index| place.uniform(index))).collect();
        let mean = numbers.iter().map(|&number| f64::from(number)).sum::<f64>() / 10_000.0;
        assert!((mean - 0.5).abs() < 0.02, "{mean}");
        numbers.sort_by(f32::total_cmp);
        numbers.dedup();
        assert!(numbers.len() > 9_980, "{}", numbers.len());
    }
}
