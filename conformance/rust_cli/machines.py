"""Nodes, credits, programs and instances, as far as a core node is concerned."""

from __future__ import annotations

import json

import cases
from cases import Skip, contains, equal, holds, shorten
from command import STRANGER_KEY, Group, World

OTHER = "0x" + "12" * 20


class Nodes(Group):
    def list(self) -> str:
        self.world.needs_money()
        listed = self.aleph("node", "list", "--all").json()
        equal(sorted(node["name"] for node in listed), ["compute", "core"])
        equal([node["name"] for node in self.aleph("node", "list", "--all", "--type", "ccn").json()], ["core"])
        return "1 core node, 1 compute node"

    def register(self) -> str:
        core = self.sign(
            "node", "create-ccn", "mine", "--multiaddress", "/ip4/127.0.0.1/tcp/4025/p2p/QmTest"
        ).documents()[-1]
        compute = self.sign("node", "create-crn", "mine", "--url", "https://crn.invalid").documents()[-1]
        equal((core["message_status"], compute["message_status"]), ("processed", "processed"))
        self.core, self.compute = core["item_hash"], compute["item_hash"]
        return "a core node and a compute node"

    def change(self) -> str:
        for action in (
            ["stake", "--node", "c0" * 32], ["unstake", "--node", "c0" * 32], ["amend", "--node", self.core, "--name", "n"],
            ["drop", "--node", self.core],
        ):
            said = self.sign("node", *action, code=None)
            holds(said.code == 0, f"{action[0]}: {said.last}")
            equal(said.documents()[-1]["message_status"], "processed")
        return "stake, unstake, amend, drop"


class Credits(Group):
    def history(self) -> str:
        self.world.needs_money()
        said = self.aleph("credit", "history", "--address", self.world.address, "--page", "1", "--page-size", "5")
        contains(said.all, "1000000000")
        for option in (["--top-ups"], ["--expenses"], ["--since", "7d"], ["--resource-type", "store"]):
            self.aleph("credit", "history", "--address", self.world.address, *option)
        return "with every filter"

    def summary(self) -> str:
        self.world.needs_money()
        said = self.aleph("credit", "summary", "--address", self.world.address).json()
        holds("1000000000" in json.dumps(said), json.dumps(said))
        self.aleph("credit", "summary", "--address", OTHER, "--since", "7d")
        return json.dumps(said)

    def transfer(self) -> str:
        """Anybody may publish the post; whether it moves credits is up to the network's white list."""
        self.world.needs_money()
        said = self.sign("credit", "transfer", "--to", OTHER, "--amount", "1000", "--yes").documents()[-1]
        equal(said["message_status"], "processed")
        return said["item_hash"]

    def price_of_an_instance(self) -> str:
        self.world.needs_money()
        one = self.aleph("instance", "price", "--size", "1vcpu-2gb")
        other = self.aleph("instance", "price", "--vcpus", "2", "--memory", "4GiB", "--disk-size", "40GiB")
        contains(other.all, "28500")
        gpus = self.aleph("instance", "price", "--list-gpus")
        contains(gpus.all.lower(), "h100")
        return shorten(one.all)


class Programs(Group):
    def __init__(self, world: World) -> None:
        super().__init__(world)
        self.hash = ""

    def create(self) -> str:
        self.world.needs_money()
        folder = self.world.home / "program"
        folder.mkdir()
        (folder / "main.py").write_text("async def app(scope, receive, send): ...\n")
        image = self.sign("file", "upload", self.world.write("image", f"image {self.world.tag}")).documents()[-1]
        self.world.image = image["item_hash"]
        said = self.sign(*self._create("credit")).documents()
        equal([document["type"] for document in said], ["STORE", "PROGRAM"])
        equal(said[-1]["message_status"], "processed")
        self.hash = said[-1]["item_hash"]
        return self.hash

    def create_by_holding_tokens(self) -> str:
        self.world.needs_money()
        if not cases.takes_tokens():
            raise Skip("the network takes no tokens any more")
        (self.world.home / "program/main.py").write_text("# held\n")
        said = self.sign(*self._create("hold")).documents()
        equal(said[-1]["message_status"], "processed")
        return said[-1]["item_hash"]

    def create_without_credits(self) -> str:
        self._made()
        (self.world.home / "program/main.py").write_text("# poor\n")
        said = self.sign(*self._create("credit"), key=STRANGER_KEY, code=1)
        contains(said.errors.lower(), "balance")
        return said.last

    def list(self) -> str:
        self._made()
        contains(self.aleph("program", "list", "--address", self.world.address).all, self.hash)
        return "listed"

    def update(self) -> str:
        self._made()
        (self.world.home / "program/main.py").write_text("# newer\n")
        said = self.sign("program", "update", self.hash, str(self.world.home / "program")).documents()[-1]
        equal(said["message_status"], "processed")
        return said["item_hash"]

    def show(self) -> str:
        self._made()
        shown = self.aleph("program", "show", self.hash).json()
        code = next(entry for entry in shown["refs"] if entry["kind"] == "code")
        holds(code["latest"] != code["original"], "the newer code is not shown")
        return f"{len(shown['refs'])} references"

    def delete(self) -> str:
        self._made()
        self.sign("program", "delete", self.hash, "--yes")
        equal(self.world.status(self.hash), "forgotten")
        return "forgotten"

    def _made(self) -> None:
        if not self.hash:
            raise Skip("there is no program")

    def _create(self, payment: str) -> list[str]:
        return [
            "program", "create", str(self.world.home / "program"), "main:app", "--name", "conformance", "--runtime",
            self.world.image, "--vcpus", "1", "--memory", "128MiB", "--updatable", "--env-vars", "A=1",
            "--immutable-volume", f"ref={self.world.image},mount=/opt/m", "--payment-type", payment,
        ]


class Instances(Group):
    def __init__(self, world: World) -> None:
        super().__init__(world)
        self.hash = ""

    def ssh_keys(self) -> str:
        self.world.needs_money()
        key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJqFP6Yw1i7yRzXkCVVkLhMVdmkkNCBBrxkUHxKZu1pC conformance"
        said = self.sign("account", "ssh-key", "add", "laptop", "--key", key).documents()[-1]
        equal(said["message_status"], "processed")
        listed = self.aleph("account", "ssh-key", "list", "--address", self.world.address).json()
        equal([entry["label"] for entry in listed], ["laptop"])
        return listed[0]["item_hash"]

    def create(self) -> str:
        self.world.needs_money()
        said = self.sign(*self._create()).documents()[-1]
        equal(said["message_status"], "processed")
        self.hash = said["item_hash"]
        message = self.aleph("message", "get", self.hash).json()["message"]
        equal(message["content"]["payment"]["type"], "credit")
        return self.hash

    def create_without_credits(self) -> str:
        self._made()
        pubkey = self.world.write("key.pub", "ssh-ed25519 AAAA conformance")
        said = self.sign(*self._create(), "--ssh-pubkey-file", pubkey, key=STRANGER_KEY, code=1)
        error = said.documents()[-1]
        equal(error["rejection_code"], 6)
        contains(error["error"]["explanation"], "credits")
        return error["error"]["explanation"]

    def create_from_a_missing_image(self) -> str:
        self._made()
        options = self._create()
        options[options.index(self.world.image)] = "no-such-image"
        said = self.sign(*options, code=1)
        contains(said.errors, "no-such-image")
        return said.last

    def delete(self) -> str:
        self._made()
        said = self.sign("message", "forget", self.hash, "--yes").json()
        equal((said["message_status"], self.world.status(self.hash)), ("processed", "forgotten"))
        return "forgotten"

    def remove_the_ssh_key(self) -> str:
        self.world.needs_money()
        self.sign("account", "ssh-key", "remove", "laptop", "--yes")
        equal(self.aleph("account", "ssh-key", "list", "--address", self.world.address).json(), [])
        return "removed"

    def _made(self) -> None:
        if not self.hash:
            raise Skip("there is no instance")

    def _create(self) -> list[str]:
        return [
            "instance", "create", "conformance", "--image", self.world.image, "--size", "1vcpu-2gb",
            "--persistent-volume", "name=data,mount=/data,size=100MiB", "--crn", "c4" * 32,
        ]


class Waiting(Group):
    def the_forgotten_aggregate(self) -> str:
        """What `aggregate forget` began: it names a key that never comes, so it waits, here as there."""
        output, _ = self.world.waiting.communicate(timeout=60)
        said = json.loads(output)
        equal(said["message_status"], "pending")
        key = self.world.waiting_key
        contains(self.aleph("aggregate", "get", key, "--address", self.world.address).all, key)
        return "pending, as on the reference"
