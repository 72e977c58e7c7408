//! Whether the owner of a message can pay for it (`spec: payments.md §9`).
//!
//! A [`Gate`] is what the rules need to know of a message. [`Gate::terms`] says what it must fulfil;
//! [`Terms::check`] asks the account and refuses with the network's codes 5, 6 and 202.

use aleph_types::content::{Content, PaymentType};
use aleph_types::{Address, ErrorCode, Rejection, Timestamp};
use serde_json::json;

use crate::{Amount, Decimal, cutoffs};

/// When the rules of payment changed. The default is the public network's; private networks may differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PaymentRules {
    /// Files and on-demand programs cost something from this envelope time on, while unconfirmed.
    pub paid_since: Timestamp,
    /// The same for confirmed messages: height of the first confirmation.
    pub paid_since_height: u64,
    /// Machines that keep running must pay by credit from this envelope time on.
    pub machines_by_credit_since: Timestamp,
    /// Files, programs and instances must all pay by credit from this envelope time on.
    pub credit_only_since: Timestamp,
    /// Largest file that is free on hold, bytes.
    pub free_file_bytes: u64,
}

impl Default for PaymentRules {
    fn default() -> Self {
        Self {
            paid_since: cutoffs::STORE_AND_PROGRAM_COST,
            paid_since_height: cutoffs::STORE_AND_PROGRAM_COST_HEIGHT,
            machines_by_credit_since: cutoffs::HOLD_AND_STREAM,
            credit_only_since: cutoffs::CREDIT_ONLY,
            free_file_bytes: cutoffs::FREE_FILE_MIB << 20,
        }
    }
}

/// What a message allocates, as far as acceptance cares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Allocation {
    /// A STORE; bytes of the file, if known.
    File(Option<u64>),
    /// A PROGRAM.
    Program {
        /// Kept running.
        persistent: bool,
    },
    /// An INSTANCE.
    Instance,
    /// A V-PROGRAM.
    VProgram,
}

/// A message at the gate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gate {
    /// What it allocates.
    pub allocation: Allocation,
    /// How it pays.
    pub payment: PaymentType,
    /// Who pays.
    pub owner: Address,
    /// Envelope time.
    pub time: Timestamp,
    /// Height of the first confirmation; normally none at ingestion.
    pub confirmed_height: Option<u64>,
}

impl Gate {
    /// The gate of a message; `None` for types that allocate nothing. `file_bytes` is the size of a
    /// STORE's file: before fetching, that of an IPFS query or `None`; after it, that of the stored file.
    pub fn of(
        content: &Content,
        time: Timestamp,
        confirmed_height: Option<u64>,
        file_bytes: Option<u64>,
    ) -> Option<Self> {
        let (allocation, payment) = match content {
            Content::Store(store) => {
                let payment =
                    store.payment.as_ref().map_or(PaymentType::Hold, |payment| payment.payment_type);
                (Allocation::File(file_bytes), payment)
            }
            Content::Program(program) => {
                let persistent = program.on.is_persistent();
                (Allocation::Program { persistent }, program.base.payment_type())
            }
            Content::Instance(instance) => (Allocation::Instance, instance.base.payment_type()),
            Content::VProgram(program) => (Allocation::VProgram, program.base.payment_type()),
            Content::Post(_) | Content::Aggregate(_) | Content::Forget(_) => return None,
        };
        Some(Self { allocation, payment, owner: content.owner().clone(), time, confirmed_height })
    }

    /// What the message must fulfil.
    pub fn terms(&self, rules: &PaymentRules) -> Terms {
        let by_credit = self.payment == PaymentType::Credit;
        let is_old = match self.confirmed_height {
            Some(height) => height < rules.paid_since_height,
            None => self.time < rules.paid_since,
        };
        let was_free =
            matches!(self.allocation, Allocation::File(_) | Allocation::Program { persistent: false });
        if was_free && is_old {
            return Terms::Free(FreeBecause::Old);
        }
        if self.allocation == Allocation::VProgram {
            return if by_credit { Terms::Credit } else { Terms::Refused };
        }
        let keeps_running =
            matches!(self.allocation, Allocation::Instance | Allocation::Program { persistent: true });
        if !by_credit
            && (self.time >= rules.credit_only_since
                || (keeps_running && self.time >= rules.machines_by_credit_since))
        {
            return Terms::Refused;
        }
        match (self.payment, self.allocation) {
            (PaymentType::Credit, _) => Terms::Credit,
            (PaymentType::Superfluid, _) => Terms::Free(FreeBecause::Streamed),
            (PaymentType::Hold, Allocation::File(Some(bytes)))
                if bytes > 0 && bytes <= rules.free_file_bytes =>
            {
                Terms::Free(FreeBecause::SmallFile)
            }
            (PaymentType::Hold, _) => Terms::Hold,
        }
    }
}

/// Why a message is accepted without a look at the account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FreeBecause {
    /// From before files and programs cost anything.
    Old,
    /// A small file on hold.
    SmallFile,
    /// Streams are checked by the compute node.
    Streamed,
}

/// What a message must fulfil.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Terms {
    /// Nothing.
    Free(FreeBecause),
    /// This product can't be paid that way at that time.
    Refused,
    /// Tokens that cover everything that the account holds for.
    Hold,
    /// Credits for a day of everything that the account runs.
    Credit,
}

/// What the node knows of an account. All answers belong to one instant.
pub trait AccountFacts {
    /// Why an answer can't be had.
    type Error;

    /// The account's tokens, summed over chains without dapps; `None`: no balance was ever read.
    fn token_balance(&mut self, owner: &Address) -> Result<Option<Decimal>, Self::Error>;
    /// The account's credits that have not expired at the node's clock.
    fn credit_balance(&mut self, owner: &Address) -> Result<i128, Self::Error>;
    /// The sum of the stored costs of the account's messages of one payment type, in its column.
    fn running_cost(&mut self, owner: &Address, payment: PaymentType) -> Result<Amount, Self::Error>;
}

/// Why the owner can't have the resource.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The product can't be paid that way at that time.
    #[error("this resource can't be paid that way; use credits")]
    PaymentMethod,
    /// Too few tokens.
    #[error("{required} tokens are needed and the account has {available}; add tokens or remove resources")]
    Tokens {
        /// Needed for everything, this message included.
        required: Decimal,
        /// On the account.
        available: Decimal,
        /// Whether a balance was ever read for the account: if not, it counts as 0 here.
        is_known: bool,
    },
    /// Too few credits.
    #[error("{required} credits are needed for a day and the account has {available}; buy credits")]
    Credits {
        /// For a day of everything, this message included.
        required: Decimal,
        /// On the account.
        available: i128,
    },
}

impl From<Refusal> for Rejection {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::PaymentMethod => Self::bare(ErrorCode::InvalidPaymentMethod),
            Refusal::Tokens { required, available, .. } => Self::with_errors(
                ErrorCode::BalanceInsufficient,
                [json!({
                    "required_balance": required.to_string(), "account_balance": available.to_string(),
                })],
            ),
            Refusal::Credits { required, available } => Self::with_errors(
                ErrorCode::CreditInsufficient,
                [json!({
                    "required_credits": required.to_string(), "account_credits": available.to_string(),
                    "min_runtime_days": cutoffs::MIN_RUNTIME_SECONDS / 86_400,
                })],
            ),
        }
    }
}

impl Terms {
    /// Whether `owner` can pay `cost` (the total of a [`Costing`](crate::Costing)) beside what the
    /// account pays already.
    ///
    /// The outer error is that of the facts' source.
    pub fn check<F: AccountFacts>(
        self,
        owner: &Address,
        cost: Amount,
        facts: &mut F,
    ) -> Result<Result<(), Refusal>, F::Error> {
        Ok(match self {
            Self::Free(_) => Ok(()),
            Self::Refused => Err(Refusal::PaymentMethod),
            Self::Hold => {
                let balance = facts.token_balance(owner)?;
                let running = facts.running_cost(owner, PaymentType::Hold)?;
                let required = Decimal::from(running).plus(&Decimal::from(cost));
                let is_known = balance.is_some();
                let available = balance.unwrap_or_else(Decimal::zero);
                match available >= required {
                    true => Ok(()),
                    false => Err(Refusal::Tokens { required, available, is_known }),
                }
            }
            Self::Credit => {
                let available = facts.credit_balance(owner)?;
                let running = facts.running_cost(owner, PaymentType::Credit)?;
                let required = Decimal::from(running)
                    .plus(&Decimal::from(cost))
                    .times(&Decimal::from(cutoffs::MIN_RUNTIME_SECONDS));
                match Decimal::from(available) >= required {
                    true => Ok(()),
                    false => Err(Refusal::Credits { required, available }),
                }
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gate(allocation: Allocation, payment: PaymentType, seconds: i64) -> Terms {
        let owner = Address::from("0xA");
        let time = Timestamp::from_secs(seconds);
        Gate { allocation, payment, owner, time, confirmed_height: None }.terms(&PaymentRules::default())
    }

    #[test]
    fn a_stream_ends_with_march_2026_and_vprograms_pay_credit_at_any_time() {
        let on_demand = Allocation::Program { persistent: false };
        let streamed = Terms::Free(FreeBecause::Streamed);
        assert_eq!(gate(Allocation::Instance, PaymentType::Superfluid, 1_773_187_199), streamed);
        assert_eq!(gate(Allocation::Instance, PaymentType::Superfluid, 1_773_187_200), Terms::Refused);
        assert_eq!(gate(on_demand, PaymentType::Superfluid, 1_773_187_200), streamed);
        assert_eq!(gate(Allocation::VProgram, PaymentType::Hold, 0), Terms::Refused);
        assert_eq!(gate(Allocation::VProgram, PaymentType::Credit, 0), Terms::Credit);
    }

    #[test]
    fn an_empty_file_is_not_a_small_one() {
        assert_eq!(gate(Allocation::File(Some(0)), PaymentType::Hold, 1_750_000_000), Terms::Hold);
        assert_eq!(gate(Allocation::File(None), PaymentType::Hold, 1_750_000_000), Terms::Hold);
    }

    #[test]
    fn details_show_the_networks_texts() {
        let refusal = Refusal::Tokens {
            required: Decimal::from(Amount::from_atto(1)),
            available: Decimal::zero(),
            is_known: false,
        };
        let rejection = Rejection::from(refusal);
        let details = rejection.details.unwrap();
        assert_eq!(details["errors"][0]["required_balance"], "1E-18");
        assert_eq!(details["errors"][0]["account_balance"], "0");
    }
}
