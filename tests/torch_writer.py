"""The three formats of torch.save, written from NumPy arrays opcode by opcode: nothing of the reader is used."""

import io
import struct
import tarfile
import zipfile
from typing import NamedTuple

import ml_dtypes
import numpy as np

STORAGES = {
    np.dtype("f8"): "DoubleStorage",
    np.dtype("f4"): "FloatStorage",
    np.dtype("f2"): "HalfStorage",
    np.dtype(ml_dtypes.bfloat16): "BFloat16Storage",
    np.dtype("i8"): "LongStorage",
    np.dtype("u1"): "ByteStorage",
    np.dtype("?"): "BoolStorage",
}
SYSTEM = {"protocol_version": 1001, "little_endian": True, "type_sizes": {"short": 2, "int": 4, "long": 4}}


class Global(NamedTuple):
    module: str
    name: str


class Call(NamedTuple):
    function: object
    arguments: tuple


class Built(NamedTuple):
    target: object
    state: object


class Reference(NamedTuple):
    key: object


def pickled(value) -> bytes:
    return b"\x80\x02" + encode(value) + b"."


def encode(value) -> bytes:
    match value:
        case bytes():  # opcodes already
            return value
        case None | True | False:
            return {None: b"N", True: b"\x88", False: b"\x89"}[value]
        case int():
            return b"\x8a\x0a" + value.to_bytes(10, "little", signed=True)
        case float():
            return b"G" + struct.pack(">d", value)
        case str():
            return b"X" + struct.pack("<I", len(value.encode())) + value.encode()
        case Global(module, name):
            return f"c{module}\n{name}\n".encode()
        case Call(function, arguments):
            return encode(function) + encode(arguments) + b"R"
        case Built(target, state):
            return encode(target) + encode(state) + b"b"
        case Reference(key):
            return encode(key) + b"Q"
        case tuple():
            return b"(" + b"".join(map(encode, value)) + b"t"
        case list():
            return b"](" + b"".join(map(encode, value)) + b"e"
        case dict():
            return b"}(" + b"".join(encode(part) for item in value.items() for part in item) + b"u"
    raise TypeError(type(value))


def ordered(items=()) -> Call:
    return Call(Global("collections", "OrderedDict"), items)


def base(array):
    """The storage of an array: its base, which has to be flat and contiguous where there is one."""
    return array if array.base is None else array.base


def layout(array):
    """Offset, size and stride in elements."""
    offset = (array.ctypes.data - base(array).ctypes.data) // array.itemsize
    return offset, array.shape, tuple(step // array.itemsize for step in array.strides)


def storage_key(array) -> str:
    return f"{140_000_000_000_000 + id(base(array)) % 10**12:015d}"


def storages(arrays) -> dict:
    return {storage_key(array): base(array) for array in arrays.values()}


def tensor(array, *, version=2, view=()):
    """The call that rebuilds a tensor; the stream format's references to storages have a `view` at the end."""
    kind = Global("torch", STORAGES[array.dtype])
    reference = Reference(("storage", kind, storage_key(array), "cuda:0", base(array).size, *view))
    if version == 1:
        return Call(Global("torch._utils", "_rebuild_tensor"), (reference, *layout(array)))
    return Call(Global("torch._utils", "_rebuild_tensor_v2"), (reference, *layout(array), False, ordered()))


def parameter(array):
    return Call(Global("torch._utils", "_rebuild_parameter"), (tensor(array), True, ordered()))


def state_dict(arrays, rebuild=tensor):
    table = {name: rebuild(array) for name, array in arrays.items()}
    items = encode(table)[1:]  # without the opcode of the empty dict: the ordered one is filled instead
    return Built(encode(ordered()) + items, {"_metadata": ordered()})


def zip_bytes(arrays, top=None, *, root="archive", members=None) -> bytes:
    """The zip of torch 1.6 and later: data on 64 bytes, by padding that only the local headers know of."""
    out = io.BytesIO()
    contents = {"data.pkl": pickled(state_dict(arrays) if top is None else top), "version": b"3\n"}
    contents |= {f"data/{key}": array.tobytes() for key, array in storages(arrays).items()}
    with zipfile.ZipFile(out, "w") as archive:
        for name, content in (contents | (members or {})).items():
            member = zipfile.ZipInfo(f"{root}/{name}")
            room = -(out.tell() + 30 + len(member.filename) + 4) % 64
            member.extra = b"FB" + struct.pack("<H", room) + b"Z" * room
            archive.writestr(member, content)
            member.extra = b""
    return out.getvalue()


def stream_bytes(arrays, top=None, *, system=SYSTEM) -> bytes:
    """The stream of torch 0.1.10 to 1.5."""
    top = state_dict(arrays, lambda array: tensor(array, view=(None,))) if top is None else top
    kept = dict(sorted(storages(arrays).items()))
    magic = b"\x80\x02\x8a\x0a" + 0x1950A86A20F9469CFC6C.to_bytes(10, "little") + b"."
    out = [magic, *map(pickled, (1001, system, top, list(kept)))]
    for array in kept.values():
        out += [struct.pack("<q", array.size), array.tobytes()]
    return b"".join(out)


def tar_bytes(arrays, top=None, *, views=()) -> bytes:
    """The tar before 0.1.10, with parameters where numbers are real, as in torchvision's first files."""
    keys = {name: number for number, name in enumerate(arrays, 500)}
    kept = storages(arrays)
    stored = [pickled(len(kept))]
    for key, array in kept.items():
        kind = Global("torch", STORAGES[array.dtype])
        stored += [pickled((int(key), "cpu", kind)), struct.pack("<q", array.size), array.tobytes()]
    tensors = [pickled(len(arrays))]
    for name, array in arrays.items():
        kind = Global("torch", STORAGES[array.dtype].replace("Storage", "Tensor"))
        offset, size, stride = layout(array)
        tensors += [pickled((keys[name], int(storage_key(array)), kind)), struct.pack("<ii", array.ndim, 0)]
        tensors += [struct.pack(f"<{2 * array.ndim + 1}q", *size, *stride, offset)]
    if top is None:
        kind = Global("torch.nn.parameter", "Parameter")
        top = {name: Reference(key) for name, key in keys.items()}
        for name, array in arrays.items():
            if array.dtype.kind not in "ib":
                top[name] = Built(Call(kind, ()), (Reference(keys[name]), None, ordered(), True, False))
    members = {
        "sys_info": pickled(SYSTEM),
        "pickle": pickled(top),
        "tensors": b"".join(tensors),
        "storages": b"".join(stored) + pickled(list(views)),
    }
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return out.getvalue()
