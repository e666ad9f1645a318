#!/usr/bin/env python3
"""Unscale-and-check on the CPU, PyTorch's and ours, in turns.

    cargo build --release -p freeboard-grad-scaler --example unscale_throughput
    tests/torch/unscale.py target/release/examples/unscale_throughput [ROUNDS]

Both sides give the least time of a round, and the table has the least of all rounds. `torch` is
torch._amp_foreach_non_finite_check_and_unscale_. Ratios are times over ours, so above 1 is ours
faster. `unchecked` is our sweep without the check; `loop` a plain loop over the numbers, one thread.
"""
import json
import subprocess
import sys
import time

import torch

SHAPES = [(8, 16 << 20), (1000, 1000), (10_000, 64), (1, 1)]
DTYPES = ["float32", "float16", "bfloat16", "float64"]
FACTOR = 0.99999994
SECONDS = 0.4


def torch_ns(tensors, found, factor):
    """The least time of one call, in nanoseconds."""
    least, start, rounds = float("inf"), time.perf_counter(), 0
    while rounds < 5 or time.perf_counter() - start < SECONDS:
        before = time.perf_counter_ns()
        torch._amp_foreach_non_finite_check_and_unscale_(tensors, found, factor)
        least = min(least, time.perf_counter_ns() - before)
        rounds += 1
    return least


def ours_ns(program, *case):
    """The least times, in nanoseconds, by what was done."""
    run = subprocess.run([program, *map(str, case)], check=True, capture_output=True, text=True)
    return json.loads(run.stdout)


def main():
    program, rounds = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 5
    print(f"torch {torch.__version__}, {rounds} rounds")
    print("| type | tensors | threads | ours, µs | GB/s read and written | torch | unchecked | loop |")
    print("|---|---|---|---|---|---|---|---|")
    found, factor = torch.zeros(1), torch.tensor(FACTOR)
    for dtype in DTYPES:
        for count, elements in SHAPES:
            for threads in (1, 2):
                torch.set_num_threads(threads)
                theirs, ours = float("inf"), {}
                for _ in range(rounds):
                    timed = ours_ns(program, dtype, count, elements, threads)
                    ours = {name: min(ns, ours.get(name, ns)) for name, ns in timed.items()}
                    tensors = [torch.ones(elements, dtype=getattr(torch, dtype)) for _ in range(count)]
                    theirs = min(theirs, torch_ns(tensors, found, factor))
                    del tensors
                assert found.item() == 0.0
                least = ours["checked_ns"]
                speed = 2 * count * elements * getattr(torch, dtype).itemsize / least
                ratios = [theirs / least, ours["unchecked_ns"] / least, ours["plain_ns"] / least]
                cells = " | ".join(f"{ratio:.2f}" for ratio in ratios)
                print(f"| {dtype} | {count:,} × {elements:,} | {threads} | {least / 1000:.2f} | {speed:.1f} | {cells} |", flush=True)


main()
