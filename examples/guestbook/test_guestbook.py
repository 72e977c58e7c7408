"""Run with `python3 -m unittest` in this folder; nothing but Python is needed."""

from __future__ import annotations

import asyncio
import doctest
import hashlib
import json
import threading
import unittest
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from unittest import mock

import main
import wallet
from wallet import Account, keccak256

KEY = "0x" + "46" * 32


class WalletTest(unittest.TestCase):
    def test_keccak_of_known_texts(self):
        self.assertEqual(
            keccak256(b"").hex(), "c5d2460186f7233c927e7db2dcc703c0e500b653ca82273b7bfad8045d85a470"
        )
        self.assertEqual(
            keccak256(b"abc").hex(), "4e03657aea45a94fc7d47ba826c8d667c0d1e6e33a64a036ec44f58fa12d6c45"
        )

    def test_keccak_around_the_block_length(self):
        digests = {keccak256(b"x" * length) for length in range(130, 145)}
        self.assertEqual(len(digests), 15)

    def test_addresses(self):
        # private key 1: the generator's own address
        self.assertEqual(
            Account.from_hex("00" * 31 + "01").address, "0x7E5F4552091A69125d5DfCb7b8C2659029395Bdf"
        )
        self.assertEqual(Account.from_hex(KEY).address, "0x9d8A62f656a8d1615C1294fd71e9CFb3E4855A4F")
        self.assertEqual(doctest.testmod(wallet).failed, 0)

    def test_a_known_signature(self):
        # made once with an independent implementation (eth-account)
        account = Account.from_hex(KEY)
        self.assertEqual(account.sign_text(b"hello"), SIGNATURE_OF_HELLO)

    def test_keys_that_are_none(self):
        for text in ("00" * 32, "ff" * 32, "01" * 31, "zz"):
            with self.assertRaises(ValueError):
                Account.from_hex(text)


SIGNATURE_OF_HELLO = "0xf63c93dc642a4839770b35abf9cb304ac2f1b5463d9a9abd87546feaa0af992e659cf087c433e45c45f6135cb819ab1922c6359dbb1b8c8d7a54141de2cd4beb1b"


class Node(BaseHTTPRequestHandler):
    """A core node that keeps what is posted, newest first."""

    posts: list[dict] = []

    def do_GET(self):
        self.answer(200, {"posts": self.posts})

    def do_POST(self):
        message = json.loads(self.rfile.read(int(self.headers["content-length"])))["message"]
        expected = hashlib.sha256(message["item_content"].encode()).hexdigest()
        if message["item_hash"] != expected or len(message["signature"]) != 132:
            return self.answer(422, {"message_status": "rejected"})
        content = json.loads(message["item_content"])
        post = {"item_hash": expected, "time": content["time"], "content": content["content"]}
        type(self).posts = [post, *self.posts]
        self.answer(200, {"message_status": "processed"})

    def answer(self, status, value):
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class GuestbookTest(unittest.TestCase):
    def setUp(self):
        Node.posts = []
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Node)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.addCleanup(self.server.server_close)
        self.addCleanup(self.server.shutdown)
        variables = {
            "GUESTBOOK_KEY": KEY,
            "ALEPH_API_URL": f"http://127.0.0.1:{self.server.server_port}/",
            "GUESTBOOK_TITLE": "Tea & cake",
        }
        patch = mock.patch.dict("os.environ", variables)
        patch.start()
        self.addCleanup(patch.stop)
        self.forget()
        self.addCleanup(self.forget)

    @staticmethod
    def forget():
        if hasattr(main.guestbook, "made"):
            del main.guestbook.made

    def ask(self, method="GET", path="/", body=b""):
        sent = []

        async def receive():
            return {"type": "http.request", "body": body}

        async def send(event):
            sent.append(event)

        asyncio.run(main.app({"type": "http", "method": method, "path": path}, receive, send))
        headers = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
        return sent[0]["status"], headers, sent[1]["body"].decode()

    def test_an_empty_book_invites(self):
        status, headers, body = self.ask()
        self.assertEqual(status, 200)
        self.assertIn("Be the first", body)
        self.assertIn("Tea &amp; cake", body)
        self.assertEqual(int(headers["content-length"]), len(body.encode()))

    def test_a_visitor_signs_and_is_read(self):
        status, headers, _ = self.ask("POST", body="name=Ada&text=Hello+%C3%BC".encode())
        self.assertEqual(status, 303)
        self.assertTrue(headers["location"].startswith("?signed="))
        _, _, body = self.ask()
        self.assertIn("<p>Hello ü</p>", body)
        self.assertIn("One entry", body)
        _, _, entries = self.ask(path="/entries.json")
        self.assertEqual(json.loads(entries)[0]["name"], "Ada")

    def test_what_visitors_write_is_escaped(self):
        self.ask("POST", body=b"name=%3Cb%3E&text=%3Cscript%3E1%3C/script%3E")
        _, _, body = self.ask()
        self.assertNotIn("<script>", body)
        self.assertIn("&lt;script&gt;", body)

    def test_empty_and_long_entries_are_refused(self):
        self.assertEqual(self.ask("POST", body=b"name=Ada&text=++")[0], 400)
        status, _, body = self.ask("POST", body=b"text=" + b"x" * 501)
        self.assertEqual(status, 400)
        self.assertIn("too long", body)
        self.assertEqual(Node.posts, [])

    def test_posts_of_other_shapes_are_passed_over(self):
        Node.posts = [{"content": "text"}, {"content": {"name": 1, "text": "x"}}, {}]
        self.assertIn("Be the first", self.ask()[2])

    def test_a_node_that_is_away_is_told(self):
        with mock.patch.dict("os.environ", {"ALEPH_API_URL": "http://127.0.0.1:1"}):
            status, _, body = self.ask()
        self.assertEqual(status, 502)
        self.assertIn("does not answer", body)

    def test_a_missing_key_is_told(self):
        with mock.patch.dict("os.environ", {"GUESTBOOK_KEY": ""}):
            status, _, body = self.ask()
        self.assertEqual(status, 503)
        self.assertIn("GUESTBOOK_KEY", body)

    def test_health_and_other_paths(self):
        self.assertEqual(json.loads(self.ask(path="/health")[2])["ready"], True)
        self.assertEqual(self.ask(path="/nothing")[0], 404)
        self.assertEqual(self.ask("DELETE")[0], 405)
        status, headers, body = self.ask("HEAD")
        self.assertEqual((status, body), (200, ""))
        self.assertGreater(int(headers["content-length"]), 1000)


if __name__ == "__main__":
    unittest.main()
