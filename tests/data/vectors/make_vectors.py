"""Runs programs through the real torch.amp.GradScaler on the CPU and records what it does.

usage: python make_vectors.py OUT.json.gz [SEED]

README.md says what is in the file. The same torch and seed give the same bytes.
"""

import gzip
import json
import random
import sys
import warnings

import numpy
import torch

ERRORS = {
    "already been called on this optimizer": "already_unscaled",
    "unscale_() is being called after step": "unscale_after_step",
    "step() has already been called": "already_stepped",
    "No inf checks were recorded": "no_inf_checks",
    "_scale is None": "scale_not_initialized",
}
EDGES = [0.0, -0.0, 2.0**-149, -(2.0**-126), 1e-40, 3.4028234663852886e38, 65504.0, 65520.0]
BAD = [float("inf"), float("-inf"), float("nan")]


def bits(numbers):
    """The bits of some f32, as hexadecimal strings."""
    words = numpy.asarray(numbers, numpy.float32).view(numpy.uint32)
    return [f"0x{word:08x}" for word in words.tolist()]


def name_of(error):
    """Which of torch's complaints this is."""
    for part, name in ERRORS.items():
        if part in str(error):
            return name
    raise error


class Idle(torch.optim.Optimizer):
    """An optimizer that only counts how often it is run."""

    def __init__(self, parameters):
        super().__init__(parameters, {})
        self.runs = 0

    def step(self, closure=None):
        self.runs += 1


class Recorder:
    """A scaler with its optimizers, and everything that was done with them."""

    def __init__(self, optimizers, **config):
        defaults = dict(init_scale=2.0**16, growth_factor=2.0, backoff_factor=0.5, growth_interval=2000)
        self.config = {**defaults, **config}
        self.scaler = torch.amp.GradScaler("cpu", **self.config)
        self.lengths = optimizers
        make = lambda length: torch.nn.Parameter(torch.zeros(length))
        self.parameters = [[make(length) for length in lengths] for lengths in optimizers]
        self.optimizers = [Idle(parameters) for parameters in self.parameters]
        self.ops = []

    def program(self):
        return dict(config=self.config, optimizers=self.lengths, ops=self.ops)

    def gradients(self, which):
        found = [parameter.grad for parameter in self.parameters[which]]
        return [None if grad is None else bits(grad.numpy()) for grad in found]

    def attempt(self, call, *arguments):
        try:
            call(*arguments)
        except (AssertionError, RuntimeError) as error:
            return name_of(error)

    def scale(self, value):
        loss = torch.tensor([value], dtype=torch.float32)
        result = bits(self.scaler.scale(loss).numpy())[0]
        self.ops.append(dict(op="scale", value=bits(loss.numpy())[0], result=result))

    def grads(self, which, values):
        """`values`: for each parameter a list of numbers, or None."""
        for parameter, numbers in zip(self.parameters[which], values, strict=True):
            parameter.grad = None if numbers is None else torch.tensor(numbers, dtype=torch.float32)
        self.ops.append(dict(op="grads", optimizer=which, grads=self.gradients(which)))

    def unscale(self, which):
        error = self.attempt(self.scaler.unscale_, self.optimizers[which])
        self.ops.append(dict(op="unscale", optimizer=which, error=error, grads=self.gradients(which)))

    def step(self, which):
        runs = self.optimizers[which].runs
        error = self.attempt(self.scaler.step, self.optimizers[which])
        stepped = self.optimizers[which].runs > runs
        self.ops.append(
            dict(op="step", optimizer=which, error=error, stepped=stepped, grads=self.gradients(which))
        )

    def update(self, new_scale=None):
        error = self.attempt(self.scaler.update, new_scale)
        state = dict(scale=None, growth_tracker=None)
        if self.scaler._scale is not None:
            state["scale"] = bits(self.scaler._scale.reshape(1).numpy())[0]
            state["growth_tracker"] = self.scaler._growth_tracker.item()
        self.ops.append(dict(op="update", new_scale=new_scale, error=error, **state))


def number(rng, bad=0.01):
    kind = rng.random()
    if kind < bad:
        return rng.choice(BAD)
    if kind < bad + 0.05:
        return rng.choice(EDGES)
    return rng.choice([-1, 1]) * 10.0 ** rng.uniform(-8, 8)


def mixed(rng):
    """One to six optimizers, everything in any order; in every other program used wrongly, too."""
    shape = lambda: [rng.choice([0, 1, 1, 2, 2, 3, 4, 9, 17]) for _ in range(rng.randint(1, 3))]
    shapes = [shape() for _ in range(rng.randint(1, 6))]
    recorder = Recorder(
        shapes,
        init_scale=rng.choice([65536.0, 2.0**-149, 0.1, 1.0, 1023.75, 2.0**24, 2.0**127, 3e38]),
        growth_factor=rng.choice([2.0, 1.25, 3.0, 1.000001, 1e10]),
        backoff_factor=rng.choice([0.5, 0.125, 0.7, 0.999, 1e-5]),
        growth_interval=rng.choice([1, 2, 4, 7, 1000]),
    )
    wrong = 0.12 if rng.random() < 0.5 else 0.0
    every = range(len(shapes))
    if rng.random() >= wrong:
        recorder.scale(number(rng, bad=0))
    for _ in range(rng.randint(2, 6)):
        if rng.random() < 0.6:
            recorder.scale(number(rng))
        # Where one fails, often the others do not.
        bad = [rng.choice([0, 0, 0, 0.1]) for _ in every]
        for which in rng.sample(every, rng.randint(1, len(shapes))):
            values = [[number(rng, bad[which]) for _ in range(length)] for length in shapes[which]]
            recorder.grads(which, [None if rng.random() < 0.08 else some for some in values])
        # Without any gradient torch complains.
        able = [any(one.grad is not None for one in some) for some in recorder.parameters]
        todo = [which for which in every if able[which] or rng.random() < wrong]
        for which in rng.sample(todo, len(todo)):
            verbs = [recorder.unscale] * (rng.random() < 0.4) + [recorder.step]
            while rng.random() < wrong:
                verbs.insert(rng.randint(0, len(verbs)), rng.choice([recorder.unscale, recorder.step]))
            if rng.random() < wrong:
                verbs.pop()
            for verb in verbs:
                verb(which)
        if todo:
            recorder.update(rng.choice([0.1, 2.0**-149, 96.0, 1e38]) if rng.random() < 0.05 else None)
        if rng.random() < wrong:
            recorder.update()
    return recorder.program()


def steps(recorder, flags, value=1.0):
    """One optimizer, one number: a step for each flag, skipped where it is set."""
    for flag in flags:
        recorder.scale(0.5)
        recorder.grads(0, [[flag if isinstance(flag, float) else value]])
        recorder.step(0)
        recorder.update()
    return recorder


def long(rng):
    """Thousands of steps, as a training run has them."""
    rate = rng.choice([0.0, 0.001, 0.01, 0.2])
    recorder = Recorder(
        [[1]],
        growth_factor=rng.choice([2.0, 1.5]),
        backoff_factor=rng.choice([0.5, 0.8]),
        growth_interval=rng.choice([3, 10, 100, 2000]),
    )
    flags = [rng.choice(BAD) if rng.random() < rate else None for _ in range(4100)]
    return steps(recorder, flags).program()


def falling(rng):
    """Only skips, until the scale is 0 or falls no more; then clean steps on what is left."""
    backoff = rng.choice([0.5, 0.9, 0.1, 1e-3])
    start = rng.choice([65536.0, 2.0**-149, 2.0**127, 12.3])
    recorder = Recorder([[1]], init_scale=start, backoff_factor=backoff, growth_interval=2)
    for _ in range(2000):
        before = recorder.scaler._scale.item() if recorder.ops else None
        steps(recorder, [rng.choice(BAD)])
        if recorder.scaler._scale.item() in (0.0, before):
            break
    steps(recorder, [float("nan"), None, None, None, None, None], value=number(rng, bad=0))
    return recorder.program()


def growing(rng):
    """Only clean steps, until the scale can grow no more; one skip, and up again."""
    recorder = Recorder(
        [[1]],
        init_scale=rng.choice([2.0**-149, 65536.0, 2.0**126, 3.4028234663852886e38]),
        growth_factor=rng.choice([2.0, 1.9, 1e3, 1e300]),
        growth_interval=rng.choice([1, 2, 3]),
    )
    for _ in range(2000):
        before = recorder.scaler._scale.item() if recorder.ops else None
        steps(recorder, [None] * recorder.config["growth_interval"], value=number(rng, bad=0))
        if recorder.scaler._scale.item() == before:
            break
    return steps(recorder, [None, float("inf")] + [None] * 9).program()


def main():
    warnings.filterwarnings("ignore")
    rng = random.Random(int(sys.argv[2]) if len(sys.argv) > 2 else 20260417)
    kinds = [mixed] * 205 + [long] * 6 + [falling] * 20 + [growing] * 24
    programs = [kind(rng) for kind in kinds]
    data = dict(torch=torch.__version__.split("+")[0], programs=programs)
    text = json.dumps(data, separators=(",", ":"))
    with open(sys.argv[1], "wb") as out:
        out.write(gzip.compress(text.encode(), 9, mtime=0))
    ops = [op for program in programs for op in program["ops"]]
    errors = sum(bool(op.get("error")) for op in ops)
    stepped = [op["stepped"] for op in ops if op["op"] == "step" and not op["error"]]
    counts = f"{errors} errors, {stepped.count(True)} steps, {stepped.count(False)} skips"
    print(f"{len(programs)} programs, {len(ops)} operations, {counts}")


main()
