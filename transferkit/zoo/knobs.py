"""The knobs of all networks, each declared once with its values: a family chooses those that have a meaning for it.

A knob is part of a network's name: `alexnet_paper(lrn=false)`. `docs/networks.md` and `transferkit inspect` list them
from here.
"""

from dataclasses import dataclass, replace

from transferkit.lookup import UnknownName, look_up, suggest_known


@dataclass(frozen=True)
class Knob:
    """What may be varied of a network.

    Attributes:
        default: its value if the name does not give one; `choose` sets that of a family.
        help: what it does, in one line.
        values: the names that it takes.
        numbers: the numbers that it takes: whole ones of a range, or those from one number to below another.
        several: whether it takes several numbers, as `300-100`; they stay text.
        keeps_weights: whether the network computes the same with public weights, whatever the value.
    """

    default: bool | str | float
    help: str
    values: tuple = ()
    numbers: range | tuple[float, float] | None = None
    several: bool = False
    keeps_weights: bool = False

    def parse(self, text: str, network: str, name: str):
        """The value that a text stands for.

        Args:
            text: as in the name of a network.
            network, name: those of the network and of the knob, for the message.

        Raises:
            UnknownName: it stands for none.
        """
        named = {spell_value(value): value for value in self.values}
        if text.lower() in named:
            return named[text.lower()]
        if not self.numbers:
            return look_up(named, text.lower(), f"value of {network}'s {name}")
        numbers = [_parse_number(part, self.numbers) for part in (text.split("-") if self.several else [text])]
        if None not in numbers:
            return "-".join(map(str, numbers)) if self.several else numbers[0]
        if named:
            known = suggest_known(named, text.lower()).rstrip(".")
            raise UnknownName(f"No value of {network}'s {name} is called {text!r}.{known}, {self.describe_numbers()}.")
        raise UnknownName(f"{name} of {network} must be {self.describe_numbers()}, not {text!r}.")

    def describe(self) -> str:
        """The values, the default first: `relu|tanh`, `0.5, a number from 0 to below 1`."""
        default = spell_value(self.default)
        names = "|".join([default, *(spell_value(value) for value in self.values if value != self.default)])
        if not self.numbers:
            return names
        return f"{names}{' or' if self.values else ','} {self.describe_numbers()}"

    def describe_numbers(self) -> str:
        """ "a number from 0 to below 1", "a whole number from 1 to 5"."""
        if isinstance(self.numbers, range):
            ends = f"from {self.numbers[0]} to {self.numbers[-1]}"
            return f"whole numbers {ends} as 300-100" if self.several else f"a whole number {ends}"
        low, high = self.numbers or (0, 0)
        return f"a number from {low:g} to below {high:g}"


def _parse_number(text: str, numbers: range | tuple[float, float]) -> int | float | None:
    """The number of a text, if it is one of these."""
    try:
        number = int(text) if isinstance(numbers, range) else float(text)
    except ValueError:
        return None
    known = number in numbers if isinstance(numbers, range) else numbers[0] <= number < numbers[1]
    return number if known else None


def spell_value(value) -> str:
    """A value as in a name: `true`, `relu`, `0.5`."""
    return f"{value:g}" if isinstance(value, float) else str(value).lower()


FRACTION = (0.0, 1.0)

KNOBS = {
    # what is between the layers with weights
    "activation": Knob("relu", "what follows each layer with weights", ("relu", "tanh", "sigmoid", "none")),
    "norm": Knob(
        "batch",
        "what normalises the maps of each convolution: a batch, groups of maps (Wu, He 2018), nothing",
        ("batch", "group", "none"),
    ),
    "lrn": Knob(True, "local response normalisation (Krizhevsky et al. 2012, section 3.3)", (True, False)),
    "pool": Knob(
        "max",
        "what halves the maps: the maximum or the average of a window, or a convolution with a stride",
        ("max", "average", "stride"),
    ),
    "pool_size": Knob(
        3, "side of that window, which moves by 2: windows of 3 overlap (Krizhevsky et al., 3.4)", (3, 2)
    ),
    "dropout": Knob(0.5, "fraction of the units that each dropout switches off", numbers=FRACTION, keeps_weights=True),
    "input_dropout": Knob(0.2, "the same of the picture's values", numbers=FRACTION, keeps_weights=True),
    # how the weights begin
    "init": Knob(
        "default",
        "how all kernels begin: as the family's, by He 2015 or Glorot 2010, or Gaussian with this deviation",
        ("default", "he", "glorot"),
        numbers=FRACTION,
    ),
    "zero_init": Knob(
        False, "each block begins as the identity (Goyal et al. 2017, section 5.1)", (False, True), keeps_weights=True
    ),
    # sizes
    "depth": Knob(3, "stages of a layer with weights and a pool", numbers=range(1, 6)),
    "width": Knob(16, "maps of the first stage, twice as many in each that follows", numbers=range(1, 513)),
    "widen": Knob(1.0, "factor on the maps of every layer (Zagoruyko, Komodakis 2016)", numbers=(0.1, 10.0)),
    "hidden": Knob("512-512", "units of the hidden layers", numbers=range(1, 8193), several=True),
    "kernel": Knob(3, "side of the kernels", numbers=range(1, 12)),
    "padding": Knob("same", "zeros around the maps, so that they keep their size, or none", ("same", "valid")),
    "top": Knob(
        "flat", "what the classifier sees of the last maps: each place, or their averages", ("flat", "average")
    ),
    "groups": Knob(1, "parts of the maps that do not see each other, as on the two GPUs of 2012", (1, 2)),
    # the variations of one paper
    "convolutional_head": Knob(
        False, "hidden dense layers as convolutions, for larger pictures", (False, True), keeps_weights=True
    ),
    "widths": Knob("a", "b is the wider network of ZFNet's table 2", ("a", "b")),
    "variant": Knob(
        "all",
        "table 2 of All-CNN: a convolution in place of each pool, the pool, a stride before it, one more convolution",
        ("all", "base", "strided", "convpool"),
    ),
    "inception": Knob("reduced", "figure 2b or 2a of GoogLeNet", ("reduced", "naive")),
    "aux": Knob(False, "with the heads for training: three outputs", (False, True), keeps_weights=True),
    "stem": Knob("imagenet", "small is one convolution of 3x3, for pictures of about 32 pixels", ("imagenet", "small")),
    "output_stride": Knob(
        32, "strides of the last stages as dilation (Chen et al. 2017), for dense maps", (32, 16, 8), keeps_weights=True
    ),
    "shortcut": Knob("b", "option A, B or C of ResNet's section 3.3", ("a", "b", "c")),
    "c3": Knob("full", "table connects the maps as LeNet's table I", ("full", "table")),
    "subsampling": Knob(
        "average", "trainable adds a coefficient, a bias and an activation to each pool", ("average", "trainable")
    ),
}


def choose(*names: str, **defaults) -> dict[str, Knob]:
    """The knobs of a family, with its defaults where they are not those of the table.

    Example:
        >>> choose("lrn", activation="tanh")["activation"].describe()
        'tanh|relu|sigmoid|none'
    """
    return {name: KNOBS[name] for name in names} | {
        name: replace(KNOBS[name], default=default) for name, default in defaults.items()
    }
