//! By tenant: those that are shown, and the rest.

use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

use super::Metrics;
use crate::event::TenantId;
use crate::observe::tenants::{Reading, Tenants};

/// Bytes of a tenant's name that are shown. Of a longer one, its beginning and a hash.
const LABEL_BYTES: usize = 64;

/// Reads them for each scrape.
#[derive(Debug)]
struct Shown(Tenants);

/// What of a reading is one metric.
type Part = fn(&Reading) -> u64;

pub(super) fn register(r: &mut Registry) -> Tenants {
    let tenants = Tenants::default();
    r.register_collector(Box::new(Shown(tenants.clone())));
    tenants
}

impl Metrics {
    /// What is counted by tenant.
    pub fn tenants(&self) -> &Tenants {
        &self.tenants
    }
}

impl Collector for Shown {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let readings: Vec<(String, Reading)> =
            self.0.read().into_iter().map(|reading| (label(reading.tenant.as_ref()), reading)).collect();
        let counters: [(&str, &str, Part); 3] = [
            ("tenant_events", "Valid events, by tenant.", |reading| reading.events),
            ("tenant_deliveries", "Frames handed to connections, by the tenant of their event.", |reading| {
                reading.deliveries
            }),
            ("tenant_drops", "Events that lanes dropped, by tenant.", |reading| reading.drops),
        ];
        for (name, help, part) in counters {
            let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
            for (label, reading) in &readings {
                ConstCounter::new(part(reading)).encode(metric.encode_family(&[("tenant", label.as_str())])?)?;
            }
        }
        let help = "Authenticated connections, by tenant.";
        let mut metric = encoder.encode_descriptor("tenant_sessions", help, None, MetricType::Gauge)?;
        for (label, reading) in &readings {
            ConstGauge::new(reading.sessions).encode(metric.encode_family(&[("tenant", label.as_str())])?)?;
        }
        Ok(())
    }
}

/// The value of the label `tenant`. The empty one, which no tenant has, is all others and no tenant at all.
///
/// No two tenants have the same: one that is cut has more bytes than any that is not.
fn label(tenant: Option<&TenantId>) -> String {
    let name = tenant.map_or("", TenantId::as_str);
    if name.len() <= LABEL_BYTES {
        return name.to_owned();
    }
    let mut hasher = DefaultHasher::new();
    name.hash(&mut hasher);
    format!("{}…{:016x}", &name[..name.floor_char_boundary(LABEL_BYTES)], hasher.finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(name: &str, expected: &str) {
        assert_eq!(label(TenantId::new(name).as_ref()), expected);
    }

    #[test]
    fn a_label_is_the_name_while_that_is_short_enough() {
        check("", "");
        check("acme", "acme");
        check(&"a".repeat(LABEL_BYTES), &"a".repeat(LABEL_BYTES));
        check("\"}\n\\", "\"}\n\\");
    }

    #[test]
    fn long_names_stay_apart_and_bounded() {
        let names = ["x", "y", "é"].map(|end| TenantId::new("é".repeat(40) + end).unwrap());
        let labels = names.each_ref().map(|name| label(Some(name)));
        assert!(labels[0] != labels[1] && labels[1] != labels[2], "{labels:?}");
        for label in labels {
            assert!(label.starts_with(&"é".repeat(LABEL_BYTES / 2)) && label.len() == LABEL_BYTES + 3 + 16, "{label}");
        }
    }

    #[test]
    fn a_name_cannot_break_out_of_its_label() {
        let metrics = Metrics::new();
        metrics.tenants().joined(&TenantId::new("a\"} 1\nevil{x=\"\\").unwrap());
        let text = metrics.render();
        assert!(text.contains(r#"pointsman_tenant_sessions{tenant="a\"} 1\nevil{x=\"\\"} 1"#), "{text}");
    }
}
