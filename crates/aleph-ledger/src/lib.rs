//! Money: prices, costs, acceptance, balances, credits, removal.
mod acceptance;
mod amount;
mod balance;
mod cost;
pub mod credit;
pub mod cutoffs;
mod decimal;
mod estimate;
mod notice;
mod pricing;
pub mod removal;
mod settings;

pub use acceptance::{AccountFacts, Allocation, FreeBecause, Gate, PaymentRules, Refusal, Terms};
pub use amount::Amount;
pub use balance::{BalanceChange, BalanceUpdate, StoredBalance, total_balance};
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
