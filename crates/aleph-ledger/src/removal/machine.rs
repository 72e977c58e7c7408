use aleph_types::content::PaymentType;
use aleph_types::{MessageType, Timestamp};

/// How long a message that can't be paid for stays, microseconds: 25 hours.
pub const GRACE_MICROS: i64 = 25 * 3600 * 1_000_000;

/// Where a message is on its way out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Paid for.
    Processed,
    /// Not paid for; still there until the deadline.
    Removing {
        /// When it may go; `None` in data of nodes that stored none.
        until: Option<Timestamp>,
    },
    /// Gone.
    Removed {
        /// When, by this node's clock.
        at: Timestamp,
    },
    /// Forgotten by its owner, or otherwise none of our business.
    Elsewhere,
}

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// The account can't pay for it ([`Verdict::Remove`](super::Verdict::Remove)).
    Shortfall,
    /// The account can pay for it again ([`Verdict::Recover`](super::Verdict::Recover)).
    Covered,
    /// The collector looks at it.
    Collect,
}

/// What removal needs to know of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Subject {
    /// Its type.
    pub message_type: MessageType,
    /// How it pays.
    pub payment: PaymentType,
    /// Bytes of a STORE's file, if known.
    pub file_bytes: Option<u64>,
}

/// When and under what circumstances.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Circumstances {
    /// The node's clock.
    pub now: Timestamp,
    /// Whether the node is still catching up: then nothing goes.
    pub is_catching_up: bool,
}

/// One change that a step makes; all of them or none are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RemovalEffect {
    /// Status `removing`, and a removal record with this deadline. The record survives crashes and
    /// restarts; it is what the collector reads.
    StartRemoval {
        /// When the message may go.
        until: Timestamp,
        /// Bytes of the file, kept for its price later.
        file_bytes: Option<u64>,
    },
    /// Give the removal record a deadline that it lacks.
    SetDeadline(Timestamp),
    /// The message's file pin becomes one that expires.
    GraceFile(Timestamp),
    /// The expiring pin becomes the message's pin again, and its tag is computed anew.
    RestoreFile,
    /// Status `processed` again, no removal record.
    StopRemoval,
    /// Status `removed` with this time in the record; message row and cost rows go, the skeleton stays.
    /// What the message provided (file tag, machine) goes with it.
    Remove(Timestamp),
}

/// The next standing and what to store; no effects when nothing changes.
///
/// Every step can be repeated: after a crash the same event leads to the same standing.
pub fn step(
    standing: Standing,
    event: Event,
    subject: &Subject,
    circumstances: &Circumstances,
) -> (Standing, Vec<RemovalEffect>) {
    let Circumstances { now, is_catching_up } = *circumstances;
    let is_file = subject.message_type == MessageType::Store;
    match (standing, event) {
        (Standing::Processed, Event::Shortfall) if !is_catching_up => {
            let until = now.plus_micros(GRACE_MICROS);
            let mut effects = vec![RemovalEffect::StartRemoval {
                until,
                file_bytes: subject.file_bytes.filter(|_| is_file),
            }];
            if is_file {
                effects.push(RemovalEffect::GraceFile(until));
            }
            (Standing::Removing { until: Some(until) }, effects)
        }
        (Standing::Removing { .. }, Event::Covered) => {
            let mut effects = vec![RemovalEffect::StopRemoval];
            if is_file {
                effects.push(RemovalEffect::RestoreFile);
            }
            (Standing::Processed, effects)
        }
        (Standing::Removing { until: None }, Event::Collect) => {
            let until = now.plus_micros(GRACE_MICROS);
            (Standing::Removing { until: Some(until) }, vec![RemovalEffect::SetDeadline(until)])
        }
        (Standing::Removing { until: Some(until) }, Event::Collect) if now >= until && !is_catching_up => {
            (Standing::Removed { at: now }, vec![RemovalEffect::Remove(now)])
        }
        (standing, _) => (standing, Vec::new()),
    }
}

/// The reason that the API shows for a removal.
pub fn reason(payment: PaymentType) -> &'static str {
    match payment {
        PaymentType::Credit => "credit_insufficient",
        PaymentType::Hold | PaymentType::Superfluid => "balance_insufficient",
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const FILE: Subject =
        Subject { message_type: MessageType::Store, payment: PaymentType::Hold, file_bytes: Some(1 << 30) };
    const MACHINE: Subject =
        Subject { message_type: MessageType::Instance, payment: PaymentType::Credit, file_bytes: None };

    fn at(seconds: i64) -> Circumstances {
        Circumstances { now: Timestamp::from_secs(seconds), is_catching_up: false }
    }

    #[test]
    fn the_way_out_and_back() {
        let until = Timestamp::from_secs(90_000);
        let (removing, effects) = step(Standing::Processed, Event::Shortfall, &FILE, &at(0));
        assert_eq!(removing, Standing::Removing { until: Some(until) });
        let start = RemovalEffect::StartRemoval { until, file_bytes: Some(1 << 30) };
        assert_eq!(effects, [start, RemovalEffect::GraceFile(until)]);
        assert_eq!(step(removing, Event::Collect, &FILE, &at(89_999)), (removing, vec![]));
        let (removed, effects) = step(removing, Event::Collect, &FILE, &at(90_000));
        assert_eq!((removed, effects), (Standing::Removed { at: until }, vec![RemovalEffect::Remove(until)]));
        let back = step(removing, Event::Covered, &FILE, &at(1));
        assert_eq!(back, (Standing::Processed, vec![RemovalEffect::StopRemoval, RemovalEffect::RestoreFile]));
        assert_eq!(step(removed, Event::Covered, &FILE, &at(1)), (removed, vec![]));
        assert_eq!(step(removing, Event::Shortfall, &FILE, &at(50)), (removing, vec![]), "no new deadline");
        let machine = step(Standing::Processed, Event::Shortfall, &MACHINE, &at(0));
        assert_eq!(machine.1, [RemovalEffect::StartRemoval { until, file_bytes: None }]);
    }

    fn events() -> impl Strategy<Value = Vec<(Event, i64, bool)>> {
        let event = prop_oneof![Just(Event::Shortfall), Just(Event::Covered), Just(Event::Collect)];
        proptest::collection::vec((event, 0..40i64, any::<bool>()), 0..60)
    }

    proptest! {
        /// A message only goes after a shortfall and 25 hours without recovery, never while the node is
        /// catching up; and a step that is repeated changes nothing more than once.
        #[test]
        fn nothing_goes_early(events in events(), legacy in any::<bool>()) {
            let mut standing = if legacy { Standing::Removing { until: None } } else { Standing::Processed };
            let mut clock = 0;
            let mut short_since: Option<i64> = None;
            for (event, hours, is_catching_up) in events {
                clock += hours * 3600;
                let circumstances = Circumstances { is_catching_up, ..at(clock) };
                let (next, effects) = step(standing, event, &FILE, &circumstances);
                prop_assert_eq!(next == standing, effects.is_empty());
                match (standing, next) {
                    (_, Standing::Removed { .. }) if !effects.is_empty() => {
                        prop_assert!(!is_catching_up);
                        prop_assert!(short_since.is_some_and(|since| clock - since >= 90_000));
                    }
                    (Standing::Processed | Standing::Removing { until: None }, Standing::Removing { .. })
                        if !effects.is_empty() =>
                    {
                        short_since = Some(clock);
                    }
                    (_, Standing::Processed) => short_since = None,
                    _ => {}
                }
                let again = step(next, event, &FILE, &circumstances);
                prop_assert_eq!(again, (next, vec![]));
                standing = next;
            }
        }
    }
}
