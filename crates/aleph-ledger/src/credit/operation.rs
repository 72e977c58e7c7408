use aleph_types::{Address, ErrorCode, ItemHash, Rejection, Timestamp};

use super::post::expiration_of;
use super::{
    CreditKind, CreditPost, CreditPublishers, DistributionEntry, ExpenseEntry, Moment, TransferEntry,
};
use crate::cutoffs::{CREDIT_PRECISION, CREDIT_PRECISION_FACTOR};

/// Why a well-formed credit post is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CreditRefusal {
    /// More credits than a ledger row can hold (2⁶³ − 1, after scaling).
    #[error("Credit amount too large: {0}")]
    AmountTooLarge(i128),
    /// An expiration without a calendar date.
    #[error("Credit expiration out of range: {0} ms")]
    ExpirationOutOfRange(i128),
    /// A transfer to its sender.
    #[error("Self-transfer not allowed: {0}")]
    SelfTransfer(Address),
    /// The sender has less than it gives.
    #[error("Insufficient credit balance for transfer. Required: {required}, Available: {available}")]
    Insufficient {
        /// What it gives.
        required: i128,
        /// What it has.
        available: i128,
    },
}

impl From<CreditRefusal> for Rejection {
    fn from(refusal: CreditRefusal) -> Self {
        Self::text(ErrorCode::InvalidFormat, refusal.to_string())
    }
}

/// One grant, scaled.
#[derive(Debug, Clone, PartialEq)]
pub struct Grant {
    /// What the post says.
    pub entry: DistributionEntry,
    /// Credits.
    pub amount: i64,
    /// When it expires.
    pub expiration: Option<Timestamp>,
}

/// One expense, scaled.
#[derive(Debug, Clone, PartialEq)]
pub struct Payment {
    /// What the post says.
    pub entry: ExpenseEntry,
    /// Credits.
    pub amount: i64,
}

/// One transfer, scaled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transfer {
    /// Who gets it.
    pub recipient: Address,
    /// Credits.
    pub amount: i64,
    /// The requested expiration.
    pub expiration: Option<Timestamp>,
}

/// What a credit post does.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// New credits that were paid for.
    Distribute {
        /// What they were paid with.
        token: String,
        /// Where.
        chain: String,
        /// To whom.
        grants: Vec<Grant>,
    },
    /// Credits that resources used up.
    Spend(Vec<Payment>),
    /// Credits that change hands.
    Transfer(Vec<Transfer>),
    /// Credits that a privileged address gives from nothing.
    Mint(Vec<Transfer>),
}

/// A credit post, ready to be applied.
#[derive(Debug, Clone, PartialEq)]
pub struct Operation {
    /// When it counts.
    pub moment: Moment,
    /// `content.address`.
    pub sender: Address,
    /// Factor of the amounts: 10 000 for old posts, else 1.
    pub factor: i64,
    /// What it does.
    pub action: Action,
}

impl Operation {
    /// What the post `message` of `sender` (`content.address`) does; `time` is `content.time`.
    ///
    /// # Errors
    /// [`CreditRefusal`]: an amount or a time that no ledger can hold.
    pub fn new(
        message: ItemHash,
        time: Timestamp,
        sender: Address,
        post: CreditPost,
        publishers: &CreditPublishers,
    ) -> Result<Self, CreditRefusal> {
        let factor = if time < CREDIT_PRECISION { CREDIT_PRECISION_FACTOR } else { 1 };
        let scaled = |amount: i128| {
            let scaled = amount.checked_mul(i128::from(factor)).and_then(|amount| i64::try_from(amount).ok());
            scaled.ok_or(CreditRefusal::AmountTooLarge(amount))
        };
        let expires = |millis: Option<i128>| {
            expiration_of(millis)
                .map_err(|()| CreditRefusal::ExpirationOutOfRange(millis.unwrap_or_default()))
        };
        let transfer = |entry: TransferEntry| {
            Ok(Transfer {
                amount: scaled(entry.amount)?,
                expiration: expires(entry.expiration_ms)?,
                recipient: entry.address,
            })
        };
        let (kind, action) = match post {
            CreditPost::Distribution(distribution) => {
                let grant = |entry: DistributionEntry| {
                    let (amount, expiration) = (scaled(entry.amount)?, expires(entry.expiration_ms)?);
                    Ok(Grant { entry, amount, expiration })
                };
                let grants = distribution.entries.into_iter().map(grant).collect::<Result<_, _>>()?;
                let (token, chain) = (distribution.token, distribution.chain);
                (CreditKind::Distribution, Action::Distribute { token, chain, grants })
            }
            CreditPost::Expense(entries) => {
                let payment = |entry: ExpenseEntry| Ok(Payment { amount: scaled(entry.amount)?, entry });
                (
                    CreditKind::Expense,
                    Action::Spend(entries.into_iter().map(payment).collect::<Result<_, _>>()?),
                )
            }
            CreditPost::Transfer(entries) => {
                let transfers = entries.into_iter().map(transfer).collect::<Result<_, _>>()?;
                let action = match publishers.is_privileged(&sender) {
                    true => Action::Mint(transfers),
                    false => Action::Transfer(transfers),
                };
                (CreditKind::Transfer, action)
            }
        };
        let moment = Moment { time, is_expense: kind == CreditKind::Expense, message };
        Ok(Self { moment, sender, factor, action })
    }
}
