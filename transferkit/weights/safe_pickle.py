"""Read the pickles of `torch.save` without `pickle`, whose `load` can run any code.

The interpreter here supports the three dozen opcodes that a dict of tensors needs, calls only the functions in
`GLOBALS`, and needs time and memory in proportion to the length of the pickle. It returns tensors as records, because
their data are elsewhere in the file.
"""

import pickletools
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from types import FunctionType
from typing import Any, BinaryIO

import ml_dtypes
import numpy as np

from transferkit.weights.errors import UnusableFileError

# ResNet-152 needs about 35,000 opcodes. The limit restricts a hostile pickle to seconds and about 100 MB.
MOST_OPCODES = 1_000_000
WHOLE_MODULE = "holds a whole module: save its state_dict() instead."


@dataclass(frozen=True, slots=True)
class Storage:
    """`numel` elements that start at element `first` of the data called `key`."""

    key: Hashable
    dtype: np.dtype
    first: int
    numel: int


@dataclass(frozen=True, slots=True)
class Tensor:
    """A view of a storage as the pickle describes it, unchecked; offset and stride are in elements."""

    storage: object
    offset: object
    size: object
    stride: object


@dataclass(slots=True)
class Parameter:
    """A `torch.nn.Parameter` of the tar format, whose tensor is set later, with its state."""

    data: Tensor | None = None


def _make_dict(pairs=()):
    table: dict = {}
    _fill_dict(table, pairs)
    if pairs:
        pairs.clear()  # so that a pickle cannot copy the same list again and again
    return table


def _make_tensor(storage, offset, size, stride, *_):
    return Tensor(storage, offset, size, stride)


def _first_argument(tensor, *_):
    return tensor


def _make_parameter(tensor=None, *_):
    return Parameter(tensor)


def _make_none(*_):
    return None


DTYPES = {
    "Double": np.dtype("<f8"),
    "Float": np.dtype("<f4"),
    "Half": np.dtype("<f2"),
    "BFloat16": np.dtype(ml_dtypes.bfloat16),
    "Long": np.dtype("<i8"),
    "Int": np.dtype("<i4"),
    "Short": np.dtype("<i2"),
    "Char": np.dtype("i1"),
    "Byte": np.dtype("u1"),
    "Bool": np.dtype("?"),
}

# {`module name` that a pickle may use: its replacement}
GLOBALS = {
    "collections OrderedDict": _make_dict,
    "torch._utils _rebuild_tensor": _make_tensor,
    "torch._utils _rebuild_tensor_v2": _make_tensor,
    "torch._utils _rebuild_parameter": _first_argument,
    "torch._utils _rebuild_parameter_with_state": _first_argument,
    "torch.nn.parameter Parameter": _make_parameter,
    "torch Size": _first_argument,
    "torch device": _make_none,
    **{f"torch {dtype.name}": dtype for dtype in DTYPES.values()},
    **{
        f"{module} {stem}{kind}": dtype
        for module in ("torch", "torch.cuda")
        for stem, dtype in DTYPES.items()
        for kind in ("Storage", "Tensor")
    },
}


def load_pickle(stream: BinaryIO, persistent_load: Callable | None = None) -> Any:
    """Load the pickle at the stream's position, and leave the stream right after it.

    Args:
        stream: a file, `BytesIO` or `mmap`.
        persistent_load: function from a persistent id, torch's reference to data outside the pickle, to an object.

    Raises:
        UnusableFileError: the pickle contains more than a dict of tensors needs.
        Exception: any exception that lists, dicts and pickletools raise on a damaged pickle.
    """
    stack, marks, memo = list[Any](), list[list](), dict[Any, Any]()
    for step, (opcode, value, _) in enumerate(pickletools.genops(stream)):
        if step == MOST_OPCODES:
            raise UnusableFileError(f"holds a pickle of more than {MOST_OPCODES:,} opcodes: no network needs that.")
        match opcode.name:
            case "BINPUT" | "LONG_BINPUT":
                memo[value] = stack[-1]
            case "BINGET" | "LONG_BINGET":
                stack.append(memo[value])
            case "BININT" | "BININT1" | "BININT2" | "LONG1" | "BINFLOAT":
                stack.append(value)
            case "BINUNICODE" | "BINSTRING" | "SHORT_BINSTRING":
                stack.append(value)
            case "NONE" | "NEWTRUE" | "NEWFALSE":
                stack.append({"NONE": None, "NEWTRUE": True, "NEWFALSE": False}[opcode.name])
            case "EMPTY_TUPLE" | "EMPTY_LIST" | "EMPTY_DICT":
                stack.append({"EMPTY_TUPLE": tuple, "EMPTY_LIST": list, "EMPTY_DICT": dict}[opcode.name]())
            case "TUPLE1" | "TUPLE2" | "TUPLE3":
                count = int(opcode.name[-1])
                stack[-count:] = [tuple(stack[-count:])]
            case "MARK":
                marks.append(stack)
                stack = []
            case "TUPLE" | "APPENDS" | "SETITEMS":
                items, stack = stack, marks.pop()
                _collect_items(opcode.name, stack, items)
            case "APPEND":
                _collect_items("APPENDS", stack, [stack.pop()])
            case "SETITEM":
                item = stack.pop()
                _collect_items("SETITEMS", stack, [stack.pop(), item])
            case "GLOBAL":
                stack.append(_find_global(value))
            case "REDUCE" | "NEWOBJ":
                arguments = stack.pop()
                stack.append(_call(stack.pop(), arguments))
            case "BUILD":
                state = stack.pop()
                _set_state(stack[-1], state)
            case "BINPERSID" if persistent_load:
                stack.append(persistent_load(stack.pop()))
            case "PROTO":
                pass
            case "STOP":
                return stack.pop()
            case other:
                raise UnusableFileError(f"holds the pickle opcode {other}, which a table of tensors does not need.")
    raise UnusableFileError("is damaged: its pickle does not end.")


def _collect_items(kind, stack, items):
    """Apply TUPLE, APPENDS or SETITEMS to the items since the mark."""
    if kind == "TUPLE":
        stack.append(tuple(items))
    elif kind == "APPENDS" and isinstance(stack[-1], list):
        stack[-1].extend(items)
    elif kind == "SETITEMS" and isinstance(stack[-1], dict):
        _fill_dict(stack[-1], zip(items[::2], items[1::2], strict=True))
    else:
        raise UnusableFileError(f"is damaged: its pickle has {kind} on a {type(stack[-1]).__name__}.")


def _fill_dict(table, pairs):
    for key, value in pairs:
        # Only keys that are hashed quickly: hashing nested tuples that share parts takes for ever.
        if not isinstance(key, str | int) or key in table:
            raise UnusableFileError(f"is damaged: its pickle has a key twice, or a {type(key).__name__} as key.")
        table[key] = value


def _find_global(text):
    if text.startswith("torch.nn.modules"):
        raise UnusableFileError(WHOLE_MODULE)
    if text not in GLOBALS:
        name = text.replace(" ", ".")
        raise UnusableFileError(f"asks for {name!r}, which no state dict needs: save only the model's state_dict().")
    return GLOBALS[text]


def _call(function, arguments):
    # The only functions on the stack are those of GLOBALS. torch writes at most seven arguments; the limit keeps a
    # pickle from copying the same long tuple again and again.
    if not isinstance(function, FunctionType) or not isinstance(arguments, tuple) or len(arguments) > 8:
        raise UnusableFileError(f"is damaged: its pickle calls a {type(function).__name__}.")
    return function(*arguments)


def _set_state(target, state):
    """Set the state of an object: the tensor of a parameter of the tar format. `_metadata` of dicts is ignored."""
    if isinstance(target, Parameter) and isinstance(state, tuple) and isinstance(state[0], Tensor):
        target.data = state[0]
    elif not isinstance(target, dict | Parameter):
        raise UnusableFileError(f"is damaged: its pickle sets the state of a {type(target).__name__}.")
