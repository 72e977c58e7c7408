use aleph_types::ItemHash;

use crate::Product;

/// Something that an operator should see: network data that could not be used as sent.
///
/// The shell logs it, counts it and shows it under `/api/v1/node/health`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// A product's new prices can't be read; those in force before stay.
    PriceKept {
        /// Which product.
        product: Product,
        /// The element of the aggregate that is malformed.
        element: Option<ItemHash>,
        /// What is wrong, and where.
        fault: String,
    },
    /// A product's prices can't be read and there never were any: messages that need it wait.
    PriceUnusable {
        /// Which product.
        product: Product,
        /// The element of the aggregate that is malformed.
        element: Option<ItemHash>,
        /// What is wrong, and where.
        fault: String,
    },
    /// The aggregate names a product that this node does not know; ignored.
    UnknownProduct {
        /// The key, shortened.
        key: String,
    },
    /// A field of the settings can't be read; the value in force before stays.
    SettingKept {
        /// Which field.
        field: &'static str,
        /// What is wrong.
        fault: String,
    },
}

impl Notice {
    /// A short stable word: the label of the metric that counts notices.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::PriceKept { .. } => "price_kept",
            Self::PriceUnusable { .. } => "price_unusable",
            Self::UnknownProduct { .. } => "unknown_product",
            Self::SettingKept { .. } => "setting_kept",
        }
    }
}

impl std::fmt::Display for Notice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::PriceKept { product, fault, .. } => {
                write!(f, "prices of {product} are malformed, the last good ones stay: {fault}")
            }
            Self::PriceUnusable { product, fault, .. } => {
                write!(f, "prices of {product} are malformed and there are no earlier ones: {fault}")
            }
            Self::UnknownProduct { key } => write!(f, "unknown product '{key}' in the prices"),
            Self::SettingKept { field, fault } => {
                write!(f, "setting '{field}' is malformed, the last good one stays: {fault}")
            }
        }
    }
}
