use aleph_ledger::Decimal;
use aleph_ledger::removal::{Account, Job, JobState, PricedMessage};
use aleph_types::content::PaymentType;
use aleph_types::{Address, ItemHash, MessageType, Timestamp};

use super::balances::token_balances;
use super::costs;
use super::credits::credit_totals;
use crate::engine::{Row, Session, values};
use crate::statuses::has_hash;
use crate::{Store, StoreError, Transaction};

/// The accounts of a page of a job, and what they pay for.
#[derive(Debug, Clone, Default)]
pub struct JobPage {
    /// Due accounts, by address.
    pub accounts: Vec<Account>,
    /// Their confirmed messages by owner and oldest cost, once for each height of a confirmation.
    pub rows: Vec<(Address, PricedMessage)>,
}

/// What was written down as changed before a run began, and was committed after: a minute covers it.
const IN_FLIGHT_MICROS: i64 = 60 * 1_000_000;

fn payment(job: Job) -> PaymentType {
    match job {
        Job::Hold => PaymentType::Hold,
        Job::Credit => PaymentType::Credit,
    }
}

/// Accounts that pay for something and have changed, after an address.
pub(super) fn due_sql(job: Job, most: usize) -> String {
    let changed = match job {
        Job::Hold => "SELECT 1 FROM balances b WHERE b.address = t.owner AND b.changed >= ?3",
        Job::Credit => "SELECT 1 FROM credit_history h WHERE h.address = t.owner AND h.changed >= ?3",
    };
    format!(
        "SELECT t.owner FROM account_totals t WHERE t.payment_type = ?1 AND t.owner > ?2 \
         AND EXISTS ({changed}) ORDER BY t.owner LIMIT {most}"
    )
}

fn due(session: &Session, state: &JobState, most: usize) -> Result<Vec<String>, StoreError> {
    session.rows(
        &due_sql(state.job, most),
        values![
            payment(state.job).as_str(),
            state.after.as_ref().map_or("", Address::as_str),
            state.since.map_or(i64::MIN, |since| since.as_micros().saturating_sub(IN_FLIGHT_MICROS)),
        ],
        |row| row.string(0),
    )
}

/// What these accounts own, in their order.
fn balanced(
    session: &Session,
    job: Job,
    owners: &[String],
    now: Timestamp,
) -> Result<Vec<Account>, StoreError> {
    let mut known = match job {
        Job::Hold => token_balances(session, owners)?,
        Job::Credit => credit_totals(session, owners, now)?,
    };
    let account = |owner: &String| {
        let address = Address::from(owner.as_str());
        let balance = known.remove(&address).or_else(|| match job {
            Job::Hold => None,
            // Who has a history and no lots has used them up.
            Job::Credit => Some(Decimal::zero()),
        });
        Account { address, balance }
    };
    Ok(owners.iter().map(account).collect())
}

/// What accounts pay for, by owner and oldest cost: a row for each line and height.
pub(super) fn priced_sql(job: Job) -> String {
    let column = match job {
        Job::Hold => "cost_hold",
        Job::Credit => "cost_credit",
    };
    // The lists drive: whatever else there is on the network, only what these accounts pay for is read.
    format!(
        "SELECT DISTINCT c.owner, c.item_hash, COALESCE(s.status, 'processed'), m.message_type, m.time, \
         n.height, f.size, c.{column}, c.id, \
         (SELECT min(o.id) FROM account_costs o WHERE o.item_hash = c.item_hash) AS oldest \
         FROM account_costs c CROSS JOIN messages m INDEXED BY messages_hash ON {} \
         CROSS JOIN confirmations n ON n.item_hash = c.item_hash \
         LEFT JOIN statuses s ON s.item_hash = c.item_hash \
         LEFT JOIN files f ON f.hash = m.content_hash \
         WHERE c.payment_type = ?2 AND c.owner IN (SELECT value FROM json_each(?1)) \
         ORDER BY c.owner, oldest, c.item_hash, n.height, c.id",
        has_hash!("c.item_hash"),
    )
}

fn priced(
    session: &Session,
    job: Job,
    owners: &[String],
) -> Result<Vec<(Address, PricedMessage)>, StoreError> {
    let mut rows: Vec<(Address, PricedMessage)> = Vec::new();
    session.each(&priced_sql(job), values![owners, payment(job).as_str()], |row| {
        let (owner, message, height) = (row.address(0)?, row.hash(1)?, row.size(5)?);
        let cost = costs::amount(row.text(7)?)?;
        if let Some((same, open)) = rows.last_mut()
            && *same == owner
            && open.message == message
            && open.height == height
        {
            open.cost += cost;
            return Ok(());
        }
        let read = |row: &Row<'_>| {
            Ok::<_, StoreError>(PricedMessage {
                message,
                message_type: row.word::<MessageType>(3, "message type")?,
                status: row.word(2, "status")?,
                cost,
                height,
                time: row.time(4)?,
                file_bytes: row.opt_int(6)?.map(i64::unsigned_abs),
            })
        };
        rows.push((owner, read(row)?));
        Ok(())
    })?;
    Ok(rows)
}

/// Messages on their way out whose deadline has come, or that have none, after one of them.
pub(super) fn due_removals_sql(most: usize) -> String {
    format!(
        "SELECT item_hash FROM removals WHERE removed_at IS NULL AND (until <= ?1 OR until IS NULL) \
         AND item_hash > ?2 ORDER BY item_hash LIMIT {most}"
    )
}

impl Store {
    /// How far a job is; `None`: it never ran.
    pub async fn job_state(&self, job: Job) -> Result<Option<JobState>, StoreError> {
        self.read(move |session| {
            session.first(
                "SELECT since, started, after_account, complete FROM jobs WHERE name = ?1",
                values![job.as_str()],
                |row| {
                    Ok(JobState {
                        job,
                        since: row.opt_int(0)?.map(Timestamp::from_micros),
                        started: row.time(1)?,
                        after: row.opt_text(2)?.map(Address::from),
                        is_complete: row.flag(3)?,
                    })
                },
            )
        })
        .await
    }

    /// The next accounts of a job, at most `most`, with what they pay for; all of one instant.
    pub async fn job_page(
        &self,
        state: JobState,
        now: Timestamp,
        most: usize,
    ) -> Result<JobPage, StoreError> {
        self.read(move |session| {
            let snapshot = session.snapshot()?;
            let owners = due(&snapshot, &state, most)?;
            let accounts = balanced(&snapshot, state.job, &owners, now)?;
            let rows = if owners.is_empty() { Vec::new() } else { priced(&snapshot, state.job, &owners)? };
            Ok(JobPage { accounts, rows })
        })
        .await
    }

    /// Accounts whose lots wait to be computed anew, at most `most`.
    pub async fn deferred_accounts(&self, most: usize) -> Result<Vec<Address>, StoreError> {
        self.read(move |session| {
            session.rows(
                &format!("SELECT address FROM credit_deferred ORDER BY address LIMIT {most}"),
                &[],
                |row| row.address(0),
            )
        })
        .await
    }

    /// Messages on their way out whose deadline has come, or that have none; at most `most`, after `after`.
    pub async fn due_removals(
        &self,
        now: Timestamp,
        after: Option<ItemHash>,
        most: usize,
    ) -> Result<Vec<ItemHash>, StoreError> {
        self.read(move |session| {
            session.rows(
                &due_removals_sql(most),
                values![now.as_micros(), after.as_ref().map_or("", ItemHash::as_str)],
                |row| row.hash(0),
            )
        })
        .await
    }
}

impl Transaction<'_> {
    /// Stores how far a job is.
    pub fn set_job(&mut self, state: &JobState) -> Result<(), StoreError> {
        self.session().execute(
            "INSERT INTO jobs (name, since, started, after_account, complete) VALUES (?1,?2,?3,?4,?5) \
             ON CONFLICT (name) DO UPDATE SET since = excluded.since, started = excluded.started, \
             after_account = excluded.after_account, complete = excluded.complete",
            values![
                state.job.as_str(),
                state.since.map(Timestamp::as_micros),
                state.started.as_micros(),
                state.after.as_ref().map(Address::as_str),
                state.is_complete,
            ],
        )
    }
}
