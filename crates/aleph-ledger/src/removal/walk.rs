use aleph_types::{ItemHash, MessageStatus, MessageType, Timestamp};

use crate::{Amount, Decimal, cutoffs};

/// Which balance is walked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Job {
    /// Tokens against what is held for.
    Hold,
    /// Credits against a day of what runs.
    Credit,
}

impl Job {
    /// The name under which the job's state is stored.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Hold => "balance",
            Self::Credit => "credit_balance",
        }
    }
}

/// What is exempt. The default is the public network's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RemovalRules {
    /// Messages confirmed below this height are never removed for lack of tokens.
    pub hold_since_height: u64,
    /// Files up to this size are never removed, bytes.
    pub free_file_bytes: u64,
    /// From this envelope time on small files paid by credit are removed too.
    pub credit_only_since: Timestamp,
}

impl Default for RemovalRules {
    fn default() -> Self {
        Self {
            hold_since_height: cutoffs::STORE_AND_PROGRAM_COST_HEIGHT,
            free_file_bytes: cutoffs::FREE_FILE_MIB << 20,
            credit_only_since: cutoffs::CREDIT_ONLY,
        }
    }
}

/// A confirmed message that an account pays for. A message with confirmations at several heights comes
/// once for each of them, as in the reference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PricedMessage {
    /// The message.
    pub message: ItemHash,
    /// Its type.
    pub message_type: MessageType,
    /// Its status when the job reads it.
    pub status: MessageStatus,
    /// The sum of its cost rows: tokens to hold, or credits a second.
    pub cost: Amount,
    /// Height of the confirmation.
    pub height: u64,
    /// Envelope time.
    pub time: Timestamp,
    /// Bytes of a STORE's file, if known.
    pub file_bytes: Option<u64>,
}

/// What becomes of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It stays as it is.
    Stay,
    /// It can't be paid for, but it is exempt: small, or from before prices.
    Exempt,
    /// It can't be paid for, but the node is still catching up.
    Held,
    /// Start its removal.
    Remove,
    /// Stop its removal.
    Recover,
}

/// One account's balance, walked down from its oldest cost.
#[derive(Debug, Clone)]
pub struct Walk {
    job: Job,
    rules: RemovalRules,
    remaining: Decimal,
    may_remove: bool,
}

impl Walk {
    /// A walk with the account's balance: tokens, or credits. `may_remove` is false while the node is
    /// still catching up. Who does not know the balance can't start a walk.
    pub fn new(job: Job, rules: RemovalRules, balance: Decimal, may_remove: bool) -> Self {
        Self { job, rules, remaining: balance, may_remove }
    }

    /// The next message, in the order of the oldest cost row; its cost is taken whatever the verdict.
    pub fn next(&mut self, row: &PricedMessage) -> Verdict {
        let need = match self.job {
            Job::Hold => Decimal::from(row.cost),
            Job::Credit => Decimal::from(row.cost).times(&Decimal::from(cutoffs::MIN_RUNTIME_SECONDS)),
        };
        let is_short = self.remaining < need;
        self.remaining = self.remaining.minus(&need).max(Decimal::zero());
        let is_old = self.job == Job::Hold && row.height < self.rules.hold_since_height;
        match row.status {
            MessageStatus::Removing if !is_short || is_old => Verdict::Recover,
            MessageStatus::Processed if is_short && (is_old || self.is_small(row)) => Verdict::Exempt,
            MessageStatus::Processed if is_short && !self.may_remove => Verdict::Held,
            MessageStatus::Processed if is_short => Verdict::Remove,
            _ => Verdict::Stay,
        }
    }

    fn is_small(&self, row: &PricedMessage) -> bool {
        row.message_type == MessageType::Store
            && row.file_bytes.is_some_and(|bytes| bytes <= self.rules.free_file_bytes)
            && (self.job == Job::Hold || row.time < self.rules.credit_only_since)
    }
}
