"""Runs commands of the program, each in a process of its own, and keeps what they say."""

from __future__ import annotations

import gc
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from pathlib import Path

import eth_account
import typer.main
from aleph.sdk.conf import settings
from aleph_client.__main__ import app

import cases
from cases import Skip, shorten

COMMAND_SECONDS = 60.0
# what `app()` makes anew each time
PROGRAM = typer.main.get_command(app)
gc.freeze()


class Said(cases.Said):
    def json(self) -> dict:
        """The document in what was said, whatever stands before it."""
        start = min((place for place in (self.output.find("{"), self.output.find("[")) if place >= 0), default=-1)
        if start < 0:
            raise AssertionError(f"there is no JSON in {shorten(self.all, 600)}")
        return json.JSONDecoder().raw_decode(self.output[start:])[0]


class Running:
    """A command that goes on."""

    def __init__(self, arguments: tuple[str, ...], given: str, environment: dict[str, str]) -> None:
        self.arguments = arguments
        self.files = [tempfile.TemporaryFile() for _ in range(3)]
        self.files[0].write(given.encode())
        self.files[0].seek(0)
        sys.stdout.flush()
        sys.stderr.flush()
        self.pid = os.fork()
        if self.pid == 0:
            self._become(environment)

    def _become(self, environment: dict[str, str]) -> None:
        code = 1
        try:
            for number, file in enumerate(self.files):
                os.dup2(file.fileno(), number)
            sys.stdin = open(0, encoding="utf-8")
            sys.stdout = open(1, "w", encoding="utf-8")
            sys.stderr = open(2, "w", encoding="utf-8")
            os.environ.update(environment)
            if "IPFS_GATEWAY" in environment:
                # the program has no setting for it: the one thing that is changed in it, for one case
                type(settings).IPFS_GATEWAY = environment["IPFS_GATEWAY"]
            sys.argv = ["aleph", *self.arguments]
            PROGRAM()
            code = 0
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else int(end.code is not None)
        except BaseException:
            traceback.print_exc()
        finally:
            for stream in (sys.stdout, sys.stderr):
                stream.flush()
            os._exit(code)

    def output(self) -> str:
        return self._read(1)

    def _read(self, number: int) -> str:
        # the process has the same place in the file as we have: read without moving it
        file = self.files[number]
        size = os.fstat(file.fileno()).st_size
        return os.pread(file.fileno(), size, 0).decode(errors="replace")

    def wait(self) -> Said:
        deadline = time.monotonic() + COMMAND_SECONDS
        pause = 0.002
        while time.monotonic() < deadline:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                said = Said(os.waitstatus_to_exitcode(status), self._read(1), self._read(2))
                for file in self.files:
                    file.close()
                return said
            time.sleep(pause)
            pause = min(pause * 1.5, 0.05)
        self.stop()
        raise AssertionError(f"`aleph {' '.join(self.arguments)}` did not end")

    def stop(self) -> None:
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)


class World:
    """What the cases share."""

    def __init__(self, home: Path, key: str, created: subprocess.CompletedProcess) -> None:
        self.home = home
        self.key = key
        self.created = Said(created.returncode, created.stdout, created.stderr)
        self.is_funded = cases.funded_key() is not None
        self.tag = f"conformance-{time.time_ns()}"
        self.post = ""
        self.file = ""
        self.address = eth_account.Account.from_key(key).address

    def needs_money(self) -> None:
        if not self.is_funded:
            raise Skip("needs an account with ALEPH and credits")

    def write(self, name: str, content: str | bytes) -> str:
        path = self.home / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return str(path)

    @staticmethod
    def start(*arguments: str, given: str = "", **environment: str) -> Running:
        return Running(arguments, given, environment)

    @classmethod
    def aleph(cls, *arguments: str, code: int = 0, given: str = "", **environment: str) -> Said:
        """Runs a command, which must end with this code, and not in a traceback."""
        said = cls.start(*arguments, given=given, **environment).wait()
        if said.code != code:
            line = " ".join(shorten(argument, 40) for argument in arguments)
            raise AssertionError(f"`aleph {line}` ended with {said.code}: {said.all[-600:]}")
        return said


class Group:
    def __init__(self, world: World) -> None:
        self.world = world
        self.aleph = world.aleph
