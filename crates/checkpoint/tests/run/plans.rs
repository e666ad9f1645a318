//! Valid plans of every kind, made from a stream of choices.

use freeboard_checkpoint::{Chain, Link, Operation, Plan, Stored, check};

/// Decisions, one after the other; 0 for ever once they are used up.
pub(crate) struct Choices<'c>(pub(crate) &'c [u8]);

impl Choices<'_> {
    fn below(&mut self, bound: usize) -> usize {
        let Some((&first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        usize::from(first) % bound
    }
}

/// A persistent plan: each stretch either saves its first layer, or keeps that one's input, runs on
/// to a later layer, does the rest, and comes back.
pub(crate) fn persistent(chain: &Chain, choices: &mut Choices<'_>) -> Plan {
    let mut operations = Vec::new();
    stretch(1, chain.layers().len(), choices, &mut operations);
    Plan::new(chain, operations, Link::NONE).unwrap()
}

fn stretch(first: usize, last: usize, choices: &mut Choices<'_>, made: &mut Vec<Operation>) {
    let middle = first + choices.below(last - first + 1);
    if middle == first {
        made.push(Operation::ForwardSave { layer: first });
        if first < last {
            stretch(first + 1, last, choices, made);
        }
        made.push(Operation::Backward { layer: first });
        return;
    }
    made.push(Operation::ForwardKeep { layer: first });
    made.extend((first + 1..middle).map(|layer| Operation::ForwardDrop { layer }));
    stretch(middle, last, choices, made);
    stretch(first, middle - 1, choices, made);
}

/// The same plan with some of what it stores on the host for a while.
pub(crate) fn offloading(chain: &Chain, plan: Plan, choices: &mut Choices<'_>) -> Plan {
    let mut operations = plan.operations;
    for _ in 0..24 {
        let layer = 1 + choices.below(chain.layers().len());
        let what = [Stored::Input, Stored::Saved][choices.below(2)];
        let mut places: Vec<usize> = (0..4).map(|_| choices.below(operations.len() + 1)).collect();
        places.sort_unstable();
        let inserted = [
            Operation::Offload { layer, what },
            Operation::Release { layer, what },
            Operation::Fetch { layer, what },
            Operation::Await { layer, what },
        ];
        let mut longer = operations.clone();
        for (operation, place) in inserted.into_iter().zip(places).rev() {
            longer.insert(place, operation);
        }
        if check(chain, &longer, Link::new(1.0)).is_ok() {
            operations = longer;
        }
    }
    Plan::new(chain, operations, Link::new(1.0)).unwrap()
}

/// Keep every k-th input and recompute between them, once.
pub(crate) fn every(chain: &Chain, k: usize) -> Plan {
    let layers = chain.layers().len();
    let mut operations = Vec::new();
    let starts: Vec<usize> = (1..=layers).step_by(k).collect();
    let end = |start: usize| (start + k - 1).min(layers);
    for &start in &starts[..starts.len() - 1] {
        operations.push(Operation::ForwardKeep { layer: start });
        operations.extend((start + 1..=end(start)).map(|layer| Operation::ForwardDrop { layer }));
    }
    for &start in starts.iter().rev() {
        operations.extend((start..=end(start)).map(|layer| Operation::ForwardSave { layer }));
        operations.extend((start..=end(start)).rev().map(|layer| Operation::Backward { layer }));
    }
    Plan::new(chain, operations, Link::NONE).unwrap()
}
