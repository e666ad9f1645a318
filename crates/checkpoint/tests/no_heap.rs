//! A step allocates nothing on the heap beyond what its segments do, by a counting allocator.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::convert::Infallible;

use freeboard_checkpoint::{
    Chain, Check, Fingerprint, Layer, Link, Operation, Plan, Random, Runner, Segment, keep_all,
};
use freeboard_counting::Counting;
use freeboard_units::Bytes;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// A number, in a box where it is to be counted.
struct Double<const BOXED: bool>;

enum Number<const BOXED: bool> {
    Plain(f32),
    Boxed(Box<f32>),
}

impl<const BOXED: bool> Number<BOXED> {
    fn new(number: f32) -> Self {
        if BOXED { Self::Boxed(Box::new(number)) } else { Self::Plain(number) }
    }

    fn get(&self) -> f32 {
        match self {
            Self::Plain(number) => *number,
            Self::Boxed(number) => **number,
        }
    }
}

impl<const BOXED: bool> Segment for Double<BOXED> {
    type Value = Number<BOXED>;
    type Saved = Number<BOXED>;
    type Error = Infallible;

    fn name(&self) -> &'static str {
        "double"
    }

    fn forward(&self, input: &Self::Value, _: Random) -> Result<Self::Value, Infallible> {
        Ok(Number::new(input.get() * 2.0))
    }

    fn forward_saving(&self, input: &Self::Value, _: Random) -> Result<Self::Saved, Infallible> {
        Ok(Number::new(input.get() * 2.0))
    }

    fn output<'saved>(&self, saved: &'saved Self::Saved) -> Option<&'saved Self::Value> {
        Some(saved)
    }

    fn backward(
        &mut self,
        _: &Self::Value,
        _: &Self::Saved,
        gradient: &Self::Value,
        _: Random,
    ) -> Result<Self::Value, Infallible> {
        Ok(Number::new(gradient.get() * 2.0))
    }

    fn fingerprint(&self, output: &Self::Value, values: bool) -> Option<Fingerprint> {
        let print = Fingerprint::new(Bytes::new(4));
        Some(if values { print.values(1, |_| output.get().to_bits().into()) } else { print })
    }
}

/// Heap allocations of the third step by this plan.
fn allocations<const BOXED: bool>(plan: &Plan, layers: usize) -> u64 {
    let mut segments: Vec<_> = (0..layers).map(|_| Double::<BOXED>).collect();
    let mut runner = Runner::new(&segments, plan).unwrap().checking(Check::Values);
    let mut step = || {
        let loss = |output: &Number<BOXED>| Ok(Number::new(output.get()));
        runner.run(&mut segments, Number::new(1.0), Random::new(1), loss).unwrap()
    };
    step();
    step();
    let before = Counting::allocations();
    let made = step();
    assert_eq!(made.get().to_bits(), 2.0_f32.powi(2 * i32::try_from(layers).unwrap()).to_bits());
    Counting::allocations() - before
}

#[test]
fn a_step_allocates_what_its_segments_allocate() {
    let layers = 6;
    let chain = Chain::new(Bytes::ZERO, vec![Layer::new("double", 1.0, 1.0); layers]).unwrap();
    let mut operations = vec![Operation::ForwardKeep { layer: 1 }];
    operations.extend((2..=3).map(|layer| Operation::ForwardDrop { layer }));
    for stretch in [4..=6, 1..=3] {
        operations.extend(stretch.clone().map(|layer| Operation::ForwardSave { layer }));
        operations.extend(stretch.rev().map(|layer| Operation::Backward { layer }));
    }
    let recomputes = Plan::new(&chain, operations, Link::NONE).unwrap();
    for plan in [keep_all(&chain), recomputes] {
        assert_eq!(allocations::<false>(&plan, layers), 0);
        // One for each operation, one for the input and one for the gradient of the loss.
        let each = plan.operations.len() as u64 + 2;
        assert_eq!(allocations::<true>(&plan, layers), each);
    }
}
