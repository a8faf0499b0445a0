"""The server of the explorer: in a thread of its own, on 127.0.0.1 alone."""

import asyncio
import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from typing import Any

from bokeh.document import Document
from bokeh.server.server import BaseServer
from tornado.httpserver import HTTPServer
from tornado.ioloop import IOLoop

from ._gate import Gate

ADDRESS = "127.0.0.1"
#: Bytes of one message of a page: the images that are uploaded together, in base64.
_MESSAGE = 64 * 2**20
_BODY = 2**16  # of a request, of which none has one
_PATIENCE = 5.0  # seconds that the end may take


@contextlib.contextmanager
def serving(make: Callable[[Document], None], port: int) -> Iterator[tuple[str, str]]:
    """While inside, a page is served that `make` fills: its address, without and with the token.

    The main thread stays free, so that Ctrl-C finds it and not the middle of an answer.
    **Raises:** OSError if the port cannot be had.
    """
    try:
        listening = socket.create_server((ADDRESS, port), backlog=128)
    except (OSError, OverflowError) as error:
        raise OSError(
            f"`port`: {port} cannot be listened on ({error}); --port 0 picks a free one."
        ) from error
    listening.setblocking(False)
    number = listening.getsockname()[1]
    begun: Future[tuple[IOLoop, str]] = Future()
    arguments = (make, [listening], number, begun)
    thread = threading.Thread(target=_run, args=arguments, name="hopfax-explore", daemon=True)
    thread.start()
    loop, token = begun.result()
    address = f"http://{ADDRESS}:{number}/"
    try:
        yield address, f"{address}?token={token}"
    finally:
        loop.add_callback(loop.stop)
        thread.join(_PATIENCE)


def _run(make: Any, sockets: Any, port: int, begun: "Future[tuple[IOLoop, str]]") -> None:
    """The thread: a loop, and the server on it until the loop is stopped."""
    asyncio.set_event_loop(asyncio.new_event_loop())
    loop = IOLoop.current()
    try:
        gate = Gate({"/": make}, port, websocket_max_message_size_bytes=_MESSAGE)
        http = HTTPServer(gate, max_body_size=_BODY)
        http.add_sockets(sockets)
        server = BaseServer(loop, gate, http)
        server.start()
    except BaseException as error:
        begun.set_exception(error)
        return
    begun.set_result((loop, gate.token))
    loop.start()
    server.stop(wait=False)
    loop.run_sync(http.close_all_connections)
    tasks = asyncio.all_tasks(loop.asyncio_loop)  # type: ignore[attr-defined]
    for task in tasks:
        task.cancel()

    async def ended() -> None:
        await asyncio.gather(*tasks, return_exceptions=True)

    loop.run_sync(ended)
    loop.close()
