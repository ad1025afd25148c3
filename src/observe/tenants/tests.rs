use std::time::{Duration, Instant};

use hashbrown::HashMap;
use proptest::prelude::*;

use super::*;

fn tenant(number: usize) -> TenantId {
    TenantId::new(format!("t{number}")).unwrap()
}

fn events(tenants: &Tenants, name: Option<usize>) -> Option<u64> {
    let name = name.map(tenant);
    tenants.read().into_iter().find(|reading| reading.tenant == name).map(|reading| reading.events)
}

#[expect(clippy::disallowed_methods, reason = "a beginning of time")]
fn start() -> Instant {
    Instant::now()
}

#[test]
fn the_first_are_shown_and_all_others_are_counted_together() {
    let (tenants, now) = (Tenants::default(), start());
    let mut tally = tenants.tally();
    for number in 0..3 * SHOWN_TENANTS {
        for _ in 0..=number {
            let account = tally.event(Some(&tenant(number)), now);
            account.delivered(2);
            account.dropped();
        }
    }
    tally.event(None, now);
    let readings = tenants.read();
    assert_eq!(readings.len(), SHOWN_TENANTS + 1);
    let all = (1..=3 * SHOWN_TENANTS as u64).sum::<u64>();
    assert_eq!(readings.iter().map(|reading| reading.events).sum::<u64>(), all + 1);
    assert_eq!(readings.iter().map(|reading| reading.deliveries).sum::<u64>(), all * 2);
    assert_eq!(readings.iter().map(|reading| reading.drops).sum::<u64>(), all);
    assert_eq!(events(&tenants, Some(6)), Some(7));
    assert_eq!(events(&tenants, Some(SHOWN_TENANTS)), None);
}

#[test]
fn a_busier_tenant_takes_the_place_of_the_least_busy_one() {
    let (tenants, mut now) = (Tenants::default(), start());
    let mut tally = tenants.tally();
    let mut period = |newcomer: usize| {
        for number in 0..SHOWN_TENANTS {
            for _ in 0..10 + number {
                tally.event(Some(&tenant(number)), now);
            }
        }
        for _ in 0..newcomer {
            tally.event(Some(&tenant(1000)), now);
        }
        now += PERIOD;
    };
    period(0);
    // About as busy: nobody has to go.
    period(15);
    period(15);
    period(15);
    assert_eq!(events(&tenants, Some(1000)), None);
    // More than twice as busy.
    period(25);
    period(25);
    period(0);
    assert_eq!(events(&tenants, Some(0)), None, "the least busy one has gone");
    assert_eq!(events(&tenants, Some(1000)), Some(25), "it is counted from when it is shown");
    assert_eq!(events(&tenants, None), Some(15 * 3 + 25 + 10 + 10), "what was counted together stays there");
}

#[test]
fn sessions_are_counted_whoever_is_shown() {
    let tenants = Tenants::default();
    for number in 0..SHOWN_TENANTS + 10 {
        tenants.joined(&tenant(number));
        tenants.joined(&tenant(number));
    }
    let sessions = |name: Option<usize>| {
        let name = name.map(tenant);
        tenants.read().into_iter().find(|reading| reading.tenant == name).map(|reading| reading.sessions)
    };
    assert_eq!((sessions(Some(0)), sessions(None)), (Some(2), Some(20)));
    for number in 0..SHOWN_TENANTS + 10 {
        tenants.left(&tenant(number));
    }
    assert_eq!((sessions(Some(0)), sessions(None)), (Some(1), Some(10)));
    for number in 0..SHOWN_TENANTS + 10 {
        tenants.left(&tenant(number));
        // One more than there were: does nothing.
        tenants.left(&tenant(number));
    }
    assert_eq!((sessions(Some(0)), sessions(None)), (Some(0), Some(0)));
    assert!(tenants.state().sessions.is_empty());
}

proptest! {
    /// Two lanes, each with tenants of its own, over several periods.
    #[test]
    fn series_never_decrease_and_nothing_is_counted_twice(
        steps in prop::collection::vec((0_usize..4 * SHOWN_TENANTS, 1_usize..20, 0_u64..20), 1..400),
    ) {
        let (tenants, mut now) = (Tenants::default(), start());
        let mut lanes = [tenants.tally(), tenants.tally()];
        let mut before: HashMap<Option<TenantId>, u64> = HashMap::new();
        let (mut sent, mut gone) = (0, 0);
        for (number, times, seconds) in steps {
            // Half of the tenants are far busier.
            let times = if number % 2 == 0 { times * 5 } else { times };
            for _ in 0..times {
                lanes[number % 2].event(Some(&tenant(number)), now);
            }
            sent += times as u64;
            now += Duration::from_secs(seconds);
            let readings = tenants.read();
            prop_assert!(readings.len() <= SHOWN_TENANTS + 1);
            let after: HashMap<_, _> = readings.into_iter().map(|reading| (reading.tenant, reading.events)).collect();
            for (name, events) in &before {
                match after.get(name) {
                    Some(now) => prop_assert!(now >= events, "{name:?} goes back from {events} to {now}"),
                    None => gone += events,
                }
            }
            prop_assert_eq!(after.values().sum::<u64>() + gone, sent);
            before = after;
        }
    }
}
