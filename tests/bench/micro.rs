//! Work that takes less than a call of the system: many times over, by the CPU time of the thread that does it.

use std::hint::black_box;
use std::path::Path;
use std::time::{Duration, Instant};

use bytes::Bytes;
use pointsman::config::{Config, ConfigFile, Loaded};
use pointsman::event::{Envelope, Event};
use pointsman::reload::{Generation, Queries, Rulebook, Rules};
use rustix::time::{ClockId, clock_gettime};

use crate::Outcome;
use crate::stats::{Summary, float, now};

/// Pieces of work that are timed together: few, so that their material is as near as it is in a running lane.
const TOGETHER: usize = 64;

/// Nanoseconds of CPU time that one piece of work takes: what several batches of `size` pieces say. What it is made of is
/// made before its time begins, and its result ends after it.
pub(crate) fn measure<M, R>(
    batches: u16,
    size: usize,
    mut material: impl FnMut() -> Outcome<M>,
    mut work: impl FnMut(M) -> R,
) -> Outcome<Summary> {
    let mut each = Vec::new();
    let (mut materials, mut results) = (Vec::with_capacity(TOGETHER), Vec::with_capacity(TOGETHER));
    // The first one warms up.
    for batch in 0..=batches {
        let (mut took, mut done) = (Duration::ZERO, 0);
        while done < size {
            for _ in 0..TOGETHER {
                materials.push(material()?);
            }
            let before = cpu();
            for material in materials.drain(..) {
                results.push(work(black_box(material)));
            }
            took += cpu().saturating_sub(before);
            done += results.len();
            black_box(&results);
            results.clear();
        }
        if batch > 0 {
            each.push(took.as_secs_f64() * 1e9 / float(done as u64));
        }
    }
    Ok(Summary::of(each))
}

/// What the thread has taken so far.
fn cpu() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or_default())
}

/// A rulebook of these routes, of events as [`event`] makes them.
pub(crate) fn rulebook(routes: &str) -> Outcome<Rulebook> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("pointsman.yaml");
    std::fs::write(&file, format!("{CONFIGURATION}routes:\n{routes}"))?;
    let config = load(&file)?;
    let rules = Rules::of(&config);
    let queries = Queries { epoch: 1, ..Queries::default() };
    Rulebook::compile(Generation(1), rules, queries.into())
        .map_err(|faults| format!("the rulebook has {} errors", faults.errors()).into())
}

const CONFIGURATION: &str = "
listen: 127.0.0.1:0
admin: { listen: 127.0.0.1:0 }
event: { payload: data, tenant: data.tenant_id, id: data.id, type: data.type }
auth: { providers: [{ tokens: { t: { user: 1, tenant: acme } } }] }
";

fn load(file: &Path) -> Outcome<Config> {
    let Loaded { config, .. } = pointsman::config::load(&ConfigFile::Disk(file.to_owned()), "bench", &|_| None)?;
    Ok(config)
}

/// A body of some 500 bytes: 18 fields, nested two levels. Its type is `kind.N`.
pub(crate) fn body(kind: usize) -> Bytes {
    let body = format!(
        r#"{{"v":1,"source":"crm","data":{{"id":731245,"type":"kind.{kind}","tenant_id":"acme","deal_id":4242,"title":"A deal with a name of some length","stage":"negotiation","amount":15250.5,"currency":"EUR","actor_id":8,"owner_id":9,"record":{{"id":77031,"board":"sales","kind":"deal","open":true}},"tags":["warm","2026","import"],"note":"Called twice, will call again on Monday morning; prefers mail.","changed":{{"stage":["lead","negotiation"],"amount":[15000,15250.5]}},"at":"2026-11-24T10:15:30.123Z"}}}}"#
    );
    body.into()
}

/// An event of this body.
pub(crate) fn event(rulebook: &Rulebook, body: Bytes, received: Instant) -> Outcome<Event> {
    Ok(rulebook.decoder.decode(body, Envelope::NONE, received)?)
}

/// When all of them were received.
pub(crate) fn received() -> Instant {
    now()
}
