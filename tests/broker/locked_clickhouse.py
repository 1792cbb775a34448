"""The embedded ClickHouse behind TLS, user and password, which chDB does not have; a child of tests.

It answers a wrong login as a ClickHouse server does: status 403 and the exception code 516.
"""

from __future__ import annotations

import asyncio
import ssl
import sys
from base64 import b64encode
from pathlib import Path

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware
from footfall_cli.embedded_clickhouse import Endpoint

USER = "writer"


def locked(password_file: Path) -> Middleware:
    """Nothing but `/ping` without the password that the file holds at that moment."""

    @web.middleware
    async def look(request: web.Request, handler: Handler) -> web.StreamResponse:
        wanted = "Basic " + b64encode(f"{USER}:{password_file.read_text()}".encode()).decode()
        if request.headers.get("Authorization") == wanted or request.path == "/ping":
            return await handler(request)
        text = "Code: 516. DB::Exception: Authentication failed: password is incorrect. (AUTHENTICATION_FAILED)\n"
        return web.Response(status=403, text=text, headers={"X-ClickHouse-Exception-Code": "516"})

    return look


async def serve(data: Path, pem: Path, port: int, password_file: Path) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(pem)
    endpoint = Endpoint(data)
    await endpoint.open()
    application = endpoint.application()
    application.middlewares.append(locked(password_file))
    runner = web.AppRunner(application, access_log=None, auto_decompress=False)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port, ssl_context=context).start()
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    await asyncio.Event().wait()


if __name__ == "__main__":
    data, pem, port, password_file = sys.argv[1:]
    asyncio.run(serve(Path(data), Path(pem), int(port), Path(password_file)))
