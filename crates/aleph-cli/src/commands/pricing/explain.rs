use aleph_sdk::Error;
use aleph_types::ItemHash;
use clap::Args;
use serde_json::Value;

use crate::context::Context;
use crate::error::{CliError, CliResult};

/// Show how the price of a file or machine came about
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  aleph pricing explain HASH
  aleph pricing explain HASH --json | jq .lines")]
pub(crate) struct Arguments {
    /// The message of the file or machine
    hash: ItemHash,
}

/// The key of a line's calculation, by how the message pays.
fn way(payment: &str) -> &'static str {
    match payment {
        "credit" => "credit",
        "superfluid" => "stream",
        _ => "hold",
    }
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}

/// Where the network's price comes from.
fn origin(line: &Value) -> String {
    let Some(origin) = line.get("origin") else { return String::new() };
    match text(origin, "kind") {
        "message" => format!("message {}", text(origin, "item_hash")),
        "default" => "the documented default".to_owned(),
        other => other.to_owned(),
    }
}

/// What a price of each second comes to in a day, for people; nothing for tokens that are only held.
fn each_day(told: &Value) -> Option<String> {
    let unit = text(told, "unit").strip_suffix("/second")?;
    let each_second: f64 = text(told, "total").parse().ok()?;
    Some(format!("about {:.2} {unit}", each_second * 86_400.0))
}

pub(super) async fn run(arguments: &Arguments, context: &Context) -> CliResult {
    let hash = &arguments.hash;
    let told = context.client()?.price_explained(hash).await.map_err(|error| {
        let unknown = matches!(error, Error::NotFound { .. });
        let error = CliError::from(error);
        if unknown {
            error.hint(format!("it may wait or be refused there: `aleph message get {hash}` tells"))
        } else {
            error
        }
    })?;
    let out = &context.out;
    if out.json {
        return out.document(&told);
    }
    let payment = text(&told, "payment_type");
    let mut pairs = vec![
        ("message", out.bold(hash.as_str())),
        ("paid by", text(&told, "charged_address").to_owned()),
        ("payment", payment.to_owned()),
        ("total", format!("{} {}", text(&told, "total"), text(&told, "unit"))),
    ];
    pairs.extend(each_day(&told).map(|day| ("each day", day)));
    out.pairs(&pairs)?;
    let lines = told.get("lines").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    if lines.is_empty() {
        out.note(
            "no part of it has a price: this network charges nothing, or its file is unknown to the node",
        );
    }
    for line in lines {
        out.line("")?;
        out.line(out.bold(text(line, "name")))?;
        let mut pairs = vec![("product", text(line, "product").to_owned()), ("price from", origin(line))];
        if let Some(way) = line.get(way(payment)) {
            pairs.push(("because", text(way, "formula").to_owned()));
            pairs.push(("amount", text(way, "amount").to_owned()));
        }
        out.pairs(&pairs)?;
    }
    Ok(())
}
