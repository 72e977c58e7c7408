"""Programs and instances, as far as a core node decides on them."""

from __future__ import annotations

import io
import zipfile
from decimal import Decimal

from aleph.sdk.exceptions import InsufficientFundsError
from aleph.sdk.query.filters import MessageFilter
from aleph.sdk.types import Ports, PortFlags
from aleph.sdk.utils import make_instance_content, make_program_content
from aleph_message.models import (
    Chain,
    InstanceMessage,
    MessageType,
    Payment,
    PaymentType,
    ProgramMessage,
)
from aleph_message.models.execution.environment import HostRequirements, HypervisorType, NodeRequirements
from aleph_message.status import MessageStatus

from cases import Skip, contains, equal, holds
from world import CHANNEL, Group, World


CREDIT = Payment(chain=Chain.ETH, type=PaymentType.credit)


class Executables(Group):
    def __init__(self, world: World) -> None:
        super().__init__(world)
        self.program: ProgramMessage | None = None
        self.instance: InstanceMessage | None = None

    async def prepare(self) -> str:
        self.world.needs_money()
        archive = io.BytesIO()
        with zipfile.ZipFile(archive, "w") as packed:
            packed.writestr("main.py", "async def app(scope, receive, send): ...\n")
        self.code = await self.world.store(archive.getvalue())
        self.image = await self.world.store(b"an image " + self.world.tag.encode())
        return "a program's code and an image"

    async def estimate_a_program(self) -> str:
        self._prepared()
        price = await self.client.get_estimated_price(make_program_content(**self._program_values()))
        equal(price.payment_type, self.world.payment().type)
        holds(Decimal(price.cost) > 0, f"it costs {price.cost}")
        return f"{price.cost} {price.payment_type}"

    async def create_a_program(self) -> str:
        self._prepared()
        message, status = await self.client.create_program(
            **self._program_values(), channel=CHANNEL, sync=True
        )
        equal(status, MessageStatus.PROCESSED)
        self.program = await self.client.get_message(message.item_hash, message_type=ProgramMessage)
        equal(self.program.content, message.content)
        return message.item_hash

    async def price_the_program(self) -> str:
        self._prepared()
        price = await self.client.get_program_price(self.program.item_hash)
        holds(price.required_tokens > 0, f"it costs {price.required_tokens}")
        return f"{price.required_tokens} {price.payment_type}"

    async def update_its_code(self) -> str:
        self._prepared()
        newer = await self.world.store(b"newer code " + self.world.tag.encode(), ref=self.code.item_hash)
        return newer.item_hash

    async def estimate_an_instance(self) -> str:
        self._prepared()
        values = self._instance_values() | {"payment": Payment(chain=Chain.ETH, type=PaymentType.hold)}
        hold = await self.client.get_estimated_price(make_instance_content(**values))
        credit = await self.client.get_estimated_price(
            make_instance_content(**values | {"payment": CREDIT})
        )
        equal((hold.payment_type, credit.payment_type), (PaymentType.hold, PaymentType.credit))
        return f"{hold.cost} ALEPH, {credit.cost} credits"

    async def create_an_instance(self) -> str:
        self._prepared()
        message, status = await self.client.create_instance(**self._instance_values(), channel=CHANNEL, sync=True)
        equal(status, MessageStatus.PROCESSED)
        self.instance = await self.client.get_message(message.item_hash, message_type=InstanceMessage)
        equal(self.instance.content, message.content)
        return message.item_hash

    async def create_an_instance_on_a_node(self) -> str:
        self._prepared()
        node = HostRequirements(node=NodeRequirements(node_hash="c4" * 32))
        message, status = await self.client.create_instance(
            **self._instance_values(), requirements=node, channel=CHANNEL, sync=True
        )
        equal(status, MessageStatus.PROCESSED)
        return message.item_hash

    async def be_refused_to_hold_tokens_for_an_instance(self) -> str:
        """The network takes credits only for instances since March 2026."""
        self._prepared()
        values = self._instance_values() | {"payment": Payment(chain=Chain.ETH, type=PaymentType.hold)}
        try:
            await self.client.create_instance(**values, channel=CHANNEL, sync=True)
        except ValueError as error:
            contains(str(error), "202")
            return str(error)
        raise AssertionError("it was created")

    async def list_them(self) -> str:
        self._prepared()
        answer = await self.client.get_messages(
            message_filter=MessageFilter(
                addresses=[self.address], message_types=[MessageType.program, MessageType.instance]
            ),
            ignore_invalid_messages=False,
        )
        found = {message.item_hash for message in answer.messages}
        holds({self.program.item_hash, self.instance.item_hash} <= found, "they are not all there")
        listed = await self.client.instance.get_instances(self.address)
        holds(self.instance.item_hash in [message.item_hash for message in listed], "the instance is not listed")
        return f"{len(found)} messages"

    async def what_they_lock(self) -> str:
        self._prepared()
        answer = await self.client.get_balances(self.address)
        holds(answer.locked_amount > 0, "nothing is locked")
        return f"{answer.locked_amount} ALEPH"

    async def forward_ports(self) -> str:
        self._prepared()
        vm = self.instance.item_hash
        await self.client.port_forwarder.create_ports(vm, Ports(ports={22: PortFlags(tcp=True, udp=False)}))
        ports = await self.client.port_forwarder.get_ports(vm)
        equal(ports.ports[22].tcp, True)
        await self.client.port_forwarder.update_ports(vm, Ports(ports={53: PortFlags(tcp=False, udp=True)}))
        ports = await self.client.port_forwarder.get_ports(vm)
        equal(list(ports.ports), [53])
        return "22/tcp, then 53/udp"

    async def be_told_what_is_missing(self) -> str:
        """The SDK raises what the node says of a poor account as an error of its own."""
        self._prepared()
        poor = await self.world.stranger()
        try:
            values = self._program_values() | {"address": poor.account.get_address(), "internet": True}
            await poor.create_program(**values, channel=CHANNEL, sync=True)
        except InsufficientFundsError as error:
            holds(error.required_funds > 0, f"it needs {error.required_funds}")
            equal(error.available_funds, 0)
            return str(error)
        except ValueError as error:
            contains(str(error), "6")  # the SDK knows nothing of credits
            return str(error)
        raise AssertionError("somebody without money has a program")

    async def be_told_of_a_missing_image(self) -> str:
        self._prepared()
        message, status = await self.client.create_program(
            **self._program_values() | {"runtime": "0" * 64}, channel=CHANNEL, sync=False
        )
        # it waits for the image, as on the reference; a caller who does not wait is told so
        holds(status in (MessageStatus.PENDING, MessageStatus.PROCESSED), f"it is {status}")
        equal(await self.client.get_message_status(message.item_hash), MessageStatus.PENDING)
        return "pending"

    async def verifiable_programs(self) -> str:
        """The SDK 2.4.0 can't make one with aleph-message 1.7.0: it fails before anything is sent."""
        self._prepared()
        try:
            await self.client.create_verifiable_program(
                runtime=self.image.item_hash,
                workload={"ref": self.code.item_hash, "hash_tree": self.image.item_hash, "roothash": "0" * 64},
                measurements=[{"platform": "sev_snp", "registers": {"launch": "0" * 96}}],
                channel=CHANNEL, sync=True,
            )
        except (TypeError, AttributeError) as error:
            raise Skip(f"fails in the SDK itself: {error}") from None
        except Exception as error:
            if type(error).__module__.startswith("pydantic"):
                raise Skip("fails in the SDK itself, before anything is sent") from None
            raise
        return "created"

    async def delete_them(self) -> str:
        self._prepared()
        hashes = [self.program.item_hash, self.instance.item_hash]
        await self.client.forget(hashes, reason="conformance", channel=CHANNEL, sync=True)
        for item_hash in hashes:
            equal(await self.client.get_message_status(item_hash), MessageStatus.FORGOTTEN)
        return "2 forgotten"

    def _prepared(self) -> None:
        self.world.needs_money()

    def _program_values(self) -> dict:
        return {
            "program_ref": self.code.item_hash, "entrypoint": "main:app", "runtime": self.image.item_hash,
            "metadata": {"name": "conformance"}, "address": self.address, "vcpus": 1, "memory": 128,
            "timeout_seconds": 10, "internet": False, "allow_amend": True, "persistent": False,
            "environment_variables": {"WHO": "ü"},
            "volumes": [{"mount": "/opt/data", "ref": self.image.item_hash, "use_latest": True}],
            "payment": self.world.payment(),
        }

    def _instance_values(self) -> dict:
        return {
            "rootfs": self.image.item_hash, "rootfs_size": 20_480, "address": self.address, "vcpus": 1,
            "memory": 2048, "hypervisor": HypervisorType.qemu, "ssh_keys": ["ssh-ed25519 AAAA conformance"],
            "metadata": {"name": "conformance"}, "payment": CREDIT,
            "volumes": [{"mount": "/data", "persistence": "host", "name": "data", "size_mib": 100}],
        }
