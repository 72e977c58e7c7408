//! What peers may send, what they did wrong, and what follows: pure bookkeeping, stepped by times.
//!
//! Two roles are kept apart, since reference nodes pass on whatever their own peers sent
//! (`spec: p2p.md §5`): the **author** signed a message, the **sender** of a frame handed it over.
//! What a message is worth is its author's affair; how frames come is their sender's.
//!
//! * An author has a budget of messages. What is beyond it is dropped before gossip remembers it, so
//!   that the same message may come again later, from any peer.
//! * A sender has a budget of frames. Beyond it its connections are read more slowly, nobody else's.
//! * Offences add points, which halve every [`HALF_LIFE`]. At [`SHUN_AT`] a stranger is hung up on
//!   and shunned, each time for longer. Peers that are configured or in the node list are never
//!   shunned: they only have the budget of a stranger then. An author's garbage can so cut off
//!   nobody who merely passed it on.

use std::collections::{HashMap, HashSet, VecDeque};
use std::net::IpAddr;
use std::time::{Duration, Instant, SystemTime};

use libp2p::PeerId;

mod bucket;

pub(crate) use bucket::{Bucket, Rate};

/// After this time without a new offence, half of the points are left.
const HALF_LIFE: Duration = Duration::from_secs(600);

/// Points at which a stranger is shunned.
const SHUN_AT: f64 = 100.0;

/// A peer is shunned for this long at first, twice as long each time it comes to that again.
const SHUN_FIRST: Duration = Duration::from_secs(600);
const SHUN_LONGEST: Duration = Duration::from_secs(24 * 3600);

/// That many shunned identities of one address make it shunned as a whole.
const SHUN_ADDRESS_AT: usize = 4;

/// Peers and addresses that are remembered; those with the least to remember go first. A stranger's
/// identity costs nothing, so that this bound is what keeps a crowd of them from filling memory.
const REMEMBERED: usize = 4096;

/// Beyond it nothing is learnt: a peer that floods is slowed for this long at most at a time.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// Messages a second of one author in the long run, and at once.
const TRUSTED_AUTHOR: Rate = Rate { per_second: 5_000.0, burst: 20_000.0 };
const STRANGE_AUTHOR: Rate = Rate { per_second: 100.0, burst: 2_000.0 };

/// The same for all strangers together. It bounds what they make this node remember: ids for half an
/// hour, at most some ten MiB an hour.
const STRANGERS: Rate = Rate { per_second: 500.0, burst: 10_000.0 };

/// Units of frames a second from one peer: a message is one unit, and so is a frame without any, and
/// every 16 KiB. A mesh of twelve peers brings each message up to twelve times.
const TRUSTED_FRAMES: Rate = Rate { per_second: 20_000.0, burst: 40_000.0 };
const STRANGE_FRAMES: Rate = Rate { per_second: 1_000.0, burst: 4_000.0 };
const UNIT: usize = 16 * 1024;

/// Wants and answers of block exchange a second from one peer: a block has 256 KiB as a rule.
const TRUSTED_WANTS: Rate = Rate { per_second: 10_000.0, burst: 100_000.0 };
const STRANGE_WANTS: Rate = Rate { per_second: 1_000.0, burst: 20_000.0 };

/// Bytes of blocks a second to one peer.
const TRUSTED_SERVED: Rate = Rate { per_second: 512e6, burst: 1e9 };
const STRANGE_SERVED: Rate = Rate { per_second: 32e6, burst: 256e6 };

/// Why a peer is listened to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trust {
    /// The configuration names it.
    Configured,
    /// The node list names it.
    Listed,
    /// The network believes everybody ([`crate::NetworkConfig::believe_everybody`]).
    Member,
    /// Nobody does.
    Stranger,
}

impl Trust {
    /// The word for it in the API.
    pub fn name(self) -> &'static str {
        match self {
            Self::Configured => "configured",
            Self::Listed => "listed",
            Self::Member => "member",
            Self::Stranger => "stranger",
        }
    }
}

/// What peers do wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Offence {
    /// It published what can't be valid for anyone.
    PublishedInvalid,
    /// It passed on what can't be valid for anyone, written by another. A reference node does so.
    PassedOnInvalid,
    /// It sent messages whose envelopes are not signed as they must be. No node passes such on.
    BadEnvelope,
    /// It sent what is no frame, or a frame that is too large, and had to open its stream anew.
    UnreadableFrame,
    /// It published more messages than an author may; counted once a second.
    TooManyMessages,
    /// It sent more frames than a peer may; counted once a second.
    TooManyFrames,
    /// What it answered while this node caught up was no answer, or lead nowhere.
    BadAnswer,
    /// It sent blocks that nobody asked it for, or other bytes than were asked for.
    UnaskedBlock,
    /// It asked for more blocks than a peer may; counted once a second.
    TooManyWants,
}

impl Offence {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::PublishedInvalid,
        Self::PassedOnInvalid,
        Self::BadEnvelope,
        Self::UnreadableFrame,
        Self::TooManyMessages,
        Self::TooManyFrames,
        Self::BadAnswer,
        Self::UnaskedBlock,
        Self::TooManyWants,
    ];

    fn points(self) -> f64 {
        match self {
            Self::PublishedInvalid => 2.0,
            Self::PassedOnInvalid => 0.2,
            Self::BadEnvelope => 5.0,
            Self::UnreadableFrame | Self::BadAnswer => 20.0,
            Self::TooManyMessages | Self::TooManyFrames | Self::TooManyWants => 4.0,
            Self::UnaskedBlock => 1.0,
        }
    }

    /// The word for it in the API.
    pub fn name(self) -> &'static str {
        match self {
            Self::PublishedInvalid => "published_invalid",
            Self::PassedOnInvalid => "passed_on_invalid",
            Self::BadEnvelope => "bad_envelope",
            Self::UnreadableFrame => "unreadable_frame",
            Self::TooManyMessages => "too_many_messages",
            Self::TooManyFrames => "too_many_frames",
            Self::BadAnswer => "bad_answer",
            Self::UnaskedBlock => "unasked_block",
            Self::TooManyWants => "too_many_wants",
        }
    }

    /// What the peer did, in words that follow a number.
    pub fn words(self) -> &'static str {
        match self {
            Self::PublishedInvalid => "messages of its own that can't be valid",
            Self::PassedOnInvalid => "messages of others, passed on, that can't be valid",
            Self::BadEnvelope => "messages without a right signature of their author",
            Self::UnreadableFrame => "frames that can't be read or are too large",
            Self::TooManyMessages => "seconds in which it published more than an author may",
            Self::TooManyFrames => "seconds in which it sent more frames than a peer may",
            Self::BadAnswer => "answers, while this node caught up, that were none or lead nowhere",
            Self::UnaskedBlock => "blocks that nobody asked for",
            Self::TooManyWants => "seconds in which it asked for more blocks than a peer may",
        }
    }
}

/// How often a peer did what.
#[derive(Debug, Clone, PartialEq)]
pub struct Fault {
    /// What.
    pub offence: Offence,
    /// How often since the peer is remembered.
    pub count: u64,
    /// When last.
    pub last: SystemTime,
}

/// How a peer stands with this node.
#[derive(Debug, Clone, PartialEq)]
pub struct Standing {
    /// Who.
    pub peer: PeerId,
    /// Why it is listened to.
    pub trust: Trust,
    /// From 100, nothing against it, down to 0, shunned or about to be.
    pub score: f64,
    /// What it did wrong, the worst first.
    pub faults: Vec<Fault>,
    /// Messages of its own that were dropped because it published too many.
    pub dropped: u64,
    /// Messages that came from it first and were judged well.
    pub useful: u64,
    /// How much longer it is shunned.
    pub shunned_for: Option<Duration>,
    /// Its address when it was shunned.
    pub address: Option<IpAddr>,
}

#[derive(Debug)]
struct Record {
    points: f64,
    points_at: Instant,
    faults: HashMap<Offence, (u64, SystemTime)>,
    /// A second's offence counts once.
    last_rush: HashMap<Offence, Instant>,
    messages: Bucket,
    frames: Bucket,
    wants: Bucket,
    served: Bucket,
    dropped: u64,
    useful: u64,
    shunned_until: Option<Instant>,
    shunned_times: u32,
    address: Option<IpAddr>,
    touched: Instant,
}

impl Record {
    fn new(now: Instant) -> Self {
        Self {
            points: 0.0,
            points_at: now,
            faults: HashMap::new(),
            last_rush: HashMap::new(),
            messages: Bucket::full(now),
            frames: Bucket::full(now),
            wants: Bucket::full(now),
            served: Bucket::full(now),
            dropped: 0,
            useful: 0,
            shunned_until: None,
            shunned_times: 0,
            address: None,
            touched: now,
        }
    }

    fn points(&self, now: Instant) -> f64 {
        let age = now.saturating_duration_since(self.points_at).as_secs_f64();
        self.points * 0.5_f64.powf(age / HALF_LIFE.as_secs_f64())
    }

    fn is_shunned(&self, now: Instant) -> bool {
        self.shunned_until.is_some_and(|until| until > now)
    }
}

/// The standing of all peers that are remembered.
#[derive(Debug)]
pub(crate) struct Standings {
    configured: HashSet<PeerId>,
    listed: HashSet<PeerId>,
    /// Nobody is a stranger.
    open: bool,
    records: HashMap<PeerId, Record>,
    strangers: Bucket,
    /// Shunned addresses, until when.
    addresses: HashMap<IpAddr, Instant>,
    /// Peers to hang up on, and why.
    to_hang_up: VecDeque<PeerId>,
}

/// What becomes of a message that a frame brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Admission {
    Taken,
    /// Its author has used up its budget, or all strangers together have.
    OverBudget,
    /// Its author is shunned.
    Shunned,
}

impl Standings {
    pub(crate) fn new(configured: impl IntoIterator<Item = PeerId>, now: Instant) -> Self {
        Self {
            configured: configured.into_iter().collect(),
            listed: HashSet::new(),
            open: false,
            records: HashMap::new(),
            strangers: Bucket::full(now),
            addresses: HashMap::new(),
            to_hang_up: VecDeque::new(),
        }
    }

    pub(crate) fn set_listed(&mut self, peers: HashSet<PeerId>) {
        self.listed = peers;
    }

    /// From now on nobody is a stranger.
    pub(crate) fn believe_everybody(&mut self) {
        self.open = true;
    }

    pub(crate) fn trust(&self, peer: &PeerId) -> Trust {
        if self.configured.contains(peer) {
            Trust::Configured
        } else if self.listed.contains(peer) {
            Trust::Listed
        } else if self.open {
            Trust::Member
        } else {
            Trust::Stranger
        }
    }

    /// Whether the peer has the large budgets: it is no stranger and has not used them up.
    fn has_credit(&self, peer: &PeerId, now: Instant) -> bool {
        self.trust(peer) != Trust::Stranger
            && self.records.get(peer).is_none_or(|record| record.points(now) < SHUN_AT)
    }

    fn record(&mut self, peer: &PeerId, now: Instant) -> &mut Record {
        if self.records.len() >= REMEMBERED && !self.records.contains_key(peer) {
            self.forget_one(now);
        }
        let record = self.records.entry(*peer).or_insert_with(|| Record::new(now));
        record.touched = now;
        record
    }

    /// Makes room: who is not shunned and was not seen for longest goes first.
    fn forget_one(&mut self, now: Instant) {
        let oldest = self
            .records
            .iter()
            .min_by_key(|(_, record)| (record.is_shunned(now), record.touched))
            .map(|(peer, _)| *peer);
        if let Some(oldest) = oldest {
            self.records.remove(&oldest);
        }
    }

    /// Whether a message of `author` is taken now.
    pub(crate) fn admit(&mut self, author: &PeerId, now: Instant) -> Admission {
        let credit = self.has_credit(author, now);
        let stranger = self.trust(author) == Trust::Stranger;
        let record = self.record(author, now);
        if stranger && record.is_shunned(now) {
            record.dropped += 1;
            return Admission::Shunned;
        }
        let rate = if credit { TRUSTED_AUTHOR } else { STRANGE_AUTHOR };
        let own = record.messages.take(rate, 1.0, now);
        if own && (!stranger || self.strangers.take(STRANGERS, 1.0, now)) {
            return Admission::Taken;
        }
        self.record(author, now).dropped += 1;
        // Who is short because of other strangers has done nothing wrong.
        if !own {
            self.rush(author, Offence::TooManyMessages, now);
        }
        Admission::OverBudget
    }

    /// A frame of so many messages and bytes came from `sender`: how long to read no further from it.
    pub(crate) fn frame(&mut self, sender: &PeerId, messages: usize, bytes: usize, now: Instant) -> Duration {
        let credit = self.has_credit(sender, now);
        let rate = if credit { TRUSTED_FRAMES } else { STRANGE_FRAMES };
        let units = messages.max(1) + bytes / UNIT;
        #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
        let pause = self.record(sender, now).frames.spend(rate, units as f64, now);
        if !pause.is_zero() {
            self.rush(sender, Offence::TooManyFrames, now);
        }
        pause.min(LONGEST_PAUSE)
    }

    /// A peer asked for so many blocks: how long to read no further from it.
    pub(crate) fn asked(&mut self, peer: &PeerId, wants: usize, now: Instant) -> Duration {
        let rate = if self.has_credit(peer, now) { TRUSTED_WANTS } else { STRANGE_WANTS };
        #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
        let pause = self.record(peer, now).wants.spend(rate, wants as f64, now);
        if !pause.is_zero() {
            self.too_many_wants(peer, now);
        }
        pause.min(LONGEST_PAUSE)
    }

    /// A peer asked for more than is remembered.
    pub(crate) fn too_many_wants(&mut self, peer: &PeerId, now: Instant) {
        self.rush(peer, Offence::TooManyWants, now);
    }

    /// A peer got so many bytes of blocks: how long to send it no more.
    pub(crate) fn served(&mut self, peer: &PeerId, bytes: usize, now: Instant) -> Duration {
        let rate = if self.has_credit(peer, now) { TRUSTED_SERVED } else { STRANGE_SERVED };
        #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
        let pause = self.record(peer, now).served.spend(rate, bytes as f64, now);
        pause.min(LONGEST_PAUSE)
    }

    /// An offence that lasts: it counts once a second.
    fn rush(&mut self, peer: &PeerId, offence: Offence, now: Instant) {
        let last = self.record(peer, now).last_rush.get(&offence).copied();
        if last.is_some_and(|last| now.saturating_duration_since(last) < Duration::from_secs(1)) {
            return;
        }
        self.record(peer, now).last_rush.insert(offence, now);
        self.blame(peer, offence, 1, now);
    }

    /// Counts what the peer did wrong, and shuns it when that is too much.
    pub(crate) fn blame(&mut self, peer: &PeerId, offence: Offence, times: u64, now: Instant) {
        let trust = self.trust(peer);
        let record = self.record(peer, now);
        let fault = record.faults.entry(offence).or_insert((0, SystemTime::UNIX_EPOCH));
        *fault = (fault.0 + times, SystemTime::now());
        if offence == Offence::PassedOnInvalid && trust != Trust::Stranger {
            return;
        }
        #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
        let added = offence.points() * times as f64;
        record.points = record.points(now) + added;
        record.points_at = now;
        if record.points < SHUN_AT || record.is_shunned(now) || trust != Trust::Stranger {
            return;
        }
        let time = SHUN_FIRST.saturating_mul(1 << record.shunned_times.min(16)).min(SHUN_LONGEST);
        record.shunned_until = Some(now + time);
        record.shunned_times = record.shunned_times.saturating_add(1);
        record.points = 0.0;
        let address = record.address;
        tracing::warn!(%peer, seconds = time.as_secs(), because = offence.words(), "peer is shunned");
        self.to_hang_up.push_back(*peer);
        if let Some(address) = address {
            self.shun_address(address, time, now);
        }
    }

    /// Shuns an address that too many shunned identities came from.
    fn shun_address(&mut self, address: IpAddr, time: Duration, now: Instant) {
        let from_there =
            self.records.values().filter(|record| record.address == Some(address) && record.is_shunned(now));
        if from_there.count() < SHUN_ADDRESS_AT {
            return;
        }
        self.addresses.retain(|_, until| *until > now);
        if self.addresses.len() < REMEMBERED || self.addresses.contains_key(&address) {
            let until = self.addresses.entry(address).or_insert(now + time);
            *until = (*until).max(now + time);
            tracing::warn!(%address, seconds = time.as_secs(), "address is shunned: too many bad peers");
        }
    }

    /// The peer is connected from there.
    pub(crate) fn seen_at(&mut self, peer: &PeerId, address: Option<IpAddr>, now: Instant) {
        if address.is_some() {
            self.record(peer, now).address = address;
        }
    }

    /// A message that came from this peer first was judged well.
    pub(crate) fn useful(&mut self, peer: &PeerId, now: Instant) {
        self.record(peer, now).useful += 1;
    }

    pub(crate) fn is_shunned(&self, peer: &PeerId, now: Instant) -> bool {
        self.trust(peer) == Trust::Stranger
            && self.records.get(peer).is_some_and(|record| record.is_shunned(now))
    }

    pub(crate) fn is_address_shunned(&self, address: &IpAddr, now: Instant) -> bool {
        self.addresses.get(address).is_some_and(|until| *until > now)
    }

    /// The next peer that was shunned and may be connected still.
    pub(crate) fn next_to_hang_up(&mut self) -> Option<PeerId> {
        self.to_hang_up.pop_front()
    }

    /// How a peer stands, also one that did nothing yet.
    pub(crate) fn of(&self, peer: &PeerId, now: Instant) -> Standing {
        let trust = self.trust(peer);
        let Some(record) = self.records.get(peer) else {
            return Standing {
                peer: *peer,
                trust,
                score: 100.0,
                faults: Vec::new(),
                dropped: 0,
                useful: 0,
                shunned_for: None,
                address: None,
            };
        };
        let shunned_for = record
            .shunned_until
            .filter(|_| trust == Trust::Stranger)
            .and_then(|until| until.checked_duration_since(now))
            .filter(|left| !left.is_zero());
        let mut faults: Vec<Fault> = record
            .faults
            .iter()
            .map(|(offence, (count, last))| Fault { offence: *offence, count: *count, last: *last })
            .collect();
        #[expect(clippy::cast_precision_loss, reason = "an order, no exact value")]
        let weight = |fault: &Fault| fault.offence.points() * fault.count as f64;
        faults.sort_by(|a, b| weight(b).total_cmp(&weight(a)));
        let score = if shunned_for.is_some() { 0.0 } else { (SHUN_AT - record.points(now)).max(0.0) };
        Standing {
            peer: *peer,
            trust,
            score,
            faults,
            dropped: record.dropped,
            useful: record.useful,
            shunned_for,
            address: record.address,
        }
    }

    /// Peers with faults, the worst first, at most `limit`: shunned ones, and authors that only
    /// others are connected to.
    pub(crate) fn faulty(&self, limit: usize, now: Instant) -> Vec<Standing> {
        let mut faulty: Vec<Standing> = self
            .records
            .iter()
            .filter(|(_, record)| !record.faults.is_empty())
            .map(|(peer, _)| self.of(peer, now))
            .collect();
        faulty.sort_by(|a, b| a.score.total_cmp(&b.score).then(b.shunned_for.cmp(&a.shunned_for)));
        faulty.truncate(limit);
        faulty
    }

    /// When the peer did anything last that is counted here.
    pub(crate) fn last_heard(&self, peer: &PeerId) -> Option<Instant> {
        self.records.get(peer).map(|record| record.touched)
    }

    /// How many peers are remembered, for good or bad.
    pub(crate) fn remembered(&self) -> usize {
        self.records.len()
    }

    /// How many peers and addresses are shunned now.
    pub(crate) fn shunned(&self, now: Instant) -> (usize, usize) {
        let peers = self.records.values().filter(|record| record.is_shunned(now)).count();
        let addresses = self.addresses.values().filter(|until| **until > now).count();
        (peers, addresses)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stranger_that_publishes_garbage_is_shunned_longer_each_time_and_forgiven() {
        let (peer, start) = (PeerId::random(), Instant::now());
        let mut all = Standings::new([], start);
        let mut now = start;
        for round in 0..3_u32 {
            for _ in 0..49 {
                all.blame(&peer, Offence::PublishedInvalid, 1, now);
            }
            assert!(!all.is_shunned(&peer, now) && all.of(&peer, now).score < 5.0);
            all.blame(&peer, Offence::PublishedInvalid, 1, now);
            assert!(all.is_shunned(&peer, now));
            assert_eq!(all.next_to_hang_up(), Some(peer));
            assert_eq!(all.of(&peer, now).shunned_for, Some(SHUN_FIRST * (1 << round)));
            assert_eq!(all.admit(&peer, now), Admission::Shunned);
            now += SHUN_FIRST * (1 << round);
            assert!(!all.is_shunned(&peer, now));
            assert_eq!(all.admit(&peer, now), Admission::Taken);
        }
        let standing = all.of(&peer, now);
        assert_eq!(standing.faults[0].count, 150);
        assert_eq!(standing.dropped, 3);
    }

    #[test]
    fn points_fade() {
        let (peer, start) = (PeerId::random(), Instant::now());
        let mut all = Standings::new([], start);
        all.blame(&peer, Offence::UnreadableFrame, 2, start);
        assert!((all.of(&peer, start).score - 60.0).abs() < 0.01);
        assert!((all.of(&peer, start + HALF_LIFE).score - 80.0).abs() < 0.01);
    }

    #[test]
    fn configured_and_listed_peers_are_never_shunned_but_lose_their_credit() {
        let (configured, listed, start) = (PeerId::random(), PeerId::random(), Instant::now());
        let mut all = Standings::new([configured], start);
        all.set_listed([listed].into());
        for peer in [configured, listed] {
            assert!(all.has_credit(&peer, start));
            all.blame(&peer, Offence::PublishedInvalid, 1_000, start);
            assert!(!all.is_shunned(&peer, start) && !all.has_credit(&peer, start));
            assert_eq!(all.of(&peer, start).score, 0.0);
        }
        assert_eq!(all.next_to_hang_up(), None);
        // What it merely passes on costs it nothing.
        let relay = PeerId::random();
        all.set_listed([relay].into());
        all.blame(&relay, Offence::PassedOnInvalid, 1_000_000, start);
        assert_eq!(all.of(&relay, start).score, 100.0);
        assert_eq!(all.of(&relay, start).faults[0].count, 1_000_000);
    }

    #[test]
    fn a_flood_is_cut_to_the_budget_and_shunned_in_the_end() {
        let (peer, start) = (PeerId::random(), Instant::now());
        let mut all = Standings::new([], start);
        let mut taken = 0;
        let mut seconds = 0;
        while !all.is_shunned(&peer, start + Duration::from_secs(seconds)) {
            let now = start + Duration::from_secs(seconds);
            taken += (0..5_000).filter(|_| all.admit(&peer, now) == Admission::Taken).count();
            seconds += 1;
            assert!(seconds < 60, "it is never shunned");
        }
        assert!(taken <= 2_000 + 100 * usize::try_from(seconds).unwrap(), "{taken} in {seconds} s");
        assert!((20..40).contains(&seconds), "{seconds}");
    }

    #[test]
    fn strangers_share_a_budget_that_trusted_authors_do_not_need() {
        let (trusted, start) = (PeerId::random(), Instant::now());
        let mut all = Standings::new([trusted], start);
        let taken = (0..12_000).filter(|_| all.admit(&PeerId::random(), start) == Admission::Taken).count();
        assert_eq!(taken, 10_000);
        assert_eq!(all.admit(&trusted, start), Admission::Taken);
        let late = PeerId::random();
        assert_eq!(all.admit(&late, start), Admission::OverBudget);
        assert!(all.of(&late, start).faults.is_empty(), "it did nothing wrong");
        assert!(all.records.len() <= REMEMBERED);
    }

    #[test]
    fn a_crowd_of_identities_takes_neither_memory_nor_an_honest_authors_budget() {
        let (honest, start) = (PeerId::random(), Instant::now());
        let mut standings = Standings::new([honest], start);
        let (mut taken, mut of_crowd) = (0, 0);
        for number in 0..10_000u64 {
            // a thousand of them a second, each with garbage; a hundred honest messages meanwhile
            let now = start + Duration::from_millis(number);
            let identity = PeerId::random();
            if standings.admit(&identity, now) == Admission::Taken {
                of_crowd += 1;
                standings.blame(&identity, Offence::PublishedInvalid, 1, now);
            }
            if number.is_multiple_of(10) {
                taken += usize::from(standings.admit(&honest, now) == Admission::Taken);
            }
        }
        assert_eq!(taken, 1_000, "every honest message");
        // their common budget: a burst, and 500 a second for ten seconds
        assert!(of_crowd <= 15_000 && of_crowd > 0, "{of_crowd}");
        assert!(standings.records.len() <= REMEMBERED, "{}", standings.records.len());
        assert!(standings.addresses.len() <= REMEMBERED);
        assert!(standings.of(&honest, start + Duration::from_secs(10)).faults.is_empty());
    }

    #[test]
    fn frames_slow_their_sender_down() {
        let (stranger, trusted, start) = (PeerId::random(), PeerId::random(), Instant::now());
        let mut all = Standings::new([trusted], start);
        for _ in 0..4_000 {
            assert!(all.frame(&stranger, 0, 100, start).is_zero());
        }
        assert!(!all.frame(&stranger, 100, 100, start).is_zero());
        assert!(all.frame(&stranger, 100_000, 0, start) <= LONGEST_PAUSE);
        assert_eq!(all.of(&stranger, start).faults[0].offence, Offence::TooManyFrames);
        assert!(all.frame(&trusted, 4_100, 0, start).is_zero());
    }

    #[test]
    fn an_address_of_many_bad_identities_is_shunned() {
        let start = Instant::now();
        let mut all = Standings::new([], start);
        let address: IpAddr = [10, 0, 0, 1].into();
        for number in 0..SHUN_ADDRESS_AT {
            assert!(!all.is_address_shunned(&address, start), "{number}");
            let peer = PeerId::random();
            all.seen_at(&peer, Some(address), start);
            all.blame(&peer, Offence::BadEnvelope, 20, start);
        }
        assert!(all.is_address_shunned(&address, start));
        assert!(!all.is_address_shunned(&[10, 0, 0, 2].into(), start));
        assert_eq!(all.shunned(start), (SHUN_ADDRESS_AT, 1));
        assert!(!all.is_address_shunned(&address, start + SHUN_FIRST));
    }

    #[test]
    fn shunned_peers_are_remembered_before_others() {
        let (bad, start) = (PeerId::random(), Instant::now());
        let mut all = Standings::new([], start);
        all.blame(&bad, Offence::BadEnvelope, 20, start);
        for second in 0..2 * REMEMBERED as u64 {
            all.admit(&PeerId::random(), start + Duration::from_secs(1) + Duration::from_millis(second));
        }
        assert!(all.is_shunned(&bad, start + Duration::from_secs(10)));
        assert_eq!(all.records.len(), REMEMBERED);
    }
}
