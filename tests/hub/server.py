"""The loopback Hub's HTTP: the requests that huggingface_hub and datasets make, and their answers.

    with Hub(folder) as hub:
        hub.url, hub.requests, hub.store.repo("dataset", "user/name")
        hub.fault("POST", "/commit/", Status(503), times=2)

Users and their tokens are given; a token may write to its user's repositories and read private ones of that user.
"""

import base64
import hashlib
import json
import re
import threading
import time
import urllib.parse
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import NamedTuple

from hub import xet
from hub.faults import Drop, Fault, Faults, Status, Wrong, before, spoiled
from hub.store import Commit, Conflict, Entry, Missing, Repo, Store, pointer

DATE = "2026-01-01T00:00:00.000Z"
LARGE = 10_000_000
LARGE_NAMES = (".parquet", ".arrow")


class Refused(Exception):
    """An answer that is no success: status, code, message."""


class Request(NamedTuple):
    """What a client did. sent: bytes of the body. answered: bytes of the answer's body."""

    method: str
    path: str
    status: int
    sent: int
    answered: int = 0


class Hub:
    """A running Hub. use_xet: files are stored by Xet where the client can, else by LFS."""

    def __init__(self, folder: Path, tokens: dict[str, str] | None = None, use_xet: bool = True, page: int = 1000):
        self.store, self.cas = Store(folder / "files"), folder / "cas"
        self.cas.mkdir(parents=True, exist_ok=True)
        self.tokens, self.use_xet, self.page = tokens or {}, use_xet, page
        self.requests: list[Request] = []
        self.faults = Faults()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (Handler,), {"hub": self}))
        self._server.daemon_threads, self._server.block_on_close = True, False
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> "Hub":
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def fault(self, method: str, path: str, fault: Fault, times: int = 1, skip: int = 0) -> None:
        """Plans a fault for the requests that match."""
        self.faults.plan(method, path, fault, times, skip)

    def stored(self) -> int:
        """Bytes of large files that clients have sent, in all."""
        lfs = sum(r.sent for r in self.requests if r.method == "PUT" and r.status == 200)
        blocks = (self.cas / "xet" / "xorbs" / "xorbs").glob("default.*")
        return lfs + sum(path.stat().st_size for path in blocks if path.suffix != ".tagset")

    def read(self, name: str, path: str, revision: str = "main", kind: str = "dataset") -> bytes:
        """A file's content."""
        return self.content(self.store.repo(kind, name).at(revision).files[path])

    def content(self, entry: Entry) -> bytes:
        """The bytes of an entry."""
        place = self.store.path(entry.sha256 or entry.oid)
        if entry.xet and not place.exists():
            xet.fetch(self.cas, entry.xet, entry.size, place)
        return place.read_bytes()


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    hub: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        """Says nothing; `hub.requests` has it all."""

    def handle_any(self) -> None:
        """Carries out a request, or what is planned to go wrong with it."""
        body, fault = self._body(), self.hub.faults.take(self.command, self.path)
        before(fault)
        if isinstance(fault, Status):
            return self._answer(fault.code, {"error": fault.message}, fault.headers, len(body))
        if fault == Drop():
            return self._drop()
        try:
            code, answer, headers = self._carry_out(body)
        except Missing as missing:
            kind, message = missing.args
            code, answer, headers = 404, {"error": message}, _said(kind, message)
        except Conflict as conflict:
            code, answer, headers = 409, {"error": str(conflict)}, _said("Conflict", str(conflict))
        except Refused as refused:
            code, kind, message = refused.args
            answer, headers = {"error": message}, _said(kind, message)
        if isinstance(fault, Drop):
            return self._drop()
        if isinstance(fault, Wrong) and isinstance(answer, bytes):
            answer = spoiled(answer)
        return self._answer(code, answer, headers, len(body))

    do_GET = do_POST = do_PUT = do_HEAD = do_DELETE = handle_any

    def _carry_out(self, body: bytes) -> tuple[int, object, dict]:
        path, _, query = self.path.partition("?")
        for method, pattern, name in ROUTES:
            match = re.fullmatch(pattern, path) if method == self.command else None
            if match:
                answer = getattr(self, name)(body, dict(urllib.parse.parse_qsl(query)), **match.groupdict())
                return answer if isinstance(answer, tuple) else (200, answer, {})
        raise Missing("NotFound", f"no route {self.command} {path}")

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        parts = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def _answer(self, code: int, answer: object, headers: dict, sent: int) -> None:
        data = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        self.hub.requests.append(Request(self.command, self.path, code, sent, len(data)))
        kind = "application/octet-stream" if isinstance(answer, bytes) else "application/json"
        self.send_response(code)
        for name, value in {"Content-Type": kind, "Content-Length": str(len(data)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def _drop(self) -> None:
        self.hub.requests.append(Request(self.command, self.path, 0, 0))
        self.close_connection = True
        self.connection.close()

    # --- who is it, and may he ---

    def _user(self) -> str | None:
        return self.hub.tokens.get(self.headers.get("Authorization", "").removeprefix("Bearer "))

    def _repo(self, kind: str, name: str, write: bool = False) -> Repo:
        """Raises Missing for a private repository of somebody else, Refused where the user may not write."""
        user = self._user()
        if write and user is None:
            raise Refused(401, "Unauthorized", "Invalid username or password.")
        repo = self.hub.store.repo(kind, name)
        if repo.private and user != name.split("/")[0]:
            raise Missing("RepoNotFound", "Repository not found")
        if write and user != name.split("/")[0]:
            raise Refused(403, "Forbidden", "You don't have the rights to write to this repository")
        return repo

    # --- accounts and repositories ---

    def whoami(self, body, query):
        user = self._user()
        if user is None:
            raise Refused(401, "Unauthorized", "Invalid username or password.")
        return {"type": "user", "name": user, "fullname": user, "orgs": [], "auth": {"accessToken": {"role": "write"}}}

    def validate_yaml(self, body, query):
        """The Hub checks the metadata's values; here it must only be there."""
        content = json.loads(body)["content"]
        good = content.startswith("---\n") and "\n---\n" in content
        return {"errors": [] if good else [{"message": "there is no metadata"}], "warnings": []}

    def create(self, body, query):
        wanted = json.loads(body)
        kind, user = wanted.get("type") or "model", self._user()
        if user is None:
            raise Refused(401, "Unauthorized", "Invalid username or password.")
        name = f"{wanted.get('organization') or user}/{wanted['name']}"
        if not name.startswith(f"{user}/"):
            raise Refused(403, "Forbidden", "You don't have the rights to create a repo under this namespace")
        url = f"{self.hub.url}/{kind}s/{name}"
        private = bool(wanted.get("private")) or wanted.get("visibility") == "private"
        try:
            self.hub.store.create(kind, name, private)
        except Conflict as conflict:
            return 409, {"error": str(conflict), "url": url}, {}
        return {"url": url, "name": name}

    def info(self, body, query, kind, name, revision="main"):
        repo = self._repo(kind, name)
        commit = repo.at(urllib.parse.unquote(revision))
        return {
            "_id": hashlib.sha1(name.encode()).hexdigest()[:24],
            "id": name,
            "author": name.split("/")[0],
            "sha": commit.sha,
            "private": repo.private,
            "gated": False,
            "disabled": False,
            "downloads": 0,
            "likes": 0,
            "tags": [],
            "lastModified": DATE,
            "createdAt": DATE,
            "siblings": [{"rfilename": path} for path in sorted(commit.files)],
        }

    # --- refs ---

    def refs(self, body, query, kind, name):
        repo = self._repo(kind, name)
        return {
            "branches": [_ref(f"refs/heads/{branch}", branch, sha) for branch, sha in repo.branches.items()],
            "tags": [_ref(f"refs/tags/{tag}", tag, sha) for tag, sha in repo.tags.items()],
            "converts": [],
        }

    def commits(self, body, query, kind, name, revision):
        history = self._repo(kind, name).history(urllib.parse.unquote(revision))
        return [{"id": c.sha, "title": c.title, "message": "", "authors": [], "date": DATE} for c in history]

    def create_branch(self, body, query, kind, name, branch):
        repo, branch = self._repo(kind, name, write=True), urllib.parse.unquote(branch)
        with self.hub.store.lock:
            if branch in repo.branches:
                raise Conflict("Reference already exists")
            repo.branches[branch] = repo.at(json.loads(body or b"{}").get("startingPoint") or "main").sha
        return {}

    def delete_branch(self, body, query, kind, name, branch):
        repo, branch = self._repo(kind, name, write=True), urllib.parse.unquote(branch)
        if branch not in repo.branches:
            raise Missing("RevisionNotFound", f"Invalid rev id: {branch}")
        del repo.branches[branch]
        return {}

    def create_tag(self, body, query, kind, name, revision):
        repo, tag = self._repo(kind, name, write=True), json.loads(body)["tag"]
        with self.hub.store.lock:
            if tag in repo.tags:
                raise Conflict("Reference already exists")
            repo.tags[tag] = repo.at(urllib.parse.unquote(revision)).sha
        return {}

    # --- uploads ---

    def preupload(self, body, query, kind, name, revision):
        commit = self._repo(kind, name, write=True).at(urllib.parse.unquote(revision))
        answer = []
        for file in json.loads(body)["files"]:
            large = file["size"] >= LARGE or file["path"].endswith(LARGE_NAMES)
            there = commit.files.get(file["path"])
            answer.append(
                {
                    "path": file["path"],
                    "uploadMode": "lfs" if large else "regular",
                    "shouldIgnore": False,
                    "oid": there and (there.sha256 or there.oid),
                }
            )
        return {"files": answer}

    def lfs_batch(self, body, query, kind, name):
        self._repo(kind, name, write=True)
        wanted = json.loads(body)
        if self.hub.use_xet and "xet" in wanted.get("transfers", []):
            return {"transfer": "xet", "objects": [{"oid": o["oid"], "size": o["size"]} for o in wanted["objects"]]}
        objects = []
        for file in wanted["objects"]:
            upload = {"upload": {"href": f"{self.hub.url}/lfs/{file['oid']}"}}
            there = self.hub.store.path(file["oid"]).exists()
            objects.append({"oid": file["oid"], "size": file["size"], **({} if there else {"actions": upload})})
        return {"transfer": "basic", "objects": objects}

    def lfs_put(self, body, query, oid):
        if hashlib.sha256(body).hexdigest() != oid:
            raise Refused(400, "BadRequest", "the content does not match its hash")
        self.hub.store.put(body)
        return {}

    def xet_token(self, body, query, kind, name, access, revision):
        self._repo(kind, name, write=access == "write").at(urllib.parse.unquote(revision))
        url, expires = f"local://{self.hub.cas}", int(time.time()) + 3600
        headers = {"X-Xet-Cas-Url": url, "X-Xet-Access-Token": "xet", "X-Xet-Token-Expiration": str(expires)}
        return 200, {"accessToken": "xet", "exp": expires, "casUrl": url}, headers

    def commit(self, body, query, kind, name, branch):
        repo, branch = self._repo(kind, name, write=True), urllib.parse.unquote(branch)
        header, *operations = [json.loads(line) for line in body.splitlines() if line.strip()]
        with self.hub.store.lock:
            if branch not in repo.branches:
                raise Missing("RevisionNotFound", f"Invalid rev id: {branch}")
            head = repo.at(branch)
            if header["value"].get("parentCommit", head.sha) != head.sha:
                raise Refused(412, "PreconditionFailed", "A commit has happened since. Please refresh and try again.")
            files = dict(head.files)
            for operation in operations:
                self._operate(files, operation["key"], operation["value"])
            made = repo.add(branch, header["value"]["summary"], files, head.sha)
        url = f"{self.hub.url}/{kind}s/{name}/commit/{made.sha}"
        return {"success": True, "commitOid": made.sha, "commitUrl": url}

    def _operate(self, files: dict[str, Entry], key: str, value: dict) -> None:
        path = value["path"]
        if key == "file":
            files[path] = self.hub.store.small(base64.b64decode(value["content"]))
        elif key == "lfsFile":
            files[path] = self._large(value["oid"])
        elif key == "deletedFile":
            if files.pop(path, None) is None:
                raise Refused(404, "EntryNotFound", "A file with this name doesn't exist")
        else:
            raise Refused(400, "BadRequest", f"{key} is not an operation of this Hub")

    def _large(self, sha256: str) -> Entry:
        """The entry of a content that was uploaded, wherever it lies."""
        place = self.hub.store.path(sha256)
        if place.exists():
            return self.hub.store.large(sha256, place.stat().st_size)
        stored = xet.index(self.hub.cas)
        if sha256 not in stored:
            raise Refused(400, "BadRequest", f"Your push was rejected: LFS pointer {sha256} points to nothing")
        return self.hub.store.large(sha256, stored[sha256][1], stored[sha256][0])

    # --- downloads ---

    def tree(self, body, query, kind, name, revision, folder):
        commit = self._repo(kind, name).at(urllib.parse.unquote(revision))
        folder = urllib.parse.unquote(folder or "").strip("/")
        rows = list(_listing(commit, f"{folder}/" if folder else "", query.get("recursive", "").lower() == "true"))
        if folder and not rows:
            raise Missing("EntryNotFound", f"{folder} does not exist")
        first = int(query.get("cursor", 0))
        headers = {}
        if (end := first + self.hub.page) < len(rows):
            following = urllib.parse.urlencode({**query, "cursor": end})
            headers["Link"] = f'<{self.hub.url}{self.path.partition("?")[0]}?{following}>; rel="next"'
        return 200, rows[first:end], headers

    def paths_info(self, body, query, kind, name, revision):
        commit = self._repo(kind, name).at(urllib.parse.unquote(revision))
        asked = urllib.parse.parse_qs(body.decode()).get("paths", [])
        paths = json.loads(body)["paths"] if body[:1] == b"{" else asked
        folders = {row["path"]: row for row in _listing(commit, "", True) if row["type"] == "directory"}
        rows = [_row(commit, path) if path in commit.files else folders.get(path.rstrip("/")) for path in paths]
        return [row for row in rows if row]

    def resolve(self, body, query, name, revision, path, kind="model"):
        commit = self._repo(kind, name).at(urllib.parse.unquote(revision))
        path = urllib.parse.unquote(path)
        if path not in commit.files:
            headers = _said("EntryNotFound", "Entry not found") | {"X-Repo-Commit": commit.sha}
            return 404, {"error": "Entry not found"}, headers
        entry = commit.files[path]
        headers = {"X-Repo-Commit": commit.sha, "ETag": f'"{entry.oid}"', "Accept-Ranges": "bytes"}
        if entry.sha256:
            headers |= {"X-Linked-Etag": f'"{entry.sha256}"', "X-Linked-Size": str(entry.size)}
        if entry.xet:
            route = f"{self.hub.url}/api/{kind}s/{name}/xet-read-token/{commit.sha}"
            headers |= {"X-Xet-Hash": entry.xet, "X-Xet-Refresh-Route": route, "Link": f'<{route}>; rel="xet-auth"'}
        if self.command == "HEAD":
            return 200, b"", headers | {"Content-Length": str(entry.size)}
        return self._range(self.hub.content(entry), headers)

    def _range(self, content: bytes, headers: dict) -> tuple[int, bytes, dict]:
        """All of a content, or the part that the Range header asks for."""
        asked = re.fullmatch(r"bytes=(\d*)-(\d*)", self.headers.get("Range", ""))
        if not asked:
            return 200, content, headers
        first = int(asked[1]) if asked[1] else max(0, len(content) - int(asked[2]))
        last = min(int(asked[2]) if asked[1] and asked[2] else len(content) - 1, len(content) - 1)
        if first > last:
            return 416, b"", headers | {"Content-Range": f"bytes */{len(content)}"}
        return 206, content[first : last + 1], headers | {"Content-Range": f"bytes {first}-{last}/{len(content)}"}


def _said(code: str, message: str) -> dict[str, str]:
    return {"X-Error-Code": code, "X-Error-Message": message}


def _ref(ref: str, name: str, sha: str) -> dict[str, str]:
    return {"name": name, "ref": ref, "targetCommit": sha}


def _row(commit: Commit, path: str) -> dict:
    """A file, as listings have it."""
    entry = commit.files[path]
    row: dict = {"type": "file", "path": path, "size": entry.size, "oid": entry.oid}
    if entry.sha256:
        size = len(pointer(entry.sha256, entry.size))
        row["lfs"] = {"oid": entry.sha256, "size": entry.size, "pointerSize": size}
    if entry.xet:
        row["xetHash"] = entry.xet
    return row | {"lastCommit": {"id": commit.sha, "title": commit.title, "date": DATE}}


def _listing(commit: Commit, folder: str, recursive: bool) -> Iterator[dict]:
    """Files and folders under a folder, in the order of their names."""
    seen = set()
    for path in sorted(path for path in commit.files if path.startswith(folder)):
        parts = path.removeprefix(folder).split("/")
        for depth in range(1, len(parts)):
            inner = folder + "/".join(parts[:depth])
            if inner not in seen and (recursive or depth == 1):
                seen.add(inner)
                last = {"id": commit.sha, "title": commit.title, "date": DATE}
                oid = hashlib.sha1(inner.encode()).hexdigest()
                yield {"type": "directory", "path": inner, "oid": oid, "size": 0, "lastCommit": last}
        if recursive or len(parts) == 1:
            yield _row(commit, path)


_API = r"/api/(?P<kind>model|dataset|space)s/(?P<name>[^/]+/[^/]+)"
_FILE = r"/(?P<name>[^/]+/[^/]+)/resolve/(?P<revision>[^/]+)/(?P<path>.+)"

ROUTES = [
    ("GET", r"/api/whoami-v2", "whoami"),
    ("POST", r"/api/validate-yaml", "validate_yaml"),
    ("POST", r"/api/repos/create", "create"),
    ("GET", _API, "info"),
    ("GET", rf"{_API}/revision/(?P<revision>[^/]+)", "info"),
    ("GET", rf"{_API}/refs", "refs"),
    ("GET", rf"{_API}/commits/(?P<revision>[^/]+)", "commits"),
    ("POST", rf"{_API}/branch/(?P<branch>[^/]+)", "create_branch"),
    ("DELETE", rf"{_API}/branch/(?P<branch>[^/]+)", "delete_branch"),
    ("POST", rf"{_API}/tag/(?P<revision>[^/]+)", "create_tag"),
    ("POST", rf"{_API}/preupload/(?P<revision>[^/]+)", "preupload"),
    ("POST", rf"{_API}/commit/(?P<branch>[^/]+)", "commit"),
    ("GET", rf"{_API}/xet-(?P<access>read|write)-token/(?P<revision>[^/]+)", "xet_token"),
    ("POST", r"/(?P<kind>dataset)s/(?P<name>[^/]+/[^/]+)\.git/info/lfs/objects/batch", "lfs_batch"),
    ("PUT", r"/lfs/(?P<oid>[0-9a-f]{64})", "lfs_put"),
    ("GET", rf"{_API}/tree/(?P<revision>[^/]+)(?P<folder>/.*)?", "tree"),
    ("POST", rf"{_API}/paths-info/(?P<revision>[^/]+)", "paths_info"),
    *((method, rf"/(?P<kind>dataset)s{_FILE}", "resolve") for method in ("GET", "HEAD")),
    *((method, _FILE, "resolve") for method in ("GET", "HEAD")),
]
