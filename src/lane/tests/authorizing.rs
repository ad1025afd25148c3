use super::*;
use crate::auth::Attributes;
use crate::event::{Topic, UserId};
use crate::shard::{ConnectionKey, ShardId};

pub(super) fn request(index: u32, topics: &[&str]) -> AuthorizeRequest {
    AuthorizeRequest {
        shard: ShardId::new(0),
        connection: ConnectionKey { index, generation: 0 },
        user: UserId::new("7").unwrap(),
        tenant: TenantId::new("acme").unwrap(),
        attributes: Arc::new(Attributes::default()),
        topics: topics.iter().map(|topic| Topic::new(*topic).unwrap()).collect(),
    }
}

impl Bench {
    fn authorize(&mut self, request: AuthorizeRequest) {
        let mut effects = Vec::new();
        let rulebook = Arc::clone(&self.rulebook);
        self.lane.authorize(request, &rulebook, &mut effects);
        self.take(effects);
    }

    /// Who was answered, and what, in order.
    fn answers(&self) -> Vec<(u32, String)> {
        let said = self.authorized.iter().map(|effect| match effect {
            Effect::Authorized { connection, verdicts, .. } => {
                let verdicts: Vec<String> =
                    verdicts.iter().map(|(topic, verdict)| format!("{topic} {verdict:?}")).collect();
                (connection.index, verdicts.join(", "))
            }
            other => panic!("{other:?}"),
        });
        said.collect()
    }
}

#[test]
fn a_request_is_answered_once_all_its_topics_are_known_and_in_their_order() {
    let mut bench = Bench::new();
    bench.authorize(request(1, &["ask:1", "free:2", "ask:3", "other", "ask:4"]));
    bench.authorize(request(2, &["free:1"]));
    assert_eq!(bench.answers(), [(2, "free:1 Allowed".to_owned())]);
    let none = Ok(Arc::new(Rows::default()));
    bench.answer(2, failed());
    bench.answer(0, found());
    assert_eq!(bench.answers().len(), 1);
    assert!(!bench.lane.is_idle());
    bench.answer(0, none);
    let expected = "ask:1 Allowed, free:2 Allowed, ask:3 Denied, other Denied, ask:4 Unavailable";
    assert_eq!(bench.answers()[1], (1, expected.to_owned()));
    assert!(bench.lane.is_idle());
}

#[test]
fn events_do_not_wait_for_requests_nor_requests_for_events() {
    let mut bench = Bench::new();
    bench.authorize(request(1, &["ask:1"]));
    bench.offer(Some("acme"), "plain", 1);
    assert_eq!(bench.handed_of(Some("acme")), [1]);
    bench.offer(Some("acme"), "ask", 2);
    bench.authorize(request(2, &["free:1"]));
    bench.answer(0, found());
    assert_eq!(bench.answers().len(), 2);
}

#[test]
fn queries_for_topics_are_bounded_and_the_rest_wait_their_turn() {
    let mut bench = Bench::new();
    let mut taken = 0;
    while bench.lane.takes_requests() {
        taken += 1;
        bench.authorize(request(taken, &["ask:1", "ask:2"]));
    }
    assert_eq!(bench.asked.len(), AUTHORIZE_IN_FLIGHT);
    assert_eq!(2 * taken as usize, AUTHORIZE_IN_FLIGHT + AUTHORIZE_WAITING);
    bench.answer(7, found());
    assert_eq!(bench.asked.len(), AUTHORIZE_IN_FLIGHT);
    assert!(bench.lane.takes_requests());
    while !bench.asked.is_empty() {
        bench.answer(bench.asked.len() - 1, found());
    }
    let mut answered: Vec<u32> = bench.answers().into_iter().map(|(index, _)| index).collect();
    answered.sort_unstable();
    assert_eq!(answered, (1..=taken).collect::<Vec<_>>());
}
