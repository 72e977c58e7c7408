use std::collections::BTreeMap;

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
    /// What it is about.
    fn subject(&self) -> Subject {
        match self {
            Self::PriceKept { product, .. } | Self::PriceUnusable { product, .. } => {
                Subject::Product(*product)
            }
            Self::UnknownProduct { key } => Subject::Key(key.clone()),
            Self::SettingKept { field, .. } => Subject::Setting(field),
        }
    }

    /// The element of the aggregate that is malformed, where it is known.
    pub fn element(&self) -> Option<&ItemHash> {
        match self {
            Self::PriceKept { element, .. } | Self::PriceUnusable { element, .. } => element.as_ref(),
            Self::UnknownProduct { .. } | Self::SettingKept { .. } => None,
        }
    }

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

/// What a notice is about: the newest element that names it decides whether the notice stands.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Subject {
    Product(Product),
    Key(String),
    Setting(&'static str),
}

/// The notices that hold after a number of elements: what a later one puts right is no notice any more.
#[derive(Debug, Default)]
pub(crate) struct StandingNotices(BTreeMap<Subject, Notice>);

impl StandingNotices {
    /// Takes an element that names `subjects`, and what was wrong with it.
    pub(crate) fn take(&mut self, subjects: impl Iterator<Item = Subject>, found: Vec<Notice>) {
        for subject in subjects {
            self.0.remove(&subject);
        }
        self.0.extend(found.into_iter().map(|notice| (notice.subject(), notice)));
    }

    pub(crate) fn into_list(self) -> Vec<Notice> {
        self.0.into_values().collect()
    }
}
