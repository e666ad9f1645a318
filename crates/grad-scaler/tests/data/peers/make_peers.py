"""Runs flags of found and not found through the real loss scalers of other projects and records them.

usage: pip download --no-deps --no-binary :all: deepspeed==0.19.8
       pip download --no-deps megatron-core==0.16.1 flax==0.12.8
       python make_peers.py DEEPSPEED.tar.gz MEGATRON.whl FLAX.whl OUT.json.gz

Only the one file with the scaler is read from each archive, with stand-ins for what it imports. README.md
says what is recorded.
"""

import dataclasses
import gzip
import json
import logging
import random
import struct
import sys
import tarfile
import types
import zipfile

import numpy
import torch


def bits(number):
    """The bits of an f64, in hexadecimal."""
    return f"{struct.unpack('<Q', struct.pack('<d', number))[0]:016x}"


def f32(number):
    return float(numpy.float32(number))


def stand_ins(**modules):
    """Makes modules that can be imported; `a__b` is `a.b`."""
    for name, contents in modules.items():
        module = types.ModuleType(name.replace("__", "."))
        vars(module).update(contents)
        sys.modules[module.__name__] = module


def load(name, source):
    module = types.ModuleType(name)
    sys.modules[name] = module
    exec(compile(source, name, "exec"), vars(module))
    return module


def in_wheel(path, member):
    return zipfile.ZipFile(path).read(member)


def in_sdist(path, member):
    with tarfile.open(path) as archive:
        root = archive.getnames()[0].split("/")[0]
        return archive.extractfile(f"{root}/{member}").read()


def flags(rng, length):
    """Steps of a run: '!' where a number was not finite. Skips come alone and in rows."""
    rate = rng.choice([0.0, 0.02, 0.2, 0.5, 0.9])
    stays = rng.choice([0.0, 0.5])
    text, last = "", "."
    for _ in range(length):
        if rng.random() >= stays:
            last = "!" if rng.random() < rate else "."
        text += last
    return text


def deepspeed(path):
    nothing = lambda *_, **__: None
    stand_ins(
        deepspeed=dict(comm=types.SimpleNamespace(get_rank=lambda: 1)),
        deepspeed__runtime={},
        deepspeed__runtime__config_utils=dict(DeepSpeedConfigObject=object),
        deepspeed__utils=dict(log_dist=nothing, logger=logging.getLogger("deepspeed")),
        deepspeed__runtime__utils=dict(has_inf_or_nan=nothing),
    )
    module = load("loss_scaler", in_sdist(path, "deepspeed/runtime/fp16/loss_scaler.py"))

    def run(rng):
        config = dict(
            init_scale=rng.choice([2.0**16, 2.0**32, 1.0, 3.0, f32(12345.678), 2.0**120]),
            scale_window=rng.choice([1, 2, 3, 10]),
            min_scale=rng.choice([1.0, 0.25, 2.0**-20, 0.75, 0.0]),
            delayed_shift=rng.choice([1, 2, 3, 5]),
            consecutive_hysteresis=rng.random() < 0.5,
            raise_error_at_min_scale=rng.random() < 0.5,
        )
        scaler = module.DynamicLossScaler(**config)
        given, scales, hysteresis, raised = "", [], [], False
        for flag in flags(rng, 300):
            given += flag
            try:
                scaler.update_scale(flag == "!")
            except Exception as error:
                assert "already at minimum" in str(error)
                raised = True
            scales.append(bits(scaler.cur_scale))
            hysteresis.append(scaler.cur_hysteresis)
            if raised:
                break
        rule = dict(
            peer="deepspeed",
            initial_scale=bits(config["init_scale"]),
            growth_factor=bits(scaler.scale_factor),
            backoff_factor=bits(1 / scaler.scale_factor),
            growth_interval=config["scale_window"],
            floor=bits(config["min_scale"]),
            hysteresis=config["delayed_shift"],
            on_clean_step=config["consecutive_hysteresis"],
            refuse=config["raise_error_at_min_scale"],
        )
        return dict(rule, flags=given, raised=raised, scales=scales, trackers=None, left=hysteresis)

    return run


def megatron(path):
    module = load("grad_scaler", in_wheel(path, "megatron/core/optimizer/grad_scaler.py"))
    # The same tensors, on the CPU.
    on_cpu = lambda data, dtype, device: torch.tensor(data, dtype=dtype)
    module.torch = types.SimpleNamespace(tensor=on_cpu, float=torch.float, max=torch.max)

    def run(rng):
        config = dict(
            initial_scale=rng.choice([2.0**32, 2.0**16, f32(12345.678), 2.0**120]),
            min_scale=rng.choice([1.0, 0.25, f32(0.7), 2.0**-149]),
            # It keeps factors as f32 and multiplies in f32: factors that an f32 holds.
            growth_factor=rng.choice([2.0, 1.5, f32(1.1), 1000.0]),
            backoff_factor=rng.choice([0.5, 0.75, f32(0.9), f32(0.001)]),
            growth_interval=rng.choice([1, 2, 3, 10]),
            hysteresis=rng.choice([1, 2, 3, 5]),
        )
        scaler = module.DynamicGradScaler(**config)
        given, scales, trackers, hysteresis = flags(rng, 300), [], [], []
        for flag in given:
            scaler.update(flag == "!")
            scales.append(bits(scaler.scale.item()))
            trackers.append(scaler._growth_tracker)
            hysteresis.append(scaler._hysteresis_tracker)
        rule = dict(
            peer="megatron",
            initial_scale=bits(config["initial_scale"]),
            growth_factor=bits(config["growth_factor"]),
            backoff_factor=bits(config["backoff_factor"]),
            growth_interval=config["growth_interval"],
            floor=bits(config["min_scale"]),
            hysteresis=config["hysteresis"],
            on_clean_step=False,
            refuse=False,
        )
        return dict(rule, flags=given, raised=False, scales=scales, trackers=trackers, left=hysteresis)

    return run


def flax(path):
    class Node:
        def __init_subclass__(cls):
            dataclasses.dataclass(cls)

        replace = dataclasses.replace

    field = lambda pytree_node, default: dataclasses.field(default=default)
    gradient = []
    # numpy multiplies an f32 by a Python float in f32, as jax does.
    lax = types.SimpleNamespace(is_finite=numpy.isfinite)
    tree = types.SimpleNamespace(tree_map=lambda f, some: [f(g) for g in some], tree_leaves=list)
    made = lambda *_: lambda: (numpy.float32(1), list(gradient))
    stand_ins(
        jax=dict(value_and_grad=made, lax=lax, tree_util=tree, Array=object, numpy=numpy),
        flax__typing=dict(Array=object),
        flax=dict(struct=types.SimpleNamespace(PyTreeNode=Node, field=field)),
    )
    sys.modules["jax.numpy"] = numpy
    module = load("dynamic_scale", in_wheel(path, "flax/training/dynamic_scale.py"))

    def run(rng):
        scaler = module.DynamicScale(
            growth_factor=rng.choice([2.0, 4.0, 1.5]),
            backoff_factor=rng.choice([0.5, 0.25, 0.75]),
            growth_interval=rng.choice([1, 2, 3, 10]),
            scale=numpy.float32(rng.choice([2.0**16, 12345.678, 2.0**-120, 2.0**120])),
        )
        rule = dict(
            peer="flax",
            initial_scale=bits(scaler.scale),
            growth_factor=bits(scaler.growth_factor),
            backoff_factor=bits(scaler.backoff_factor),
            growth_interval=scaler.growth_interval,
            floor=bits(scaler.minimum_scale),
            hysteresis=1,
            on_clean_step=False,
            refuse=False,
        )
        given, scales, trackers = flags(rng, 300), [], []
        for flag in given:
            gradient[:] = [numpy.float32("nan" if flag == "!" else 1)]
            result = scaler.value_and_grad(None)()
            assert bool(result.finite) == (flag == ".")
            scaler = result.dynamic_scale
            assert scaler.scale.dtype == numpy.float32
            scales.append(bits(scaler.scale))
            trackers.append(int(scaler.fin_steps))
        return dict(rule, flags=given, raised=False, scales=scales, trackers=trackers, left=None)

    return run


def main():
    numpy.seterr(all="ignore")
    rng = random.Random(86)
    runs = []
    for make, path in zip([deepspeed, megatron, flax], sys.argv[1:4], strict=True):
        run = make(path)
        runs += [run(rng) for _ in range(160)]
    text = json.dumps(runs, separators=(",", ":"))
    with open(sys.argv[4], "wb") as out:
        out.write(gzip.compress(text.encode(), 9, mtime=0))


main()
