"""ClickHouse's HTTP interface in front of chDB: the embedded store that ordinary clients talk to.

Run as a child: `python -m footfall_cli.embedded_clickhouse --data DIR --port N`; it prints `ready PORT` once it
serves, and SIGTERM ends it cleanly. It listens on loopback only and asks for no password: it is for one machine.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import signal
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import TypeVar

import pyarrow as pa
from aiohttp import web
from chdb.session import Session

MAX_BODY_BYTES = 1 << 30

_INSERT = re.compile(
    rb"\A(?P<query>\s*INSERT\s+INTO\s(?:(?!\bSELECT\b|\bVALUES\b|\bINFILE\b)[^;])*?)\s"
    rb"FORMAT\s+(?P<format>\w+)[ \t]*;?[ \t]*(?:\r?\n|\Z)",
    re.IGNORECASE | re.DOTALL,
)
_CODE = re.compile(r"Code: (\d+)")
_SETTING_NAME = re.compile(r"[a-z][a-z0-9_]*\Z")
_ENCODINGS = {"zstd": "zstd", "lz4": "lz4", "gzip": "gzip", "br": "brotli"}

# What the HTTP interface itself understands, and what only a server could honour.
_NOT_SETTINGS = frozenset(
    {
        "database",
        "default_format",
        "query",
        "query_id",
        "session_id",
        "session_timeout",
        "session_check",
        "user",
        "password",
        "role",
        "quota_key",
        "compress",
        "decompress",
        "enable_http_compression",
        "http_zlib_compression_level",
        "client_protocol_version",
        "buffer_size",
        "wait_end_of_query",
        "send_progress_in_http_headers",
        "http_headers_progress_interval_ms",
        "cancel_http_readonly_queries_on_client_close",
        "stacktrace",
    }
)

T = TypeVar("T")


@dataclass(frozen=True)
class Statement:
    """One request: the SQL, with `rows` and their format if it is an insert that carries data."""

    sql: str
    output_format: str
    database: str
    settings: Mapping[str, str]
    parameters: Mapping[str, str]
    rows: bytes | None = None
    rows_format: str = ""


@dataclass(frozen=True)
class Answer:
    """What the engine gave back."""

    body: bytes
    summary: Mapping[str, str]


class EngineError(Exception):
    """The engine refused a statement; `code` is ClickHouse's error number."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        found = _CODE.search(text)
        # 1002 is ClickHouse's own UNKNOWN_EXCEPTION.
        self.code = int(found.group(1)) if found else 1002


def parse_request(query: Mapping[str, str], body: bytes) -> Statement:
    """The statement of one HTTP request: the URL's `query`, a line break, and the body, as ClickHouse joins them."""
    text = query.get("query", "").encode()
    joined = text + b"\n" + body if text and body else text or body
    insert = _INSERT.match(joined)
    carries_rows = insert is not None and insert.end() < len(joined)
    if insert is not None and carries_rows:
        sql, rows, rows_format = insert["query"].decode(), joined[insert.end() :], insert["format"].decode()
    else:
        sql, rows, rows_format = joined.decode(), None, ""
    return Statement(
        sql=sql,
        output_format=query.get("default_format", "TabSeparated"),
        database=query.get("database", "") or "default",
        settings={
            name: value
            for name, value in query.items()
            if name not in _NOT_SETTINGS and not name.startswith("param_") and _SETTING_NAME.match(name)
        },
        parameters={name[len("param_") :]: value for name, value in query.items() if name.startswith("param_")},
        rows=rows,
        rows_format=rows_format,
    )


class Engine:
    """One chDB session, used from one thread only: its settings and database belong to the statement running."""

    def __init__(self, data: Path) -> None:
        self._session = Session(str(data))
        self._database = "default"

    def close(self) -> None:
        self._session.close()

    def execute(self, statement: Statement) -> Answer:
        """Run one statement under its own database and settings; raises EngineError."""
        try:
            return self._execute(statement)
        except Exception as error:  # chDB raises several kinds, all with ClickHouse's text
            raise EngineError(str(error)) from error

    def _execute(self, statement: Statement) -> Answer:
        if statement.database != self._database:
            self._session.query(f"USE {_identifier(statement.database)}")
            self._database = statement.database
        settings = statement.settings
        if settings:
            # In one statement: each costs a quarter of a millisecond, and either all of them are taken or none.
            self._session.query("SET " + ", ".join(f"{name} = {_literal(settings[name])}" for name in settings))
        try:
            if statement.rows is not None:
                return self._insert(statement)
            return self._query(statement)
        finally:
            if settings:
                self._session.query("SET " + ", ".join(f"{name} = DEFAULT" for name in settings))

    def _query(self, statement: Statement) -> Answer:
        result = self._session.query(statement.sql, statement.output_format, params=dict(statement.parameters))
        read = {"read_rows": str(result.rows_read()), "read_bytes": str(result.bytes_read())}
        return Answer(bytes(result.bytes()), read)

    def _insert(self, statement: Statement) -> Answer:
        # Not by chDB's send_insert: it says nothing if the table refuses what was parsed.
        with NamedTemporaryFile(prefix="footfall-insert-") as file:
            file.write(statement.rows or b"")
            file.flush()
            source = f"FROM INFILE {_literal(file.name)} COMPRESSION 'none' FORMAT {statement.rows_format}"
            result = self._session.query(f"{statement.sql} {source}")
        return Answer(b"", {"written_rows": str(result.rows_read()), "written_bytes": str(result.bytes_read())})


def _identifier(name: str) -> str:
    return "`" + name.replace("\\", "\\\\").replace("`", "\\`") + "`"


def _literal(value: str) -> str:
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _decoded(body: bytes, encoding: str | None) -> bytes:
    if not body or encoding is None or encoding == "identity":
        return body
    if encoding not in _ENCODINGS:
        raise web.HTTPUnsupportedMediaType(text=f"content encoding {encoding} is not supported")
    with pa.CompressedInputStream(pa.BufferReader(body), _ENCODINGS[encoding]) as stream:
        return bytes(stream.read())


class Endpoint:
    """HTTP requests in, answers of the engine out; every engine call runs in the engine's thread."""

    def __init__(self, data: Path) -> None:
        self._data = data
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="chdb")
        self._engine: Engine | None = None

    async def open(self) -> None:
        self._engine = await self._in_thread(lambda: Engine(self._data))

    async def close(self) -> None:
        """Wait for the statement that runs, then close the session."""
        engine, self._engine = self._engine, None
        if engine is not None:
            await self._in_thread(engine.close)
        self._thread.shutdown()

    def application(self) -> web.Application:
        app = web.Application(client_max_size=MAX_BODY_BYTES)
        app.router.add_get("/ping", self._ping)
        app.router.add_route("*", "/", self._statement)
        return app

    async def _in_thread(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    async def _ping(self, _request: web.Request) -> web.Response:
        return web.Response(text="Ok.\n")

    async def _statement(self, request: web.Request) -> web.Response:
        body = _decoded(await request.read(), request.headers.get("Content-Encoding"))
        engine = self._engine
        if engine is None:
            return web.Response(status=503, text="closing")
        if not body and "query" not in request.query:
            return web.Response(text="Ok.\n")
        try:
            statement = parse_request(request.query, body)
            answer = await self._in_thread(lambda: engine.execute(statement))
        except UnicodeDecodeError:
            return _failure(EngineError("Code: 62. DB::Exception: the query is not UTF-8. (SYNTAX_ERROR)"))
        except EngineError as error:
            return _failure(error)
        headers = {"X-ClickHouse-Summary": json.dumps(dict(answer.summary)), "X-ClickHouse-Timezone": "UTC"}
        return web.Response(body=answer.body, headers=headers, content_type="application/octet-stream")


def _failure(error: EngineError) -> web.Response:
    return web.Response(status=500, text=f"{error}\n", headers={"X-ClickHouse-Exception-Code": str(error.code)})


async def serve(data: Path, port: int) -> None:
    """Serve until SIGTERM or SIGINT; port 0 takes any free one."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    endpoint = Endpoint(data)
    await endpoint.open()
    # Clients compress with lz4 and zstd, which aiohttp does not decode: the endpoint does all of it itself.
    runner = web.AppRunner(endpoint.application(), access_log=None, auto_decompress=False)
    try:
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", port, shutdown_timeout=10).start()
        print(f"ready {runner.addresses[0][1]}", flush=True)
        await stop.wait()
    finally:
        await runner.cleanup()
        await endpoint.close()


def main() -> None:
    """Entry point of the child process."""
    parser = argparse.ArgumentParser(description="ClickHouse's HTTP interface in front of chDB")
    parser.add_argument("--data", type=Path, required=True, help="directory of the tables")
    parser.add_argument("--port", type=int, default=0, help="loopback port, 0 = any free one")
    args = parser.parse_args()
    args.data.mkdir(parents=True, exist_ok=True)
    asyncio.run(serve(args.data, args.port))


if __name__ == "__main__":
    main()
