use super::*;

const MINUTE: Duration = Duration::from_mins(1);

/// A queue's consumers, one after the other.
struct Queue {
    hasher: DefaultHashBuilder,
    legacy: Option<oneshot::Receiver<Legacy>>,
}

/// A consumer's marks, and the sender by which it learns of proven acknowledgements.
struct Consumer {
    handed: Handed,
    proves: mpsc::Sender<Vec<u64>>,
}

impl Queue {
    fn new() -> Self {
        Self { hasher: DefaultHashBuilder::default(), legacy: None }
    }

    fn consumer(&mut self) -> Consumer {
        let (mut handed, legacy) = Handed::after(self.legacy.take(), self.hasher.clone());
        self.legacy = Some(legacy);
        let (proves, proven) = mpsc::channel(16);
        handed.begin(MINUTE, 10, proven);
        Consumer { handed, proves }
    }
}

impl Consumer {
    /// Whether this redelivered message is dropped.
    fn drops(&mut self, tag: u64, body: &str) -> bool {
        let mark = self.mark(body);
        self.handed.is_repeat(tag, mark)
    }

    fn hands_on(&mut self, first: u64, bodies: &[&str]) {
        for (tag, body) in (first..).zip(bodies) {
            let mark = self.mark(body);
            self.handed.note(tag, mark);
        }
    }

    fn proven(&self, tags: &[u64]) {
        self.proves.try_send(tags.to_vec()).unwrap();
    }

    fn mark(&self, body: &str) -> u64 {
        self.handed.mark("events", "key", body.as_bytes())
    }
}

#[tokio::test]
async fn a_mark_is_of_exchange_routing_key_and_body() {
    let consumer = Queue::new().consumer();
    let mark = consumer.mark("1");
    assert_eq!(mark, consumer.handed.mark("events", "key", b"1"));
    for other in [("events", "other", "1"), ("other", "key", "1"), ("events", "key", "2")] {
        assert_ne!(mark, consumer.handed.mark(other.0, other.1, other.2.as_bytes()));
    }
}

#[tokio::test]
async fn each_delivery_that_was_handed_on_answers_for_one_repeat() {
    let mut queue = Queue::new();
    queue.consumer().hands_on(1, &["1", "1", "2"]);
    let mut next = queue.consumer();
    let bodies = ["1", "1", "1", "2", "3"];
    let dropped: Vec<bool> = (1..).zip(bodies).map(|(tag, body)| next.drops(tag, body)).collect();
    assert_eq!(dropped, [true, true, false, true, false]);
    next.hands_on(6, &["own"]);
    assert_eq!((next.drops(7, "own"), next.drops(8, "own")), (true, false), "a queue may give out again what is out");
}

#[tokio::test]
async fn a_delivery_is_known_until_its_acknowledgement_is_proven_however_many_pass_it() {
    let mut queue = Queue::new();
    let mut first = queue.consumer();
    first.hands_on(1, &["slow"]);
    for tag in 2..100 {
        first.hands_on(tag, &[tag.to_string().as_str()]);
        first.proven(&[tag]);
        first.handed.is_new(tag);
    }
    first.hands_on(100, &["written"]);
    drop(first);
    let mut next = queue.consumer();
    assert!(next.drops(1, "slow") && next.drops(2, "written"));
    assert!(!next.drops(3, "50"), "its acknowledgement was proven");
}

#[tokio::test]
async fn a_repeat_is_known_again_after_each_of_several_losses() {
    let mut queue = Queue::new();
    queue.consumer().hands_on(1, &["e"]);
    // Lost before anything came.
    drop(queue.consumer());
    for _ in 0..3 {
        assert!(queue.consumer().drops(1, "e"));
    }
    let mut consumer = queue.consumer();
    assert!(consumer.drops(1, "e"));
    consumer.proven(&[1]);
    drop(consumer);
    assert!(!queue.consumer().drops(1, "e"), "an equal body is another event");
}

#[tokio::test]
async fn the_marks_of_a_consumer_that_ends_late_reach_the_one_that_is_there() {
    let mut queue = Queue::new();
    let mut first = queue.consumer();
    first.hands_on(1, &["e"]);
    let mut second = queue.consumer();
    // One that never consumed keeps nothing back.
    drop(queue.consumer());
    let mut third = queue.consumer();
    assert!(!second.drops(1, "e"));
    drop(first);
    assert!(second.drops(2, "e"));
    drop(second);
    assert!(third.drops(1, "e"));
}

#[tokio::test(start_paused = true)]
async fn when_no_repeat_can_come_any_more_the_marks_of_former_connections_are_forgotten() {
    let mut queue = Queue::new();
    queue.consumer().hands_on(1, &["former"]);
    let mut next = queue.consumer();
    next.hands_on(1, &["own"]);
    next.handed.is_new(1);
    assert!(next.drops(2, "former"), "the broker may hold deliveries for the former connection");
    tokio::time::advance(MINUTE).await;
    next.handed.is_new(3);
    next.handed.is_new(14);
    assert!(next.drops(15, "own"));

    queue.consumer().hands_on(1, &["late", "later"]);
    let mut clogged = queue.consumer();
    tokio::time::advance(MINUTE).await;
    // Ten deliveries were sent before the broker gave up the former connection, and are looked at only now.
    (1..=10).for_each(|tag| clogged.handed.is_new(tag));
    assert!(clogged.drops(11, "late"));
    clogged.handed.is_new(12);
    assert!(!clogged.drops(13, "later"), "a repeat would have come before that one");

    queue.consumer().hands_on(1, &["stale"]);
    let quiet = queue.consumer();
    tokio::time::advance(MINUTE).await;
    drop(quiet);
    assert!(!queue.consumer().drops(1, "stale"), "there was room for it all the time");
}
