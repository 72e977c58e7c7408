use aleph_ledger::{Element, Notice, PRICE_KEY, SETTINGS_KEY, Settings, Timeline};

use crate::ElementFact;

/// The network's prices and settings as of one instant: what the aggregates of their publisher say, or the
/// documented defaults while there are none (`spec: payments.md §§2–3`).
#[derive(Debug, Clone, Default)]
pub struct Tariff {
    /// The prices at every time.
    pub timeline: Timeline,
    /// The settings in force.
    pub settings: Settings,
    /// What an operator should know of both aggregates.
    pub notices: Vec<Notice>,
}

impl Tariff {
    /// From every element of the publisher's two aggregates, in any order.
    pub fn of_elements(pricing: Vec<ElementFact>, settings: Vec<ElementFact>) -> Self {
        let elements = |facts: Vec<ElementFact>| {
            let element = |fact: ElementFact| Element {
                message: fact.stamp.hash,
                time: fact.stamp.time,
                content: fact.content,
            };
            facts.into_iter().map(element).collect::<Vec<_>>()
        };
        let timeline = Timeline::new(elements(pricing));
        let settings = elements(settings);
        let (settings, faults) = match settings.is_empty() {
            true => (Settings::default(), Vec::new()),
            false => Settings::of_elements(settings),
        };
        let notices = timeline.notices().iter().cloned().chain(faults).collect();
        Self { timeline, settings, notices }
    }

    /// Whether an aggregate of that key is part of it.
    pub fn is_part(key: &str) -> bool {
        key == PRICE_KEY || key == SETTINGS_KEY
    }
}
