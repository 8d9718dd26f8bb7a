"""Which class a name means: names that look the same, spelled otherwise, and ImageNet's ids of its classes."""

import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Sequence

from transferkit.console import say, warn
from transferkit.weights.imagenet import class_names, synsets

SHOWN = 3  # pairs of names in a line


def normalize_unicode(name: str) -> str:
    """One of the ways in which Unicode writes the same letters: macOS stores another one than is typed."""
    return unicodedata.normalize("NFC", name)


def resolve_wordnet_id(name: str) -> str:
    """The same, and the name of a class for its WordNet id: `n01440764`, or `n01440764_tench`."""
    name = normalize_unicode(name)
    return synsets().get(name[:9], name) if len(name) == 9 or name[9:10] in ("_", "-", " ") else name


def fold_spelling(name: str) -> str:
    """The name in any case, with spaces for underscores and dashes."""
    return " ".join(normalize_unicode(name).casefold().replace("_", " ").replace("-", " ").split())


def match_key(name: str) -> str:
    """What the name means, in any case and so on."""
    return fold_spelling(resolve_wordnet_id(name))


FORMS = (resolve_wordnet_id, match_key)  # the surest first


def match_classes(names: Iterable[str], classes: Sequence[str]) -> dict[str, str]:
    """{name: the class it means}, for the names that mean one class and no other name means it."""
    names, classes = tuple(names), tuple(classes)
    if len(classes) == 1000 and set(names) == set(map(str, range(1000))) and set(classes) == set(class_names(1000)):
        return {name: class_names(1000)[int(name)] for name in names}  # ImageNetV2's folders
    known = set(classes)
    found = {name: name for name in names if name in known}
    for form in FORMS:
        rest, free = [name for name in names if name not in found], known - set(found.values())
        by_form = _names_by_unique_key(free, form)
        found |= {name: by_form[word] for word, name in _names_by_unique_key(rest, form).items() if word in by_form}
    return found


def report_matches(found: dict[str, str], where: str):
    """One line of the names that are spelled otherwise than their class, if there are any."""
    pairs = [(name, one) for name, one in found.items() if name != one]
    if pairs:
        shown = ", ".join(
            f"{name!r} is {one!r}" + " in another Unicode form" * (normalize_unicode(name) == normalize_unicode(one))
            for name, one in pairs[:SHOWN]
        )
        more = f" and {len(pairs) - SHOWN:,} more" if len(pairs) > SHOWN else ""
        say(f"{where}, classes matched by name: {shown}{more}.")


def warn_similar_classes(classes: Iterable[str], where: str):
    """Warn of classes of one source whose names look the same."""
    by_form = {}
    for name in classes:
        by_form.setdefault(fold_spelling(name), []).append(name)
    alike = [names for names in by_form.values() if len(names) > 1]
    if alike:
        shown = "; ".join(" and ".join(map(quote_name, names)) for names in alike[:SHOWN])
        more = f"; and {len(alike) - SHOWN:,} more" if len(alike) > SHOWN else ""
        warn(
            f"{where} has classes whose names differ in case, separators or Unicode form alone, and keeps them apart: "
            f"{shown}{more}; rename them if they are one class."
        )


def quote_name(name: str) -> str:
    """The name in quotes, with its code points where it is not in the usual form: else both would look the same."""
    return repr(name) if normalize_unicode(name) == name else ascii(name)


def _names_by_unique_key(names: Iterable[str], form: Callable[[str], str]) -> dict[str, str]:
    """{form: name}, of the forms that one name alone has."""
    names = tuple(names)
    counts = Counter(map(form, names))
    return {form(name): name for name in names if counts[form(name)] == 1}
