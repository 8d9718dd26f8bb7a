"""The arithmetic of a network by hand: a formula with its numbers for the size, field and parameters of each layer.

With input N, kernel K, padding P before and after, stride S and dilation D of a layer (Dumoulin and Visin 2016, "A
guide to convolution arithmetic for deep learning"; Araujo, Norris and Sim 2019, "Computing Receptive Fields of
Convolutional Neural Networks")

- kernel with its gaps: K' = (K - 1) * D + 1
- output: floor((N + 2 * P - K') / S) + 1
- receptive field: that of the input + (K' - 1) * stride of the input
- stride, in pixels of the picture: that of the input * S
"""

import math
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import keras

from transferkit.explain.geometry import Layer
from transferkit.keras_internals import graph_calls, operation_kind

GIVEN = ("padding", "kernel", "stride", "dilation")


def conv_output_size(
    size: int, kernel: int, stride: int = 1, padding: str | int | tuple[int, int] = "valid", dilation: int = 1
) -> int:
    """The number of positions of a convolution or pooling along one axis: floor((N + P - K') / S) + 1.

    Args:
        size: of the input, at least 1.
        kernel: taps of the kernel along the axis.
        stride: step of the window.
        padding: "valid" for none, "same" as TensorFlow (ceil(N / S) positions), "full" for K' - 1 on either side, or
            the number of zeros on either side, or (before, after).
        dilation: distance of two taps.

    Returns:
        The size of the output; 0 where the kernel does not fit.

    Raises:
        ValueError: a number is below its range, or the padding is not known.

    Example:
        >>> conv_output_size(224, 11, stride=4, padding=2)
        55
    """
    reach = (kernel - 1) * dilation + 1
    if min(size, kernel, stride, dilation) < 1:
        given = f"size {size}, kernel {kernel}, stride {stride}, dilation {dilation}"
        raise ValueError(f"Size, kernel, stride and dilation must be at least 1, not {given}.")
    before, after = _zeros_around(size, reach, stride, padding)
    return max((size + before + after - reach) // stride + 1, 0)


def _zeros_around(size: int, reach: int, stride: int, padding: str | int | tuple[int, int]) -> tuple[int, int]:
    """The zeros before and after an axis, see `conv_output_size`."""
    if padding == "same":
        total = max((math.ceil(size / stride) - 1) * stride + reach - size, 0)
        return total // 2, total - total // 2
    named = {"valid": 0, "full": reach - 1}
    zeros = named.get(padding, padding) if isinstance(padding, str) else padding
    pair = (zeros, zeros) if isinstance(zeros, int) else zeros
    if isinstance(pair, str) or min(pair) < 0:
        raise ValueError(f"padding must be valid, same, full or numbers of zeros from 0, not {padding!r}.")
    return pair


@dataclass(frozen=True)
class Formula:
    """One line of the arithmetic.

    Attributes:
        quantity: "kernel", "output", "field", "stride" or "parameters"; "output height" and so on where height and
            width differ.
        text: in Python's notation, `floor((224 + 2 * 3 - 7) / 2) + 1`.
        value: the result.
    """

    quantity: str
    text: str
    value: int | float


@dataclass(frozen=True)
class Working:
    """The arithmetic of one layer.

    Attributes:
        layer: its record.
        formulas: its lines, without those that no formula here explains.
    """

    layer: Layer
    formulas: tuple[Formula, ...]


@dataclass(frozen=True)
class _Source:
    """What a tensor is for the layer that takes it: the record of the layer that made it, and zeros around it."""

    layer: Layer
    padding: tuple[tuple[int, int], ...] = ()


def work_out(model: keras.Model, layers: Sequence[Layer]) -> list[Working]:
    """The arithmetic of every layer, by hand.

    Padding that a layer of its own adds is written in the line of the convolution or pooling that follows.

    Args:
        model: a flat functional model.
        layers: its records, as `geometry.measure_layers` gives them.

    Returns:
        A `Working` for each record, in their order. A formula whose result is not the measured value, as of a layer
        with padding that is unknown here, is left out.

    Example:
        >>> work_out(model, measure_layers(model, 224))[2].formulas[0].text
        'floor((224 + 2 * 3 - 7) / 2) + 1'
    """
    records: dict[str, deque[Layer]] = {}
    for layer in layers:
        records.setdefault(layer.name, deque()).append(layer)
    sources: dict[int, _Source] = {}
    found: dict[int, Working] = {}
    for call in graph_calls(model.inputs, model.outputs):
        inputs = [sources[id(tensor)] for tensor in call.inputs]
        if not isinstance(call.operation, keras.Layer):
            sources |= dict.fromkeys(map(id, call.outputs), inputs[0])
            continue
        record = records[call.operation.name].popleft()
        channels = [tensor.shape[-1] for tensor in call.inputs]
        lines = _work_out_layer(call.operation, record, inputs, channels) if inputs else []
        found[id(record)] = Working(record, tuple(_checked(lines, record)))
        sources |= dict.fromkeys(map(id, call.outputs), _source_after(call.operation, record, inputs))
    return [found.get(id(layer), Working(layer, ())) for layer in layers]


def _source_after(operation, record: Layer, inputs: list[_Source]) -> _Source:
    """The output of a layer as a source: that of zero padding is its input with the padding."""
    if isinstance(operation, keras.layers.ZeroPadding2D) and inputs[0].layer.is_map and not inputs[0].padding:
        return _Source(inputs[0].layer, tuple(tuple(pair) for pair in operation.padding))
    return _Source(record)


def _work_out_layer(operation, record: Layer, inputs: list[_Source], channels: list[int]) -> list[Formula]:
    kind, source = operation_kind(operation), inputs[0].layer
    lines: list[Formula] = []
    if kind in ("convolution", "pooling") and getattr(operation, "padding", "") in ("valid", "same"):
        lines += _work_out_window(operation, source, inputs[0].padding)
    elif len(inputs) > 1:
        lines += _work_out_join(operation, inputs, channels)
    if record.params:
        lines += _count_parameters(operation, kind, record, channels[0])
    return lines


def _work_out_window(operation, source: Layer, margins) -> list[Formula]:
    """The lines of a convolution or pooling, for height and width."""
    kernels = getattr(operation, "kernel_size", None) or operation.pool_size
    strides = operation.strides or kernels
    rates = getattr(operation, "dilation_rate", None) or 1
    axes = []
    for axis in range(len(source.spans)):
        size, span = source.output[axis], source.spans[axis]
        kernel, stride, rate = (_on_axis(value, axis) for value in (kernels, strides, rates))
        reach = (kernel - 1) * rate + 1
        lines = [Formula("kernel", f"({kernel} - 1) * {rate} + 1", reach)] if rate > 1 else []
        before, after = margins[axis] if margins else (0, 0)
        if size is not None:
            zeros = _zeros_around(size + before + after, reach, stride, operation.padding)
            before, after = before + zeros[0], after + zeros[1]
            output = f"floor(({size}{_padding(before, after)} - {reach}) / {stride}) + 1"
            lines.append(Formula("output", output, conv_output_size(size, kernel, stride, (before, after), rate)))
        if span.side is not None and span.stride is not None:
            side, jump = _plain(span.side), _plain(span.stride)
            lines.append(Formula("field", f"{side} + ({reach} - 1) * {jump}", side + (reach - 1) * jump))
            lines.append(Formula("stride", f"{jump} * {stride}", jump * stride))
        axes.append(lines)
    if len(axes) == 2 and axes[0] != axes[1]:
        names = ("height", "width")
        return [
            Formula(f"{line.quantity} {name}", line.text, line.value)
            for name, lines in zip(names, axes, strict=True)
            for line in lines
        ]
    return axes[0] if axes else []


def _on_axis(value: Any, axis: int) -> int:
    return value if isinstance(value, int) else value[axis]


def _plain(value) -> int | float:
    return int(value) if value.denominator == 1 else float(value)


def _padding(before: int, after: int) -> str:
    """The padding as a part of a sum."""
    if before == after:
        return f" + 2 * {before}" if before else ""
    return "".join(f" + {margin}" for margin in (before, after) if margin)


def _work_out_join(operation, inputs: list[_Source], channels: list[int]) -> list[Formula]:
    """The lines of a concatenation or a sum: maps are added up, and the largest receptive field counts."""
    lines = []
    if isinstance(operation, keras.layers.Concatenate):
        lines.append(Formula("maps", " + ".join(map(str, channels)), sum(channels)))
    fields = [each.layer.receptive_field for each in inputs]
    known = [field for field in fields if field is not None]
    if len(known) == len(fields):
        lines.append(Formula("field", f"max({', '.join(map(str, known))})", max(known)))
    return lines


def _count_parameters(operation, kind: str | None, record: Layer, channels: int) -> list[Formula]:
    """The parameters: the numbers of each kernel, and one bias for each map."""
    weights = [weight for weight in operation.weights if "moving" not in weight.name]
    kernels = [weight for weight in weights if len(weight.shape) > 1]
    vectors = [weight for weight in weights if len(weight.shape) == 1]
    parts = [" * ".join(map(str, weight.shape)) for weight in kernels]
    if not kernels:
        parts = [f"{len(vectors)} * {channels}"]
    elif vectors:
        parts += [str(weight.shape[0]) for weight in vectors]
    return [Formula("parameters", " + ".join(parts), sum(math.prod(weight.shape) for weight in weights))]


def _checked(lines: Iterable[Formula], record: Layer):
    """Those lines whose result is the measured one."""
    for line in lines:
        name, _, side = line.quantity.partition(" ")
        axis = ("height", "width").index(side) if side else 0
        span = record.spans[axis] if record.spans else None
        measured = {
            "output": record.output[axis],
            "maps": record.output[-1],
            "parameters": record.params,
            "field": span and span.side,
            "stride": span and span.stride,
            "kernel": line.value,
        }[name]
        if line.value == measured:
            yield line
