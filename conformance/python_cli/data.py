"""Messages, aggregates, authorizations, files and domains."""

from __future__ import annotations

import json
import os
import stat
import time
from pathlib import Path

from cases import Skip, contains, equal, holds, shorten
from command import Group, World

STRANGER = "0x" + "12" * 20


class Message(Group):
    def post(self) -> str:
        path = self.world.write("post.json", json.dumps({"text": "hello", "umlaut": "ü", "tags": [self.world.tag]}))
        message = self.aleph(
            "message", "post", "--path", path, "--type", self.world.tag, "--channel", "CLI"
        ).json()
        equal((message["sender"], message["content"]["content"]["umlaut"]), (self.world.address, "ü"))
        self.world.post = message["item_hash"]
        return self.world.post

    def post_from_standard_input(self) -> str:
        message = self.aleph(
            "message", "post", "--type", f"{self.world.tag}-b", "--ref", self.world.post, given='{"n": 1}\n'
        ).json()
        equal(message["content"]["ref"], self.world.post)
        return message["item_hash"]

    def post_what_is_no_json(self) -> str:
        said = self.aleph("message", "post", given="hello\n", code=2)
        contains(said.all, "Not valid JSON")
        return said.all

    def post_a_long_one(self) -> str:
        path = self.world.write("long.json", json.dumps({"text": "x" * 70_000}))
        message = self.aleph("message", "post", "--path", path, "--type", f"{self.world.tag}-long").json()
        equal(message["item_type"], "storage")
        return message["item_hash"]

    def get(self) -> str:
        said = self.aleph("message", "get", self.world.post)
        contains(said.all, "Message Status", "processed")
        equal(said.json()["content"]["content"]["umlaut"], "ü")
        return "processed"

    def get_a_missing_one(self) -> str:
        said = self.aleph("message", "get", "0" * 64)
        contains(said.all, "Message does not exist")
        return said.all

    def get_a_pending_one(self) -> str:
        """The program can't show a message that waits, by the reference neither: it looks for `message`."""
        amend = self.aleph(
            "message", "post", "--type", "amend", "--ref", "1" * 64, given='{"n": 1}\n'
        ).json()
        said = self.world.start("message", "get", amend["item_hash"]).wait()
        equal(said.code, 1)
        contains(said.all, "KeyError: 'message'")
        return "KeyError in the program, as for the reference's answer"

    def find_by_every_filter(self) -> str:
        tag, post, address = self.world.tag, self.world.post, self.world.address
        now = time.time()
        filters = {
            "--hashes": post, "--content-types": tag, "--tags": tag,
            f"--addresses {address} --channels": "CLI",
            f"--content-types {tag} --message-types": "POST,AGGREGATE",
            f"--content-types {tag} --chains": "ETH",
            f"--content-types {tag} --start-date": str(now - 600),
            f"--content-types {tag} --end-date": str(now + 600),
            f"--content-types {tag} --pagination": "1",
            f"--content-types {tag} --page": "1",
        }
        for names, value in filters.items():
            answer = self.aleph("message", "find", *names.split(), value).json()
            found = [message["item_hash"] for message in answer["messages"]]
            holds(found == [post], f"{names} {shorten(value)} found {len(found)}")
        answer = self.aleph("message", "find", "--refs", post).json()
        equal([message["content"]["type"] for message in answer["messages"]], [f"{tag}-b"])
        return f"{len(filters) + 1} filters"

    def amend(self) -> str:
        editor = self.world.write("editor.py", EDITOR)
        os.chmod(editor, stat.S_IRWXU)
        self.aleph("message", "amend", self.world.post, EDITOR=editor)
        answer = self.aleph("message", "find", "--refs", self.world.post, "--content-types", "amend").json()
        equal([message["content"]["content"]["text"] for message in answer["messages"]], ["amended"])
        return "with an editor"

    def amend_a_missing_one(self) -> str:
        said = self.aleph("message", "amend", "0" * 64)
        contains(said.all, "Message does not exist")
        return said.all

    def watch(self) -> str:
        watching = self.world.start("message", "watch", self.world.post)
        try:
            time.sleep(1.5)  # it does not say when it is connected
            message = self.aleph(
                "message", "post", "--type", self.world.tag, "--ref", self.world.post, given='{"n": 2}\n'
            ).json()
            deadline = time.monotonic() + 20
            while message["item_hash"] not in watching.output() and time.monotonic() < deadline:
                time.sleep(0.05)
            contains(watching.output(), message["item_hash"])
        finally:
            watching.stop()
        return message["item_hash"]

    def sign(self) -> str:
        unsigned = {
            "chain": "ETH", "sender": self.world.address, "type": "POST", "channel": "CLI", "item_type": "inline",
            "item_hash": "1" * 64, "time": 1.0,
        }
        signed = self.aleph("message", "sign", "--message", json.dumps(unsigned)).json()
        holds(signed["signature"].startswith("0x"), "there is no signature")
        return f"{signed['signature'][:20]}…"

    def forget(self) -> str:
        self.aleph("message", "forget", self.world.post, "--reason", "conformance", "--channel", "CLI")
        said = self.aleph("message", "get", self.world.post)
        contains(said.all, "Message has been forgotten")
        return said.all

    def forget_what_is_no_hash(self) -> str:
        said = self.world.start("message", "forget", "nonsense").wait()
        equal(said.code, 1)
        contains(said.last, "nonsense")
        return said.last


class Aggregate(Group):
    def post(self) -> str:
        said = self.aleph("aggregate", "post", "cli", '{"a": 1, "b": {"c": "ü"}}')
        contains(said.all, "Aggregate `cli` has been created/updated")
        return said.all

    def post_inline_and_wait(self) -> str:
        message = self.aleph("aggregate", "post", "cli", '{"d": 4}', "--inline", "--sync", "--print-message").json()
        equal(message["item_type"], "inline")
        return message["item_hash"]

    def post_a_subkey(self) -> str:
        self.aleph("aggregate", "post", "cli", "text", "--subkey", "e", "--inline", "--sync")
        equal(self.aleph("aggregate", "get", "cli", "--subkeys", "e").json(), {"e": "text"})
        return "e"

    def get(self) -> str:
        equal(self.aleph("aggregate", "get", "cli").json(), {"a": 1, "b": {"c": "ü"}, "d": 4, "e": "text"})
        equal(self.aleph("aggregate", "get", "cli", "--address", self.world.address).json()["d"], 4)
        return "4 keys"

    def get_a_missing_one(self) -> str:
        said = self.aleph("aggregate", "get", "no-such-key")
        contains(said.all, "No aggregate found")
        return said.all

    def list(self) -> str:
        contains(self.aleph("aggregate", "list").all, "cli")
        holds("cli" in self.aleph("aggregate", "list", "--json").json(), "it is not listed")
        return "as table and as JSON"

    def list_of_nobody(self) -> str:
        said = self.aleph("aggregate", "list", "--address", "0x" + "00" * 20)
        contains(said.all, "No aggregate data found")
        return "No aggregate data found"

    def forget_a_subkey(self) -> str:
        self.aleph("aggregate", "forget", "cli", "--subkeys", "a,d", "--inline", "--sync")
        content = self.aleph("aggregate", "get", "cli").json()
        equal((content["a"], content["d"], content["e"]), (None, None, "text"))
        return "a, d"

    def forget_all(self) -> str:
        self.aleph("aggregate", "forget", "cli", "--inline", "--sync")
        content = self.aleph("aggregate", "get", "cli").json()
        equal(set(content.values()), {None})
        return "all null"

    def forget_a_missing_one(self) -> str:
        said = self.aleph("aggregate", "forget", "no-such-key", code=1)
        contains(said.all, "Aggregate `no-such-key` not found")
        return "Aggregate `no-such-key` not found"

    def post_what_is_no_json(self) -> str:
        said = self.aleph("aggregate", "post", "cli", "{", code=1)
        contains(said.all, "Invalid JSON")
        return said.all

    def post_for_somebody_else(self) -> str:
        said = self.world.start("aggregate", "post", "cli", "{}", "--address", STRANGER, "--inline", "--sync").wait()
        holds(said.code != 0, "it was accepted")
        contains(said.last, "not authorized", "its owner can allow it")
        return said.last


class Authorizations(Group):
    def none(self) -> str:
        said = self.aleph("authorizations", "list")
        return said.all

    def add(self) -> str:
        self.aleph(
            "authorizations", "add", STRANGER, "--chain", "ETH", "--channels", "CLI", "--message-types",
            "POST,AGGREGATE", "--post-types", "news", "--aggregate-keys", "cli",
        )
        listed = self.aleph("authorizations", "list", "--json").json()
        contains(json.dumps(listed), STRANGER, "news", "cli")
        return f"{len(listed)} authorization"

    def list(self) -> str:
        contains(self.aleph("authorizations", "list").all, STRANGER)
        contains(self.aleph("authorizations", "list", "--delegate", STRANGER).all, STRANGER)
        contains(self.aleph("authorizations", "list", "--address", self.world.address).all, STRANGER)
        return "three ways"

    def revoke(self) -> str:
        self.aleph("authorizations", "revoke", STRANGER)
        holds(STRANGER not in self.aleph("authorizations", "list", "--json").all, "it is still there")
        return "none left"


class File(Group):
    def __init__(self, world: World) -> None:
        super().__init__(world)
        self.content = b"a file of " + world.tag.encode()

    def upload(self) -> str:
        path = self.world.write("file.txt", self.content)
        message = self.aleph("file", "upload", path, "--metadata", "name=file.txt", "--channel", "CLI").json()
        equal(message["content"]["item_type"], "storage")
        self.world.file, self.hash = message["item_hash"], message["content"]["item_hash"]
        return self.hash

    def upload_without_money(self) -> str:
        path = self.world.write("large.bin", os.urandom(30 * 1024 * 1024))
        said = self.aleph(
            "file", "upload", path, "--storage-engine", "storage", "--private-key", "7" * 64, "--chain", "ETH", code=1
        )
        contains(said.all, "Insufficient funds")
        return said.all

    def upload_a_large_one(self) -> str:
        """Above 4 MiB the program takes IPFS, whatever it was told."""
        self.world.needs_money()
        path = self.world.write("large.bin", os.urandom(5 * 1024 * 1024))
        said = self.world.start("file", "upload", path).wait()
        if "status: 403" in said.all or "403" in said.errors:
            raise Skip("this node has no IPFS yet (COMPATIBILITY.md)")
        equal(said.code, 0)
        return said.json()["content"]["item_hash"]

    def upload_a_folder(self) -> str:
        """The program gives folders to the public gateway; here this node stands for it."""
        self.world.needs_money()
        folder = self.world.home / "folder"
        (folder / "sub").mkdir(parents=True)
        (folder / "index.html").write_text(f"<p>{self.world.tag}</p>")
        (folder / "sub/data.bin").write_bytes(os.urandom(400_000))
        said = self.aleph("file", "upload", str(folder), IPFS_GATEWAY=f"{os.environ['ALEPH_API_HOST']}/ipfs/")
        message = said.json()
        contains(self.aleph("message", "get", message["item_hash"]).all, "processed")
        return message["content"]["item_hash"]

    def upload_a_missing_one(self) -> str:
        said = self.aleph("file", "upload", str(self.world.home / "no-such-file"), code=1)
        contains(said.all, "File not found")
        return "File not found"

    def pin(self) -> str:
        """Nobody has the file: it stays pending, and the program says no more than what it sent."""
        message = self.aleph("file", "pin", "QmYULJoNGPDmoRq4WNWTDTUvJGJv1hosox8H6vVd1kCsY8").json()
        equal(message["content"]["item_type"], "ipfs")
        return message["item_hash"]

    def download(self) -> str:
        folder = self.world.home / "downloads"
        self.aleph("file", "download", self.hash, "--output-path", str(folder), "--file-name", "got",
                   "--file-extension", ".txt")
        equal((folder / "got.txt").read_bytes(), self.content)
        return "got.txt"

    def download_a_missing_one(self) -> str:
        folder = self.world.home / "downloads"
        said = self.world.start("file", "download", "0" * 64, "--output-path", str(folder)).wait()
        equal(said.code, 1)
        contains(said.all, "ResourceNotFoundError")
        return "ResourceNotFoundError"

    def ask_for_its_place(self) -> str:
        said = self.aleph("file", "download", self.world.file, "--only-info")
        contains(said.all, f"Hash: {self.hash}", "/api/v0/storage/raw/")
        return "hash and URL"

    def list(self) -> str:
        contains(self.aleph("file", "list").all, self.hash, "Total Size")
        listed = self.aleph("file", "list", "--json", "--pagination", "1", "--page", "1", "--sort-order", "1").json()
        equal(len(listed["files"]), 1)
        return f"{listed['pagination_total']} files"

    def list_of_nobody(self) -> str:
        said = self.aleph("file", "list", "--address", "0x" + "00" * 20)
        contains(said.all, "404")
        return said.all

    def forget(self) -> str:
        self.aleph("file", "forget", self.world.file, "--reason", "conformance")
        contains(self.aleph("file", "download", self.world.file, "--only-info").all, "Message forgotten")
        return "forgotten"


class Domain(Group):
    """Domains are an aggregate; what else these commands ask, they ask of the public DNS."""

    def info_of_none(self) -> str:
        said = self.aleph("domain", "info", "conformance.invalid")
        contains(said.all, "not configured")
        return said.all

    def attach(self) -> str:
        path = self.world.write("domain.json", json.dumps(
            {"conformance.invalid": {"message_id": "0" * 64, "type": "program", "programType": "program",
                                     "options": None}}
        ))
        # `domain attach` wants an answer of the DNS; what it would publish, published
        self.aleph("aggregate", "post", "domains", Path(path).read_text(), "--inline", "--sync")
        said = self.aleph("domain", "info", "conformance.invalid")
        contains(said.all, "program")
        return "program"


EDITOR = """\
#!/usr/bin/env python3
import json, sys
with open(sys.argv[1], "r+") as file:
    content = json.load(file)
    content["content"]["text"] = "amended"
    file.seek(0)
    json.dump(content, file)
    file.truncate()
"""
