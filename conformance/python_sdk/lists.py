"""Every filter and order of the lists, both kinds of pages, and the same filters on the WebSocket."""

from __future__ import annotations

import asyncio
import time

from aleph.sdk.query.filters import AddressesFilter, MessageFilter, PostFilter, SortBy, SortByMessageType, SortOrder
from aleph_message.models import Chain, MessageType, PostMessage

from cases import equal, holds
from world import CHANNEL, Group, World


class Lists(Group):
    """Three posts and an aggregate of an address of their own, asked for in every way."""

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self.tag = world.tag
        self.made: dict[str, str] = {}

    async def prepare(self) -> str:
        self.client = await self.world.stranger()
        self.address = self.client.account.get_address()
        first, _ = await self.client.create_post(
            {"tags": ["red", self.tag], "n": 1}, post_type=f"{self.tag}-a", channel=f"{self.tag}-x", sync=True
        )
        second, _ = await self.client.create_post(
            {"tags": ["blue"], "n": 2}, post_type=f"{self.tag}-b", channel=f"{self.tag}-y", ref=first.item_hash,
            sync=True,
        )
        third, _ = await self.client.create_post(
            {"n": 3}, post_type=f"{self.tag}-b", channel=f"{self.tag}-x", ref=f"{self.tag}-ref", sync=True
        )
        aggregate, _ = await self.client.create_aggregate(
            f"{self.tag}-key", {"n": 4}, channel=f"{self.tag}-x", sync=True
        )
        self.made = {message.item_hash: name for name, message in
                     (("first", first), ("second", second), ("third", third), ("aggregate", aggregate))}
        self.first, self.second, self.third, self.aggregate = first, second, third, aggregate
        return f"{len(self.made)} messages of {self.address}"

    async def messages_by_address(self) -> str:
        return await self._messages(["aggregate", "third", "second", "first"], addresses=[self.address])

    async def messages_by_hash(self) -> str:
        return await self._messages(["third", "first"], hashes=[self.first.item_hash, self.third.item_hash])

    async def messages_by_type(self) -> str:
        await self._messages(["aggregate"], addresses=[self.address], message_types=[MessageType.aggregate])
        both = [MessageType.aggregate, MessageType.post]
        return await self._messages(
            ["aggregate", "third", "second", "first"], addresses=[self.address], message_types=both
        )

    async def messages_by_channel(self) -> str:
        await self._messages(["second"], channels=[f"{self.tag}-y"])
        return await self._messages(["aggregate", "third", "first"], channels=[f"{self.tag}-x"])

    async def messages_by_reference(self) -> str:
        await self._messages(["second"], refs=[self.first.item_hash])
        return await self._messages(["third"], refs=[f"{self.tag}-ref"])

    async def messages_by_content_type(self) -> str:
        return await self._messages(["third", "second"], content_types=[f"{self.tag}-b"])

    async def messages_by_content_key(self) -> str:
        return await self._messages(["aggregate"], content_keys=[f"{self.tag}-key"])

    async def messages_by_tag(self) -> str:
        await self._messages(["first"], tags=[self.tag])
        return await self._messages(["second", "first"], addresses=[self.address], tags=["red", "blue"])

    async def messages_by_chain(self) -> str:
        await self._messages([], addresses=[self.address], chains=["SOL"])
        return await self._messages(
            ["aggregate", "third", "second", "first"], addresses=[self.address], chains=["ETH", "SOL"]
        )

    async def messages_by_status(self) -> str:
        await self._messages([], addresses=[self.address], message_statuses=["removing"])
        return await self._messages(
            ["aggregate", "third", "second", "first"], addresses=[self.address], message_statuses=["processed"]
        )

    async def messages_by_date(self) -> str:
        second, third = self.second.time.timestamp(), self.third.time.timestamp()
        await self._messages(["third", "second", "first"][1:], addresses=[self.address], end_date=third)
        return await self._messages(
            ["third", "second"], addresses=[self.address], start_date=second, end_date=third + 0.0005,
            message_types=[MessageType.post],
        )

    async def messages_oldest_first(self) -> str:
        return await self._messages(
            ["first", "second", "third", "aggregate"], addresses=[self.address], sort_order=SortOrder.ASCENDING
        )

    async def messages_by_transaction_time(self) -> str:
        answer = await self.client.get_messages(
            message_filter=MessageFilter(addresses=[self.address], sort_by=SortBy.TX_TIME)
        )
        equal({message.item_hash for message in answer.messages}, set(self.made))
        return f"{len(answer.messages)} messages"

    async def messages_by_everything_at_once(self) -> str:
        return await self._messages(
            ["second"], addresses=[self.address], message_types=[MessageType.post], channels=[f"{self.tag}-y"],
            refs=[self.first.item_hash], content_types=[f"{self.tag}-b"], tags=["blue"], chains=["ETH"],
            hashes=[self.second.item_hash], start_date=self.second.time.timestamp() - 1, end_date=time.time() + 1,
            sort_by=SortBy.TIME, sort_order=SortOrder.DESCENDING,
        )

    async def page_through_messages(self) -> str:
        seen = []
        for page in (1, 2, 3):
            answer = await self.client.get_messages(
                page_size=3, page=page, message_filter=MessageFilter(addresses=[self.address])
            )
            equal((answer.pagination_page, answer.pagination_per_page), (page, 3))
            equal((answer.pagination_total, answer.pagination_item), (4, "messages"))
            seen.extend(self.made[message.item_hash] for message in answer.messages)
        equal(seen, ["aggregate", "third", "second", "first"])
        return "3 + 1"

    async def walk_messages_by_cursor(self) -> str:
        seen, cursor = [], ""
        while cursor is not None:
            answer = await self.client.get_messages_cursor(
                page_size=1, cursor=cursor, message_filter=MessageFilter(addresses=[self.address])
            )
            seen.extend(self.made[message.item_hash] for message in answer.messages)
            cursor = answer.next_cursor
        equal(seen, ["aggregate", "third", "second", "first"])
        walked = self.client.get_messages_iterator(
            message_filter=MessageFilter(addresses=[self.address], sort_order=SortOrder.ASCENDING)
        )
        equal([self.made[message.item_hash] async for message in walked], ["first", "second", "third", "aggregate"])
        return "4 pages of 1, and the iterator"

    async def posts_by_every_filter(self) -> str:
        filters = [
            ({"types": [f"{self.tag}-b"]}, ["third", "second"]),
            ({"refs": [self.first.item_hash]}, ["second"]),
            ({"addresses": [self.address]}, ["third", "second", "first"]),
            ({"tags": [self.tag, "blue"], "addresses": [self.address]}, ["second", "first"]),
            ({"hashes": [self.first.item_hash]}, ["first"]),
            ({"channels": [f"{self.tag}-x"]}, ["third", "first"]),
            ({"addresses": [self.address], "chains": ["ETH"]}, ["third", "second", "first"]),
            ({"addresses": [self.address], "end_date": self.second.time.timestamp() - 0.0005}, ["first"]),
            ({"addresses": [self.address], "start_date": self.third.time.timestamp() - 0.0005}, ["third"]),
            ({"addresses": [self.address], "sort_order": SortOrder.ASCENDING}, ["first", "second", "third"]),
            ({"addresses": [self.address], "sort_by": SortBy.TIME}, ["third", "second", "first"]),
        ]
        for parameters, expected in filters:
            answer = await self.client.get_posts(
                post_filter=PostFilter(**parameters), ignore_invalid_messages=False
            )
            found = [self.made[post.item_hash] for post in answer.posts]
            holds(found == expected, f"{parameters} gave {found}, not {expected}")
        unordered = await self.client.get_posts(
            post_filter=PostFilter(addresses=[self.address], sort_by=SortBy.TX_TIME)
        )
        equal(len(unordered.posts), 3)
        return f"{len(filters) + 1} filters"

    async def page_through_posts(self) -> str:
        answer = await self.client.get_posts(
            page_size=2, page=2, post_filter=PostFilter(addresses=[self.address])
        )
        equal([self.made[post.item_hash] for post in answer.posts], ["first"])
        equal((answer.pagination_total, answer.pagination_item), (3, "posts"))
        seen, cursor = [], ""
        while cursor is not None:
            page = await self.client.get_posts_cursor(
                page_size=1, cursor=cursor, post_filter=PostFilter(addresses=[self.address])
            )
            seen.extend(self.made[post.item_hash] for post in page.posts)
            cursor = page.next_cursor
        equal(seen, ["third", "second", "first"])
        walked = self.client.get_posts_iterator(post_filter=PostFilter(addresses=[self.address]))
        equal([self.made[post.item_hash] async for post in walked], ["third", "second", "first"])
        return "pages, cursors, the iterator"

    async def count_messages_of_addresses(self) -> str:
        # the numbers may be five minutes old, so no count is expected
        answer = await self.client.get_address_stats(page_size=5)
        equal(answer.pagination_item, "addresses")
        for sort_by in SortByMessageType:
            if sort_by != SortByMessageType.V_PROGRAM:
                await self.client.get_address_stats(
                    filter=AddressesFilter(address_contains="0x", sort_by=sort_by, sort_order=SortOrder.ASCENDING)
                )
        return f"{answer.pagination_total} addresses"

    async def _messages(self, expected: list[str], **parameters: object) -> str:
        answer = await self.client.get_messages(
            message_filter=MessageFilter(**parameters), ignore_invalid_messages=False
        )
        found = [self.made[message.item_hash] for message in answer.messages]
        holds(found == expected, f"{sorted(parameters)} gave {found}, not {expected}")
        equal(answer.pagination_total, len(expected))
        walked = await self.client.get_messages_cursor(
            message_filter=MessageFilter(**parameters), ignore_invalid_messages=False
        )
        equal([self.made[message.item_hash] for message in walked.messages], expected)
        return ", ".join(found)


class Watching(Group):
    async def messages_of_all_types(self) -> str:
        """A post, an aggregate and a file, each seen on the WebSocket exactly as it was sent."""
        tag = f"{self.world.tag}-watched"
        arrived: dict[str, str] = {}

        async def watch() -> None:
            watched = self.client.watch_messages(message_filter=MessageFilter(addresses=[self.address], channels=[tag]))
            async for message in watched:
                arrived[message.item_hash] = message.type.value
                if len(arrived) == 4:
                    return

        watcher = asyncio.create_task(watch())
        try:
            await asyncio.sleep(0.7)  # the SDK does not say when it is connected
            post, _ = await self.client.create_post({"n": 1}, post_type=tag, channel=tag, sync=True)
            aggregate, _ = await self.client.create_aggregate("watched", {"n": 1}, channel=tag, sync=True)
            store, _ = await self.client.create_store(file_content=tag.encode(), channel=tag, sync=True)
            forget, _ = await self.client.forget([post.item_hash], reason="seen", channel=tag, sync=True)
            await asyncio.wait_for(watcher, 20)
        except TimeoutError:
            raise AssertionError(f"only {sorted(arrived.values())} arrived") from None
        finally:
            watcher.cancel()
        equal(arrived, {
            post.item_hash: "POST", aggregate.item_hash: "AGGREGATE", store.item_hash: "STORE",
            forget.item_hash: "FORGET",
        })
        return "4 messages"

    async def with_every_filter(self) -> str:
        """One watcher a filter: each sees what it asked for, and nothing else."""
        tag = f"{self.world.tag}-filters"
        target = await self.world.publish(post_type=f"{tag}-target")
        address = self.address
        watchers = {
            "address": MessageFilter(addresses=[address], channels=[tag]),
            "channel": MessageFilter(channels=[tag]),
            "reference": MessageFilter(refs=[target.item_hash], channels=[tag]),
            "tag": MessageFilter(tags=[tag]),
            "content type": MessageFilter(content_types=[tag]),
            "content key": MessageFilter(content_keys=[tag]),
            "type": MessageFilter(message_types=[MessageType.aggregate], channels=[tag]),
            "chain": MessageFilter(chains=[Chain.ETH], channels=[tag]),
            "another chain": MessageFilter(chains=[Chain.SOL], channels=[tag]),
        }
        seen: dict[str, set[str]] = {name: set() for name in watchers}

        async def watch(name: str) -> None:
            async for message in self.client.watch_messages(message_filter=watchers[name]):
                seen[name].add(message.item_hash)

        tasks = [asyncio.create_task(watch(name)) for name in watchers]
        try:
            await asyncio.sleep(1)
            plain = await self.world.publish(channel=tag)
            typed = await self.world.publish(channel=tag, post_type=tag)
            tagged = await self.world.publish(channel=tag, post_content={"tags": [tag]})
            referring = await self.world.publish(channel=tag, ref=target.item_hash)
            aggregate, _ = await self.client.create_aggregate(tag, {"n": 1}, channel=tag, sync=True)
            stranger = await self.world.stranger()
            foreign, _ = await stranger.create_post({"n": 1}, post_type=self.world.tag, channel=tag, sync=True)
            own = {message.item_hash for message in (plain, typed, tagged, referring, aggregate)}
            everything = own | {foreign.item_hash}
            expected = {
                "address": own, "channel": everything, "reference": {referring.item_hash},
                "tag": {tagged.item_hash}, "content type": {typed.item_hash}, "content key": {aggregate.item_hash},
                "type": {aggregate.item_hash}, "chain": everything, "another chain": set(),
            }
            for _ in range(100):
                if seen == expected:
                    break
                await asyncio.sleep(0.1)
            await asyncio.sleep(0.3)  # what should not come may still come
        finally:
            for task in tasks:
                task.cancel()
        for name in watchers:
            holds(seen[name] == expected[name], f"{name}: saw {len(seen[name])}, expected {len(expected[name])}")
        return f"{len(watchers)} watchers"
