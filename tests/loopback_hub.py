"""A loopback server that speaks the hub's interface to its own client: reads, refusals, uploads.

    with serve() as hub:
        commit = hub.commit("models", "them/tiny", {"config.json": b"{}"})
        subprocess.run(..., env=environment() | hub.variables(folder))

The client reads its settings when it is imported, so it has to run in a process of its own. Large
files go by LFS; Xet is off.
"""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path, PurePosixPath
from re import fullmatch
from typing import Any, NamedTuple
from urllib.parse import parse_qs, unquote, urlsplit

from loopback_server import loopback

TOKEN, STRANGER = "hf_of-the-owner", "hf_of-a-stranger"  # who may write, and who may read
OWNER = "me"
LARGE = (".safetensors", ".parquet")
Files = Mapping[str, bytes]


class Reply(NamedTuple):
    """What is sent back; a body that is no bytes goes as JSON."""

    body: Any = b""
    status: int = 200
    headers: Mapping[str, str] = {}


class Refusal(Exception):
    """A reply in place of what was asked for."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__()
        headers = {"X-Error-Code": code, "X-Error-Message": message}
        named = {name: text for name, text in headers.items() if text}
        self.reply = Reply({"error": message}, status, named)


@dataclass
class Repository:
    """All commits of a repository, the last one at the end: name -> files."""

    gated: bool = False
    private: bool = False
    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    messages: list[str] = field(default_factory=list)

    @property
    def head(self) -> str:
        """The name of the last commit."""
        return list(self.commits)[-1]

    def add(self, files: Files, message: str) -> str:
        """A commit that has these files too."""
        whole = {**(self.commits[self.head] if self.commits else {}), **files}
        return self.replace(whole, message)

    def replace(self, files: Files, message: str) -> str:
        """A commit that has these files alone."""
        parts = [len(self.commits), message, *sorted((n, _blob(c)) for n, c in files.items())]
        name = hashlib.sha1(json.dumps(parts).encode()).hexdigest()
        self.commits[name] = dict(files)
        self.messages.append(message)
        return name


@dataclass
class Hub:
    """What the server holds, and what it was asked.

    Attributes:
        repositories: by kind, models or datasets, and id.
        asked: method and path of each request, in their order.
    """

    url: str
    repositories: dict[tuple[str, str], Repository] = field(default_factory=dict)
    objects: dict[str, bytes] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    def commit(self, kind: str, name: str, files: Files, gated: bool = False) -> str:
        """Add files to a repository, which may be new, and give the commit."""
        repository = self.repositories.setdefault((kind, name), Repository(gated))
        return repository.add(files, "Change")

    def variables(self, caches: Path, token: str = "") -> dict[str, str]:
        """What to add to the environment of a process whose hub this is."""
        return {
            "HF_ENDPOINT": self.url, "HF_HOME": str(caches), "HF_TOKEN": token,
            "HF_HUB_OFFLINE": "0", "HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_TELEMETRY": "1",
            "HF_HUB_DISABLE_PROGRESS_BARS": "1", "NO_PROXY": "127.0.0.1",
        }  # fmt: skip


@contextmanager
def serve() -> Iterator[Hub]:
    """A hub on a free port of 127.0.0.1; it stops with the block."""
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _answer(self) -> None:
            sent = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            path = unquote(urlsplit(self.path).path)
            token = self.headers.get("Authorization", "").removeprefix("Bearer ")
            with lock:
                hub.asked.append(f"{self.command} {path}")
                try:
                    reply = _reply(hub, self.command, path, token, sent)
                except Refusal as refusal:
                    reply = refusal.reply
            data = reply.body if isinstance(reply.body, bytes) else json.dumps(reply.body).encode()
            self.send_response(reply.status)
            for name, value in ({"Content-Length": str(len(data))} | dict(reply.headers)).items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(b"" if self.command == "HEAD" else data)

        do_GET = do_HEAD = do_POST = do_PUT = _answer

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with loopback(Handler) as url:
        hub = Hub(url)
        yield hub


_ID = r"(?P<name>[^/]+/[^/]+?)"
_KIND = r"(?P<kind>models|datasets)"
_PREFIX = r"/(?P<prefix>datasets/)?"
_REVISION = r"(?P<revision>[^/]+)"


def _reply(hub: Hub, method: str, path: str, token: str, sent: bytes) -> Reply:
    if token not in ("", TOKEN, STRANGER):
        raise Refusal(401, "", "Invalid credentials in Authorization header")
    routes: dict[str, Callable[..., Reply]] = {
        rf"GET /api/{_KIND}/{_ID}(/revision/{_REVISION})?": _info,
        rf"GET /api/{_KIND}/{_ID}/auth-check": _auth_check,
        rf"GET /api/{_KIND}/{_ID}/tree/{_REVISION}(/(?P<path>.*))?": _tree,
        rf"POST /api/{_KIND}/{_ID}/paths-info/{_REVISION}": _paths_info,
        rf"(GET|HEAD) {_PREFIX}{_ID}/resolve/{_REVISION}/(?P<path>.+)": _resolve,
        "POST /api/repos/create": _create,
        "POST /api/validate-yaml": lambda *_: Reply({}),
        rf"POST /api/{_KIND}/{_ID}/preupload/{_REVISION}": _preupload,
        rf"POST {_PREFIX}{_ID}\.git/info/lfs/objects/batch": _batch,
        r"PUT /objects/(?P<path>\w+)": _put,
        rf"POST /api/{_KIND}/{_ID}/commit/{_REVISION}": _commit,
    }
    for pattern, answer in routes.items():
        if matched := fullmatch(pattern, f"{method} {path}"):
            return answer(hub, matched.groupdict(), token, sent)
    raise Refusal(404, "", f"no such page: {path}")


# Reads -----------------------------------------------------------------------------------------


def _repository(hub: Hub, asked: Mapping[str, str], token: str) -> Repository:
    kind = asked.get("kind") or ("datasets" if asked["prefix"] else "models")
    repository = hub.repositories.get((kind, asked["name"]))
    if repository is None or (repository.private and token != TOKEN):
        if token:
            raise Refusal(404, "RepoNotFound", "Repository not found")
        raise Refusal(401, "", "Invalid username or password.")
    return repository


def _opened(hub: Hub, asked: Mapping[str, str], token: str) -> Repository:
    repository = _repository(hub, asked, token)
    if repository.gated and token != TOKEN:
        raise Refusal(403 if token else 401, "GatedRepo", "Access to this repository is restricted")
    return repository


def _at(repository: Repository, revision: str | None) -> tuple[str, dict[str, bytes]]:
    last = next(reversed(repository.commits), "main")
    name = last if revision in (None, "main") else str(revision)
    if name not in repository.commits:
        raise Refusal(404, "RevisionNotFound", f"Invalid rev id: {name}")
    return name, repository.commits[name]


def _info(hub: Hub, asked: Mapping[str, str], token: str, _: bytes) -> Reply:
    repository = _repository(hub, asked, token)
    name, files = _at(repository, asked["revision"])
    return Reply({
        "id": asked["name"], "sha": name, "private": repository.private, "tags": [],
        "gated": "manual" if repository.gated else False, "downloads": 0, "likes": 0,
        "siblings": [{"rfilename": path} for path in files],
    })  # fmt: skip


def _auth_check(hub: Hub, asked: Mapping[str, str], token: str, _: bytes) -> Reply:
    _opened(hub, asked, token)
    return Reply(b"OK")


def _tree(hub: Hub, asked: Mapping[str, str], token: str, _: bytes) -> Reply:
    _, files = _at(_opened(hub, asked, token), asked["revision"])
    return Reply([entry for path in files for entry in _entries(files, path)])


def _paths_info(hub: Hub, asked: Mapping[str, str], token: str, sent: bytes) -> Reply:
    _, files = _at(_opened(hub, asked, token), asked["revision"])
    wanted = parse_qs(sent.decode()).get("paths", [])
    entries = {entry["path"]: entry for path in files for entry in _entries(files, path)}
    return Reply([entries[path] for path in wanted if path in entries])


def _entries(files: Files, path: str) -> Iterator[dict[str, Any]]:
    """A file as the hub lists it, below the folders that it is in."""
    for folder in PurePosixPath(path).parents[:-1]:
        yield {"type": "directory", "path": str(folder), "oid": "0" * 40, "size": 0}
    content = files[path]
    entry = {"type": "file", "path": path, "oid": _blob(content), "size": len(content)}
    if path.endswith(LARGE):
        entry["lfs"] = {"oid": _sha(content), "size": len(content), "pointerSize": 134}
    yield entry


def _resolve(hub: Hub, asked: Mapping[str, str], token: str, _: bytes) -> Reply:
    name, files = _at(_opened(hub, asked, token), asked["revision"])
    headers = {"X-Repo-Commit": name}
    if asked["path"] not in files:
        return Reply(b"", 404, headers | {"X-Error-Code": "EntryNotFound"})
    content = files[asked["path"]]
    tag = _sha(content) if asked["path"].endswith(LARGE) else _blob(content)
    return Reply(content, headers=headers | {"ETag": f'"{tag}"'})


# Writes ----------------------------------------------------------------------------------------


def _own(name: str, token: str) -> None:
    """Refuse those who may not write, as impolitely as a server may: with their token."""
    if token != TOKEN or name.split("/", maxsplit=1)[0] != OWNER:
        raise Refusal(403 if token else 401, "", f"{token or 'nobody'} has no rights here")


def _create(hub: Hub, _: Mapping[str, str], token: str, sent: bytes) -> Reply:
    request = json.loads(sent)
    name = f"{request['organization']}/{request['name']}"
    _own(name, token)
    key = f"{request.get('type', 'model')}s", name
    url = f"{hub.url}/{name}"
    if key in hub.repositories:
        return Reply({"error": "You already created this repo", "url": url}, 409)
    hub.repositories[key] = Repository(private=request.get("visibility") == "private")
    hub.repositories[key].add({}, "initial commit")
    return Reply({"url": url})


def _preupload(hub: Hub, asked: Mapping[str, str], token: str, sent: bytes) -> Reply:
    _own(asked["name"], token)
    _, files = _at(_repository(hub, asked, token), asked["revision"])

    def oid(path: str) -> str | None:
        digest = _sha if path.endswith(LARGE) else _blob
        return digest(files[path]) if path in files else None

    paths = [file["path"] for file in json.loads(sent)["files"]]
    modes = {path: "lfs" if path.endswith(LARGE) else "regular" for path in paths}
    return Reply({"files": [
        {"path": path, "uploadMode": modes[path], "shouldIgnore": False, "oid": oid(path)}
        for path in paths
    ]})  # fmt: skip


def _batch(hub: Hub, asked: Mapping[str, str], token: str, sent: bytes) -> Reply:
    _own(asked["name"], token)
    objects = json.loads(sent)["objects"]
    for lfs_object in objects:
        if lfs_object["oid"] not in hub.objects:
            lfs_object["actions"] = {"upload": {"href": f"{hub.url}/objects/{lfs_object['oid']}"}}
    return Reply({"transfer": "basic", "objects": objects})


def _put(hub: Hub, asked: Mapping[str, str], _: str, sent: bytes) -> Reply:
    assert _sha(sent) == asked["path"]
    hub.objects[asked["path"]] = sent
    return Reply()


def _commit(hub: Hub, asked: Mapping[str, str], token: str, sent: bytes) -> Reply:
    _own(asked["name"], token)
    repository = _repository(hub, asked, token)
    files, message = dict(_at(repository, asked["revision"])[1]), ""
    for line in sent.splitlines():
        operation = json.loads(line)
        match operation["key"], operation["value"]:
            case "header", value:
                message = value["summary"]
            case "file", value:
                files[value["path"]] = base64.b64decode(value["content"])
            case "lfsFile", value:
                files[value["path"]] = hub.objects[value["oid"]]
            case "deletedFile", value:
                del files[value["path"]]
    name = repository.replace(files, message)
    return Reply({"commitOid": name, "commitUrl": f"{hub.url}/{asked['name']}/commit/{name}"})


def _sha(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _blob(content: bytes) -> str:
    """What git calls it."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
