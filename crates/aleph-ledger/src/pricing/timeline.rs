use std::cmp::Reverse;

use aleph_types::{ItemHash, Timestamp};
use serde_json::{Map, Value};

use super::{Origin, PriceTable, Product};
use crate::Notice;
use crate::notice::{StandingNotices, Subject};

/// One AGGREGATE message of the publisher of prices and settings.
#[derive(Debug, Clone, PartialEq)]
pub struct Element {
    /// The message.
    pub message: ItemHash,
    /// Its `content.time`.
    pub time: Timestamp,
    /// What it merges.
    pub content: Map<String, Value>,
}

impl Element {
    /// Into the order in which elements count: of equal times the smaller hash comes last.
    pub(crate) fn sort(elements: &mut [Self]) {
        elements.sort_by(|a, b| (a.time, Reverse(&a.message)).cmp(&(b.time, Reverse(&b.message))));
    }
}

/// The prices at every time: the defaults, then each element in turn.
///
/// It depends on the set of elements and not on their order of arrival: of equal times the smaller hash
/// comes last, as for every aggregate. So "the last good prices" are the same on every node.
#[derive(Debug, Clone)]
pub struct Timeline {
    steps: Vec<(Timestamp, PriceTable)>,
    defaults: PriceTable,
    notices: Vec<Notice>,
}

impl Default for Timeline {
    fn default() -> Self {
        Self::new(Vec::new())
    }
}

impl Timeline {
    /// From every element that is known, in any order.
    pub fn new(mut elements: Vec<Element>) -> Self {
        Element::sort(&mut elements);
        let mut table = PriceTable::default();
        let mut notices = StandingNotices::default();
        let mut steps = Vec::with_capacity(elements.len());
        for element in elements {
            let origin = Origin::Element { message: element.message, time: element.time };
            let (next, found) = table.follow(&element.content, &origin);
            let named = element.content.keys().filter_map(|key| Product::of_key(key)).map(Subject::Product);
            notices.take(named, found);
            steps.push((element.time, next.clone()));
            table = next;
        }
        Self { steps, defaults: PriceTable::default(), notices: notices.into_list() }
    }

    /// The prices in force now: those that new messages pay.
    pub fn latest(&self) -> &PriceTable {
        self.steps.last().map_or(&self.defaults, |(_, table)| table)
    }

    /// The prices in force at `time`: for a recalculation of old messages.
    pub fn at(&self, time: Timestamp) -> &PriceTable {
        let later = self.steps.partition_point(|(from, _)| *from <= time);
        match later.checked_sub(1).and_then(|place| self.steps.get(place)) {
            Some((_, table)) => table,
            None => &self.defaults,
        }
    }

    /// How many times the prices changed.
    pub fn changes(&self) -> usize {
        self.steps.len()
    }

    /// What an operator should know of the elements: what is wrong, and no later element put right.
    pub fn notices(&self) -> &[Notice] {
        &self.notices
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::pricing::{Product, default_prices};
    use crate::{CostError, Decimal, PriceFault};

    fn element(digit: &str, seconds: i64, content: Value) -> Element {
        let Value::Object(content) = content else { panic!("an object") };
        Element {
            message: ItemHash::parse(&digit.repeat(64)).unwrap(),
            time: Timestamp::from_secs(seconds),
            content,
        }
    }

    fn storage(holding: &str) -> Value {
        json!({"storage": {"price": {"storage": {"holding": holding}}}})
    }

    fn holding(table: &PriceTable) -> Decimal {
        table.product(Product::Storage).unwrap().storage.holding.clone()
    }

    #[test]
    fn the_first_element_ends_the_defaults() {
        let timeline = Timeline::new(vec![element("a", 100, storage("1"))]);
        assert_eq!(holding(timeline.at(Timestamp::from_secs(99))), Decimal::parse("0.333333333").unwrap());
        assert_eq!(holding(timeline.at(Timestamp::from_secs(100))), Decimal::parse("1").unwrap());
        let missing = timeline.latest().product(Product::Instance);
        assert_eq!(
            missing,
            Err(CostError::NoPrice { product: Product::Instance, fault: PriceFault::Missing })
        );
        assert!(timeline.at(Timestamp::EPOCH).product(Product::Instance).is_ok());
    }

    #[test]
    fn a_malformed_entry_leaves_the_last_good_one_whatever_the_order() {
        let good = element("a", 100, storage("1"));
        let bad = element("b", 200, json!({"storage": {"price": 5}, "moon_base": {}}));
        let tie = element("c", 200, storage("2"));
        for elements in [vec![good.clone(), bad.clone(), tie.clone()], vec![tie, bad, good]] {
            let timeline = Timeline::new(elements);
            assert_eq!(holding(timeline.latest()), Decimal::parse("2").unwrap());
            assert_eq!(timeline.notices().len(), 2, "{:?}", timeline.notices());
            assert!(timeline.notices().iter().any(|notice| notice.to_string().contains("moon_base")));
        }
    }

    #[test]
    fn what_was_put_right_is_no_notice_any_more() {
        let bad = element("a", 100, json!({"storage": {"price": 5}, "program": 7, "moon_base": {}}));
        let worse = element("b", 200, json!({"storage": {"price": 6}, "moon_base": {}}));
        let right = element("c", 300, storage("1"));
        let texts = |elements: &[&Element]| -> Vec<String> {
            let timeline = Timeline::new(elements.iter().copied().cloned().collect());
            timeline.notices().iter().map(ToString::to_string).collect()
        };
        assert_eq!(texts(&[&bad]).len(), 3);
        let twice = texts(&[&bad, &worse]);
        assert_eq!(twice.len(), 3, "each thing once: {twice:?}");
        let left = texts(&[&right, &worse, &bad]);
        assert_eq!(left.len(), 2, "{left:?}");
        assert!(!left.iter().any(|text| text.contains("storage")), "{left:?}");
        assert_eq!(texts(&[&right]), [""; 0]);
    }

    #[test]
    fn malformed_from_the_start_keeps_the_default_of_that_product_only() {
        let timeline = Timeline::new(vec![element("a", 1, json!({"storage": null}))]);
        assert_eq!(holding(timeline.latest()), Decimal::parse("0.333333333").unwrap());
        assert!(timeline.latest().product(Product::Program).is_err());
        let whole = element("b", 2, Value::Object(default_prices()));
        let timeline = Timeline::new(vec![whole]);
        assert!(Product::ALL.iter().all(|product| timeline.latest().product(*product).is_ok()));
    }
}
