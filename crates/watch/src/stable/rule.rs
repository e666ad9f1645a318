//! The rule that tells growth from everything else, on bare numbers.

/// Windows that the samples are divided into.
const WINDOWS: usize = 4;
/// Samples kept; beyond, neighbours are joined.
const MOST: usize = 4096;

/// Live bytes at the ends of steps. Bounded: where there are many, the least of several neighbours
/// stands for them.
#[derive(Clone, Debug)]
pub(super) struct Series {
    values: Vec<u64>,
    /// Samples that one value stands for.
    stride: u64,
    /// The samples of the value in the making: the least, and how many.
    least: u64,
    waiting: u64,
}

impl Default for Series {
    fn default() -> Self {
        Self { values: Vec::new(), stride: 1, least: u64::MAX, waiting: 0 }
    }
}

impl Series {
    pub(super) fn push(&mut self, sample: u64) {
        self.least = self.least.min(sample);
        self.waiting += 1;
        if self.waiting < self.stride {
            return;
        }
        self.values.push(self.least);
        (self.least, self.waiting) = (u64::MAX, 0);
        if self.values.len() == MOST {
            self.values = self.values.chunks(2).map(|two| two[0].min(two[1])).collect();
            self.stride *= 2;
        }
    }

    /// The growth that persists, if there is one.
    pub(super) fn rise(&self) -> Option<Rise> {
        let width = self.values.len() / WINDOWS;
        let first = self.values.len() - width * WINDOWS;
        let windows: Vec<Window> =
            self.values[first..].chunks_exact(width.max(1)).map(Window::of).collect();
        if width == 0 || windows.windows(2).any(|two| two[1].least <= two[0].median) {
            return None;
        }
        let (low, high) = (windows[0].least, windows[WINDOWS - 1].least);
        let last = high - windows[WINDOWS - 2].least;
        // Growth that slackens is a cache that fills.
        let gaps = WINDOWS as u64 - 1;
        if last.saturating_mul(2 * gaps) < high - low {
            return None;
        }
        let steps = gaps.saturating_mul(width as u64).saturating_mul(self.stride);
        Some(Rise { bytes: high - low, steps })
    }
}

/// A stretch of samples.
struct Window {
    least: u64,
    median: u64,
}

impl Window {
    fn of(values: &[u64]) -> Self {
        let mut sorted = values.to_vec();
        sorted.sort_unstable();
        Self { least: sorted[0], median: sorted[(sorted.len() - 1) / 2] }
    }
}

/// Growth: so many bytes in so many steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rise {
    pub(super) bytes: u64,
    pub(super) steps: u64,
}

impl Rise {
    pub(super) fn per_step(self) -> u64 {
        self.bytes.div_ceil(self.steps.max(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;
    const NEVER: [u64; 0] = [];

    /// The steps after which the samples so far count as growth, of 20, 25, 31, ... looked at.
    fn called(sample: impl Fn(u64) -> u64, steps: u64) -> Vec<u64> {
        let (mut series, mut next, mut found) = (Series::default(), 20, Vec::new());
        for step in 0..steps {
            series.push(sample(step));
            if step + 1 == next {
                found.extend(series.rise().map(|_| next));
                next = next * 5 / 4;
            }
        }
        found
    }

    /// A number that looks random, the same every time.
    fn noise(step: u64) -> u64 {
        let mut x = step.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x ^ (x >> 31)
    }

    #[test]
    fn steady_growth_is_called_at_once_and_measured() {
        let mut series = Series::default();
        (0..20).for_each(|step| series.push(100 * MIB + step * MIB));
        let rise = series.rise().expect("it grows");
        assert_eq!((rise.bytes, rise.steps, rise.per_step()), (15 * MIB, 15, MIB));
    }

    #[test]
    fn constant_falling_and_one_time_growth_are_not() {
        assert_eq!(called(|_| 100 * MIB, 2000), NEVER);
        assert_eq!(called(|step| (3000 - step) * MIB, 2000), NEVER);
        for at in 0..200 {
            assert_eq!(
                called(|step| if step < at { 100 * MIB } else { 900 * MIB }, 400),
                NEVER,
                "{at}"
            );
        }
    }

    #[test]
    fn two_workspaces_created_late_are_not() {
        for (one, two) in (0..60).flat_map(|one| (one..60).map(move |two| (one, two))) {
            let live =
                |step| 100 * MIB + u64::from(step >= one) * MIB + u64::from(step >= two) * MIB;
            assert_eq!(called(live, 100), NEVER, "{one} {two}");
        }
    }

    #[test]
    fn a_sawtooth_with_a_period_of_up_to_15_steps_is_not() {
        for period in 1..=15 {
            for phase in 0..period {
                let rising = called(|step| 100 * MIB + (step + phase) % period * MIB, 1000);
                assert_eq!(rising, NEVER, "period {period}, phase {phase}");
                let falling = called(|step| 200 * MIB - (step + phase) % period * MIB, 1000);
                assert_eq!(falling, NEVER, "period {period}, phase {phase}");
            }
        }
    }

    #[test]
    fn a_cache_that_fills_ever_more_slowly_is_not() {
        for steps in [5.0, 10.0, 20.0] {
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "small")]
            #[expect(clippy::cast_precision_loss, reason = "small")]
            let live = |step: u64| (1e9 * (1.0 - (-(step as f64) / steps).exp())) as u64;
            let late: Vec<u64> = called(live, 2000).into_iter().filter(|&at| at > 60).collect();
            assert_eq!(late, NEVER);
        }
    }

    #[test]
    fn noise_is_not() {
        for seed in 0..200 {
            let live = |step| 100 * MIB + noise(step + 10_000 * seed) % (50 * MIB);
            assert_eq!(called(live, 3000), NEVER, "seed {seed}");
        }
    }

    #[test]
    fn growth_is_called_under_noise_and_under_a_sawtooth_and_in_stairs() {
        let noisy = called(|step| step * MIB + noise(step) % (20 * MIB), 3000);
        assert!(noisy.first().is_some_and(|&at| at <= 100), "{noisy:?}");
        let toothed = called(|step| step * MIB + step % 10 * 5 * MIB, 3000);
        assert!(toothed.first().is_some_and(|&at| at <= 220), "{toothed:?}");
        let stairs = called(|step| step / 50 * MIB, 3000);
        assert!(stairs.last().is_some_and(|&at| at > 2000), "{stairs:?}");
    }

    #[test]
    fn a_long_run_keeps_few_samples_and_still_measures() {
        let mut series = Series::default();
        (0..1_000_000).for_each(|step| series.push(step * 512));
        assert!(series.values.len() < MOST);
        let rise = series.rise().expect("it grows");
        assert_eq!(rise.per_step(), 512);
    }
}
