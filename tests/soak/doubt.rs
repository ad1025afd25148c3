//! Whether the ledger sees what it is there for: a soak that finds nothing proves nothing if its judge is blind.

use std::time::Duration;

use tokio::time::Instant;

use crate::cast::{Queue, UserSet};
use crate::ledger::{Change, Event, Fate, Ledger, Number, Part, Session, Target, Window};

/// Of a tenant whose events take the queue that is lost with a connection, and of one whose events outlive it.
const LIVE: u8 = 0;
const KEPT: u8 = 7;

/// Holds cases against what must be made of them: one event a second for one who is there from the beginning.
pub(crate) fn check_the_judge() {
    assert_eq!((Queue::of(LIVE), Queue::of(KEPT)), (Queue::Live, Queue::Kept));
    let stranger = Target::User(2);
    // The tenant, the events, those that came: and how many were owed, excused, lost, and strayed.
    check(LIVE, &[Target::Tenant; 3], &[0, 1, 2], [3, 0, 0, 0]);
    check(LIVE, &[Target::Tenant; 3], &[0, 2], [3, 0, 1, 0]);
    check(LIVE, &[Target::User(1), stranger, Target::Topic(5), Target::Topic(6)], &[0], [2, 0, 1, 0]);
    check(LIVE, &[stranger, Target::Topic(6)], &[0, 1], [0, 0, 0, 2]);
    check(LIVE, &[Target::Tenant], &[0, 4], [1, 0, 0, 1]);
    // The broker is at fault at the 10th second, the database at the 20th.
    check(LIVE, &[Target::Tenant; 15], &(0..9).chain(12..15).collect::<Vec<_>>(), [12, 3, 0, 0]);
    check(KEPT, &[Target::Tenant; 15], &(0..9).chain(12..15).collect::<Vec<_>>(), [15, 0, 3, 0]);
    check(KEPT, &[Target::Everyone; 15], &(0..9).chain(12..15).collect::<Vec<_>>(), [12, 3, 0, 0]);
    let seen = UserSet::initial(KEPT, 0).has(1);
    assert!(seen, "this user may see this record at the beginning");
    check(KEPT, &[Target::Record(0); 24], &(0..17).chain(22..24).collect::<Vec<_>>(), [19, 5, 0, 0]);
    // What waits at the broker for eight seconds is asked about when the database is away.
    let both = [(Part::Broker, 10, 18), (Part::Database, 17, 18)];
    let came: Vec<_> = (0..9).chain(19..24).collect();
    check_in(&both, KEPT, &[Target::Record(0); 24], &came, [14, 10, 0, 0]);
    check_in(&both[1..], KEPT, &[Target::Record(0); 24], &came, [19, 5, 5, 0]);
    // The right to it is taken at the 29th second, and that is told by event 30.
    let mut events = [Target::Record(0); 34];
    events[30] = Target::Forget(0);
    let before: Vec<_> = (0..17).chain(22..30).collect();
    check(KEPT, &events, &before, [23, 5, 0, 0]);
    check(KEPT, &events, &[before, vec![31]].concat(), [23, 5, 0, 1]);
}

fn check(tenant: u8, targets: &[Target], got: &[Number], expected: [u64; 4]) {
    check_in(&[(Part::Broker, 10, 11), (Part::Database, 20, 21)], tenant, targets, got, expected);
}

/// With these faults, from and to a second.
fn check_in(faults: &[(Part, u32, u32)], tenant: u8, targets: &[Target], got: &[Number], expected: [u64; 4]) {
    let begun = Instant::now();
    let at = |second: u32| begun + Duration::from_secs(second.into());
    let event = |(second, target): (u32, &Target)| Event {
        tenant,
        target: *target,
        published: at(second),
        fate: Fate::Confirmed,
    };
    let window = |&(part, from, to): &(Part, u32, u32)| Window { part, from: at(from), to: at(to) };
    let told = (targets.len() > 30).then_some(30);
    let users = UserSet::initial(tenant, 0).without(1);
    let ledger = Ledger {
        events: (0..).zip(targets).map(event).collect(),
        changes: vec![Change { tenant, record: 0, begun: at(29) + Duration::from_millis(500), told, users }],
        windows: faults.iter().map(window).collect(),
        sessions: vec![Session {
            name: "somebody".to_owned(),
            tenant,
            user: 1,
            topics: vec![5],
            entered: begun,
            left: None,
            reads: true,
            got: got.to_vec(),
        }],
    };
    let verdict = ledger.audit(begun);
    let found = [verdict.owed, verdict.excused, verdict.lost, verdict.strayed];
    assert_eq!(found, expected, "tenant {tenant} got {got:?} of {targets:?}: {:#?}", verdict.told);
}
