//! Reading what `/metrics` answers.

use std::collections::{BTreeMap, BTreeSet};

use crate::support::server::Server;

/// One metric.
#[derive(Debug, Default)]
pub(super) struct Family {
    /// By which queries know it, but for a histogram, of which they know the parts.
    pub(super) name: String,
    pub(super) kind: String,
    pub(super) help: String,
    pub(super) samples: Vec<Sample>,
}

/// One line.
#[derive(Debug)]
pub(super) struct Sample {
    pub(super) name: String,
    pub(super) labels: BTreeMap<String, String>,
    pub(super) value: f64,
}

impl Sample {
    /// Its value, which must be a count.
    pub(super) fn count(&self) -> u64 {
        self.value.to_string().parse().unwrap_or_else(|_| panic!("{self:?} is no count"))
    }
}

impl Family {
    /// The labels of its samples, but for a bucket's bound.
    pub(super) fn labels(&self) -> BTreeSet<&str> {
        let names = self.samples.iter().flat_map(|sample| sample.labels.keys());
        names.map(String::as_str).filter(|name| *name != "le").collect()
    }
}

/// All metrics, in their order.
pub(super) async fn scrape(server: &Server) -> Vec<Family> {
    let answer = server.get("/metrics").await;
    assert_eq!(answer.status, 200);
    parse(&answer.body)
}

fn parse(text: &str) -> Vec<Family> {
    let mut families: Vec<Family> = Vec::new();
    let body = text.strip_suffix("# EOF\n").expect("it ends with its mark");
    for line in body.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').unwrap();
            families.push(Family { name: name.into(), help: help.into(), ..Family::default() });
            continue;
        }
        let family = families.last_mut().expect("a metric begins with its HELP");
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let kind = rest.strip_prefix(&family.name).unwrap_or_else(|| panic!("{line} after {}", family.name));
            kind.trim().clone_into(&mut family.kind);
        } else if let Some(rest) = line.strip_prefix("# UNIT ") {
            let (name, unit) = rest.split_once(' ').unwrap();
            assert!(name == family.name && name.ends_with(unit), "{line} after {}", family.name);
        } else {
            let sample = sample(line);
            assert!(sample.name.starts_with(&family.name), "{line} after {}", family.name);
            family.samples.push(sample);
        }
    }
    for family in &mut families {
        match family.kind.as_str() {
            "counter" => family.name += "_total",
            "info" => family.name += "_info",
            "gauge" | "histogram" => {}
            other => panic!("{} is a {other}", family.name),
        }
    }
    families
}

fn sample(line: &str) -> Sample {
    let end = line.find(['{', ' ']).unwrap();
    let (name, mut rest) = line.split_at(end);
    let mut labels = BTreeMap::new();
    if let Some(inner) = rest.strip_prefix('{') {
        rest = inner;
        while !rest.starts_with('}') {
            let (label, after) = rest.split_once("=\"").unwrap_or_else(|| panic!("no label in {line}"));
            let (value, after) = text(after);
            assert!(labels.insert(label.to_owned(), value).is_none(), "`{label}` twice in {line}");
            rest = after.strip_prefix(',').unwrap_or(after);
        }
        rest = &rest[1..];
    }
    let value = rest.trim().parse().unwrap_or_else(|_| panic!("no value in {line}"));
    Sample { name: name.to_owned(), labels, value }
}

/// A label's value up to its closing quote, and what comes after that.
fn text(rest: &str) -> (String, &str) {
    let mut value = String::new();
    let mut characters = rest.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return (value, &rest[at + 1..]),
            '\\' => match characters.next().expect("something is escaped").1 {
                'n' => value.push('\n'),
                escaped => value.push(escaped),
            },
            other => value.push(other),
        }
    }
    panic!("no end of {rest}")
}
