use std::num::NonZeroUsize;

use super::authorizing::request;
use super::*;
use crate::reload::Live;
use crate::shard::{Interest, ShardId, Shards, ToShard, Verdict, test_pair};

/// Two lanes as threads, and shards that are but inboxes.
struct Running {
    /// Runs the lookups. Also waits for what the tests wait for.
    control: tokio::runtime::Runtime,
    lanes: Lanes,
    threads: Vec<JoinHandle<()>>,
    inboxes: Vec<mpsc::Receiver<ToShard>>,
    interest: Arc<Interest>,
    rulebook: Arc<Rulebook>,
    metrics: Arc<Metrics>,
}

impl Running {
    fn start(shards: usize, inbox: usize) -> Self {
        let control = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
        let (handles, inboxes) = std::iter::repeat_with(|| test_pair(inbox)).take(shards).unzip();
        let interest = Arc::new(Interest::default());
        let metrics = Arc::new(Metrics::new());
        let live = Live::new(Arc::into_inner(rulebook()).unwrap());
        let rulebook = live.load();
        let parts = LaneParts {
            live,
            shards: Shards::new(handles),
            interest: Arc::clone(&interest),
            forget: None,
            control: control.handle().clone(),
            metrics: Arc::clone(&metrics),
            events: NonZeroUsize::new(4).unwrap(),
            requests: NonZeroUsize::new(4).unwrap(),
        };
        let (lanes, threads) = Lanes::start(NonZeroUsize::new(2).unwrap(), &parts).unwrap();
        Self { control, lanes, threads, inboxes, interest, rulebook, metrics }
    }

    fn join(&self, shard: u8, tenant: &str) {
        self.interest.join(ShardId::new(shard), &TenantId::new(tenant).unwrap());
    }

    fn send(&self, tenant: Option<&str>, kind: &str, id: u64, receipt: Receipt) {
        let delivery = delivery(&self.rulebook, tenant, kind, id, receipt);
        assert!(self.control.block_on(self.lanes.send(delivery)));
    }

    /// What the next word to this shard delivers.
    fn delivered(&mut self, shard: usize) -> String {
        match self.control.block_on(self.inboxes[shard].recv()).unwrap() {
            ToShard::Deliver(routed) => String::from_utf8(routed.frames().next().unwrap()[2..].to_vec()).unwrap(),
            other => panic!("{other:?}"),
        }
    }

    /// Lets go of the lanes, and waits for their threads. What is left in the shards' inboxes must be nothing.
    fn end(self) {
        drop(self.lanes);
        for thread in self.threads {
            thread.join().unwrap();
        }
        for mut inbox in self.inboxes {
            assert!(inbox.try_recv().is_err(), "something nobody expected");
        }
    }
}

fn frame(tenant: &str, id: u64) -> String {
    format!(r#"{{"status":"ok","id":{id},"data":{{"tenant":{tenant},"id":{id}}}}}"#)
}

#[test]
fn events_reach_the_shards_that_have_sessions_of_their_tenant_in_order() {
    let mut running = Running::start(3, 256);
    running.join(0, "acme");
    running.join(2, "acme");
    running.join(2, "globex");
    // The last one asks nothing, and is not there before those that do are done with.
    for id in 0..101 {
        running.send(Some("acme"), if id % 3 == 0 { "ask" } else { "plain" }, id, Receipt::none());
        running.send(Some("nobody-there"), "plain", id, Receipt::none());
    }
    let expected = (0..101).filter(|id| id % 3 != 0);
    for id in expected {
        assert_eq!(running.delivered(0), frame("\"acme\"", id));
        assert_eq!(running.delivered(2), frame("\"acme\"", id));
    }
    running.send(Some("globex"), "plain", 1, Receipt::none());
    assert_eq!(running.delivered(2), frame("\"globex\"", 1));
    running.send(None, "all", 5, Receipt::none());
    for shard in 0..3 {
        assert_eq!(running.delivered(shard), frame("null", 5));
    }
    assert_eq!(running.metrics.drops(DropCause::lookup_failed).get(), 34);
    running.end();
}

#[test]
fn a_shard_that_lags_makes_the_lane_wait_and_nothing_is_settled_before_it_has_it() {
    let mut running = Running::start(1, 1);
    running.join(0, "acme");
    let (settled, mut receipts) = mpsc::channel(8);
    for id in 0..3 {
        running.send(Some("acme"), "plain", id, Receipt::new(id, settled.clone()));
    }
    for id in 0..3 {
        assert_eq!(running.control.block_on(receipts.recv()), Some(id));
        assert!(receipts.try_recv().is_err(), "settled before there was room");
        assert_eq!(running.delivered(0), frame("\"acme\"", id));
    }
    running.end();
}

#[test]
fn what_goes_to_nobody_is_settled_too() {
    let running = Running::start(1, 1);
    let (settled, mut receipts) = mpsc::channel(8);
    for (id, kind) in (0..).zip(["plain", "nobody", "unrouted", "ask", "twice"]) {
        running.send(Some("acme"), kind, id, Receipt::new(id, settled.clone()));
    }
    let mut tags: Vec<u64> = (0..5).map(|_| running.control.block_on(receipts.recv()).unwrap()).collect();
    tags.sort_unstable();
    assert_eq!(tags, [0, 1, 2, 3, 4]);
    running.end();
}

#[test]
fn requests_are_answered_to_their_shard() {
    let mut running = Running::start(1, 4);
    running.lanes.authorize(request(3, &["free:1", "ask:2", "other"])).unwrap();
    match running.control.block_on(running.inboxes[0].recv()).unwrap() {
        ToShard::Authorized(connection, verdicts) => {
            assert_eq!(connection.index, 3);
            let verdicts: Vec<Verdict> = verdicts.into_iter().map(|(_, verdict)| verdict).collect();
            assert_eq!(verdicts, [Verdict::Allowed, Verdict::Unavailable, Verdict::Denied]);
        }
        other => panic!("{other:?}"),
    }
    running.end();
}

#[test]
fn lanes_are_made_ready_and_have_sessions_judged_anew_after_a_change() {
    let mut running = Running::start(2, 16);
    running.join(1, "acme");
    let next = super::scripts::rulebook_with(super::scripts::SETTING);
    running.control.block_on(running.lanes.prepare(&next)).unwrap();
    let held = running.metrics.script("p.lua").held();
    assert!(held > 20_000, "each lane has a machine: {held}");
    running.control.block_on(running.lanes.swapped(None));
    running.control.block_on(running.lanes.swapped(Some(&next)));
    match running.control.block_on(running.inboxes[1].recv()).unwrap() {
        ToShard::Review(order) => assert!(order.tenant.as_str() == "acme" && order.patterns.is_none()),
        other => panic!("{other:?}"),
    }
}

#[test]
fn lanes_end_when_the_control_runtime_is_gone() {
    let Running { control, lanes, threads, inboxes, rulebook, metrics, .. } = Running::start(1, 4);
    let delivery = delivery(&rulebook, Some("acme"), "ask", 1, Receipt::none());
    drop(control);
    lanes.try_send(delivery).unwrap();
    drop((lanes, inboxes));
    for thread in threads {
        thread.join().unwrap();
    }
    assert_eq!(metrics.drops(DropCause::lookup_failed).get(), 1);
}
