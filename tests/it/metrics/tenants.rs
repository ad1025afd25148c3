//! By tenant: bounded, and adding up.

use std::fmt::Write as _;

use pointsman::observe::SHOWN_TENANTS;
use serde_json::json;

use super::exposition::{Family, Sample, scrape};
use crate::support::client::Client;
use crate::support::server::Server;

const YAML: &str = "
shards: 4
event: { payload: data, tenant: data.tenant }
auth: { providers: [{ tokens: { ann: { user: 1, tenant: 'quote\"d' }, bob: { user: 2, tenant: 'quote\"d' } } }] }
routes:
  - { name: all, when: { data.n: { exists: true } }, to: { tenant: true } }
  - { name: everyone, when: { data.everyone: true }, to: everyone }
";

#[tokio::test]
async fn however_many_tenants_there_are_a_bounded_number_is_shown_and_all_events_are_counted() {
    let server = Server::start(YAML).await;
    let mut ann = Client::session(&server, "ann", &[]).await;
    let _bob = Client::session(&server, "bob", &[]).await;

    let mut body = String::new();
    let mut sent: u32 = 0;
    for tenant in 0..3 * SHOWN_TENANTS {
        for n in 0..=tenant % 7 {
            writeln!(body, "{}", json!({ "data": { "tenant": format!("t{tenant}"), "n": n } })).unwrap();
            sent += 1;
        }
    }
    for n in 0..5 {
        writeln!(body, "{}", json!({ "data": { "tenant": "quote\"d", "n": n } })).unwrap();
        writeln!(body, "{}", json!({ "data": { "tenant": "quote\"d", "unrouted": n } })).unwrap();
        sent += 2;
    }
    writeln!(body, "{}", json!({ "data": { "everyone": true } })).unwrap();
    sent += 1;
    let answer = server.post("/publish", body).await;
    assert_eq!(answer.json(), json!({ "accepted": sent }));
    for _ in 0..6 {
        ann.next_event().await;
    }
    // All are through when each has had its turn.
    server.wait_for_metric("pointsman_drops_total{cause=\"no_route\"}", 5).await;
    server.wait_for_metric("pointsman_routed_events_total{outcome=\"nobody\"}", i64::from(sent) - 11).await;
    server.wait_for_metric("pointsman_deliveries_total", 12).await;

    let families = scrape(&server).await;
    for (name, total, of_quoted) in [
        ("pointsman_tenant_events_total", u64::from(sent), 10),
        // The one for everyone belongs to no tenant.
        ("pointsman_tenant_deliveries_total", 12, 10),
        ("pointsman_tenant_drops_total", 5, 5),
        ("pointsman_tenant_sessions", 2, 2),
    ] {
        let Family { samples, .. } = families.iter().find(|family| family.name == name).unwrap();
        let tenant = |sample: &Sample| sample.labels["tenant"].clone();
        assert_eq!(samples.len(), SHOWN_TENANTS + 1, "{name}");
        assert_eq!(samples.iter().map(Sample::count).sum::<u64>(), total, "{name}");
        let quoted = samples.iter().find(|sample| tenant(sample) == "quote\"d").map(Sample::count);
        assert_eq!(quoted, Some(of_quoted), "{name}");
        assert_eq!(samples.iter().filter(|sample| tenant(sample).is_empty()).count(), 1, "{name}: the rest");
    }
}
