"""A core node for the clients: it charges, and knows what the public network has learnt from its operators.

The genesis holds what official clients read from fixed addresses (prices, settings, images, the list of
nodes), and gives ALEPH and credits to the accounts of the suites. A second, tiny server stands where the
public list of compute nodes and the voucher registry are.
Only the standard library is used here.
"""

from __future__ import annotations

import http.server
import json
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

START_SECONDS = 60
STOP_SECONDS = 30

PRICE_PUBLISHER = "0xFba561a84A537fCaa567bb7A2257e7142701ae2A"
NODES_PUBLISHER = "0xa1B3bb7d2332383D96b7796B908fB7f7F3c2Be10"
GENESIS_TIME = 1_700_000_000.0

# Of the keys 0x1111…, 0x2222… of secp256k1: everybody has them, nothing of value is theirs.
ADDRESSES = {
    1: "0x19E7E376E7C213B7E7e7e46cc70A5dD086DAff2A",
    2: "0x1563915e194D8CfBA1943570603F7606A3115508",
    3: "0x5CbDd86a2FA8Dc4bDdd8a8f69dBa48572EeC07FB",
    4: "0x7564105E977516C53bE337314c7E53838967bDaC",
    5: "0xe1fAE9b4fAB2F5726677ECfA912d96b0B683e6a9",
    6: "0xdb2430B4e9AC14be6554d3942822BE74811A1AF9",
}
FUNDED_ALEPH = "1000000"
FUNDED_CREDITS = 1_000_000_000

CORE_NODE = "c0" * 32
COMPUTE_NODE = "c4" * 32


def key(number: int) -> str:
    return str(number) * 64


class CannotRun(Exception):
    """Why the suite could not run, and what to do."""


class StandIn:
    """Answers what clients ask of hosts other than core nodes."""

    def __enter__(self) -> "StandIn":
        answers = {"/crns.json": compute_nodes(), "/vouchers.json": {"claimed_tickets": {}, "batches": {}}}

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                answer = answers.get(self.path.partition("?")[0])
                body = json.dumps(answer).encode()
                self.send_response(404 if answer is None else 200)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def do_POST(self) -> None:
                # a compute node that has room for anything (`/control/reserve_resources`)
                self.rfile.read(int(self.headers.get("content-length", 0)))
                body = b'{"status": "reserved"}'
                self.send_response(200)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        for node in answers["/crns.json"]["crns"]:
            node["address"] = self.url
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.server.server_close()


class Node:
    """A throw-away core node of a private network, on a free port."""

    def __init__(self, alephd: Path, stand_in: StandIn) -> None:
        self.folder = tempfile.TemporaryDirectory(prefix="alephd-conformance-")
        folder = Path(self.folder.name)
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        (folder / "genesis.json").write_text(json.dumps(genesis(self.url, stand_in.url)))
        (folder / "config.toml").write_text(config(folder, port))
        command = [str(alephd), "--log", "warn", "ccn", "--config", str(folder / "config.toml")]
        print(f"starting {' '.join(command)}", flush=True)
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL)

    def __enter__(self) -> "Node":
        deadline = time.monotonic() + START_SECONDS
        # the genesis is processed when its last balance is there
        question = f"{self.url}/api/v0/addresses/{ADDRESSES[1]}/balance"
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                break
            try:
                with urllib.request.urlopen(question, timeout=5) as answer:
                    if float(json.load(answer)["credit_balance"]) > 0:
                        return self
            except (OSError, urllib.error.HTTPError):
                pass
            time.sleep(0.05)
        self.__exit__()
        raise CannotRun(f"the node did not start within {START_SECONDS} s; see above")

    def is_alive(self) -> bool:
        return self.process.poll() is None

    def __exit__(self, *_: object) -> None:
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            print("the node did not stop; killing it", file=sys.stderr)
            self.process.kill()
            self.process.wait()
        self.folder.cleanup()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def config(folder: Path, port: int) -> str:
    return f"""\
[storage]
data_dir = {json.dumps(str(folder / "data"))}

[http]
listen = "127.0.0.1:{port}"

[p2p]
enabled = false

[network]
private = true
genesis = {json.dumps(str(folder / "genesis.json"))}
"""


def genesis(node: str, compute: str) -> dict:
    def aggregate(address: str, name: str, content: dict) -> dict:
        return {
            "type": "AGGREGATE", "address": address, "time": GENESIS_TIME, "key": name, "content": content,
            "channel": "FOUNDATION",
        }

    return {
        "messages": [
            aggregate(PRICE_PUBLISHER, "pricing", pricing()),
            aggregate(PRICE_PUBLISHER, "settings", settings()),
            aggregate(PRICE_PUBLISHER, "runtimes", {"entries": []}),
            aggregate(PRICE_PUBLISHER, "vm-images", {"rootfs": {}, "runtimes": {}, "firmwares": {}, "defaults": {}}),
            aggregate(NODES_PUBLISHER, "corechannel", nodes(node, compute)),
        ],
        "balances": [
            {"address": address, "chain": "ETH", "amount": FUNDED_ALEPH} for address in ADDRESSES.values()
        ],
        "credits": [{"address": address, "amount": FUNDED_CREDITS} for address in ADDRESSES.values()],
    }


def pricing() -> dict:
    """The public network's prices (`spec: payments.md §2`)."""
    per_mib = "0.000000977"
    per_mib_credit = "0.17967489030626108"
    file = {"holding": "0.333333333", "credit": per_mib_credit}
    machine_disk = {"payg": per_mib, "holding": "0.05", "credit": per_mib_credit}
    program_disk = {"payg": per_mib, "holding": "0.05", "credit": "0.977"}
    gpu_disk = {"payg": per_mib, "credit": per_mib_credit}

    def machine(disk: dict, prices: tuple[str, str, str], unit: tuple[int, int], tiers: list[dict]) -> dict:
        payg, holding, credit = prices
        memory, size = unit
        return {
            "price": {"storage": disk, "compute_unit": {"payg": payg, "holding": holding, "credit": credit}},
            "tiers": tiers,
            "compute_unit": {"vcpus": 1, "memory_mib": memory, "disk_mib": size},
        }

    def tiers(*units: int) -> list[dict]:
        return [{"id": f"tier-{place}", "compute_units": count} for place, count in enumerate(units, 1)]

    def cards(*models: tuple[str, int, int]) -> list[dict]:
        return [
            {"id": f"tier-{place}", "compute_units": count, "model": model, "vram": vram}
            for place, (model, vram, count) in enumerate(models, 1)
        ]

    general = tiers(1, 2, 4, 6, 8, 12)
    standard = cards(("RTX 4000 ADA", 20480, 3), ("RTX 3090", 24576, 4), ("RTX 4090", 24576, 6), ("L40S", 49152, 12))
    premium = cards(("A100", 81920, 16), ("H100", 81920, 24))
    return {
        "storage": {"price": {"storage": file}},
        "web3_hosting": {"price": {"fixed": 50, "storage": file}},
        "program": machine(program_disk, ("0.011", "200", "11000"), (2048, 2048), general),
        "program_persistent": machine(program_disk, ("0.055", "1000", "55000"), (2048, 20480), general),
        "instance": machine(machine_disk, ("0.055", "1000", "14250"), (2048, 20480), general),
        "instance_confidential": machine(machine_disk, ("0.11", "2000", "28500"), (2048, 20480), general),
        "instance_gpu_standard": machine(gpu_disk, ("0.28", "280", "43125"), (6144, 61440), standard),
        "instance_gpu_premium": machine(gpu_disk, ("0.56", "560", "86250"), (6144, 61440), premium),
    }


def settings() -> dict:
    return {
        "compatible_gpus": [
            {"name": "AD102GL [L40S]", "model": "L40S", "vendor": "NVIDIA", "device_id": "10de:26b9"},
        ],
        "last_crn_version": "1.7.2",
        "community_wallet_address": "0x5aBd3258C5492fD378EBC2e0017416E199e5Da56",
        "community_wallet_timestamp": 1739301770,
    }


def nodes(core: str, compute: str) -> dict:
    shared = {
        "locked": False, "time": GENESIS_TIME, "score": 0.9, "decentralization": 0.9, "performance": 0.9,
        "inactive_since": None, "picture": "", "banner": "", "description": "", "manager": "",
        "registration_url": "", "terms_and_conditions": "", "score_updated": True,
    }
    port = core.rsplit(":", 1)[1]
    return {
        "nodes": [
            shared | {
                "hash": CORE_NODE, "owner": ADDRESSES[6], "reward": ADDRESSES[6], "name": "core",
                "stakers": {ADDRESSES[6]: 500_000}, "total_staked": 500_000, "status": "active", "authorized": [],
                "resource_nodes": [COMPUTE_NODE], "multiaddress": f"/ip4/127.0.0.1/tcp/{port}", "address": core,
                "stream_reward": "", "has_bonus": True,
            },
        ],
        "resource_nodes": [
            shared | {
                "hash": COMPUTE_NODE, "type": "compute", "owner": ADDRESSES[6], "reward": ADDRESSES[6],
                "name": "compute", "status": "linked", "authorized": "", "parent": CORE_NODE, "multiaddress": "",
                "address": compute, "stream_reward": ADDRESSES[6],
            },
        ],
    }


def compute_nodes() -> dict:
    """The form of the public list (`spec: clients.md §10`)."""
    return {
        "last_refresh": "2026-01-01T00:00:00+00:00",
        "crns": [
            {
                "hash": COMPUTE_NODE, "name": "compute", "address": "", "owner": ADDRESSES[6],
                "reward": ADDRESSES[6], "parent": CORE_NODE, "time": GENESIS_TIME, "type": "compute",
                "status": "linked", "score": 0.9, "version": "1.7.2",
                "payment_receiver_address": ADDRESSES[6], "stream_reward_address": ADDRESSES[6],
                "gpu_support": False, "confidential_support": False, "qemu_support": True,
                "ipv6_check": {"host": True, "vm": True}, "terms_and_conditions": None,
                "compatible_available_gpus": [],
                "system_usage": {
                    "cpu": {"count": 8, "load_average": {"load1": 0.1, "load5": 0.1, "load15": 0.1},
                            "core_frequencies": {"min": 1000.0, "max": 3000.0}},
                    "mem": {"total_kB": 64_000_000, "available_kB": 60_000_000},
                    "disk": {"total_kB": 1_000_000_000, "available_kB": 900_000_000},
                    "period": {"start_timestamp": "2026-01-01T00:00:00+00:00", "duration_seconds": 60.0},
                    "properties": {"cpu": {"architecture": "x86_64", "vendor": "AuthenticAMD", "features": []}},
                    "gpu": {"devices": [], "available_devices": []},
                    "active": True,
                },
            },
        ],
    }
