"""The network as the guestbook sees it: entries are POST messages, read and written over the API.

Inside a micro-VM the API of a core node is at the URL in `ALEPH_API_URL`.
"""

from __future__ import annotations

import hashlib
import json
import time
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass

from wallet import Account

POST_TYPE = "guestbook"
CHANNEL = "guestbook"
TIMEOUT_SECONDS = 20
MAX_ANSWER_BYTES = 4 * 1024 * 1024


class NetworkError(Exception):
    """The node could not be reached, or refused; the text says which, for people."""


@dataclass(frozen=True)
class Entry:
    """What a visitor left."""

    name: str
    text: str
    time: float
    item_hash: str


class Guestbook:
    """The entries of one account on one node's API."""

    def __init__(self, api_url: str, account: Account) -> None:
        self.api_url = api_url.rstrip("/")
        self.account = account

    def entries(self, limit: int = 50) -> list[Entry]:
        """The newest entries first."""
        query = urllib.parse.urlencode(
            {"types": POST_TYPE, "addresses": self.account.address, "pagination": limit, "page": 1}
        )
        answer = self._request(f"/api/v0/posts.json?{query}")
        return [entry for post in answer.get("posts", []) if (entry := _entry(post))]

    def sign(self, name: str, text: str) -> Entry:
        """Publishes an entry; it is on the network when this returns."""
        now = time.time()
        content = {
            "address": self.account.address,
            "time": now,
            "content": {"name": name, "text": text},
            "type": POST_TYPE,
        }
        item_content = json.dumps(content, separators=(",", ":"))
        item_hash = hashlib.sha256(item_content.encode()).hexdigest()
        signed_text = f"ETH\n{self.account.address}\nPOST\n{item_hash}"
        message = {
            "chain": "ETH",
            "sender": self.account.address,
            "type": "POST",
            "channel": CHANNEL,
            "signature": self.account.sign_text(signed_text.encode()),
            "time": now,
            "item_type": "inline",
            "item_content": item_content,
            "item_hash": item_hash,
        }
        answer = self._request("/api/v0/messages", {"sync": True, "message": message})
        if answer.get("message_status") not in ("processed", "pending"):
            raise NetworkError(f"the node did not take the entry: {answer}")
        return Entry(name, text, now, item_hash)

    def _request(self, path: str, body: object = None) -> dict:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.api_url + path, data=data)
        request.add_header("Content-Type", "application/json")
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS) as answer:
                return json.loads(answer.read(MAX_ANSWER_BYTES))
        except urllib.error.HTTPError as error:
            said = error.read(500).decode(errors="replace")
            raise NetworkError(f"the node answered {error.code}: {said}") from error
        except (OSError, ValueError) as error:
            raise NetworkError(f"the node at {self.api_url} does not answer: {error}") from error


def _entry(post: dict) -> Entry | None:
    content = post.get("content")
    if not isinstance(content, dict):
        return None
    name, text = content.get("name"), content.get("text")
    if not isinstance(name, str) or not isinstance(text, str):
        return None  # anybody who knows the key may post anything under this type
    return Entry(name, text, float(post.get("time") or 0), str(post.get("item_hash", "")))
