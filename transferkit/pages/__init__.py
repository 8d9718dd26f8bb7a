"""HTML pages and Markdown of jinja2 templates, which share one style; a page is one file without scripts."""

from functools import cache
from importlib import resources

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape


def render(template: str, **values) -> str:
    """Fill a template of this folder. In HTML every value is escaped.

    Args:
        template: name of the file.

    Raises:
        jinja2.UndefinedError: the template uses a value that is not given.

    Example:
        >>> "<title>runs/pets" in render("leaderboard.html", title="runs/pets", rows=[], knobs=[], notes=[])
        True
    """
    text = _environment().get_template(template).render(values)
    return text.encode("utf-8", "replace").decode()  # a file name may hold bytes that are not text


@cache
def style() -> str:
    """The CSS of all pages."""
    return resources.files(__package__).joinpath("page.css").read_text("utf-8")


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader(__name__, ""),
        autoescape=select_autoescape(["html"]),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"percent": lambda fraction: f"{fraction:.1%}", "number": lambda value: f"{value:,}"}
    environment.globals["style"] = style
    return environment
