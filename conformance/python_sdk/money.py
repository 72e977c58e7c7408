"""Prices, balances and credits."""

from __future__ import annotations

from decimal import Decimal

import aiohttp
from aleph.sdk.client.services.pricing import PricingEntity
from aleph.sdk.exceptions import InvalidHashError
from aleph.sdk.query.filters import BalanceFilter, ChainBalancesFilter
from aleph_message.models import Chain

from cases import equal, holds
from world import Group


class Money(Group):
    async def balance(self) -> str:
        self.world.needs_money()
        answer = await self.client.get_balances(self.address)
        equal((answer.address, answer.balance), (self.address, Decimal(1_000_000)))
        equal(answer.details, {"ETH": Decimal(1_000_000)})
        holds(answer.credit_balance > 0, "there are no credits")
        holds(0 <= answer.locked_amount < answer.balance, f"{answer.locked_amount} is locked")
        return f"{answer.balance} ALEPH, {answer.credit_balance} credits, {answer.locked_amount} locked"

    async def balance_on_a_chain(self) -> str:
        self.world.needs_money()
        ethereum = await self.client.get_balances(self.address, BalanceFilter(chain=Chain.ETH))
        solana = await self.client.get_balances(self.address, BalanceFilter(chain=Chain.SOL))
        equal((ethereum.balance, solana.balance), (Decimal(1_000_000), Decimal(0)))
        return f"{ethereum.balance} on ETH, {solana.balance} on SOL"

    async def balance_of_nobody(self) -> str:
        answer = await self.client.get_balances("0x" + "00" * 20)
        equal((answer.balance, answer.locked_amount, answer.credit_balance), (0, 0, 0))
        return "0"

    async def balances_of_all(self) -> str:
        self.world.needs_money()
        answer = await self.client.get_chain_balances()
        own = [found.balance for found in answer.balances if found.address == self.address]
        equal(own, [Decimal(1_000_000)])
        none = await self.client.get_chain_balances(filter=ChainBalancesFilter(chains=[Chain.SOL]))
        equal(none.balances, [])
        rich = await self.client.get_chain_balances(
            page_size=1, filter=ChainBalancesFilter(chains=[Chain.ETH], min_balance=1_000_000)
        )
        equal(len(rich.balances), 1)
        # the filter is spelled `minBalance` by this client and `min_balance` by the reference
        none = await self.client.get_chain_balances(filter=ChainBalancesFilter(min_balance=10_000_000))
        equal(none.balances, [])
        return f"{answer.pagination_total} balances"

    async def credit_history(self) -> str:
        self.world.needs_money()
        answer = await self.client.get_credit_history(self.address, page_size=5)
        holds(answer.credit_history, "it is empty")
        equal(answer.credit_history[-1].amount, 1_000_000_000)
        return f"{answer.pagination_total} entries"

    async def credit_history_of_nobody(self) -> str:
        try:
            answer = await self.client.get_credit_history("0x" + "00" * 20)
        except aiohttp.ClientResponseError as error:
            equal(error.status, 404)
            return f"{error.status}: {error.message}"
        equal(answer.credit_history, [])
        return "empty"

    async def price_list(self) -> str:
        self.world.needs_money()
        prices = await self.client.pricing.get_pricing_aggregate()
        equal(prices[PricingEntity.INSTANCE].price["compute_unit"].holding, Decimal(1000))
        tier = prices[PricingEntity.INSTANCE].get_closest_tier(vcpus=4, memory_mib=8192)
        equal(tier.id, "tier-3")
        some = await self.client.pricing.get_pricing_for_services([PricingEntity.STORAGE])
        equal(list(some), [PricingEntity.STORAGE])
        return f"{len(prices.root)} services"

    async def network_settings(self) -> str:
        self.world.needs_money()
        settings = await self.client.network_settings.get_settings_aggregate()
        return f"CRN {settings.last_crn_version}, {len(settings.compatible_gpus)} GPU"

    async def runtimes(self) -> str:
        equal(await self.client.runtimes.get_runtimes(), [])
        return "none"

    async def price_of_a_file(self) -> str:
        small = await self.client.get_store_estimated_price(1)
        large = await self.client.get_store_estimated_price(1000)
        holds(Decimal(large.cost or 0) > 100, f"1000 MiB cost {large.cost}")
        return f"1 MiB {small.cost}, 1000 MiB {large.cost} {large.payment_type}"

    async def price_of_a_stored_file(self) -> str:
        answer = await self.client.get_program_price(self.world.file.item_hash)
        return f"{answer.required_tokens} {answer.payment_type}"

    async def price_of_what_costs_nothing(self) -> str:
        try:
            await self.client.get_program_price(self.world.post.item_hash)
        except (InvalidHashError, aiohttp.ClientResponseError) as error:
            return str(error)
        raise AssertionError("a post has a price")
