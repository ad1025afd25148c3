//! The cost of sessions with many topics, counted in compared entries, not in time.

use std::cell::Cell;

use super::*;

thread_local! {
    static COMPARED: Cell<usize> = const { Cell::new(0) };
}

/// An entry of a list has been compared with what is searched for.
pub(in crate::shard::sessions) fn count() {
    COMPARED.set(COMPARED.get() + 1);
}

/// How many entries this compares.
fn compared(work: impl FnOnce()) -> usize {
    let before = COMPARED.get();
    work();
    COMPARED.get() - before
}

const TOPICS: usize = 2_000;

fn name(number: usize) -> Topic {
    topic(&format!("deal:{number}"))
}

#[test]
fn a_session_does_not_search_all_of_its_topics_for_each_one() {
    let mut sessions = Sessions::default();
    let people = ["1", "2", "3"].map(|user| sessions.admit(0, identity("acme", user, "agent")).0);
    for (index, id) in people.into_iter().enumerate() {
        for again in [false, true] {
            let count = compared(|| (0..TOPICS).for_each(|number| sessions.subscribe(id, name(number))));
            assert!(count <= TOPICS * (index + 1), "session {index} compares {count} entries, again: {again}");
        }
        assert_eq!(sessions.view(id).topics, TOPICS);
    }
    for (index, id) in people.into_iter().enumerate() {
        let count = compared(|| assert!((0..TOPICS).all(|number| sessions.unsubscribe(id, &name(number)))));
        assert!(count <= TOPICS * (people.len() - index), "session {index} compares {count} entries");
    }
    assert_eq!(sessions.subscribed(), 0);
}

#[test]
fn a_session_with_few_topics_does_not_search_a_crowd_for_itself() {
    let mut sessions = Sessions::default();
    let crowd: Vec<SessionId> = (0..TOPICS).map(|_| sessions.admit(0, identity("acme", "1", "agent")).0).collect();
    let count = compared(|| crowd.iter().for_each(|id| sessions.subscribe(*id, name(1))));
    assert_eq!(count, 0, "none of them has a topic yet");
    let count = compared(|| crowd.iter().for_each(|id| assert!(sessions.unsubscribe(*id, &name(1)))));
    assert_eq!(count, TOPICS, "each of them has one");
}

#[test]
fn the_topics_of_an_event_are_found_in_order_and_once_each() {
    let mut sessions = Sessions::default();
    let (id, _) = sessions.admit(0, identity("acme", "1", "agent"));
    for name in ["news", "deal:*", "deal:2", "deal:1", "board:a"] {
        sessions.subscribe(id, topic(name));
    }
    let (tenant, hasher) = (&sessions.tenants[0], &sessions.hasher);
    for (topics, expected) in [
        (&["board:a", "deal:1", "deal:2", "news"][..], &[0, 1, 2, 3, 4][..]),
        (&["deal:2", "deal:1", "deal:2", "deal:3"], &[1, 2, 3]),
        (&["deal:9"], &[1]),
        (&["elsewhere"], &[]),
    ] {
        let topics: Vec<Topic> = topics.iter().map(|name| topic(name)).collect();
        assert_eq!(tenant.named(&topics, hasher).as_slice(), expected, "{topics:?}");
    }
}
