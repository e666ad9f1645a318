//! Every persistent plan, by search through all states a step can be in. The rules are written down
//! here a second time.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};

use freeboard_checkpoint::Chain;

/// What is in memory: bit i is a(i) or saved(i).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct State {
    plain: u32,
    /// Plain values that were read and kept: they stay until their backward pass.
    kept: u32,
    saved: u32,
    gradient: Option<usize>,
}

/// One operation from a state: what it leads to, the memory during it, its time.
struct Edge {
    to: State,
    during: u64,
    time: u64,
}

struct Rules<'a>(&'a Chain);

impl Rules<'_> {
    fn layers(&self) -> usize {
        self.0.layers().len()
    }

    fn size(&self, index: usize) -> u64 {
        self.0.activation_bytes(index).get()
    }

    fn held(&self, state: State) -> u64 {
        let plain = (0..=self.layers()).filter(|index| state.plain >> index & 1 == 1);
        let saved = (1..=self.layers()).filter(|index| state.saved >> index & 1 == 1);
        plain.map(|index| self.size(index)).sum::<u64>()
            + saved.map(|index| self.0.layers()[index - 1].saved_bytes.get()).sum::<u64>()
            + state.gradient.map_or(0, |index| self.size(index))
    }

    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "small and whole")]
    fn edges(&self, state: State) -> Vec<Edge> {
        let mut edges = Vec::new();
        let held = self.held(state);
        for i in 1..=self.layers() {
            let layer = &self.0.layers()[i - 1];
            let (input, output) = (1_u32 << (i - 1), 1_u32 << i);
            if (state.plain | state.saved) & input == 0 {
                continue;
            }
            let kept = state.kept | state.plain & input;
            let forward = layer.forward_time as u64;
            let during = held + layer.output_bytes.get() + layer.forward_extra_bytes.get();
            if state.plain & output == 0 {
                let plain = state.plain | output;
                edges.push(Edge { to: State { plain, kept, ..state }, during, time: forward });
                if state.kept & input == 0 {
                    let plain = plain & !input;
                    edges.push(Edge { to: State { plain, ..state }, during, time: forward });
                }
            }
            if state.saved & output == 0 {
                let last = i == self.layers();
                let gradient = if last { Some(i) } else { state.gradient };
                let to = State { kept, saved: state.saved | output, gradient, ..state };
                let made = layer.saved_bytes.get() + if last { self.size(i) } else { 0 };
                let during = held + made + layer.forward_extra_bytes.get();
                edges.push(Edge { to, during, time: forward });
            }
            if state.saved & output != 0 && state.gradient == Some(i) {
                let to = State {
                    plain: state.plain & !input,
                    kept: state.kept & !input,
                    saved: state.saved & !output,
                    gradient: Some(i - 1),
                };
                let during = held + self.size(i - 1) + layer.backward_extra_bytes.get();
                edges.push(Edge { to, during, time: layer.backward_time as u64 });
            }
        }
        edges
    }

    /// The least cost of any way to the gradient of the input.
    fn search(&self, cost: impl Fn(u64, &Edge) -> Option<u64>) -> Option<u64> {
        let start = State { plain: 1, kept: 0, saved: 0, gradient: None };
        let first = self.size(0);
        let start_cost = cost(0, &Edge { to: start, during: first, time: 0 })?;
        let mut known = HashMap::from([(start, start_cost)]);
        let mut queue = BinaryHeap::from([Reverse((start_cost, start))]);
        while let Some(Reverse((spent, state))) = queue.pop() {
            if state.gradient == Some(0) {
                return Some(spent);
            }
            if known[&state] < spent {
                continue;
            }
            for edge in self.edges(state) {
                let Some(next) = cost(spent, &edge) else { continue };
                let best = known.entry(edge.to).or_insert(u64::MAX);
                if next < *best {
                    *best = next;
                    queue.push(Reverse((next, edge.to)));
                }
            }
        }
        None
    }
}

/// The least peak of any persistent plan, in bytes.
pub(crate) fn least_peak(chain: &Chain) -> u64 {
    Rules(chain).search(|spent, edge| Some(spent.max(edge.during))).unwrap()
}

/// The least time of any persistent plan within `budget` bytes. Times are whole.
#[expect(clippy::cast_precision_loss, reason = "small and whole")]
pub(crate) fn least_time(chain: &Chain, budget: u64) -> Option<f64> {
    Rules(chain)
        .search(|spent, edge| (edge.during <= budget).then_some(spent + edge.time))
        .map(|time| time as f64)
}
