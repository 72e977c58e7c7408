//! Where a program is and why, in words (`GET /api/v1/programs/{hash}/placement`).

use std::time::Duration;

use aleph_placement::{CoreNode, choose_compute, rank, responsible};
use aleph_types::ItemHash;
use serde_json::{Value, json};

use super::{Inner, Placement};

/// The responsible node must answer quickly; who asks is a person or a deployment that shows progress.
const ASK_LIMIT: Duration = Duration::from_secs(3);

/// An explanation of one program is a few kilobytes.
const ANSWER_MAX: usize = 1024 * 1024;

impl Placement {
    /// Explains the placement of a program; `None` if it is no program that this node knows. With
    /// `ask_others`, the responsible node is asked for what only it knows.
    pub async fn explain(
        &self,
        program: &ItemHash,
        ask_others: bool,
    ) -> Result<Option<Value>, aleph_store::StoreError> {
        self.inner.explain(program, ask_others).await
    }
}

impl Inner {
    async fn explain(
        &self,
        program: &ItemHash,
        ask_others: bool,
    ) -> Result<Option<Value>, aleph_store::StoreError> {
        let Some(needs) = self.needs(program).await? else { return Ok(None) };
        let Some(nodes) = self.node_list().await? else {
            return Ok(Some(json!({
                "program": program, "needs": needs, "responsible": null, "allocation": null,
                "ranking": [], "candidates": [],
                "note": format!(
                    "no node list is known: the aggregate 'corechannel' of {} has not arrived",
                    self.corechannel_address
                ),
            })));
        };
        let ranked = rank(program, &nodes);
        let ranking: Vec<Value> = ranked
            .iter()
            .map(|ranked| {
                json!({ "hash": ranked.node.hash, "name": ranked.node.name, "weight": format!("{:016x}", ranked.weight.leading()) })
            })
            .collect();
        let Some(first) = responsible(program, needs.demanded_node.as_ref(), &nodes) else {
            return Ok(Some(json!({
                "program": program, "needs": needs, "responsible": null, "allocation": null,
                "ranking": [], "candidates": [], "note": "no core node is active",
            })));
        };
        let url = core_url(first);
        let me = self.identity.as_ref().map(|identity| &identity.node_hash);
        let here = me == Some(&first.hash);
        if !here && ask_others {
            if let Some(url) = &url
                && let Some(mut answer) = self.ask(url, program).await
            {
                answer["answered_by"] = json!({ "hash": first.hash, "name": first.name, "url": url });
                return Ok(Some(answer));
            }
            tracing::debug!(%program, node = %first.hash, "the responsible node did not explain the placement");
        }

        let held =
            self.store.allocation(program).await?.and_then(|document| serde_json::from_str(&document).ok());
        let linked: Vec<_> = nodes.linked_to(&first.hash).collect();
        let facts = self.facts(&linked, held.as_ref());
        let placement = choose_compute(program, &needs, &facts);
        let candidates: Vec<Value> = placement
            .candidates
            .iter()
            .map(|candidate| {
                let node = nodes.compute_node(&candidate.node);
                json!({
                    "hash": candidate.node,
                    "name": node.map(|node| node.name.as_str()),
                    "url": node.and_then(|node| node.address.as_deref()),
                    "eligible": candidate.verdict.is_eligible(),
                    "points": candidate.verdict.points(),
                    "score": node.map(|node| node.score),
                    "reason": candidate.verdict.to_string(),
                })
            })
            .collect();
        let note = match (here, held.is_some(), placement.chosen.is_some()) {
            (true, true, _) => "allocated",
            (true, false, true) => "about to be allocated",
            (true, false, false) => "no compute node can run it; the candidates say why",
            (false, ..) => "another node is responsible and did not answer; only it knows the allocation",
        };
        Ok(Some(json!({
            "program": program,
            "needs": needs,
            "responsible": { "hash": first.hash, "name": first.name, "url": url, "this_node": here },
            "allocation": held,
            "ranking": ranking,
            "candidates": candidates,
            "note": note,
        })))
    }

    pub(super) async fn ask(&self, url: &str, program: &ItemHash) -> Option<Value> {
        let url = format!("{url}/api/v1/programs/{program}/placement?local=true");
        let exchange = async {
            let mut response = self.client.get(&url).send().await.ok()?;
            if !response.status().is_success() {
                return None;
            }
            let mut body = Vec::new();
            while let Some(chunk) = response.chunk().await.ok()? {
                if body.len() + chunk.len() > ANSWER_MAX {
                    return None;
                }
                body.extend_from_slice(&chunk);
            }
            let answer: Value = serde_json::from_slice(&body).ok()?;
            answer.is_object().then_some(answer)
        };
        tokio::time::timeout(ASK_LIMIT, exchange).await.ok().flatten()
    }
}

/// The API of a core node: what it publishes, else the well-known port of its address
/// (`spec: p2p.md §1`).
pub(super) fn core_url(node: &CoreNode) -> Option<String> {
    if let Some(address) = &node.address {
        return Some(address.trim_end_matches('/').to_owned());
    }
    let multiaddress = node.multiaddress.as_deref()?;
    let mut parts = multiaddress.trim_start_matches('/').split('/');
    match (parts.next()?, parts.next()?) {
        ("ip4" | "dns" | "dns4", host) => Some(format!("http://{host}:4024")),
        ("ip6", host) => Some(format!("http://[{host}]:4024")),
        _ => None,
    }
}
