"""An HTTP proxy in front of a store that fails as it is told, at the inserts."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum
from http.client import HTTPConnection, HTTPException, HTTPResponse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from footfall_cli.children import free_port

_HOP = {"connection", "transfer-encoding", "content-length", "keep-alive"}


class Fault(Enum):
    """What happens to an insert; everything else is passed on, but where nothing answers at all."""

    NONE = "passed on"
    REFUSED = "no connection is taken"
    HANGS = "taken and never answered"
    LATE = "passed on when the fault is over, however late"
    FAILS = "answered with 500, nothing written"
    NO_MEMORY = "answered with ClickHouse's error 241, nothing written"
    LOST_REPLY = "written and answered with 500"
    CUT_BEFORE = "the connection cut, nothing written"
    CUT_AFTER = "written, and the connection cut within the reply"


class FaultyStore:
    """Stands between a sink and a store; `suffered` counts the inserts that met each fault."""

    def __init__(self, store_port: int) -> None:
        self.store_port = store_port
        self.port = free_port()
        self.fault = Fault.NONE
        self.suffered: Counter[Fault] = Counter()
        self.over = threading.Event()
        self._server: ThreadingHTTPServer | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def fail(self, fault: Fault) -> None:
        """From now on; NONE ends the fault."""
        self.over.set()
        self.over = threading.Event()
        self.fault = fault
        if fault is Fault.REFUSED:
            self.stop()
        elif self._server is None:
            self.start()

    def start(self) -> None:
        server = _Server(("127.0.0.1", self.port), _Handler)
        server.proxy = self
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        self._server = server

    def stop(self) -> None:
        self.over.set()
        server, self._server = self._server, None
        if server is not None:
            server.shutdown()
            server.server_close()


@contextmanager
def faulty(store_port: int) -> Iterator[FaultyStore]:
    """A proxy that runs while the block does."""
    proxy = FaultyStore(store_port)
    proxy.start()
    try:
        yield proxy
    finally:
        proxy.stop()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    proxy: FaultyStore

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that went away is no news here."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def do_GET(self) -> None:
        self._pass_on(b"")

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        proxy = self.server.proxy
        fault, over = proxy.fault, proxy.over
        if fault is Fault.REFUSED:  # over a connection that stood before
            self.close_connection = True
        elif "insert_deduplication_token" not in self.path:
            self._pass_on(body)
        else:
            self._insert(body, fault, over)
            proxy.suffered[fault] += 1

    def _insert(self, body: bytes, fault: Fault, over: threading.Event) -> None:
        if fault in (Fault.HANGS, Fault.LATE):
            self.server.proxy.suffered[fault] += 1
            over.wait(120)
        if fault in (Fault.HANGS, Fault.CUT_BEFORE):
            self.close_connection = True
        elif fault is Fault.FAILS:
            self._answer(500, {}, b"something broke")
        elif fault is Fault.NO_MEMORY:
            self._answer(500, {"X-ClickHouse-Exception-Code": "241"}, b"Code: 241. DB::Exception: no memory")
        elif fault is Fault.LOST_REPLY:
            self._forward(body)
            self._answer(500, {}, b"the reply was lost")
        elif fault is Fault.CUT_AFTER:
            self._forward(body)
            self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
            self.close_connection = True
        else:
            self._pass_on(body)

    def _pass_on(self, body: bytes) -> None:
        try:
            reply, answer = self._forward(body)
        except (OSError, HTTPException):
            self.close_connection = True  # the store itself is away
            return
        kept = {name: value for name, value in reply.getheaders() if name.lower() not in _HOP}
        self._answer(reply.status, kept, answer)

    def _forward(self, body: bytes) -> tuple[HTTPResponse, bytes]:
        store = HTTPConnection("127.0.0.1", self.server.proxy.store_port, timeout=60)
        try:
            headers = {name: value for name, value in self.headers.items() if name.lower() not in _HOP}
            store.request(self.command, self.path, body, headers)
            reply = store.getresponse()
            return reply, reply.read()
        finally:
            store.close()

    def _answer(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Requests are not logged."""
