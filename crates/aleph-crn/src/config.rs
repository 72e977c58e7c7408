//! What an operator decides, as one typed TOML document.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use aleph_types::{Address, ItemHash};
use serde::{Deserialize, Serialize};

use crate::defaults;

/// The configuration of a compute node. Unknown keys are errors.
///
/// ```
/// let config = aleph_crn::Config::from_toml(r#"
///     state_dir = "/var/lib/alephd/crn"
///     core_nodes = ["http://127.0.0.1:4024"]
/// "#).unwrap();
/// assert_eq!(config.listen.port(), 4020);
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where HTTP is served.
    #[serde(default = "default_listen")]
    pub listen: SocketAddr,
    /// Public name: signed operations must carry it, programs are served at `<base32>.<domain_name>`.
    #[serde(default = "default_domain")]
    pub domain_name: String,
    /// Base URLs of the core nodes that messages and files come from; the first that answers wins.
    pub core_nodes: Vec<String>,
    /// Hash of this node's `create-resource-node` operation. Needed to find the parent core node, whose
    /// owner may sign allocations.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_hash: Option<ItemHash>,
    /// The operator's account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner_address: Option<Address>,
    /// Allocations, messages, VMs: what must survive.
    pub state_dir: PathBuf,
    /// Files of the network, by hash: what can be fetched again. Default: `state_dir/cache`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache_dir: Option<PathBuf>,
    /// Accounts that may sign allocations, besides those that the network's aggregates name.
    #[serde(default)]
    pub allocation_signers: Vec<Address>,
    /// Publisher of the `corechannel` aggregate.
    #[serde(default = "default_corechannel_owner")]
    pub corechannel_owner: Address,
    /// SHA-256 (hex) of the shared token of the retired scheduler scheme. Absent: that scheme is off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allocation_token_hash: Option<String>,
    /// Whether any visitor may start any program of the network here, as the reference lets them. When
    /// false only allocated programs are served.
    #[serde(default = "yes")]
    pub serve_unallocated: bool,
    /// Follow the message feed of the core nodes: updates and deletions.
    #[serde(default = "yes")]
    pub watch_messages: bool,
    /// Stop every VM when the node stops. Off: VMs live on under their supervisors, and a restarted node
    /// takes them over.
    #[serde(default)]
    pub stop_vms_on_exit: bool,
    /// Seconds that a VM stays after its last answer; 0 stops it at once.
    #[serde(default = "default_keep_warm")]
    pub keep_warm_seconds: u64,
    /// First /64 of the guests' static IPv6 addresses (`spec: crn-vm.md §7.1`).
    #[serde(default = "default_ipv6_pool")]
    pub ipv6_address_pool: String,
    /// Where streams are paid to; default: `owner_address`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payment_receiver_address: Option<Address>,
    /// How VMs are run.
    #[serde(default)]
    pub vm: VmConfig,
    /// Bounds.
    #[serde(default)]
    pub limits: Limits,
}

/// How VMs are run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VmConfig {
    /// Which processor VMs get.
    #[serde(default)]
    pub hypervisor: HypervisorChoice,
    /// The guest kernel. Without kernel and initramfs those that `runtimes/build` made are used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kernel: Option<ImageSource>,
    /// The initramfs that goes with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub initramfs: Option<ImageSource>,
    /// The command of a supervisor process. Default: this executable with `supervise-vm`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub supervisor_command: Vec<String>,
    /// Start from a template where one can be made.
    #[serde(default = "yes")]
    pub templates: bool,
}

impl Default for VmConfig {
    fn default() -> Self {
        Self {
            hypervisor: HypervisorChoice::Auto,
            kernel: None,
            initramfs: None,
            supervisor_command: Vec::new(),
            templates: true,
        }
    }
}

/// Which processor VMs get.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HypervisorChoice {
    /// KVM where a tiny kernel really boots with it, emulation elsewhere.
    #[default]
    Auto,
    /// Hardware virtualisation, or nothing.
    Kvm,
    /// Emulation.
    Tcg,
}

/// A file on this machine, or a file of the network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub enum ImageSource {
    /// Hash of the STORE message, fetched from the core nodes.
    Store(ItemHash),
    /// Path.
    File(PathBuf),
}

impl From<String> for ImageSource {
    fn from(text: String) -> Self {
        ItemHash::parse(&text).map_or_else(|_| Self::File(text.into()), Self::Store)
    }
}

impl From<ImageSource> for String {
    fn from(source: ImageSource) -> Self {
        match source {
            ImageSource::Store(hash) => hash.as_str().to_owned(),
            ImageSource::File(path) => path.to_string_lossy().into_owned(),
        }
    }
}

/// Bounds; every queue, cache and body has one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Bytes of a request, JSON or to a program.
    pub request_body_bytes: u64,
    /// Bytes of a program's answer.
    pub response_body_bytes: u64,
    /// Bytes of code or data given inline (`plain`, `zip`).
    pub inline_code_bytes: u64,
    /// Bytes of code or data given as a disk image.
    pub image_code_bytes: u64,
    /// Bytes of a runtime or an immutable volume.
    pub image_bytes: u64,
    /// Bytes of files of the network that are kept; known programs' files stay whatever their size.
    pub cache_bytes: u64,
    /// VMs at once.
    pub max_vms: usize,
    /// Memory of all programs together, MiB. Default: 8192 or what the host has beyond
    /// `host_memory_reserved_mib`, whichever is less.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub program_memory_mib: Option<u64>,
    /// Memory left to the host, MiB.
    pub host_memory_reserved_mib: u64,
    /// Virtual processors per core.
    pub vcpu_overcommit: u64,
    /// Programs known at once.
    pub max_executions: usize,
    /// Requests inside programs at once.
    pub max_requests: usize,
    /// Seconds a guest has to say that it is ready.
    pub init_timeout_seconds: u64,
    /// Seconds without a byte after which a download from one source is given up.
    pub download_stall_seconds: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            request_body_bytes: defaults::REQUEST_BODY,
            response_body_bytes: defaults::RESPONSE_BODY,
            inline_code_bytes: defaults::INLINE_CODE_BYTES,
            image_code_bytes: defaults::IMAGE_CODE_BYTES,
            image_bytes: defaults::IMAGE_BYTES,
            cache_bytes: defaults::CACHE_BYTES,
            max_vms: defaults::MAX_VMS,
            program_memory_mib: None,
            host_memory_reserved_mib: defaults::HOST_MEMORY_RESERVED_MIB,
            vcpu_overcommit: defaults::VCPU_OVERCOMMIT,
            max_executions: defaults::MAX_EXECUTIONS,
            max_requests: defaults::MAX_REQUESTS,
            init_timeout_seconds: defaults::INIT_TIMEOUT.as_secs(),
            download_stall_seconds: defaults::DOWNLOAD_STALL.as_secs(),
        }
    }
}

fn default_listen() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], defaults::PORT))
}

fn default_domain() -> String {
    "localhost".to_owned()
}

fn default_corechannel_owner() -> Address {
    Address::from(defaults::CORECHANNEL_OWNER)
}

fn default_keep_warm() -> u64 {
    defaults::KEEP_WARM.as_secs()
}

fn default_ipv6_pool() -> String {
    "fc00:1:2:3::/64".to_owned()
}

fn yes() -> bool {
    true
}

/// Why a configuration can't be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// Not TOML, a wrong type, or an unknown key (the text names the known ones).
    #[error("configuration: {0}")]
    Toml(#[from] toml::de::Error),
    /// The file can't be read.
    #[error("can't read the configuration '{path}': {source}; check the path and its permissions")]
    Read {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A value that parses but makes no sense.
    #[error("configuration: `{key}` {problem}")]
    Value {
        /// Which key.
        key: &'static str,
        /// What is wrong and what to do.
        problem: String,
    },
}

impl Config {
    /// A configuration with defaults everywhere but the two things that have none.
    pub fn new(state_dir: impl Into<PathBuf>, core_nodes: Vec<String>) -> Self {
        Self {
            listen: default_listen(),
            domain_name: default_domain(),
            core_nodes,
            node_hash: None,
            owner_address: None,
            state_dir: state_dir.into(),
            cache_dir: None,
            allocation_signers: Vec::new(),
            corechannel_owner: default_corechannel_owner(),
            allocation_token_hash: None,
            serve_unallocated: true,
            watch_messages: true,
            stop_vms_on_exit: false,
            keep_warm_seconds: default_keep_warm(),
            ipv6_address_pool: default_ipv6_pool(),
            payment_receiver_address: None,
            vm: VmConfig::default(),
            limits: Limits::default(),
        }
    }

    /// Parses and checks a document.
    pub fn from_toml(text: &str) -> Result<Self, ConfigError> {
        let config: Self = toml::from_str(text)?;
        config.check()?;
        Ok(config)
    }

    /// Reads, parses and checks a file.
    pub fn from_file(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
        Self::from_toml(&text)
    }

    /// Checks what types can't.
    pub fn check(&self) -> Result<(), ConfigError> {
        let wrong = |key, problem: String| Err(ConfigError::Value { key, problem });
        if self.core_nodes.is_empty() {
            return wrong(
                "core_nodes",
                "is empty; name at least one core node, such as \"http://127.0.0.1:4024\"".into(),
            );
        }
        for url in &self.core_nodes {
            match reqwest::Url::parse(url) {
                Ok(parsed) if matches!(parsed.scheme(), "http" | "https") && parsed.has_host() => {}
                _ => return wrong("core_nodes", format!("has '{url}', which is no http(s) URL")),
            }
        }
        if self.domain_name.is_empty() || self.domain_name.contains(['/', ':', ' ']) {
            return wrong(
                "domain_name",
                format!("is '{}'; give a host name without scheme and port", self.domain_name),
            );
        }
        for signer in &self.allocation_signers {
            let digits = signer.as_str().strip_prefix("0x");
            if !digits
                .is_some_and(|digits| digits.len() == 40 && digits.bytes().all(|b| b.is_ascii_hexdigit()))
            {
                return wrong("allocation_signers", format!("has '{signer}', which is no EVM address"));
            }
        }
        if let Some(hash) = &self.allocation_token_hash
            && !(hash.len() == 64 && hash.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')))
        {
            return wrong("allocation_token_hash", "must be 64 lower-case hexadecimal digits".into());
        }
        if crate::address::Ipv6Pool::parse(&self.ipv6_address_pool).is_none() {
            return wrong(
                "ipv6_address_pool",
                format!("is '{}'; give a /64 or /56 such as fc00:1:2:3::/64", self.ipv6_address_pool),
            );
        }
        if self.limits.max_vms == 0
            || self.limits.vcpu_overcommit == 0
            || self.limits.init_timeout_seconds == 0
        {
            return wrong("limits", "has a zero where at least one is needed".into());
        }
        Ok(())
    }

    /// Where files of the network are kept.
    pub fn cache_dir(&self) -> PathBuf {
        self.cache_dir.clone().unwrap_or_else(|| self.state_dir.join("cache"))
    }

    /// How long a VM stays after its last answer.
    pub fn keep_warm(&self) -> Duration {
        Duration::from_secs(self.keep_warm_seconds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_document_is_enough_and_unknown_keys_are_named() {
        let config = Config::from_toml("state_dir = \"s\"\ncore_nodes = [\"http://a:1\"]").unwrap();
        assert_eq!(config, Config::new("s", vec!["http://a:1".into()]));
        let error =
            Config::from_toml("state_dir = \"s\"\ncore_nodes = [\"http://a\"]\nkeepwarm = 3").unwrap_err();
        assert!(error.to_string().contains("keepwarm"), "{error}");
        let error = Config::from_toml("state_dir = \"s\"\ncore_nodes = []").unwrap_err();
        assert!(error.to_string().contains("core_nodes"), "{error}");
    }

    #[test]
    fn images_are_paths_or_hashes() {
        let hash = "a".repeat(64);
        let text = format!(
            "state_dir = \"s\"\ncore_nodes = [\"http://a\"]\n[vm]\nkernel = \"/boot/vmlinuz\"\ninitramfs = \"{hash}\""
        );
        let config = Config::from_toml(&text).unwrap();
        assert_eq!(config.vm.kernel, Some(ImageSource::File("/boot/vmlinuz".into())));
        assert_eq!(config.vm.initramfs, Some(ImageSource::Store(hash.parse().unwrap())));
        let again = Config::from_toml(&toml::to_string(&config).unwrap()).unwrap();
        assert_eq!(again, config);
    }
}
