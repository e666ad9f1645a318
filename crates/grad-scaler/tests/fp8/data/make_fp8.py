#!/usr/bin/env python3
"""Records what FP8 casts and delayed scaling are to give: fp8_casts.bin.gz and fp8_scaling.json.gz.

    make_fp8.py transformer_engine-2.20.2-py3-none-any.whl

Needs torch 2.15 or later, on the CPU, and ml_dtypes. Casts are torch's (since 2.15 it saturates to E4M3,
and not to E5M2), and for E4M3 without saturation those of ml_dtypes. The unfused update runs Transformer
Engine's own Python functions, out of its wheel. Its fused update is a CUDA kernel, `kernel_bulk` in
delayed_scaling.cu, which does not run here: `fused` below is that rule, written down anew in Python.
"""
import ast
import gzip
import json
import os
import random
import struct
import sys
import zipfile

import ml_dtypes
import numpy as np
import torch

HERE = os.path.dirname(os.path.abspath(__file__))
F32_MAX = np.finfo(np.float32).max


def write(name, data):
    with open(os.path.join(HERE, name), "wb") as file:
        with gzip.GzipFile("", "wb", 9, file, 0) as packed:
            packed.write(data)


# Casts.


def codes(values):
    """E4M3 saturating, E4M3 not, E5M2 not: a byte for each value."""
    e4m3 = values.to(torch.float8_e4m3fn).view(torch.uint8).numpy()
    e5m2 = values.to(torch.float8_e5m2).view(torch.uint8).numpy()
    wide = values.float().numpy()
    with np.errstate(all="ignore"):
        strict = wide.astype(ml_dtypes.float8_e4m3fn).view(np.uint8)
    return [e4m3.tobytes(), strict.tobytes(), e5m2.tobytes()]


def f32_bits():
    """Bits of f32: special numbers, all midpoints of both types and their neighbours, random ones."""
    bits = [0, 1, 0x007FFFFF, 0x00800000, 0x7F7FFFFF, 0x7F800000, 0x7F800001, 0x7FC00000, 0x7FFFFFFF]
    for dtype, last in ((torch.float8_e4m3fn, 0x7E), (torch.float8_e5m2, 0x7B)):
        numbers = torch.arange(last + 1, dtype=torch.uint8).view(dtype).float().tolist()
        numbers.append(2 * numbers[-1] - numbers[-2])
        for low, high in zip(numbers, numbers[1:]):
            for value in (low, (low + high) / 2, high):
                there = struct.unpack("<I", struct.pack("<f", value))[0]
                bits += [max(there - 1, 0), there, there + 1]
    chance = random.Random(8)
    for _ in range(6000):
        bits.append(chance.randrange(100 << 23, 146 << 23))
    for _ in range(2000):
        bits.append(chance.randrange(1 << 31))
    return np.array(bits + [b | 1 << 31 for b in bits], dtype=np.uint32)


def casts():
    all16 = torch.from_numpy(np.arange(1 << 16, dtype=np.uint16).view(np.int16).copy())
    parts = codes(all16.view(torch.float16)) + codes(all16.view(torch.bfloat16))
    bits = f32_bits()
    parts += [struct.pack("<I", len(bits)), bits.tobytes()]
    parts += codes(torch.from_numpy(bits.view(np.int32).copy()).view(torch.float32))
    every = torch.arange(256, dtype=torch.uint8)
    for dtype in (torch.float8_e4m3fn, torch.float8_e5m2):
        parts.append(every.view(dtype).float().numpy().tobytes())
    write("fp8_casts.bin.gz", b"".join(parts))


# Delayed scaling.


def engine(wheel):
    """Transformer Engine's functions for the unfused update."""
    with zipfile.ZipFile(wheel) as files:
        source = files.read("transformer_engine/pytorch/quantization.py").decode()
    wanted = {"_update_amax_history", "_default_get_amax_and_update_history", "_default_sf_compute"}
    tree = ast.parse("from __future__ import annotations\n" + source)
    tree.body = tree.body[:1] + [
        node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name in wanted
    ]
    names = {"torch": torch, "jit_fuser": lambda function: function}
    exec(compile(tree, wheel, "exec"), names)
    return names


def unfused(names, history, scale, amax, fp8_max, margin, algorithm):
    history[0].copy_(amax)
    _, largest = names["_default_get_amax_and_update_history"](history, algorithm)
    names["_default_sf_compute"](largest, scale, fp8_max, margin)


def fused(history, scale, amax, fp8_max, margin, algorithm):
    scaled_max = np.float32(fp8_max) * np.float32(2.0) ** np.float32(-margin)
    rows, tensors = history.shape
    for tensor in range(tensors):
        column = history[:, tensor].numpy()
        newest = np.float32(amax[tensor]) if amax[tensor] != 0 else column[0]
        counts = np.float32(0)
        if newest != 0:
            rolled = np.append(column[1:], newest)
            counts = np.fmax.reduce(np.append(np.float32(0), rolled))
            rolled[0] = 0
            column[:] = rolled
        if algorithm == "most_recent":
            counts = newest
        value = scale[tensor].numpy()
        if np.isfinite(counts) and counts > 0:
            with np.errstate(over="ignore"):
                value = np.float32(scaled_max) / np.float32(counts)
        scale[tensor] = float(F32_MAX if np.isinf(value) else value)


def bits(tensor):
    return tensor.contiguous().numpy().view(np.uint32).reshape(-1).tolist()


def amaxes(chance, tensors, nan):
    kinds = [0.0, 1e-45, 1e-39, 3e38, float("inf"), float("nan") if nan else 0.0]
    odd = lambda: chance.choice(kinds)
    usual = lambda: 2.0 ** chance.uniform(-20, 12)
    return torch.tensor([odd() if chance.random() < 0.15 else usual() for _ in range(tensors)])


def scaling(wheel):
    names, programs, chance = engine(wheel), [], random.Random(2020)
    for number in range(240):
        rows = chance.choice([1, 2, 3, 5, 17, 33])
        tensors = chance.choice([1, 2, 3, 7, 70])
        rule = ["fused", "unfused"][number % 2]
        algorithm = chance.choice(["max", "most_recent"])
        margin, fp8_max = chance.choice([-3, 0, 0, 1, 4]), chance.choice([448.0, 57344.0])
        history, scale = torch.zeros(rows, tensors), torch.ones(tensors)
        steps = []
        for _ in range(chance.choice([3, 8, 40]) if tensors < 70 else 3):
            amax = amaxes(chance, tensors, number % 4 > 1)
            common = (history, scale, amax, fp8_max, margin, algorithm)
            fused(*common) if rule == "fused" else unfused(names, *common)
            steps.append({"amax": bits(amax), "scale": bits(scale)})
        programs.append({
            "rule": rule, "algorithm": algorithm, "margin": margin, "fp8_max": fp8_max, "rows": rows,
            "tensors": tensors, "steps": steps, "history": bits(history),
        })
    write("fp8_scaling.json.gz", json.dumps(programs, separators=(",", ":")).encode())
    print(sum(len(program["steps"]) for program in programs), "steps of", len(programs), "programs")


if len(sys.argv) != 2:
    sys.exit(__doc__)
casts()
scaling(sys.argv[1])
