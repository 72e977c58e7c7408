//! `/status/…`: what this node offers (`spec: crn-api.md §5`).

use std::cmp::Ordering;
use std::collections::HashMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::json;

use super::respond::{error, text};
use crate::defaults::REFERENCE_VERSION;
use crate::node::Node;

/// The capability advertisement. Two values print as the reference's language prints them.
pub(super) async fn config(State(node): State<Arc<Node>>) -> Response {
    let config = &node.config;
    let receiver = config.payment_receiver_address.as_ref().or(config.owner_address.as_ref());
    Json(json!({
        "DOMAIN_NAME": config.domain_name,
        "node_hash": config.node_hash,
        "version": REFERENCE_VERSION,
        "implementation": concat!("alephd/", env!("CARGO_PKG_VERSION")),
        "references": {
            "API_SERVER": config.core_nodes.first(),
            "CHECK_FASTAPI_VM_ID": null,
            "CONNECTOR_URL": null,
        },
        "security": {
            "USE_JAILER": true,
            "PRINT_SYSTEM_LOGS": true,
            "WATCH_FOR_UPDATES": config.watch_messages,
            "ALLOW_VM_NETWORKING": true,
            "USE_DEVELOPER_SSH_KEYS": false,
        },
        "networking": {
            "IPV6_ADDRESS_POOL": config.ipv6_address_pool,
            "IPV6_ALLOCATION_POLICY": "IPv6AllocationPolicy.static",
            "IPV6_SUBNET_PREFIX": 124,
            "IPV6_FORWARDING_ENABLED": false,
            "USE_NDP_PROXY": false,
        },
        "debug": {"SENTRY_DSN_CONFIGURED": false, "DEBUG_ASYNCIO": false, "EXECUTION_LOG_ENABLED": false},
        "payment": {
            "PAYMENT_RECEIVER_ADDRESS": receiver.map_or("", |address| address.as_str()),
            "PAYMENT_MONITOR_INTERVAL": 60.0,
            "AVAILABLE_PAYMENTS": {},
        },
        "computing": {
            "ENABLE_QEMU_SUPPORT": true,
            "INSTANCE_DEFAULT_HYPERVISOR": "qemu",
            "ENABLE_CONFIDENTIAL_COMPUTING": false,
            "ENABLE_GPU_SUPPORT": false,
        },
    }))
    .into_response()
}

/// IPv6 of the host and of a guest; guests have no network card here (`spec: crn-api.md §5.4`).
pub(super) async fn ipv6() -> Response {
    let interfaces = tokio::fs::read_to_string("/proc/net/if_inet6").await.unwrap_or_default();
    Json(json!({"host": has_global_ipv6(&interfaces), "vm": false})).into_response()
}

/// Lines of the kernel's list: address, index, prefix, scope (00 is global), flags, name.
fn has_global_ipv6(interfaces: &str) -> bool {
    interfaces.lines().any(|line| {
        let mut fields = line.split_whitespace();
        let address = fields.next().unwrap_or_default();
        // 2000::/3 is what the internet routes.
        fields.nth(2) == Some("00") && address.starts_with(['2', '3'])
    })
}

/// Whether this node is at least as new as `reference`.
pub(super) async fn version(Query(query): Query<HashMap<String, String>>) -> Response {
    let Some(reference) = query.get("reference").and_then(|text| Release::parse(text)) else {
        return error(StatusCode::BAD_REQUEST, "Query field `reference` must be specified as a version");
    };
    let Some(current) = Release::parse(REFERENCE_VERSION) else {
        return error(StatusCode::SERVICE_UNAVAILABLE, "the version of this node can't be compared");
    };
    let named = query.get("reference").map_or("", String::as_str);
    if current.compare(&reference) == Ordering::Less {
        return text(StatusCode::FORBIDDEN, format!("Outdated: version {REFERENCE_VERSION} < {named}"));
    }
    text(StatusCode::OK, format!("Up-to-date: version {REFERENCE_VERSION} >= {named}"))
}

/// A version by the rules of PEP 440, as far as releases of the reference use them:
/// `[v]N(.N)*[{a|b|rc}N][.postN][.devN][+local]`.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Release {
    numbers: Vec<u64>,
    /// Development releases come before pre-releases, these before the release, then post-releases.
    stage: (i8, u64),
}

impl Release {
    fn parse(text: &str) -> Option<Self> {
        let text = text.trim().to_ascii_lowercase();
        let text = text.strip_prefix('v').unwrap_or(&text);
        let text = text.split('+').next()?;
        let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
        let (numbers, suffix) = text.split_at(end);
        let numbers: Option<Vec<u64>> =
            numbers.trim_end_matches('.').split('.').map(|number| number.parse().ok()).collect();
        let suffix = suffix.trim_matches(['.', '-', '_']);
        let split = suffix.find(|c: char| c.is_ascii_digit()).unwrap_or(suffix.len());
        let (word, number) = suffix.split_at(split);
        let number = if number.is_empty() { 0 } else { number.parse().ok()? };
        let rank = match word.trim_matches(['.', '-', '_']) {
            "" if suffix.is_empty() => 0,
            "dev" => -4,
            "a" | "alpha" => -3,
            "b" | "beta" => -2,
            "rc" | "c" | "pre" | "preview" => -1,
            "post" | "rev" | "r" => 1,
            _ => return None,
        };
        Some(Self { numbers: numbers?, stage: (rank, number) })
    }

    fn compare(&self, other: &Self) -> Ordering {
        let length = self.numbers.len().max(other.numbers.len());
        let padded =
            |numbers: &[u64]| (0..length).map(|i| numbers.get(i).copied().unwrap_or(0)).collect::<Vec<_>>();
        padded(&self.numbers).cmp(&padded(&other.numbers)).then(self.stage.cmp(&other.stage))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn global_addresses() {
        let lines = "00000000000000000000000000000001 01 80 10 80 lo\n\
                     fe80000000000000000000000000abcd 02 40 20 80 eth0\n";
        assert!(!has_global_ipv6(lines));
        assert!(has_global_ipv6(&format!("{lines}20010db8000000000000000000000001 02 40 00 80 eth0\n")));
        assert!(!has_global_ipv6("fc000db8000000000000000000000001 02 40 00 80 eth0\n"));
    }

    #[test]
    fn versions_in_order() {
        let ordered = [
            "0.9",
            "1.13.9",
            "1.14.0.dev1",
            "1.14.0a2",
            "1.14.0rc1",
            "1.14.0",
            "1.14.0.post1",
            "1.14.1",
            "1.20",
            "2",
        ];
        for pair in ordered.windows(2) {
            let (a, b) = (Release::parse(pair[0]).unwrap(), Release::parse(pair[1]).unwrap());
            assert_eq!(a.compare(&b), Ordering::Less, "{pair:?}");
        }
        assert_eq!(
            Release::parse("1.14").unwrap().compare(&Release::parse("v1.14.0+x").unwrap()),
            Ordering::Equal
        );
        for bad in ["", "x", "1..2", "1.2.nonsense3", "1.2-"] {
            assert_eq!(Release::parse(bad).is_none(), bad != "1.2-", "{bad}");
        }
    }
}
