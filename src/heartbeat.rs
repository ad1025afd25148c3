//! The control task behind `ping`: finds the newest event's id, and has the shards tell it to their sessions.
//!
//! Invariant: pings go on whatever the database does; an id that cannot be found out now is the last one known.
//! Invariant: what is remembered is of tenants that are connected.

use std::hash::BuildHasher;
use std::sync::Arc;
use std::time::Duration;

use hashbrown::{DefaultHashBuilder, HashMap, HashSet};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at, timeout};

use crate::config::{Ping, QueryId};
use crate::event::{EventId, Scalar, TenantId};
use crate::lookup::{Binds, Lookups, Rows};
use crate::observe::Throttle;
use crate::shard::{Interest, ShardHandle, Shards, ToShard};

/// How many tenants' ids are asked for at once: pings are the last to hurry, and rules need the database too.
const ASKED_AT_ONCE: usize = 4;
/// Tenants that are spread over the interval are pinged in steps no shorter than this, and no more than [`MAX_STEPS`].
const SHORTEST_STEP: Duration = Duration::from_millis(250);
const MAX_STEPS: u32 = 64;
/// How often trouble is logged.
const TROUBLE_LOG: Duration = Duration::from_mins(1);

/// Pings until it is dropped: all sessions at once, or, where the query binds `:tenant`, each tenant's at its own
/// time within the interval.
pub async fn run(
    ping: Ping,
    query_binds_tenant: bool,
    lookups: Option<Lookups>,
    interest: Arc<Interest>,
    shards: Shards,
) {
    let question = ping.last_event_id.zip(lookups);
    let each_tenant = query_binds_tenant && question.is_some();
    let heart = Heart {
        every: ping.every,
        question,
        asking: Semaphore::new(ASKED_AT_ONCE),
        interest,
        shards,
        trouble: Throttle::new(TROUBLE_LOG),
    };
    if each_tenant {
        Arc::new(heart).beat_for_each().await;
    } else {
        heart.beat_for_all().await;
    }
}

struct Heart {
    every: Duration,
    /// How the newest id is found, where it is.
    question: Option<(QueryId, Lookups)>,
    asking: Semaphore,
    interest: Arc<Interest>,
    shards: Shards,
    trouble: Throttle,
}

impl Heart {
    async fn beat_for_all(&self) {
        let mut beat = ticks(self.every);
        let mut last = None;
        loop {
            beat.tick().await;
            last = self.newest(None, last).await;
            self.hand(self.shards.iter(), None, last.as_ref()).await;
        }
    }

    /// A tenant's place among the steps is by its hash, so that its pings keep their distance whoever else comes and
    /// goes.
    async fn beat_for_each(self: Arc<Self>) {
        let steps = steps(self.every);
        let places = DefaultHashBuilder::default();
        let mut beat = ticks(self.every / steps);
        let mut last = HashMap::<TenantId, EventId>::new();
        // No more than two a tenant: each takes the interval at most.
        let mut under_way = JoinSet::new();
        for step in (0..steps).cycle() {
            loop {
                tokio::select! {
                    _ = beat.tick() => break,
                    Some(ended) = under_way.join_next() => match ended {
                        Ok((tenant, Some(id))) => { last.insert(tenant, id); }
                        Ok((tenant, None)) => { last.remove(&tenant); }
                        Err(error) => tracing::error!(%error, "a ping broke off"),
                    },
                }
            }
            let tenants = self.interest.tenants();
            if step == 0 {
                let connected: HashSet<&TenantId> = tenants.iter().collect();
                last.retain(|tenant, _| connected.contains(tenant));
            }
            for tenant in tenants {
                if places.hash_one(&tenant) % u64::from(steps) == u64::from(step) {
                    let known = last.get(&tenant).cloned();
                    under_way.spawn(Arc::clone(&self).ping(tenant, known));
                }
            }
        }
    }

    /// Pings the sessions of one tenant, and answers the id that they were told.
    async fn ping(self: Arc<Self>, tenant: TenantId, known: Option<EventId>) -> (TenantId, Option<EventId>) {
        let id = self.newest(Some(&tenant), known).await;
        let shards = self.interest.of(&tenant);
        self.hand(shards.iter().map(|shard| self.shards.get(shard)), Some(&tenant), id.as_ref()).await;
        (tenant, id)
    }

    /// The newest event's id, or the one known before where that cannot be found out in half the interval.
    async fn newest(&self, tenant: Option<&TenantId>, known: Option<EventId>) -> Option<EventId> {
        let (query, lookups) = self.question.as_ref()?;
        let asked = async {
            // It is never closed.
            let _permit = self.asking.acquire().await.ok();
            lookups.run(*query, tenant, &Binds::new()).await.map_err(|error| error.to_string())
        };
        let answer = timeout(self.every / 2, asked).await.unwrap_or_else(|_| Err("no answer in time".to_owned()));
        answer.and_then(|rows| read(&rows)).unwrap_or_else(|reason| {
            if let Some(held_back) = self.trouble.admit() {
                let tenant = tenant.map(tracing::field::display);
                tracing::warn!(tenant, query = lookups.name(*query), reason, held_back, "ping has no new event id");
            }
            known
        })
    }

    /// Says it to these shards; waits for those that lag for half the interval.
    async fn hand<'s>(
        &self,
        shards: impl Iterator<Item = &'s ShardHandle>,
        tenant: Option<&TenantId>,
        last_event_id: Option<&EventId>,
    ) {
        let word = || ToShard::Ping { tenant: tenant.cloned(), last_event_id: last_event_id.cloned() };
        let lagging: Vec<_> =
            shards.filter_map(|shard| shard.try_send(word()).err().map(|word| (shard, word))).collect();
        let wait = async {
            for (shard, word) in lagging {
                shard.send(word).await;
            }
        };
        if timeout(self.every / 2, wait).await.is_err()
            && let Some(held_back) = self.trouble.admit()
        {
            tracing::warn!(held_back, "a shard is too busy for a ping");
        }
    }
}

/// The id that the rows hold: the first column of the first one. No row, or null, is none yet.
fn read(rows: &Rows) -> Result<Option<EventId>, String> {
    match rows.rows.first().and_then(|row| row.first()) {
        None | Some(Scalar::Null) => Ok(None),
        Some(value) => {
            let id = EventId::from_value(value.as_value());
            id.map(Some).ok_or_else(|| "its first column is neither an integer nor a text".to_owned())
        }
    }
}

fn ticks(period: Duration) -> Interval {
    let mut ticks = interval_at(Instant::now() + period, period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

/// How many steps an interval has.
fn steps(every: Duration) -> u32 {
    let steps = every.as_millis() / SHORTEST_STEP.as_millis();
    u32::try_from(steps).unwrap_or(MAX_STEPS).clamp(1, MAX_STEPS)
}

#[cfg(test)]
mod tests;
