use aleph_types::ItemHash;
use clap::Args;
use serde_json::Value;

use crate::context::Context;
use crate::error::CliResult;

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

pub(super) async fn run(arguments: &Arguments, context: &Context) -> CliResult {
    let told = context.client()?.price_explained(&arguments.hash).await?;
    let out = &context.out;
    if out.json {
        return out.document(&told);
    }
    let payment = text(&told, "payment_type");
    out.pairs(&[
        ("message", out.bold(arguments.hash.as_str())),
        ("paid by", text(&told, "charged_address").to_owned()),
        ("payment", payment.to_owned()),
        ("total", format!("{} {}", text(&told, "total"), text(&told, "unit"))),
    ])?;
    let lines = told.get("lines").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
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
