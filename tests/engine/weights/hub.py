"""A stand-in for the Hugging Face hub on this machine, with what its real answers carry."""

from __future__ import annotations

import hashlib
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

COMMIT = "c" * 40


class Hub:
    """Serves files of repositories; large ones from another host name, as the hub does.

    Attributes
    ----------
    files
        ``{"OWNER/NAME/FILE": content}``; names ending in ``.json`` or ``.txt`` are small files.
    refuse
        Status given to every request, such as 401; with ``gated`` as the hub says it.
    cut_at
        Bytes after which a connection breaks off; ``None``: never.
    spoil
        Send other bytes than the hash is of.
    requests
        ``(method, path, Range, has a login)`` of each request.
    """

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.refuse: int | None = None
        self.gated = False
        self.cut_at: int | None = None
        self.spoil = False
        self.requests: list[tuple[str, str, str | None, bool]] = []
        hub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_HEAD(self) -> None:
                hub.answer(self)

            def do_GET(self) -> None:
                hub.answer(self)

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self.server.server_address[1]
        self.endpoint = f"http://127.0.0.1:{self.port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        wanted = request.headers.get("Range")
        login = "Authorization" in request.headers
        self.requests.append((request.command, request.path, wanted, login))
        if request.path.startswith("/store/"):
            return self.send_large(request, request.path.removeprefix("/store/"), wanted)
        if self.refuse:
            code = {"X-Error-Code": "GatedRepo"} if self.gated else {}
            return self.send(request, self.refuse, code, b"no")
        repo, _, file = request.path.lstrip("/").partition("/resolve/main/")
        if not any(name.startswith(f"{repo}/") for name in self.files):
            return self.send(request, 404, {"X-Error-Code": "RepoNotFound"}, b"")
        content = self.files.get(f"{repo}/{file}")
        if content is None:
            return self.send(request, 404, {"X-Error-Code": "EntryNotFound"}, b"")
        headers = {"X-Repo-Commit": COMMIT}
        if file.endswith((".json", ".txt")):
            etag = hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False)
            return self.send(request, 200, {**headers, "ETag": f'"{etag.hexdigest()}"'}, content)
        headers |= {
            "X-Linked-Etag": f'"{hashlib.sha256(content).hexdigest()}"',
            "X-Linked-Size": str(len(content)),
            "Location": f"http://localhost:{self.port}/store/{repo}/{file}",
        }
        return self.send(request, 302, headers, b"")

    def send_large(self, request: BaseHTTPRequestHandler, name: str, wanted: str | None) -> None:
        content = self.files[name]
        if self.spoil:
            content = content[:-1] + bytes([content[-1] ^ 1])
        start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted else 0
        rest = content[start:]
        request.send_response(206 if wanted else 200)
        request.send_header("Content-Length", str(len(rest)))
        request.end_headers()
        if self.cut_at is not None and self.cut_at < len(rest):
            request.wfile.write(rest[: self.cut_at])
            request.close_connection = True
        else:
            request.wfile.write(rest)

    @staticmethod
    def send(
        request: BaseHTTPRequestHandler, status: int, headers: dict[str, str], content: bytes
    ) -> None:
        request.send_response(status)
        for name, value in headers.items():
            request.send_header(name, value)
        request.send_header("Content-Length", str(len(content)))
        request.end_headers()
        if request.command == "GET":
            request.wfile.write(content)
