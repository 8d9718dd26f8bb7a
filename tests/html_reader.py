"""Read an HTML page in a test."""

from html.parser import HTMLParser

VOID = {"meta", "img", "br"}


class Page(HTMLParser):
    """The elements of a page, in order; it fails if a tag is not closed."""

    def __init__(self, text: str):
        super().__init__()
        self.tags, self.open, self.texts = [], [], []
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self.texts.append("")
        if tag not in VOID:
            self.open.append((tag, len(self.tags) - 1))

    def handle_endtag(self, tag):
        assert self.open.pop()[0] == tag

    def handle_data(self, data):
        for _, place in self.open:
            self.texts[place] += data

    def all(self, tag: str) -> list[tuple[dict, str]]:
        """(attributes, text) of each element with this tag."""
        return [(attrs, text) for (name, attrs), text in zip(self.tags, self.texts, strict=True) if name == tag]

    def figures(self) -> list[float]:
        """The exact figures, which `data` elements hold."""
        return [float(attrs["value"]) for attrs, _ in self.all("data")]
