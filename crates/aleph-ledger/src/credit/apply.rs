use std::collections::BTreeMap;

use aleph_types::{Address, ItemHash, Timestamp};

use super::lot::{Portion, drain, received};
use super::{
    Action, CreditBalance, CreditRefusal, EntryKind, HistoryPlace, HistoryRow, Lot, LotKey, Moment,
    Operation, Transfer, rebuild,
};

/// What happens to a transfer whose sender has nothing left when it counts.
///
/// Such a transfer is refused when it arrives ([`admit`]); it can only become one later, when an earlier
/// expense arrives after it, or in data that was never checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Unfunded {
    /// The recipient gets nothing: no credit comes from nowhere.
    #[default]
    GivesNothing,
    /// The recipient gets the full amount, as in the reference.
    Creates,
}

/// How the ledger works where the network leaves a choice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CreditRules {
    /// Transfers without funds.
    pub unfunded: Unfunded,
    /// How many accounts and history rows a late operation may make the writer read. The time of a post
    /// is its sender's choice: without a limit, a single credit sent to a busy account "last year" would
    /// cost a walk through all of its history.
    pub late_rows: u64,
}

impl Default for CreditRules {
    fn default() -> Self {
        Self { unfunded: Unfunded::default(), late_rows: 10_000 }
    }
}

/// What the store knows of credits. All answers belong to one instant: that of the writer.
pub trait CreditFacts {
    /// Why an answer can't be had.
    type Error;

    /// Whether the post was applied: its ledger rows are there.
    fn is_applied(&mut self, message: &ItemHash) -> Result<bool, Self::Error>;
    /// The newest spent or sent row of an account.
    fn newest_drain(&mut self, account: &Address) -> Result<Option<Moment>, Self::Error>;
    /// The lots of an account that have something left, in any order.
    fn lots(&mut self, account: &Address) -> Result<Vec<Lot>, Self::Error>;
    /// Up to `limit` rows of an account's history after `after`, in order of [`HistoryPlace`].
    fn history(
        &mut self,
        account: &Address,
        after: Option<&HistoryPlace>,
        limit: usize,
    ) -> Result<Vec<HistoryRow>, Self::Error>;
    /// Every row of a post, in order of their places.
    fn post(&mut self, message: &ItemHash) -> Result<Vec<HistoryRow>, Self::Error>;
    /// To whom an account sent anything after `since` (`None`: ever), each once.
    fn recipients(&mut self, sender: &Address, since: Option<&Moment>) -> Result<Vec<Address>, Self::Error>;
}

/// One change of the ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CreditEffect {
    /// Rows for the history. Every account that they name has changed: the credit job looks at it.
    AddRows(Vec<HistoryRow>),
    /// A new lot.
    AddLot(Lot),
    /// Part of a lot was spent.
    SetRemaining {
        /// Whose.
        owner: Address,
        /// Which.
        key: LotKey,
        /// What is left.
        remaining: i64,
    },
    /// Every lot of an account, computed anew. The account has changed.
    ReplaceLots {
        /// Whose.
        owner: Address,
        /// In their order; those with nothing left too.
        lots: Vec<Lot>,
    },
    /// The operation came late and concerns too much history: it was applied in the order of arrival.
    /// Store these accounts, and [`settle`](super::settle) them soon, in pages, beside ingestion; until then their lots may
    /// differ from those of other nodes.
    Defer(Vec<Address>),
    /// Every row of a transfer, computed anew: it is split otherwise now.
    ReplaceRows {
        /// The post.
        message: ItemHash,
        /// In their order.
        rows: Vec<HistoryRow>,
    },
}

/// What became of an operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Applied {
    /// It was applied before: nothing changes.
    Before,
    /// Apply these effects, all or nothing.
    Now {
        /// The changes, in order.
        effects: Vec<CreditEffect>,
        /// Accounts that were computed anew because the operation came late.
        rebuilt: usize,
    },
}

/// Lots that are worked on.
#[derive(Debug, Default)]
pub(super) struct Books {
    pub(super) lots: BTreeMap<Address, Vec<Lot>>,
}

impl Books {
    fn drain(&mut self, account: &Address, moment: &Moment, amount: i64) -> Vec<Portion> {
        self.lots.get_mut(account).map_or_else(Vec::new, |lots| drain(lots, moment, amount))
    }

    /// The lot of a granted or received row, for accounts that are worked on.
    pub(super) fn credit(&mut self, row: &HistoryRow) {
        if let Some(lots) = self.lots.get_mut(&row.address) {
            lots.push(row.lot());
        }
    }

    pub(super) fn spend(&mut self, account: &Address, moment: &Moment, amount: i64) {
        self.drain(account, moment, amount);
    }

    /// The rows of a whole transfer, numbered through; its parts become lots of recipients that are
    /// worked on.
    pub(super) fn transfer(
        &mut self,
        sender: &Address,
        moment: &Moment,
        transfers: &[Transfer],
        rules: &CreditRules,
    ) -> Vec<HistoryRow> {
        let mut rows = Vec::with_capacity(2 * transfers.len());
        for transfer in transfers {
            let taken = self.drain(sender, moment, transfer.amount);
            let mut portions = received(&taken, transfer.expiration);
            if portions.is_empty() && rules.unfunded == Unfunded::Creates {
                portions.push(Portion { amount: transfer.amount, expiration: transfer.expiration });
            }
            for Portion { amount, expiration } in portions {
                let place = place(moment, rows.len());
                let parts = (amount, expiration);
                let row =
                    HistoryRow::received(place, EntryKind::Received, sender, &transfer.recipient, parts);
                self.credit(&row);
                rows.push(row);
            }
            rows.push(HistoryRow::sent(place(moment, rows.len()), sender, transfer));
        }
        rows
    }

    /// The rows of an operation, and its effect on the lots.
    pub(super) fn operate(&mut self, operation: &Operation, rules: &CreditRules) -> Vec<HistoryRow> {
        let moment = &operation.moment;
        match &operation.action {
            Action::Distribute { token, chain, grants } => {
                let rows: Vec<HistoryRow> = grants
                    .iter()
                    .enumerate()
                    .map(|(index, grant)| HistoryRow::grant(place(moment, index), token, chain, grant))
                    .collect();
                rows.iter().for_each(|row| self.credit(row));
                rows
            }
            Action::Mint(transfers) => {
                let rows: Vec<HistoryRow> = transfers
                    .iter()
                    .enumerate()
                    .map(|(index, transfer)| {
                        let parts = (transfer.amount, transfer.expiration);
                        let (place, to) = (place(moment, index), &transfer.recipient);
                        HistoryRow::received(place, EntryKind::Granted, &operation.sender, to, parts)
                    })
                    .collect();
                rows.iter().for_each(|row| self.credit(row));
                rows
            }
            Action::Spend(payments) => payments
                .iter()
                .enumerate()
                .map(|(index, payment)| {
                    self.spend(&payment.entry.address, moment, payment.amount);
                    HistoryRow::expense(place(moment, index), payment)
                })
                .collect(),
            Action::Transfer(transfers) => self.transfer(&operation.sender, moment, transfers, rules),
        }
    }
}

fn place(moment: &Moment, index: usize) -> HistoryPlace {
    HistoryPlace { moment: moment.clone(), index: u32::try_from(index).unwrap_or(u32::MAX) }
}

impl Operation {
    /// Accounts that it takes from, and accounts that it gives to.
    fn touched(&self) -> (Vec<&Address>, Vec<&Address>) {
        let (mut from, mut to) = match &self.action {
            Action::Distribute { grants, .. } => {
                (Vec::new(), grants.iter().map(|grant| &grant.entry.address).collect())
            }
            Action::Mint(transfers) => (Vec::new(), recipients(transfers)),
            Action::Spend(payments) => {
                (payments.iter().map(|payment| &payment.entry.address).collect(), Vec::new())
            }
            Action::Transfer(transfers) => (vec![&self.sender], recipients(transfers)),
        };
        for accounts in [&mut from, &mut to] {
            accounts.sort_unstable();
            accounts.dedup();
        }
        (from, to)
    }
}

fn recipients(transfers: &[Transfer]) -> Vec<&Address> {
    transfers.iter().map(|transfer| &transfer.recipient).collect()
}

/// Whether a transfer may be made (`spec: payments.md §11.1`); other operations always may.
///
/// The network compares the amounts as sent with the balance at the node's clock `now`. That alone would
/// let a post with an early `content.time` give what its sender got later, and an old post ten thousand
/// times as much as it has; so what could be taken at the post's own time must suffice too.
///
/// The outer error is that of the facts' source.
pub fn admit<F: CreditFacts>(
    operation: &Operation,
    now: Timestamp,
    facts: &mut F,
) -> Result<Result<(), CreditRefusal>, F::Error> {
    let transfers = match &operation.action {
        Action::Transfer(transfers) | Action::Mint(transfers) => transfers,
        Action::Distribute { .. } | Action::Spend(_) => return Ok(Ok(())),
    };
    if transfers.iter().any(|transfer| transfer.recipient == operation.sender) {
        return Ok(Err(CreditRefusal::SelfTransfer(operation.sender.clone())));
    }
    if matches!(operation.action, Action::Mint(_)) {
        return Ok(Ok(()));
    }
    let lots = facts.lots(&operation.sender)?;
    let scaled: i128 = transfers.iter().map(|transfer| i128::from(transfer.amount)).sum();
    let required = scaled / i128::from(operation.factor);
    let available = CreditBalance::of(&lots, now).total;
    if required > available {
        return Ok(Err(CreditRefusal::Insufficient { required, available }));
    }
    let usable = lots.iter().filter(|lot| lot.is_usable_at(&operation.moment));
    let available: i128 = usable.map(|lot| i128::from(lot.remaining)).sum();
    if scaled > available {
        return Ok(Err(CreditRefusal::Insufficient { required: scaled, available }));
    }
    Ok(Ok(()))
}

/// The effects of an operation. Transfers are [`admit`]ted before.
///
/// Errors are those of the facts' source.
pub fn apply<F: CreditFacts>(
    operation: &Operation,
    rules: &CreditRules,
    facts: &mut F,
) -> Result<Applied, F::Error> {
    if facts.is_applied(&operation.moment.message)? {
        return Ok(Applied::Before);
    }
    let (from, to) = operation.touched();
    let mut late: Vec<Address> = Vec::new();
    for account in from.iter().chain(&to).copied() {
        if facts.newest_drain(account)?.is_some_and(|newest| newest > operation.moment) {
            late.push(account.clone());
        }
    }
    let mut deferred = None;
    if !late.is_empty() {
        late.extend(from.iter().chain(&to).copied().cloned());
        late.sort_unstable();
        late.dedup();
        match rebuild::run(Some(operation), rules, late.clone(), rules.late_rows, facts)? {
            Some((effects, rebuilt)) => return Ok(Applied::Now { effects, rebuilt }),
            None => deferred = Some(CreditEffect::Defer(late)),
        }
    }
    let mut books = Books::default();
    let mut before: BTreeMap<LotKey, i64> = BTreeMap::new();
    for account in from {
        let lots = facts.lots(account)?;
        before.extend(lots.iter().map(|lot| (lot.key.clone(), lot.remaining)));
        books.lots.insert(account.clone(), lots);
    }
    let rows = books.operate(operation, rules);
    let gives = |row: &&HistoryRow| matches!(row.kind, EntryKind::Granted | EntryKind::Received);
    let new: Vec<CreditEffect> =
        rows.iter().filter(gives).map(|row| CreditEffect::AddLot(row.lot())).collect();
    let mut effects = vec![CreditEffect::AddRows(rows)];
    effects.extend(new);
    for lot in books.lots.into_values().flatten() {
        if before.get(&lot.key).is_some_and(|&remaining| remaining != lot.remaining) {
            let Lot { key, owner, remaining, .. } = lot;
            effects.push(CreditEffect::SetRemaining { owner, key, remaining });
        }
    }
    effects.extend(deferred);
    Ok(Applied::Now { effects, rebuilt: 0 })
}

/// Computes accounts anew from their histories, with everybody whom they ever sent something: after an
/// import of history rows, or to check a database. It reads whatever there is at once; what was deferred
/// ([`CreditEffect::Defer`]) is settled in pages by [`settle`](super::settle).
/// It may read on a snapshot; its effects hold while no operation has touched the accounts since. No
/// effect but [`CreditEffect::ReplaceLots`] means that
/// the histories were in order.
///
/// Errors are those of the facts' source.
pub fn recompute<F: CreditFacts>(
    accounts: Vec<Address>,
    rules: &CreditRules,
    facts: &mut F,
) -> Result<Vec<CreditEffect>, F::Error> {
    let rebuilt = rebuild::run(None, rules, accounts, u64::MAX, facts)?;
    Ok(rebuilt.map_or_else(Vec::new, |(effects, _)| effects))
}
