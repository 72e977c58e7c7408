"""The official Python SDK, unmodified, against one core node: `python_sdk.py URL`.

A key made for this run creates a post, an aggregate and a stored file, reads them back, watches
them arrive on the WebSocket, amends and forgets. Each case prints a line; the last line counts.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import logging
import os
import sys
import tempfile
import time
import traceback
from collections.abc import Awaitable, Callable

# before the SDK is imported: no key file and no configuration of the user's is touched
os.environ["ALEPH_CONFIG_HOME"] = tempfile.mkdtemp(prefix="aleph-conformance-")

from aleph.sdk.chains.ethereum import ETHAccount  # noqa: E402
from aleph.sdk.client import AlephHttpClient, AuthenticatedAlephHttpClient  # noqa: E402
from aleph.sdk.exceptions import ForgottenMessageError, MessageNotFoundError  # noqa: E402
from aleph.sdk.query.filters import MessageFilter, PostFilter  # noqa: E402
from aleph.sdk.types import StorageEnum  # noqa: E402
from aleph_message.models import (  # noqa: E402
    AggregateMessage,
    ForgetMessage,
    MessageType,
    PostMessage,
    StoreMessage,
)
from aleph_message.status import MessageStatus  # noqa: E402

CASE_SECONDS = 30.0
CHANNEL = "CONFORMANCE"


class Cases:
    """One run against one node. Cases run in the order in which they stand here."""

    def __init__(self, client: AuthenticatedAlephHttpClient) -> None:
        self.client = client
        self.address = client.account.get_address()
        self.post_type = f"conformance-{time.time_ns()}"
        self.post: PostMessage | None = None
        self.file: StoreMessage | None = None
        self.file_bytes = os.urandom(200_000)

    async def create_a_post(self) -> str:
        message, status = await self.client.create_post(
            post_content={"text": "hello", "umlaut": "ü", "number": 1.5},
            post_type=self.post_type,
            channel=CHANNEL,
            sync=True,
        )
        equal(status, MessageStatus.PROCESSED)
        self.post = message
        return message.item_hash

    async def read_the_message_by_its_hash(self) -> str:
        message, status = await self.client.get_message(
            self.post.item_hash, message_type=PostMessage, with_status=True
        )
        equal(status, MessageStatus.PROCESSED)
        equal(message.item_content, self.post.item_content)
        equal(message.signature, self.post.signature)
        equal(message.content.content["umlaut"], "ü")
        return f"{message.sender[:10]}…"

    async def ask_for_its_status(self) -> str:
        status = await self.client.get_message_status(self.post.item_hash)
        equal(status, MessageStatus.PROCESSED)
        return status.value

    async def list_posts(self) -> str:
        answer = await self.client.get_posts(
            post_filter=PostFilter(types=[self.post_type], addresses=[self.address])
        )
        equal([post.item_hash for post in answer.posts], [self.post.item_hash])
        equal(answer.posts[0].content["text"], "hello")
        equal(answer.pagination_total, 1)
        return f"{answer.pagination_total} post"

    async def amend_the_post(self) -> str:
        _, status = await self.client.create_post(
            post_content={"text": "amended"},
            post_type="amend",
            ref=self.post.item_hash,
            channel=CHANNEL,
            sync=True,
        )
        equal(status, MessageStatus.PROCESSED)
        answer = await self.client.get_posts(post_filter=PostFilter(hashes=[self.post.item_hash]))
        equal(answer.posts[0].content["text"], "amended")
        equal(answer.posts[0].original_item_hash, self.post.item_hash)
        return answer.posts[0].item_hash

    async def set_an_aggregate(self) -> str:
        message, status = await self.client.create_aggregate(
            key="profile", content={"name": "Ada", "bio": "first"}, channel=CHANNEL, sync=True
        )
        equal(status, MessageStatus.PROCESSED)
        return message.item_hash

    async def merge_into_the_aggregate(self) -> str:
        _, status = await self.client.create_aggregate(
            key="profile", content={"bio": "second"}, channel=CHANNEL, sync=True
        )
        equal(status, MessageStatus.PROCESSED)
        content = await self.client.get_aggregate(self.address, "profile")
        equal(content, {"name": "Ada", "bio": "second"})
        return str(content)

    async def read_several_aggregates(self) -> str:
        await self.client.create_aggregate(key="other", content={"a": 1}, channel=CHANNEL, sync=True)
        contents = await self.client.get_aggregates(self.address, ["profile", "other"])
        equal(sorted(contents), ["other", "profile"])
        return ", ".join(sorted(contents))

    async def store_a_file(self) -> str:
        message, status = await self.client.create_store(
            file_content=self.file_bytes,
            storage_engine=StorageEnum.storage,
            channel=CHANNEL,
            sync=True,
        )
        equal(status, MessageStatus.PROCESSED)
        self.file = message
        return message.content.item_hash

    async def download_the_file(self) -> str:
        data = await self.client.download_file(self.file.content.item_hash)
        equal(len(data), len(self.file_bytes))
        equal(data, self.file_bytes)
        buffer = io.BytesIO()
        await self.client.download_file_to_buffer(self.file.content.item_hash, buffer)
        equal(buffer.getvalue(), self.file_bytes)
        return f"{len(data)} bytes"

    async def read_the_stored_content(self) -> str:
        content = await self.client.get_stored_content(self.file.item_hash)
        equal(content.error, None)
        equal(content.hash, self.file.content.item_hash)
        return content.url.rsplit("/", 1)[0].removeprefix(str(self.client.api_server))

    async def post_more_than_fits_inline(self) -> str:
        message, status = await self.client.create_post(
            post_content={"text": "x" * 60_000}, post_type=self.post_type, channel=CHANNEL, sync=True
        )
        equal(status, MessageStatus.PROCESSED)
        equal(message.item_type.value, "storage")
        read = await self.client.get_message(message.item_hash, message_type=PostMessage)
        equal(len(read.content.content["text"]), 60_000)
        return "60,000 characters by hash"

    async def list_messages(self) -> str:
        answer = await self.client.get_messages(
            message_filter=MessageFilter(addresses=[self.address], channels=[CHANNEL])
        )
        types = sorted({message.type.value for message in answer.messages})
        equal(types, ["AGGREGATE", "POST", "STORE"])
        return f"{len(answer.messages)} messages"

    async def page_through_messages(self) -> str:
        seen = []
        async for message in self.client.get_messages_iterator(
            message_filter=MessageFilter(addresses=[self.address], message_types=[MessageType.post])
        ):
            seen.append(message.item_hash)
        equal(len(seen), len(set(seen)))
        equal(self.post.item_hash in seen, True)
        return f"{len(seen)} posts"

    async def page_by_cursor(self) -> str:
        seen = []
        cursor: str | None = ""
        while cursor is not None:
            answer = await self.client.get_messages_cursor(
                page_size=2, cursor=cursor, message_filter=MessageFilter(addresses=[self.address])
            )
            seen.extend(message.item_hash for message in answer.messages)
            cursor = answer.next_cursor
        equal(len(seen), len(set(seen)))
        equal(self.post.item_hash in seen, True)
        return f"{len(seen)} messages, 2 a page"

    async def watch_messages_arrive(self) -> str:
        """A post, an aggregate and a file, each seen on the WebSocket exactly as it was sent."""
        tag = f"watched-{time.time_ns()}"
        arrived: dict[str, str] = {}

        async def watch() -> None:
            watched = self.client.watch_messages(message_filter=MessageFilter(addresses=[self.address], channels=[tag]))
            async for message in watched:
                arrived[message.item_hash] = message.type.value
                if len(arrived) == 3:
                    return

        watcher = asyncio.create_task(watch())
        try:
            await asyncio.sleep(1)  # the SDK does not say when it is connected
            post, _ = await self.client.create_post({"n": 1}, post_type=tag, channel=tag, sync=True)
            aggregate, _ = await self.client.create_aggregate("watched", {"n": 1}, channel=tag, sync=True)
            store, _ = await self.client.create_store(
                file_content=tag.encode(), storage_engine=StorageEnum.storage, channel=tag, sync=True
            )
            await asyncio.wait_for(watcher, CASE_SECONDS / 2)
        except TimeoutError:
            raise AssertionError(f"only {sorted(arrived.values())} arrived") from None
        finally:
            watcher.cancel()
        equal(arrived, {post.item_hash: "POST", aggregate.item_hash: "AGGREGATE", store.item_hash: "STORE"})
        return "3 messages"

    async def be_told_of_a_missing_message(self) -> str:
        try:
            await self.client.get_message("0" * 64)
        except MessageNotFoundError:
            return "MessageNotFoundError"
        raise AssertionError("a message that does not exist was found")

    async def be_refused_with_a_wrong_signature(self) -> str:
        message = await self.client.generate_signed_message(
            message_type=MessageType.post,
            content={"address": self.address, "time": time.time(), "type": "x", "content": {}},
            channel=CHANNEL,
        )
        forged = message.model_dump(mode="json", exclude_none=True)
        forged["signature"] = "0x" + "11" * 65
        async with self.client.http_session.post(
            "/api/v0/messages", json={"sync": True, "message": forged}
        ) as answer:
            equal(answer.status, 422)
            return f"{answer.status}"

    async def forget_the_post(self) -> str:
        message, status = await self.client.forget(
            hashes=[self.post.item_hash], reason="conformance", channel=CHANNEL, sync=True
        )
        equal(status, MessageStatus.PROCESSED)
        equal(isinstance(message, ForgetMessage), True)
        try:
            await self.client.get_message(self.post.item_hash)
        except ForgottenMessageError:
            pass
        else:
            raise AssertionError("a forgotten message was given")
        answer = await self.client.get_posts(post_filter=PostFilter(hashes=[self.post.item_hash]))
        equal(answer.posts, [])
        return message.item_hash

    async def read_without_an_account(self) -> str:
        async with AlephHttpClient(api_server=str(self.client.api_server)) as reader:
            message = await reader.get_message(self.file.item_hash, message_type=StoreMessage)
            equal(message.content.item_hash, self.file.content.item_hash)
            aggregate = await reader.get_messages(
                message_filter=MessageFilter(addresses=[self.address], message_types=[MessageType.aggregate])
            )
            equal(all(isinstance(found, AggregateMessage) for found in aggregate.messages), True)
        return "AlephHttpClient"


def equal(actual: object, expected: object) -> None:
    if actual != expected:
        raise AssertionError(f"{shorten(actual)} is not {shorten(expected)}")


def shorten(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 120 else text[:117] + "..."


async def run(node: str) -> int:
    account = ETHAccount(private_key=os.urandom(32))
    passed = failed = 0
    async with AuthenticatedAlephHttpClient(account=account, api_server=node) as client:
        cases = Cases(client)
        names = [name for name in vars(Cases) if not name.startswith("_")]
        for name in names:
            case: Callable[[], Awaitable[str]] = getattr(cases, name)
            title = name.replace("_", " ")
            begun = time.monotonic()
            try:
                remark = await asyncio.wait_for(case(), CASE_SECONDS)
            except Exception as error:  # a case may fail in any way; the suite goes on
                failed += 1
                print(f"FAILED  {title}: {type(error).__name__}: {shorten(error)}", flush=True)
                if "-v" in sys.argv:
                    traceback.print_exc()
            else:
                passed += 1
                milliseconds = (time.monotonic() - begun) * 1000
                print(f"ok      {title:36} {milliseconds:6.0f} ms  {remark}", flush=True)
    print(f"\n{passed} passed, {failed} failed")
    return 0 if failed == 0 else 1


def main() -> int:
    if len(sys.argv) < 2:
        print("usage: python_sdk.py URL [-v]", file=sys.stderr)
        return 2
    logging.basicConfig(level=logging.ERROR)
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)
    with contextlib.suppress(KeyboardInterrupt):
        return asyncio.run(run(sys.argv[1].rstrip("/")))
    return 130


if __name__ == "__main__":
    sys.exit(main())
