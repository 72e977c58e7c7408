"""A small ASGI 3 server for one application on one loopback port.

    python3 -c 'import aleph_asgi; aleph_asgi.main()' main:app

HTTP/1.1 with keep-alive, streaming both ways, and lifespan. It trusts its client (the guest's
relay) to be fast, and the application to be anything: what the application does wrong becomes a
500 and a traceback on standard error, never the end of the server.

Only what `asyncio` brings along is imported: a cold start pays for each module.
"""

import asyncio
import os
import signal
import sys

MAX_HEAD = 64 * 1024
HIGH_WATER = 256 * 1024
LIFESPAN_SECONDS = 30
REASONS = {
    100: b"Continue", 101: b"Switching Protocols", 200: b"OK", 201: b"Created", 202: b"Accepted",
    204: b"No Content", 206: b"Partial Content", 301: b"Moved Permanently", 302: b"Found",
    303: b"See Other", 304: b"Not Modified", 307: b"Temporary Redirect", 308: b"Permanent Redirect",
    400: b"Bad Request", 401: b"Unauthorized", 403: b"Forbidden", 404: b"Not Found",
    405: b"Method Not Allowed", 409: b"Conflict", 410: b"Gone", 411: b"Length Required",
    413: b"Content Too Large", 415: b"Unsupported Media Type", 422: b"Unprocessable Content",
    429: b"Too Many Requests", 431: b"Request Header Fields Too Large",
    500: b"Internal Server Error", 501: b"Not Implemented", 502: b"Bad Gateway",
    503: b"Service Unavailable", 504: b"Gateway Timeout",
}


def print_error(what):
    import traceback

    print(what, file=sys.stderr)
    traceback.print_exc()
    sys.stderr.flush()


def unquote(raw):
    if b"%" not in raw:
        return raw.decode("utf-8", "replace")
    parts = raw.split(b"%")
    out = [parts[0]]
    for part in parts[1:]:
        try:
            out.append(bytes((int(part[:2], 16),)) + part[2:])
        except ValueError:
            out.append(b"%" + part)
    return b"".join(out).decode("utf-8", "replace")


class BadRequest(Exception):
    def __init__(self, status, reason):
        super().__init__(reason)
        self.status = status


class Request:
    """One request and its answer: the two callables that an ASGI application is given."""

    def __init__(self, connection, scope, http_1_0, keep_alive, expect):
        self.connection = connection
        self.scope = scope
        self.http_1_0 = http_1_0
        self.keep_alive = keep_alive
        self.expect = expect
        self.body = bytearray()
        self.body_done = False
        self.told_done = False
        self.disconnected = False
        self.changed = asyncio.Event()
        self.start = None
        self.head_sent = False
        self.chunked = False
        self.left = None
        self.done = False

    async def receive(self):
        if self.expect and not self.head_sent:
            self.expect = False
            self.connection.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        while not (self.body or self.body_done or self.disconnected):
            self.changed.clear()
            await self.changed.wait()
        if self.body or (self.body_done and not self.told_done):
            body = bytes(self.body)
            self.body.clear()
            self.connection.flow()
            self.told_done = self.body_done
            return {"type": "http.request", "body": body, "more_body": not self.body_done}
        while not (self.disconnected or self.done):
            self.changed.clear()
            await self.changed.wait()
        return {"type": "http.disconnect"}

    async def send(self, message):
        kind = message["type"]
        if kind == "http.response.start":
            if self.start is not None:
                raise RuntimeError("http.response.start was sent twice")
            self.start = message
            return
        if kind != "http.response.body":
            raise RuntimeError(f"message {kind!r} has no place in an HTTP answer")
        if self.start is None:
            raise RuntimeError("http.response.body was sent before http.response.start")
        if self.done:
            if message.get("body"):
                raise RuntimeError("http.response.body was sent after the last one")
            return
        body = message.get("body", b"") or b""
        more = message.get("more_body", False)
        out = bytearray()
        if not self.head_sent:
            self.head(out, body, more)
        self.part(out, body, more)
        if self.disconnected:
            self.done = self.done or not more
            return
        self.connection.transport.write(bytes(out))
        if not more:
            if self.left:
                # fewer bytes than announced: the client must see that something is missing
                self.keep_alive = False
            self.finish()
        elif self.connection.write_paused:
            await self.connection.drained()

    def head(self, out, body, more):
        status = int(self.start["status"])
        out += b"HTTP/1.1 %d %s\r\n" % (status, REASONS.get(status, b"Status"))
        length = None
        has_date = False
        for name, value in self.start.get("headers", ()):
            name, value = bytes(name), bytes(value)
            lower = name.lower()
            if any(byte in b"\r\n\0" for byte in name + value):
                raise RuntimeError(f"header {name!r} contains a line end")
            if lower == b"content-length":
                length = int(value)
            elif lower == b"connection":
                if b"close" in value.lower():
                    self.keep_alive = False
                continue
            elif lower == b"transfer-encoding":
                continue
            out += name + b": " + value + b"\r\n"
        self.no_body = self.scope["method"] == "HEAD" or status < 200 or status in (204, 304)
        if length is None and not self.no_body:
            if not more:
                length = len(body)
                out += b"content-length: %d\r\n" % length
            elif self.http_1_0:
                self.keep_alive = False
            else:
                self.chunked = True
                out += b"transfer-encoding: chunked\r\n"
        self.left = None if self.no_body else length
        if not self.keep_alive:
            out += b"connection: close\r\n"
        elif self.http_1_0:
            out += b"connection: keep-alive\r\n"
        out += b"\r\n"
        self.head_sent = True

    def part(self, out, body, more):
        if self.no_body:
            return
        if self.chunked:
            if body:
                out += b"%x\r\n" % len(body) + body + b"\r\n"
            if not more:
                out += b"0\r\n\r\n"
            return
        if self.left is not None:
            if len(body) > self.left:
                raise RuntimeError("the body is longer than its content-length")
            self.left -= len(body)
        out += body

    def finish(self):
        self.done = True
        self.changed.set()

    async def run(self, app):
        try:
            await app(self.scope, self.receive, self.send)
            if not self.done and not self.disconnected:
                raise RuntimeError("the application returned without a complete answer")
        except asyncio.CancelledError:
            self.keep_alive = False
        except BaseException as error:
            if isinstance(error, (SystemExit, KeyboardInterrupt)):
                raise
            print_error(f"error in the application, {self.scope['method']} {self.scope['path']}")
            self.keep_alive = False
            if not self.head_sent and not self.disconnected:
                self.connection.plain(500, "Internal Server Error")
        self.finish()
        self.connection.finished(self)


class Connection(asyncio.Protocol):
    """Cuts a connection into requests; one is answered after the other."""

    def __init__(self, app, loop, connections, state):
        self.app = app
        self.loop = loop
        self.connections = connections
        self.state = state
        self.transport = None
        self.buffer = bytearray()
        self.request = None
        self.task = None
        self.left = 0            # bytes of the body still to come; -1: chunked
        self.chunk = None        # bytes of the chunk still to come
        self.read_paused = False
        self.write_paused = False
        self.can_write = None
        self.broken = False

    def connection_made(self, transport):
        self.transport = transport
        self.connections.add(self)

    def connection_lost(self, _error):
        self.connections.discard(self)
        if self.request is not None:
            self.request.disconnected = True
            self.request.changed.set()
        self.resume_writing()

    def eof_received(self):
        # a client may have finished sending and still wait for its answer
        if self.request is None:
            return False
        return True

    def pause_writing(self):
        self.write_paused = True

    def resume_writing(self):
        self.write_paused = False
        if self.can_write is not None and not self.can_write.done():
            self.can_write.set_result(None)

    async def drained(self):
        if self.write_paused:
            self.can_write = self.loop.create_future()
            await self.can_write

    def flow(self):
        held = len(self.buffer) + (len(self.request.body) if self.request else 0)
        if held > HIGH_WATER and not self.read_paused:
            self.read_paused = True
            self.transport.pause_reading()
        elif held <= HIGH_WATER and self.read_paused:
            self.read_paused = False
            self.transport.resume_reading()

    def data_received(self, data):
        self.buffer += data
        self.advance()

    def advance(self):
        try:
            while not self.broken:
                if self.request is None:
                    if not self.read_head():
                        break
                elif not self.request.body_done:
                    if not self.read_body():
                        break
                else:
                    break
        except BadRequest as error:
            self.broken = True
            if self.request is None:
                self.plain(error.status, str(error))
                self.transport.close()
            else:
                self.request.disconnected = True
                self.request.changed.set()
                self.transport.abort()
            return
        self.flow()

    def read_head(self):
        end = self.buffer.find(b"\r\n\r\n")
        if end < 0:
            if len(self.buffer) > MAX_HEAD:
                raise BadRequest(431, "the head of the request is too long")
            return False
        lines = bytes(self.buffer[:end]).lstrip(b"\r\n").split(b"\r\n")
        del self.buffer[: end + 4]
        words = lines[0].split(b" ")
        if len(words) != 3 or words[2] not in (b"HTTP/1.1", b"HTTP/1.0"):
            raise BadRequest(400, "not an HTTP/1.1 request")
        method, target, version = words
        headers = []
        length = None
        chunked = False
        expect = False
        connection = b""
        for line in lines[1:]:
            name, colon, value = line.partition(b":")
            if not colon or not name or name != name.strip():
                raise BadRequest(400, "a header has no name")
            name, value = name.lower(), value.strip(b" \t")
            headers.append((name, value))
            if name == b"content-length":
                if not value.isdigit() or length not in (None, int(value)):
                    raise BadRequest(400, "content-length is not a number")
                length = int(value)
            elif name == b"transfer-encoding":
                if value.lower() != b"chunked":
                    raise BadRequest(501, "transfer-encoding is not chunked")
                chunked = True
            elif name == b"connection":
                connection = value.lower()
            elif name == b"expect":
                expect = value.lower() == b"100-continue"
        if chunked and length is not None:
            raise BadRequest(400, "both content-length and transfer-encoding")
        http_1_0 = version == b"HTTP/1.0"
        keep_alive = b"keep-alive" in connection if http_1_0 else b"close" not in connection
        raw_path, _, query = target.partition(b"?")
        if raw_path.startswith(b"http://"):
            raw_path = b"/" + raw_path[7:].partition(b"/")[2]
        scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": version[5:].decode(),
            "method": method.decode("ascii", "replace"),
            "scheme": "http",
            "path": unquote(raw_path),
            "raw_path": raw_path,
            "query_string": query,
            "root_path": "",
            "headers": headers,
            "client": self.transport.get_extra_info("peername"),
            "server": self.transport.get_extra_info("sockname"),
            "state": self.state.copy(),
        }
        self.request = Request(self, scope, http_1_0, keep_alive, expect)
        self.left = -1 if chunked else (length or 0)
        self.chunk = None
        self.request.body_done = self.left == 0
        self.task = self.loop.create_task(self.request.run(self.app))
        return True

    def read_body(self):
        if self.left >= 0:
            if not self.buffer:
                return False
            part = self.buffer[: self.left]
            del self.buffer[: len(part)]
            self.left -= len(part)
            self.got(part, self.left == 0)
            return True
        if self.chunk is None:
            end = self.buffer.find(b"\r\n")
            if end < 0:
                if len(self.buffer) > 1024:
                    raise BadRequest(400, "a chunk has no length")
                return False
            size = bytes(self.buffer[:end]).partition(b";")[0].strip()
            del self.buffer[: end + 2]
            try:
                self.chunk = int(size, 16)
            except ValueError:
                raise BadRequest(400, "a chunk has no length") from None
            if self.chunk == 0:
                self.chunk = -1
            return True
        if self.chunk == -1:
            # trailers, up to an empty line
            end = self.buffer.find(b"\r\n")
            if end < 0:
                if len(self.buffer) > MAX_HEAD:
                    raise BadRequest(400, "the trailers are too long")
                return False
            del self.buffer[: end + 2]
            if end == 0:
                self.got(b"", True)
            return True
        if self.chunk == 0:
            if len(self.buffer) < 2:
                return False
            if self.buffer[:2] != b"\r\n":
                raise BadRequest(400, "a chunk has no end")
            del self.buffer[:2]
            self.chunk = None
            return True
        if not self.buffer:
            return False
        part = self.buffer[: self.chunk]
        del self.buffer[: len(part)]
        self.chunk -= len(part)
        self.got(part, False)
        return True

    def got(self, part, done):
        request = self.request
        if not request.done:
            request.body += part
        request.body_done = done
        request.changed.set()

    def finished(self, request):
        if self.transport.is_closing():
            return
        if not request.keep_alive or not request.body_done:
            self.transport.close()
            return
        self.request = None
        self.task = None
        self.advance()

    def plain(self, status, text):
        body = text.encode()
        self.transport.write(
            b"HTTP/1.1 %d %s\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-length: %d\r\nconnection: close\r\n\r\n"
            % (status, REASONS.get(status, b"Status"), len(body)) + body
        )


class Lifespan:
    """The application's start and end. An application that knows no lifespan raises: that's fine."""

    def __init__(self, app, loop):
        self.app = app
        self.loop = loop
        self.state = {}
        self.inbox = asyncio.Queue()
        self.told = {"startup": loop.create_future(), "shutdown": loop.create_future()}
        self.task = None

    async def run(self):
        scope = {"type": "lifespan", "asgi": {"version": "3.0", "spec_version": "2.0"}, "state": self.state}
        try:
            await self.app(scope, self.inbox.get, self.send)
        except Exception:
            if self.told["startup"].done() and self.told["startup"].result() is None:
                print_error("error in the application's lifespan")
        finally:
            for future in self.told.values():
                if not future.done():
                    future.set_result(None)

    async def send(self, message):
        _, which, outcome = message["type"].split(".")
        future = self.told[which]
        if not future.done():
            future.set_result(None if outcome == "complete" else message.get("message") or "no reason given")

    async def step(self, which, seconds):
        if self.task is None:
            self.task = self.loop.create_task(self.run())
        self.inbox.put_nowait({"type": f"lifespan.{which}"})
        done, _ = await asyncio.wait([self.told[which]], timeout=seconds)
        if not done:
            return f"no answer within {seconds} seconds"
        return self.told[which].result()


def load(entrypoint):
    from importlib import import_module

    module, _, name = entrypoint.partition(":")
    app = import_module(module)
    for part in name.split("."):
        app = getattr(app, part)
    if getattr(app, "__call__", None) is None:
        raise TypeError(f"{entrypoint} is not callable")
    return app


def as_asgi3(app):
    """Accepts the older form too: a callable that takes the scope and gives the rest."""
    call = app if hasattr(app, "__code__") else getattr(app, "__call__", None)
    code = getattr(call, "__code__", None)
    if code is not None:
        bound = 1 if hasattr(call, "__self__") else 0
        if code.co_argcount - bound == 1 and not code.co_flags & 0x04:
            async def asgi3(scope, receive, send):
                await app(scope)(receive, send)

            return asgi3
    return app


async def serve(app, port):
    loop = asyncio.get_running_loop()
    stop = loop.create_future()

    def end():
        if not stop.done():
            stop.set_result(None)

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, end)
    lifespan = Lifespan(app, loop)
    refused = await lifespan.step("startup", LIFESPAN_SECONDS)
    if refused is not None:
        print(f"the application's start failed: {refused}", file=sys.stderr)
        return 3
    connections = set()
    server = await loop.create_server(
        lambda: Connection(app, loop, connections, lifespan.state), "127.0.0.1", port, backlog=1024
    )
    import gc

    gc.collect()
    gc.freeze()
    await stop
    server.close()
    running = [connection.task for connection in connections if connection.task is not None]
    if running:
        await asyncio.wait(running, timeout=5)
    if not lifespan.task.done():
        refused = await lifespan.step("shutdown", 10)
        if refused is not None:
            print(f"the application's end failed: {refused}", file=sys.stderr)
    return 0


def new_randomness(_number, _frame):
    """This machine is a clone: no generator may go on like its twins."""
    module = sys.modules.get("random")
    if module is not None:
        module.seed()
    module = sys.modules.get("_ssl")
    if module is not None:
        module.RAND_add(os.urandom(48), 48.0)


def main():
    sys.path.insert(0, os.getcwd())
    signal.signal(signal.SIGUSR1, new_randomness)
    port = int(os.environ.get("PORT", "8080"))
    try:
        app = as_asgi3(load(sys.argv[1]))
    except Exception:
        print_error(f"the application {sys.argv[1]!r} can't be loaded")
        sys.exit(2)
    sys.exit(asyncio.run(serve(app, port)))
