#!/usr/bin/env python3
"""Times PyTorch's caching allocator on this GPU: allocation and free of one size, cached.

Two figures each, in nanoseconds per pair: `raw` is the allocator's own binding with the cost of an
empty binding taken off twice, `empty` is what a program pays for torch.empty and its end. Both still
hold some of Python's own time, which the docs say where they quote them.
"""
import json
import sys
import time

import torch

SIZES = [4 << 10, 3 << 20, 64 << 20]
PAIRS = 20_000
REPEATS = 7


def least(act):
    best = float("inf")
    for _ in range(REPEATS):
        start = time.perf_counter_ns()
        for _ in range(PAIRS):
            act()
        best = min(best, (time.perf_counter_ns() - start) / PAIRS)
    return best


def main():
    torch.cuda.init()
    stream = torch.cuda.current_stream().cuda_stream
    alloc = torch._C._cuda_cudaCachingAllocator_raw_alloc
    delete = torch._C._cuda_cudaCachingAllocator_raw_delete
    nothing = least(lambda: torch._C._cuda_getCurrentRawStream(0))
    found = {"torch": torch.__version__, "cuda": torch.version.cuda, "card": torch.cuda.get_device_name(),
             "binding_ns": nothing, "pairs": {}}
    for size in SIZES:
        raw = least(lambda: delete(alloc(size, stream))) - 2 * nothing
        empty = least(lambda: torch.empty(size, dtype=torch.uint8, device="cuda"))
        found["pairs"][str(size)] = {"raw_ns": raw, "empty_ns": empty}
    with open(sys.argv[1], "w") as file:
        json.dump(found, file, indent=2)
    print(json.dumps(found, indent=2))


main()
