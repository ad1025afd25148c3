//! As much of PromQL as is needed to know what a query asks for.

use std::collections::BTreeSet;

/// What a query names.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Asked {
    /// Each metric, with the labels that its own matchers name.
    pub(super) metrics: Vec<(String, BTreeSet<String>)>,
    /// Labels by which results are grouped and joined.
    pub(super) grouped: BTreeSet<String>,
}

#[derive(Debug, PartialEq)]
enum Token<'a> {
    Name(&'a str),
    /// `[5m]`, a number, a string.
    Value,
    Sign(char),
}

/// Words that stand before a list of labels.
const LISTS: [&str; 6] = ["by", "without", "on", "ignoring", "group_left", "group_right"];
const WORDS: [&str; 7] = ["and", "or", "unless", "bool", "offset", "inf", "nan"];

/// What this query names. It must be one: that is for Prometheus to say.
pub(super) fn asked(query: &str) -> Asked {
    let tokens = tokens(query);
    let mut asked = Asked::default();
    let mut at = 0;
    while at < tokens.len() {
        let next = tokens.get(at + 1);
        match tokens[at] {
            Token::Name(word) if LISTS.contains(&word) => {
                at += 1;
                if next == Some(&Token::Sign('(')) {
                    at += 1 + names(&tokens[at + 1..], ')', &mut asked.grouped);
                }
            }
            Token::Name(word) if WORDS.contains(&word) || next == Some(&Token::Sign('(')) => at += 1,
            Token::Name(metric) => {
                let mut labels = BTreeSet::new();
                at += 1;
                // An aggregation may have its labels before what it is of: `sum by (a) (b)`.
                if next == Some(&Token::Sign('{')) {
                    at += 1 + names(&tokens[at + 1..], '}', &mut labels);
                }
                let aggregates = matches!(next, Some(Token::Name(word)) if LISTS.contains(word));
                if !(aggregates && is_aggregation(metric)) {
                    asked.metrics.push((metric.to_owned(), labels));
                }
            }
            _ => at += 1,
        }
    }
    asked
}

fn is_aggregation(word: &str) -> bool {
    ["sum", "min", "max", "avg", "count", "topk", "bottomk", "stddev", "group", "quantile"].contains(&word)
}

/// The names up to this sign. Answers how many tokens those are, with the sign.
fn names(tokens: &[Token<'_>], end: char, found: &mut BTreeSet<String>) -> usize {
    let length = tokens.iter().position(|token| *token == Token::Sign(end)).expect("the list ends");
    for token in &tokens[..length] {
        if let Token::Name(name) = token {
            found.insert((*name).to_owned());
        }
    }
    length + 1
}

fn tokens(query: &str) -> Vec<Token<'_>> {
    let mut tokens = Vec::new();
    let mut rest = query.trim_start();
    while let Some(first) = rest.chars().next() {
        let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
        let length = match first {
            '"' => 2 + rest[1..].find('"').expect("a string ends"),
            '[' => 1 + rest.find(']').expect("a range ends"),
            c if is_part(c) => rest.find(|c: char| !is_part(c)).unwrap_or(rest.len()),
            c => c.len_utf8(),
        };
        let (token, after) = rest.split_at(length);
        tokens.push(match first {
            '"' | '[' => Token::Value,
            c if c.is_ascii_digit() => Token::Value,
            c if is_part(c) => Token::Name(token),
            c => Token::Sign(c),
        });
        rest = after.trim_start();
    }
    tokens
}

fn check(query: &str, metrics: &[(&str, &[&str])], grouped: &[&str]) {
    let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>();
    let metrics = metrics.iter().map(|(name, labels)| ((*name).to_owned(), owned(labels))).collect();
    assert_eq!(asked(query), Asked { metrics, grouped: owned(grouped) }, "{query}");
}

#[test]
fn metrics_and_labels_are_found_in_queries() {
    check("a_b", &[("a_b", &[])], &[]);
    check("rate(a_total{x=\"1\", y!~\"}{\"}[5m])", &[("a_total", &["x", "y"])], &[]);
    check("sum by (x, le) (rate(a[1m])) > 0.5", &[("a", &[])], &["x", "le"]);
    check("sum(a) by (x) / 2", &[("a", &[])], &["x"]);
    check("a == 0 and on (i) count by (i) (b{c=\"d\"})", &[("a", &[]), ("b", &["c"])], &["i"]);
    check("a * on (x) group_left (v) b offset 5m", &[("a", &[]), ("b", &[])], &["x", "v"]);
    check("histogram_quantile(0.99, sum by (le) (rate(a_bucket[5m])))", &[("a_bucket", &[])], &["le"]);
    check("1 - a{} / b", &[("a", &[]), ("b", &[])], &[]);
}
