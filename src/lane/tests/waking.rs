use std::num::NonZeroUsize;

use futures_util::FutureExt as _;

use super::*;
use crate::auth::Void;
use crate::event::{Topic, UserId};
use crate::lane::run::Runner;
use crate::reload::Live;
use crate::shard::{ConnectionKey, Interest, Review, ShardId, Shards, Verdict, test_sleeper};

const KEY: ConnectionKey = ConnectionKey { index: 1, generation: 1 };

fn acme() -> TenantId {
    TenantId::new("acme").unwrap()
}

/// Posts an event to a sleeping shard whose inbox holds one message, and gives the lane this to do in the same batch.
/// It has to wait for room, and must have woken the shard by then.
fn check(what: &str, effect: Effect) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let (shard, mut inbox, mut sleeper) = test_sleeper(1);
    let interest = Arc::new(Interest::default());
    interest.join(ShardId::new(0), &acme());
    // The channel for what others keep is full.
    let (forget, _forgets) = mpsc::channel(1);
    forget.try_send(Void::Users { tenant: acme(), users: Arc::from([]) }).unwrap();
    let live = Live::new(Arc::into_inner(rulebook()).unwrap());
    let rulebook = live.load();
    let parts = LaneParts {
        live,
        shards: Shards::new(vec![shard]),
        interest,
        forget: Some(forget),
        control: runtime.handle().clone(),
        metrics: Arc::new(Metrics::new()),
        events: NonZeroUsize::MIN,
        requests: NonZeroUsize::MIN,
    };
    let seat = Seat { index: 0, mapping: Mapping::new(NonZeroUsize::MIN), lanes: Arc::from([]) };
    let mut runner = Runner::new(seat, parts, mpsc::channel(1).0);
    let event = delivery(&rulebook, Some("acme"), "plain", 1, Receipt::none());
    runner.lane.offer(event, Instant::now(), &mut runner.effects);
    assert!(runner.perform().now_or_never().is_some(), "{what}: there is room for the event");
    assert!(!sleeper.is_woken(), "{what}: events of one batch share one wake, after the last");
    runner.effects.push(effect);
    assert!(runner.perform().now_or_never().is_none(), "{what}: there is no room for this");
    assert!(sleeper.is_woken(), "{what}: the lane waits for a shard that sleeps");
    assert!(inbox.try_recv().is_ok(), "{what}");
}

#[test]
fn a_lane_wakes_shards_before_it_waits() {
    let shard = ShardId::new(0);
    let topics = || vec![(Topic::new("free:1").unwrap(), Verdict::Denied)];
    let order = || Arc::new(Review { tenant: acme(), patterns: None });
    check("an answer", Effect::Authorized { shard, connection: KEY, verdicts: topics() });
    check("a review", Effect::Review(order()));
    check("a review's next page", Effect::ReviewOn { shard, order: order() });
    check("a withdrawal", Effect::Withdraw { shard, order: order() });
    check("a lost topic", Effect::Unsubscribe { shard, connection: KEY, topics: topics() });
    check("a disconnect", Effect::Disconnect { tenant: acme(), users: vec![UserId::new("7").unwrap()] });
}
