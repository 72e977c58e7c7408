"""A guestbook: an ASGI application that keeps what its visitors write on the network.

    GET  /              the page
    POST /              a visitor's entry (a form); answers with a redirect to the page
    GET  /entries.json  the entries, for programs
    GET  /health        whether the guestbook is set up; which process answers, and how many requests it has answered

It has no database and no disk: entries are POST messages of the guestbook's own account, so they
outlive the micro-VM and are the same wherever the program runs. Variables: GUESTBOOK_KEY (the
account's secret key, in hexadecimal), GUESTBOOK_TITLE; ALEPH_API_URL comes with the micro-VM.
"""

from __future__ import annotations

import asyncio
import html
import itertools
import json
import os
import string
import urllib.parse
import uuid
from dataclasses import asdict
from datetime import datetime, timezone
from pathlib import Path

from network import Entry, Guestbook, NetworkError
from wallet import Account

MAX_NAME = 60
MAX_TEXT = 500
MAX_BODY = 8 * 1024
# by these a visitor can tell whether the process was started again
PROCESS = uuid.uuid4().hex
REQUESTS = itertools.count(1)
PAGE = string.Template(Path(__file__).with_name("page.html").read_text(encoding="utf-8"))


class SetUpError(Exception):
    """A variable that is missing or wrong; the text says which."""


def guestbook() -> Guestbook:
    """The guestbook that the environment describes; made once."""
    if not hasattr(guestbook, "made"):
        key, url = os.environ.get("GUESTBOOK_KEY"), os.environ.get("ALEPH_API_URL")
        if not key:
            raise SetUpError("no key: deploy with --env GUESTBOOK_KEY=<64 hexadecimal digits>")
        if not url:
            raise SetUpError("ALEPH_API_URL is not set: where is a core node's API?")
        try:
            guestbook.made = Guestbook(url, Account.from_hex(key))
        except ValueError as error:
            raise SetUpError(f"GUESTBOOK_KEY: {error}") from error
    return guestbook.made


async def app(scope, receive, send) -> None:
    """The ASGI entry point."""
    if scope["type"] == "lifespan":
        return await lifespan(receive, send)
    if scope["type"] != "http":
        return
    number = next(REQUESTS)
    method, path = scope["method"], "/" + scope.get("path", "/").strip("/")
    try:
        answer = await route(method, path, receive, number)
    except SetUpError as error:
        answer = page(503, problem=f"This guestbook is not set up: {error}.")
    except NetworkError as error:
        answer = page(502, problem=f"The network can't be reached right now: {error}")
    status, headers, body = answer
    headers = [(name.encode(), value.encode()) for name, value in headers]
    headers.append((b"content-length", str(len(body)).encode()))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if method == "HEAD" else body})


async def lifespan(receive, send) -> None:
    while True:
        event = await receive()
        await send({"type": event["type"] + ".complete"})
        if event["type"] == "lifespan.shutdown":
            return


async def route(method: str, path: str, receive, number: int):
    if path == "/health":
        return as_json(
            200, {"ready": True, "address": guestbook().account.address, "process": PROCESS, "requests": number}
        )
    if path == "/entries.json" and method in ("GET", "HEAD"):
        entries = await asyncio.to_thread(guestbook().entries)
        return as_json(200, [asdict(entry) for entry in entries])
    if path == "/" and method in ("GET", "HEAD"):
        entries = await asyncio.to_thread(guestbook().entries)
        return page(200, entries)
    if path == "/" and method == "POST":
        return await visitor_signs(receive)
    return page(404 if method in ("GET", "HEAD") else 405, problem="There is nothing here.")


async def visitor_signs(receive):
    fields = urllib.parse.parse_qs((await read_body(receive)).decode(errors="replace"), max_num_fields=10)
    name, text = (fields.get(field, [""])[0].strip() for field in ("name", "text"))
    if not text:
        return page(400, await asyncio.to_thread(guestbook().entries), "An entry wants some text.", name, text)
    if len(name) > MAX_NAME or len(text) > MAX_TEXT:
        problem = f"That is too long: a name has at most {MAX_NAME} letters, an entry {MAX_TEXT}."
        return page(400, await asyncio.to_thread(guestbook().entries), problem, name, text)
    entry = await asyncio.to_thread(guestbook().sign, name or "a visitor", text)
    # relative to wherever the page is served from; a reload won't post again
    return 303, [("location", f"?signed={entry.item_hash}")], b""


async def read_body(receive) -> bytes:
    body = b""
    while True:
        event = await receive()
        if event["type"] != "http.request":
            return body
        body += event.get("body", b"")
        if len(body) > MAX_BODY or not event.get("more_body"):
            return body[:MAX_BODY]


def as_json(status: int, value: object):
    return status, [("content-type", "application/json")], json.dumps(value).encode()


def page(status: int, entries: list[Entry] = (), problem: str = "", name: str = "", text: str = ""):
    """The page; everything that a visitor wrote is escaped."""
    address = ""
    if hasattr(guestbook, "made"):
        address = guestbook.made.account.address
    body = PAGE.substitute(
        title=html.escape(os.environ.get("GUESTBOOK_TITLE", "Guestbook")),
        problem=f'<p class="problem" role="alert">{html.escape(problem)}</p>' if problem else "",
        name=html.escape(name, quote=True),
        text=html.escape(text),
        max_name=MAX_NAME,
        max_text=MAX_TEXT,
        count=count(len(entries)),
        entries="\n".join(map(article, entries)),
        address=html.escape(address),
    )
    headers = [
        ("content-type", "text/html; charset=utf-8"),
        ("cache-control", "no-store"),
        ("content-security-policy", "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'"),
    ]
    return status, headers, body.encode()


def count(entries: int) -> str:
    if not entries:
        return "Nobody has signed yet. Be the first."
    return "One entry" if entries == 1 else f"{entries} entries"


def article(entry: Entry) -> str:
    when = datetime.fromtimestamp(entry.time, timezone.utc)
    return (
        f'<article><p>{html.escape(entry.text)}</p><footer><b>{html.escape(entry.name)}</b>'
        f' <time datetime="{when.isoformat()}">{when:%-d %B %Y, %H:%M} UTC</time>'
        f' <code title="{html.escape(entry.item_hash)}">{html.escape(entry.item_hash[:10])}…</code></footer></article>'
    )
