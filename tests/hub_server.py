"""The part of the Hugging Face Hub that `push_to_hub` and `from_pretrained` use, on loopback, in memory.

    with HubServer() as server:
        subprocess.run([...], env={**os.environ, **server.environment(cache_dir)})

Repos and datasets are created, files are committed (all as regular files: no LFS, no Xet), listed and downloaded, with
the headers that `huggingface_hub` needs. What it does not know it answers with 404 and keeps in `unknown`.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import yaml

from loopback_server import LoopbackServer

LISTS = ("tags", "language", "task_categories", "size_categories", "datasets", "configs", "model-index")
WORDS = ("license", "library_name", "pipeline_tag", "pretty_name")
REPO = r"(?P<kind>models|datasets)/(?P<repo>[^/]+/[^/]+)"
ROUTES = [
    ("GET", r"/api/whoami-v2", "whoami"),
    ("POST", r"/api/validate-yaml", "validate_card"),
    ("POST", r"/api/repos/create", "create"),
    ("POST", rf"/api/{REPO}/preupload/(?P<revision>[^/]+)", "preupload"),
    ("POST", rf"/api/{REPO}/commit/(?P<revision>[^/]+)", "commit"),
    ("POST", rf"/api/{REPO}/paths-info/(?P<revision>[^/]+)", "paths_info"),
    ("GET", rf"/api/{REPO}/refs", "refs"),
    ("GET", rf"/api/{REPO}/tree/(?P<revision>[^/]+)(/(?P<folder>.*))?", "tree"),
    ("GET", rf"/api/{REPO}(/revision/(?P<revision>[^/]+))?", "info"),
    ("GET", r"/(datasets/)?(?P<repo>[^/]+/[^/]+)/resolve/(?P<revision>[^/]+)/(?P<path>.+)", "resolve"),
]


@dataclass
class Commit:
    oid: str
    files: dict[str, bytes]


@dataclass
class HubServer(LoopbackServer):
    """Repos and datasets in memory.

    Attributes:
        repos: id -> commits, oldest first; the first is empty.
        requests: (method, path) of all requests.
        unknown: those that had no answer here.
        fails: part of "METHOD path" -> status; such a request is refused.
    """

    user: str = "tester"
    repos: dict[str, list[Commit]] = field(default_factory=dict)
    requests: list[tuple[str, str]] = field(default_factory=list)
    unknown: list[tuple[str, str]] = field(default_factory=list)
    fails: dict[str, int] = field(default_factory=dict)

    def handler(self) -> type[BaseHTTPRequestHandler]:
        return _handler(self)

    def environment(self, cache_dir: Path) -> dict[str, str]:
        """Variables for a process that talks to this Hub only: any other host is a proxy that refuses."""
        refuse = "http://127.0.0.1:9"
        return {
            "HF_ENDPOINT": self.url,
            "HF_HOME": str(cache_dir),
            "HF_TOKEN": "hf_loopback",
            "HF_HUB_OFFLINE": "0",
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "HF_HUB_DISABLE_XET": "1",
            **dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"), refuse),
            "NO_PROXY": "127.0.0.1",
            "no_proxy": "127.0.0.1",
        }

    def add(self, repo: str, files: dict[str, bytes]) -> None:
        """A repo with these files, as if it had been pushed."""
        self.repos[repo] = [_commit([], {}), _commit([_commit([], {})], files)]

    # One method a route: arguments of the path and the parsed body in, (status, headers, body) out.

    def failure(self, method: str, path: str, token: str) -> tuple[int, dict[str, str], Any] | None:
        """The answer to a request that `fails` names; like a careless proxy, it tells what it was asked with."""
        for part, status in self.fails.items():
            if part in f"{method} {path}":
                said = f"no: {method} {path} with {token}"
                return status, {"X-Error-Message": said}, {"error": said}
        return None

    def whoami(self, **_: Any) -> Any:
        return {"type": "user", "name": self.user, "orgs": [], "auth": {"accessToken": {"role": "write"}}}

    def validate_card(self, body: Any, **_: Any) -> Any:
        """The front matter parses, and has the forms that the Hub's documentation of cards asks for."""
        match = re.match(r"---\n(.*?)\n---\n", body["content"], re.DOTALL)
        try:
            data = yaml.safe_load(match[1]) if match else None
        except yaml.YAMLError as error:
            data = str(error)
        if not isinstance(data, dict):
            return 400, {}, {"errors": [{"message": f"no YAML in front: {data}"}], "warnings": []}
        errors = [f"{name} is not a list" for name in LISTS if not isinstance(data.get(name, []), (list, str))]
        errors += [f"{name} is not a word" for name in WORDS if not isinstance(data.get(name, ""), str)]
        errors += [
            f"license: {data['license']}" for _ in [0] if not re.fullmatch(r"[a-z0-9.-]+", data.get("license", "mit"))
        ]
        errors += [
            f"config {item}" for item in data.get("configs", []) if not {"config_name", "data_files"} <= set(item)
        ]
        wanted = {"task", "metrics"}
        results = [result for item in data.get("model-index", []) for result in item["results"]]
        errors += [f"result {result}" for result in results if not wanted <= set(result)]
        return (400 if errors else 200), {}, {"errors": [{"message": text} for text in errors], "warnings": []}

    def create(self, body: Any, **_: Any) -> Any:
        repo = f"{body.get('organization') or self.user}/{body['name']}"
        exists = repo in self.repos
        if not exists:
            self.repos[repo] = [_commit([], {})]
        prefix = "datasets/" if body.get("type") == "dataset" else ""
        return (409 if exists else 200), {}, {"url": f"{self.url}/{prefix}{repo}", "name": repo, "id": repo}

    def preupload(self, repo: str, body: Any, **_: Any) -> Any:
        self._commit(repo)
        return {
            "files": [
                {"path": file["path"], "uploadMode": "regular", "shouldIgnore": False, "oid": None}
                for file in body["files"]
            ]
        }

    def commit(self, repo: str, kind: str, body: Any, **_: Any) -> Any:
        files = dict(self._commit(repo).files)
        for line in body:
            value = line["value"]
            if line["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "deletedFile":
                del files[value["path"]]
            elif line["key"] != "header":
                return 400, {}, {"error": f"a {line['key']} cannot be committed here"}
        self.repos[repo].append(_commit(self.repos[repo], files))
        oid = self._commit(repo).oid
        prefix = "datasets/" if kind == "datasets" else ""
        return {"commitUrl": f"{self.url}/{prefix}{repo}/commit/{oid}", "commitOid": oid, "success": True}

    def info(self, repo: str, revision: str | None = None, **_: Any) -> Any:
        commit = self._commit(repo, revision)
        return {
            "_id": repo,
            "id": repo,
            "modelId": repo,
            "sha": commit.oid,
            "private": False,
            "tags": [],
            "siblings": [{"rfilename": path} for path in commit.files],
        }

    def refs(self, repo: str, **_: Any) -> Any:
        branch = {"name": "main", "ref": "refs/heads/main", "targetCommit": self._commit(repo).oid}
        return {"branches": [branch], "tags": [], "converts": []}

    def tree(self, repo: str, revision: str, folder: str | None = None, query: Any = None, **_: Any) -> Any:
        commit = self._commit(repo, revision)
        prefix = f"{folder}/" if folder else ""
        inside = {path: content for path, content in commit.files.items() if path.startswith(prefix)}
        if folder and not inside:
            raise LookupError("EntryNotFound")
        if query.get("recursive", ["false"])[0].lower() in ("true", "1"):
            return [_entry(path, content) for path, content in inside.items()]
        folders = sorted({path[len(prefix) :].split("/")[0] for path in inside if "/" in path[len(prefix) :]})
        files = [_entry(path, content) for path, content in inside.items() if "/" not in path[len(prefix) :]]
        return [{"type": "directory", "oid": "0" * 40, "size": 0, "path": prefix + name} for name in folders] + files

    def paths_info(self, repo: str, revision: str, body: Any, **_: Any) -> Any:
        commit = self._commit(repo, revision)
        wanted = body["paths"] if isinstance(body["paths"], list) else [body["paths"]]
        return [_entry(path, commit.files[path]) for path in wanted if path in commit.files]

    def resolve(self, repo: str, revision: str, path: str, **_: Any) -> Any:
        commit = self._commit(repo, revision)
        headers = {"X-Repo-Commit": commit.oid}
        if path not in commit.files:
            return 404, {**headers, "X-Error-Code": "EntryNotFound"}, b""
        content = commit.files[path]
        headers["ETag"] = f'"{hashlib.sha256(content).hexdigest()}"'
        return 200, {**headers, "Accept-Ranges": "bytes"}, content

    def _commit(self, repo: str, revision: str | None = None) -> Commit:
        if repo not in self.repos:
            raise LookupError("RepoNotFound")
        if revision in (None, "main"):
            return self.repos[repo][-1]
        for commit in self.repos[repo]:
            if commit.oid == revision:
                return commit
        raise LookupError("RevisionNotFound")


def _commit(parents: list[Commit], files: dict[str, bytes]) -> Commit:
    content = repr((len(parents), sorted((path, hashlib.sha1(data).hexdigest()) for path, data in files.items())))
    return Commit(hashlib.sha1(content.encode()).hexdigest(), files)


def _entry(path: str, content: bytes) -> dict[str, Any]:
    blob = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
    return {"type": "file", "oid": blob, "size": len(content), "path": path}


def _handler(server: HubServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *args: Any) -> None:
            pass

        def answer(self) -> None:
            url = urlsplit(self.path)
            server.requests.append((self.command, url.path))
            body = self._body()
            method = "GET" if self.command == "HEAD" else self.command
            if refusal := server.failure(method, url.path, self.headers.get("Authorization", "")):
                return self._send(*refusal)
            for route_method, pattern, name in ROUTES:
                match = re.fullmatch(pattern, unquote(url.path))
                if match and route_method == method:
                    try:
                        reply = getattr(server, name)(**match.groupdict(), body=body, query=parse_qs(url.query))
                    except LookupError as error:
                        reply = 404, {"X-Error-Code": str(error.args[0])}, {"error": str(error.args[0])}
                    return self._send(*(reply if isinstance(reply, tuple) else (200, {}, reply)))
            server.unknown.append((self.command, url.path))
            return self._send(404, {}, {"error": "not served here"})

        do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = answer

        def _body(self) -> Any:
            if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
                data = b""
                while size := int(self.rfile.readline().split(b";")[0], 16):
                    data += self.rfile.read(size)
                    self.rfile.readline()
                self.rfile.readline()
            else:
                data = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            if "ndjson" in self.headers.get("Content-Type", ""):
                return [json.loads(line) for line in data.splitlines() if line.strip()]
            return json.loads(data) if data else {}

        def _send(self, status: int, headers: dict[str, str], reply: Any) -> None:
            content = reply if isinstance(reply, bytes) else json.dumps(reply).encode()
            first, last = 0, len(content) - 1
            if wanted := re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", "")):
                first, last = int(wanted[1]), int(wanted[2] or last)
                status, headers = 206, {**headers, "Content-Range": f"bytes {first}-{last}/{len(content)}"}
            content = content[first : last + 1]
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(content)

    return Handler
