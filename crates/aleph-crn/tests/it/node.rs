//! A compute node inside the test's process.

use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use aleph_crn::{Config, HypervisorChoice};
use aleph_crypto::EvmKey;
use reqwest::{RequestBuilder, Response};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// The scheduler's key of these tests.
pub(crate) fn scheduler() -> EvmKey {
    EvmKey::from_bytes([9; 32]).unwrap()
}

/// Once per process: libraries install no TLS provider.
pub(crate) fn client() -> reqwest::Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(180)).build().unwrap()
}

/// A configuration for tests: emulation, the test binary's supervisors, the scheduler allowed.
pub(crate) fn config(state: &Path, core_nodes: &[&str]) -> Config {
    let _ = client();
    let mut config = Config::new(state, core_nodes.iter().map(|url| (*url).to_owned()).collect());
    config.domain_name = "crn.test".to_owned();
    config.allocation_signers = vec![scheduler().address().to_string().as_str().into()];
    config.stop_vms_on_exit = true;
    config.vm.hypervisor = HypervisorChoice::Tcg;
    config.vm.supervisor_command =
        vec![env!("CARGO_BIN_EXE_aleph-crn-node").to_owned(), "supervise-vm".to_owned()];
    config.limits.host_memory_reserved_mib = 256;
    config
}

/// A running node.
pub(crate) struct Node {
    pub(crate) url: String,
    client: reqwest::Client,
    stop: CancellationToken,
    task: JoinHandle<Result<(), aleph_crn::Error>>,
}

impl Node {
    pub(crate) async fn start(config: Config) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address: SocketAddr = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        let task = tokio::spawn(aleph_crn::run_on(listener, config, stop.clone()));
        let node = Self { url: format!("http://{address}"), client: client(), stop, task };
        node.get("/status/config").await;
        node
    }

    pub(crate) async fn stop(self) {
        self.stop.cancel();
        self.task.await.unwrap().unwrap();
    }

    pub(crate) fn request(&self, method: &str, path: &str) -> RequestBuilder {
        self.client.request(method.parse().unwrap(), format!("{}{path}", self.url))
    }

    pub(crate) async fn get(&self, path: &str) -> Response {
        self.request("GET", path).send().await.unwrap()
    }

    /// Status and JSON body.
    pub(crate) async fn json(&self, path: &str) -> (u16, Value) {
        status_and_json(self.get(path).await).await
    }

    /// A signed allocation.
    pub(crate) async fn allocate(&self, body: Value) -> (u16, Value) {
        status_and_json(self.signed_allocation(&scheduler(), &body.to_string()).send().await.unwrap()).await
    }

    /// The request of an allocation, signed now.
    pub(crate) fn signed_allocation(&self, key: &EvmKey, body: &str) -> RequestBuilder {
        let issued = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let payload = json!({
            "method": "POST", "path": "/control/allocations", "iat": issued.as_secs(),
            "body_sha256": hex::encode(Sha256::digest(body)), "nonce": issued.as_nanos().to_string(),
        })
        .to_string();
        let signature = key.sign_eip191(payload.as_bytes());
        let header = format!("Aleph-EIP191-V1 sig={signature},payload=0x{}", hex::encode(&payload));
        self.request("POST", "/control/allocations").header("authorization", header).body(body.to_owned())
    }

    /// Waits until the execution's report fits.
    pub(crate) async fn until(&self, hash: &str, fits: impl Fn(&Value) -> bool) -> Value {
        let began = Instant::now();
        loop {
            let (_, report) = self.json(&format!("/api/v1/executions/{hash}")).await;
            if fits(&report) {
                return report;
            }
            assert!(began.elapsed() < Duration::from_secs(120), "never came: {report}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

pub(crate) async fn status_and_json(response: Response) -> (u16, Value) {
    let status = response.status().as_u16();
    let text = response.text().await.unwrap();
    (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
}
