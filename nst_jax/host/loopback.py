"""A server for browsers on this machine alone, of bytes in memory alone."""

import re
import socketserver
import threading
import time
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from typing import NamedTuple, Self

ADDRESS = "127.0.0.1"

# Who asks for another name was led here by a name server, as a page elsewhere can do that would
# read what is served.
_HOST = re.compile(r"(127\.0\.0\.1|localhost)(:\d+)?")

_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; img-src 'self' data:; connect-src 'self'; "
    "style-src 'unsafe-inline'; script-src 'unsafe-inline'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
}


class Served(NamedTuple):
    """What lies at a path.

    Args:
        kind: Its media type.
        data: Its bytes.
    """

    kind: str
    data: bytes


class LoopbackServer:
    """A context manager that serves what is in `paths`, and nothing else.

    It answers on 127.0.0.1, at a port that the system chooses, to requests whose `Host` is that or
    `localhost`; any other path is not found. No file is ever opened.

    Attributes:
        paths: What is served, by path, such as `/`; it may change at any time.
    """

    def __init__(self) -> None:
        self.paths: dict[str, Served] = {}
        self._asked: dict[str, float] = {}

    def __enter__(self) -> Self:
        self._server = _Server((ADDRESS, 0), _handler(self.paths, self._asked))
        threading.Thread(target=self._server.serve_forever, args=(0.1,), daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def url(self) -> str:
        """Where a browser finds `/`."""
        return f"http://{ADDRESS}:{self._server.server_address[1]}/"

    def asked(self, path: str) -> float:
        """When the path was last asked for, by the monotonic clock; minus infinity if never."""
        return self._asked.get(path, float("-inf"))


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    block_on_close = False  # a browser that is slow holds up no end

    def handle_error(self, request: object, client_address: object) -> None:
        """Says nothing: a browser that has gone away is no fault."""


def _handler(paths: dict[str, Served], asked: dict[str, float]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        timeout = 10  # seconds, for a whole request to arrive

        def do_GET(self) -> None:
            hosts = self.headers.get_all("Host", [])
            if len(hosts) != 1 or not _HOST.fullmatch(hosts[0]):
                self.send_error(HTTPStatus.FORBIDDEN)
                return
            path, now = self.path.partition("?")[0], time.monotonic()
            served = paths.get(path)
            if served is None:
                self.send_error(HTTPStatus.NOT_FOUND)
                return
            asked[path] = now  # before the answer, on which whoever asked may act at once
            self.send_response(HTTPStatus.OK)
            headers = {"Content-Type": served.kind, "Content-Length": str(len(served.data))}
            for name, value in (headers | _HEADERS).items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(served.data)

        def version_string(self) -> str:
            return "nst-jax"

        def log_message(self, format: str, *args: object) -> None:
            """Prints nothing between the lines of the run."""

    return Handler
