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
        has_them: false,
    }
}

impl Bench {
    pub(super) fn authorize(&mut self, request: AuthorizeRequest) {
        let mut effects = Vec::new();
        let rulebook = Arc::clone(&self.rulebook);
        self.lane.authorize(request, &rulebook, self.now, &mut effects);
        self.take(effects);
    }

    /// Who was answered, and what, in order.
    pub(super) fn answers(&self) -> Vec<(u32, String)> {
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
fn a_tenant_asks_in_its_turn_and_for_no_more_than_its_share() {
    let mut bench = Bench::new();
    let of = |tenant: &str, index: u32| AuthorizeRequest {
        tenant: TenantId::new(tenant).unwrap(),
        ..request(index, &["ask:1", "ask:2"])
    };
    let greedy = u32::try_from(usize::midpoint(AUTHORIZE_TENANT_IN_FLIGHT, AUTHORIZE_TENANT_WAITING)).unwrap();
    for index in 1..=greedy {
        bench.authorize(of("acme", index));
    }
    assert_eq!((bench.asked.len(), bench.answers().len()), (AUTHORIZE_TENANT_IN_FLIGHT, 0));
    bench.authorize(of("acme", 9_999));
    assert_eq!(bench.answers(), [(9_999, "ask:1 Unavailable, ask:2 Unavailable".to_owned())]);
    // Another's is asked at once, and answered before all that.
    bench.authorize(of("globex", 8_888));
    assert_eq!(bench.asked.len(), AUTHORIZE_TENANT_IN_FLIGHT + 2);
    bench.answer(bench.asked.len() - 1, found());
    bench.answer(bench.asked.len() - 1, found());
    assert_eq!(bench.answers()[1], (8_888, "ask:1 Allowed, ask:2 Allowed".to_owned()));
    assert!(bench.lane.takes_requests());
    while !bench.asked.is_empty() {
        assert!(bench.asked.len() <= AUTHORIZE_TENANT_IN_FLIGHT);
        bench.answer(bench.asked.len() - 1, found());
    }
    let mut answered: Vec<u32> = bench.answers().into_iter().map(|(index, _)| index).skip(2).collect();
    answered.sort_unstable();
    assert_eq!(answered, (1..=greedy).collect::<Vec<_>>());
    assert!(bench.lane.is_idle());
}

#[test]
fn a_lane_has_so_many_queries_of_all_tenants_under_way() {
    let mut bench = Bench::new();
    let tenants = AUTHORIZE_IN_FLIGHT / AUTHORIZE_TENANT_IN_FLIGHT + 4;
    let topics: Vec<String> = (0..AUTHORIZE_TENANT_IN_FLIGHT).map(|number| format!("ask:{number}")).collect();
    let topics: Vec<&str> = topics.iter().map(String::as_str).collect();
    for index in 0..tenants {
        let tenant = TenantId::new(format!("t{index}")).unwrap();
        let index = u32::try_from(index).unwrap();
        bench.authorize(AuthorizeRequest { tenant, ..request(index, &topics) });
    }
    assert_eq!(bench.asked.len(), AUTHORIZE_IN_FLIGHT);
    while !bench.asked.is_empty() {
        bench.answer(bench.asked.len() / 2, found());
        assert!(bench.asked.len() <= AUTHORIZE_IN_FLIGHT);
    }
    assert_eq!(bench.answers().len(), tenants);
    assert!(bench.lane.is_idle());
}
