"""Delegation: what an account lets another one publish in its name."""

from __future__ import annotations

from aleph.sdk.exceptions import InvalidMessageError
from aleph.sdk.types import Authorization, AuthorizationBuilder
from aleph_message.models import Chain, MessageType, PostMessage
from aleph_message.status import MessageStatus

from cases import equal
from world import CHANNEL, Group, World


class Permissions(Group):
    def __init__(self, world: World) -> None:
        super().__init__(world)
        self.delegate = None

    async def none_at_first(self) -> str:
        self.owner = await self.world.stranger()
        self.delegate = await self.world.stranger()
        equal(await self.owner.get_authorizations(self._owner), [])
        return "none"

    async def a_stranger_is_refused(self) -> str:
        return await self._refused(post_type="news")

    async def add(self) -> str:
        granted = (
            AuthorizationBuilder(self._delegate).chain(Chain.ETH).channel(CHANNEL)
            .message_type(MessageType.post).post_type("news").build()
        )
        await self.owner.add_authorization(granted)
        read = await self.owner.get_authorizations(self._owner)
        equal(read, [granted])
        return f"{len(read)} authorization"

    async def publish_for_another(self) -> str:
        message, status = await self.delegate.create_post(
            {"n": 1}, post_type="news", address=self._owner, channel=CHANNEL, sync=True
        )
        equal(status, MessageStatus.PROCESSED)
        read = await self.owner.get_message(message.item_hash, message_type=PostMessage)
        equal((read.sender, read.content.address), (self._delegate, self._owner))
        return message.item_hash

    async def not_of_another_type(self) -> str:
        return await self._refused(post_type="other")

    async def not_on_another_channel(self) -> str:
        return await self._refused(post_type="news", channel="ELSEWHERE")

    async def for_keys_of_aggregates(self) -> str:
        granted = (
            AuthorizationBuilder(self._delegate).message_type(MessageType.aggregate).aggregate_key("open").build()
        )
        await self.owner.add_authorization(granted)
        equal(len(await self.owner.get_authorizations(self._owner)), 2)
        _, status = await self.delegate.create_aggregate(
            "open", {"n": 1}, address=self._owner, channel=CHANNEL, sync=True
        )
        equal(status, MessageStatus.PROCESSED)
        try:
            await self.delegate.create_aggregate("closed", {}, address=self._owner, channel=CHANNEL, sync=True)
        except InvalidMessageError as error:
            return str(error)
        raise AssertionError("another key was written")

    async def for_everything(self) -> str:
        everything = Authorization(address=self._delegate)
        await self.owner.update_all_authorizations([everything])
        equal(await self.owner.get_authorizations(self._owner), [everything])
        _, status = await self.delegate.create_post(
            {"n": 2}, post_type="other", address=self._owner, channel="ELSEWHERE", sync=True
        )
        equal(status, MessageStatus.PROCESSED)
        _, status = await self.delegate.create_aggregate(
            "closed", {"n": 1}, address=self._owner, channel=CHANNEL, sync=True
        )
        equal(status, MessageStatus.PROCESSED)
        return "a post and an aggregate"

    async def revoke(self) -> str:
        await self.owner.revoke_all_authorizations(self._delegate)
        equal(await self.owner.get_authorizations(self._owner), [])
        return await self._refused(post_type="news")

    @property
    def _owner(self) -> str:
        return self.owner.account.get_address()

    @property
    def _delegate(self) -> str:
        return self.delegate.account.get_address()

    async def _refused(self, post_type: str, channel: str = CHANNEL) -> str:
        try:
            await self.delegate.create_post(
                {"n": 1}, post_type=post_type, address=self._owner, channel=channel, sync=True
            )
        except InvalidMessageError as error:
            return str(error)
        raise AssertionError("it was published")
