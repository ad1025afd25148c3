use super::*;

#[test]
fn a_tenant_that_waits_for_too_much_loses_its_oldest_events() {
    let mut bench = Bench::new();
    let shed = TENANT_IN_FLIGHT as u64 + 4;
    for id in 0..TENANT_WAITING as u64 + shed {
        bench.offer(Some("acme"), "ask", id);
    }
    assert_eq!(bench.lane.waiting(), TENANT_WAITING);
    assert_eq!(bench.drops(DropCause::tenant_backlog), shed);
    // The first ones that were dropped had asked already; their answers come to nothing, and free their places. The
    // others are not asked about any more.
    let mut answered = 0;
    while !bench.asked.is_empty() {
        bench.answer(0, found());
        answered += 1;
    }
    assert_eq!(answered, TENANT_WAITING + TENANT_IN_FLIGHT);
    assert_eq!(bench.handed_of(Some("acme")), (shed..TENANT_WAITING as u64 + shed).collect::<Vec<_>>());
    assert!(bench.lane.is_idle());
    assert_eq!(bench.lane.waiting_bytes(), 0, "what was dropped takes no room any more");
    assert_eq!(bench.metrics.routed(RoutedOutcome::dropped).get(), shed);
}

#[test]
fn what_stood_behind_a_dropped_event_goes_on() {
    let mut bench = Bench::new();
    bench.offer(Some("acme"), "ask", 0);
    for id in 1..=TENANT_WAITING as u64 {
        bench.offer(Some("acme"), "plain", id);
    }
    assert_eq!(bench.handed_of(Some("acme")), (1..=TENANT_WAITING as u64).collect::<Vec<_>>());
    assert_eq!(bench.drops(DropCause::tenant_backlog), 1);
    assert!(!bench.lane.is_idle(), "a query is under way");
    bench.answer(0, found());
    assert!(bench.lane.is_idle());
}

#[test]
fn a_full_lane_takes_from_the_tenant_with_most_and_from_no_other() {
    let mut bench = Bench::new();
    for id in 0..20 {
        bench.offer(Some("busy"), "ask", id);
    }
    for id in 0..LANE_WAITING as u64 {
        bench.offer(Some(&format_compact!("t{}", id % (LANE_WAITING as u64 / 4))), "ask", 100 + id);
    }
    assert_eq!(bench.lane.waiting(), LANE_WAITING);
    assert_eq!(bench.drops(DropCause::tenant_backlog), 20);
    bench.offer(Some("late"), "plain", 9_999);
    assert_eq!(bench.handed_of(Some("late")), [9_999]);
    while !bench.asked.is_empty() {
        bench.answer(bench.asked.len() / 2, found());
    }
    // The busy one was down to the others' four when the last four had to go: then the oldest of all went, which is
    // its own, and after that the first of those that came after it.
    assert_eq!(bench.handed_of(Some("busy")), [17, 18, 19]);
    assert_eq!(bench.handed.len(), LANE_WAITING + 1);
    assert!(bench.lane.is_idle());
}

#[test]
fn what_is_decided_and_dropped_is_counted_by_route_and_cause() {
    let mut bench = Bench::new();
    bench.offer(Some("acme"), "plain", 1);
    bench.offer(Some("acme"), "nobody", 2);
    bench.offer(Some("acme"), "unrouted", 3);
    bench.offer(Some("acme"), "all", 4);
    bench.offer(None, "plain", 5);
    bench.offer(None, "all", 6);
    bench.offer(Some("acme"), "ask", 7);
    bench.answer(0, failed());
    bench.offer(Some("acme"), "ask", 8);
    bench.answer(0, found());
    for (route, expected) in [("plain", 1), ("nobody", 1), ("all", 1), ("ask", 1), ("twice", 0)] {
        assert_eq!(bench.metrics.decisions(route).get(), expected, "{route}");
    }
    for (cause, expected) in [
        (DropCause::no_route, 1),
        (DropCause::no_tenant, 1),
        (DropCause::everyone_of_a_tenant, 1),
        (DropCause::lookup_failed, 1),
        (DropCause::tenant_backlog, 0),
    ] {
        assert_eq!(bench.drops(cause), expected, "{cause:?}");
    }
    assert_eq!(bench.handed.iter().map(|(_, id)| *id).collect::<Vec<_>>(), [1, 6, 8]);
    assert_eq!(bench.metrics.route_failures("ask", DropCause::lookup_failed).get(), 1);
    assert_eq!(bench.metrics.route_failures("all", DropCause::everyone_of_a_tenant).get(), 1);
    let outcome = |outcome| bench.metrics.routed(outcome).get();
    assert_eq!((outcome(RoutedOutcome::dropped), outcome(RoutedOutcome::nobody)), (4, 1));
    let by_tenant = bench.metrics.tenants().read();
    let by_tenant: Vec<_> = by_tenant.iter().map(|reading| (reading.events, reading.drops)).collect();
    assert_eq!(by_tenant, [(6, 3), (2, 1)], "of the tenant, and of none");
}

#[test]
fn what_waits_long_is_settled_so_that_the_source_goes_on() {
    let mut bench = Bench::new();
    let (settled, mut tags) = tokio::sync::mpsc::channel(1_000);
    for tag in 0..UNSETTLED_WAITING as u64 + 2 {
        bench.offer_with(Some("slow"), "ask", tag, Receipt::new(tag, settled.clone()));
    }
    let mut known = || std::iter::from_fn(|| tags.try_recv().ok()).collect::<Vec<_>>();
    assert_eq!(known(), [UNSETTLED_WAITING as u64, UNSETTLED_WAITING as u64 + 1], "those beyond the bound");
    bench.answer(0, found());
    assert_eq!(known(), [0], "one that was handed over");
    bench.offer_with(Some("slow"), "ask", 900, Receipt::new(900, settled.clone()));
    assert_eq!(known(), [900], "as many wait as before, and more than the bound");
}

#[test]
fn each_event_is_counted_by_the_generation_that_decided_it() {
    let mut bench = Bench::new();
    bench.offer(Some("acme"), "plain", 1);
    bench.rulebook = Arc::new(rulebook_of(Generation(2), &["ask", "plain"]));
    bench.offer(Some("acme"), "plain", 2);
    bench.rulebook = rulebook();
    bench.offer(Some("acme"), "plain", 3);
    assert_eq!(bench.metrics.decisions("plain").get(), 3);
    assert_eq!(bench.metrics.decisions("ask").get(), 0);
}
