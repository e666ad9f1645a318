//! Plans that move what they store to a host that really takes it.

use std::collections::BTreeSet;
use std::rc::Rc;

use freeboard_checkpoint::{
    Chain, Check, Link, Meter, Offload, Operation, Plan, Random, RunError, Runner, RunnerError,
    Stored, keep_all,
};
use proptest::prelude::*;

use crate::model::{
    Dense, Gradients, Kept, Ledger, Told, Vector, forget_runs, input, loss, network, step, weights,
};
use crate::numbers::{expected, shape};
use crate::plans::{Choices, offloading, persistent};

/// Host memory that is filled when a copy is waited for, no sooner.
pub(crate) struct Shelf(pub(crate) Rc<Ledger>);

impl Shelf {
    /// A call to it, with what is in use after `work`.
    fn call<T>(&self, work: impl FnOnce() -> T) -> Result<T, Told> {
        self.0.call()?;
        let made = work();
        self.0.end();
        Ok(made)
    }

    fn back(&self, host: Vec<f32>) -> (Vector, Vec<f32>) {
        (Vector::new(&self.0, vec![f32::NAN; host.len()]), host)
    }
}

fn arrived((mut device, host): (Vector, Vec<f32>)) -> Vector {
    device.numbers.copy_from_slice(&host);
    device
}

impl Offload<Vector, Told> for Shelf {
    type Leaving = ();
    type Away = Vec<f32>;
    type Arriving = (Vector, Vec<f32>);

    fn begin_out(&mut self, _: &Vector) -> Result<(), Told> {
        self.call(|| ())
    }

    fn finish_out(&mut self, value: Vector, (): ()) -> Result<Vec<f32>, Told> {
        self.call(|| value.numbers.clone())
    }

    fn begin_back(&mut self, away: Vec<f32>) -> Result<(Vector, Vec<f32>), Told> {
        self.call(|| self.back(away))
    }

    fn finish_back(&mut self, arriving: (Vector, Vec<f32>)) -> Result<Vector, Told> {
        self.call(|| arrived(arriving))
    }
}

impl Offload<Kept, Told> for Shelf {
    type Leaving = ();
    type Away = [Vec<f32>; 2];
    type Arriving = [(Vector, Vec<f32>); 2];

    fn begin_out(&mut self, _: &Kept) -> Result<(), Told> {
        self.call(|| ())
    }

    fn finish_out(&mut self, value: Kept, (): ()) -> Result<Self::Away, Told> {
        self.call(|| [value.output.numbers.clone(), value.slope.numbers.clone()])
    }

    fn begin_back(&mut self, away: Self::Away) -> Result<Self::Arriving, Told> {
        self.call(|| away.map(|host| self.back(host)))
    }

    fn finish_back(&mut self, arriving: Self::Arriving) -> Result<Kept, Told> {
        self.call(|| {
            let [output, slope] = arriving.map(arrived);
            Kept { output, slope }
        })
    }
}

pub(crate) fn offloaded(
    segments: &mut [Dense],
    runner: &mut Runner<Dense, Shelf>,
) -> Result<Gradients, RunError<Told>> {
    let ledger = Rc::clone(&segments[0].ledger);
    forget_runs(segments);
    weights(&mut *segments);
    ledger.start();
    let random = Random::new(5).fork(1);
    let made = runner.run(segments, input(&ledger), random, |output| loss(output, 1.0))?;
    Ok((made.bits(), weights(segments)))
}

pub(crate) fn runner(segments: &[Dense], plan: &Plan) -> Runner<Dense, Shelf> {
    let shelf = Shelf(Rc::clone(&segments[0].ledger));
    Runner::offloading(segments, plan, shelf).unwrap().checking(Check::Values)
}

/// A plan that offloads something.
fn plan(chain: &Chain, choices: &[u8]) -> Plan {
    let mut choices = Choices(choices);
    let plan = persistent(chain, &mut choices);
    offloading(chain, plan, &mut choices)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn what_comes_back_from_the_host_is_what_went_there(
        shape in shape(6),
        choices in prop::collection::vec(any::<u8>(), 100..300),
    ) {
        let ledger = Rc::new(Ledger::default());
        let (mut segments, chain) = network(&ledger, &shape);
        let kept = step(&mut segments, &keep_all(&chain)).unwrap();
        let plan = plan(&chain, &choices);
        let mut runner = runner(&segments, &plan);
        prop_assert_eq!(&offloaded(&mut segments, &mut runner).unwrap(), &kept);
        prop_assert_eq!(&*ledger.during.borrow(), &expected(&chain, &plan, Link::new(1.0)));
        prop_assert_eq!(ledger.in_use().get(), 0);

        // Two passes over one step: what came back for the first one stays for the second.
        forget_runs(&segments);
        let random = Random::new(5).fork(1);
        let mut held = runner.forward(&segments, input(&ledger), random).unwrap();
        let gradient = loss(held.output(&segments).unwrap(), 1.0).unwrap();
        let first = held.backward(&mut segments, &gradient).unwrap();
        prop_assert_eq!((first.bits(), weights(&mut segments)), kept.clone());
        let last = held.backward_last(&mut segments, gradient).unwrap();
        prop_assert_eq!((last.bits(), weights(&mut segments)), kept);

        let moved = plan.operations.len() > persistent(&chain, &mut Choices(&choices)).operations.len();
        let refused = Runner::new(&segments, &plan);
        prop_assert_eq!(moved, matches!(refused, Err(RunnerError::Offloads { .. })));
    }
}

#[test]
fn what_is_on_the_host_is_not_forgotten_there() {
    let ledger = Rc::new(Ledger::default());
    let (mut segments, chain) = network(&ledger, &[(2, [0, 0]); 2]);
    let kept = step(&mut segments, &keep_all(&chain)).unwrap();
    let (layer, what) = (2, Stored::Input);
    let operations = vec![
        Operation::ForwardKeep { layer: 1 },
        Operation::Offload { layer, what },
        Operation::Release { layer, what },
        Operation::ForwardSave { layer: 1 },
        // Reads a(1) inside saved(1), and there is no plain one on the device to forget.
        Operation::ForwardDrop { layer },
        Operation::Fetch { layer, what },
        Operation::Await { layer, what },
        Operation::ForwardSave { layer },
        Operation::Backward { layer },
        Operation::Backward { layer: 1 },
    ];
    let plan = Plan::new(&chain, operations, Link::new(1.0)).unwrap();
    let mut runner = runner(&segments, &plan);
    assert_eq!(offloaded(&mut segments, &mut runner).unwrap(), kept);
}

#[test]
fn every_kind_of_transfer_is_met() {
    let (_, chain) = network(&Rc::new(Ledger::default()), &[(2, [0, 0]); 5]);
    let stored = |seed: u8| {
        let choices: Vec<u8> = (0..250).map(|index: u8| index.wrapping_mul(seed) ^ seed).collect();
        let offloaded = plan(&chain, &choices).operations.into_iter();
        offloaded.filter(|one| matches!(one, Operation::Offload { .. })).collect::<Vec<_>>()
    };
    let met: BTreeSet<Operation> = (1..=250).flat_map(stored).collect();
    for (layer, what) in
        [(1, Stored::Saved), (2, Stored::Saved), (1, Stored::Input), (3, Stored::Input)]
    {
        assert!(met.contains(&Operation::Offload { layer, what }), "{met:?}");
    }
}
