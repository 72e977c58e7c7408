"""A client of the tus protocol, unmodified, uploads to one core node: `main.py URL [word …] [-v]`.

It is interrupted in every way that a client meets, and resumes. The signed STORE comes from the Python SDK.
"""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
import os
import socket
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit

os.environ["ALEPH_CONFIG_HOME"] = tempfile.mkdtemp(prefix="aleph-conformance-")

from aleph.sdk.chains.ethereum import ETHAccount  # noqa: E402
from tusclient.client import TusClient  # noqa: E402
from tusclient.exceptions import TusCommunicationError, TusUploadFailed  # noqa: E402
from tusclient.storage.filestorage import FileStorage  # noqa: E402

import cases  # noqa: E402
from cases import contains, equal  # noqa: E402

MIB = 1024 * 1024


class Resumable:
    def __init__(self, node: str) -> None:
        self.node = node
        self.account = ETHAccount(bytes.fromhex(cases.funded_key() or os.urandom(32).hex()))
        self.client = TusClient(f"{node}/api/v1/uploads")
        self.folder = Path(tempfile.mkdtemp(prefix="aleph-conformance-"))

    def upload_in_pieces(self) -> str:
        content = os.urandom(3 * MIB + 17)
        self.client.uploader(file_stream=io.BytesIO(content), chunk_size=MIB).upload()
        equal(self._download(content), content)
        return f"{len(content)} bytes in 4 pieces"

    def upload_at_once(self) -> str:
        content = os.urandom(2 * MIB)
        self.client.uploader(file_stream=io.BytesIO(content)).upload()
        equal(self._download(content), content)
        return "1 piece"

    def upload_an_empty_file(self) -> str:
        uploader = self.client.uploader(file_stream=io.BytesIO(b""))
        uploader.upload()
        equal(uploader.get_offset(), 0)
        return "no piece"

    def stop_and_resume_in_another_process(self) -> str:
        """What the second client knows of the first is a file with the upload's address."""
        content = os.urandom(4 * MIB)
        path = self.folder / "large.bin"
        path.write_bytes(content)
        options = {
            "file_path": str(path), "chunk_size": MIB, "store_url": True,
            "url_storage": FileStorage(str(self.folder / "uploads.json")),
        }
        self.client.uploader(**options).upload(stop_at=2 * MIB)
        second = TusClient(f"{self.node}/api/v1/uploads").uploader(**options)
        equal(second.get_offset(), 2 * MIB)
        second.upload()
        equal(self._download(content), content)
        return "at 2 of 4 MiB"

    def lose_the_connection_and_resume(self) -> str:
        """The connection ends in the middle of a piece; what came before it counts."""
        content = os.urandom(2 * MIB)
        uploader = self.client.uploader(file_stream=io.BytesIO(content), chunk_size=MIB)
        uploader.set_url(uploader.create_url())
        self._begin_a_piece_and_vanish(uploader.url, content[: MIB // 2], MIB)
        deadline = time.monotonic() + 20
        while uploader.get_offset() < MIB // 2 and time.monotonic() < deadline:
            time.sleep(0.05)
        equal(uploader.get_offset(), MIB // 2)
        resumed = self.client.uploader(file_stream=io.BytesIO(content), url=uploader.url, chunk_size=MIB)
        equal(resumed.offset, MIB // 2)
        resumed.upload()
        equal(self._download(content), content)
        return "at half a piece"

    def with_checksums(self) -> str:
        content = os.urandom(2 * MIB)
        self.client.uploader(file_stream=io.BytesIO(content), chunk_size=MIB, upload_checksum=True).upload()
        equal(self._download(content), content)
        return "2 pieces"

    def ending_in_a_store(self) -> str:
        content = os.urandom(2 * MIB)
        message = self._store(content)
        uploader = self.client.uploader(
            file_stream=io.BytesIO(content), chunk_size=MIB,
            metadata={"filename": "ü.bin", "message": json.dumps({"message": message, "sync": True})},
        )
        uploader.upload(stop_at=MIB)
        self.client.uploader(file_stream=io.BytesIO(content), url=uploader.url, chunk_size=MIB).upload()
        equal(self._get(f"/api/v0/messages/{message['item_hash']}")["status"], "processed")
        equal(self._download(content), content)
        return message["item_hash"]

    def refused_with_another_hash(self) -> str:
        content = os.urandom(MIB)
        message = self._store(b"other bytes")
        uploader = self.client.uploader(
            file_stream=io.BytesIO(content), metadata={"message": json.dumps({"message": message, "sync": True})}
        )
        try:
            uploader.upload()
        except TusUploadFailed as error:
            equal(error.status_code, 422)
            return error.response_content.decode()
        raise AssertionError("it was taken")

    def refused_with_a_wrong_signature(self) -> str:
        message = self._store(b"some bytes") | {"signature": "0x" + "11" * 65}
        uploader = self.client.uploader(
            file_stream=io.BytesIO(b"some bytes"), metadata={"message": json.dumps({"message": message, "sync": True})}
        )
        try:
            uploader.upload()
        except TusCommunicationError as error:
            contains(str(error.status_code), "403")
            return error.response_content.decode()
        raise AssertionError("it was taken")

    def given_up(self) -> str:
        uploader = self.client.uploader(file_stream=io.BytesIO(os.urandom(MIB)), chunk_size=MIB // 2)
        uploader.upload(stop_at=MIB // 2)
        request = urllib.request.Request(uploader.url, method="DELETE", headers={"Tus-Resumable": "1.0.0"})
        with urllib.request.urlopen(request, timeout=20) as answer:
            equal(answer.status, 204)
        try:
            uploader.get_offset()
        except TusCommunicationError as error:
            return f"code {error.status_code}"
        raise AssertionError("it is still there")

    def _store(self, content: bytes) -> dict:
        paid = {"chain": "ETH", "type": "hold" if cases.takes_tokens() else "credit"}
        body = json.dumps({
            "address": self.account.get_address(), "time": time.time(), "item_type": "storage",
            "item_hash": hashlib.sha256(content).hexdigest(), "payment": paid,
        }, separators=(",", ":"))
        message = {
            "chain": "ETH", "sender": self.account.get_address(), "type": "STORE", "channel": "CONFORMANCE",
            "time": time.time(), "item_type": "inline", "item_content": body,
            "item_hash": hashlib.sha256(body.encode()).hexdigest(),
        }
        return asyncio.run(self.account.sign_message(message))

    def _get(self, path: str) -> dict:
        with urllib.request.urlopen(self.node + path, timeout=20) as answer:
            return json.load(answer)

    def _download(self, content: bytes) -> bytes:
        path = f"{self.node}/api/v0/storage/raw/{hashlib.sha256(content).hexdigest()}"
        with urllib.request.urlopen(path, timeout=20) as answer:
            return answer.read()

    @staticmethod
    def _begin_a_piece_and_vanish(url: str, sent: bytes, promised: int) -> None:
        place = urlsplit(url)
        head = (
            f"PATCH {place.path} HTTP/1.1\r\nHost: {place.netloc}\r\nTus-Resumable: 1.0.0\r\nUpload-Offset: 0\r\n"
            f"Content-Type: application/offset+octet-stream\r\nContent-Length: {promised}\r\n\r\n"
        )
        with socket.create_connection((place.hostname, place.port), timeout=20) as connection:
            connection.sendall(head.encode() + sent)


if __name__ == "__main__":
    if len(sys.argv) < 2:
        print("usage: main.py URL [word …] [-v]", file=sys.stderr)
        sys.exit(2)
    sys.exit(cases.run([Resumable(sys.argv[1].rstrip("/"))]))
