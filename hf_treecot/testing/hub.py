"""A Hub on this machine's loopback, for tests: it speaks the Hub's protocol to the real clients over real sockets.

It serves models, datasets and Spaces: creation, commits, LFS, revisions, trees, downloads with ranges, tokens with
rights, private repositories. Faults are injected on request. What it cannot do: Xet, pull requests, running a Space.

    with LoopbackHub() as hub:
        hub.add("datasets", "user/name", Path("a_folder"))
        hub.faults.append(Fault("die", "POST .*/commit/"))

`python -m hf_treecot.testing.hub [DIRECTORY]` serves until it is interrupted, and says how to use it.
"""

import base64
import hashlib
import json
import re
import socket
import struct
import sys
import tempfile
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, quote, unquote, urlsplit

import yaml

from .repositories import (
    Blobs,
    Commit,
    File,
    Refusal,
    Repository,
    check_yaml,
    is_lfs,
)


@dataclass
class Fault:
    """
    Something that goes wrong.

    Args:
        kind (`str`): `"refuse"` (the connection is reset before anything is done), `"status"` (nothing is done, and
            `status` is the reply), `"stall"` (nothing is done, until the client gives up), `"drop"` (everything is
            done, and the connection ends in the middle of the reply's body), or `"die"` (everything is done, and the
            connection is reset before the reply).
        request (`str`): Pattern of the requests that it befalls, as `METHOD /path`.
        times (`int`): How often it happens.
        status (`int`): Of a `"status"`.
        retry_after (`int`, *optional*): Seconds, for the header of that name.
        skip (`int`): Spare so many requests first.
    """

    kind: str
    request: str = ""
    times: int = 1
    status: int = 503
    retry_after: int | None = None
    skip: int = 0


@dataclass(frozen=True)
class User:
    """Who a token stands for."""

    name: str
    role: str = "write"
    orgs: tuple[str, ...] = ()


@dataclass
class Reply:
    """A reply; its body is JSON, bytes, or a part of a file."""

    body: object = None
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)


class LoopbackHub:
    """
    The server.

    Args:
        listener (`socket.socket`, *optional*): A bound socket to serve on. Default: a free port.
        directory (`Path`, *optional*): Repositories to serve: `{models,datasets,spaces}/USER/NAME/`.
    """

    def __init__(self, listener: socket.socket | None = None, directory: Path | None = None):
        self._folder = tempfile.TemporaryDirectory(prefix="loopback_hub_")
        self.blobs = Blobs(Path(self._folder.name))
        self.server = _Server(("127.0.0.1", 0), _Handler, bind_and_activate=False)
        self.server.hub = self
        if listener is not None:
            self.server.socket.close()
            self.server.socket = listener
        else:
            self.server.server_bind()
        self.server.server_address = self.server.socket.getsockname()
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        self.reset()
        for path in sorted(directory.glob("*/*/*")) if directory else ():
            self.add(path.parts[-3], "/".join(path.parts[-2:]), path)

    def __enter__(self) -> "LoopbackHub":
        self.server.server_activate()
        self._thread = threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_) -> None:
        self.server.shutdown()
        self.server.server_close()
        self._thread.join()
        self._folder.cleanup()

    def reset(self) -> None:
        """Forget all repositories, faults, requests and uploads, and all users but `user`."""
        self.users = {"hf_loopback_write": User("user"), "hf_loopback_read": User("user", role="read")}
        self.blobs.clear()
        self.repositories: dict[tuple[str, str], Repository] = {}
        self.faults: list[Fault] = []
        self.requests: list[str] = []
        self._lock = threading.Lock()

    def add(self, kind: str, repo_id: str, folder: Path | None = None, private: bool = False) -> Repository:
        """Add a repository, with the files of a folder."""
        repository = self.repositories[kind, repo_id] = Repository(kind, repo_id, self.blobs, private)
        if folder is not None:
            files = {
                path.relative_to(folder).as_posix(): self.blobs.file(path.name, path.read_bytes())
                for path in sorted(folder.rglob("*"))
                if path.is_file()
            }
            repository.append("main", "files", {**repository.find("main").files, **files}, "hub")
        return repository

    def files(self, kind: str, repo_id: str, revision: str = "main") -> dict[str, bytes]:
        """The contents of a repository's files, `.gitattributes` left out."""
        commit = self.repositories[kind, repo_id].find(revision)
        return {
            path: self.blobs.path(file.sha256).read_bytes()
            for path, file in commit.files.items()
            if path != ".gitattributes"
        }

    def commits(self, kind: str, repo_id: str) -> list[Commit]:
        """Commits to the main branch, the newest first, that which made the repository left out."""
        return self.repositories[kind, repo_id].history()[:-1]

    def page(self, kind: str, repo_id: str) -> str:
        """The address of a repository."""
        return f"{self.url}/{repo_id}" if kind == "models" else f"{self.url}/{kind}/{repo_id}"

    def fault_of(self, request: str) -> Fault | None:
        """The fault that befalls a request; it is used up."""
        with self._lock:
            self.requests.append(request)
            for fault in self.faults:
                if fault.times and re.match(fault.request, request):
                    if fault.skip:
                        fault.skip -= 1
                        continue
                    fault.times -= 1
                    return fault
        return None


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64
    hub: LoopbackHub

    def handle_error(self, request, client_address):
        if not isinstance(sys.exception(), ConnectionError):  # clients may go away
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def log_message(self, *_):
        pass

    def do_GET(self):
        hub = self.server.hub
        body = self._read_body()
        fault = hub.fault_of(f"{self.command} {self.path}")
        if fault and fault.kind == "stall":
            self.connection.recv(1)  # nothing, when the client has gone
        if fault and fault.kind in ("refuse", "stall"):
            return self._reset()
        if fault and fault.kind == "status":
            headers = {} if fault.retry_after is None else {"Retry-After": str(fault.retry_after)}
            return self._send(Reply({"error": "injected"}, fault.status, headers))
        try:
            reply = _answer(hub, self.command, self.path, dict(self.headers.items()), body)
        except Refusal as refusal:
            headers = {"X-Error-Message": refusal.message, **getattr(refusal, "headers", {})}
            if refusal.code:
                headers["X-Error-Code"] = refusal.code
            reply = Reply({"error": refusal.message}, refusal.status, headers)
        if fault and fault.kind == "die":
            return self._reset()
        self._send(reply, drop=bool(fault and fault.kind == "drop"))

    do_HEAD = do_POST = do_PUT = do_DELETE = do_GET

    def _read_body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        chunks = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            chunks.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(chunks)

    def _send(self, reply: Reply, drop: bool = False) -> None:
        body = reply.body if isinstance(reply.body, bytes) else json.dumps(reply.body).encode()
        self.send_response(reply.status)
        for name, value in {"Content-Length": str(len(body)), **reply.headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body[: len(body) // 2] if drop else body)
        if drop:
            self.wfile.flush()
            self.close_connection = True

    def _reset(self) -> None:
        """Close the connection with a reset, as a machine that goes down does."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True
        self.rfile.close()  # which holds on to the socket
        self.connection.close()


_REPOSITORY = r"/(?P<kind>datasets|spaces)?/?(?P<repo_id>[^/]+/[^/]+)"
_API = r"/api/(?P<kind>models|datasets|spaces)/(?P<repo_id>[^/]+/[^/]+)"
_ROUTES = []


def _route(method: str, pattern: str):
    def register(function):
        _ROUTES.append((method, re.compile(pattern), function))
        return function

    return register


@dataclass
class _Call:
    """One request, as the routes see it. `path` stays quoted: revisions may hold a quoted slash."""

    hub: LoopbackHub
    method: str
    query: dict[str, list[str]]
    headers: dict[str, str]
    body: bytes
    user: User | None
    parts: dict[str, str | None]

    @property
    def json(self) -> dict:
        return json.loads(self.body or b"{}")

    def repository(self, write: bool = False) -> Repository:
        """The repository of the path, if the user may see it, and write to it."""
        kind, repo_id = self.parts["kind"] or "models", self.parts["repo_id"]
        repository = self.hub.repositories.get((kind, repo_id))
        owner = repo_id.split("/")[0]
        member = self.user is not None and owner in (self.user.name, *self.user.orgs)
        if repository is None or (repository.private and not member):
            if self.user is None:
                raise Refusal(401, "Invalid username or password.", "RepoNotFound")
            raise Refusal(404, "Repository not found", "RepoNotFound")
        if write:
            self.check_right(owner)
        return repository

    def check_right(self, owner: str) -> None:
        if self.user is None:
            raise Refusal(401, "Invalid username or password.")
        if owner not in (self.user.name, *self.user.orgs) or self.user.role != "write":
            raise Refusal(403, f"You don't have the rights to write to the namespace {owner}")


def _answer(hub: LoopbackHub, method: str, raw_path: str, headers: dict[str, str], body: bytes) -> Reply:
    url = urlsplit(raw_path)
    headers = {name.lower(): value for name, value in headers.items()}
    token = headers.get("authorization", "").removeprefix("Bearer ")
    user = hub.users.get(token)
    if token and user is None:
        raise Refusal(401, "Invalid credentials in Authorization header")
    for verb, pattern, function in _ROUTES:
        match = pattern.fullmatch(url.path)
        if match and (verb == method or (verb == "GET" and method == "HEAD")):
            return function(_Call(hub, method, parse_qs(url.query), headers, body, user, match.groupdict()))
    raise Refusal(404, f"The loopback Hub has no {method} {url.path}")


@_route("GET", "/api/whoami-v2")
def _whoami(call: _Call) -> Reply:
    if call.user is None:
        raise Refusal(401, "Invalid username or password.")
    orgs = [{"name": name} for name in call.user.orgs]
    token = {"accessToken": {"displayName": "test", "role": call.user.role}}
    return Reply({"name": call.user.name, "type": "user", "orgs": orgs, "auth": token})


@_route("POST", "/api/repos/create")
def _create(call: _Call) -> Reply:
    wanted = call.json
    kind = f"{wanted.get('type') or 'model'}s"
    owner = wanted.get("organization") or (call.user.name if call.user else "")
    call.check_right(owner)
    repo_id = f"{owner}/{wanted['name']}"
    url = call.hub.page(kind, repo_id)
    with call.hub._lock:
        if (kind, repo_id) in call.hub.repositories:
            return Reply({"error": "You already created this repo", "url": url}, 409)
        private = wanted.get("visibility") == "private" or wanted.get("private") is True
        call.hub.add(kind, repo_id, private=private)
    return Reply({"url": url, "name": repo_id})


@_route("POST", "/api/validate-yaml")
def _validate_yaml(call: _Call) -> Reply:
    errors = check_yaml(call.json["content"])
    return Reply({"errors": [{"message": e} for e in errors], "warnings": []}, 400 if errors else 200)


@_route("GET", _API + "(/revision/(?P<revision>[^/]+))?")
def _info(call: _Call) -> Reply:
    repository = call.repository()
    commit = repository.find(call.parts["revision"] or "main")
    siblings = [{"rfilename": path, "size": file.size, "blobId": file.oid} for path, file in commit.files.items()]
    date = "2026-01-01T00:00:00.000Z"
    info = {
        "_id": "0", "id": repository.repo_id, "sha": commit.oid, "private": repository.private, "siblings": siblings,
        "author": repository.repo_id.split("/")[0], "tags": [], "downloads": 0, "likes": 0, "gated": False,
        "disabled": False, "lastModified": date, "createdAt": date,
        "evalResults": _eval_results(call.hub.blobs, commit),
    }  # fmt: skip
    return Reply(info)


def _eval_results(blobs: Blobs, commit: Commit) -> list[dict]:
    """What the files of `.eval_results` say, each by itself."""
    return [
        {"filename": path, "data": entry}
        for path, file in commit.files.items()
        if path.startswith(".eval_results/")
        for entry in yaml.safe_load(blobs.path(file.sha256).read_bytes())
    ]


def _entry(path: str, file: File) -> dict:
    entry = {"type": "file", "path": path, "oid": file.oid, "size": file.size}
    return {**entry, "lfs": {"oid": file.sha256, "size": file.size, "pointerSize": 134}} if file.lfs else entry


def _folders(commit: Commit) -> set[str]:
    return {parent.as_posix() for path in commit.files for parent in list(Path(path).parents)[:-1]}


@_route("GET", _API + "/tree/(?P<revision>[^/]+)(/(?P<path>.*))?")
def _tree(call: _Call) -> Reply:
    commit = call.repository().find(call.parts["revision"])
    root, folders = unquote(call.parts["path"] or ""), _folders(commit)
    if root and root not in folders:
        raise Refusal(404, f"{root} does not exist on {commit.oid}", "EntryNotFound")
    entries = [_entry(path, file) for path, file in commit.files.items()]
    entries += [{"type": "directory", "path": path, "oid": "0" * 40, "size": 0} for path in folders]
    recursive = call.query.get("recursive", ["false"])[0].lower() == "true"
    prefix = f"{root}/" if root else ""
    inside = [e for e in entries if e["path"].startswith(prefix)]
    return Reply(
        sorted((e for e in inside if recursive or "/" not in e["path"][len(prefix) :]), key=lambda e: e["path"])
    )


@_route("POST", _API + "/paths-info/(?P<revision>[^/]+)")
def _paths_info(call: _Call) -> Reply:
    commit = call.repository().find(call.parts["revision"])
    form = call.headers.get("content-type", "").startswith("application/x-www-form-urlencoded")
    paths = parse_qs(call.body.decode()).get("paths", []) if form else call.json["paths"]
    folders = _folders(commit)
    found = [_entry(path, commit.files[path]) for path in paths if path in commit.files]
    return Reply(found + [{"type": "directory", "path": p, "oid": "0" * 40, "size": 0} for p in paths if p in folders])


@_route("GET", _API + "/refs")
def _refs(call: _Call) -> Reply:
    branches = [
        {"name": name, "ref": f"refs/heads/{name}", "targetCommit": oid}
        for name, oid in call.repository().branches.items()
    ]
    return Reply({"branches": branches, "tags": [], "converts": [], "pullRequests": []})


@_route("GET", _API + "/commits/(?P<revision>[^/]+)")
def _commits(call: _Call) -> Reply:
    date = "2026-01-01T00:00:00.000Z"
    return Reply([
        {"id": c.oid, "title": c.title, "message": "", "date": date, "authors": [{"user": c.author}]}
        for c in call.repository().history(call.parts["revision"])
    ])  # fmt: skip


@_route("POST", _API + "/branch/(?P<revision>[^/]+)")
def _create_branch(call: _Call) -> Reply:
    repository = call.repository(write=True)
    name = unquote(call.parts["revision"])
    if name in repository.branches:
        raise Refusal(409, f"Reference {name} exists")
    repository.branches[name] = repository.find(call.json.get("startingPoint") or "main").oid
    return Reply({})


@_route("POST", _API + "/preupload/(?P<revision>[^/]+)")
def _preupload(call: _Call) -> Reply:
    commit = call.repository(write=True).find(call.parts["revision"])
    files = []
    for file in call.json["files"]:
        path, known = file["path"], commit.files.get(file["path"])
        mode = "lfs" if is_lfs(path, file["size"]) else "regular"
        reply = {"path": path, "uploadMode": mode, "shouldIgnore": False}
        files.append({**reply, "oid": known.sha256 if known.lfs else known.oid} if known else reply)
    return Reply({"files": files})


@_route("POST", _REPOSITORY + r"\.git/info/lfs/objects/batch")
def _lfs_batch(call: _Call) -> Reply:
    call.repository(write=True)
    objects = []
    for wanted in call.json["objects"]:
        oid, size = wanted["oid"], wanted["size"]
        reply = {"oid": oid, "size": size}
        if not call.hub.blobs.path(oid).is_file():
            reply["actions"] = {"upload": {"href": f"{call.hub.url}/lfs/{oid}"}}
        objects.append(reply)
    return Reply({"transfer": "basic", "objects": objects})


@_route("PUT", "/lfs/(?P<oid>[0-9a-f]{64})")
def _lfs_upload(call: _Call) -> Reply:
    if hashlib.sha256(call.body).hexdigest() != call.parts["oid"]:
        raise Refusal(400, "the content is not that of its hash")
    call.hub.blobs.add(call.body)
    return Reply({})


@_route("POST", _API + "/commit/(?P<revision>[^/]+)")
def _commit(call: _Call) -> Reply:
    repository = call.repository(write=True)
    header, operations = {}, []
    for line in call.body.splitlines():
        item = json.loads(line)
        value = item["value"]
        if item["key"] == "header":
            header = value
        else:
            operations.append((item["key"], value, base64.b64decode(value.get("content", ""))))
    commit = repository.commit(call.parts["revision"], header, operations, call.user.name)
    url = f"{call.hub.page(repository.kind, repository.repo_id)}/commit/{commit.oid}"
    return Reply({"success": True, "commitOid": commit.oid, "commitUrl": url})


@_route("GET", _REPOSITORY + "/resolve/(?P<revision>[^/]+)/(?P<path>.+)")
def _resolve(call: _Call) -> Reply:
    commit = call.repository().find(call.parts["revision"])
    path = unquote(call.parts["path"])
    headers = {"X-Repo-Commit": commit.oid, "Accept-Ranges": "bytes"}
    if path not in commit.files:
        refusal = Refusal(404, f"Entry not found: {quote(path)}", "EntryNotFound")
        refusal.headers = headers
        raise refusal
    file = commit.files[path]
    headers["ETag"] = f'"{file.sha256 if file.lfs else file.oid}"'
    if file.lfs:
        headers.update({"X-Linked-Etag": f'"{file.sha256}"', "X-Linked-Size": str(file.size)})
    wanted = re.fullmatch(r"bytes=(\d*)-(\d*)", call.headers.get("range", ""))
    with call.hub.blobs.path(file.sha256).open("rb") as content:
        if call.method == "HEAD":
            return Reply(b"", 200, {**headers, "Content-Length": str(file.size)})
        if not wanted:
            return Reply(content.read(), 200, headers)
        start, end = wanted.groups()
        first = int(start) if start else max(0, file.size - int(end))
        last = min(int(end), file.size - 1) if start and end else file.size - 1
        if first >= file.size:
            return Reply(b"", 416, {**headers, "Content-Range": f"bytes */{file.size}"})
        content.seek(first)
        headers["Content-Range"] = f"bytes {first}-{last}/{file.size}"
        return Reply(content.read(last - first + 1), 206, headers)


def main() -> None:
    """Serve, perhaps a directory of repositories, until interrupted."""
    directory = Path(sys.argv[1]) if len(sys.argv) > 1 else None
    with LoopbackHub(directory=directory) as hub:
        print(f"export HF_ENDPOINT={hub.url} HF_TOKEN={next(iter(hub.users))} HF_HUB_DISABLE_XET=1", flush=True)
        threading.Event().wait()


if __name__ == "__main__":
    main()
