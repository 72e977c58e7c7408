//! Posts that the node itself acts upon (`spec: messages.md §13`).

use aleph_types::content::PostContent;
use aleph_types::{Address, Chain, ErrorCode, Rejection};
use serde_json::Value;

use crate::{BalanceEntry, Candidate, Decision, Effect};

/// The addresses whose node-level posts count; private networks have their own.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Publishers {
    /// Publishers of `balances-update`.
    pub balances: Vec<Address>,
}

/// The effects of a post on the node's own tables, if it is one that has any.
pub(crate) fn apply<E>(
    candidate: &Candidate<'_>,
    post: &PostContent,
    publishers: &Publishers,
    effects: &mut Vec<Effect>,
) -> Result<Option<Decision>, E> {
    let _ = candidate;
    if post.post_type == "balances-update" && publishers.balances.contains(&post.address) {
        return Ok(balances_update(&post.content, effects).err().map(Decision::Reject));
    }
    Ok(None)
}

/// Amounts keep the text that they have in the message: no binary floating point on the way.
fn balances_update(body: &Value, effects: &mut Vec<Effect>) -> Result<(), Rejection> {
    let wrong = |text: &str| Rejection::text(ErrorCode::InvalidFormat, text);
    if body.as_object().is_none_or(serde_json::Map::is_empty) {
        return Ok(());
    }
    let chain = body
        .get("chain")
        .and_then(Value::as_str)
        .ok_or_else(|| wrong("balances-update: 'chain' is missing"))?;
    let chain: Chain =
        chain.parse().map_err(|_| wrong(&format!("balances-update: unknown chain '{chain}'")))?;
    let height = body
        .get("main_height")
        .and_then(Value::as_i64)
        .ok_or_else(|| wrong("balances-update: 'main_height' is missing or no integer"))?;
    let balances = body
        .get("balances")
        .and_then(Value::as_object)
        .ok_or_else(|| wrong("balances-update: 'balances' is missing or no object"))?;
    let mut entries = Vec::with_capacity(balances.len());
    for (address, amount) in balances {
        let amount = match amount {
            Value::Number(number) => number.to_string(),
            Value::String(text) if text.parse::<f64>().is_ok_and(f64::is_finite) => text.clone(),
            _ => return Err(wrong(&format!("balances-update: the balance of '{address}' is no number"))),
        };
        entries.push(BalanceEntry { address: Address::from(address.as_str()), amount });
    }
    effects.push(Effect::SetBalances {
        chain: chain.as_str().to_owned(),
        dapp: body.get("dapp").and_then(Value::as_str).unwrap_or_default().to_owned(),
        height,
        entries,
    });
    Ok(())
}
