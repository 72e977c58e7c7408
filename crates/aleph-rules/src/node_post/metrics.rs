use std::collections::BTreeMap;

use aleph_types::Timestamp;
use serde_json::Value;

/// What is measured of core nodes, beside `measured_at`.
const OF_CORE_NODES: [&str; 7] = [
    "base_latency",
    "base_latency_ipv4",
    "metrics_latency",
    "aggregate_latency",
    "file_download_latency",
    "pending_messages",
    "eth_height_remaining",
];

/// What is measured of compute nodes, beside `measured_at`.
const OF_COMPUTE_NODES: [&str; 4] =
    ["base_latency", "base_latency_ipv4", "full_check_latency", "diagnostic_vm_latency"];

/// The body of an `aleph-network-metrics` post (`spec: nodes.md §7`): rows without a node or a time are
/// left out.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct NetworkMetrics {
    /// Of core nodes.
    pub core: Vec<MetricRow>,
    /// Of compute nodes.
    pub compute: Vec<MetricRow>,
}

/// One node at one instant.
#[derive(Debug, Clone, PartialEq)]
pub struct MetricRow {
    /// The node's hash in the node list; not empty.
    pub node_id: String,
    /// When it was measured.
    pub measured_at: Timestamp,
    /// Seconds or counts by name; what is no number is left out.
    pub values: BTreeMap<&'static str, f64>,
}

impl NetworkMetrics {
    /// `None` when the body is no object.
    pub(super) fn parse(body: &Value) -> Option<Self> {
        let fields = body.as_object()?;
        let rows = |kind: &str, names: &[&'static str]| -> Vec<MetricRow> {
            let list = fields.get("metrics").and_then(|metrics| metrics.get(kind)).and_then(Value::as_array);
            list.into_iter().flatten().filter_map(|entry| row(entry, names)).collect()
        };
        Some(Self { core: rows("ccn", &OF_CORE_NODES), compute: rows("crn", &OF_COMPUTE_NODES) })
    }
}

fn row(entry: &Value, names: &[&'static str]) -> Option<MetricRow> {
    let node_id = match entry.get("node_id")? {
        Value::String(text) if !text.is_empty() => text.clone(),
        Value::Number(number) if number.as_f64() != Some(0.0) => number.to_string(),
        _ => return None,
    };
    let measured_at = Timestamp::from_secs_f64(number(entry.get("measured_at")?)?).ok()?;
    let values = names.iter().filter_map(|name| Some((*name, number(entry.get(*name)?)?))).collect();
    Some(MetricRow { node_id, measured_at, values })
}

/// A finite number, as such or as text.
fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.trim().parse().ok(),
        Value::Bool(flag) => Some(f64::from(u8::from(*flag))),
        _ => None,
    }
    .filter(|number| number.is_finite())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn bad_rows_are_left_out() {
        let body = json!({ "metrics": {
            "ccn": [
                { "node_id": "a", "measured_at": 5.5, "base_latency": "0.1", "metrics_latency": "slow",
                  "pending_messages": 3, "unknown": 1 },
                { "node_id": "", "measured_at": 5 }, { "measured_at": 5 }, { "node_id": "b" },
                { "node_id": "b", "measured_at": "x" }, 7, null,
            ],
            "crn": "none",
        } });
        let metrics = NetworkMetrics::parse(&body).unwrap();
        assert!(metrics.compute.is_empty());
        let [row] = &metrics.core[..] else { panic!("{metrics:?}") };
        assert_eq!((row.node_id.as_str(), row.measured_at.as_micros()), ("a", 5_500_000));
        assert_eq!(row.values, BTreeMap::from([("base_latency", 0.1), ("pending_messages", 3.0)]));
    }
}
