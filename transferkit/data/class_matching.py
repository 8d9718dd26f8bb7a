"""Match class names that are spelled differently, look the same, or are ImageNet's ids."""

import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Sequence

from transferkit.console import say, warn
from transferkit.weights.imagenet import class_names, synsets

MAX_SHOWN = 3  # pairs of names in a message


def normalize_unicode(name: str) -> str:
    """Normalize to Unicode's composed form (NFC): macOS stores file names in another one."""
    return unicodedata.normalize("NFC", name)


def resolve_wordnet_id(name: str) -> str:
    """The name of a class for its WordNet id, `n01440764` or `n01440764_tench`; other names in NFC."""
    name = normalize_unicode(name)
    return synsets().get(name[:9], name) if len(name) == 9 or name[9:10] in ("_", "-", " ") else name


def fold_spelling(name: str) -> str:
    """The name in lower case, with spaces for underscores and dashes."""
    return " ".join(normalize_unicode(name).casefold().replace("_", " ").replace("-", " ").split())


def match_key(name: str) -> str:
    """The key by which names are compared: WordNet ids resolved, case and separators ignored."""
    return fold_spelling(resolve_wordnet_id(name))


KEYS = (resolve_wordnet_id, match_key)  # the most reliable first


def match_classes(names: Iterable[str], classes: Sequence[str]) -> dict[str, str]:
    """Match names to classes: {name: class} of the names that match one class, which no other name matches."""
    names, classes = tuple(names), tuple(classes)
    if len(classes) == 1000 and set(names) == set(map(str, range(1000))) and set(classes) == set(class_names(1000)):
        return {name: class_names(1000)[int(name)] for name in names}  # ImageNetV2's folders
    known = set(classes)
    matches = {name: name for name in names if name in known}
    for key in KEYS:
        rest, free = [name for name in names if name not in matches], known - set(matches.values())
        classes_by_key, names_by_key = _names_by_unique_key(free, key), _names_by_unique_key(rest, key)
        matches |= {name: classes_by_key[k] for k, name in names_by_key.items() if k in classes_by_key}
    return matches


def report_matches(matches: dict[str, str], where: str):
    """Print one line on the names that are spelled differently from their class, if there are any."""
    pairs = [(name, label) for name, label in matches.items() if name != label]
    if pairs:
        shown = ", ".join(
            f"{name!r} is {label!r}"
            + " in another Unicode form" * (normalize_unicode(name) == normalize_unicode(label))
            for name, label in pairs[:MAX_SHOWN]
        )
        more = f" and {len(pairs) - MAX_SHOWN:,} more" if len(pairs) > MAX_SHOWN else ""
        say(f"{where}, classes matched by name: {shown}{more}.")


def warn_similar_classes(classes: Iterable[str], where: str):
    """Warn of classes of one source whose names look the same."""
    by_spelling: dict[str, list[str]] = {}
    for name in classes:
        by_spelling.setdefault(fold_spelling(name), []).append(name)
    alike = [names for names in by_spelling.values() if len(names) > 1]
    if alike:
        shown = "; ".join(" and ".join(map(quote_name, names)) for names in alike[:MAX_SHOWN])
        more = f"; and {len(alike) - MAX_SHOWN:,} more" if len(alike) > MAX_SHOWN else ""
        warn(
            f"{where} has classes whose names differ in case, separators or Unicode form alone, and keeps them apart: "
            f"{shown}{more}; rename them if they are one class."
        )


def quote_name(name: str) -> str:
    """Quote a name; one that is not in NFC with its code points, as it would look the same as its NFC form."""
    return repr(name) if normalize_unicode(name) == name else ascii(name)


def _names_by_unique_key(names: Iterable[str], key: Callable[[str], str]) -> dict[str, str]:
    """{key: name}, for the keys that exactly one name has."""
    names = tuple(names)
    counts = Counter(map(key, names))
    return {key(name): name for name in names if counts[key(name)] == 1}
