//! The community's share of token streams (`spec: payments.md §13`).

use crate::{Amount, Decimal, DecimalError, Settings};

use aleph_types::Timestamp;

/// The community's part. A binary double in the network: not a fifth, but
/// 0.200000000000000011102230246251565404236316680908203125.
const COMMUNITY_RATIO: f64 = 0.2;
/// How much less than required still counts as paid, in 10⁻¹⁸ tokens a second.
pub const STREAM_TOLERANCE: Amount = Amount::from_atto(100_000_000);

/// Who must get how much of a stream, tokens a second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StreamShares {
    /// The compute node's operator.
    pub node: Amount,
    /// The community wallet.
    pub community: Amount,
}

impl StreamShares {
    /// The shares of a required flow. Both are floored: together they may be 10⁻¹⁸ less.
    ///
    /// # Errors
    /// [`DecimalError::TooLarge`] for absurd flows.
    pub fn of(flow: Amount) -> Result<Self, DecimalError> {
        let flow = Decimal::from(flow);
        let ratio = Decimal::from_f64(COMMUNITY_RATIO)?;
        let rest = Decimal::from(1u32).minus(&ratio);
        Ok(Self { node: flow.times(&rest).floor18()?, community: flow.times(&ratio).floor18()? })
    }

    /// The shares of a machine that started at `started`: before the community's share was introduced,
    /// or where the network has no community wallet, everything is the operator's.
    ///
    /// # Errors
    /// [`DecimalError::TooLarge`] for absurd flows.
    pub fn owed(flow: Amount, started: Timestamp, settings: &Settings) -> Result<Self, DecimalError> {
        match settings.community_wallet.is_some() && started > settings.community_since {
            true => Self::of(flow),
            false => Ok(Self { node: flow.checked()?, community: Amount::ZERO }),
        }
    }
}
