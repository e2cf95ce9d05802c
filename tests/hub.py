"""A model hub on 127.0.0.1, for tests of `fetch`: the answers that huggingface_hub's client asks for, and no more."""

from __future__ import annotations

import hashlib
import json
import threading
import urllib.parse
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

COMMIT = "c0ffee" + "0" * 34


@dataclass
class Hub:
    """What the server holds and what it was asked for.

    Attributes:
        repositories: files by name, by repository.
        moved: new name of a repository, by its old one.
        gated: repositories whose files nobody may have.
        stalls: a file whose second half is sent only after `go_on` is set.
        sizes: what the lists say of a file's size, where it is not the true one.
    """

    repositories: Mapping[str, Mapping[str, bytes]]
    moved: Mapping[str, str] = field(default_factory=dict)
    gated: frozenset[str] = frozenset()
    stalls: str = ""
    sizes: Mapping[str, int] = field(default_factory=dict)
    go_on: threading.Event = field(default_factory=threading.Event)
    stalled: threading.Event = field(default_factory=threading.Event)
    sent: list[str] = field(default_factory=list)
    address: str = ""

    def environment(self, home: Path) -> dict[str, str]:
        """Returns what sends the client here, and nowhere else, with an empty cache below `home`."""
        return {
            "HF_ENDPOINT": self.address,
            "HF_HOME": str(home),
            "HF_HUB_CACHE": str(home / "hub"),
            "HF_HUB_OFFLINE": "0",
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_DISABLE_PROGRESS_BARS": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "TORCH_HOME": str(home / "torch"),
            "NO_PROXY": "127.0.0.1",
            "no_proxy": "127.0.0.1",
        }


@contextmanager
def serve(hub: Hub) -> Iterator[Hub]:
    """Returns a context in which the hub answers at `hub.address`."""
    handler = type("BoundAnswers", (Answers,), {"hub": hub})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    hub.address = f"http://127.0.0.1:{server.server_port}"
    try:
        yield hub
    finally:
        hub.go_on.set()
        server.shutdown()
        server.server_close()
        thread.join()


class Answers(BaseHTTPRequestHandler):
    """One request."""

    hub: ClassVar[Hub]

    def log_message(self, format: str, *args: object) -> None:
        """Says nothing."""

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def _answer(self) -> None:
        path = urllib.parse.unquote(urllib.parse.urlsplit(self.path).path).lstrip("/")
        for old, new in self.hub.moved.items():
            if old in path:
                self._send(307, b"", {"Location": "/" + self.path.lstrip("/").replace(old, new)})
                return
        words = path.removeprefix("api/models/").split("/")
        repository, rest = "/".join(words[:2]), words[2:]
        files = self.hub.repositories.get(repository)
        if files is None:
            self._send(404, b"", {"X-Error-Code": "RepoNotFound"})
        elif path.startswith("api/models/"):
            self._list(repository, files, tree=rest[:1] == ["tree"])
        elif repository in self.hub.gated:
            self._send(403, b"", {"X-Error-Code": "GatedRepo"})
        else:
            self._file("/".join(rest[2:]), files)

    def _list(self, repository: str, files: Mapping[str, bytes], *, tree: bool) -> None:
        sizes = {name: self.hub.sizes.get(name, len(content)) for name, content in files.items()}
        entries = [{"type": "file", "oid": "0" * 40, "size": size, "path": name} for name, size in sizes.items()]
        siblings = [{"rfilename": name, "size": size} for name, size in sizes.items()]
        facts = {"_id": "0", "id": repository, "modelId": repository, "sha": COMMIT, "siblings": siblings, "tags": []}
        self._send(200, json.dumps(entries if tree else facts).encode(), {"Content-Type": "application/json"})

    def _file(self, name: str, files: Mapping[str, bytes]) -> None:
        if name not in files:
            self._send(404, b"", {"X-Error-Code": "EntryNotFound"})
            return
        content = files[name]
        entity = {"ETag": f'"{hashlib.sha256(name.encode() + content).hexdigest()}"', "X-Repo-Commit": COMMIT}
        if self.command == "GET":
            self.hub.sent.append(name)
        self._send(200, content, entity, stalls=name == self.hub.stalls)

    def _send(self, status: int, content: bytes, headers: Mapping[str, str], *, stalls: bool = False) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "GET":
            return
        half = len(content) // 2 if stalls and not self.hub.go_on.is_set() else len(content)
        try:
            self.wfile.write(content[:half])
            if half < len(content):
                self.wfile.flush()
                self.hub.stalled.set()
                self.hub.go_on.wait()
                self.wfile.write(content[half:])
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True  # the client was killed, as the test wants
