use proptest::prelude::*;

use super::*;
use crate::event::Scalar;

fn exchange(name: &str) -> Exchange {
    Exchange {
        name: name.into(),
        kind: "fanout".into(),
        durable: true,
        auto_delete: false,
        internal: false,
        passive: false,
        arguments: Vec::new(),
    }
}

fn queue(name: &str, bind: &[(&str, &str)]) -> Queue {
    Queue {
        name: name.into(),
        stem: None,
        durable: false,
        exclusive: true,
        auto_delete: true,
        passive: false,
        arguments: Vec::new(),
        bind: bind.iter().map(|(exchange, key)| binding(exchange, key)).collect(),
        prefetch: 100,
        no_ack: false,
    }
}

fn binding(exchange: &str, key: &str) -> Binding {
    Binding { exchange: exchange.into(), routing_key: key.into(), arguments: Vec::new() }
}

/// Each step in a word, with what it is about.
fn words(steps: &[Step]) -> Vec<String> {
    let word = |step: &Step| match step {
        Step::Exchange(exchange) => format!("exchange {}", exchange.name),
        Step::Forget(name) => format!("forget {name}"),
        Step::Open(queue) => format!("open {}", queue.name),
        Step::Redeclare(queue) => format!("redeclare {}", queue.name),
        Step::Bind(queue, binding) => format!("bind {queue} {} {}", binding.exchange, binding.routing_key),
        Step::Unbind(queue, binding) => format!("unbind {queue} {} {}", binding.exchange, binding.routing_key),
        Step::Consume(queue) => format!("consume {} {} {}", queue.name, queue.prefetch, queue.no_ack),
        Step::Retire(queue) => format!("retire {}", queue.name),
    };
    steps.iter().map(word).collect()
}

/// Exchange `e`, queue `q` bound to it, and what a change of that asks.
fn check(change: impl FnOnce(&mut Topology), expected: &[&str]) {
    let before = Topology { exchanges: vec![exchange("e")], queues: vec![queue("q", &[("e", "a")])] };
    let mut wanted = before.clone();
    change(&mut wanted);
    let steps = before.plan(&wanted);
    assert_eq!(words(&steps), expected);
    let mut after = before;
    for step in &steps {
        after.apply(step);
    }
    assert_eq!(after.plan(&wanted), []);
}

#[test]
fn each_change_asks_what_it_needs_and_no_more() {
    check(|_| {}, &[]);
    check(|wanted| wanted.exchanges.push(exchange("f")), &["exchange f"]);
    check(|wanted| wanted.exchanges.clear(), &["forget e"]);
    check(|wanted| wanted.exchanges[0].kind = "topic".into(), &["exchange e", "bind q e a"]);
    check(|wanted| wanted.queues.push(queue("r", &[("e", "")])), &["open r"]);
    check(|wanted| wanted.queues.clear(), &["retire q"]);
    check(|wanted| wanted.queues[0].bind.push(binding("e", "b")), &["bind q e b"]);
    check(|wanted| wanted.queues[0].bind.clear(), &["unbind q e a"]);
    check(
        |wanted| wanted.queues[0].bind[0].arguments.push(("x".into(), Scalar::Int(1))),
        &["bind q e a", "unbind q e a"],
    );
    check(|wanted| wanted.queues[0].prefetch = 7, &["consume q 7 false"]);
    check(|wanted| wanted.queues[0].no_ack = true, &["consume q 100 true"]);
    check(|wanted| wanted.queues[0].durable = true, &["redeclare q"]);
    check(|wanted| wanted.queues[0].arguments.push(("x".into(), Scalar::Int(1))), &["redeclare q"]);
    check(|wanted| wanted.queues[0].passive = true, &["redeclare q"]);
    check(|wanted| wanted.queues[0].name = "r".into(), &["open r", "retire q"]);
}

#[test]
fn what_is_new_comes_first_and_what_is_gone_last() {
    check(
        |wanted| {
            wanted.exchanges = vec![exchange("f")];
            wanted.queues[0] = queue("q", &[("f", "b"), ("e", "c")]);
            (wanted.queues[0].durable, wanted.queues[0].prefetch) = (true, 7);
            wanted.queues.insert(0, queue("r", &[("f", "")]));
        },
        &[
            "exchange f",
            "open r",
            "redeclare q",
            "bind q f b",
            "bind q e c",
            "unbind q e a",
            "consume q 7 false",
            "forget e",
        ],
    );
}

#[test]
fn what_was_refused_is_asked_again_by_the_next_change() {
    let before = Topology { exchanges: vec![exchange("e")], queues: vec![queue("q", &[("e", "a")])] };
    let mut wanted = before.clone();
    wanted.queues[0].durable = true;
    wanted.queues[0].prefetch = 7;
    let mut after = before.clone();
    after.apply(&before.plan(&wanted)[1]);
    assert_eq!(words(&after.plan(&wanted)), ["redeclare q"]);
}

#[test]
fn a_queue_with_a_stem_has_another_name_at_each_connection() {
    let queue = |name: &str| Queue { stem: (name == "a").then(|| name.into()), ..queue(name, &[]) };
    let configured = Topology { exchanges: Vec::new(), queues: vec![queue("a"), queue("b")] };
    let names = |topology: &Topology| topology.queues.iter().map(|queue| queue.name.clone()).collect::<Vec<_>>();
    let first = configured.clone().named("1");
    assert_eq!(names(&first), ["a.1", "b"]);
    assert_eq!(names(&first.clone().named("2")), ["a.2", "b"]);
    assert_eq!(first.plan(&configured.named("1")), []);
}

fn any_topology() -> impl Strategy<Value = Topology> {
    let an_exchange = ("[e-g]", prop::bool::ANY).prop_map(|(name, durable)| Exchange { durable, ..exchange(&name) });
    let a_binding = ("[e-g]", "[ab]").prop_map(|(exchange, key)| binding(&exchange, &key));
    let a_queue =
        ("[q-s]", prop::bool::ANY, 1_u16..4, prop::bool::ANY, prop::collection::vec(a_binding, 0..3)).prop_map(
            |(name, durable, prefetch, no_ack, bind)| Queue { durable, bind, prefetch, no_ack, ..queue(&name, &[]) },
        );
    let all = (prop::collection::vec(an_exchange, 0..3), prop::collection::vec(a_queue, 0..3));
    all.prop_map(|(mut exchanges, mut queues)| {
        exchanges.sort_by(|one, other| one.name.cmp(&other.name));
        exchanges.dedup_by(|one, other| one.name == other.name);
        queues.sort_by(|one, other| one.name.cmp(&other.name));
        queues.dedup_by(|one, other| one.name == other.name);
        for queue in &mut queues {
            queue.bind.sort_by(|one, other| format!("{one:?}").cmp(&format!("{other:?}")));
            queue.bind.dedup();
        }
        Topology { exchanges, queues }
    })
}

fn sorted(mut topology: Topology) -> Topology {
    topology.exchanges.sort_by(|one, other| one.name.cmp(&other.name));
    topology.queues.sort_by(|one, other| one.name.cmp(&other.name));
    for queue in &mut topology.queues {
        queue.bind.sort_by(|one, other| format!("{one:?}").cmp(&format!("{other:?}")));
    }
    topology
}

proptest! {
    #[test]
    fn all_steps_of_a_plan_make_what_is_wanted_of_what_there_is(before in any_topology(), wanted in any_topology()) {
        let mut after = before.clone();
        for step in before.plan(&wanted) {
            after.apply(&step);
        }
        prop_assert_eq!(after.plan(&wanted), vec![]);
        prop_assert_eq!(sorted(after), sorted(wanted));
    }
}
