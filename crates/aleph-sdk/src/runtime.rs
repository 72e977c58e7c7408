use std::collections::BTreeMap;

use aleph_types::{Address, ItemHash};
use serde_json::Value;

use crate::client::Client;
use crate::error::{Error, Result};

/// Who publishes the settings of the public network (`spec: clients.md §7.2`).
pub const SETTINGS_ADDRESS: &str = "0xFba561a84A537fCaa567bb7A2257e7142701ae2A";

/// Names of runtimes and the STORE messages of their images.
pub type Runtimes = BTreeMap<String, ItemHash>;

impl Client {
    /// The runtimes that `publisher` offers: its aggregate `runtimes`, and the `runtimes` of its aggregate
    /// `vm-images` as on the public network (`spec: clients.md §13`).
    pub async fn runtimes(&self, publisher: &Address) -> Result<Runtimes> {
        let mut found = Runtimes::new();
        let documents = self.aggregates(publisher, &["runtimes", "vm-images"]).await?;
        if let Some(images) = documents.get("vm-images").and_then(|images| images.get("runtimes")) {
            add_runtimes(&mut found, images);
        }
        if let Some(runtimes) = documents.get("runtimes") {
            add_runtimes(&mut found, runtimes);
        }
        Ok(found)
    }

    /// The runtime called `name`: an item hash stands for itself; names are looked up in `known`, then among
    /// what `publisher` offers.
    pub async fn resolve_runtime(
        &self,
        name: &str,
        known: &Runtimes,
        publisher: &Address,
    ) -> Result<ItemHash> {
        if let Ok(hash) = ItemHash::parse(name) {
            return Ok(hash);
        }
        if let Some(hash) = known.get(name) {
            return Ok(hash.clone());
        }
        let mut offered = self.runtimes(publisher).await?;
        if let Some(hash) = offered.remove(name) {
            return Ok(hash);
        }
        offered.extend(known.clone());
        let names: Vec<&str> = offered.keys().map(String::as_str).collect();
        Err(Error::input(if names.is_empty() {
            format!("no runtime is called '{name}', and the network publishes none")
        } else {
            format!("no runtime is called '{name}'; the network offers {}", names.join(", "))
        }))
    }
}

/// Entries are hashes, or objects with a `hash` or `ref`.
pub(crate) fn add_runtimes(found: &mut Runtimes, document: &Value) {
    let Some(object) = document.as_object() else { return };
    for (name, entry) in object {
        let text = entry
            .as_str()
            .or_else(|| entry.get("hash").and_then(Value::as_str))
            .or_else(|| entry.get("ref").and_then(Value::as_str));
        if let Some(hash) = text.and_then(|text| ItemHash::parse(text).ok()) {
            found.insert(name.clone(), hash);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn both_forms_of_entries_are_read() {
        let (one, other) = (ItemHash::sha256(b"1"), ItemHash::sha256(b"2"));
        let mut found = Runtimes::new();
        add_runtimes(
            &mut found,
            &json!({"python3": one, "executable": {"hash": other}, "odd": 7, "bad": "x"}),
        );
        assert_eq!(found.len(), 2);
        assert_eq!(found["executable"], other);
    }
}
