//! `to`: the audience that a `route` hook builds, call by call.
//!
//! Invariant: what a hook can make the program hold is bounded by the bounds below, whatever the machine's memory.

use std::mem;

use compact_str::CompactString;
use mlua::Value;
use smallvec::SmallVec;

use super::Routing;
use super::host::LONGEST_NAME;
use super::json::{self, Writing};
use super::value::{describe, describe_text, list, numeric, scalar, user, user_of};
use crate::event::{AttributeMatch, Clause, Comparison, Matcher, Payload, Scalar, Topic, UserId};

/// Users, topics and values in conditions, of each so many in one call of the hook.
const MOST_NAMES: usize = 10_000;
/// Audiences in one call of the hook.
const MOST_AUDIENCES: usize = 1_000;
/// Bytes of one payload.
const LARGEST_PAYLOAD: usize = 1 << 20;
/// Bytes of all payloads of one call.
const LARGEST_PAYLOADS: usize = 4 << 20;
/// Bytes of a text that a condition compares with, and of a reason.
const LONGEST_TEXT: usize = 1024;

/// What has been said so far.
#[derive(Debug, Default)]
pub(super) struct Builder {
    routing: Routing,
    clause: Clause,
    /// Something says whom the present audience is about.
    is_named: bool,
    users: usize,
    topics: usize,
    values: usize,
    payload_bytes: usize,
}

/// What a method does with its argument. `writing` is how payloads are written.
pub(super) type Method = fn(&mut Builder, value: &Value, writing: Writing<'_>) -> Result<(), String>;

/// The methods of `to`, by name.
pub(super) const METHODS: [(&str, Method); 10] = [
    ("topic", |to, value, _| to.topic(topic(value)?)),
    ("topics", |to, value, _| to.topics(|left| list(value, left, topic))),
    ("user", |to, value, _| to.user(user(value)?)),
    ("users", |to, value, _| to.users(|left| list(value, left, user_or_row))),
    ("tenant", |to, value, _| nothing(value).map(|()| to.is_named = true)),
    ("where", |to, value, _| to.attributes(value)),
    ("except_user", |to, value, _| to.except(value)),
    ("also", |to, value, _| nothing(value).and_then(|()| to.close())),
    ("payload", |to, value, writing| to.pay(value, writing)),
    ("drop", |to, value, _| to.drop_for(value)),
];

/// Methods that are called with a text most of the time: these do the same with it, and cost less.
pub(super) const TEXT_METHODS: [(&str, TextMethod); 2] =
    [("topic", |to, text| to.topic(topic_of(text)?)), ("user", |to, text| to.user(user_of(text)?))];

/// The same of a number.
pub(super) const NUMBER_METHODS: [(&str, NumberMethod); 1] = [("user", |to, number| to.user(user(&numeric(number))?))];

type TextMethod = fn(&mut Builder, &[u8]) -> Result<(), String>;
type NumberMethod = fn(&mut Builder, f64) -> Result<(), String>;

impl Builder {
    /// What the hook has named.
    pub(super) fn finish(mut self) -> Result<Routing, String> {
        if self.routing.dropped.is_some() {
            return Ok(Routing { dropped: self.routing.dropped, ..Routing::default() });
        }
        self.close()?;
        Ok(self.routing)
    }

    /// Ends the present audience. One that nothing was said of is none.
    fn close(&mut self) -> Result<(), String> {
        let clause = mem::take(&mut self.clause);
        if !mem::take(&mut self.is_named) {
            if matches!(clause.payload, Payload::Whole) && clause.except.is_empty() {
                return Ok(());
            }
            // By itself it would be everyone else of the tenant, and a hook that has forgotten a condition says just that.
            return Err("it says of nobody that they get the event; to:tenant() is everyone of the tenant".to_owned());
        }
        let is_nobody = clause.users.as_ref().is_some_and(SmallVec::is_empty)
            || clause.topics.as_ref().is_some_and(SmallVec::is_empty);
        if is_nobody {
            return Ok(());
        }
        if self.routing.clauses.len() == MOST_AUDIENCES {
            return Err(format!("at most {MOST_AUDIENCES} audiences in one call of the hook"));
        }
        self.routing.clauses.push(clause);
        Ok(())
    }

    fn topic(&mut self, topic: Option<Topic>) -> Result<(), String> {
        count(&mut self.topics, 1)?;
        add(&mut self.clause.topics, topic);
        self.is_named = true;
        Ok(())
    }

    fn user(&mut self, user: Option<UserId>) -> Result<(), String> {
        count(&mut self.users, 1)?;
        add(&mut self.clause.users, user);
        self.is_named = true;
        Ok(())
    }

    fn topics(&mut self, read: impl FnOnce(usize) -> Result<SmallVec<[Topic; 1]>, String>) -> Result<(), String> {
        let topics = counted(&mut self.topics, read)?;
        add_all(&mut self.clause.topics, topics);
        self.is_named = true;
        Ok(())
    }

    fn users(&mut self, read: impl FnOnce(usize) -> Result<SmallVec<[UserId; 1]>, String>) -> Result<(), String> {
        let users = counted(&mut self.users, read)?;
        add_all(&mut self.clause.users, users);
        self.is_named = true;
        Ok(())
    }

    /// A field that is not there names nobody to leave out, as in a rule.
    fn except(&mut self, value: &Value) -> Result<(), String> {
        if !value.is_nil() {
            count(&mut self.users, 1)?;
            if let Some(user) = user(value)? {
                self.clause.except.push(user);
            }
        }
        Ok(())
    }

    fn attributes(&mut self, value: &Value) -> Result<(), String> {
        let Value::Table(table) = value else {
            return Err(format!(
                "it takes attributes by name, as {{ role = \"manager\" }}, and this is {}",
                describe(value)
            ));
        };
        let mut conditions = Vec::new();
        for pair in table.pairs::<Value, Value>() {
            let (name, condition) = pair.map_err(|error| error.to_string())?;
            let Ok(Scalar::Text(name)) = scalar(&name) else {
                return Err(format!("an attribute has a name, and this is {}", describe(&name)));
            };
            if name.len() > LONGEST_NAME {
                let length = name.len();
                return Err(format!("an attribute's name is at most {LONGEST_NAME} bytes long, and this has {length}"));
            }
            let matcher =
                matcher(&condition, MOST_NAMES - self.values, 2).map_err(|fault| format!("`{name}`: {fault}"))?;
            self.values = (self.values + values(&matcher)).min(MOST_NAMES);
            conditions.push(AttributeMatch { name, matcher });
        }
        if conditions.is_empty() {
            return Err("there is no condition here".to_owned());
        }
        conditions.sort_unstable_by(|left, right| left.name.cmp(&right.name));
        let before = self.clause.attributes.iter().flat_map(|known| known.iter().cloned());
        self.clause.attributes = Some(before.chain(conditions).collect());
        self.is_named = true;
        Ok(())
    }

    fn pay(&mut self, value: &Value, writing: Writing<'_>) -> Result<(), String> {
        if value.is_nil() {
            return Err("it takes what these sessions get instead of the event's payload, and this is nil".to_owned());
        }
        let text = json::write(
            value,
            Writing { most: LARGEST_PAYLOAD.min(LARGEST_PAYLOADS - self.payload_bytes), ..writing },
        )?;
        self.payload_bytes += text.len();
        self.clause.payload = Payload::Own(text.into());
        Ok(())
    }

    fn drop_for(&mut self, value: &Value) -> Result<(), String> {
        let reason = match value {
            Value::Nil => CompactString::default(),
            value => match scalar(value) {
                Ok(Scalar::Text(reason)) if reason.len() <= LONGEST_TEXT => reason,
                _ => {
                    return Err(format!(
                        "a reason is a text of at most {LONGEST_TEXT} bytes, and this is {}",
                        describe(value)
                    ));
                }
            },
        };
        self.routing.dropped = Some(reason);
        Ok(())
    }
}

/// Reads some more names, within what is left of them.
fn counted<T>(
    known: &mut usize,
    read: impl FnOnce(usize) -> Result<SmallVec<[T; 1]>, String>,
) -> Result<SmallVec<[T; 1]>, String> {
    let read = read(MOST_NAMES - *known)?;
    count(known, read.len())?;
    Ok(read)
}

fn count(known: &mut usize, more: usize) -> Result<(), String> {
    if *known + more > MOST_NAMES {
        return Err(format!("at most {MOST_NAMES} in one call of the hook"));
    }
    *known += more;
    Ok(())
}

/// Adds a name. Without one, the audience is still about such names, and maybe about none.
fn add<T>(to: &mut Option<SmallVec<[T; 1]>>, one: Option<T>) {
    let Some(one) = one else {
        to.get_or_insert_default();
        return;
    };
    match to {
        Some(known) => {
            if known.len() == 1 {
                // Where there are two, there are more.
                known.reserve(3);
            }
            known.push(one);
        }
        None => *to = Some(SmallVec::from_buf([one])),
    }
}

fn add_all<T>(to: &mut Option<SmallVec<[T; 1]>>, more: SmallVec<[T; 1]>) {
    match to {
        Some(known) => known.extend(more),
        None => *to = Some(more),
    }
}

fn nothing(value: &Value) -> Result<(), String> {
    if value.is_nil() { Ok(()) } else { Err(format!("it takes nothing, and this is {}", describe(value))) }
}

/// The topic that a value names. `None` for a scalar that is not a topic: as in a rule, it names nobody.
fn topic(value: &Value) -> Result<Option<Topic>, String> {
    if let Value::String(text) = value {
        return topic_of(&text.as_bytes());
    }
    let scalar = scalar(value).map_err(|what| no_topic(&what))?;
    Ok(scalar.as_value().text().and_then(|text| Topic::new(text).ok()))
}

fn topic_of(text: &[u8]) -> Result<Option<Topic>, String> {
    if text.len() > Topic::MAX_BYTES {
        return Ok(None);
    }
    str::from_utf8(text).map(|text| Topic::new(text).ok()).map_err(|_| no_topic(&describe_text(text)))
}

fn no_topic(what: &str) -> String {
    format!("a topic is a text, and this is {what}")
}

/// A user by their id, or by a row of one column. The row is empty if the column is null.
fn user_or_row(value: &Value) -> Result<Option<UserId>, String> {
    let Value::Table(row) = value else { return user(value) };
    let mut columns = row.pairs::<Value, Value>().filter_map(Result::ok).map(|(_, value)| value);
    match (columns.next(), columns.next()) {
        (None, _) => Ok(None),
        (Some(id), None) => user(&id),
        _ => Err("a list of users has ids, or rows of one column each".to_owned()),
    }
}

/// What a condition says: a value, a list of them, or `exists`, `not`, `prefix`, `gt`, `gte`, `lt`, `lte`.
fn matcher(value: &Value, most: usize, levels: u8) -> Result<Matcher, String> {
    let Value::Table(table) = value else { return Ok(Matcher::from_scalar(compared(value)?)) };
    if table.raw_len() > 0 {
        return list(value, most, |item| Ok(Some(Matcher::from_scalar(compared(item)?))))
            .map(|all| Matcher::Any(all.into_vec()));
    }
    let mut all = Vec::new();
    for pair in table.pairs::<Value, Value>() {
        let (key, value) = pair.map_err(|error| error.to_string())?;
        let key = key.as_string().and_then(|key| key.to_str().ok()).map(|key| key.to_owned()).unwrap_or_default();
        let number = || match value {
            #[expect(clippy::cast_precision_loss, reason = "a bound beyond 2^53 is a bound all the same")]
            Value::Integer(number) => Ok(number as f64),
            Value::Number(number) => Ok(number),
            _ => Err(format!("`{key}` takes a number, and this is {}", describe(&value))),
        };
        all.push(match (key.as_str(), &value) {
            ("exists", Value::Boolean(expected)) => Matcher::Exists(*expected),
            ("not", inner) if levels > 0 => Matcher::Not(Box::new(matcher(inner, most, levels - 1)?)),
            ("prefix", Value::String(_)) => match compared(&value)? {
                Scalar::Text(text) => Matcher::Prefix(text),
                _ => return Err("`prefix` takes a text".to_owned()),
            },
            ("gt", _) => Matcher::Compare(Comparison::Greater, number()?),
            ("gte", _) => Matcher::Compare(Comparison::GreaterOrEqual, number()?),
            ("lt", _) => Matcher::Compare(Comparison::Less, number()?),
            ("lte", _) => Matcher::Compare(Comparison::LessOrEqual, number()?),
            _ => return Err(format!("`{key}` is no condition: exists, not, prefix, gt, gte, lt and lte are")),
        });
    }
    if all.len() == 1 { Ok(all.remove(0)) } else { Ok(Matcher::All(all)) }
}

fn compared(value: &Value) -> Result<Scalar, String> {
    match scalar(value) {
        Ok(Scalar::Text(text)) if text.len() > LONGEST_TEXT => {
            Err(format!("it compares with at most {LONGEST_TEXT} bytes, and this is {}", describe(value)))
        }
        Ok(scalar) => Ok(scalar),
        Err(what) => Err(format!("it compares with a value or a list of them, and this is {what}")),
    }
}

fn values(matcher: &Matcher) -> usize {
    match matcher {
        Matcher::Any(all) | Matcher::All(all) => all.iter().map(values).sum(),
        Matcher::Not(inner) => values(inner),
        _ => 1,
    }
}
