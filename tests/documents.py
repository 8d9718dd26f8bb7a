"""README and docs/ as tests read them: their code blocks, links and anchors."""

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
NAMES = ("README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md")
PAGES = [*(ROOT / name for name in NAMES), *sorted((ROOT / "docs").rglob("*.md"))]
SHOWN = {"text", "csv", "toml", "json", "yaml"}  # languages of blocks that are read and not run
RUN = {"bash", "python"}
OPERATORS = {"|", ">", ">>", "<", "&&", "||", ";", "&"}  # of a shell
FENCE = re.compile(r"^(?P<indent> *)```(?P<language>\w*)\n(?P<code>.*?)^(?P=indent)```$", flags=re.M | re.S)
NOT_RUN = re.compile(r"<!-- not run: (?P<reason>[^>]+) -->\s*\Z")


@dataclass(frozen=True)
class Block:
    """A fenced block: where it is, its language and code, and why it is not run ("" if it is)."""

    path: Path
    line: int
    language: str
    code: str
    reason: str

    def __str__(self):
        return f"{self.path.relative_to(ROOT)}:{self.line}"


def read_blocks(path: Path) -> list[Block]:
    """All fenced blocks of a page, in order."""
    text = path.read_text("utf-8")
    blocks = []
    for match in FENCE.finditer(text):
        indent, before = match["indent"], text[: match.start()]
        lines = [line.removeprefix(indent) for line in match["code"].splitlines()]
        mark = NOT_RUN.search(before)
        reason = mark["reason"] if mark else ""
        blocks.append(Block(path, before.count("\n") + 1, match["language"], "\n".join(lines), reason))
    return blocks


def without_blocks(path: Path) -> str:
    """The prose of a page."""
    return FENCE.sub("", path.read_text("utf-8"))


def inline_commands(path: Path) -> list[str]:
    """The command lines in the prose of a page: `transferkit NAME ...`."""
    return re.findall(r"`transferkit ([a-z][^`]*)`", without_blocks(path).replace("\n", " "))


def block_commands(block: Block) -> list[str]:
    """The lines of a bash block, those that end with a backslash joined, without comments and empty lines."""
    lines = block.code.replace("\\\n", " ").splitlines()
    return [line for line in map(str.strip, lines) if line and not line.startswith("#")]


def links(path: Path) -> list[str]:
    """The targets of links and pictures, without those to other sites."""
    found = re.findall(r"\]\(([^)\s]+)\)", without_blocks(path))
    return [target for target in found if not re.match(r"https?://|mailto:", target)]


def anchors(path: Path) -> set[str]:
    """The anchors of headings, as GitHub and the site spell them."""
    headings = re.findall(r"^#+ (.+)$", without_blocks(path), flags=re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def fill_in(text: str, tables: dict[str, str], script: str) -> str:
    """A page with tables written by a script, each between two comments, as they should be."""
    for name, table in tables.items():
        begin, end = f"<!-- {name}: {script} -->\n", f"<!-- end of {name} -->"
        before, _, rest = text.partition(begin)
        _, found, after = rest.partition(end)
        assert found, f"there is no place for {name}"
        text = f"{before}{begin}\n{table}\n\n{end}{after}"
    return text
