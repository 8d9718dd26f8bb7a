"""A server on this machine that speaks the Hub's protocol, as far as huggingface_hub uses it to push and to pull."""

import base64
import hashlib
import json
import threading
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

import yaml

WRITER, READER = "hf_writer", "hf_reader"  # tokens
LARGE = (".keras", ".h5", ".npz", ".onnx")  # what is stored apart from the rest
BODY = {"Content-Type": "application/json"}


@dataclass
class Repository:
    """The files of each commit, and the commits by the names of branches and tags."""

    private: bool = False
    gated: bool = False
    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    refs: dict[str, str] = field(default_factory=dict)

    def commit(self, files: dict[str, bytes]) -> str:
        sha = hashlib.sha1(f"{len(self.commits)}{sorted(files)}".encode()).hexdigest()
        self.commits[sha] = files
        self.refs["main"] = sha
        return sha

    @property
    def files(self) -> dict[str, bytes]:
        return self.commits[self.refs["main"]]


@dataclass
class Site:
    """Repositories by name, uploaded objects by SHA-256, and the requests so far as (method, path).

    `broken` has {the beginning of a path: a status, or "cut"} of requests that go wrong.
    """

    url: str = ""
    repositories: dict[str, Repository] = field(default_factory=dict)
    objects: dict[str, bytes] = field(default_factory=dict)
    asked: list[tuple[str, str]] = field(default_factory=list)
    broken: dict[str, int | str] = field(default_factory=dict)

    def add(self, name: str, files: dict[str, bytes], **facts) -> str:
        """A repository with one commit, whose SHA-1 is returned."""
        return self.repositories.setdefault(name, Repository(**facts)).commit(files)

    def downloads(self) -> list[str]:
        """The files that were sent so far."""
        return [path.rpartition("/")[2] for method, path in self.asked if method == "GET" and "/resolve/" in path]


class Refused(Exception):
    """An answer that is an error: its status, its X-Error-Code, and perhaps more of its body."""


def _find(site: Site, headers, name: str) -> Repository:
    found = site.repositories.get(name)
    if found is None or (found.private and "hf_" not in headers.get("Authorization", "")):
        raise Refused(401, "RepoNotFound")
    return found


def _revision(found: Repository, name: str) -> str:
    sha = found.refs.get(unquote(name), name)
    if sha not in found.commits:
        raise Refused(404, "RevisionNotFound")
    return sha


def _get(site: Site, request) -> tuple[int, dict, bytes]:
    parts = urlsplit(request.path).path.strip("/").split("/")
    if parts[0] == "api":
        name, found = "/".join(parts[2:4]), _find(site, request.headers, "/".join(parts[2:4]))
        sha = _revision(found, parts[5] if len(parts) > 5 else "main") if found.commits else "0" * 40
        files = found.commits.get(sha, {})
        if parts[4:5] == ["tree"]:
            return 200, BODY, json.dumps([_describe(path, files[path]) for path in files]).encode()
        about = {"id": name, "sha": sha, "private": found.private, "tags": [], "siblings": []}
        about["siblings"] = [{"rfilename": path} for path in files]
        return 200, BODY, json.dumps(about).encode()
    name, found = "/".join(parts[:2]), _find(site, request.headers, "/".join(parts[:2]))
    if found.gated:
        raise Refused(403, "GatedRepo")
    sha, path = _revision(found, parts[3]), "/".join(parts[4:])
    if path not in found.commits[sha]:
        raise Refused(404, "EntryNotFound")
    content = found.commits[sha][path]
    headers = {"X-Repo-Commit": sha, "ETag": f'"{hashlib.sha256(content).hexdigest()}"', "Accept-Ranges": "bytes"}
    start = int(request.headers.get("Range", "bytes=0-").removeprefix("bytes=").partition("-")[0])
    if start:
        headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
    return (206 if start else 200), headers, content[start:]


def _describe(path: str, content: bytes) -> dict:
    about = {"type": "file", "path": path, "size": len(content), "oid": hashlib.sha1(content).hexdigest()}
    if path.endswith(LARGE):
        about["lfs"] = {"oid": hashlib.sha256(content).hexdigest(), "size": len(content), "pointerSize": 130}
    return about


def _post(site: Site, request, body: bytes) -> dict:
    token = request.headers.get("Authorization", "").removeprefix("Bearer ")
    parts = urlsplit(request.path).path.strip("/").split("/")
    if token not in (WRITER, READER):
        raise Refused(401, "")
    if token == READER:
        raise Refused(403, "")
    if parts == ["api", "validate-yaml"]:
        return _validate(json.loads(body)["content"])
    if parts == ["api", "repos", "create"]:
        given = json.loads(body)
        name = f"{given['organization']}/{given['name']}"
        if name in site.repositories:
            raise Refused(409, "", {"url": f"{site.url}/{name}"})
        private = given.get("visibility") == "private" or bool(given.get("private"))  # huggingface_hub 2, and 1
        site.repositories[name] = Repository(private=private)
        return {"url": f"{site.url}/{name}"}
    if parts[-1] == "batch":
        objects = json.loads(body)["objects"]
        return {"transfer": "basic", "objects": [_ask_for(site, each) for each in objects]}
    name = "/".join(parts[2:4])
    if parts[4] == "preupload":
        paths = [each["path"] for each in json.loads(body)["files"]]
        modes = {path: "lfs" if path.endswith(LARGE) else "regular" for path in paths}
        return {"files": [{"path": path, "uploadMode": modes[path], "shouldIgnore": False} for path in paths]}
    return _commit(site, name, body)


def _validate(text: str) -> dict:
    front = yaml.safe_load(text.split("---\n")[1]) if text.startswith("---\n") else {}
    if not isinstance(front.get("library_name", ""), str):
        raise Refused(400, "", {"errors": [{"message": '"library_name" must be a string'}]})
    return {"errors": [], "warnings": []}


def _ask_for(site: Site, given: dict) -> dict:
    answer = {"oid": given["oid"], "size": given["size"]}
    wanted = {"upload": {"href": f"{site.url}/objects/{given['oid']}"}}
    return answer if given["oid"] in site.objects else answer | {"actions": wanted}


def _commit(site: Site, name: str, body: bytes) -> dict:
    found = site.repositories[name]
    files = dict(found.files) if found.commits else {".gitattributes": b""}
    for line in map(json.loads, body.splitlines()):
        key, value = line["key"], line["value"]
        if key == "file":
            files[value["path"]] = base64.b64decode(value["content"])
        elif key == "lfsFile":
            files[value["path"]] = site.objects[value["oid"]]
        elif key == "deletedFile":
            del files[value["path"]]
    sha = found.commit(files)
    return {"commitOid": sha, "commitUrl": f"{site.url}/{name}/commit/{sha}", "success": True}


@contextmanager
def serve(port: int = 0):
    """A running site."""
    site = Site()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            self._answer(lambda: _get(site, self))

        do_HEAD = do_GET

        def do_POST(self):
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self._answer(lambda: (200, BODY, json.dumps(_post(site, self, body)).encode()))

        def do_PUT(self):
            site.objects[self.path.rpartition("/")[2]] = self.rfile.read(int(self.headers["Content-Length"]))
            self._answer(lambda: (200, {}, b""))

        def _answer(self, make):
            site.asked.append((self.command, urlsplit(self.path).path))
            wrong = next((how for start, how in site.broken.items() if self.path.startswith(start)), None)
            try:
                if isinstance(wrong, int):
                    raise Refused(wrong, "")
                status, headers, body = make()
            except Refused as refused:
                status, code, *more = refused.args
                about = {"error": code or "no"} | (more[0] if more else {})
                headers, body = BODY | {"X-Error-Code": code}, json.dumps(about).encode()
            with suppress(ConnectionError):  # of a client that has had enough
                self.send_response(status)
                for key, value in (headers | {"Content-Length": str(len(body))}).items():
                    self.send_header(key, value)
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(body[: len(body) // 2] if wrong == "cut" else body)
                self.close_connection = wrong == "cut"

        def log_message(self, *args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    site.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield site
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
