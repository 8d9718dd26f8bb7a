"""Names of networks: what is here, and what the names of other libraries mean here. Does not import Keras."""

import difflib
import os
import re
from pathlib import Path

from transferkit import hub, path_kinds, zoo
from transferkit.lookup import MOST_NEAREST, UnknownName, find_nearest, join_or, quote
from transferkit.weights.catalogue import weight_sets

PREFIX = "keras:"
# the networks of keras.applications, of each family the smallest first; a test compares them with Keras'
APPLICATIONS = (
    "ConvNeXtTiny", "ConvNeXtSmall", "ConvNeXtBase", "ConvNeXtLarge", "ConvNeXtXLarge", "DenseNet121",
    "DenseNet169", "DenseNet201", "EfficientNetB0", "EfficientNetB1", "EfficientNetB2", "EfficientNetB3",
    "EfficientNetB4", "EfficientNetB5", "EfficientNetB6", "EfficientNetB7", "EfficientNetV2B0",
    "EfficientNetV2B1", "EfficientNetV2B2", "EfficientNetV2B3", "EfficientNetV2S", "EfficientNetV2M",
    "EfficientNetV2L", "InceptionV3", "InceptionResNetV2", "MobileNet", "MobileNetV2", "MobileNetV3Small",
    "MobileNetV3Large", "NASNetMobile", "NASNetLarge", "ResNet50", "ResNet50V2", "ResNet101", "ResNet101V2",
    "ResNet152", "ResNet152V2", "VGG16", "VGG19", "Xception",
)  # fmt: skip
ALIASES = {  # names that do not resemble ours, by `_key`
    "efficientnet": ("efficientnet_lite0", "keras:EfficientNetB0", "keras:EfficientNetV2B0"),
    "inceptionv1": ("googlenet",),
    "inception": ("googlenet", "keras:InceptionV3"),
    "inceptionv4": ("keras:InceptionResNetV2", "keras:InceptionV3"),
    "lenet": ("lenet5",),
    "networkinnetwork": ("nin",),
    "vgg": ("vgg16", "vgg16_bn", "vgg19"),
    "vggd": ("vgg16",),
    "vgge": ("vgg19",),
    "allconvnet": ("allcnn_c",),
    "resnetv2": ("keras:ResNet50V2",),
    "resnetv250": ("keras:ResNet50V2",),
    "resnetv2101": ("keras:ResNet101V2",),
}
CONVNETS = ("keras:ConvNeXtTiny", "keras:EfficientNetV2S")
# networks that nobody here has: the beginnings of their names, what they are, and what is near in purpose
ELSEWHERE = (
    (
        "beit cait clip coat convit crossvit data2vec davit deit dino eva hiera levit mae maxvit pit pvt siglip swin "
        "tnt twins vit xcit",
        "a vision transformer",
        CONVNETS,
    ),
    (
        "centernet detr fasterrcnn fcos maskrcnn retinanet rtdetr rtmdet segformer segment ssd unet deeplab fcn sam "
        "yolo",
        "made to detect or segment objects, or of a library for that",
        ("resnet18", "efficientnet_lite0", "keras:MobileNetV2"),
    ),
    (
        "bit dla dpn ecaresnet hrnet nfnet nfresnet regnet repvgg res2net resnest resnext senet seresne skresne "
        "wideresnet wrn",
        "a relative of ResNet",
        ("resnet50", "resnet101", "keras:ResNet50V2"),
    ),
    (
        "edgenext efficientformer efficientvit fastvit fbnet ghostnet lcnet mixnet mnasnet mobileone mobilenetv4 "
        "mobilevit semnasnet shufflenet squeezenet tinynet",
        "a small network",
        ("efficientnet_lite0", "keras:MobileNetV3Small", "keras:MobileNetV2"),
    ),
)


def is_application(base: str) -> bool:
    """Whether a base is `keras:` and a name, known or not."""
    return base.startswith(PREFIX)


def find_application(base: str) -> str:
    """The name in keras.applications of `keras:` and a name, in any case.

    Raises:
        UnknownName: there is none.
    """
    given = base.removeprefix(PREFIX)
    found = [name for name in APPLICATIONS if name.lower() == given.lower()]
    if not found:
        same = [name for name in APPLICATIONS if _key(name) == _key(given)]
        near = " or ".join(f"{PREFIX}{name}" for name in same or find_nearest(APPLICATIONS, given))
        nearest = f" Did you mean {near}?" if near else ""
        raise UnknownName(
            f"No network of keras.applications is called {quote(given)}.{nearest} keras.io/api/applications lists all."
        )
    return found[0]


def check_name(base: str):
    """Check that a base is a network's name with valid knobs, `keras:NAME`, a name on the Hub, or a path that exists.

    Raises:
        UnknownName, FileNotFoundError: it is not.
    """
    if is_application(base):
        find_application(base)
    elif zoo.is_network(base):
        zoo.spell(base)
    elif hub.is_hub(base):
        hub.check(base)
    elif not os.path.exists(base):
        raise missing_base(base)


def missing_base(base: str) -> Exception:
    """The error for a base that is neither a name nor a path that exists, with what may have been meant."""
    if meant := hub.suggest(base):
        return UnknownName(f"{quote(base)} is an address of the Hub, and no name.{meant}")
    return FileNotFoundError(missing_path_message(base)) if _is_path(base) else UnknownName(_unknown_message(base))


def _unknown_message(base: str) -> str:
    """What may have been meant by a name that is not known."""
    name, _, tag = base.partition(".")
    if zoo.is_network(name) and tag in {each.tag for each in weight_sets(name)}:
        return f"{base} is the network {name} with the weights {tag}: give --base {name} --weights {tag}."
    near = _find_exact(base)
    if not near and (kind := _find_elsewhere(base)):
        what, instead = kind
        return (
            f"{quote(base)} is not among the networks here: it is {what}. Near in purpose are {', '.join(instead)}; "
            "`transferkit models` lists all, and the file of your own Keras model can be given too."
        )
    runs = [*path_kinds.find_runs("runs", 100), *path_kinds.find_runs(".", 100)]
    by_name = {Path(run).name: run for run in runs}
    last = Path(base).name
    similar = [last] if last in by_name else difflib.get_close_matches(last, by_name, MOST_NEAREST, 0.75)
    near = near or [by_name[name] for name in similar]
    near = near or find_nearest_bases(base)
    nearest = f" Did you mean {join_or(map(repr, near))}?" if near else _newest(runs)
    listed = "`transferkit models` lists the networks."
    return f"No network, run folder or Keras file is called {quote(base)}.{nearest} {listed}"


def _is_path(base: str) -> bool:
    """Whether a base that does not exist was meant as a path: it has a folder that exists, or a file's suffix."""
    path = Path(base)
    kind = next((kind for kind, known in path_kinds.SUFFIXES.items() if path.suffix.lower() in known), "")
    inside = path.name != base and (path.is_absolute() or base.startswith((".", "runs")) or path.parent.is_dir())
    return inside or (bool(kind) and not _find_elsewhere(base))


def missing_path_message(base: str) -> str:
    """The sentences for a run or a file that does not exist: the nearest one, and the newest runs."""
    folder = Path(base).parent
    runs = [*path_kinds.find_runs(folder, 100), *path_kinds.find_runs("runs", 100)]
    runs = list(dict.fromkeys(runs))
    try:
        beside = [os.path.join(folder, name) if folder.name else name for name in os.listdir(folder)]
    except OSError:
        beside = []
    close = difflib.get_close_matches(base, [*runs, *beside], 1, 0.75)
    nearest = f" Did you mean {close[0]!r}?" if close else ""
    others = [run for run in runs if run not in close]
    none = "" if runs or close else " No runs are here: `transferkit finetune` makes one in runs/."
    return f"There is no run or file {quote(base)}.{nearest}{_newest(others)}{none}"


def _newest(runs: list[str]) -> str:
    if not runs:
        return ""
    *others, last = runs[:MOST_NEAREST]
    return f" The newest runs are {', '.join(others)} and {last}." if others else f" The newest run is {last}."


def find_nearest_bases(base: str) -> list[str]:
    """The networks that a name of another library, or a misspelling, may mean: the most likely first, three at most."""
    if exact := _find_exact(base):
        return exact
    key, table = _key(base), _names_by_key()
    longer = [name for known, name in table.items() if len(key) > 2 and known.startswith(key)]
    shorter = [known for known in table if len(known) > 4 and key.startswith(known)]
    if longer or shorter:
        return longer[:MOST_NEAREST] or [table[max(shorter, key=len)]]
    likely = difflib.get_close_matches(key, table, MOST_NEAREST, 0.8)
    return [table[known] for known in likely or difflib.get_close_matches(key, table, MOST_NEAREST)]


def _find_exact(base: str) -> list[str]:
    """The networks that are called so in another spelling: `resnet-34`, `mobilenet_v2`, `tf_efficientnet_b0.ns_jft`."""
    for key in (_key(base), _key(base.partition(".")[0])):
        if key in ALIASES or key in _names_by_key():
            return list(ALIASES.get(key) or [_names_by_key()[key]])
    return []


def _find_elsewhere(base: str) -> tuple[str, tuple[str, ...]] | None:
    """What a network is that nobody here has, and what is near in purpose."""
    bare, key = base.lower().rpartition("/")[2], _key(base)
    for beginnings, what, instead in ELSEWHERE:
        for name in beginnings.split():
            # a short one is a word: `eva02`, `vit_base`, not `evaluation`
            if key.startswith(name) if len(name) > 4 else re.match(rf"{name}(v?\d|[^a-z]|$)", bare):
                return what, instead
    return None


def _names_by_key() -> dict[str, str]:
    ours = {_key(name): name for name in zoo.variants()}
    return ours | {key: f"{PREFIX}{name}" for name in APPLICATIONS if (key := _key(name)) not in ours}


def _key(base: str) -> str:
    """A name in lower case without publisher, knobs and separators: `resnet50` for `microsoft/ResNet-50`."""
    bare = base.partition("(")[0].lower().rpartition("/")[2].rpartition(":")[2].removeprefix("tf_")
    return re.sub(r"[^a-z0-9]", "", bare)
