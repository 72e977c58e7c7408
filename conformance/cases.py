"""Runs cases: the public methods of classes, in the order in which they stand there.

A case's name is its title, what it returns is shown beside it. It may be a coroutine. `Skip` says that it
can't be tried here, and why. Every line begins with its outcome: `run` counts these.
"""

from __future__ import annotations

import asyncio
import inspect
import os
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass

CASE_SECONDS = 60.0
# From here on the public network takes nothing but credits (`spec: payments.md §5`).
ONLY_CREDITS_SINCE = 1_798_761_600


@dataclass
class Said:
    """What a command said."""

    code: int
    output: str
    errors: str

    @property
    def all(self) -> str:
        return f"{self.output}\n{self.errors}".strip()

    @property
    def last(self) -> str:
        """The last line: what went wrong, after a traceback."""
        return self.all.splitlines()[-1] if self.all else ""


class Skip(Exception):
    """Why this case can't be tried here."""


def equal(actual: object, expected: object) -> None:
    if actual != expected:
        raise AssertionError(f"{shorten(actual)} is not {shorten(expected)}")


def holds(condition: object, otherwise: str) -> None:
    if not condition:
        raise AssertionError(otherwise)


def contains(text: str, *pieces: str) -> None:
    for piece in pieces:
        if piece not in text:
            raise AssertionError(f"{piece!r} is not in {shorten(text, 600)}")


def shorten(value: object, length: int = 200) -> str:
    text = value if isinstance(value, str) else repr(value)
    return text if len(text) <= length else text[: length - 3] + "..."


def takes_tokens() -> bool:
    """Whether programs and files may still be paid by holding tokens."""
    return time.time() < ONLY_CREDITS_SINCE


def funded_key() -> str | None:
    """The key of an account that the node's genesis gave ALEPH and credits, hexadecimal."""
    return os.environ.get("CONFORMANCE_KEY")


def run(groups: list[object], loop: asyncio.AbstractEventLoop | None = None) -> int:
    """Runs all cases of these objects; the code to end with. Coroutines run on `loop`."""
    wanted = [word.lower() for word in sys.argv[2:] if not word.startswith("-")]
    failed = 0
    for group in groups:
        prefix = type(group).__name__
        for name in vars(type(group)):
            title = f"{prefix.lower()}: {name.replace('_', ' ')}"
            if name.startswith("_") or (wanted and not any(word in title for word in wanted)):
                continue
            begun = time.monotonic()
            try:
                remark = outcome(getattr(group, name), loop)
            except Skip as reason:
                print(f"skipped {title:58} {one_line(reason)}", flush=True)
            except Exception as error:  # a case may fail in any way; the suite goes on
                failed += 1
                print(f"FAILED  {title}: {type(error).__name__}: {shorten(one_line(error), 700)}", flush=True)
                if "-v" in sys.argv:
                    traceback.print_exc()
            else:
                milliseconds = (time.monotonic() - begun) * 1000
                remark = shorten(one_line(remark or ""), 70)
                print(f"ok      {title:58} {milliseconds:6.0f} ms  {remark}", flush=True)
    return 0 if failed == 0 else 1


def outcome(case: Callable[[], object], loop: asyncio.AbstractEventLoop | None) -> object:
    result = case()
    if inspect.isawaitable(result):
        return loop.run_until_complete(asyncio.wait_for(result, CASE_SECONDS))
    return result


def one_line(text: object) -> str:
    """Lines of output begin with outcomes, which are counted: what is shown must not begin one."""
    return " ".join(str(text).split())
