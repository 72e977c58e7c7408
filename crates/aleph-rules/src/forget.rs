use std::collections::{BTreeMap, BTreeSet};

use aleph_types::content::{ForgetContent, PostContent};
use aleph_types::{Address, ErrorCode, ItemHash, Message, MessageType, Rejection};
use serde_json::{Value, json};

use crate::permissions::{self, Subject};
use crate::{
    Candidate, Decision, Dependency, Effect, Facts, Fate, Forgotten, PostVersion, Stamp, StoredMessage,
    TagTarget, aggregate, post,
};

/// Elements of an aggregate that are asked for at once.
const PAGE: usize = 1_000;

/// FORGET (`spec: messages.md §17`): all targets or none.
pub(crate) fn decide<F: Facts>(
    candidate: &Candidate<'_>,
    forget: &ForgetContent,
    facts: &mut F,
    effects: &mut Vec<Effect>,
) -> Result<Option<Decision>, F::Error> {
    let mut targets = Targets::default();
    for target in &forget.hashes {
        if let Some(decision) = targets.take(target.clone(), candidate, facts)? {
            return Ok(Some(decision));
        }
    }
    let mut unknown_aggregates = Vec::new();
    for key in &forget.aggregates {
        if facts.aggregate(&forget.address, key.as_str())?.is_none() {
            unknown_aggregates.push(key.clone());
        }
        // Page by page: who may not forget the first of them costs no more.
        let mut after = None;
        loop {
            let page = facts.elements(&forget.address, key.as_str(), after.as_ref(), PAGE)?;
            for element in &page {
                if let Some(decision) = targets.take(element.hash.clone(), candidate, facts)? {
                    return Ok(Some(decision));
                }
            }
            match page.into_iter().nth(PAGE - 1) {
                Some(last) => after = Some(last),
                None => break,
            }
        }
    }
    let Targets { found, again, absent, .. } = targets;
    if forget.hashes.is_empty() && forget.aggregates.is_empty() {
        return Ok(Some(Decision::Reject(Rejection::bare(ErrorCode::ForgetNoTarget))));
    }
    if let Some(target) = absent {
        return Ok(Some(not_found(target)));
    }
    for stored in &found {
        if let Some(vm) = facts.vm_using(&stored.item_hash)? {
            return Ok(Some(Decision::Reject(Rejection::text(
                ErrorCode::ForgetNotAllowed,
                format!("File {} used on vm {vm}", stored.item_hash),
            ))));
        }
    }
    if let Some(key) = unknown_aggregates.into_iter().next() {
        return Ok(Some(Decision::wait(
            Dependency::Aggregate(forget.address.clone(), key.as_str().to_owned()),
            Rejection::with_errors(ErrorCode::ForgetTargetNotFound, [json!({ "aggregate": key })]),
        )));
    }

    let mut plan = Plan { again, ..Plan::default() };
    for stored in found {
        plan.add(stored, facts)?;
    }
    plan.into_effects(candidate, facts, effects)?;
    Ok(None)
}

/// Whether a FORGET may forget this message, as far as can be told when the message's content is lost: it
/// names it, and was signed by the message's signer or speaks for it. What a FORGET takes along (amends,
/// elements of aggregates), and messages signed for somebody else's account, are not seen this way.
pub fn forgets_evidently(by: &Address, forget: &ForgetContent, message: &Message) -> bool {
    forget.hashes.contains(&message.item_hash) && (*by == message.sender || forget.address == message.sender)
}

/// What a FORGET names, in the order of its list, which shows in what each target remembers of it.
#[derive(Default)]
struct Targets {
    seen: BTreeSet<ItemHash>,
    found: Vec<StoredMessage>,
    /// Named before: they remember this FORGET as often.
    again: Vec<ItemHash>,
    /// The first that was refused, or is gone already.
    absent: Option<ItemHash>,
}

impl Targets {
    /// Takes the next one, unless it decides for the whole FORGET.
    fn take<F: Facts>(
        &mut self,
        target: ItemHash,
        candidate: &Candidate<'_>,
        facts: &mut F,
    ) -> Result<Option<Decision>, F::Error> {
        if !self.seen.insert(target.clone()) {
            self.again.push(target);
            return Ok(None);
        }
        match facts.fate(&target)? {
            Fate::Unknown | Fate::Pending => return Ok(Some(not_found(target))),
            // Its effect came before it; who may forget what was judged then.
            Fate::Gone if facts.is_forgotten_by(&target, &candidate.message.item_hash)? => {}
            Fate::Rejected | Fate::Gone => _ = self.absent.get_or_insert(target),
            Fate::Stored(stored) => {
                if stored.message_type == MessageType::Forget {
                    return Ok(Some(Decision::Reject(Rejection::with_errors(
                        ErrorCode::ForgetForget,
                        [json!({ "message": target })],
                    ))));
                }
                if let Err(refusal) = permitted(&candidate.message.sender, &stored, facts)? {
                    return Ok(Some(Decision::Reject(refusal)));
                }
                self.found.push(*stored);
            }
        }
        Ok(None)
    }
}

fn not_found(target: ItemHash) -> Decision {
    let details = Value::Array(vec![json!({ "message": target })]);
    Decision::wait(
        Dependency::Message(target),
        Rejection { code: ErrorCode::ForgetTargetNotFound, details: Some(json!({ "errors": details })) },
    )
}

/// The base rule for the target's owner, with filters held against the target.
fn permitted<F: Facts>(
    sender: &Address,
    target: &StoredMessage,
    facts: &mut F,
) -> Result<Result<(), Rejection>, F::Error> {
    let subject = Subject::of_stored(target);
    let granted = permissions::check(sender, &target.owner, &subject, facts)?;
    Ok(granted.map_err(|_| {
        Rejection::text(
            ErrorCode::PermissionDenied,
            format!(
                "Sender {sender} is not authorized to forget message {} owned by {}",
                target.item_hash, target.owner
            ),
        )
    }))
}

/// Everything that goes, cascades included, grouped by what must be rebuilt afterwards.
#[derive(Default)]
struct Plan {
    gone: BTreeSet<ItemHash>,
    /// Targets that are gone already when their turn comes: cascaded, or listed before.
    again: Vec<ItemHash>,
    posts: BTreeSet<ItemHash>,
    amended: BTreeSet<ItemHash>,
    /// Elements by the owner and key of their aggregate.
    aggregates: BTreeMap<(Address, String), Vec<Stamp>>,
    stores: BTreeSet<ItemHash>,
    vms: BTreeSet<ItemHash>,
}

impl Plan {
    /// Takes the next target of the list.
    fn add<F: Facts>(&mut self, stored: StoredMessage, facts: &mut F) -> Result<(), F::Error> {
        if self.gone.contains(&stored.item_hash) {
            self.again.push(stored.item_hash);
            return Ok(());
        }
        let hash = stored.item_hash.clone();
        match stored.message_type {
            MessageType::Post if stored.post_type.as_deref() == Some(PostContent::AMEND) => {
                if let Some(original) =
                    stored.reference.as_deref().and_then(|text| ItemHash::parse(text).ok())
                {
                    self.amended.insert(original);
                }
            }
            MessageType::Post => {
                self.posts.insert(hash.clone());
                for amend in facts.amends(&hash)? {
                    if let Fate::Stored(amend) = facts.fate(&amend.stamp.hash)? {
                        self.gone.insert(amend.item_hash);
                    }
                }
            }
            MessageType::Aggregate => {
                if let Some(key) = stored.aggregate_key {
                    let element = Stamp { time: stored.content_time, hash: hash.clone() };
                    self.aggregates.entry((stored.owner, key)).or_default().push(element);
                }
            }
            MessageType::Store => {
                self.stores.insert(hash.clone());
            }
            // What replaces a machine is a machine of its own and stays.
            MessageType::Program | MessageType::Instance | MessageType::VProgram => {
                self.vms.insert(hash.clone());
            }
            MessageType::Forget => {}
        }
        self.gone.insert(hash);
        Ok(())
    }

    fn into_effects<F: Facts>(
        self,
        candidate: &Candidate<'_>,
        facts: &mut F,
        effects: &mut Vec<Effect>,
    ) -> Result<(), F::Error> {
        for original in &self.posts {
            effects.push(Effect::RemovePost(original.clone()));
        }
        for original in self.amended.iter().filter(|original| !self.posts.contains(*original)) {
            let mut left = Vec::new();
            for amend in facts.amends(original)? {
                if self.gone.contains(&amend.stamp.hash) {
                    effects.push(Effect::RemoveAmend { original: original.clone(), amend: amend.stamp });
                } else {
                    left.push(amend.stamp);
                }
            }
            if let Some(shown) = facts.post(original)? {
                let first = Stamp { time: shown.created, hash: original.clone() };
                let latest = post::latest_version(first, left);
                effects.push(Effect::ShowVersion(PostVersion { original: original.clone(), latest }));
            }
        }
        for ((owner, key), elements) in &self.aggregates {
            effects.extend(aggregate::reduce(owner, key, elements, &self.gone, facts)?);
        }
        self.release_files(facts, effects)?;
        for vm in &self.vms {
            effects.push(Effect::RemoveVm(vm.clone()));
        }
        for target in self.gone.into_iter().chain(self.again) {
            effects.push(Effect::Forget(Forgotten {
                target,
                by: candidate.message.item_hash.clone(),
                at: candidate.message.time,
            }));
        }
        Ok(())
    }

    fn release_files<F: Facts>(&self, facts: &mut F, effects: &mut Vec<Effect>) -> Result<(), F::Error> {
        let mut tags = BTreeSet::new();
        let mut released: BTreeMap<ItemHash, u64> = BTreeMap::new();
        for store in &self.stores {
            let Some(pin) = facts.message_pin(store)? else { continue };
            // Pins that this same FORGET already released don't hold the file any more.
            let already = released.entry(pin.file.clone()).or_insert(0);
            let others = facts.other_pins(&pin.file, store)?.saturating_sub(*already);
            *already += 1;
            tags.insert(pin.tag.clone());
            effects.push(Effect::Unpin { file: pin.file, message: store.clone(), grace: others == 0 });
        }
        for tag in tags {
            let latest = facts
                .tag_versions(&tag)?
                .into_iter()
                .filter(|version| !self.stores.contains(&version.stamp.hash))
                .reduce(|best, next| if next.stamp.supersedes(&best.stamp) { next } else { best });
            effects.push(match latest {
                None => Effect::RemoveTag(tag),
                Some(version) => Effect::SetTag(TagTarget {
                    tag,
                    owner: version.owner,
                    file: version.file,
                    stamp: version.stamp,
                }),
            });
        }
        Ok(())
    }
}
