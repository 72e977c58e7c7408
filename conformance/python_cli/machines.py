"""Programs and instances, as far as a core node is concerned."""

from __future__ import annotations

import re

import cases
from cases import Skip, contains, equal, holds
from command import Group, World

APP = "async def app(scope, receive, send): ...\n"
HASH = re.compile(r"\b[0-9a-f]{64}\b")


class Program(Group):
    def __init__(self, world: World) -> None:
        super().__init__(world)
        self.hash = ""

    def create(self) -> str:
        self._prepared()
        folder = self.world.home / "program"
        folder.mkdir()
        (folder / "main.py").write_text(APP)
        runtime = self.aleph("file", "upload", self.world.write("runtime", f"a runtime {self.world.tag}")).json()
        self.runtime = runtime["item_hash"]
        said = self.aleph("program", "create", str(folder), "main:app", *self._options())
        contains(said.all, "Program Created")
        self.hash = HASH.search(said.all[said.all.index("Program Created"):])[0]
        return self.hash

    def create_without_money(self) -> str:
        self._prepared()
        folder = str(self.world.home / "program")
        said = self.aleph(
            "program", "create", folder, "main:app", *self._options(), "--private-key", "7" * 64, "--internet", code=1
        )
        contains(said.all, "Insufficient funds")
        return said.last

    def create_from_nothing(self) -> str:
        self._prepared()
        said = self.aleph(
            "program", "create", str(self.world.home / "nothing"), "main:app", *self._options(), code=4
        )
        contains(said.all, "No such file or directory")
        return "No such file or directory"

    def list(self) -> str:
        self._made()
        contains(self.aleph("program", "list").all, self.hash, "conformance", "main:app")
        contains(self.aleph("program", "list", "--address", self.world.address).all, self.hash)
        return "as a table"

    def list_as_json(self) -> str:
        """Fails in the program, with what pydantic refuses since its version 2, whatever the node."""
        self._made()
        said = self.aleph("program", "list", "--json", code=1)
        contains(said.last, "`dumps_kwargs` keyword arguments are no longer supported")
        return "fails in the program itself"

    def update(self) -> str:
        self._made()
        (self.world.home / "program/main.py").write_text(APP + "# newer\n")
        said = self.aleph("program", "update", self.hash, str(self.world.home / "program"), "--print-message")
        contains(said.all, "Program Updated")
        return "code updated"

    def persist(self) -> str:
        """A persistent program must be paid with credits, which this program can't: it does not wait for the
        node's refusal, which `message get` shows."""
        self._made()
        said = self.aleph("program", "persist", self.hash, "--keep-prev")
        contains(said.all, "New persistent program")
        newer = [found for found in HASH.findall(said.all) if found != self.hash][-1]
        told = self.aleph("message", "get", newer).all
        contains(told, "rejected", "202")
        return "refused with 202, as by the reference"

    def delete(self) -> str:
        self._made()
        said = self.aleph("program", "delete", self.hash, "--reason", "conformance")
        contains(said.all, f"Program {self.hash} has been deleted", "Code volume")
        return "with its code"

    def delete_it_again(self) -> str:
        self._made()
        said = self.world.start("program", "delete", self.hash).wait()
        contains(said.all, "already deleted")
        return said.all

    def list_none(self) -> str:
        said = self.aleph("program", "list", "--address", "0x" + "00" * 20, code=1)
        contains(said.all, "No program found")
        return "No program found"

    def _prepared(self) -> None:
        self.world.needs_money()
        if not cases.takes_tokens():
            raise Skip("the program pays by holding tokens, which the network takes no more")

    def _made(self) -> None:
        if not self.hash:
            raise Skip("there is no program")

    def _options(self) -> list[str]:
        return [
            "--name", "conformance", "--runtime", self.runtime, "--compute-units", "1", "--updatable",
            "--skip-volume", "--env-vars", "A=1,B=two", "--payment-chain", "ETH", "--print-messages",
            "--immutable-volume", f"ref={self.runtime},use_latest=true,mount=/opt/m",
            "--ephemeral-volume", "name=tmp,mount=/opt/t,size_mib=10",
        ]


class Instance(Group):
    def __init__(self, world: World) -> None:
        super().__init__(world)
        self.hash = ""

    def create(self) -> str:
        self.world.needs_money()
        self.world.write("key.pub", "ssh-ed25519 AAAA conformance")
        image = self.aleph("file", "upload", self.world.write("image", f"an image {self.world.tag}")).json()
        self.image = image["item_hash"]
        said = self.aleph("instance", "create", *self._options("credit"))
        contains(said.all, "Instance Created")
        self.hash = HASH.search(said.all[said.all.index("Instance Created"):])[0]
        return self.hash

    def create_without_credits(self) -> str:
        self.world.needs_money()
        said = self.aleph("instance", "create", *self._options("credit"), "--private-key", "7" * 64, code=1)
        contains(said.all, "Insufficient funds")
        return said.last

    def create_by_holding_tokens(self) -> str:
        """Refused since March 2026; the program shows the code that the node gives."""
        self.world.needs_money()
        said = self.aleph("instance", "create", *self._options("hold"), code=1)
        contains(said.all, "Instance creation failed", "202")
        return said.last

    def create_from_a_missing_image(self) -> str:
        self.world.needs_money()
        options = self._options("credit")
        options[options.index(self.image)] = "0" * 64
        said = self.aleph("instance", "create", *options, code=1)
        contains(said.all, "does not exist on aleph.cloud")
        return "does not exist on aleph.cloud"

    def list(self) -> str:
        self._made()
        message = self.aleph("message", "get", self.hash).json()
        equal(message["content"]["payment"]["type"], "credit")
        contains(self.aleph("instance", "list", "--json").all, self.hash)
        return "as JSON"

    def list_none(self) -> str:
        self.world.needs_money()  # it asks for the list of compute nodes
        said = self.aleph("instance", "list", "--address", "0x" + "00" * 20, code=1)
        contains(said.all, "No instance found")
        return "No instance found"

    def forward_a_port(self) -> str:
        self._made()
        self.aleph("instance", "port-forwarder", "create", self.hash, "8080", "--tcp", "--no-udp")
        contains(self.aleph("instance", "port-forwarder", "list", "--vm-id", self.hash).all, "8080", "22")
        return "22, 8080"

    def change_a_port(self) -> str:
        self._made()
        self.aleph("instance", "port-forwarder", "update", self.hash, "8080", "--tcp", "--udp")
        ports = self.aleph("aggregate", "get", "port-forwarding", "--subkeys", self.hash).json()[self.hash]["ports"]
        equal(ports["8080"], {"tcp": True, "udp": True})
        return "8080/udp"

    def delete_ports(self) -> str:
        self._made()
        self.aleph("instance", "port-forwarder", "delete", self.hash)
        return "deleted"

    def delete(self) -> str:
        self._made()
        said = self.aleph("instance", "delete", self.hash, "--reason", "conformance")
        contains(said.all, "deleted")
        contains(self.aleph("message", "get", self.hash).all, "forgotten")
        return said.last

    def delete_it_again(self) -> str:
        self._made()
        said = self.aleph("instance", "delete", self.hash, code=1)
        contains(said.all, "Instance already deleted")
        return said.all

    def _made(self) -> None:
        if not self.hash:
            raise Skip("there is no instance")

    def _options(self, payment: str) -> list[str]:
        holds(self.image, "there is no image")
        return [
            "--payment-type", payment, "--payment-chain", "ETH", "--name", "conformance", "--rootfs", self.image,
            "--compute-units", "1", "--rootfs-size", "20480", "--ssh-pubkey-file", str(self.world.home / "key.pub"),
            "--skip-volume", "--crn-hash", "c4" * 32, "--crn-auto-tac", "--persistent-volume",
            "name=data,mount=/data,size_mib=100",
        ]
