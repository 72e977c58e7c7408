use aleph_types::{Address, Timestamp};

use super::operation::{Grant, Payment, Transfer};
use super::{Lot, LotKey, Moment};

/// What a row of the history is, beyond what the API shows. Kept so that accounts can be computed anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EntryKind {
    /// New credits: a distribution, or a transfer from nothing.
    Granted,
    /// Used up.
    Spent,
    /// Came from another account.
    Received,
    /// Went to another account.
    Sent,
}

impl EntryKind {
    /// The word in the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Granted => "granted",
            Self::Spent => "spent",
            Self::Received => "received",
            Self::Sent => "sent",
        }
    }

    /// The kind of that word.
    pub fn of_word(word: &str) -> Option<Self> {
        [Self::Granted, Self::Spent, Self::Received, Self::Sent]
            .into_iter()
            .find(|kind| kind.as_str() == word)
    }
}

/// The place of a row among those of an account.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HistoryPlace {
    /// The operation.
    pub moment: Moment,
    /// Place within the post (`credit_index`).
    pub index: u32,
}

/// One row of the history: never changed, except that a late operation may split a later transfer in
/// other portions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistoryRow {
    /// Identity and place.
    pub place: HistoryPlace,
    /// What it is.
    pub kind: EntryKind,
    /// Whose.
    pub address: Address,
    /// Credits; below 0 for what went away.
    pub amount: i64,
    /// When the credits expire; of sent and spent rows: `None`.
    pub expiration: Option<Timestamp>,
    /// Of a sent row, the expiration that its sender asked for. The API does not show it; computing an
    /// account anew needs it.
    pub requested_expiration: Option<Timestamp>,
    /// Decimal text.
    pub price: Option<String>,
    /// As sent.
    pub bonus_amount: Option<String>,
    /// Payment transaction; of expenses, the compute node.
    pub tx_hash: Option<String>,
    /// What was paid with.
    pub token: Option<String>,
    /// Where.
    pub chain: Option<String>,
    /// Payment provider.
    pub provider: Option<String>,
    /// Free text; the other account of a transfer; the machine of an expense.
    pub origin: Option<String>,
    /// `ref` of the entry.
    pub origin_ref: Option<String>,
    /// `credit_expense`, `credit_transfer`, or free text.
    pub payment_method: Option<String>,
    /// How many expenses are summed up.
    pub expense_count: Option<i128>,
    /// MiB, decimal text.
    pub expense_size_mib: Option<String>,
}

impl HistoryRow {
    fn bare(place: HistoryPlace, kind: EntryKind, address: Address, amount: i64) -> Self {
        Self {
            place,
            kind,
            address,
            amount,
            expiration: None,
            requested_expiration: None,
            price: None,
            bonus_amount: None,
            tx_hash: None,
            token: None,
            chain: None,
            provider: None,
            origin: None,
            origin_ref: None,
            payment_method: None,
            expense_count: None,
            expense_size_mib: None,
        }
    }

    /// The lot that a granted or received row makes.
    pub(super) fn lot(&self) -> Lot {
        let Moment { time, message, .. } = &self.place.moment;
        Lot {
            key: LotKey { time: *time, message: message.clone(), index: self.place.index },
            owner: self.address.clone(),
            remaining: self.amount,
            expiration: self.expiration,
        }
    }

    /// The resource that an expense is about: `origin`, else `origin_ref` (`spec: ccn-api.md §8.5`).
    pub fn resource(&self) -> Option<&str> {
        self.origin.as_deref().or(self.origin_ref.as_deref())
    }

    /// The other account of a transfer.
    pub(super) fn counterparty(&self) -> Address {
        Address::from(self.origin.as_deref().unwrap_or_default())
    }

    /// The row with empty texts as nothing, as the reference's database has them.
    fn tidied(mut self) -> Self {
        for text in [
            &mut self.price,
            &mut self.bonus_amount,
            &mut self.tx_hash,
            &mut self.token,
            &mut self.chain,
            &mut self.provider,
            &mut self.origin,
            &mut self.origin_ref,
            &mut self.payment_method,
        ] {
            *text = text.take().filter(|text| !text.is_empty());
        }
        self
    }

    pub(super) fn grant(place: HistoryPlace, token: &str, chain: &str, grant: &Grant) -> Self {
        let entry = &grant.entry;
        Self {
            expiration: grant.expiration,
            price: Some(entry.price.clone()),
            bonus_amount: entry.bonus_amount.clone(),
            tx_hash: Some(entry.tx_hash.clone()),
            token: Some(token.to_owned()),
            chain: Some(chain.to_owned()),
            provider: Some(entry.provider.clone()),
            origin: entry.origin.clone(),
            origin_ref: entry.reference.clone(),
            payment_method: entry.payment_method.clone(),
            ..Self::bare(place, EntryKind::Granted, entry.address.clone(), grant.amount)
        }
        .tidied()
    }

    pub(super) fn expense(place: HistoryPlace, payment: &Payment) -> Self {
        let entry = &payment.entry;
        Self {
            price: entry.price.clone(),
            tx_hash: entry.node_id.clone(),
            provider: Some("ALEPH".to_owned()),
            origin: entry.execution_id.clone(),
            origin_ref: entry.reference.clone(),
            payment_method: Some("credit_expense".to_owned()),
            expense_count: entry.count,
            expense_size_mib: entry.size.clone(),
            ..Self::bare(place, EntryKind::Spent, entry.address.clone(), -payment.amount)
        }
        .tidied()
    }

    fn transferred(self, other: &Address) -> Self {
        Self {
            provider: Some("ALEPH".to_owned()),
            origin: Some(other.as_str().to_owned()),
            payment_method: Some("credit_transfer".to_owned()),
            ..self
        }
    }

    pub(super) fn received(
        place: HistoryPlace,
        kind: EntryKind,
        sender: &Address,
        recipient: &Address,
        (amount, expiration): (i64, Option<Timestamp>),
    ) -> Self {
        Self { expiration, ..Self::bare(place, kind, recipient.clone(), amount).transferred(sender) }
    }

    pub(super) fn sent(place: HistoryPlace, sender: &Address, transfer: &Transfer) -> Self {
        let row = Self::bare(place, EntryKind::Sent, sender.clone(), -transfer.amount);
        Self { requested_expiration: transfer.expiration, ..row.transferred(&transfer.recipient) }
    }
}
