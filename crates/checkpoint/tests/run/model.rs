//! Layers that really compute, on memory that is counted, and that fail when told to.

use std::cell::{Cell, RefCell};
use std::panic::panic_any;
use std::rc::Rc;

use freeboard_checkpoint::{
    Chain, Check, Fingerprint, Layer, Meter, Operation, Plan, Random, RunError, Runner, Segment,
};
use freeboard_units::{Bytes, Dtype};

/// The device: its memory, and what is to go wrong.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    live: Cell<u64>,
    peak: Cell<u64>,
    peak_of_call: Cell<u64>,
    /// The most memory in use during each call, in order.
    pub(crate) during: RefCell<Vec<u64>>,
    calls: Cell<u32>,
    /// Which call fails, from 1, and whether it panics.
    pub(crate) fault: Cell<(u32, bool)>,
}

/// The error of a call that was told to fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("call {0} was told to fail")]
pub(crate) struct Told(pub(crate) u32);

impl Ledger {
    pub(crate) fn calls(&self) -> u32 {
        self.calls.get()
    }

    pub(crate) fn start(&self) {
        self.calls.set(0);
        self.during.borrow_mut().clear();
    }

    /// Begins a call, which fails if it was told to.
    pub(crate) fn call(&self) -> Result<(), Told> {
        self.calls.set(self.calls.get() + 1);
        self.peak_of_call.set(self.live.get());
        match self.fault.get() {
            (call, true) if call == self.calls.get() => panic_any(Told(call)),
            (call, false) if call == self.calls.get() => Err(Told(call)),
            _ => Ok(()),
        }
    }

    /// Ends it.
    pub(crate) fn end(&self) {
        self.during.borrow_mut().push(self.peak_of_call.get());
    }
}

impl Meter for Ledger {
    fn in_use(&self) -> Bytes {
        Bytes::new(self.live.get())
    }

    fn peak(&self) -> Bytes {
        Bytes::new(self.peak.get())
    }

    fn reset_peak(&self) {
        self.peak.set(self.live.get());
    }
}

/// Numbers in counted memory.
#[derive(Debug)]
pub(crate) struct Vector {
    pub(crate) numbers: Vec<f32>,
    ledger: Rc<Ledger>,
}

impl Vector {
    pub(crate) fn new(ledger: &Rc<Ledger>, numbers: Vec<f32>) -> Self {
        let live = ledger.live.get() + 4 * numbers.len() as u64;
        ledger.live.set(live);
        for peak in [&ledger.peak, &ledger.peak_of_call] {
            peak.set(peak.get().max(live));
        }
        Self { numbers, ledger: Rc::clone(ledger) }
    }

    pub(crate) fn bits(&self) -> Vec<u32> {
        self.numbers.iter().map(|number| number.to_bits()).collect()
    }
}

impl Drop for Vector {
    fn drop(&mut self) {
        self.ledger.live.set(self.ledger.live.get() - 4 * self.numbers.len() as u64);
    }
}

/// What a layer keeps: its output, and the activation's derivative with the dropout in it.
#[derive(Debug)]
pub(crate) struct Kept {
    pub(crate) output: Vector,
    pub(crate) slope: Vector,
}

/// `dropout(tanh(W x))`, with scratch memory.
#[derive(Debug)]
pub(crate) struct Dense {
    pub(crate) name: String,
    pub(crate) ledger: Rc<Ledger>,
    pub(crate) weights: Vec<Vec<f32>>,
    pub(crate) gradient: Vec<Vec<f32>>,
    pub(crate) dropout: f32,
    /// Numbers of scratch memory, forward and backward.
    pub(crate) scratch: [usize; 2],
    /// How often it ran forward, and what it changes when it runs again: nothing, its size or a
    /// value.
    pub(crate) runs: Cell<u32>,
    pub(crate) drift: Drift,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Drift {
    #[default]
    Nothing,
    Size,
    Value,
}

impl Dense {
    pub(crate) fn new(
        ledger: &Rc<Ledger>,
        number: usize,
        widths: [usize; 2],
        scratch: [usize; 2],
    ) -> Self {
        let [inputs, outputs] = widths;
        let random = Random::new(99).fork(number as u64);
        let row = |row: usize| {
            let mut numbers = vec![0.0; inputs];
            random.fork(row as u64).fill(&mut numbers);
            numbers.iter().map(|number| number * 2.0 - 0.9).collect()
        };
        Self {
            name: format!("dense {number}"),
            ledger: Rc::clone(ledger),
            weights: (0..outputs).map(row).collect(),
            gradient: vec![vec![0.0; inputs]; outputs],
            dropout: 0.25,
            scratch,
            runs: Cell::new(0),
            drift: Drift::Nothing,
        }
    }

    fn compute(&self, input: &Vector, random: Random) -> (Vec<f32>, Vec<f32>) {
        let run = self.runs.replace(self.runs.get() + 1);
        let one = |(row, index): (&Vec<f32>, u64)| {
            let sum: f32 = row.iter().zip(&input.numbers).map(|(w, x)| w * x).sum();
            let is_kept = random.uniform(index) >= self.dropout;
            let scale = if is_kept { 1.0 / (1.0 - self.dropout) } else { 0.0 };
            let value = sum.tanh();
            (value * scale, (1.0 - value * value) * scale)
        };
        let (mut values, slopes): (Vec<f32>, Vec<f32>) =
            self.weights.iter().zip(0..).map(one).unzip();
        if run > 0 {
            match self.drift {
                Drift::Nothing => {}
                Drift::Size => values.push(0.0),
                Drift::Value => values[0] += 1.0,
            }
        }
        (values, slopes)
    }

    /// Takes scratch memory beside what was made, and gives it back.
    fn scratch(&self, which: usize) {
        drop(Vector::new(&self.ledger, vec![0.0; self.scratch[which]]));
    }
}

impl Segment for Dense {
    type Value = Vector;
    type Saved = Kept;
    type Error = Told;

    fn name(&self) -> &str {
        &self.name
    }

    fn forward(&self, input: &Vector, random: Random) -> Result<Vector, Told> {
        self.ledger.call()?;
        let (values, _) = self.compute(input, random);
        let made = Vector::new(&self.ledger, values);
        self.scratch(0);
        self.ledger.end();
        Ok(made)
    }

    fn forward_saving(&self, input: &Vector, random: Random) -> Result<Kept, Told> {
        self.ledger.call()?;
        let (values, slopes) = self.compute(input, random);
        let output = Vector::new(&self.ledger, values);
        let slope = Vector::new(&self.ledger, slopes);
        self.scratch(0);
        self.ledger.end();
        Ok(Kept { output, slope })
    }

    fn output<'saved>(&self, saved: &'saved Kept) -> Option<&'saved Vector> {
        Some(&saved.output)
    }

    fn backward(
        &mut self,
        input: &Vector,
        saved: &Kept,
        gradient: &Vector,
        _: Random,
    ) -> Result<Vector, Told> {
        self.ledger.call()?;
        let mut made = vec![0.0; input.numbers.len()];
        let outer = gradient.numbers.iter().zip(&saved.slope.numbers).map(|(g, s)| g * s);
        for (outer, (row, weights)) in outer.zip(self.gradient.iter_mut().zip(&self.weights)) {
            for (index, x) in input.numbers.iter().enumerate() {
                row[index] += outer * x;
                made[index] += outer * weights[index];
            }
        }
        let made = Vector::new(&self.ledger, made);
        self.scratch(1);
        self.ledger.end();
        Ok(made)
    }

    fn fingerprint(&self, output: &Vector, values: bool) -> Option<Fingerprint> {
        let numbers = &output.numbers;
        let size = Bytes::new(4 * numbers.len() as u64);
        let print = Fingerprint::new(size).shape(&[numbers.len()]).dtype(Dtype::F32);
        let bits = |index: usize| u64::from(numbers[index].to_bits());
        Some(if values { print.values(numbers.len(), bits) } else { print })
    }
}

/// A chain of such layers, and what is known about its memory.
pub(crate) fn network(ledger: &Rc<Ledger>, shape: &[(usize, [usize; 2])]) -> (Vec<Dense>, Chain) {
    let size = |numbers: usize| Bytes::new(4 * numbers as u64);
    let mut layers = Vec::new();
    let mut segments = Vec::new();
    let mut inputs = 3;
    for (&(outputs, scratch), number) in shape.iter().zip(1..) {
        segments.push(Dense::new(ledger, number, [inputs, outputs], scratch));
        layers.push(Layer {
            output_bytes: size(outputs),
            saved_bytes: size(2 * outputs),
            forward_extra_bytes: size(scratch[0]),
            backward_extra_bytes: size(scratch[1]),
            ..Layer::new(&format!("dense {number}"), 1.0, 2.0)
        });
        inputs = outputs;
    }
    (segments, Chain::new(size(3), layers).unwrap())
}

pub(crate) fn input(ledger: &Rc<Ledger>) -> Vector {
    Vector::new(ledger, vec![0.5, -1.25, 2.0])
}

/// The gradient of half the sum of squares, times a factor.
pub(crate) fn loss(output: &Vector, factor: f32) -> Result<Vector, Told> {
    output.ledger.call()?;
    let gradient = output.numbers.iter().map(|number| number * factor).collect();
    Ok(Vector::new(&output.ledger, gradient))
}

/// What a step gives: the gradient of the input and those of all weights, as bits.
pub(crate) type Gradients = (Vec<u32>, Vec<u32>);

pub(crate) fn weights<'s>(segments: impl IntoIterator<Item = &'s mut Dense>) -> Vec<u32> {
    let rows = segments.into_iter().flat_map(|segment| &mut segment.gradient);
    rows.flatten().map(|number| std::mem::take(number).to_bits()).collect()
}

pub(crate) fn forget_runs(segments: &[Dense]) {
    for segment in segments {
        segment.runs.set(0);
    }
}

/// One step by this plan.
pub(crate) fn step(segments: &mut [Dense], plan: &Plan) -> Result<Gradients, RunError<Told>> {
    let mut runner = Runner::new(segments, plan).unwrap().checking(Check::Values);
    let ledger = Rc::clone(&segments[0].ledger);
    forget_runs(segments);
    ledger.start();
    let random = Random::new(5).fork(1);
    let made = runner.run(segments, input(&ledger), random, |output| loss(output, 1.0))?;
    Ok((made.bits(), weights(segments)))
}

/// The last forward pass that makes a(n), from 0.
pub(crate) fn turn(plan: &Plan, layers: usize) -> usize {
    let last = Operation::ForwardSave { layer: layers };
    plan.operations.iter().position(|&operation| operation == last).unwrap()
}
