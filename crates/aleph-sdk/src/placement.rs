use aleph_types::ItemHash;
use serde::{Deserialize, Serialize};

use crate::client::Client;
use crate::error::Result;

/// Where a program runs, and why there: what a core node of this project computes from the network's state.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Placement {
    /// The program.
    pub program: ItemHash,
    /// The core node that every core node computes as responsible.
    #[serde(default)]
    pub responsible: Option<PlacedNode>,
    /// The compute node that the responsible one chose; `None` until it has.
    #[serde(default)]
    pub allocation: Option<Allocation>,
    /// The compute nodes that were considered.
    #[serde(default)]
    pub candidates: Vec<Candidate>,
    /// Where the decision stands, in words.
    #[serde(default)]
    pub note: Option<String>,
}

/// A core node of a placement.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PlacedNode {
    /// Its hash in the network's list of nodes.
    pub hash: String,
    /// Its name for people.
    #[serde(default)]
    pub name: String,
    /// Its HTTP address, if known.
    #[serde(default)]
    pub url: Option<String>,
}

/// The compute node that runs a program.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Allocation {
    /// Its hash in the network's list of nodes.
    #[serde(default)]
    pub crn_hash: Option<String>,
    /// Its name for people.
    #[serde(default)]
    pub name: Option<String>,
    /// Its HTTP address.
    #[serde(alias = "crn_url")]
    pub url: String,
    /// ISO 8601 time or seconds of the decision, as served.
    #[serde(default)]
    pub allocated_at: serde_json::Value,
}

/// A compute node that was considered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Candidate {
    /// Its hash in the network's list of nodes.
    #[serde(default)]
    pub hash: Option<String>,
    /// Its name for people.
    #[serde(default)]
    pub name: Option<String>,
    /// Its HTTP address.
    #[serde(default)]
    pub url: Option<String>,
    /// Whether it may run the program.
    #[serde(default)]
    pub eligible: bool,
    /// Why not, or why it was preferred.
    #[serde(default)]
    pub reason: Option<String>,
    /// The higher, the earlier it is chosen.
    #[serde(default)]
    pub score: Option<f64>,
}

impl Placement {
    /// Why no compute node was chosen, for people; `None` when one was, or nothing is known.
    pub fn obstacle(&self) -> Option<String> {
        if self.allocation.is_some() {
            return None;
        }
        // The node's own words; "about to" is progress, no obstacle.
        let undecided = || self.note.clone().filter(|note| note != "about to be allocated");
        let Some(responsible) = &self.responsible else { return undecided() };
        if self.candidates.is_empty() {
            let name = label(&responsible.name, &responsible.hash);
            return Some(format!("core node {name} has no compute node linked"));
        }
        if self.candidates.iter().any(|candidate| candidate.eligible) {
            return undecided();
        }
        let reasons: Vec<String> = self
            .candidates
            .iter()
            .take(4)
            .map(|candidate| {
                let name = label(
                    candidate.name.as_deref().unwrap_or_default(),
                    candidate.hash.as_deref().unwrap_or("?"),
                );
                format!("{name}: {}", candidate.reason.as_deref().unwrap_or("not eligible"))
            })
            .collect();
        Some(format!("no compute node is eligible ({})", reasons.join("; ")))
    }
}

fn label<'a>(name: &'a str, hash: &'a str) -> &'a str {
    if name.is_empty() { hash } else { name }
}

impl Client {
    /// How the price of a stored file or machine came about: what a core node of this project tells of each
    /// line, as JSON.
    ///
    /// # Errors
    /// [`Error::NotFound`](crate::Error::NotFound): the node does not know the message, or it waits or was
    /// refused there.
    pub async fn price_explained(&self, message: &ItemHash) -> Result<serde_json::Value> {
        let path = format!("/api/v1/price/{message}/explain");
        let told = self.get_optional(&path, &[], "the workings of a price").await?;
        told.ok_or_else(|| self.not_found("price of", message))
    }

    /// Where the program runs; `None` when the node does not know the program or does not serve placements.
    pub async fn placement(&self, program: &ItemHash) -> Result<Option<Placement>> {
        self.get_optional(&format!("/api/v1/programs/{program}/placement"), &[], "a placement").await
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn placements_are_read_and_explained() {
        let hash = ItemHash::sha256(b"p");
        let waiting: Placement = serde_json::from_value(json!({
            "program": hash,
            "responsible": {"hash": "aa", "name": "ccn-1", "url": "http://127.0.0.1:4024"},
            "allocation": null,
            "candidates": [{"hash": "bb", "name": "crn-0", "url": "http://c", "eligible": false,
                "reason": "needs 4096 MiB, has 512", "score": 0.5}],
        }))
        .unwrap();
        assert_eq!(
            waiting.obstacle().unwrap(),
            "no compute node is eligible (crn-0: needs 4096 MiB, has 512)"
        );
        let placed: Placement = serde_json::from_value(json!({
            "program": hash,
            "allocation": {"crn_hash": "bb", "crn_url": "http://c", "allocated_at": 1.5},
        }))
        .unwrap();
        assert_eq!(placed.obstacle(), None);
        assert_eq!(placed.allocation.unwrap().url, "http://c");
    }
}
