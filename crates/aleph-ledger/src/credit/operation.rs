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

#[cfg(test)]
mod tests {
    use aleph_types::Channel;
    use serde_json::json;

    use super::*;

    fn transfer(body: serde_json::Value) -> CreditPost {
        CreditPost::read(CreditKind::Transfer, &body).unwrap().unwrap()
    }

    #[test]
    fn only_configured_publishers_in_the_channel_count() {
        let publishers = CreditPublishers::mainnet();
        let publisher = publishers.addresses[0].clone();
        let other_case = Address::from(publisher.as_str().to_lowercase());
        let anyone = Address::from("0xA");
        let channel = Channel::from("ALEPH_CREDIT");
        let recognise = |post_type: &str, owner: &Address, channel: Option<&Channel>| {
            publishers.recognise(post_type, owner, channel)
        };
        let distribution = "aleph_credit_distribution";
        assert_eq!(recognise(distribution, &publisher, Some(&channel)), Some(CreditKind::Distribution));
        assert_eq!(recognise(distribution, &anyone, Some(&channel)), None);
        assert_eq!(recognise(distribution, &other_case, Some(&channel)), None, "spelling counts");
        assert_eq!(recognise("aleph_credit_expense", &publisher, None), None);
        assert_eq!(recognise("aleph_credit_expense", &publisher, Some(&Channel::from("TEST"))), None);
        let moved = recognise("aleph_credit_transfer", &anyone, Some(&channel));
        assert_eq!(moved, Some(CreditKind::Transfer));
        assert_eq!(recognise("note", &publisher, Some(&channel)), None);
    }

    #[test]
    fn old_amounts_are_scaled_and_only_the_publisher_gives_from_nothing() {
        let publishers = CreditPublishers::mainnet();
        let new = |time: Timestamp, sender: &Address| {
            let post = transfer(json!({"transfer": {"credits": [{"address": "0xB", "amount": 7}]}}));
            Operation::new(ItemHash::sha256(b"x"), time, sender.clone(), post, &publishers).unwrap()
        };
        let anyone = Address::from("0xA");
        let last_old = CREDIT_PRECISION.plus_micros(-1);
        for (time, amount) in [(last_old, 70_000), (CREDIT_PRECISION, 7)] {
            let Action::Transfer(entries) = new(time, &anyone).action else { panic!("a transfer") };
            assert_eq!(entries[0].amount, amount);
        }
        assert!(matches!(new(CREDIT_PRECISION, &publishers.addresses[0]).action, Action::Mint(_)));
    }

    #[test]
    fn refusals_name_the_field() {
        let body = json!({"transfer": {"credits": [{"address": "0xB", "amount": 1.5}]}});
        let rejection = Rejection::from(CreditPost::read(CreditKind::Transfer, &body).unwrap_err());
        assert_eq!(rejection.code, ErrorCode::InvalidFormat);
        let text = rejection.details.unwrap()["errors"][0].as_str().unwrap().to_owned();
        assert!(text.starts_with("Invalid credit transfer content: ["), "{text}");
        assert!(text.contains("('transfer', 'credits', 0, 'amount')"), "{text}");
        for nothing in [json!(null), json!({}), json!(""), json!([])] {
            assert_eq!(CreditPost::read(CreditKind::Transfer, &nothing), Ok(None), "an ordinary post");
        }
    }
}
