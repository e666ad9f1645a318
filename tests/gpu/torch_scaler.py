#!/usr/bin/env python3
"""Times PyTorch's gradient scaler on this GPU, on the tensors of `benches/device/scaler.rs`.

`unscaled`: torch._amp_foreach_non_finite_check_and_unscale_, which is what GradScaler.unscale_ calls,
and a copy of the same bytes; milliseconds between CUDA events, with what the host takes to launch.
A type that PyTorch's kernel does not take (bfloat16, as of 2.15) has the error under `refused`.
`last` is 0.5 when the kernels did their work.
`step`: GradScaler.step and update around SGD on float32 gradients, and that SGD alone; milliseconds
of the host, until the device is done.
"""
import json
import statistics
import sys
import time

import torch

# How many tensors, and the bytes or the elements of each.
SHAPES = [(1, 1 << 30, None), (248, 1 << 20, None), (1000, None, 1000)]
DTYPES = [torch.float32, torch.float16, torch.bfloat16]
# Even, so that with the round before them, which is not timed, the last one leaves numbers halved.
REPEATS = 20
# By turns: gradients are halved and doubled, and lose nothing.
FACTORS = [0.5, 2.0]


def on_device(*acts):
    """The milliseconds that each act takes."""
    events = [torch.cuda.Event(enable_timing=True) for _ in range(len(acts) + 1)]
    events[0].record()
    for act, event in zip(acts, events[1:]):
        act()
        event.record()
    events[-1].synchronize()
    return [start.elapsed_time(end) for start, end in zip(events, events[1:])]


def on_host(act):
    torch.cuda.synchronize()
    start = time.perf_counter_ns()
    act()
    torch.cuda.synchronize()
    return (time.perf_counter_ns() - start) / 1e6


def summary(times):
    return {"median_ms": statistics.median(times), "least_ms": min(times)}


def unscaled(count, size, elements, dtype):
    elements = elements or size // dtype.itemsize
    memory = torch.ones(count * elements, dtype=dtype, device="cuda")
    target = torch.empty_like(memory)
    tensors = list(memory.split(elements))
    found = torch.zeros(1, device="cuda")
    factors = [torch.full((1,), factor, device="cuda") for factor in FACTORS]
    shape = {"dtype": str(dtype).removeprefix("torch."), "tensors": count, "elements": elements,
             "bytes": memory.nbytes}
    rounds = []
    for turn in range(REPEATS + 1):
        factor = factors[turn % 2]
        try:
            rounds.append(on_device(
                lambda: torch._amp_foreach_non_finite_check_and_unscale_(tensors, found, factor),
                lambda: target.copy_(memory)))
        except NotImplementedError as error:
            return shape | {"refused": str(error)}
    unscales, copies = zip(*rounds[1:])
    return shape | {"last": target[-1].item(), "unscale": summary(unscales), "copy": summary(copies)}


def step(count, elements):
    weights = list(torch.zeros(count * elements, device="cuda").split(elements))
    for weight in weights:
        weight.grad = torch.ones_like(weight)
    sgd = torch.optim.SGD(weights, lr=0.0)
    # A scale that leaves the gradients ordinary, however often they are divided by it.
    scaler = torch.amp.GradScaler("cuda", init_scale=2.0)
    scaler.scale(torch.ones(1, device="cuda"))

    def scaled():
        scaler.step(sgd)
        scaler.update()

    rounds = [(on_host(scaled), on_host(sgd.step)) for _ in range(REPEATS + 1)]
    steps, alone = zip(*rounds[1:])
    return {"tensors": count, "elements": elements, "scaled": summary(steps), "alone": summary(alone)}


def main():
    found = {"torch": torch.__version__, "cuda": torch.version.cuda, "card": torch.cuda.get_device_name(),
             "unscaled": [unscaled(*shape, dtype) for shape in SHAPES for dtype in DTYPES],
             "step": [step(count, elements or size // 4) for count, size, elements in SHAPES]}
    with open(sys.argv[1], "w") as file:
        json.dump(found, file, indent=2)
    print(json.dumps(found, indent=2))


main()
