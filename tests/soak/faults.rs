//! Faults, one after the other in each part, as a seed will have it: begun, repaired, recovered from.

use std::ops::Range;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::block_in_place;
use tokio::time::{Instant, sleep, timeout};

use crate::endpoint::Endpoint;
use crate::ledger::{Number, Part, Window};
use crate::support::postgres::Postgres;
use crate::support::proxy::Proxy;
use crate::support::rabbitmq::Rabbit;
use crate::traffic::Counter;
use crate::weather::Weather;

/// Events flow again so soon after the broker can be reached again.
const RECOVERY: Duration = Duration::from_secs(90);
/// Queries are answered again so soon after the database can be reached again.
const DATABASE_RECOVERY: Duration = Duration::from_secs(6);

/// What all who make faults know.
#[derive(Clone, Debug)]
pub(crate) struct Faults {
    pub(crate) begun: Instant,
    pub(crate) until: Instant,
    /// Seconds from the end of one to the beginning of the next, in hundredths.
    pub(crate) gaps: Range<u64>,
    /// Only such faults as are over in a second or two.
    pub(crate) quick: bool,
    pub(crate) weather: Weather,
    pub(crate) counter: Counter,
    /// The last event that one of those who stay got.
    pub(crate) latest: watch::Receiver<Number>,
}

/// What was done to one part.
#[derive(Debug, Default)]
pub(crate) struct Done {
    pub(crate) windows: Vec<Window>,
    pub(crate) told: Vec<String>,
    pub(crate) complaints: Vec<String>,
}

/// What can be done to a link.
#[derive(Clone, Copy, Debug)]
enum Link {
    Cut,
    Slow,
    Silent,
    Refusing,
    HalfOpen,
}

/// The quick ones first.
const LINKS: [Link; 5] = [Link::Cut, Link::Slow, Link::Silent, Link::Refusing, Link::HalfOpen];
const QUICK_LINKS: usize = 4;

impl Faults {
    /// Stops, kills, pauses the broker, closes its connections, or breaks the link to it.
    pub(crate) async fn of_broker(
        self,
        mut rabbit: Rabbit,
        vhost: String,
        link: Proxy,
        mut rng: fastrand::Rng,
    ) -> (Done, Rabbit, Proxy) {
        let mut done = Done::default();
        while self.next(&mut rng).await {
            let from = self.begins();
            let pause = self.pause(&mut rng);
            let what = match rng.u8(if self.quick { 2 } else { 0 }..8) {
                0 => {
                    block_in_place(|| rabbit.stop());
                    sleep(pause).await;
                    block_in_place(|| rabbit.start());
                    format!("stopped, and started after {pause:.1?}")
                }
                1 => {
                    rabbit.kill();
                    sleep(pause).await;
                    block_in_place(|| rabbit.start());
                    format!("killed, and started after {pause:.1?}")
                }
                2 => {
                    rabbit.pause();
                    sleep(pause).await;
                    rabbit.resume();
                    format!("paused for {pause:.1?}")
                }
                3 => {
                    block_in_place(|| rabbit.cut(&vhost));
                    "its connections closed".to_owned()
                }
                _ => self.break_link(&link, pause, &mut rng).await,
            };
            let (repaired, mark) = (Instant::now(), self.counter.next());
            let mut latest = self.latest.clone();
            // Events are lost up to here: only one that was published later tells that all is well.
            let flows = timeout(RECOVERY, latest.wait_for(|latest| *latest > mark)).await;
            let took = repaired.elapsed();
            if !matches!(flows, Ok(Ok(_))) {
                done.complaints.push(format!("broker {what}: no events {took:.1?} after it was repaired"));
            }
            done.windows.push(Window { part: Part::Broker, from, to: Instant::now() });
            self.ends("broker", &format!("{what}; events again {took:.1?} later"), &mut done);
        }
        (done, rabbit, link)
    }

    /// Stops, kills, pauses the database, or breaks the link to it.
    pub(crate) async fn of_database(
        self,
        mut postgres: Postgres,
        link: Proxy,
        mut rng: fastrand::Rng,
    ) -> (Done, Postgres, Proxy) {
        let mut done = Done::default();
        while self.next(&mut rng).await {
            let from = self.begins();
            let pause = self.pause(&mut rng);
            let what = match rng.u8(..6) {
                0 => {
                    block_in_place(|| postgres.stop());
                    sleep(pause).await;
                    block_in_place(|| postgres.start());
                    format!("stopped, and started after {pause:.1?}")
                }
                1 => {
                    block_in_place(|| postgres.kill());
                    sleep(pause).await;
                    block_in_place(|| postgres.start());
                    format!("killed, and started after {pause:.1?}")
                }
                2 => {
                    postgres.pause();
                    sleep(pause).await;
                    postgres.resume();
                    format!("paused for {pause:.1?}")
                }
                _ => self.break_link(&link, pause, &mut rng).await,
            };
            done.windows.push(Window { part: Part::Database, from, to: Instant::now() + DATABASE_RECOVERY });
            self.ends("database", &what, &mut done);
        }
        (done, postgres, link)
    }

    /// Kills or pauses the endpoint that knows tokens, makes it fail, or breaks the link to it. No event is lost by that.
    pub(crate) async fn of_endpoint(
        self,
        mut endpoint: Endpoint,
        link: Proxy,
        mut rng: fastrand::Rng,
    ) -> (Done, Endpoint, Proxy) {
        let mut done = Done::default();
        while self.next(&mut rng).await {
            self.begins();
            let pause = self.pause(&mut rng);
            let what = match rng.u8(..6) {
                0 => {
                    endpoint.kill().await;
                    sleep(pause).await;
                    endpoint.run().await;
                    format!("killed, and started after {pause:.1?}")
                }
                1 => {
                    endpoint.pause();
                    sleep(pause).await;
                    endpoint.resume();
                    format!("paused for {pause:.1?}")
                }
                2 => {
                    endpoint.spoil();
                    sleep(pause).await;
                    endpoint.mend();
                    format!("failing for {pause:.1?}")
                }
                _ => self.break_link(&link, pause, &mut rng).await,
            };
            self.ends("endpoint", &what, &mut done);
        }
        (done, endpoint, link)
    }

    /// Breaks the link of some clients.
    pub(crate) async fn of_clients(self, link: Proxy, mut rng: fastrand::Rng) -> (Done, Proxy) {
        let mut done = Done::default();
        while self.next(&mut rng).await {
            let pause = self.pause(&mut rng);
            let what = self.break_link(&link, pause, &mut rng).await;
            done.told.push(self.line("clients", &what));
        }
        (done, link)
    }

    async fn break_link(&self, link: &Proxy, pause: Duration, rng: &mut fastrand::Rng) -> String {
        let choice = LINKS[rng.usize(..if self.quick { QUICK_LINKS } else { LINKS.len() })];
        match choice {
            Link::Cut => link.cut(),
            Link::Slow => link.delay(Duration::from_millis(rng.u64(20..600))),
            Link::Silent => link.silence(),
            Link::Refusing => link.refuse(),
            Link::HalfOpen => link.half_open(),
        }
        sleep(pause).await;
        link.resume();
        format!("link {choice:?} for {pause:.1?}")
    }

    /// Waits for the next fault's turn. `false` where there is none any more.
    async fn next(&self, rng: &mut fastrand::Rng) -> bool {
        let next = Instant::now() + Duration::from_millis(10 * rng.u64(self.gaps.clone()));
        sleep(next.min(self.until) - Instant::now()).await;
        next < self.until
    }

    fn pause(&self, rng: &mut fastrand::Rng) -> Duration {
        Duration::from_millis(if self.quick { rng.u64(100..1_000) } else { rng.u64(100..10_000) })
    }

    fn begins(&self) -> Instant {
        self.weather.begins();
        Instant::now()
    }

    fn ends(&self, part: &str, what: &str, done: &mut Done) {
        self.weather.ends();
        done.told.push(self.line(part, what));
    }

    fn line(&self, part: &str, what: &str) -> String {
        let at = self.begun.elapsed().as_secs_f64();
        format!("{at:8.1} s  {part}: {what}")
    }
}

impl Done {
    /// What was done to all parts, in the order of time.
    pub(crate) fn all(parts: impl IntoIterator<Item = Self>) -> Self {
        let mut all = Self::default();
        for part in parts {
            all.windows.extend(part.windows);
            all.told.extend(part.told);
            all.complaints.extend(part.complaints);
        }
        // Each line begins with the time.
        all.told.sort();
        all
    }
}
