//! [`Costs`]: a chain's numbers as the planners use them, and what each operation needs.
//!
//! A stretch s..t is processed with a(s-1) stored by somebody else, and, where t is not the last layer,
//! with the gradient of a(t) there. `room` is the memory for everything but a(s-1): that gradient is
//! the stretch's to hold.

use crate::Chain;

/// Numbers by layer; index i is layer i, and a(i) for `output`.
pub(crate) struct Costs {
    pub(crate) layers: usize,
    /// a(0) to a(L).
    pub(crate) output: Vec<u64>,
    pub(crate) saved: Vec<u64>,
    forward_extra: Vec<u64>,
    backward_extra: Vec<u64>,
    /// The time of layers 1 to i forward.
    forward_until: Vec<f64>,
}

impl Costs {
    pub(crate) fn new(chain: &Chain) -> Self {
        let column = |first: u64, get: fn(&crate::Layer) -> u64| {
            let rest = chain.layers().iter().map(get);
            std::iter::once(first).chain(rest).collect::<Vec<_>>()
        };
        let mut forward_until = vec![0.0];
        let mut until = 0.0;
        for layer in chain.layers() {
            until += layer.forward_time;
            forward_until.push(until);
        }
        Self {
            layers: chain.layers().len(),
            output: column(chain.input_bytes().get(), |layer| layer.output_bytes.get()),
            saved: column(0, |layer| layer.saved_bytes.get()),
            forward_extra: column(0, |layer| layer.forward_extra_bytes.get()),
            backward_extra: column(0, |layer| layer.backward_extra_bytes.get()),
            forward_until,
        }
    }

    /// The gradient held while a stretch that ends at `t` goes forward.
    pub(crate) fn held(&self, t: usize) -> u64 {
        if t < self.layers { self.output[t] } else { 0 }
    }

    /// The time of layers s to t forward.
    pub(crate) fn forward_time(&self, s: usize, t: usize) -> f64 {
        self.forward_until[t] - self.forward_until[s - 1]
    }

    /// How many ways there are to part stretches that run forward in no more than this time. Others
    /// are of no interest where no more extra time is.
    pub(crate) fn work(&self, extra: f64) -> u64 {
        let squares = self.forward_until.iter().enumerate().map(|(s, before)| {
            let after = self.forward_until.partition_point(|until| until - before <= extra);
            ((after - s) as u64).pow(2)
        });
        squares.sum::<u64>() / 2
    }

    /// What saving `s` and its backward pass need, in a stretch s..t, beside the stretch s+1..t.
    pub(crate) fn save_needs(&self, s: usize, t: usize) -> u64 {
        let made = self.saved[s] + if s == self.layers { self.output[s] } else { 0 };
        let forward = self.held(t) + made + self.forward_extra[s];
        let backward = self.output[s] + self.saved[s] + self.output[s - 1] + self.backward_extra[s];
        forward.max(backward)
    }

    /// What running forward from `s` to each layer from it on needs, beside what is held.
    pub(crate) fn passes(&self, s: usize) -> Vec<u64> {
        let passes = (s..=self.layers).scan(0, |most, k| {
            *most = self.pass_needs(s, k).max(*most);
            Some(*most)
        });
        passes.collect()
    }

    /// What running layer `k` forward needs in a stretch that begins at `s`, beside what is held.
    fn pass_needs(&self, s: usize, k: usize) -> u64 {
        let input = if k == s { 0 } else { self.output[k - 1] };
        input + self.output[k] + self.forward_extra[k]
    }
}
