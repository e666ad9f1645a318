"""Asks PyTorch what autocast does and writes autocast_truth.json.gz beside this file.

    python make_autocast_truth.py

Needs torch 2.15 and no GPU: tensors "on CUDA" are fake tensors, which take autocast's real kernels.
Every op of autocast is called through the dispatcher. A recorder stands in for the op itself, below
autocast, and writes down what autocast passed on; so nothing is computed and shapes do not matter.

One letter is a type (see LETTERS). A row is "inputs>inputs as they arrived", ":x" where autocast set
an output type, "!n" where it refused with message n, "?" where the call never reached the op.
"""

import gzip
import itertools
import json
import pathlib
import random
import warnings

import torch
from torch._subclasses.fake_tensor import FakeTensorMode

LETTERS = {
    "d": torch.float64, "s": torch.float32, "h": torch.float16, "b": torch.bfloat16,
    "e": torch.float8_e4m3fn, "v": torch.float8_e5m2, "l": torch.int64, "i": torch.int32,
    "t": torch.int16, "c": torch.int8, "q": torch.uint64, "w": torch.uint32, "u": torch.uint16,
    "y": torch.uint8, "o": torch.bool,
}
LETTER = {dtype: letter for letter, dtype in LETTERS.items()}
BACKENDS = {"cuda": "AutocastCUDA", "cpu": "AutocastCPU"}


class Arrived(Exception):
    """What reached the op: its arguments, flat."""


def record(*args, **kwargs):
    flat = []
    for value in (*args, *kwargs.values()):
        flat.extend(value if isinstance(value, (list, tuple)) else [value])
    raise Arrived(flat)


def overload(name):
    packet, _, over = name.removeprefix("aten::").partition(".")
    return getattr(getattr(torch.ops.aten, packet), over or "default")


def intercept(names):
    """Puts the recorder in the place of these ops, for tensors of either backend."""
    library = torch.library.Library("aten", "IMPL")
    for name in sorted(names):
        for key in ("AutogradCUDA", "AutogradCPU"):
            library.impl(name.removeprefix("aten::"), record, key)
    return library


def scalar(kind):
    plain = {"int": 1, "SymInt": 1, "float": 1.0, "bool": False, "str": "mean", "number": 1,
             "Scalar": 1, "ScalarType": 6}
    if kind.startswith("Optional["):
        return None
    if kind.startswith("List["):
        return [scalar(kind[5:-1])]
    return plain[kind]


def arguments(op, tensors):
    """The op's arguments, with the tensors where it takes some, in order."""
    rest = iter(tensors)
    values = {}
    for argument in op._schema.arguments:
        kind = str(argument.type)
        if kind in ("Tensor", "Optional[Tensor]"):
            values[argument.name] = next(rest)
        elif kind == "List[Tensor]":
            values[argument.name] = [next(rest) for _ in range(slots_of(op, argument))]
        elif kind == "List[Optional[Tensor]]":
            values[argument.name] = [torch.zeros(1, dtype=torch.int64, device=tensors[0].device)]
        elif argument.default_value is not None or argument.has_default_value():
            continue
        elif op._schema.name == "aten::einsum" and kind == "str":
            values[argument.name] = "i,i->i"
        else:
            values[argument.name] = scalar(kind)
    return values


def slots_of(op, argument):
    """How many tensors of ours an argument takes."""
    if str(argument.type) in ("Tensor", "Optional[Tensor]"):
        return 1
    if str(argument.type) == "List[Tensor]":
        return 3 if len([a for a in op._schema.arguments if "Tensor" in str(a.type)]) == 1 else 2
    return 0


def combinations(count):
    """Which types to pass: all of them where that is few, otherwise one that differs from the rest."""
    if count <= 2:
        return ["".join(c) for c in itertools.product("dshbevlo", repeat=count)]
    if count == 3:
        return ["".join(c) for c in itertools.product("dshbel", repeat=3)]
    found = dict.fromkeys(letter * count for letter in LETTERS)
    for base, place, other in itertools.product("shbdl", range(count), "dshbel"):
        found[base * place + other + base * (count - place - 1)] = None
    return list(found)


def cudnn_rnn(types, device):
    """An LSTM whose weights have the first type; input and states have the others."""
    weights, *others = [LETTERS[letter] for letter in types]
    def zeros(*shape, dtype):
        return torch.zeros(shape, dtype=dtype, device=device)
    states = [zeros(1, 2, 4, dtype=dtype) for dtype in others[1:]]
    weights = [zeros(*shape, dtype=weights) for shape in ((16, 4), (16, 4), (16,), (16,))]
    return dict(input=zeros(3, 2, 4, dtype=others[0]), weight=weights, weight_stride0=4,
                weight_buf=None, hx=states[0], cx=states[1], mode=2, hidden_size=4, proj_size=0,
                num_layers=1, batch_first=False, dropout=0.0, train=True, bidirectional=False,
                batch_sizes=[], dropout_state=None)


def one_row(op, types, device, messages, dtype=None):
    if op._schema.name == "aten::_cudnn_rnn":
        values = cudnn_rnn(types, device)
    else:
        tensors = [torch.zeros(1, dtype=LETTERS[letter], device=device) for letter in types]
        values = arguments(op, tensors)
    asked = dict(dtype=dtype) if dtype else {}
    try:
        op(**values, **asked)
        return f"{types}?"
    except Arrived as arrived:
        flat = arrived.args[0]
        got = [LETTER[v.dtype] for v in flat if isinstance(v, torch.Tensor)]
        if op._schema.name == "aten::index_put":
            got.pop(1)  # the indices
        if op._schema.name == "aten::_cudnn_rnn":
            got = [got[1], got[0], got[5], got[6]]
        out = [LETTER[v] for v in flat if isinstance(v, torch.dtype)]
        return f"{types}>{''.join(got)}" + (f":{out[0]}" if out else "")
    except RuntimeError as error:
        text = str(error).split("\nException raised from")[0]
        if text not in messages:
            messages.append(text)
        return f"{types}!{messages.index(text)}"


def casts(backend, names, messages):
    found = []
    for name, lower in itertools.product(names, "hb"):
        op = overload(name)
        count = sum(slots_of(op, argument) for argument in op._schema.arguments)
        torch.set_autocast_dtype(backend, LETTERS[lower])
        chosen = combinations(count)
        if name == "aten::_cudnn_rnn":  # other weights are copied on the device, which is not there
            chosen = [w + "".join(rest) for w in "hd" for rest in itertools.product("dshb", repeat=3)]
        rows = [one_row(op, types, backend, messages) for types in chosen]
        entry = {"op": name, "lower": lower, "rows": rows}
        if any(argument.name == "dtype" for argument in op._schema.arguments):
            entry["asked_f64"] = [one_row(op, t, backend, messages, torch.float64) for t in "shdl"]
        found.append(entry)
    return found


def promoted():
    """torch.promote_types, for all pairs; the empty string where it refuses."""
    def one(a, b):
        try:
            return LETTER.get(torch.promote_types(LETTERS[a], LETTERS[b]), "")
        except RuntimeError:
            return ""
    return {a + b: one(a, b) for a, b in itertools.product(LETTERS, repeat=2)}


def scopes(programs, seed):
    """Random programs of scopes, and torch's state after each step."""
    dice = random.Random(seed)

    def state():
        lowers = [LETTER[torch.get_autocast_dtype(b)] if torch.is_autocast_enabled(b) else "-"
                  for b in BACKENDS]
        return "".join(lowers) + ("+" if torch.is_autocast_cache_enabled() else "-")

    found = []
    for _ in range(programs):
        stack, steps = [], []
        for _ in range(20):
            if stack and dice.random() < 0.4:
                stack.pop().__exit__(None, None, None)
                steps.append(["exit", state()])
                continue
            backend, lower = dice.choice(list(BACKENDS)), dice.choice("hb-")
            cache = dice.choice([None, None, True, False])
            scope = torch.autocast(backend, LETTERS.get(lower), lower != "-", cache)
            scope._enabled = lower != "-"  # torch turns "cuda" off where there is no GPU
            scope.__enter__()
            stack.append(scope)
            steps.append([f"{backend} {lower} {'' if cache is None else '+' if cache else '-'}", state()])
        while stack:
            stack.pop().__exit__(None, None, None)
            steps.append(["exit", state()])
        found.append(steps)
    return found


def calls():
    """Functions as users call them: how many tensors each takes, and the call."""
    f = torch.nn.functional

    def image(a):
        return a[None, None]

    def scaled(mode):
        rank = {"linear": 1, "trilinear": 3}.get(mode, 2)
        shape = (1, 1, *(2,) * rank)
        return lambda a: f.interpolate(a.flatten()[: 2**rank].reshape(shape), scale_factor=2, mode=mode)

    return {
        "add": (2, torch.add), "mul": (2, torch.mul), "maximum": (2, torch.maximum),
        "where": (2, lambda a, b: torch.where(a > 0, a, b)), "relu": (1, f.relu),
        "gelu": (1, f.gelu), "silu": (1, f.silu), "sigmoid": (1, torch.sigmoid),
        "tanh": (1, torch.tanh), "sqrt": (1, torch.sqrt), "mean": (1, torch.mean),
        "batch_norm": (1, lambda a: f.batch_norm(a, None, None, training=True)),
        "dropout": (1, lambda a: f.dropout(a, 0.5)),
        "max_pool2d": (1, lambda a: f.max_pool2d(image(a), 2)),
        "torch.Tensor.__matmul__": (2, lambda a, b: a @ b), "torch.linalg.matmul": (2, torch.linalg.matmul),
        "torch.linalg.norm": (1, torch.linalg.norm), "torch.linalg.vector_norm": (1, torch.linalg.vector_norm),
        "torch.norm": (1, torch.norm),
        "torch.arccos": (1, torch.arccos), "torch.arcsin": (1, torch.arcsin),
        "torch.special.expm1": (1, torch.special.expm1), "torch.special.log1p": (1, torch.special.log1p),
        "torch.special.erfinv": (1, torch.special.erfinv),
        "torch.special.softmax": (1, lambda a: torch.special.softmax(a, 0)),
        "torch.special.log_softmax": (1, lambda a: torch.special.log_softmax(a, 0)),
        "F.softmax": (1, lambda a: f.softmax(a, 0)), "F.log_softmax": (1, lambda a: f.log_softmax(a, 0)),
        "F.softmin": (1, lambda a: f.softmin(a, 0)),
        "F.layer_norm": (1, lambda a: f.layer_norm(a, (4,))), "F.rms_norm": (1, lambda a: f.rms_norm(a, (4,))),
        "torch.nn.functional.cross_entropy":
            (1, lambda a: f.cross_entropy(a, torch.zeros(4, dtype=torch.int64, device=a.device))),
        "F.linear": (2, f.linear),
        "F.scaled_dot_product_attention":
            (3, lambda a, b, c: f.scaled_dot_product_attention(image(a), image(b), image(c))),
        "F.conv2d": (2, lambda a, b: f.conv2d(image(a), image(b))),
        "conv1d.padding": (2, lambda a, b: f.conv1d(a[None], b[None], padding="same")),
        "conv2d.padding": (2, lambda a, b: f.conv2d(image(a), image(b), padding="same")),
        "conv3d.padding": (2, lambda a, b: f.conv3d(image(a)[None], image(b)[None], padding="same")),
        "interpolate": (1, scaled("nearest")),
        **{f"upsample_{mode}{rank}.vec": (1, scaled(mode)) for mode, rank in
           (("linear", "1d"), ("bilinear", "2d"), ("trilinear", "3d"), ("bicubic", "2d"))},
    }


def functions():
    """The type of what each of those gives; "!" where torch does not take such inputs together."""
    def one(call, inputs):
        try:
            return LETTER[call(*inputs).dtype]
        except RuntimeError:
            return "!"

    found = []
    for backend, lower in itertools.product(BACKENDS, "hb"):
        torch.set_autocast_dtype(backend, LETTERS[lower])
        for name, (count, call) in calls().items():
            row = [backend, lower, name]
            for types in itertools.product("dshb", repeat=count):
                inputs = [torch.zeros((4, 4), dtype=LETTERS[t], device=backend) for t in types]
                row.append(f"{''.join(types)}>{one(call, inputs)}")
            found.append(row)
    return found


def main():
    warnings.simplefilter("ignore")
    truth = {"torch": torch.__version__, "promote": promoted(), "scopes": scopes(60, 1)}
    registered = {b: sorted(torch._C._dispatch_get_registrations_for_dispatch_key(key))
                  for b, key in BACKENDS.items()}
    every = [name for name in torch._C._dispatch_get_all_op_names() if name.startswith("aten::")]
    truth |= {"registered": registered, "every": sorted(every), "messages": [], "casts": {}}
    for backend in BACKENDS:
        torch.set_autocast_enabled(backend, True)
        torch.autocast_increment_nesting()
    with FakeTensorMode():
        truth["functions"] = functions()
        kept = intercept({*registered["cuda"], *registered["cpu"],
                          "aten::norm.ScalarOpt_dtype", "aten::norm.ScalarOpt_dim_dtype"})
        for backend, names in registered.items():
            truth["casts"][backend] = casts(backend, names, truth["messages"])
    del kept
    text = json.dumps(truth, separators=(",", ":")).encode()
    place = pathlib.Path(__file__).with_name("autocast_truth.json.gz")
    place.write_bytes(gzip.compress(text, 9, mtime=0))
    rows = sum(len(e["rows"]) for found in truth["casts"].values() for e in found)
    print(f"{rows} rows of {truth['torch']}, {place.stat().st_size} bytes")


main()
