use aleph_types::Address;
use clap::Args;
use serde_json::{Value, json};

use crate::context::Context;
use crate::error::CliResult;

/// Show an account: address, chain, and its balance as the node knows it
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  aleph account show
  aleph account show alice
  aleph account show 0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266")]
pub(crate) struct Arguments {
    /// Name of an account, or any address [default: the chosen account]
    account: Option<String>,
}

pub(super) async fn run(arguments: &Arguments, context: &Context) -> CliResult {
    let address = context.address(arguments.account.as_deref())?;
    let accounts = context.home.accounts()?;
    let entry = accounts.accounts.iter().find(|entry| entry.address.is_same_as(&address));
    let funded = context.devnet.as_ref().and_then(|devnet| {
        devnet.accounts().iter().find(|funded| Address::from(funded.address.as_str()).is_same_as(&address))
    });
    let name = entry.map(|entry| entry.name.as_str()).or(funded.map(|funded| funded.name.as_str()));
    // An account can be shown without any node.
    let balance = match context.node() {
        Ok(_) => match context.client()?.balance(&address).await {
            Ok(balance) => balance,
            Err(error) => {
                context.out.note(format!("no balance: {error}"));
                None
            }
        },
        Err(_) => None,
    };
    let out = &context.out;
    if out.json {
        return out.document(&json!({
            "name": name,
            "address": address,
            "chain": entry.map(|entry| entry.chain),
            "default": entry.is_some_and(|entry| accounts.default.as_deref() == Some(entry.name.as_str())),
            "key_file": entry.map(|entry| context.home.key_path(&entry.name)),
            "balance": balance,
        }));
    }
    let mut pairs = Vec::new();
    if let Some(name) = name {
        pairs.push(("account", out.bold(name)));
    }
    pairs.push(("address", address.to_string()));
    if let Some(entry) = entry {
        pairs.push(("chain", entry.chain.to_string()));
        pairs.push(("key", context.home.key_path(&entry.name).display().to_string()));
    }
    if let Some(balance) = &balance {
        pairs.push(("tokens", number(&balance.balance)));
        pairs.push(("locked", number(&balance.locked_amount)));
        pairs.push(("credits", number(&balance.credit_balance)));
    }
    out.pairs(&pairs)
}

fn number(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => "0".to_owned(),
        // Amounts of tokens are floats: 5.0 is 5 for people.
        other => other.to_string().trim_end_matches(".0").to_owned(),
    }
}
