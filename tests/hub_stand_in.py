"""A hub on this machine that speaks the part of huggingface.co's HTTP API that this project uses.

It keeps repositories in memory as commits of files, takes uploads (regular files and LFS objects, each checked against
its hash) and serves them back at their commit. Programs are pointed to it by `visit` in this process, or by
`environment` in another one.
"""

import base64
import hashlib
import json
import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest

TOKEN = "hf_stand_in"  # writes need it, as on the real hub
LFS_SUFFIXES = (".safetensors", ".bin", ".pt", ".wav", ".parquet", ".npz")
Files = dict[str, bytes]


def git_hash(data: bytes) -> str:
    """Name of a small file's content in git."""
    return hashlib.sha1(f"blob {len(data)}\0".encode() + data).hexdigest()


def sha256(data: bytes) -> str:
    """Name of a large file's content in Git LFS."""
    return hashlib.sha256(data).hexdigest()


class StandInHub:
    """Repositories, and what was asked.

    Attributes:
        commits: repository -> commit hash -> file name -> content; the last commit is "main".
        objects: LFS content by its sha256.
        asked: (method, path) of every request, in order.
        address: "http://127.0.0.1:PORT" while it serves.
    """

    def __init__(self) -> None:
        self.commits: dict[str, dict[str, Files]] = {}
        self.objects: dict[str, bytes] = {}
        self.asked: list[tuple[str, str]] = []
        self.address = ""

    def add(self, repository: str, files: Mapping[str, bytes], commit: str | None = None) -> str:
        """Add a commit that holds exactly these files; returns its hash."""
        if commit is None:
            parts = [repository, str(len(self.commits.get(repository, {})))]
            parts += [f"{name}:{sha256(data)}" for name, data in sorted(files.items())]
            commit = hashlib.sha1("\n".join(parts).encode()).hexdigest()
        self.commits.setdefault(repository, {})[commit] = dict(files)
        return commit

    def add_folder(self, repository: str, folder: Path, commit: str | None = None) -> str:
        """Add a commit with the files of a folder; returns its hash."""
        paths = [path for path in sorted(folder.rglob("*")) if path.is_file()]
        return self.add(
            repository, {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}, commit
        )

    def files(self, repository: str, revision: str = "main") -> Files | None:
        """Files of a commit or of the last one; None where there is no such commit."""
        history = self.commits.get(repository, {})
        if revision == "main":
            return next(reversed(history.values()), None)
        return history.get(revision)

    def head(self, repository: str, revision: str) -> str:
        """Commit hash of a revision that exists."""
        return next(reversed(self.commits[repository])) if revision == "main" else revision

    def environment(self, cache: Path) -> dict[str, str]:
        """Variables that send another process here, with a cache of its own."""
        return {
            "HF_ENDPOINT": self.address,
            "HF_HOME": str(cache),
            "HF_HUB_OFFLINE": "0",
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
        }


@contextmanager
def serving(hub: StandInHub) -> Iterator[StandInHub]:
    """Serve on a free port of this machine."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": hub}))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    hub.address = f"http://127.0.0.1:{server.server_port}"
    try:
        yield hub
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def visit(hub: StandInHub, cache: Path, patch: pytest.MonkeyPatch) -> None:
    """Make huggingface_hub of this process take the stand-in for the real hub, with an empty cache of its own."""
    from huggingface_hub import constants, hf_api

    patch.setattr(constants, "ENDPOINT", hub.address)
    template = hub.address + "/{repo_id}/resolve/{revision}/{filename}"
    patch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    patch.setattr(constants, "HF_HUB_CACHE", str(cache))
    patch.setattr(constants, "HF_HUB_OFFLINE", False)
    patch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    patch.setattr(hf_api.api, "endpoint", hub.address)


class _Handler(BaseHTTPRequestHandler):
    """One request; `hub` is set by `serving`."""

    hub: StandInHub
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self._get()

    def do_GET(self) -> None:
        self._get()

    def do_POST(self) -> None:
        path, body = self._path(), self._body()
        if not self._may_write():
            return
        if path == "/api/validate-yaml":
            self._json({"errors": [], "warnings": []})
        elif path == "/api/repos/create":
            asked = json.loads(body)
            name = f"{asked.get('organization') or 'me'}/{asked['name']}"
            status = 409 if name in self.hub.commits else 200
            self.hub.commits.setdefault(name, {})
            self._json({"url": f"{self.hub.address}/{name}", "name": name}, status)
        elif found := re.fullmatch(r"/api/models/(.+?/.+?)/preupload/(.+)", path):
            self._preupload(found[1], json.loads(body))
        elif found := re.fullmatch(r"/(.+?/.+?)\.git/info/lfs/objects/batch", path):
            self._lfs_batch(json.loads(body))
        elif found := re.fullmatch(r"/api/models/(.+?/.+?)/commit/(.+)", path):
            self._commit(found[1], [json.loads(line) for line in body.splitlines()])
        else:
            self._missing("EntryNotFound")

    def do_PUT(self) -> None:
        found, body = re.fullmatch(r"/lfs/([0-9a-f]{64})", self._path()), self._body()
        if not found or sha256(body) != found[1]:
            self._json({"error": "content and hash differ"}, 400)
            return
        self.hub.objects[found[1]] = body
        self._send(200)

    def log_message(self, *arguments: Any) -> None:
        """Stay silent."""

    def _get(self) -> None:
        path = self._path()
        if found := re.fullmatch(r"/api/models/([^/]+/[^/]+)(?:/revision/([^/]+))?", path):
            self._info(found[1], found[2] or "main")
        elif found := re.fullmatch(r"/api/models/([^/]+/[^/]+)/tree/([^/]+)/?", path):
            self._tree(found[1], found[2])
        elif found := re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path):
            self._file(found[1], found[2], found[3])
        else:
            self._missing("EntryNotFound")

    def _info(self, repository: str, revision: str) -> None:
        files = self._found(repository, revision)
        if files is not None:
            siblings = [{"rfilename": name} for name in files]
            head = self.hub.head(repository, revision)
            self._json({"id": repository, "sha": head, "private": False, "siblings": siblings, "tags": []})

    def _tree(self, repository: str, revision: str) -> None:
        files = self._found(repository, revision)
        if files is None:
            return
        entries = []
        for name, data in files.items():
            entry: dict[str, Any] = {"type": "file", "path": name, "size": len(data), "oid": git_hash(data)}
            if name.endswith(LFS_SUFFIXES):
                entry["lfs"] = {"oid": sha256(data), "size": len(data), "pointerSize": 130}
            entries.append(entry)
        self._json(entries)

    def _file(self, repository: str, revision: str, name: str) -> None:
        files = self._found(repository, revision)
        if files is None:
            return
        if name not in files:
            self._missing("EntryNotFound", self.hub.head(repository, revision))
            return
        data = files[name]
        tag = sha256(data) if name.endswith(LFS_SUFFIXES) else git_hash(data)
        headers = {"ETag": f'"{tag}"', "X-Repo-Commit": self.hub.head(repository, revision)}
        self._send(200, data, headers | {"Content-Type": "application/octet-stream"})

    def _preupload(self, repository: str, asked: dict[str, Any]) -> None:
        files = []
        for file in asked["files"]:
            mode = "lfs" if file["path"].endswith(LFS_SUFFIXES) else "regular"
            files.append({"path": file["path"], "uploadMode": mode, "shouldIgnore": False})
        self._json({"files": files})

    def _lfs_batch(self, asked: dict[str, Any]) -> None:
        objects = []
        for wanted in asked["objects"]:
            answer = {"oid": wanted["oid"], "size": wanted["size"]}
            if wanted["oid"] not in self.hub.objects:
                answer["actions"] = {"upload": {"href": f"{self.hub.address}/lfs/{wanted['oid']}"}}
            objects.append(answer)
        self._json({"transfer": "basic", "objects": objects})

    def _commit(self, repository: str, lines: list[dict[str, Any]]) -> None:
        files = dict(self.hub.files(repository) or {})
        for line in lines:
            value = line["value"]
            if line["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                if value["oid"] not in self.hub.objects:
                    self._json({"error": "LFS pointer to a file that does not exist"}, 400)
                    return
                files[value["path"]] = self.hub.objects[value["oid"]]
            elif line["key"] == "deletedFile":
                files.pop(value["path"], None)
        commit = self.hub.add(repository, files)
        url = f"{self.hub.address}/{repository}/commit/{commit}"
        self._json({"success": True, "commitOid": commit, "commitUrl": url})

    def _found(self, repository: str, revision: str) -> Files | None:
        """The files asked for, or None after the hub's own kind of refusal was sent."""
        if repository not in self.hub.commits:
            self._missing("RepoNotFound")
            return None
        files = self.hub.files(repository, revision)
        if files is None:
            self._missing("RevisionNotFound")
        return files

    def _may_write(self) -> bool:
        if self.headers.get("Authorization") == f"Bearer {TOKEN}":
            return True
        self._json({"error": "Invalid username or password."}, 401)
        return False

    def _path(self) -> str:
        path = unquote(urlsplit(self.path).path)
        self.hub.asked.append((self.command, path))
        return path

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        blocks = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            blocks.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(blocks)

    def _json(self, value: Any, status: int = 200) -> None:
        self._send(status, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def _missing(self, code: str, commit: str = "") -> None:
        self._send(404, headers={"X-Error-Code": code} | ({"X-Repo-Commit": commit} if commit else {}))

    def _send(self, status: int, data: bytes = b"", headers: Mapping[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)
