"""A server on this machine that stands in for torchvision's."""

import hashlib
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO

import torch

from cov3d.models.names import Architecture


class FakeServer:
    """Serves a small file for each network, named after its checksum as torchvision names them; may misbehave.

    Attributes:
        requests: the paths that were asked for.
    """

    def __init__(self) -> None:
        self.requests: list[str] = []
        self._damage = ""
        self._files = {self._name(architecture): self.published(architecture) for architecture in Architecture}
        fake = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                fake.answer(self)

            def log_message(self, format: str, *arguments: object) -> None:
                """Nothing on stderr."""

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    def published(self, architecture: Architecture) -> bytes:
        """The file of a network: some weights, and enough to come in several pieces."""
        content = BytesIO()
        torch.save({architecture.value: torch.arange(100_000.0)}, content)
        return content.getvalue()

    def source(self, architecture: Architecture) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self._http.server_port}/{self._name(architecture)}"

    def damage(self, how: str) -> None:
        """From now on, what is sent is changed, cut or missing; or the server is down."""
        self._damage = how
        if how == "down":
            self.close()

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        """Send a file."""
        self.requests.append(request.path)
        if self._damage == "missing":
            request.send_error(404)
            return
        content = self._files[request.path.removeprefix("/")]
        request.send_response(200)
        request.send_header("Content-Length", str(len(content)))
        request.end_headers()
        if self._damage == "changed":
            content = content[:-1] + b"?"
        request.wfile.write(content[: len(content) // 2] if self._damage == "cut" else content)

    def close(self) -> None:
        """Stop; nothing listens afterwards."""
        if self._thread.is_alive():
            self._http.shutdown()
            self._thread.join()
            self._http.server_close()

    def _name(self, architecture: Architecture) -> str:
        return f"{architecture}_net-{hashlib.sha256(self.published(architecture)).hexdigest()[:8]}.pth"
