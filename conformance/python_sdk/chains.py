"""Accounts of every chain that the SDK can sign for: the node accepts what they sign."""

from __future__ import annotations

import json
import os

from aleph.sdk.chains.cosmos import CSDKAccount
from aleph.sdk.chains.ethereum import ETHAccount
from aleph.sdk.chains.evm import EVMAccount
from aleph.sdk.chains.nuls1 import NULSAccount as NulsAccount
from aleph.sdk.chains.nuls2 import NULSAccount as Nuls2Account
from aleph.sdk.chains.solana import SOLAccount
from aleph.sdk.chains.substrate import DOTAccount
from aleph.sdk.chains.svm import SVMAccount
from aleph.sdk.chains.tezos import TezosAccount
from aleph.sdk.exceptions import InvalidMessageError
from aleph_message.models import Chain, PostMessage
from aleph_message.status import MessageStatus
from cosmospy import privkey_to_pubkey
from substrateinterface import Keypair

from cases import Skip, equal
from world import CHANNEL, Group


class PrefixedDotAccount(DOTAccount):
    """Signs as the reference wants it: the hexadecimal data begins with 0x."""

    async def sign_message(self, message: dict) -> dict:
        message = await super().sign_message(message)
        signature = json.loads(message["signature"])
        message["signature"] = json.dumps(signature | {"data": f"0x{signature['data']}"})
        return message


class BinaryCosmosAccount(CSDKAccount):
    """Encodes the bytes of its key; the SDK takes them for text, which they are not."""

    def get_public_key(self) -> "Bytes":
        return Bytes(privkey_to_pubkey(self.private_key))


class Bytes(bytes):
    def encode(self) -> bytes:
        return bytes(self)


class Chains(Group):
    async def ethereum(self) -> str:
        return await self._publishes(ETHAccount(os.urandom(32)))

    async def base(self) -> str:
        return await self._publishes(EVMAccount(os.urandom(32), chain=Chain.BASE))

    async def solana(self) -> str:
        return await self._publishes(SOLAccount(os.urandom(32)))

    async def eclipse(self) -> str:
        return await self._publishes(SVMAccount(os.urandom(32), chain=Chain.ECLIPSE))

    async def tezos(self) -> str:
        return await self._publishes(TezosAccount(os.urandom(32)))

    async def cosmos(self) -> str:
        try:
            return await self._publishes(CSDKAccount(os.urandom(32)))
        except UnicodeDecodeError as error:
            raise Skip(f"fails in the SDK itself: {error}") from None

    async def cosmos_with_a_binary_key(self) -> str:
        return await self._publishes(BinaryCosmosAccount(os.urandom(32)))

    async def nuls(self) -> str:
        return await self._publishes(NulsAccount(os.urandom(32)))

    async def nuls2(self) -> str:
        return await self._publishes(Nuls2Account(os.urandom(32)))

    async def substrate(self) -> str:
        """The SDK leaves out the `0x` that the reference insists on: refused here as there."""
        try:
            await self._publishes(DOTAccount(Keypair.generate_mnemonic()))
        except InvalidMessageError as error:
            return f"refused as by the reference: {error}"
        raise AssertionError("a signature that the reference refuses was accepted")

    async def substrate_with_0x(self) -> str:
        return await self._publishes(PrefixedDotAccount(Keypair.generate_mnemonic()))

    async def _publishes(self, account: object) -> str:
        client = await self.world.client_of(account)
        message, status = await client.create_post(
            {"chain": account.CHAIN}, post_type=self.world.tag, channel=CHANNEL, sync=True
        )
        equal(status, MessageStatus.PROCESSED)
        read = await client.get_message(message.item_hash, message_type=PostMessage)
        equal((read.sender, read.chain.value), (account.get_address(), account.CHAIN))
        return f"{read.chain.value} {read.sender}"
