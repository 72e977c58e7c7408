use aleph_types::{Address, ItemHash, Timestamp};

use super::{Job, PricedMessage, RemovalRules, Verdict, Walk};
use crate::Decimal;

/// How far a job is. Stored with the effects of each page in one transaction: a crash repeats at most
/// the page that was not stored, and pages can be repeated without harm.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobState {
    /// Which job.
    pub job: Job,
    /// Accounts that changed at or after this are due; `None`: all.
    pub since: Option<Timestamp>,
    /// When this run began: the next run's `since`. Changes during the run are seen by the next.
    pub started: Timestamp,
    /// The last account of the last stored page; `None`: none yet.
    pub after: Option<Address>,
    /// Whether the run is complete.
    pub is_complete: bool,
}

impl JobState {
    /// What to do now: go on with a run that was interrupted, else begin the next.
    pub fn resume(job: Job, stored: Option<Self>, now: Timestamp) -> Self {
        match stored {
            Some(open) if !open.is_complete => open,
            last => Self {
                job,
                since: last.map(|run| run.started),
                started: now,
                after: None,
                is_complete: false,
            },
        }
    }

    /// The state to store with a page: its last account, or `None` when there was none left.
    #[must_use]
    pub fn advanced(self, last: Option<Address>) -> Self {
        match last {
            Some(account) => Self { after: Some(account), ..self },
            None => Self { is_complete: true, ..self },
        }
    }
}

/// An account that is due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// Whose.
    pub address: Address,
    /// Tokens or credits; `None`: never read, so nothing follows from it.
    pub balance: Option<Decimal>,
}

/// A message whose standing changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Whose.
    pub owner: Address,
    /// Which.
    pub message: PricedMessage,
    /// [`Verdict::Remove`] or [`Verdict::Recover`].
    pub verdict: Verdict,
}

/// What a page came to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PageReport {
    /// Accounts looked at.
    pub accounts: u64,
    /// Accounts without a known balance: left alone.
    pub unknown: u64,
    /// Rows of messages looked at.
    pub rows: u64,
    /// Removals that were begun.
    pub removals: u64,
    /// Removals that were stopped.
    pub recoveries: u64,
    /// Messages that would go if the node were not catching up.
    pub held: u64,
    /// Rows whose owner is not on the page, or out of order: left alone. Not 0 is a fault of the query.
    pub strays: u64,
}

/// Settles one page: `accounts` sorted by address (bytes), `rows` what they pay for, sorted by owner and
/// then by the oldest cost. Rows are read one at a time; only the page is in memory.
///
/// # Errors
/// Those of the rows' source; the page is then repeated.
pub fn settle_page<E>(
    job: Job,
    rules: &RemovalRules,
    may_remove: bool,
    accounts: &[Account],
    rows: impl IntoIterator<Item = Result<(Address, PricedMessage), E>>,
    mut change: impl FnMut(Change),
) -> Result<PageReport, E> {
    let mut report = PageReport { accounts: accounts.len() as u64, ..PageReport::default() };
    report.unknown = accounts.iter().filter(|account| account.balance.is_none()).count() as u64;
    let mut left = accounts.iter().peekable();
    let mut walk: Option<Walk> = None;
    let mut current: Option<&Account> = None;
    // A message with several confirmations is named once.
    let mut named: Option<ItemHash> = None;
    for row in rows {
        let (owner, message) = row?;
        report.rows += 1;
        if current.is_none_or(|account| account.address != owner) {
            while left.peek().is_some_and(|account| account.address < owner) {
                left.next();
            }
            let Some(account) = left.next_if(|account| account.address == owner) else {
                report.strays += 1;
                continue;
            };
            current = Some(account);
            named = None;
            walk = account.balance.clone().map(|balance| Walk::new(job, *rules, balance, may_remove));
        }
        let Some(walk) = &mut walk else { continue };
        let verdict = walk.next(&message);
        match verdict {
            Verdict::Stay | Verdict::Exempt => continue,
            Verdict::Held => {
                report.held += 1;
                continue;
            }
            Verdict::Remove | Verdict::Recover if named.as_ref() == Some(&message.message) => continue,
            Verdict::Remove => report.removals += 1,
            Verdict::Recover => report.recoveries += 1,
        }
        named = Some(message.message.clone());
        change(Change { owner, message, verdict });
    }
    Ok(report)
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use aleph_types::{MessageStatus, MessageType};

    use super::*;
    use crate::Amount;

    fn account(number: u32, balance: Option<u32>) -> Account {
        Account { address: name(number), balance: balance.map(Decimal::from) }
    }

    fn name(number: u32) -> Address {
        Address::from(format!("0x{number:08}"))
    }

    fn row(owner: u32, tokens: i128) -> Result<(Address, PricedMessage), Infallible> {
        let message = PricedMessage {
            message: ItemHash::sha256(format!("{owner} {tokens}").as_bytes()),
            message_type: MessageType::Instance,
            status: MessageStatus::Processed,
            cost: Amount::from_atto(tokens * 10i128.pow(18)),
            height: 30_000_000,
            time: Timestamp::EPOCH,
            file_bytes: None,
        };
        Ok((name(owner), message))
    }

    #[test]
    fn not_knowing_removes_nothing() {
        let rules = RemovalRules::default();
        let accounts = [account(1, None), account(2, Some(5)), account(4, Some(0))];
        let rows = || vec![row(1, 10), row(2, 10), row(3, 10), row(4, 10)];
        let mut changed = Vec::new();
        let report =
            settle_page(Job::Hold, &rules, true, &accounts, rows(), |change| changed.push(change.owner))
                .unwrap();
        assert_eq!(changed, [name(2), name(4)]);
        assert_eq!((report.unknown, report.strays, report.removals), (1, 1, 2));
        let report =
            settle_page(Job::Hold, &rules, false, &accounts, rows(), |change| panic!("{change:?}")).unwrap();
        assert_eq!((report.removals, report.held), (0, 2), "still catching up");
    }

    #[test]
    fn an_interrupted_run_goes_on_where_it_stopped() {
        let first = JobState::resume(Job::Hold, None, Timestamp::from_secs(100));
        assert_eq!(first.since, None);
        let stored = first.advanced(Some(name(7)));
        let again = JobState::resume(Job::Hold, Some(stored.clone()), Timestamp::from_secs(500));
        assert_eq!(again, stored);
        let done = again.advanced(None);
        let next = JobState::resume(Job::Hold, Some(done), Timestamp::from_secs(900));
        assert_eq!((next.since, next.after), (Some(Timestamp::from_secs(100)), None));
    }

    /// A million accounts, ten thousand of which pay for something: pages of a thousand, rows from a
    /// generator, nothing kept.
    #[test]
    fn a_million_accounts_in_pages() {
        const ACCOUNTS: u32 = 1_000_000;
        const PAGE: u32 = 1_000;
        let rules = RemovalRules::default();
        let mut total = PageReport::default();
        let mut removed = 0u64;
        for start in (0..ACCOUNTS).step_by(PAGE as usize) {
            let accounts: Vec<Account> =
                (start..start + PAGE).map(|number| account(number, Some(number % 200))).collect();
            let rows = (start..start + PAGE).step_by(100).map(|number| row(number, 50));
            let report = settle_page(Job::Hold, &rules, true, &accounts, rows, |_| removed += 1).unwrap();
            total.accounts += report.accounts;
            total.rows += report.rows;
            total.removals += report.removals;
        }
        // Every hundredth account has 0 or 100 tokens and needs 50.
        assert_eq!((total.accounts, total.rows, total.removals, removed), (1_000_000, 10_000, 5_000, 5_000));
    }
}
