"""The page of a server: one HTML document with its own style and script, and the headers that allow nothing else."""

import base64
import hashlib
import re

from transferkit import pages
from transferkit.serving.classifier import Classifier
from transferkit.serving.requests import Limits

NAMED = 12  # classes that the page lists at once
HEADERS = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}


def render_page(classifier: Classifier, name: str, limits: Limits) -> str:
    """The page, as HTML."""
    return pages.render(
        "serving.html",
        name=name,
        classes=classifier.network.classes,
        named=NAMED,
        megabytes=limits.megabytes,
        has_gradcam=classifier.maps is not None,
    )


def make_headers(page: str) -> list[tuple[bytes, bytes]]:
    """The headers of every answer; the content security policy allows the scripts and styles of this page alone."""
    hashes = {tag: _hash_all(tag, page) for tag in ("script", "style")}
    policy = (
        f"default-src 'none'; script-src {hashes['script']}; style-src {hashes['style']}; img-src 'self' blob: data:; "
        "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    )
    return [(name.encode(), value.encode()) for name, value in (HEADERS | {"content-security-policy": policy}).items()]


def _hash_all(tag: str, page: str) -> str:
    found = re.findall(rf"<{tag}>(.*?)</{tag}>", page, flags=re.S)
    digests = (base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in found)
    return " ".join(f"'sha256-{digest}'" for digest in digests)
