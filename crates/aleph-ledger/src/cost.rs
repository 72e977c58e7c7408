//! What a message costs (`spec: payments.md §§4–6`).
//!
//! Two steps: [`Workload::of`] looks up the files that a message names, [`Workload::price`] applies the
//! prices. Every line keeps what it was computed from ([`Inputs`]), so that an explanation needs nothing
//! else.

mod formula;
mod workload;

pub use formula::MINIMUM_CREDIT;
pub use workload::{Estimates, FileSizes, Machine, MachineKind, Size, Volume, Workload, WorkloadKind};

use std::fmt;

use aleph_types::content::PaymentType;

use crate::{Amount, Decimal, DecimalError, Origin, PriceFault, Product};

/// What a line of costs is for. The words are the network's, `INMUTABLE` included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[allow(missing_docs, reason = "the names are the specification's")]
pub enum CostType {
    Execution,
    VolumePersistent,
    VolumeImmutable,
    VolumeDiscount,
    InstanceRootfs,
    ProgramCode,
    ProgramRuntime,
    ProgramData,
    Storage,
}

impl CostType {
    /// The word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Execution => "EXECUTION",
            Self::VolumePersistent => "EXECUTION_VOLUME_PERSISTENT",
            Self::VolumeImmutable => "EXECUTION_VOLUME_INMUTABLE",
            Self::VolumeDiscount => "EXECUTION_VOLUME_DISCOUNT",
            Self::InstanceRootfs => "EXECUTION_INSTANCE_VOLUME_ROOTFS",
            Self::ProgramCode => "EXECUTION_PROGRAM_VOLUME_CODE",
            Self::ProgramRuntime => "EXECUTION_PROGRAM_VOLUME_RUNTIME",
            Self::ProgramData => "EXECUTION_PROGRAM_VOLUME_DATA",
            Self::Storage => "STORAGE",
        }
    }
}

impl fmt::Display for CostType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The same thing priced in the network's three ways.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Costs {
    /// Tokens to hold.
    pub hold: Amount,
    /// Tokens a second.
    pub stream: Amount,
    /// Credits a second.
    pub credit: Amount,
}

impl Costs {
    /// The column that a payment type pays.
    pub fn of(&self, payment: PaymentType) -> Amount {
        match payment {
            PaymentType::Hold => self.hold,
            PaymentType::Superfluid => self.stream,
            PaymentType::Credit => self.credit,
        }
    }
}

/// What is multiplied with a price.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Quantity {
    /// Compute units, and the factor for programs that reach the internet.
    ComputeUnits {
        /// How many.
        units: u64,
        /// 1 or 2.
        multiplier: u64,
    },
    /// MiB of disk or file, exactly.
    Mebibytes(Decimal),
}

impl Quantity {
    /// The number as a factor.
    pub fn factor(&self) -> Decimal {
        match self {
            Self::ComputeUnits { units, multiplier } => Decimal::from(units.saturating_mul(*multiplier)),
            Self::Mebibytes(size) => size.clone(),
        }
    }
}

/// One of the three ways of a line: from the price to the amount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Way {
    /// The network's price: tokens to hold, or tokens or credits an hour.
    pub price: Decimal,
    /// The price of a second (of the holding, for hold), rounded to 28 digits.
    pub rate: Decimal,
    /// Quantity × rate, rounded to 28 digits, before the floor to 18 decimals.
    pub product: Decimal,
    /// The least that credit pays, where it raised the amount.
    pub raised_to: Option<Amount>,
}

/// The three ways of a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ways {
    /// Hold.
    pub hold: Way,
    /// Stream.
    pub stream: Way,
    /// Credit.
    pub credit: Way,
}

/// What a line was computed from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Inputs {
    /// Quantity × price.
    Priced {
        /// Whose prices.
        product: Product,
        /// Where they come from.
        origin: Origin,
        /// How much.
        quantity: Quantity,
        /// From price to amount.
        ways: Box<Ways>,
    },
    /// The disk that compute units include: never more than the volumes cost.
    Discount {
        /// Whose prices and compute unit.
        product: Product,
        /// Where they come from.
        origin: Origin,
        /// Included disk, MiB.
        included_mib: u64,
        /// What the volumes cost.
        volumes: Costs,
        /// What the included disk is worth, before the floor: hold, stream, credit.
        worth: [Decimal; 3],
    },
}

/// One line of the costs of a message.
#[derive(Debug, Clone, PartialEq)]
pub struct CostLine {
    /// What it is for.
    pub cost_type: CostType,
    /// Unique with the type within a message.
    pub name: String,
    /// The message or tag that it is about.
    pub reference: Option<String>,
    /// The amounts.
    pub costs: Costs,
    /// Size that the API shows, MiB, for volumes and files; the charged one is in the inputs.
    pub size_mib: Option<f64>,
    /// What it was computed from.
    pub inputs: Inputs,
}

/// Everything that a message costs.
#[derive(Debug, Clone, PartialEq)]
pub struct Costing {
    /// How it is paid.
    pub payment: PaymentType,
    /// The product of the message as a whole.
    pub product: Product,
    /// The lines in the network's order.
    pub lines: Vec<CostLine>,
    /// The sum of the paid column: tokens to hold, or tokens or credits a second.
    pub total: Amount,
    /// Files that the message names and the node does not know: they cost nothing.
    pub unknown_files: Vec<String>,
}

/// Why a message can't be priced. Not the sender's final fate: the message is an internal error of the
/// network's data and is tried again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CostError {
    /// The prices in force lack the product.
    #[error("no price for {product}: {fault}")]
    NoPrice {
        /// Which product.
        product: Product,
        /// Why.
        fault: PriceFault,
    },
    /// The product is named, but not what a compute unit costs.
    #[error("the prices of {0} name no price of a compute unit")]
    NoComputePrice(Product),
    /// A graphics card that the settings do not know.
    #[error("GPU device_id {0} not found in compatible GPUs")]
    UnknownGpu(String),
    /// A model that no tier offers.
    #[error("GPU model {0} not found in any pricing tier (premium or standard)")]
    UnpricedGpu(String),
    /// An amount that the network's arithmetic can't hold.
    #[error("the cost can't be computed: {0}")]
    Arithmetic(#[from] DecimalError),
}
