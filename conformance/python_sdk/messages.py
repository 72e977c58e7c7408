"""Creating, reading, amending and forgetting; and what the SDK makes of refusals."""

from __future__ import annotations

import json
import time

import aiohttp
from aleph.sdk.client import AlephHttpClient
from aleph.sdk.exceptions import (
    BroadcastError,
    ForgottenMessageError,
    InvalidMessageError,
    MessageNotFoundError,
    ResourceNotFoundError,
)
from aleph.sdk.query.filters import MessageFilter, PostFilter
from aleph.sdk.utils import extended_json_encoder
from aleph_message.models import AggregateMessage, ForgetMessage, MessageType, PostMessage, StoreMessage
from aleph_message.status import MessageStatus
from pydantic import ValidationError

from cases import contains, equal, holds
from world import CHANNEL, Group


class Posts(Group):
    async def create(self) -> str:
        self.world.post = await self.world.publish(
            post_content={"text": "hello", "umlaut": "ü", "number": 1.5, "nothing": None, "list": [1, "two"]}
        )
        return self.world.post.item_hash

    async def read_by_hash(self) -> str:
        post = self.world.post
        message, status = await self.client.get_message(post.item_hash, message_type=PostMessage, with_status=True)
        equal(status, MessageStatus.PROCESSED)
        equal(message.item_content, post.item_content)
        equal(message.signature, post.signature)
        equal(message.content.content["umlaut"], "ü")
        equal(message.time.timestamp(), post.time.timestamp())
        return message.sender

    async def ask_for_the_status(self) -> str:
        status = await self.client.get_message_status(self.world.post.item_hash)
        equal(status, MessageStatus.PROCESSED)
        equal(await self.client.get_message_error(self.world.post.item_hash), None)
        return status.value

    async def publish_without_waiting(self) -> str:
        message, status = await self.client.create_post({"n": 2}, post_type=self.world.tag, channel=CHANNEL)
        holds(status in (MessageStatus.PENDING, MessageStatus.PROCESSED), f"it is {status}")
        equal(await self.client.get_message_status(message.item_hash), MessageStatus.PROCESSED)
        return status.value

    async def publish_the_same_twice(self) -> str:
        _, status = await self.client._broadcast(message=self.world.post, sync=True)
        equal(status, MessageStatus.PROCESSED)
        return status.value

    async def amend_twice(self) -> str:
        original = self.world.post.item_hash
        for text in ("amended", "amended again"):
            await self.world.publish(post_content={"text": text}, post_type="amend", ref=original)
        post = await self._only(PostFilter(hashes=[original]))
        equal(post.content, {"text": "amended again"})
        equal(post.original_item_hash, original)
        equal(post.original_type, self.world.tag)
        return post.item_hash

    async def refer_to_another_message(self) -> str:
        answer = await self.world.publish(ref=self.world.post.item_hash)
        post = await self._only(PostFilter(refs=[self.world.post.item_hash], types=[self.world.tag]))
        equal(post.item_hash, answer.item_hash)
        return str(post.ref)

    async def post_more_than_fits_inline(self) -> str:
        message = await self.world.publish(post_content={"text": "ü" * 60_000})
        equal(message.item_type.value, "storage")
        read = await self.client.get_message(message.item_hash, message_type=PostMessage)
        equal(len(read.content.content["text"]), 60_000)
        return "60,000 characters by hash"

    async def post_what_is_no_object(self) -> str:
        for content in ("text", 17, [1, 2], True):
            message = await self.world.publish(post_content=content)
            read = await self.client.get_message(message.item_hash, message_type=PostMessage)
            equal(read.content.content, content)
        return "text, number, list, truth"

    async def use_the_legacy_route(self) -> str:
        message = await self.client.generate_signed_message(
            message_type=MessageType.post,
            content={"address": self.address, "time": time.time(), "type": self.world.tag, "content": {"old": 1}},
            channel=CHANNEL,
        )
        # what the SDK sends there is refused by the reference too: `data` is an object, not its text
        fields = message.model_dump(include=self.client.BROADCAST_MESSAGE_FIELDS)
        body = {"topic": "ALEPH-TEST", "data": json.dumps(fields, default=extended_json_encoder)}
        async with self.client.http_session.post("/api/v0/ipfs/pubsub/pub", json=body) as answer:
            equal(answer.status, 200)
            equal((await answer.json())["status"], "success")
        equal(await self.client.get_message_status(message.item_hash), MessageStatus.PROCESSED)
        return "200, success"

    async def read_without_an_account(self) -> str:
        async with AlephHttpClient(api_server=self.world.node) as reader:
            message = await reader.get_message(self.world.post.item_hash, message_type=PostMessage)
            equal(message.sender, self.address)
        return "AlephHttpClient"

    async def _only(self, post_filter: PostFilter):
        answer = await self.client.get_posts(post_filter=post_filter, ignore_invalid_messages=False)
        equal(len(answer.posts), 1)
        return answer.posts[0]


class Aggregates(Group):
    async def set(self) -> str:
        message, status = await self.client.create_aggregate(
            key="profile", content={"name": "Ada", "bio": "first"}, channel=CHANNEL, sync=True
        )
        equal(status, MessageStatus.PROCESSED)
        return message.item_hash

    async def merge(self) -> str:
        await self.client.create_aggregate(key="profile", content={"bio": "second"}, channel=CHANNEL, sync=True)
        content = await self.client.get_aggregate(self.address, "profile")
        equal(content, {"name": "Ada", "bio": "second"})
        return str(content)

    async def read_several(self) -> str:
        await self.client.create_aggregate(key="other", content={"a": 1}, channel=CHANNEL, sync=True)
        contents = await self.client.get_aggregates(self.address, ["profile", "other"])
        equal(sorted(contents), ["other", "profile"])
        everything = await self.client.get_aggregates(self.address)
        holds({"other", "profile"} <= set(everything), f"there are only {sorted(everything)}")
        equal(await self.client.fetch_aggregates(self.address, ["other"]), {"other": {"a": 1}})
        return ", ".join(sorted(contents))

    async def not_inline(self) -> str:
        message, status = await self.client.create_aggregate(
            key="stored", content={"far": True}, channel=CHANNEL, inline=False, sync=True
        )
        equal((status, message.item_type.value), (MessageStatus.PROCESSED, "storage"))
        equal(await self.client.fetch_aggregate(self.address, "stored"), {"far": True})
        return message.item_hash

    async def be_told_of_a_missing_key(self) -> str:
        equal(await self.client.get_aggregate(self.address, "no such key"), None)
        equal(await self.client.get_aggregates("0x" + "00" * 20), None)
        return "None"

    async def list_over_addresses(self) -> str:
        answer = await self.client.list_aggregates(addresses=[self.address], keys=["profile", "other"])
        equal(sorted(found["key"] for found in answer.aggregates), ["other", "profile"])
        equal(answer.pagination_total, 2)
        oldest = await self.client.list_aggregates(addresses=[self.address], sort_order=1, pagination=1)
        equal([found["key"] for found in oldest.aggregates], ["profile"])
        second = await self.client.list_aggregates(addresses=[self.address], sort_order=1, pagination=1, page=2)
        equal([found["key"] for found in second.aggregates], ["other"])
        return f"{answer.pagination_total} aggregates"


class Refusals(Group):
    """What a person sees when something is wrong."""

    async def a_missing_message(self) -> str:
        return await self._raises(MessageNotFoundError, self.client.get_message("0" * 64))

    async def the_status_of_a_missing_message(self) -> str:
        return await self._raises(MessageNotFoundError, self.client.get_message_status("0" * 64))

    async def a_hash_that_is_none(self) -> str:
        try:
            await self.client.get_message("xyz")
        except aiohttp.ClientResponseError as error:
            equal(error.status, 400)
            return f"{error.status}: {error.message}"
        raise AssertionError("it was found")

    async def a_missing_file(self) -> str:
        return await self._raises(ResourceNotFoundError, self.client.download_file("0" * 64))

    async def a_wrong_signature(self) -> str:
        message = await self._signed({"type": "x", "content": {}})
        forged = message.model_copy(update={"signature": "0x" + "11" * 65})
        error = await self._raises(InvalidMessageError, self.client._broadcast(forged, sync=True))
        contains(error, "'error_code': 1", "sign it with the sender's key")
        return error

    async def an_amend_of_nothing(self) -> str:
        """The SDK's own check refuses it; of a post that does not exist it can't know."""
        lost = self.client.create_post({"n": 1}, post_type="amend", ref="0" * 64, channel=CHANNEL)
        message, _ = await lost
        equal(await self.client.get_message_status(message.item_hash), MessageStatus.PENDING)
        return await self._raises(ValidationError, self.client.create_post({}, post_type="amend", channel=CHANNEL))

    async def an_amend_of_an_amend(self) -> str:
        post = await self.world.publish()
        amend = await self.world.publish(post_type="amend", ref=post.item_hash)
        error = await self._raises(
            InvalidMessageError,
            self.client.create_post({"n": 1}, post_type="amend", ref=amend.item_hash, channel=CHANNEL, sync=True),
        )
        contains(error, "name the original post")
        return error

    async def why_it_was_rejected(self) -> str:
        amend = await self.world.publish(post_type="amend", ref=(await self.world.publish()).item_hash)
        message = await self._signed({"type": "amend", "content": {}, "ref": amend.item_hash})
        said, status = await self.client._broadcast(message, sync=True, raise_on_rejected=False)
        equal(status, MessageStatus.REJECTED)
        error = await self.client.get_message_error(message.item_hash)
        equal(error["error_code"], 102)
        equal({name: said[name] for name in error}, error)
        equal(await self.client.get_message_status(message.item_hash), MessageStatus.REJECTED)
        return str(error)

    async def somebody_elses_address(self) -> str:
        error = await self._raises(
            InvalidMessageError,
            self.client.create_post({"n": 1}, post_type="x", address="0x" + "00" * 20, channel=CHANNEL, sync=True),
        )
        contains(error, "not authorized", "its owner can allow it")
        return error

    async def a_message_without_form(self) -> str:
        body = {"sync": True, "message": {"type": "POST", "sender": self.address}}
        async with self.client.http_session.post("/api/v0/messages", json=body) as answer:
            try:
                await self.client._handle_broadcast_response(answer, sync=True, raise_on_rejected=True)
            except InvalidMessageError as error:
                contains(str(error), "chain")
                return str(error)
        raise AssertionError("it was accepted")

    async def a_body_that_is_too_long(self) -> str:
        message = await self._signed({"type": "x", "content": "x" * 40_000})
        body = {"sync": True, "message": message.model_dump(mode="json") | {"padding": "x" * 2_000_000}}
        async with self.client.http_session.post("/api/v0/messages", json=body) as answer:
            equal(answer.status, 413)
            try:
                await self.client._handle_broadcast_response(answer, sync=True, raise_on_rejected=True)
            except BroadcastError as error:
                contains(str(error), "413")
                return str(error)
        raise AssertionError("it was accepted")

    async def _signed(self, content: dict):
        return await self.client.generate_signed_message(
            message_type=MessageType.post,
            content={"address": self.address, "time": time.time()} | content,
            channel=CHANNEL,
        )

    @staticmethod
    async def _raises(kind: type[Exception], attempt) -> str:
        try:
            result = await attempt
        except kind as error:
            return str(error) or kind.__name__
        raise AssertionError(f"no {kind.__name__}, but {result!r}")


class Forgetting(Group):
    async def a_post(self) -> str:
        message, status = await self.client.forget(
            hashes=[self.world.post.item_hash], reason="conformance", channel=CHANNEL, sync=True
        )
        equal(status, MessageStatus.PROCESSED)
        equal(isinstance(message, ForgetMessage), True)
        answer = await self.client.get_posts(post_filter=PostFilter(hashes=[self.world.post.item_hash]))
        equal(answer.posts, [])
        return message.item_hash

    async def be_told_that_it_is_forgotten(self) -> str:
        try:
            await self.client.get_message(self.world.post.item_hash)
        except ForgottenMessageError as error:
            equal(await self.client.get_message_status(self.world.post.item_hash), MessageStatus.FORGOTTEN)
            return str(error)
        raise AssertionError("a forgotten message was given")

    async def several_at_once(self) -> str:
        first, second = await self.world.publish(), await self.world.publish(post_content={"n": 2})
        await self.client.forget([first.item_hash, second.item_hash], reason=None, channel=CHANNEL, sync=True)
        for message in (first, second):
            equal(await self.client.get_message_status(message.item_hash), MessageStatus.FORGOTTEN)
        return "2 posts"

    async def list_what_is_forgotten(self) -> str:
        async with self.client.http_session.get(
            "/api/v0/messages.json", params={"msgStatuses": "forgotten", "addresses": self.address}
        ) as answer:
            hashes = [message["item_hash"] for message in (await answer.json())["messages"]]
        holds(self.world.post.item_hash in hashes, f"it is not among {len(hashes)}")
        return f"{len(hashes)} messages"

    async def an_element_of_an_aggregate(self) -> str:
        first, _ = await self.client.create_aggregate("forgetful", {"a": 1}, channel=CHANNEL, sync=True)
        await self.client.create_aggregate("forgetful", {"b": 2}, channel=CHANNEL, sync=True)
        await self.client.forget([first.item_hash], reason=None, channel=CHANNEL, sync=True)
        equal(await self.client.get_aggregate(self.address, "forgetful"), {"b": 2})
        return "{'b': 2} is left"

    async def a_file(self) -> str:
        stored = await self.world.store(f"forget me {self.world.tag}".encode())
        await self.client.forget([stored.item_hash], reason="no use", channel=CHANNEL, sync=True)
        content = await self.client.get_stored_content(stored.item_hash)
        contains(content.error, "forgotten")
        return content.error

    async def not_what_belongs_to_others(self) -> str:
        post = await self.world.publish()
        stranger = await self.world.stranger()
        try:
            await stranger.forget([post.item_hash], reason=None, channel=CHANNEL, sync=True)
        except InvalidMessageError as error:
            equal(await self.client.get_message_status(post.item_hash), MessageStatus.PROCESSED)
            return str(error)
        raise AssertionError("somebody else's post was forgotten")

    async def what_is_left_can_be_listed(self) -> str:
        answer = await self.client.get_messages(
            message_filter=MessageFilter(addresses=[self.address]), ignore_invalid_messages=False
        )
        kinds = {type(message) for message in answer.messages}
        holds({AggregateMessage, ForgetMessage, PostMessage, StoreMessage} <= kinds, f"there are only {kinds}")
        return f"{answer.pagination_total} messages, all valid"
