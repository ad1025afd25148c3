//! The table for operators.

use std::fmt::Write as _;
use std::fs;

use pointsman::observe::SHOWN_TENANTS;

use super::exposition::{Family, scrape};
use super::traffic;

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/observe/METRICS.md");

/// So that no metric changes its name, type, labels or meaning by accident, and each is told of.
#[tokio::test]
async fn the_table_tells_of_every_metric_of_a_server_and_of_no_other() {
    let traffic = traffic::start().await;
    let families = traffic.scrape().await;
    for family in &families {
        assert!(!family.samples.is_empty(), "{} says nothing: the traffic here should touch it", family.name);
        check_form(family);
    }
    let expected = table(&families);
    let page = fs::read_to_string(PAGE).unwrap();
    assert!(page.contains(&format!("**Tenants**: {SHOWN_TENANTS} at most")), "it says how many tenants are shown");
    let found: String =
        page.lines().filter(|line| line.starts_with('|')).fold(String::new(), |text, line| text + line + "\n");
    assert!(found == expected, "src/observe/METRICS.md should hold this table:\n\n{expected}\n");
}

/// A metric of which no server here has something to say would be in no scrape.
#[test]
fn every_metric_that_is_registered_is_in_the_table() {
    let page = fs::read_to_string(PAGE).unwrap();
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/observe/metrics");
    let mut registered = 0;
    for file in fs::read_dir(folder).unwrap() {
        let text = fs::read_to_string(file.unwrap().path()).unwrap();
        for call in text.split("r.register").skip(1).filter(|call| !call.starts_with("_collector")) {
            let name = call.split('"').nth(1).unwrap();
            assert!(page.contains(&format!("| `pointsman_{name}")), "`{name}` is not in the table");
            registered += 1;
        }
    }
    assert!(registered > 25, "they are found");
}

#[tokio::test]
async fn what_is_configured_is_called_so() {
    let traffic = traffic::start().await;
    let families = scrape(&traffic.server).await;
    assert_eq!(value(&families, "pointsman_queue_messages_total", "queue"), "pointsman.{instance}");
    assert_eq!(value(&families, "pointsman_config_info", "file"), "pointsman.yaml");
    let hash = value(&families, "pointsman_config_info", "hash");
    assert!(hash.len() == 16 && hash.chars().all(|digit| digit.is_ascii_hexdigit()), "{hash}");
}

#[tokio::test]
async fn a_counter_counts_on_between_scrapes_and_no_series_comes_twice() {
    let traffic = traffic::start().await;
    let (first, second) = (scrape(&traffic.server).await, scrape(&traffic.server).await);
    let counts = |families: Vec<Family>| {
        let counting = families.into_iter().filter(|family| family.kind != "gauge");
        counting
            .flat_map(|family| family.samples)
            .map(|sample| ((sample.name, sample.labels), sample.value))
            .collect::<Vec<_>>()
    };
    let (first, second) = (counts(first), counts(second));
    for (at, (series, before)) in first.iter().enumerate() {
        assert!(first.iter().skip(at + 1).all(|(other, _)| other != series), "{series:?} twice");
        let after = second.iter().find(|(other, _)| other == series);
        assert!(after.is_some_and(|(_, after)| after >= before), "{series:?} was {before} and is {after:?}");
    }
}

fn table(families: &[Family]) -> String {
    let mut table = "| metric | type | labels | meaning |\n| --- | --- | --- | --- |\n".to_owned();
    let mut families: Vec<&Family> = families.iter().collect();
    families.sort_by_key(|family| &family.name);
    for family in families {
        let Family { name, kind, help, .. } = family;
        let labels = family.labels().iter().map(|label| format!("`{label}`")).collect::<Vec<_>>().join(", ");
        writeln!(table, "| `{name}` | {kind} | {labels} | {help} |").unwrap();
    }
    table
}

/// What a label says that is no closed set's.
fn value<'a>(families: &'a [Family], metric: &str, label: &str) -> &'a str {
    let family = families.iter().find(|family| family.name == metric).unwrap();
    &family.samples[0].labels[label]
}

/// The conventions: a prefix, the unit at the end, a sentence.
fn check_form(Family { name, kind, help, .. }: &Family) {
    assert!(name.starts_with("pointsman_") || name.starts_with("process_"), "{name}");
    assert!(name.chars().all(|c| c.is_ascii_lowercase() || c == '_'), "{name}");
    assert!(
        help.ends_with('.') && !help.ends_with("..") && help.starts_with(|c: char| c.is_uppercase() || c == '1'),
        "{name}: {help}"
    );
    assert!(!help.contains('|'), "{name}: {help}");
    if kind == "histogram" {
        assert!(name.ends_with("_seconds") || name.ends_with("_bytes"), "{name}: a histogram says its unit");
    }
    if kind != "counter" {
        assert!(!name.ends_with("_total"), "{name} is a {kind}");
    }
}
