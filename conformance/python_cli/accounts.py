"""Accounts, money and nodes."""

from __future__ import annotations

import json
import re

from cases import contains, equal, holds
from command import Group


class Account(Group):
    def create(self) -> str:
        """Imports the key of this run and makes it the active one."""
        said = self.world.created
        equal(said.code, 0)
        contains(said.all, "Private key stored", "is now your default configuration")
        return "imported"

    def create_it_twice(self) -> str:
        said = self.aleph(
            "account", "create", "--private-key", self.world.key, "--private-key-file", "conformance", "--chain",
            "ETH", code=1,
        )
        contains(said.all, "already exists")
        return said.all

    def create_a_new_key(self) -> str:
        said = self.aleph(
            "account", "create", "--private-key-file", "other", "--chain", "SOL", "--no-active"
        )
        contains(said.all, "Private key stored")
        return "other.key"

    def address(self) -> str:
        said = self.aleph("account", "address")
        contains(said.all, f"EVM: {self.world.address}", "SOL: ")
        return self.world.address

    def show(self) -> str:
        said = self.aleph("account", "show")
        contains(said.all, self.world.address, "Active Chain: ETH")
        return "address and chain"

    def chain(self) -> str:
        said = self.aleph("account", "chain")
        contains(said.all, "ETH", "SIGN")
        return said.all

    def path(self) -> str:
        said = self.aleph("account", "path")
        contains(said.all.replace("\n", ""), str(self.world.home))
        return "the folder"

    def list(self) -> str:
        said = self.aleph("account", "list")
        contains(said.all, "conformance", "other")
        return "2 keys"

    def config(self) -> str:
        said = self.aleph(
            "account", "config", "--private-key-file", str(self.world.home / "private-keys/conformance.key"),
            "--chain", "ETH", "--account-type", "imported", "--non-it",
        )
        contains(said.all, "Configuration updated")
        return "ETH"

    def sign_bytes(self) -> str:
        said = self.aleph("account", "sign-bytes", "--message", "hello")
        signature = re.search(r"Signature: 0x([0-9a-f]+)", said.all)[1]
        equal(len(signature), 130)
        return f"0x{signature[:16]}…"

    def export_private_key(self) -> str:
        said = self.aleph(
            "account", "export-private-key", "--private-key-file",
            str(self.world.home / "private-keys/conformance.key"),
        )
        contains(said.all, self.world.key)
        return "the key of this run"

    def balance(self) -> str:
        said = self.aleph("account", "balance")
        contains(said.all, self.world.address, "Balance: ", "Locked: ", "Available: ", "Credits:")
        if self.world.is_funded:
            contains(said.all, "Balance: 1000000 ", "ETH: 1000000 ")
        return re.search(r"Balance: \S+", said.all)[0]

    def balance_of_nobody(self) -> str:
        said = self.aleph("account", "balance", "--address", "0x" + "00" * 20)
        contains(said.all, "Balance: 0")
        return "0"

    def vouchers(self) -> str:
        said = self.aleph("account", "vouchers")
        contains(said.all, "No vouchers")
        return "none"


class Money(Group):
    def credits(self) -> str:
        self.world.needs_money()
        shown = self.aleph("credits", "show", "--json").json()
        equal(shown["address"], self.world.address)
        holds(float(shown["credit_balance"]) > 0, f"there are {shown['credit_balance']}")
        contains(self.aleph("credits", "show", self.world.address).all, self.world.address)
        return f"{shown['credit_balance']}"

    def credit_history(self) -> str:
        self.world.needs_money()
        history = self.aleph("credits", "history", "--json").json()
        equal(history["credit_history"][-1]["amount"], 1_000_000_000)
        contains(self.aleph("credits", "history", "--page-size", "5", "--page", "1").all, "1000000000", "Never")
        return f"{history['pagination_total']} entries"

    def credit_history_of_nobody(self) -> str:
        said = self.aleph("credits", "history", "0x" + "00" * 20, code=1)
        contains(said.all, "Failed to retrieve credits history", "404")
        return said.output

    def pricing(self) -> str:
        self.world.needs_money()
        names = ["storage", "website", "program", "instance", "confidential", "gpu", "all"]
        for name in names:
            contains(self.aleph("pricing", name).all, "Pricing: ")
        price = json.loads(self.aleph("pricing", "instance", "--json", "--no-null").all)
        equal(str(price["price"]["compute_unit"]["holding"]), "1000")
        said = self.aleph("pricing", "instance", "--tier", "2", "--payment-type", "credit").all
        contains(said, "credit/hour")
        return ", ".join(names)


class Nodes(Group):
    def core(self) -> str:
        self.world.needs_money()
        nodes = self.aleph("node", "core", "--json").json()
        equal([node["name"] for node in nodes], ["core"])
        contains(self.aleph("node", "core", "--active", "--ccn-hash", "c0" * 32).all, "core")
        return "1 core node"

    def compute(self) -> str:
        self.world.needs_money()
        nodes = self.aleph("node", "compute", "--json").json()
        equal([node["name"] for node in nodes], ["compute"])
        contains(self.aleph("node", "compute", "--active", "--crn-hash", "c4" * 32).all, "compute")
        return "1 compute node"

    def about(self) -> str:
        # it shows its versions and ends with 1, whatever the node
        said = self.aleph("about", "version", code=1)
        contains(said.all, "1.9.3")
        return said.all
