//! For whom a plugin takes so long that its calls are not run on the lane: without plugins and clock.
//!
//! A run that takes long holds up all tenants of the lane. So whoever caused one owes the lane: for a hundred times as long,
//! the plugin is called elsewhere for that tenant. Where one plugin takes long for tenant after tenant, it is called elsewhere
//! for all.
//!
//! Invariant: a tenant takes the lane a hundredth of the time by long runs, and a plugin a fiftieth, beside what each
//! took before it was known.

use std::time::{Duration, Instant};

use hashbrown::HashMap;

use crate::event::TenantId;

/// A run that takes longer is long. Most take some microseconds.
pub(super) const LONG: Duration = Duration::from_millis(1);
/// How many times as long as its runs took a tenant is a suspect.
const TENANT: u32 = 100;
/// How many times as long as its runs took a plugin owes the lane...
const PLUGIN: u32 = 50;
/// ...of which one run adds half of this at most, and from this on it is a suspect, whoever's calls they are.
const OWES: Duration = Duration::from_secs(2);
/// At most so long after the last run that was long.
const LONGEST: Duration = Duration::from_secs(30);
/// Tenants that are known. Where more are suspects, all are.
const KNOWN: usize = 1_024;

/// For whom a plugin's calls are run elsewhere.
#[derive(Debug, Default)]
pub(super) struct Suspects {
    /// Until when.
    tenants: HashMap<TenantId, Instant>,
    /// Until when the plugin owes the lane something.
    owes: Option<Instant>,
}

impl Suspects {
    /// Whether the call of this tenant is to be run elsewhere.
    pub(super) fn has(&self, tenant: &TenantId, now: Instant) -> bool {
        self.owes.is_some_and(|until| until > now + OWES)
            || (!self.tenants.is_empty() && self.tenants.get(tenant).is_some_and(|until| *until > now))
    }

    /// A run for this tenant took long: the lane's time, or that of somebody else. Whether the tenant has become a suspect
    /// by this.
    pub(super) fn took(&mut self, tenant: &TenantId, took: Duration, on_lane: bool, now: Instant) -> bool {
        let until = now + (took * TENANT).min(LONGEST);
        if on_lane {
            let owes = self.owes.filter(|owes| *owes > now).unwrap_or(now);
            self.owes = Some((owes + (took * PLUGIN).min(OWES / 2)).min(now + LONGEST));
        }
        if let Some(known) = self.tenants.get_mut(tenant) {
            let is_new = *known <= now;
            *known = until.max(*known);
            return is_new;
        }
        if self.tenants.len() == KNOWN {
            self.tenants.retain(|_, until| *until > now);
        }
        if self.tenants.len() == KNOWN {
            self.owes = Some(now + LONGEST);
            return false;
        }
        self.tenants.insert(tenant.clone(), until);
        true
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a test is an edge")]
mod tests {
    use super::*;

    const RUN: Duration = Duration::from_millis(10);

    fn tenant(number: usize) -> TenantId {
        TenantId::new(format!("t{number}")).unwrap()
    }

    #[test]
    fn a_tenant_is_a_suspect_for_a_hundred_times_what_it_took() {
        let (mut suspects, start) = (Suspects::default(), Instant::now());
        let has = |suspects: &Suspects, number, ms| suspects.has(&tenant(number), start + Duration::from_millis(ms));
        assert!(!has(&suspects, 0, 0));
        assert!(suspects.took(&tenant(0), RUN, true, start));
        assert_eq!([0, 999, 1_000].map(|ms| has(&suspects, 0, ms)), [true, true, false]);
        assert!(!has(&suspects, 1, 0));
        // As long as it goes on, wherever that is.
        assert!(!suspects.took(&tenant(0), RUN, false, start + RUN));
        assert_eq!([1_000, 1_009, 1_010].map(|ms| has(&suspects, 0, ms)), [true, true, false]);
        assert!(suspects.took(&tenant(0), Duration::from_hours(1), true, start + Duration::from_secs(2)));
        assert!(!has(&suspects, 0, 32_000));
    }

    #[test]
    fn a_plugin_is_a_suspect_where_it_takes_long_for_tenant_after_tenant() {
        let (mut suspects, start) = (Suspects::default(), Instant::now());
        let mut on_lane = 0_u32;
        // Whoever comes is another one, for a minute.
        let mut now = start;
        for number in 0..60_000 {
            now += Duration::from_millis(1);
            if !suspects.has(&tenant(number), now) {
                suspects.took(&tenant(number), RUN, true, now);
                on_lane += 1;
                now += RUN;
            }
        }
        let (taken, all) = (RUN * on_lane, now - start);
        assert!(taken <= all / 50 + 5 * RUN, "{taken:?} of {all:?}");
        assert!(suspects.tenants.len() <= KNOWN);
    }

    #[test]
    fn suspects_who_are_too_many_are_not_told_apart() {
        let (mut suspects, now) = (Suspects::default(), Instant::now());
        for number in 0..=KNOWN {
            suspects.took(&tenant(number), RUN, false, now);
        }
        assert!(suspects.has(&tenant(2 * KNOWN), now));
        assert!(!suspects.has(&tenant(2 * KNOWN), now + LONGEST));
    }
}
