"""Accounts, posts, messages, aggregates, authorizations, files, websites and domains."""

from __future__ import annotations

import json
import os
import secrets
import time
from pathlib import Path

from cases import contains, equal, holds, shorten
from command import STRANGER_KEY, Group, World

OTHER = "0x" + "12" * 20


class Accounts(Group):
    def set_up(self) -> str:
        """A network of this node."""
        stand_in = os.environ.get("CONFORMANCE_STAND_IN", "http://127.0.0.1:9")
        plain = self.world.plain
        plain("config", "network", "add", "conformance", "--scheduler-url", stand_in)
        plain("config", "ccn", "add", "node", self.world.node, "--network", "conformance")
        plain("config", "network", "use", "conformance")
        plain("config", "ccn", "use", "node")
        shown = plain("--json", "config", "ccn", "show").json()
        contains(json.dumps(shown), self.world.node)
        said = self.sign("post", "create", "--type", self.world.tag + "-first", "--content", "{}").json()
        self.world.address = said["sender"]
        return self.world.address

    def aliases(self) -> str:
        self.world.plain("account", "alias", "add", "other", OTHER)
        listed = self.world.plain("--json", "account", "alias", "list").json()
        contains(json.dumps(listed), OTHER)
        balance = self.aleph("account", "balance", "other").json()
        equal(balance["address"], OTHER)
        return "other"

    def balance(self) -> str:
        shown = self.aleph("account", "balance", self.world.address).json()
        if self.world.is_funded:
            equal(float(shown["aleph_tokens"]), 1_000_000)
            holds(shown["credits"] > 0, "there are no credits")
        return json.dumps(shown)

    def chains(self) -> str:
        """A post for each chain that the program signs for and the network verifies."""
        names = [
            "eth", "arb", "base", "blast", "bob", "bsc", "cyber", "etherlink", "frax", "hype", "ink", "lens", "linea",
            "lisk", "metis", "mode", "op", "pol", "sonic", "unichain", "wld", "zora", "sol", "es",
        ]
        accepted, unknown = [], []
        for name in names:
            said = self.sign(
                "post", "create", "--type", self.world.tag + "-chain", "--content", json.dumps({"chain": name}),
                chain=name, key=secrets.token_hex(32), code=None,
            )
            if said.code == 2 and "invalid value" in said.errors:
                unknown.append(name)
                continue
            equal(said.code, 0)
            equal(said.json()["message_status"], "processed")
            accepted.append(said.json()["chain"])
        holds({"ETH", "SOL"} <= set(accepted), f"only {accepted}")
        # the program signs for these too, as for Ethereum; the network has no such verifier
        for name in ("avax", "aurora", "stt"):
            said = self.sign("post", "create", "--type", "x", "--content", "{}", chain=name, code=1)
            holds("422" in said.all, f"{name}: {said.last}")
        return f"{len(accepted)} accepted; not in the program: {', '.join(unknown) or 'none'}"


class Posts(Group):
    def create(self) -> str:
        content = json.dumps({"text": "hello", "umlaut": "ü", "tags": [self.world.tag]})
        said = self.sign("post", "create", "--type", self.world.tag, "--content", content, "--channel", "RUST").json()
        equal((said["message_status"], said["publication_status"]), ("processed", "success"))
        self.world.post = said["item_hash"]
        return self.world.post

    def create_from_standard_input(self) -> str:
        said = self.sign("post", "create", "--type", self.world.tag + "-b", given='{"n": 1}').json()
        equal(said["message_status"], "processed")
        return said["item_hash"]

    def create_a_long_one(self) -> str:
        """Above 200,000 bytes the content is uploaded as a file."""
        said = self.sign("post", "create", "--type", self.world.tag + "-long", given=json.dumps("ü" * 120_000)).json()
        equal(said["message_status"], "processed")
        return said["item_hash"]

    def try_without_sending(self) -> str:
        said = self.sign("post", "create", "--type", "dry", "--content", "{}", "--dry-run")
        contains(said.all, "signature")
        return "printed, not sent"

    def amend(self) -> str:
        said = self.sign("post", "amend", "--ref", self.world.post, "--content", '{"text": "amended"}').json()
        equal(said["message_status"], "processed")
        return said["item_hash"]

    def list_by_every_filter(self) -> str:
        now = int(time.time())
        of_type = ["--post-types", self.world.tag]
        filters = [
            of_type, ["--hashes", self.world.post], ["--addresses", self.world.address, *of_type],
            ["--channels", "RUST", *of_type], [*of_type, "--start-date", str(now - 600)],
            [*of_type, "--end-date", str(now + 600)], [*of_type, "--sort-by", "time", "--sort-order", "asc"],
            [*of_type, "--sort-by", "tx-time"], [*of_type, "--pagination", "1", "--page", "1"],
        ]
        for version in ("0", "1"):
            for chosen in filters:
                said = self.aleph("post", "list", "--api-version", version, *chosen)
                posts = said.json()
                posts = posts.get("posts", posts) if isinstance(posts, dict) else posts
                found = [post["original_item_hash"] for post in posts]
                holds(found == [self.world.post], f"{chosen} of version {version} found {len(found)}")
        equal(len(self.aleph("post", "list", "--tags", self.world.tag).json()), 0)  # the amend has no tags
        return f"{len(filters)} filters, both versions"

    def be_told_of_a_wrong_amend(self) -> str:
        amend = self.sign("post", "amend", "--ref", self.world.post, "--content", "{}").json()["item_hash"]
        said = self.sign("post", "amend", "--ref", amend, "--content", "{}", code=1)
        error = said.json()
        equal((error["http_status"], error["rejection_code"]), (422, 102))
        contains(error["error"]["explanation"], "name the original post")
        return error["error"]["explanation"]

    def be_told_of_what_is_no_json(self) -> str:
        said = self.sign("post", "create", "--type", "x", "--content", "{", code=1)
        contains(said.errors, "Error")
        return said.last

    def be_told_of_a_missing_node(self) -> str:
        said = self.world.plain(
            "--ccn", "http://127.0.0.1:9", "--json", "message", "get", "0" * 64, code=1
        )
        contains(said.errors, "Error")
        return said.last


class Messages(Group):
    def get(self) -> str:
        shown = self.aleph("message", "get", self.world.post).json()
        equal(shown["status"], "processed")
        return shown["status"]

    def get_a_missing_one(self) -> str:
        said = self.aleph("message", "get", "0" * 64, code=1)
        contains(said.all.lower(), "not found")
        return said.last

    def list_by_every_filter(self) -> str:
        now, own = int(time.time()), ["--addresses", self.world.address]
        of_type = ["--content-types", self.world.tag]
        filters = [
            ["--hashes", self.world.post], of_type, [*own, *of_type], ["--owners", self.world.address, *of_type],
            ["--tags", self.world.tag], [*own, "--channels", "RUST"], [*of_type, "--chains", "ETH"],
            [*of_type, "--message-type", "post"], [*of_type, "--message-types", "post,aggregate"],
            [*of_type, "--start-date", str(now - 600)], [*of_type, "--end-date", str(now + 600)],
            [*of_type, "--sort-by", "time", "--sort-order", "asc"], [*of_type, "--count", "1"],
            [*of_type, "--message-statuses", "processed"],
        ]
        for chosen in filters:
            found = [message["item_hash"] for message in self._list(*chosen)]
            holds(found == [self.world.post], f"{chosen} found {len(found)}")
        holds(self._list("--refs", self.world.post), "--refs found none")
        equal(self._list(*of_type, "--chains", "SOL"), [])
        return f"{len(filters) + 2} filters"

    def walk_many(self) -> str:
        """More than a page, by cursors."""
        found = self._list("--addresses", self.world.address, "--count", "1000")
        hashes = [message["item_hash"] for message in found]
        equal(len(hashes), len(set(hashes)))
        return f"{len(hashes)} messages"

    def sync_from_another_node(self) -> str:
        """The node itself stands for both: everything is there already."""
        said = self.aleph(
            "message", "sync", "--source", self.world.node, "--target", self.world.node, "--hashes", self.world.post,
        )
        return shorten(said.all)

    def retry(self) -> str:
        """Of what is not rejected; then of what is: the refusal stays."""
        said = self.aleph("message", "retry", self.world.post, code=1)
        contains(said.all, "nothing to retry")
        refused = self.sign("post", "create", "--type", "x", "--content", "{}", "--on-behalf-of", OTHER, "--dry-run")
        contains(refused.all, OTHER)
        return said.last

    def forget(self) -> str:
        said = self.sign("message", "forget", self.world.post, "--reason", "conformance", "--yes").json()
        equal((said["message_status"], self.world.status(self.world.post)), ("processed", "forgotten"))
        shown = self.aleph("message", "get", self.world.post).json()
        equal(shown["status"], "forgotten")
        return said["item_hash"]

    def forget_what_belongs_to_others(self) -> str:
        target = self.sign("post", "create", "--type", "x", "--content", "{}").json()["item_hash"]
        said = self.sign("message", "forget", target, "--yes", key=STRANGER_KEY, code=1)
        equal(self.world.status(target), "processed")
        return said.last

    def _list(self, *chosen: str) -> list:
        listed = self.aleph("message", "list", *chosen).json()
        return listed.get("messages", listed) if isinstance(listed, dict) else listed


class Aggregates(Group):
    def __init__(self, world: World) -> None:
        super().__init__(world)
        self.key = world.tag

    def create(self) -> str:
        said = self.sign("aggregate", "create", "--key", self.key, "--content", '{"a": 1, "b": {"c": "ü"}}').json()
        equal(said["message_status"], "processed")
        self.element = said["item_hash"]
        return said["item_hash"]

    def create_it_twice(self) -> str:
        said = self.sign("aggregate", "create", "--key", self.key, "--content", "{}", code=1)
        contains(said.all, "already exists")
        return said.last

    def get(self) -> str:
        shown = self._get()
        equal(shown, {"a": 1, "b": {"c": "ü"}})
        return json.dumps(shown)

    def edit_a_subkey(self) -> str:
        self.sign("aggregate", "edit", "--key", self.key, "--subkey", "a", "--content", "2", "--yes")
        equal(self._get()["a"], 2)
        return "a = 2"

    def edit_all(self) -> str:
        """What is left out is set to null."""
        self.sign("aggregate", "edit", "--key", self.key, "--content", '{"d": 4}', "--yes")
        shown = {key: value for key, value in self._get().items() if value is not None}
        equal(shown, {"d": 4})
        return "d = 4"

    def unset(self) -> str:
        self.sign("aggregate", "unset", "--key", self.key, "--subkey", "d", "--yes")
        equal(self._get().get("d"), None)
        return "d is null"

    def list(self) -> str:
        said = self.aleph("aggregate", "list", "--address", self.world.address)
        contains(said.all, self.key)
        return "listed"

    def get_a_missing_one(self) -> str:
        said = self.aleph("aggregate", "get", "no-such-key", "--address", self.world.address)
        contains(said.errors, "No aggregate at")
        return said.last

    def forget(self) -> str:
        """The program sends item hashes where the network takes keys: it waits for a key that never comes, here
        as there, and the aggregate stays."""
        self.world.waiting = self.world.begin("aggregate", "forget", self.element, "--yes")
        self.world.waiting_key = self.key
        return "begun; the node waits half a minute before it answers"

    def _get(self) -> dict:
        shown = self.aleph("aggregate", "get", self.key, "--address", self.world.address).json()
        return shown.get(self.key, shown)


class Authorizations(Group):
    def add(self) -> str:
        said = self.sign(
            "authorization", "add", OTHER, "--delegate-chain", "eth", "--channels", "RUST", "--message-types",
            "post", "--post-types", "news",
        ).json()
        equal(said["message_status"], "processed")
        return said["item_hash"]

    def list(self) -> str:
        listed = self.aleph("authorization", "list", "--address", self.world.address).json()
        equal([entry["address"] for entry in listed], [OTHER])
        return json.dumps(listed[0])

    def received(self) -> str:
        listed = self.aleph("authorization", "received", "--address", OTHER).json()
        contains(json.dumps(listed), self.world.address)
        none = self.aleph("authorization", "received", "--address", OTHER, "--granter", OTHER).json()
        equal(len(none), 0)
        return f"{len(listed)} granter"

    def act_for_somebody_else(self) -> str:
        said = self.sign("post", "create", "--type", "x", "--content", "{}", "--on-behalf-of", OTHER, code=1)
        error = said.json()
        equal(error["rejection_code"], 2)
        return error["error"]["explanation"]

    def revoke(self) -> str:
        self.sign("authorization", "revoke", OTHER)
        equal(self.aleph("authorization", "list", "--address", self.world.address).json(), [])
        self.sign("authorization", "revoke", "--all", code=None)
        return "none left"


class Files(Group):
    def upload(self) -> str:
        self.world.needs_money()
        self.content = secrets.token_bytes(300_000)
        path = self.world.write("file.bin", self.content)
        said = self.sign("file", "upload", path, "--channel", "RUST", "--ref", self.world.tag).documents()[-1]
        equal(said["message_status"], "processed")
        self.message = said["item_hash"]
        return self.message

    def upload_a_large_one(self) -> str:
        self.world.needs_money()
        path = self.world.write("large.bin", secrets.token_bytes(1024 * 1024) * 20)
        said = self.sign("file", "upload", path, "--storage-engine", "storage").documents()[-1]
        equal(said["message_status"], "processed")
        return "20 MiB"

    def upload_to_ipfs(self) -> str:
        self.world.needs_money()
        path = self.world.write("ipfs.bin", secrets.token_bytes(600_000))
        said = self.sign("file", "upload", path, "--storage-engine", "ipfs").documents()[-1]
        equal(said["message_status"], "processed")
        return said["item_hash"]

    def upload_a_folder(self) -> str:
        self.world.needs_money()
        folder = self.world.home / "folder"
        (folder / "sub").mkdir(parents=True)
        (folder / "index.html").write_text(f"<p>{self.world.tag}</p>")
        (folder / "sub/data.bin").write_bytes(secrets.token_bytes(400_000))
        said = self.sign("file", "upload", str(folder)).documents()[-1]
        equal(said["message_status"], "processed")
        return said["item_hash"]

    def upload_a_folder_by_a_gateway(self) -> str:
        """The node stands for the gateway of IPFS too."""
        self.world.needs_money()
        said = self.sign(
            "file", "upload", str(self.world.home / "folder"), "--use-gateway-relay", "--ipfs-gateway", self.world.node,
        ).documents()[-1]
        equal(said["message_status"], "processed")
        return said["item_hash"]

    def upload_by_holding_tokens(self) -> str:
        path = self.world.write("held.txt", f"held {self.world.tag}")
        said = self.sign("file", "upload", path, "--payment-type", "hold").documents()[-1]
        equal(said["message_status"], "processed")
        return said["item_hash"]

    def upload_without_credits(self) -> str:
        path = self.world.write("poor.txt", f"poor {self.world.tag}")
        said = self.sign("file", "upload", path, key=STRANGER_KEY, code=1)
        contains(said.errors.lower(), "balance")
        return said.last

    def upload_a_missing_one(self) -> str:
        said = self.sign("file", "upload", str(self.world.home / "no-such-file"), code=1)
        contains(said.errors, "no-such-file")
        return said.last

    def download(self) -> str:
        self.world.needs_money()
        by_message, by_ref = self.world.home / "by-message", self.world.home / "by-ref"
        self.aleph("file", "download", "--message-hash", self.message, "--output", str(by_message))
        equal(by_message.read_bytes() == self.content, True)
        self.aleph(
            "file", "download", "--ref", self.world.tag, "--owner", self.world.address, "--output", str(by_ref)
        )
        equal(by_ref.read_bytes() == self.content, True)
        return "by message and by reference, verified"

    def download_a_missing_one(self) -> str:
        said = self.aleph("file", "download", "0" * 64, code=1)
        contains(said.errors, "Error")
        return said.last

    def list(self) -> str:
        self.world.needs_money()
        files = self._list()
        holds(self.message in [file["item_hash"] for file in files], "it is not listed")
        oldest = self._list("--sort-order", "asc", "--count", "2")
        equal(len(oldest), 2)
        return f"{len(files)} files"

    def pin(self) -> str:
        self.world.needs_money()
        hash_of_file = next(file["file_hash"] for file in self._list() if file["item_hash"] == self.message)
        said = self.sign("file", "pin", hash_of_file).documents()[-1]
        equal(said["message_status"], "processed")
        self.file = hash_of_file
        return said["item_hash"]

    def delete(self) -> str:
        self.world.needs_money()
        self.sign("file", "delete", self.file, "--yes")
        equal(self.world.status(self.message), "forgotten")
        return "forgotten"

    def _list(self, *options: str) -> list:
        listed = self.aleph("file", "list", "--address", self.world.address, *options).json()
        return listed.get("files", listed) if isinstance(listed, dict) else listed


class Websites(Group):
    def deploy(self) -> str:
        self.world.needs_money()
        folder = self.world.home / "site"
        folder.mkdir()
        (folder / "index.html").write_text(f"<h1>{self.world.tag}</h1>")
        said = self.sign("website", "deploy", "conformance", str(folder), "--framework", "none").documents()[-1]
        equal(said["version"], 1)
        return said["ipfs_cid"]

    def update(self) -> str:
        self.world.needs_money()
        (self.world.home / "site/index.html").write_text(f"<h1>{self.world.tag} again</h1>")
        said = self.sign("website", "update", "conformance", str(self.world.home / "site")).documents()[-1]
        equal(said["version"], 2)
        return said["ipfs_cid"]

    def show(self) -> str:
        self.world.needs_money()
        contains(self.aleph("website", "list", "--address", self.world.address).all, "conformance")
        shown = self.aleph("website", "show", "conformance", "--address", self.world.address).json()
        contains(json.dumps(shown), "conformance")
        return "listed and shown"


class Domains(Group):
    def add(self) -> str:
        self.world.needs_money()
        said = self.sign("domain", "add", "conformance.invalid", "--target", "conformance", "--kind", "ipfs")
        equal(said.documents()[-1]["message_status"], "processed")
        listed = self.aleph("domain", "list", "--address", self.world.address).json()
        equal([entry["domain"] for entry in listed], ["conformance.invalid"])
        return listed[0]["type"]

    def detach_and_remove(self) -> str:
        self.world.needs_money()
        self.sign("domain", "detach", "conformance.invalid", "--yes")
        self.sign("domain", "remove", "conformance.invalid", "--yes")
        equal(self.aleph("domain", "list", "--address", self.world.address).json(), [])
        return "removed"

    def delete_the_website(self) -> str:
        self.world.needs_money()
        self.sign("website", "delete", "conformance", "--yes")
        listed = self.aleph("website", "list", "--address", self.world.address)
        holds('"conformance"' not in listed.all, "it is still there")
        return "deleted"
