use aleph_types::{Address, Chain, ErrorCode, Rejection};
use serde_json::Value;

/// The body of a `balances-update` (`spec: messages.md §13`).
#[derive(Debug, Clone, PartialEq)]
pub struct BalancesUpdate {
    /// Where the tokens are.
    pub chain: Chain,
    /// The application that holds them; empty for none.
    pub dapp: String,
    /// Block height; a balance of a greater height stays.
    pub height: i64,
    /// The balances.
    pub entries: Vec<BalanceEntry>,
}

/// One balance of a `balances-update`.
#[derive(Debug, Clone, PartialEq)]
pub struct BalanceEntry {
    /// Whose.
    pub address: Address,
    /// Decimal text of the amount: no binary floating point on the way.
    pub amount: String,
}

impl BalancesUpdate {
    pub(super) fn parse(body: &Value) -> Result<Self, Rejection> {
        let wrong = |text: &str| Rejection::text(ErrorCode::InvalidFormat, text);
        let (Some(chain), Some(height)) = (body.get("chain"), body.get("main_height")) else {
            return Err(wrong("Missing field(s) chain and/or main_height for balance post"));
        };
        let chain: Chain = chain
            .as_str()
            .and_then(|chain| chain.parse().ok())
            .ok_or_else(|| wrong(&format!("balances-update: unknown chain {chain}")))?;
        let height = height.as_i64().ok_or_else(|| wrong("balances-update: 'main_height' is no integer"))?;
        let balances = body
            .get("balances")
            .and_then(Value::as_object)
            .ok_or_else(|| wrong("balances-update: 'balances' is missing or no object"))?;
        let mut entries = Vec::with_capacity(balances.len());
        for (address, amount) in balances {
            let amount = match amount {
                Value::Number(number) => number.to_string(),
                Value::String(text) if text.parse::<f64>().is_ok_and(f64::is_finite) => text.clone(),
                _ => {
                    let text = format!("balances-update: the balance of '{address}' is no number");
                    return Err(wrong(&text));
                }
            };
            entries.push(BalanceEntry { address: Address::from(address.as_str()), amount });
        }
        let dapp = body.get("dapp").and_then(Value::as_str).unwrap_or_default().to_owned();
        Ok(Self { chain, dapp, height, entries })
    }
}
