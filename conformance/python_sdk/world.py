"""What the cases share: the accounts, their clients, and what earlier cases made."""

from __future__ import annotations

import os
import time
from contextlib import AsyncExitStack

from aleph.sdk.chains.ethereum import ETHAccount
from aleph.sdk.client import AuthenticatedAlephHttpClient
from aleph_message.models import Chain, Payment, PaymentType, PostMessage, StoreMessage
from aleph_message.status import MessageStatus

import cases
from cases import Skip, equal

CHANNEL = "CONFORMANCE"
MIB = 1024 * 1024


class World:
    """One run against one node."""

    def __init__(self, node: str) -> None:
        self.node = node
        self.stack = AsyncExitStack()
        given = cases.funded_key()
        self.is_funded = given is not None
        self.account = ETHAccount(bytes.fromhex(given) if given else os.urandom(32))
        self.address = self.account.get_address()
        # every run has names of its own, so that it may meet a node that others filled
        self.tag = f"conformance-{time.time_ns()}"
        self.post: PostMessage | None = None
        self.file: StoreMessage | None = None
        self.file_bytes = os.urandom(200_000)

    async def __aenter__(self) -> "World":
        self.client = await self.client_of(self.account)
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.stack.aclose()

    async def client_of(self, account: object) -> AuthenticatedAlephHttpClient:
        return await self.stack.enter_async_context(
            AuthenticatedAlephHttpClient(account=account, api_server=self.node)
        )

    async def stranger(self) -> AuthenticatedAlephHttpClient:
        """The client of somebody who owns nothing."""
        return await self.client_of(ETHAccount(os.urandom(32)))

    @staticmethod
    def payment() -> Payment:
        """For files and programs: what the SDK does by itself, as long as the network takes it."""
        return Payment(chain=Chain.ETH, type=PaymentType.hold if cases.takes_tokens() else PaymentType.credit)

    def needs_money(self) -> None:
        if not self.is_funded:
            raise Skip("needs an account with ALEPH and credits")

    async def publish(self, **post: object) -> PostMessage:
        """A post of this run, processed."""
        values = {"post_content": {"n": 1}, "post_type": self.tag, "channel": CHANNEL} | post
        message, status = await self.client.create_post(sync=True, **values)
        equal(status, MessageStatus.PROCESSED)
        return message

    async def store(self, content: bytes, **values: object) -> StoreMessage:
        message, status = await self.client.create_store(
            file_content=content, channel=CHANNEL, sync=True, payment=self.payment(), **values
        )
        equal(status, MessageStatus.PROCESSED)
        return message


class Group:
    def __init__(self, world: World) -> None:
        self.world = world
        self.client = world.client
        self.address = world.address
