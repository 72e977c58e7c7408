//! What scoring measured of nodes.

use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::node::{Author, TestNode};

#[tokio::test(flavor = "multi_thread")]
async fn measurements_come_from_the_posts_of_scoring() {
    let (scoring, stranger) = (Author::new(1), Author::new(2));
    let publisher = scoring.address.clone();
    let node =
        TestNode::start_with(|config| config.network.metrics_publishers = vec![publisher.clone()]).await;
    let post = |author: &Author, time: f64, channel: &str, metrics: Value| {
        let content = json!({ "type": "aleph-network-metrics", "content": { "metrics": metrics } });
        author.sign(aleph_types::MessageType::Post, time, channel, content)
    };
    let entries = |time: f64, latency: f64| {
        json!({
            "ccn": [
                { "node_id": "core1", "measured_at": time, "base_latency": latency, "pending_messages": 3 },
                { "node_id": "core2", "measured_at": time, "base_latency": 9.0 },
                { "measured_at": time },
            ],
            "crn": [{ "node_id": "compute1", "measured_at": time + 1.0, "full_check_latency": null }],
        })
    };
    let first = post(&scoring, 1000.0, "aleph-scoring", entries(990.0, 0.5));
    let second = post(&scoring, 2000.0, "aleph-scoring", entries(1990.0, 0.25));
    let elsewhere = post(&scoring, 2100.0, "OTHER", entries(2090.0, 7.0));
    let foreign = post(&stranger, 2200.0, "aleph-scoring", entries(2190.0, 7.0));
    node.process(&[&first, &second, &elsewhere, &foreign]).await;

    let of = async |path: &str| node.ok(path).await["metrics"].clone();
    let core = of("/api/v0/core/core1/metrics?start_date=1&end_date=5000").await;
    assert_eq!(core["item_hash"], json!([first["item_hash"], second["item_hash"]]));
    assert_eq!(core["measured_at"], json!([990.0, 1990.0]));
    assert_eq!(core["base_latency"], json!([0.5, 0.25]));
    assert_eq!(core["pending_messages"], json!([3, 3]));
    assert_eq!(core["eth_height_remaining"], json!([null, null]));
    assert_eq!(core.as_object().unwrap().len(), 9);
    let descending = of("/api/v0/core/core1/metrics?start_date=1&end_date=5000&sort=desc").await;
    assert_eq!(descending["measured_at"], json!([1990.0, 990.0]));
    let later = of("/api/v0/core/core1/metrics?start_date=1000&end_date=1990").await;
    assert_eq!(later["measured_at"], json!([1990.0]), "both ends are included");
    let compute = of("/api/v0/compute/compute1/metrics?start_date=1&end_date=5000").await;
    assert_eq!(compute["measured_at"], json!([991.0, 1991.0]));
    assert_eq!(compute.as_object().unwrap().len(), 6);
    for (path, expected) in [
        ("/api/v0/core/unknown/metrics?start_date=1", StatusCode::NOT_FOUND),
        // Without a start only the last fourteen days count.
        ("/api/v0/core/core1/metrics", StatusCode::NOT_FOUND),
        ("/api/v0/core/core1/metrics?sort=up", StatusCode::UNPROCESSABLE_ENTITY),
        ("/api/v0/core/core1/metrics?start_date=9&end_date=nan", StatusCode::UNPROCESSABLE_ENTITY),
    ] {
        assert_eq!(node.text(path).await.0, expected, "{path}");
    }
    node.stop().await;
}
