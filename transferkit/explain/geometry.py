"""Output size, parameters, multiply-adds and receptive field of every layer of a model.

The model may be any functional or sequential Keras model with channels last, also with `keras.ops` between its layers.
An unknown operation that keeps height and width is treated as elementwise; the receptive field of one that changes them
is the whole picture.
"""

import math
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction

import keras

from transferkit.keras_internals import graph_calls, operation_kind

STATISTICS = (
    "moving_mean",
    "moving_variance",
    "mean",
    "variance",
    "count",
)  # weights without gradients
MULTIPLYING = ("convolution", "transposed convolution", "dense")  # kinds of layers whose multiply-adds are counted


@dataclass(frozen=True)
class Span:
    """The receptive field of the positions of a map along one axis, in pixels of the picture.

    Attributes:
        start: first pixel of position 0, negative in the padding; None if it depends on a size that is not given.
        side: size of the receptive field, including the gaps of dilation; the largest one after upsampling, where it
            differs between positions; None for the whole picture.
        stride: pixels between neighbouring positions, below 1 after upsampling; None without a map.
    """

    start: Fraction | None
    side: Fraction | None
    stride: Fraction | None

    def at(self, place: int) -> tuple[int, int]:
        """The receptive field of a position: its first pixel and one past its last; they may be outside the picture.

        Raises:
            ValueError: the receptive field is the whole picture, or its position is unknown.
        """
        if self.start is None or self.side is None or self.stride is None:
            raise ValueError(
                "The receptive field has no known position: it is the whole picture, or no size was given."
            )
        first = math.ceil(self.start + place * self.stride)
        return first, math.floor(self.start + place * self.stride + self.side)


WHOLE = Span(None, None, None)


@dataclass(frozen=True)
class Layer:
    """One layer of a model.

    Attributes:
        name: name of the layer; "outer/inner" inside a nested model.
        kind: name of its class.
        output: output shape without the batch, (height, width, channels) or (units,); None for an unknown size.
        params: parameters without moving statistics, frozen or not. A layer that is used several times counts once.
        multiply_adds: multiply-adds of a convolution or dense layer for one picture: kernel size times the number of
            positions of the output (of the input for a transposed convolution). 0 for other layers, None if unknown.
        spans: receptive fields along height and width; () after flattening or global pooling.
    """

    name: str
    kind: str
    output: tuple[int | None, ...]
    params: int
    multiply_adds: int | None
    spans: tuple[Span, ...]

    @property
    def receptive_field(self) -> int | None:
        """Size of the receptive field in pixels, the larger of height and width; None for the whole picture."""
        sides = _known(span.side for span in self.spans)
        return max(map(math.floor, sides)) if sides else None

    @property
    def stride(self) -> int | float | None:
        """Pixels between neighbouring positions, the larger of height and width; None without a map."""
        strides = _known(span.stride for span in self.spans)
        if not strides:
            return None
        most = max(strides)
        return int(most) if most.denominator == 1 else float(most)

    @property
    def is_map(self) -> bool:
        """Whether the output is a map, with positions along height and width."""
        return bool(self.spans) and all(span.stride is not None for span in self.spans)


def _known(values: Iterable[Fraction | None]) -> list[Fraction]:
    """The values, or an empty list if one of them is None."""
    values = list(values)
    known = [value for value in values if value is not None]
    return known if len(known) == len(values) else []


def measure_layers(model, size: int | tuple[int, int] | None = None) -> tuple[Layer, ...]:
    """Measure the layers of a model, in the order of `model.layers`.

    Args:
        model: a functional or built sequential `keras.Model`.
        size: size of the pictures in pixels, or (height, width); by default the model's own, which may be unknown.

    Raises:
        ValueError: the model is neither functional nor sequential, is built for another size, needs larger pictures,
            or has its channels first.
    """
    if not isinstance(model, keras.Function) and not (isinstance(model, keras.Sequential) and model.built):
        raise ValueError(f"{model.name} has no graph of layers: expected a functional or a built sequential model.")
    shapes = [keras.KerasTensor(_picture_shape(tensor.shape, size, model), tensor.dtype) for tensor in model.inputs]
    itself = Span(Fraction(0), Fraction(1), Fraction(1))
    return tuple(_measure_graph(model, [(shape, (itself,) * (len(shape.shape) - 2)) for shape in shapes], "", set())[0])


def sum_costs(layers: Sequence[Layer]) -> tuple[int, int]:
    """Total parameters and multiply-adds of layers whose sizes are known."""
    return sum(layer.params for layer in layers), sum(layer.multiply_adds or 0 for layer in layers)


def _picture_shape(shape: tuple, size, model) -> tuple:
    """The shape of one picture of the size."""
    sides = shape[1:-1]
    asked = sides if size is None else _per_axis(size, len(sides))
    if any(known not in (None, side) for known, side in zip(sides, asked, strict=True)):
        raise ValueError(f"{model.name} is built for pictures of {_format_sides(sides)}, not {_format_sides(asked)}.")
    return (1, *asked, shape[-1])


def _format_sides(sides) -> str:
    return "x".join("any" if side is None else str(side) for side in sides)


def _per_axis(value, axes: int) -> tuple:
    return (value,) * axes if isinstance(value, int) else tuple(value)


def _measure_graph(model, inputs: list, prefix: str, counted: set) -> tuple[list[Layer], list]:
    """The records of a model's layers, and (shape, spans) of its outputs, from those of its inputs.

    `counted` holds the ids of the weights that have been counted.
    """
    shapes = {id(tensor): given for tensor, (given, _) in zip(model.inputs, inputs, strict=True)}
    spans = {id(tensor): seen for tensor, (_, seen) in zip(model.inputs, inputs, strict=True)}
    records: dict[int, list[Layer]] = {}
    for call in graph_calls(model.inputs, model.outputs):
        operation, name = call.operation, prefix + call.operation.name
        rows: list[Layer] = []
        if call.inputs:
            args, kwargs = call.fill_in(shapes)
            seen = [(shapes[id(tensor)], spans[id(tensor)]) for tensor in call.inputs]
            if isinstance(operation, keras.Function | keras.Sequential):
                rows, results = _measure_graph(operation, seen, f"{name}/", counted)
            else:
                results = _measure_operation(operation, args, kwargs, seen, name, model)
            for tensor, (shape, span) in zip(call.outputs, results, strict=True):
                shapes[id(tensor)], spans[id(tensor)] = shape, span
        if isinstance(operation, keras.Layer) and not rows:
            source, first = (call.inputs or call.outputs)[0], id(call.outputs[0])
            rows = [_measure_layer(operation, name, shapes[id(source)], shapes[first], spans[first], counted)]
        records.setdefault(id(operation), []).extend(rows)
    found = [record for layer in model.layers for record in records.get(id(layer), [])]
    return found, [(shapes[id(tensor)], spans[id(tensor)]) for tensor in model.outputs]


def _measure_operation(operation, args, kwargs, seen: list, name: str, model) -> list:
    """(shape, spans) of each output of one operation."""
    if getattr(operation, "data_format", None) == "channels_first":
        raise ValueError(f"{name} of {model.name} has its channels first: expected channels last.")
    sides, spans = tuple(seen[0][0].shape[1:-1]), seen[0][1]
    try:
        outputs = keras.tree.flatten(operation.compute_output_spec(*args, **kwargs))
        if any(0 in output.shape for output in outputs):
            raise ValueError("the output is empty")
    except ValueError as error:
        raise ValueError(
            f"{name} of {model.name} cannot work on {_format_sides(sides)}: try larger pictures."
        ) from error
    rule = RULES.get(operation_kind(operation))
    steps = rule(operation, args, kwargs, sides) if rule and spans else None
    return [
        (output, tuple(map(_apply_step, spans, steps)) if steps else _merge_spans(seen, output.shape))
        for output in outputs
    ]


def _measure_layer(layer, name: str, source, output, spans: tuple, counted: set) -> Layer:
    weights = [weight for weight in layer.weights if id(weight) not in counted]
    counted.update(map(id, weights))
    params = sum(math.prod(weight.shape) for weight in weights if weight.name not in STATISTICS)
    kind = operation_kind(layer)
    products: int | None = 0
    if kind in MULTIPLYING:
        places = (source if kind == "transposed convolution" else output).shape[1:-1]
        kernels = sum(math.prod(weight.shape) for weight in layer.weights if weight.name.endswith("kernel"))
        products = None if None in places else kernels * math.prod(places)
    elif kind == "einsum":
        products = _count_einsum(layer, output.shape)
    return Layer(name, type(layer).__name__, tuple(output.shape[1:]), params, products, spans)


def _count_einsum(layer, shape: tuple) -> int | None:
    """Multiply-adds of an `EinsumDense`: one for each combination of its indices but that of the picture."""
    _, of_kernel, of_output = re.split(",|->", layer.equation)
    sizes = dict(zip(of_output[1:], shape[1:], strict=False)) | dict(zip(of_kernel, layer.kernel.shape, strict=False))
    return None if "." in layer.equation or None in sizes.values() else math.prod(sizes.values())


def _merge_spans(seen: list, shape: tuple) -> tuple[Span, ...]:
    """The receptive field over several inputs; that of a vector that is broadcast to a map is the whole picture."""
    spans = []
    for axis in range(1, len(shape) - 1):
        alike = [len(source.shape) == len(shape) and source.shape[axis] == shape[axis] for source, _ in seen]
        found = [seen[i][1][axis - 1] if like else WHOLE for i, like in enumerate(alike)]
        stride = max((span.stride for span in found if span.stride is not None), default=None)
        starts, sides = _known(span.start for span in found), _known(span.side for span in found)
        start, side = min(starts, default=None), max(sides, default=None)
        if start is not None:
            side = max(first + size for first, size in zip(starts, sides, strict=True)) - start
        spans.append(Span(start, side, stride))
    return tuple(spans)


def _apply_step(span: Span, step: tuple) -> Span:
    """Apply a sliding window to a receptive field.

    Args:
        step: (size of the window, stride, padding before the first position) in positions of the input. The padding is
            None if it is unknown; all three are fractions if the output is finer than the input.
    """
    reach, stride, before = step
    if span.stride is None:
        return span
    side = None if span.side is None else span.side + (reach - 1) * span.stride
    start = None if span.start is None or before is None else span.start - before * span.stride
    return Span(start, side, span.stride * stride)


def _kernel_shape(operation, args, kwargs, axes: int) -> tuple:
    """Height and width of a layer's window, or of the kernel of an operation of `keras.ops`."""
    for name in ("pool_size", "kernel_size"):
        if hasattr(operation, name):
            return _per_axis(getattr(operation, name), axes)
    given = args[1] if len(args) > 1 else kwargs.get("kernel", kwargs.get("depthwise_kernel"))
    return tuple(given.shape[:axes])


def _window_steps(operation, args, kwargs, sides):
    """The steps of convolutions and poolings."""
    axes, kernel = len(sides), _kernel_shape(operation, args, kwargs, len(sides))
    strides = kernel if operation.strides is None else _per_axis(operation.strides, axes)
    rates = _per_axis(getattr(operation, "dilation_rate", 1), axes)
    steps = []
    for window, stride, rate, side in zip(kernel, strides, rates, sides, strict=True):
        reach = (window - 1) * rate + 1
        before = {"valid": 0, "causal": reach - 1, "same": (reach - 1) // 2}[operation.padding]
        if operation.padding == "same" and stride > 1:  # as in TensorFlow: the odd pixel is at the end
            before = None if side is None else max((math.ceil(side / stride) - 1) * stride + reach - side, 0) // 2
        steps.append((reach, stride, before))
    return steps


def _transposed_steps(operation, args, kwargs, sides):
    axes, same = len(sides), operation.padding == "same"
    rates = _per_axis(operation.dilation_rate, axes)
    reaches = [
        (window - 1) * rate + 1
        for window, rate in zip(_kernel_shape(operation, args, kwargs, axes), rates, strict=True)
    ]
    pairs = zip(reaches, _per_axis(operation.strides, axes), strict=True)
    return [_finer_step(reach, scale, max(reach - scale, 0) // 2 if same else 0) for reach, scale in pairs]


def _upsampling_steps(operation, args, kwargs, sides):
    scales = _per_axis(operation.size, len(sides))
    if getattr(operation, "interpolation", "nearest") == "nearest":
        return [_finer_step(scale, scale, 0) for scale in scales]
    return [_finer_step(2 * scale - scale % 2, scale, scale // 2) for scale in scales]  # bilinear: two neighbours


def _finer_step(reach: int, scale: int, before: int) -> tuple:
    """The step of an upsampling by `scale` with a window of `reach` output positions."""
    return 1 + Fraction(reach - 1, scale), Fraction(1, scale), Fraction(reach - 1 - before, scale)


def _padding_steps(operation, args, kwargs, sides):
    """The steps of padding, which adds positions before the first one, and of cropping, which removes them."""
    if hasattr(operation, "pad_width"):  # of all axes, or one for all
        widths = tuple(operation.pad_width)
        return [(1, 1, before) for before, _ in (widths * (len(sides) + 2) if len(widths) == 1 else widths)[1:-1]]
    sign, pairs = (-1, operation.cropping) if hasattr(operation, "cropping") else (1, operation.padding)
    pairs = [pairs] if isinstance(pairs[0], int) else pairs  # for one axis Keras stores a pair, not a tuple of pairs
    return [(1, 1, sign * before) for before, _ in pairs]


def _slicing_steps(operation, args, kwargs, sides):
    """The steps of slicing, `x[:, 1:-1, ::2]`; None for any other index, which mixes or removes axes."""
    key, rank = args[1] if len(args) > 1 else kwargs["key"], len(sides) + 2
    key = list(key) if isinstance(key, tuple) else [key]
    if Ellipsis in key:
        at = key.index(Ellipsis)
        key[at : at + 1] = [slice(None)] * (rank - len(key) + 1)
    key += [slice(None)] * (rank - len(key))
    if not all(isinstance(part, slice) and (part.step or 1) > 0 for part in key):
        return None
    steps = []
    for part, side in zip(key[1:-1], sides, strict=True):
        first = part.start or 0
        if first < 0:
            first = None if side is None else max(first + side, 0)
        steps.append((1, part.step or 1, None if first is None else -first))
    return steps


RULES: dict[str | None, Callable] = {  # by kind of operation; a rule gives a step for each axis, see `_apply_step`
    "convolution": _window_steps,
    "pooling": _window_steps,
    "transposed convolution": _transposed_steps,
    "upsampling": _upsampling_steps,
    "padding": _padding_steps,
    "slicing": _slicing_steps,
}
