//! What is built on the metrics, held against a server's own and against a real Prometheus: the dashboard, the alerts.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use serde_json::Value;

use super::exposition::Family;
use super::promql::asked;
use super::traffic;
use crate::support::prometheus::Prometheus;

const ALERTS: &str = "examples/grafana/alerts.yaml";
const DASHBOARD: &str = "examples/grafana/pointsman.json";
/// Labels that Prometheus adds.
const ADDED: [&str; 2] = ["instance", "job"];

/// A query, and what it is for.
#[derive(Debug)]
struct Query {
    place: String,
    text: String,
    /// Labels that the legend of its panel names.
    legend: BTreeSet<String>,
}

#[tokio::test]
async fn every_metric_and_label_that_is_asked_for_is_there() {
    let traffic = traffic::start().await;
    let families = traffic.scrape().await;
    let dashboard = dashboard();
    let queries: Vec<Query> = panel_queries(&dashboard).into_iter().chain(alert_queries()).collect();
    assert!(queries.len() > 40, "there are queries");
    let mut wrong = Vec::new();
    for query in queries.iter().chain(&variable_queries(&dashboard)) {
        wrong.extend(missing(query, &families));
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[tokio::test]
async fn prometheus_reads_the_metrics_and_evaluates_every_query() {
    let traffic = traffic::start().await;
    let alerts = fs::read_to_string(path(ALERTS)).unwrap();
    let prometheus = Prometheus::start(&[traffic.server.admin, traffic.secure.admin], &alerts).await;
    // Rates need to have seen two scrapes.
    prometheus.until_scraped(2).await;
    for query in panel_queries(&dashboard()) {
        let result = prometheus.query(&query.text).await;
        assert!(!result.is_empty(), "{}: nothing comes of `{}`", query.place, query.text);
    }
    for query in alert_queries() {
        prometheus.query(&query.text).await;
    }
    for rule in prometheus.rules().await {
        assert_eq!(rule["health"], "ok", "{rule}");
        // Nothing of this traffic is worth waking somebody for at once.
        assert_ne!(rule["state"], "firing", "{rule}");
    }
}

#[test]
fn each_panel_can_be_read() {
    let dashboard = dashboard();
    let (mut ids, mut titles) = (BTreeSet::new(), BTreeSet::new());
    for panel in panels(&dashboard) {
        let title = panel["title"].as_str().unwrap();
        assert!(ids.insert(panel["id"].as_u64().unwrap()) && titles.insert(title), "`{title}` twice");
        if panel["type"] != "row" {
            assert!(
                panel["description"].as_str().is_some_and(|text| text.ends_with('.')),
                "`{title}` has no description"
            );
            assert!(panel["fieldConfig"]["defaults"]["unit"].is_string(), "`{title}` has no unit");
            assert_eq!(panel["datasource"]["uid"], "${datasource}", "`{title}`");
        }
    }
    let variables: BTreeSet<&str> = dashboard["templating"]["list"]
        .as_array()
        .unwrap()
        .iter()
        .map(|variable| variable["name"].as_str().unwrap())
        .collect();
    assert_eq!(variables, BTreeSet::from(["datasource", "job", "instance"]));
}

/// What of this query a server does not say.
fn missing(query: &Query, families: &[Family]) -> Vec<String> {
    let asked = asked(&query.text);
    let mut wrong = Vec::new();
    let mut known: BTreeSet<&str> = ADDED.into();
    for (metric, matched) in &asked.metrics {
        let Some(family) = families.iter().find(|family| family.samples.iter().any(|sample| sample.name == *metric))
        else {
            wrong.push(format!("{}: there is no `{metric}`", query.place));
            continue;
        };
        let mut labels: BTreeSet<&str> =
            family.samples.iter().flat_map(|sample| sample.labels.keys()).map(String::as_str).collect();
        labels.extend(ADDED);
        for label in matched {
            if !labels.contains(label.as_str()) {
                wrong.push(format!("{}: `{metric}` has no label `{label}`", query.place));
            }
        }
        known.extend(labels);
    }
    for label in asked.grouped.iter().chain(&query.legend) {
        if !known.contains(label.as_str()) {
            wrong.push(format!("{}: no metric of it has a label `{label}`", query.place));
        }
    }
    wrong
}

fn path(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn dashboard() -> Value {
    serde_json::from_str(&fs::read_to_string(path(DASHBOARD)).unwrap()).unwrap()
}

/// All panels, those in rows too.
fn panels(dashboard: &Value) -> Vec<&Value> {
    let top = dashboard["panels"].as_array().expect("panels");
    top.iter()
        .flat_map(|panel| std::iter::once(panel).chain(panel["panels"].as_array().into_iter().flatten()))
        .collect()
}

fn panel_queries(dashboard: &Value) -> Vec<Query> {
    let mut queries = Vec::new();
    for panel in panels(dashboard) {
        for target in panel["targets"].as_array().into_iter().flatten() {
            let place = format!("panel `{}`", panel["title"].as_str().unwrap());
            let legend = target["legendFormat"].as_str().unwrap_or_default();
            let legend = legend
                .split("{{")
                .skip(1)
                .filter_map(|part| part.split_once("}}"))
                .map(|(name, _)| name.trim().to_owned());
            queries.push(Query { place, text: filled(target["expr"].as_str().unwrap()), legend: legend.collect() });
        }
    }
    queries
}

/// `label_values(METRIC{...}, LABEL)` asks as much as a sum by the label does.
fn variable_queries(dashboard: &Value) -> Vec<Query> {
    let variables =
        dashboard["templating"]["list"].as_array().unwrap().iter().filter(|variable| variable["type"] == "query");
    let query = |variable: &Value| {
        let text = variable["definition"].as_str().unwrap();
        let inner = text.strip_prefix("label_values(").and_then(|text| text.strip_suffix(')')).unwrap();
        let (metric, label) = inner.rsplit_once(", ").unwrap();
        let text = filled(&format!("sum by ({label}) ({metric})"));
        Query { place: format!("variable `{}`", variable["name"].as_str().unwrap()), text, legend: BTreeSet::new() }
    };
    variables.map(query).collect()
}

fn alert_queries() -> Vec<Query> {
    let text = fs::read_to_string(path(ALERTS)).unwrap();
    let value = |line: &str, key: &str| {
        line.trim().trim_start_matches("- ").strip_prefix(key).map(|rest| rest.trim().to_owned())
    };
    let names: Vec<String> = text.lines().filter_map(|line| value(line, "alert:")).collect();
    let queries: Vec<String> = text.lines().filter_map(|line| value(line, "expr:")).collect();
    assert_eq!(names.len(), queries.len(), "each alert has its query on one line");
    let query = |(name, text)| Query { place: format!("alert `{name}`"), text, legend: BTreeSet::new() };
    names.into_iter().zip(queries).map(query).collect()
}

/// A query with its variables filled in as Grafana would.
fn filled(query: &str) -> String {
    query.replace("$__rate_interval", "1m").replace("$__range", "5m").replace("$instance", ".*").replace("$job", ".*")
}
