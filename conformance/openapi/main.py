"""An independent check of the API's own document by schemathesis: `main.py URL [-v]`.

Requests are made up from `/api/openapi.json`: valid ones, wrong ones, and valid ones about what the node holds,
which the suites before this one have left there. No answer may be a failure of the node (500), and every answer must
have a code, a content type, headers and a body that the document promises. $CONFORMANCE_SECONDS bounds the time.

Each operation is a case. What never ends (events, WebSockets) is left out.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import urllib.error
import urllib.parse
import urllib.request
import xml.etree.ElementTree as ElementTree
from pathlib import Path

from cases import shorten

CHECKS = [
    "not_a_server_error", "status_code_conformance", "content_type_conformance", "response_headers_conformance",
    "response_schema_conformance",
]
ENDLESS = "stream|/ws0/"
# at most so many of a kind are asked for
KNOWN = 20


class Node:
    def __init__(self, url: str) -> None:
        self.url = url

    def get(self, path: str, **query: object) -> dict:
        with urllib.request.urlopen(f"{self.url}{path}?{urllib.parse.urlencode(query)}", timeout=30) as answer:
            return json.load(answer)

    def known(self) -> dict[str, list[str]]:
        """Values of parameters, by their names, that the node has something for."""
        messages = self.get("/api/v0/messages.json", pagination=200)["messages"]
        contents = [message["content"] for message in messages if isinstance(message.get("content"), dict)]
        hashes = unique(message["item_hash"] for message in messages)
        senders = unique(message["sender"] for message in messages)
        stored = [message for message in messages if message["type"] == "STORE"]
        files = unique(message["content"]["item_hash"] for message in stored)
        refs = unique(content.get("ref") for content in contents)
        for status in ("forgotten", "removed"):
            try:
                more = self.get("/api/v0/messages.json", pagination=10, msgStatuses=status)["messages"]
            except urllib.error.HTTPError:
                continue
            hashes = unique(message["item_hash"] for message in more)[:5] + hashes
        tags = [content["content"].get("tags") for content in contents if isinstance(content.get("content"), dict)]
        return {
            "item_hash": hashes, "hashes": hashes, "hash": files + hashes[:3], "file_hash": files,
            "message_hash": unique(message["item_hash"] for message in stored) or hashes,
            "address": senders, "addresses": senders, "owners": senders, "ref": refs, "refs": refs,
            "contentHashes": files, "contentTypes": unique(content.get("type") for content in contents),
            "types": unique(content.get("type") for content in contents),
            "contentKeys": unique(content.get("key") for content in contents),
            "keys": unique(content.get("key") for content in contents),
            "channels": unique(message.get("channel") for message in messages),
            "tags": unique(tag for list_ in tags if isinstance(list_, list) for tag in list_),
            "node_id": ["c0" * 32, "c4" * 32],
        }


def unique(values) -> list[str]:
    seen = dict.fromkeys(value for value in values if isinstance(value, str) and value)
    return list(seen)[:KNOWN]


def about_known(document: dict, known: dict[str, list[str]]) -> dict:
    """The document, with parameters that take known values only."""
    for path in document["paths"].values():
        for operation in path.values():
            for parameter in operation.get("parameters", []):
                values = known.get(parameter["name"])
                if values:
                    parameter["schema"] = {"type": "string", "enum": values}
                    parameter.pop("examples", None)
                    parameter.pop("example", None)
    return document


def check(title: str, document: Path, node: str, seconds: int, *selection: str) -> int:
    """Runs schemathesis once; the number of operations that failed."""
    report = Path(f"{title.replace(' ', '-')}.xml").absolute()
    command = [
        str(Path(sys.executable).with_name("schemathesis")), "run", str(document), "--url", node, *selection,
        "--exclude-path-regex", ENDLESS, "--checks", ",".join(CHECKS), "--max-time", str(seconds),
        "--max-examples", "25", "--workers", "2", "--seed", "1", "--request-timeout", "20", "--no-shrink",
        "--report", "junit", "--report-junit-path", str(report), "--warnings", "off", "--no-color",
    ]
    # the time is bounded by schemathesis; should that fail, by us
    ended = subprocess.run(command, capture_output=True, text=True, timeout=seconds + 120)
    count = re.search(r"(\d+) generated, ", ended.stdout)
    if not report.exists():
        print(f"FAILED  {title}: schemathesis ended with {ended.returncode}: {shorten(ended.stderr or ended.stdout, 700)}")
        return 1
    failed = 0
    for case in ElementTree.parse(report).iter("testcase"):
        wrong = [*case.iter("failure"), *case.iter("error")]
        name, milliseconds = case.get("name"), float(case.get("time", 0)) * 1000
        if wrong:
            failed += 1
            said = " ".join(f"{found.get('message') or ''} {found.text or ''}" for found in wrong)
            print(f"FAILED  {title}: {name}: {shorten(' '.join(said.split()), 900)}", flush=True)
        else:
            print(f"ok      {title}: {name:58} {milliseconds:6.0f} ms", flush=True)
    if ended.returncode != 0 and failed == 0:
        failed = 1
        print(f"FAILED  {title}: schemathesis ended with {ended.returncode}: {shorten(ended.stdout[-700:], 700)}")
    print(f"        {title}: {count[1] if count else 'an unknown number of'} requests", flush=True)
    if "-v" in sys.argv:
        print(ended.stdout)
    return failed


def main() -> int:
    if len(sys.argv) < 2:
        print("usage: main.py URL [-v]", file=sys.stderr)
        return 2
    url = sys.argv[1].rstrip("/")
    node = Node(url)
    seconds = int(os.environ.get("CONFORMANCE_SECONDS", "60"))
    document = node.get("/api/openapi.json")
    as_served, known = Path("openapi.json"), Path("known.json")
    as_served.write_text(json.dumps(document))
    known.write_text(json.dumps(about_known(document, node.known())))
    reading, publishing = ("--include-method", "GET"), ("--include-method", "POST")
    failed = check("reading what is there", known, url, seconds * 3 // 10, *reading, "--mode", "positive",
                   "--phases", "coverage,fuzzing")
    failed += check("reading anything", as_served, url, seconds * 4 // 10, *reading, "--phases", "coverage,fuzzing")
    failed += check("publishing", as_served, url, seconds * 3 // 10, *publishing, "--phases", "coverage,fuzzing")
    return 0 if failed == 0 else 1


if __name__ == "__main__":
    sys.exit(main())
