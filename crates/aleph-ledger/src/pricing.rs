//! The network's prices: an aggregate, read leniently, with documented defaults (`spec: payments.md §2`).

mod defaults;
mod read;
pub(crate) use read::is_falsy;
mod timeline;

pub use defaults::default_prices;
pub use timeline::{Element, Timeline};

use std::collections::BTreeMap;
use std::fmt;

use aleph_types::{ItemHash, Timestamp};
use serde_json::{Map, Value};

use crate::{CostError, Decimal, Notice};

/// Who publishes the aggregates `pricing` and `settings` on the public network.
pub const PRICE_PUBLISHER: &str = "0xFba561a84A537fCaa567bb7A2257e7142701ae2A";
/// Key of the price aggregate.
pub const PRICE_KEY: &str = "pricing";

/// Longest foreign key that a notice repeats, in characters.
const SHOWN_KEY: usize = 64;

/// What has a price.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Product {
    /// A file.
    Storage,
    /// A website; priced by front ends only.
    Web3Hosting,
    /// A program on demand.
    Program,
    /// A program that is kept running.
    ProgramPersistent,
    /// A virtual machine.
    Instance,
    /// A virtual machine that is protected from its host.
    InstanceConfidential,
    /// A machine with graphics cards of the larger class.
    InstanceGpuPremium,
    /// A machine with graphics cards of the smaller class.
    InstanceGpuStandard,
}

impl Product {
    /// Every product.
    pub const ALL: [Product; 8] = [
        Product::Storage,
        Product::Web3Hosting,
        Product::Program,
        Product::ProgramPersistent,
        Product::Instance,
        Product::InstanceConfidential,
        Product::InstanceGpuPremium,
        Product::InstanceGpuStandard,
    ];

    /// The key in the aggregate, and the name of execution lines.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Storage => "storage",
            Self::Web3Hosting => "web3_hosting",
            Self::Program => "program",
            Self::ProgramPersistent => "program_persistent",
            Self::Instance => "instance",
            Self::InstanceConfidential => "instance_confidential",
            Self::InstanceGpuPremium => "instance_gpu_premium",
            Self::InstanceGpuStandard => "instance_gpu_standard",
        }
    }

    /// The product of that key.
    pub fn of_key(key: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|product| product.as_str() == key)
    }
}

impl fmt::Display for Product {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Where a price entry comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// Built in; used while no price aggregate is known.
    Default,
    /// An aggregate as a whole, its elements unknown.
    Aggregate,
    /// An element of the aggregate.
    Element {
        /// The AGGREGATE message.
        message: ItemHash,
        /// Its `content.time`.
        time: Timestamp,
    },
}

impl Origin {
    fn element(&self) -> Option<&ItemHash> {
        match self {
            Self::Element { message, .. } => Some(message),
            Self::Default | Self::Aggregate => None,
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::Aggregate => f.write_str("aggregate"),
            Self::Element { message, .. } => f.write_str(message.as_str()),
        }
    }
}

/// The three prices of one thing, none of them negative.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prices {
    /// Tokens to hold.
    pub holding: Decimal,
    /// Tokens an hour.
    pub payg: Decimal,
    /// Credits an hour.
    pub credit: Decimal,
}

/// What one compute unit contains.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ComputeUnit {
    /// Virtual processors; shown only, the formula counts one.
    pub vcpus: u32,
    /// Memory, MiB; never 0.
    pub memory_mib: u32,
    /// Disk that is included, MiB.
    pub disk_mib: u32,
}

impl ComputeUnit {
    /// What counts when a product has no tiers.
    pub const FALLBACK: ComputeUnit = ComputeUnit { vcpus: 1, memory_mib: 2048, disk_mib: 0 };
}

/// A size that a product is offered in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tier {
    /// Such as `tier-1`.
    pub id: String,
    /// How many compute units.
    pub compute_units: u32,
    /// Model of the graphics card.
    pub model: Option<String>,
    /// Its memory, MiB.
    pub vram_mib: Option<u64>,
}

/// One product's entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProductPrices {
    /// Which product.
    pub product: Product,
    /// Per MiB.
    pub storage: Prices,
    /// Per compute unit; `None` where the product has none.
    pub compute_unit_price: Option<Prices>,
    /// `None` without tiers: then [`ComputeUnit::FALLBACK`] counts.
    pub compute_unit: Option<ComputeUnit>,
    /// Sizes.
    pub tiers: Vec<Tier>,
    /// Where the entry comes from.
    pub origin: Origin,
}

impl ProductPrices {
    /// What one compute unit of this product contains.
    pub fn unit(&self) -> ComputeUnit {
        self.compute_unit.unwrap_or(ComputeUnit::FALLBACK)
    }
}

/// Why a product has no price.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PriceFault {
    /// The aggregate does not name it; there is no fallback to the defaults.
    #[error("the price aggregate has no such product")]
    Missing,
    /// Its entry can't be read.
    #[error("{path}: {what}")]
    Malformed {
        /// Where, dotted.
        path: String,
        /// What is wrong.
        what: &'static str,
    },
}

/// The prices of every product, in force at one time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PriceTable {
    products: BTreeMap<Product, Result<ProductPrices, PriceFault>>,
    is_default: bool,
}

impl Default for PriceTable {
    /// The built-in prices.
    fn default() -> Self {
        Self { is_default: true, ..Self::read(&default_prices(), &Origin::Default) }
    }
}

impl PriceTable {
    /// Reads an aggregate as a whole. Products that it lacks or spoils have no price.
    pub fn read(aggregate: &Map<String, Value>, origin: &Origin) -> Self {
        let products = Product::ALL
            .into_iter()
            .map(|product| {
                let entry = aggregate.get(product.as_str());
                (product, read::product(product, entry, origin))
            })
            .collect();
        Self { products, is_default: false }
    }

    /// The table after another element of the aggregate: the products that it names are replaced as a
    /// whole, a malformed entry leaves the last good one in force and says so.
    ///
    /// The first element also ends the defaults of products that it does not name.
    #[must_use]
    pub fn follow(&self, element: &Map<String, Value>, origin: &Origin) -> (Self, Vec<Notice>) {
        let mut notices: Vec<Notice> = element
            .keys()
            .filter(|key| Product::of_key(key).is_none())
            .map(|key| Notice::UnknownProduct { key: key.chars().take(SHOWN_KEY).collect() })
            .collect();
        let mut products = BTreeMap::new();
        for product in Product::ALL {
            let before = self.products.get(&product).cloned().unwrap_or(Err(PriceFault::Missing));
            let Some(entry) = element.get(product.as_str()) else {
                products.insert(product, if self.is_default { Err(PriceFault::Missing) } else { before });
                continue;
            };
            let now = read::product(product, Some(entry), origin);
            let element = origin.element().cloned();
            let in_force = match (now, before) {
                (Ok(prices), _) => Ok(prices),
                (Err(fault), Ok(last_good)) => {
                    notices.push(Notice::PriceKept { product, element, fault: fault.to_string() });
                    Ok(last_good)
                }
                (Err(fault), Err(_)) => {
                    notices.push(Notice::PriceUnusable { product, element, fault: fault.to_string() });
                    Err(fault)
                }
            };
            products.insert(product, in_force);
        }
        (Self { products, is_default: false }, notices)
    }

    /// The prices of a product.
    ///
    /// # Errors
    /// [`CostError::NoPrice`]: the network's prices lack it. The message that needs it waits.
    pub fn product(&self, product: Product) -> Result<&ProductPrices, CostError> {
        match self.products.get(&product) {
            Some(Ok(prices)) => Ok(prices),
            Some(Err(fault)) => Err(CostError::NoPrice { product, fault: fault.clone() }),
            None => Err(CostError::NoPrice { product, fault: PriceFault::Missing }),
        }
    }
}
