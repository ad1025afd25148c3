//! Which routes may hold for an event, found without trying each.
//!
//! Each route is filed under one condition of its `when`: under the values that it allows, or the text that it must
//! start with. What the index finds for an event is then tried in full, so it may find too much and never too little.
//!
//! Invariant: candidates come in the routes' order, each once.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use compact_str::CompactString;
use hashbrown::HashMap;
use smallvec::SmallVec;

use crate::event::{Event, Matcher, Scalar, Slot, Value};

/// A field is worth a look-up where so many routes test it.
const WORTH_INDEXING: usize = 16;
/// Fields that are looked up for an event, at most.
const FIELDS: usize = 8;
/// From here on not every integer has a floating point number of its own, and equality is no matter of digits.
const EXACT: i64 = 1 << 53;

/// The index of a route table.
#[derive(Debug)]
pub(super) struct Index {
    fields: Vec<FieldIndex>,
    /// Routes that are candidates whatever the event holds.
    always: Vec<u32>,
}

/// The conditions of one route, all of which must hold.
pub(super) type Conditions = [(Slot, Matcher<Slot>)];

#[derive(Debug)]
struct FieldIndex {
    slot: Slot,
    values: HashMap<CompactString, Vec<u32>>,
    prefixes: Vec<Prefix>,
}

/// A text that values must start with. Sorted by text.
#[derive(Debug)]
struct Prefix {
    text: CompactString,
    /// The longest other prefix that this one starts with.
    parent: Option<usize>,
    routes: Vec<u32>,
}

/// What a condition asks of a value.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Key {
    Value(CompactString),
    Prefix(CompactString),
}

impl Index {
    /// The index of routes with these conditions, in order.
    pub(super) fn new<'r>(routes: impl Iterator<Item = &'r Conditions>) -> Self {
        let routes: Vec<Vec<(Slot, Vec<Key>)>> = routes
            .map(|conditions| conditions.iter().filter_map(|(slot, matcher)| Some((*slot, keys(matcher)?))).collect())
            .collect();
        let fields = worth_indexing(&routes);
        let mut sharing: HashMap<(Slot, &Key), usize> = HashMap::new();
        for (slot, keys) in routes.iter().flatten() {
            for key in keys {
                *sharing.entry((*slot, key)).or_default() += 1;
            }
        }
        let mut filed: BTreeMap<Slot, Vec<(u32, &[Key])>> = BTreeMap::new();
        let mut always = Vec::new();
        for (route, conditions) in (0..).zip(&routes) {
            // The condition that fewest routes share tells most; the field that most routes test costs least.
            let best = conditions
                .iter()
                .filter_map(|(slot, keys)| {
                    let rank = fields.iter().position(|field| field == slot)?;
                    let shared = keys.iter().map(|key| sharing[&(*slot, key)]).max().unwrap_or(0);
                    Some(((shared, rank), *slot, keys.as_slice()))
                })
                .min_by_key(|(cost, ..)| *cost);
            match best {
                Some((_, slot, keys)) => filed.entry(slot).or_default().push((route, keys)),
                None => always.push(route),
            }
        }
        Self { fields: filed.into_iter().map(|(slot, routes)| FieldIndex::new(slot, &routes)).collect(), always }
    }

    /// The routes that may hold for `event`, by their position in the table.
    pub(super) fn candidates(&self, event: &Event) -> Candidates<'_> {
        let mut lists = SmallVec::new();
        if !self.always.is_empty() {
            lists.push(self.always.as_slice());
        }
        for field in &self.fields {
            with_text(event.field(field.slot), |text| field.find(text, &mut lists));
        }
        Candidates { lists }
    }
}

/// Ascending lists of routes, merged.
#[derive(Debug)]
pub(super) struct Candidates<'i> {
    lists: SmallVec<[&'i [u32]; 3]>,
}

impl Iterator for Candidates<'_> {
    type Item = u32;

    fn next(&mut self) -> Option<u32> {
        // There is no other where most routes ask for values of one field.
        if let [list] = self.lists.as_mut_slice() {
            return list.split_off_first().copied();
        }
        let next = self.lists.iter().filter_map(|list| list.first()).min().copied()?;
        for list in &mut self.lists {
            if list.first() == Some(&next) {
                *list = &list[1..];
            }
        }
        Some(next)
    }
}

/// The fields that most routes test, most tested first.
fn worth_indexing(routes: &[Vec<(Slot, Vec<Key>)>]) -> Vec<Slot> {
    let mut tested: BTreeMap<Slot, usize> = BTreeMap::new();
    for (slot, _) in routes.iter().flatten() {
        *tested.entry(*slot).or_default() += 1;
    }
    let mut fields: Vec<(Slot, usize)> = tested.into_iter().filter(|(_, count)| *count >= WORTH_INDEXING).collect();
    fields.sort_by_key(|(_, count)| Reverse(*count));
    fields.into_iter().take(FIELDS).map(|(slot, _)| slot).collect()
}

impl FieldIndex {
    fn new(slot: Slot, routes: &[(u32, &[Key])]) -> Self {
        let mut values: HashMap<CompactString, Vec<u32>> = HashMap::new();
        let mut prefixes: BTreeMap<CompactString, Vec<u32>> = BTreeMap::new();
        for (route, keys) in routes {
            for key in *keys {
                let list = match key {
                    Key::Value(text) => values.entry_ref(text).or_default(),
                    Key::Prefix(text) => prefixes.entry(text.clone()).or_default(),
                };
                if list.last() != Some(route) {
                    list.push(*route);
                }
            }
        }
        Self { slot, values, prefixes: Prefix::chain(prefixes) }
    }

    fn find<'i>(&'i self, text: &str, lists: &mut SmallVec<[&'i [u32]; 3]>) {
        if let Some(routes) = self.values.get(text) {
            lists.push(routes);
        }
        // Of all prefixes up to `text` in order, the last one starts with each that `text` starts with.
        let mut next = self.prefixes.partition_point(|prefix| prefix.text.as_str() <= text).checked_sub(1);
        while let Some(prefix) = next.map(|index| &self.prefixes[index]) {
            if text.starts_with(prefix.text.as_str()) {
                lists.push(&prefix.routes);
            }
            next = prefix.parent;
        }
    }
}

impl Prefix {
    fn chain(sorted: BTreeMap<CompactString, Vec<u32>>) -> Vec<Self> {
        let mut chain: Vec<Self> = Vec::with_capacity(sorted.len());
        for (text, routes) in sorted {
            let mut parent = chain.len().checked_sub(1);
            while let Some(index) = parent.filter(|index| !text.starts_with(chain[*index].text.as_str())) {
                parent = chain[index].parent;
            }
            chain.push(Self { text, parent, routes });
        }
        chain
    }
}

/// What `matcher` asks of a value, one of these at least. `None` where it may hold for values that no key tells of.
fn keys<R>(matcher: &Matcher<R>) -> Option<Vec<Key>> {
    match matcher {
        Matcher::Equals(value) => Some(vec![Key::Value(value_key(value)?)]),
        Matcher::Glob(glob) => prefix_key(glob.as_str().split(['*', '?']).next()?),
        Matcher::Prefix(prefix) => prefix_key(prefix),
        Matcher::Any(matchers) => {
            let keys: Option<Vec<Vec<Key>>> = matchers.iter().map(keys).collect();
            Some(keys?.concat())
        }
        Matcher::All(matchers) => matchers.iter().find_map(keys),
        Matcher::Template(_) | Matcher::Exists(_) | Matcher::Not(_) | Matcher::Compare(..) => None,
    }
}

fn prefix_key(text: &str) -> Option<Vec<Key>> {
    (!text.is_empty()).then(|| vec![Key::Prefix(text.into())])
}

/// The text under which a value that equals `value` is looked up.
fn value_key(value: &Scalar) -> Option<CompactString> {
    if matches!(value, Scalar::Int(number) if number.unsigned_abs() >= EXACT.unsigned_abs()) {
        return None;
    }
    let mut key = None;
    with_text(value.as_value(), |text| key = Some(text.into()));
    key
}

/// Calls `then` with the text that all values equal to this one share, where there is such a text.
fn with_text(value: Value<'_>, then: impl FnOnce(&str)) {
    match value {
        Value::Text(text) => then(text),
        Value::Int(number) => then(itoa::Buffer::new().format(number)),
        Value::Bool(value) => then(if value { "true" } else { "false" }),
        Value::Float(number) => {
            if let Some(number) = whole(number) {
                then(itoa::Buffer::new().format(number));
            }
        }
        Value::Absent | Value::List(_) | Value::Object => {}
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "within the bound both are exact")]
fn whole(number: f64) -> Option<i64> {
    (number.fract() == 0.0 && number.abs() < EXACT as f64).then_some(number as i64)
}
