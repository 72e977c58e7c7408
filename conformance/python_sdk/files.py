"""Files: small, large, by reference, on IPFS."""

from __future__ import annotations

import io
import json
import os
import tempfile
from pathlib import Path

import aiohttp
import aleph_cid
from aleph.sdk.query.filters import AccountFilesFilter, SortOrder
from aleph.sdk.types import StorageEnum
from aleph.sdk.utils import extended_json_encoder
from aleph_message.models import StoreMessage
from aleph_message.status import MessageStatus

from cases import Skip, contains, equal, holds
from world import CHANNEL, MIB, Group, World

LARGE = 40 * MIB


class Files(Group):
    async def store(self) -> str:
        self.world.file = await self.world.store(self.world.file_bytes)
        return self.world.file.content.item_hash

    async def download(self) -> str:
        data = await self.client.download_file(self.world.file.content.item_hash)
        equal(data == self.world.file_bytes, True)
        buffer = io.BytesIO()
        await self.client.download_file_to_buffer(self.world.file.content.item_hash, buffer)
        equal(buffer.getvalue() == self.world.file_bytes, True)
        with tempfile.TemporaryDirectory() as folder:
            path = await self.client.download_file_to_path(self.world.file.content.item_hash, Path(folder, "a/b"))
            equal(path.read_bytes() == self.world.file_bytes, True)
        return f"{len(data)} bytes, three ways"

    async def read_the_stored_content(self) -> str:
        content = await self.client.get_stored_content(self.world.file.item_hash)
        equal((content.error, content.hash), (None, self.world.file.content.item_hash))
        async with self.client.http_session.get(content.url) as answer:
            equal(await answer.read() == self.world.file_bytes, True)
        return content.url.removeprefix(str(self.client.api_server)).rsplit("/", 1)[0]

    async def store_an_empty_one(self) -> str:
        # small files are free for everybody, but an empty one is none of these
        self.world.needs_money()
        stored = await self.world.store(b"")
        equal(await self.client.download_file(stored.content.item_hash), b"")
        return stored.content.item_hash

    async def store_a_large_one(self) -> str:
        self.world.needs_money()
        block = os.urandom(MIB)
        content = b"".join(block for _ in range(LARGE // MIB))
        stored = await self.world.store(content)
        equal(await self.client.download_file(stored.content.item_hash) == content, True)
        return f"{LARGE // MIB} MiB"

    async def store_with_metadata(self) -> str:
        stored = await self.world.store(
            b"named " + self.world.tag.encode(), extra_fields={"metadata": {"name": "a name.txt"}},
            guess_mime_type=True,
        )
        # `get_stored_content` looks for an attribute in what is a dictionary, so it never finds the name
        read = await self.client.get_message(stored.item_hash, message_type=StoreMessage)
        equal(read.content.metadata, {"name": "a name.txt"})
        return str(read.content.metadata)

    async def store_a_hash_that_is_there(self) -> str:
        file = self.world.file.content.item_hash
        message, status = await self.client.create_store(
            file_hash=file, payment=self.world.payment(), channel=CHANNEL, sync=True
        )
        equal(status, MessageStatus.PROCESSED)
        holds(message.item_hash != self.world.file.item_hash, "it is the same message")
        return message.item_hash

    async def store_a_new_version(self) -> str:
        newer = await self.world.store(b"second " + self.world.tag.encode(), ref=self.world.file.item_hash)
        read = await self.client.get_message(newer.item_hash, message_type=StoreMessage)
        equal(read.content.ref, self.world.file.item_hash)
        path = f"/api/v0/storage/by-ref/{self.world.file.item_hash}"
        async with self.client.http_session.get(path) as answer:
            equal((await answer.json())["file_hash"], newer.content.item_hash)
        return newer.content.item_hash

    async def push_without_a_message(self) -> str:
        text = await self.client.storage_push({"pushed": self.world.tag})
        file = await self.client.storage_push_file(b"pushed " + self.world.tag.encode())
        equal(await self.client.download_file(file), b"pushed " + self.world.tag.encode())
        return f"{text[:10]}…, {file[:10]}…"

    async def be_refused_with_too_much_at_once(self) -> str:
        try:
            await self.client.storage_push_file(b"x" * (26 * MIB))
        except aiohttp.ClientResponseError as error:
            equal(error.status, 413)
            return f"{error.status}: {error.message}"
        raise AssertionError("26 MiB without a message were taken")

    async def be_refused_with_another_hash(self) -> str:
        form = aiohttp.FormData()
        message = await self.client.generate_signed_message(
            message_type=self.world.file.type,
            content=self.world.file.content.model_dump(mode="json", exclude_none=True), channel=CHANNEL,
        )
        metadata = {"message": message.model_dump(exclude_none=True), "sync": True}
        form.add_field(
            "metadata", json.dumps(metadata, default=extended_json_encoder), content_type="application/json"
        )
        form.add_field("file", io.BytesIO(b"other bytes"))
        async with self.client.http_session.post("/api/v0/storage/add_file", data=form) as answer:
            text = await answer.text()
            equal(answer.status, 422)
            contains(text, "hash does not match")
            return text

    async def list_those_of_an_address(self) -> str:
        newest = await self.client.get_account_files(self.address, page_size=2)
        oldest = await self.client.get_account_files(
            self.address, page_size=2, filter=AccountFilesFilter(sort_order=SortOrder.ASCENDING)
        )
        holds(newest.pagination_total >= 4, f"there are only {newest.pagination_total}")
        holds(newest.files[0].created >= newest.files[1].created, "the newest is not first")
        holds(oldest.files[0].created <= oldest.files[1].created, "sortOrder=1 is not heard")
        return f"{newest.pagination_total} files, {newest.total_size} bytes"

    async def ask_for_those_of_nobody(self) -> str:
        try:
            await self.client.get_account_files("0x" + "00" * 20)
        except aiohttp.ClientResponseError as error:
            equal(error.status, 404)
            return f"{error.status}: {error.message}"
        raise AssertionError("nobody has files")


class Ipfs(Group):
    def __init__(self, world: World) -> None:
        super().__init__(world)
        self.cid = ""

    async def push_json(self) -> str:
        async with self.client.http_session.post("/api/v0/ipfs/add_json", json={"a": 1}) as answer:
            if answer.status == 403:
                raise Skip("this node has no IPFS yet (COMPATIBILITY.md)")
        self.cid = await self.client.ipfs_push({"pushed": self.world.tag})
        holds(self.cid.startswith("Qm"), f"it is {self.cid}")
        return self.cid

    async def push_a_file(self) -> str:
        self._needs_ipfs()
        content = b"ipfs " + self.world.tag.encode()
        cid = await self.client.ipfs_push_file(content)
        equal(cid, aleph_cid.compute_cid(content))
        equal(await self.client.download_file(cid), content)
        return cid

    async def store(self) -> str:
        self._needs_ipfs()
        content = os.urandom(700_000)
        stored = await self.world.store(content, storage_engine=StorageEnum.ipfs)
        equal(stored.content.item_hash, aleph_cid.compute_cid(content))
        equal(await self.client.download_file(stored.content.item_hash) == content, True)
        self.cid = str(stored.content.item_hash)
        return self.cid

    async def store_a_folder(self) -> str:
        self._needs_ipfs()
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / "sub").mkdir()
            (Path(folder) / "index.html").write_text(f"<p>{self.world.tag}</p>")
            (Path(folder) / "sub/large.bin").write_bytes(os.urandom(600_000))
            stored, status = await self.client.create_store_folder(
                folder, payment=self.world.payment(), channel=CHANNEL, sync=True
            )
        equal(status, MessageStatus.PROCESSED)
        return str(stored.content.item_hash)

    async def pin(self) -> str:
        self._needs_ipfs()
        message, status = await self.client.create_store(
            file_hash=self.cid, storage_engine=StorageEnum.ipfs, payment=self.world.payment(), channel=CHANNEL,
            sync=True,
        )
        equal(status, MessageStatus.PROCESSED)
        return message.item_hash

    async def keep_a_long_post(self) -> str:
        self._needs_ipfs()
        post = await self.world.publish(
            post_content={"text": "y" * 60_000}, inline=False, storage_engine=StorageEnum.ipfs
        )
        equal(post.item_type.value, "ipfs")
        return post.item_hash

    def _needs_ipfs(self) -> None:
        if not self.cid:
            raise Skip("this node has no IPFS yet (COMPATIBILITY.md)")
