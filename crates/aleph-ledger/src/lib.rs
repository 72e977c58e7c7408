//! Money: prices, costs, acceptance, balances, credits, removal.
mod amount;
mod cost;
pub mod cutoffs;
mod decimal;
mod estimate;
mod notice;
mod pricing;
mod settings;

pub use amount::Amount;
pub use cost::{
    CostError, CostLine, CostType, Costing, Costs, Estimates, FileSizes, Inputs, MINIMUM_CREDIT, Machine,
    MachineKind, Quantity, Size, Volume, Way, Workload, WorkloadKind,
};
pub use decimal::{Decimal, DecimalError};
pub use estimate::Estimate;
pub use notice::Notice;
pub use pricing::{
    ComputeUnit, Origin, PRICE_KEY, PRICE_PUBLISHER, PriceElement, PriceFault, PriceTable, Prices, Product,
    ProductPrices, Tier, Timeline, default_prices,
};
pub use settings::{Card, SETTINGS_KEY, Settings};
