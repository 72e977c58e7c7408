//! Whether nodes came to the same state, and if not, in which table they differ.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use aleph_sdk::Client;
use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use super::{get, shown};

/// Asks every node, prints, and fails if they differ or one is unsound.
pub(super) async fn run(nodes: &[String], recompute: bool, as_json: bool) -> Result<()> {
    let mut answers = Vec::with_capacity(nodes.len());
    for node in nodes {
        let base = Client::new(node)?.base_url().to_owned();
        let query = if recompute { "?recompute=true" } else { "" };
        let answer = get(&format!("{base}/api/v1/node/digest{query}"))
            .await?
            .with_context(|| format!("{base} keeps no digest: it is no alephd core node, or an older one"))?;
        answers.push((base, answer));
    }
    let differing = differing(&answers);
    let unsound: Vec<&str> = answers
        .iter()
        .filter(|(_, answer)| answer["sound"] == Value::Bool(false))
        .map(|(base, _)| base.as_str())
        .collect();
    if as_json {
        let nodes: Vec<Value> =
            answers.iter().map(|(base, answer)| json!({ "node": base, "state": answer })).collect();
        let answer = json!({ "nodes": nodes, "same": differing.is_empty(), "differing": differing });
        println!("{}", serde_json::to_string_pretty(&answer)?);
    } else {
        print!("{}", words(&answers, &differing));
    }
    if !unsound.is_empty() {
        bail!(
            "the tables of {} do not give the digest that was kept: the database was changed by something else, \
             is damaged, or there is a bug; compare it with other nodes",
            unsound.join(", ")
        );
    }
    if !differing.is_empty() {
        bail!("the nodes differ in {}", differing.into_iter().collect::<Vec<_>>().join(", "));
    }
    Ok(())
}

/// The tables in which not all nodes agree.
fn differing(answers: &[(String, Value)]) -> BTreeSet<String> {
    let names =
        answers.iter().filter_map(|(_, answer)| answer["parts"].as_object()).flat_map(|parts| parts.keys());
    let differs = |name: &&String| {
        answers
            .iter()
            .any(|(_, answer)| answer["parts"][name.as_str()] != answers[0].1["parts"][name.as_str()])
    };
    names.filter(differs).cloned().collect()
}

fn words(answers: &[(String, Value)], differing: &BTreeSet<String>) -> String {
    let mut out = String::new();
    for (base, answer) in answers {
        writeln!(out, "{base}\n  {:<10} {}", "digest", shown(&answer["digest"])).ok();
        writeln!(out, "  {:<10} {}", "messages", shown(&answer["messages"])).ok();
        match answer["sound"] {
            Value::Bool(true) => writeln!(out, "  {:<10} the tables give the same", "recomputed").ok(),
            Value::Bool(false) => {
                writeln!(out, "  {:<10} {}", "recomputed", shown(&answer["recomputed"]["digest"])).ok()
            }
            _ => None,
        };
        if answers.len() > 1 && differing.is_empty() {
            continue;
        }
        let Some(parts) = answer["parts"].as_object() else { continue };
        for (table, digest) in
            parts.iter().filter(|(table, _)| answers.len() == 1 || differing.contains(*table))
        {
            let start: String = shown(digest).chars().take(16).collect();
            writeln!(out, "  {table:<18} {start}… of {} rows", shown(&answer["rows"][table])).ok();
        }
    }
    if answers.len() > 1 {
        let verdict = if differing.is_empty() {
            "the nodes have the same state"
        } else if differing.contains("statuses") {
            "the nodes have not processed the same messages: one may still be catching up; ask again when all are idle"
        } else {
            "the nodes processed the same messages and came to different states"
        };
        writeln!(out, "{verdict}").ok();
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(name: &str, posts: &str) -> (String, Value) {
        let state = json!({
            "digest": format!("d{posts}"), "messages": 2,
            "parts": { "posts": posts, "statuses": "ff" }, "rows": { "posts": 1, "statuses": 2 },
        });
        (name.to_owned(), state)
    }

    #[test]
    fn the_table_that_differs_is_named() {
        let answers = [node("http://a", "11"), node("http://b", "11"), node("http://c", "22")];
        let found = differing(&answers);
        assert_eq!(found.iter().collect::<Vec<_>>(), ["posts"]);
        let text = words(&answers, &found);
        assert!(text.contains("22… of 1 rows") && text.contains("came to different states"), "{text}");
        assert!(!text.contains("ff…"), "{text}");
    }

    #[test]
    fn nodes_that_agree_agree() {
        let answers = [node("http://a", "11"), node("http://b", "11")];
        assert!(differing(&answers).is_empty());
        assert!(words(&answers, &BTreeSet::new()).contains("same state"));
    }
}
