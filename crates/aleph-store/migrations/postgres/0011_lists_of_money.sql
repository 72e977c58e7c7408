-- Lists over all accounts: resources of one way to pay, in the order of the list, and balances of one chain.
CREATE INDEX account_costs_resource ON account_costs (payment_type, item_hash) WHERE line = 0;
CREATE INDEX balances_chain ON balances (chain, address, dapp);
