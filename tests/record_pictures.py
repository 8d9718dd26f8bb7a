"""Records README's pictures from one run of `transferkit demo`: the terminal as SVG, and the page of the run.

    .venv/bin/python tests/record_pictures.py

The page needs a browser: TRANSFERKIT_NODE, see CONTRIBUTING.md.
"""

import io
import os
import pty
import re
import select
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image
from rich.console import Console
from rich.text import Text

IMAGES = Path(__file__).parent.parent / "docs" / "images"
WIDTH = 92  # columns of the terminal
COMMAND = "transferkit demo"
LEFT_OUT = (  # lines of which "..." is shown: classes, choices of rules, files of the run
    r"^[1-8] +\d.*\n([1-8] +\d.*\n)+",
    r"^--start .*\n(.+\n)+",
    r"^  demo/run-1/.*\n(  demo/.*\n)+",
)


def record(folder: Path) -> str:
    """What a terminal has received when the command has ended."""
    import fcntl
    import termios

    primary, secondary = pty.openpty()
    fcntl.ioctl(secondary, termios.TIOCSWINSZ, struct.pack("HHHH", 50, WIDTH, 0, 0))
    words = [sys.executable, "-m", *COMMAND.split()]
    environment = os.environ | {"TERM": "xterm-256color", "COLORTERM": "truecolor"}
    with subprocess.Popen(
        words, cwd=folder, env=environment, stdin=secondary, stdout=secondary, stderr=secondary
    ) as job:
        received = b""
        while select.select([primary], [], [], 1)[0] or job.poll() is None:
            if select.select([primary], [], [], 0)[0]:
                received += os.read(primary, 65536)
        os.close(secondary)  # not before, as reading from a closed terminal is an error
    assert job.returncode == 0, received.decode()
    return received.decode()


def screen(received: str) -> str:
    """What is left on the screen, with its colours: bars are drawn over until they are gone."""
    lines, row = [""], 0
    for part in re.findall(r"\x1b\[\??[\d;]*[A-Za-z]|\r|\n|[^\x1b\r\n]+", received):
        if part == "\n":
            row += 1
            lines += [""] * (row == len(lines))
        elif part == "\x1b[2K":
            lines[row] = ""
        elif part.endswith("A") and part.startswith("\x1b"):
            row -= int(part[2:-1] or 1)
        elif part.endswith("m") or part[0] not in "\r\x1b":
            lines[row] += part
    text = "\n".join(line.rstrip() for line in lines).strip() + "\n"
    for pattern in LEFT_OUT:
        text = re.sub(pattern, "...\n", text, flags=re.M)
    return text


def draw_terminal(text: str) -> str:
    """Text with colours as SVG, in fonts of the reader's own."""
    console = Console(record=True, width=WIDTH, file=io.StringIO())
    console.print(Text.from_ansi(f"$ {COMMAND}\n{text}"))
    text = console.export_svg(title=COMMAND, font_aspect_ratio=0.6)
    return re.sub(r"@font-face \{.*?\}\s*", "", text, flags=re.S).replace("Fira Code, ", "ui-monospace, ")


def photograph(page: Path, out: Path):
    """Draw the top of a page as the browser shows it, 1,000 pixels wide."""
    script = Path(__file__).with_name("photograph_page.mjs")
    with tempfile.NamedTemporaryFile(suffix=".png") as file:
        subprocess.run(["node", script, page, file.name], cwd=os.environ["TRANSFERKIT_NODE"], check=True)
        picture = Image.open(file.name).convert("RGB")
    picture.save(out, quality=45, method=6)


def main():
    IMAGES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as place:
        (IMAGES / "terminal.svg").write_text(draw_terminal(screen(record(Path(place)))), "utf-8")
        photograph(Path(place) / "demo" / "run-1" / "report.html", IMAGES / "report.webp")


if __name__ == "__main__":
    main()
