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

    /// Answers all that is asked, the oldest first, and what is asked then. Returns how many questions there were.
    fn answer_all(&mut self) -> usize {
        let mut questions = 0;
        while !self.asked.is_empty() || self.lane.due() == Some(self.now) {
            assert!(self.asked.len() <= AUTHORIZE_TENANT_IN_FLIGHT);
            if self.asked.is_empty() {
                self.tick();
            } else {
                self.answer(0, found());
                questions += 1;
            }
        }
        questions
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
    // Another's is asked at once, and answered before all that.
    bench.authorize(of("globex", 8_888));
    assert_eq!(bench.asked.len(), AUTHORIZE_TENANT_IN_FLIGHT + 2);
    bench.answer(bench.asked.len() - 1, found());
    bench.answer(bench.asked.len() - 1, found());
    assert_eq!(bench.answers()[0], (8_888, "ask:1 Allowed, ask:2 Allowed".to_owned()));
    assert!(bench.lane.takes_requests());
    bench.answer_all();
    let mut answered: Vec<u32> = bench.answers().into_iter().map(|(index, _)| index).skip(1).collect();
    answered.sort_unstable();
    assert_eq!(answered, (1..=greedy).collect::<Vec<_>>());
    assert!(bench.lane.is_idle());
}

/// Every client of a tenant comes back at once, after a restart: nothing is kept yet, and nothing is refused.
#[test]
fn cold_start_asks_each_question_once_and_refuses_nothing() {
    let topics: Vec<String> = (0..100).map(|number| format!("kept:{number}")).collect();
    let topics: Vec<&str> = topics.iter().map(String::as_str).collect();
    for sessions in [100, 1_000] {
        let mut bench = Bench::new();
        for index in 0..sessions {
            bench.authorize(request(index, &topics));
        }
        assert!(bench.lane.takes_requests());
        assert_eq!(bench.answer_all(), topics.len(), "questions of {sessions} sessions");
        let answers = bench.answers();
        let mut answered: Vec<u32> = answers.iter().map(|(index, _)| *index).collect();
        answered.sort_unstable();
        assert!(answered.iter().copied().eq(0..sessions), "each of {sessions} sessions is answered once");
        let allowed = |said: &String| said.matches("Allowed").count() == topics.len();
        assert!(answers.iter().all(|(_, said)| allowed(said)), "all topics of {sessions} sessions are allowed");
        assert!(bench.lane.is_idle());
    }
}

#[test]
fn queued_requests_are_answered_in_order_also_if_each_question_is_another() {
    let mut bench = Bench::new();
    let clients = u32::try_from(3 * AUTHORIZE_TENANT_WAITING).unwrap();
    for index in 0..clients {
        bench.authorize(request(index, &[&format!("ask:{index}")]));
    }
    assert_eq!(bench.answers(), []);
    // The rules alone decide on these: they wait for nobody.
    bench.authorize(request(clients, &["free:1", "other"]));
    assert_eq!(bench.answers(), [(clients, "free:1 Allowed, other Denied".to_owned())]);
    assert_eq!(bench.answer_all(), 3 * AUTHORIZE_TENANT_WAITING);
    let answered: Vec<u32> = bench.answers().into_iter().map(|(index, _)| index).skip(1).collect();
    assert!(answered.into_iter().eq(0..clients), "in the order in which they came");
    assert!(bench.lane.is_idle());
}

#[test]
fn requests_are_refused_only_when_their_tenants_queue_is_full() {
    let mut bench = Bench::new();
    let long: Vec<String> = (0..100).map(|number| format!("ask:{number}{}", "x".repeat(200))).collect();
    let long: Vec<&str> = long.iter().map(String::as_str).collect();
    let size: usize = long.iter().map(|topic| topic.len() + size_of::<Topic>()).sum();
    let fit = REQUESTS_TENANT_BYTES / (size + size_of::<AuthorizeRequest>());
    let judged = AUTHORIZE_TENANT_WAITING.div_ceil(long.len());
    let clients = u32::try_from(judged + fit).unwrap();
    for index in 0..clients {
        bench.authorize(request(index, &long));
    }
    assert_eq!(bench.answers(), []);
    bench.authorize(request(clients, &long));
    assert_eq!(bench.answers().len(), 1);
    assert!(bench.answers()[0].1.matches("Unavailable").count() == long.len());
    // Another tenant's is asked at once.
    let asked = bench.asked.len();
    bench.authorize(AuthorizeRequest { tenant: TenantId::new("globex").unwrap(), ..request(9_999_999, &["ask:1"]) });
    assert_eq!(bench.asked.len(), asked + 1);
    assert!(bench.lane.takes_requests());
}

#[test]
fn a_queued_request_is_judged_by_the_rules_that_are_in_force_at_its_turn() {
    let mut bench = Bench::new();
    let clients = 2 * AUTHORIZE_TENANT_WAITING;
    for index in 0..u32::try_from(clients).unwrap() {
        bench.authorize(request(index, &[&format!("ask:{index}")]));
    }
    let (routes, topics, plugins) = (Vec::new(), Vec::new(), Plugins::default());
    let no_topics = Rules { event: shape(), largest_event: usize::MAX, routes, topics, plugins };
    let next = Rulebook::compile(Generation(2), no_topics, Arc::clone(&bench.rulebook.queries)).unwrap();
    let (before, mut effects) = (std::mem::replace(&mut bench.rulebook, Arc::new(next)), Vec::new());
    bench.lane.adopt(&bench.rulebook);
    bench.lane.review_all(before, &Arc::clone(&bench.rulebook), Vec::new(), bench.now, &mut effects);
    bench.take(effects);
    bench.answer_all();
    let answers = bench.answers();
    assert_eq!(answers.len(), clients);
    assert!(answers.iter().all(|(_, said)| said.ends_with("Denied")));
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

#[test]
fn a_queued_request_waits_half_a_minute_and_is_then_refused() {
    let mut bench = Bench::new();
    let clients = 2 * AUTHORIZE_TENANT_WAITING;
    for index in 0..u32::try_from(clients).unwrap() {
        bench.authorize(request(index, &[&format!("ask:{index}")]));
    }
    // The database does not answer.
    let judged = AUTHORIZE_TENANT_WAITING + AUTHORIZE_TENANT_IN_FLIGHT;
    bench.now = bench.lane.due().unwrap();
    bench.tick();
    assert_eq!(bench.answers(), []);
    bench.now += REQUEST_TIME;
    assert!(bench.lane.due().unwrap() <= bench.now);
    bench.tick();
    let answers = bench.answers();
    assert_eq!(answers.len(), clients - judged);
    assert!(answers.iter().all(|(_, said)| said.ends_with("Unavailable")));
    assert_eq!(bench.lane.due(), None, "nothing is queued any more");
    assert_eq!(bench.answer_all(), judged);
    assert!(bench.lane.is_idle());
}

#[test]
fn a_session_with_other_attributes_does_not_wait_in_the_queue() {
    let mut bench = Bench::new();
    for index in 0..u32::try_from(2 * AUTHORIZE_TENANT_WAITING).unwrap() {
        bench.authorize(request(index, &[&format!("ask:{index}")]));
    }
    bench.authorize(AuthorizeRequest { has_them: true, ..request(9_999, &["free:1", "other", "ask:1"]) });
    assert_eq!(bench.done, ["unsubscribe 9999: other Denied, ask:1 Unavailable"]);
}

#[test]
fn one_request_does_not_keep_the_lane_from_reading_others() {
    let mut bench = Bench::new();
    let topics: Vec<String> = (0..=AUTHORIZE_WAITING).map(|number| format!("ask:{number}")).collect();
    bench.authorize(request(1, &topics.iter().map(String::as_str).collect::<Vec<_>>()));
    assert!(bench.lane.takes_requests());
    bench.answer_all();
    let said = &bench.answers()[0].1;
    assert_eq!(said.matches("Allowed").count() + said.matches("Unavailable").count(), topics.len());
}
