//! The fast path: an event to an audience by one of many compiled routes, with and without the reading of its body.

use pointsman::route::NoScripts;

use crate::micro::{body, event, measure, received, rulebook};
use crate::report::Report;
use crate::stats::{Grouped, Summary, float};
use crate::{Options, Outcome};

/// Nanoseconds, with the body's reading and without.
const TARGETS: (f64, f64) = (1000.0, 100.0);
/// How much slower the choice among many routes may be than among few.
const GROWTH: f64 = 2.0;
const FEW: usize = 50;
const MANY: usize = 5000;

/// Measures, and answers the table.
pub(crate) fn run(options: Options) -> Outcome<Report> {
    let (batches, size) = if options.short { (1, 100) } else { (options.rounds.unwrap_or(21), 20_000) };
    let mut rows = Vec::new();
    let mut decided = Vec::new();
    for count in [FEW, MANY] {
        let routes: String = (0..count).map(route).collect();
        let rulebook = rulebook(&routes)?;
        // In the middle, so that neither end is favoured.
        let (body, at) = (body(count / 2), received());
        let whole = measure(
            batches,
            size,
            || Ok(body.clone()),
            |body| event(&rulebook, body, at).map(|event| rulebook.routes.decide(event, &mut NoScripts)).ok(),
        )?;
        let alone = measure(
            batches,
            size,
            || event(&rulebook, body.clone(), at),
            |event| rulebook.routes.decide(event, &mut NoScripts),
        )?;
        rows.push(vec![format!("{} routes", Grouped(float(count as u64), 0)), whole.show(0), alone.show(0)]);
        decided.push((whole, alone));
    }
    Ok(report(body(FEW).len(), batches, options, rows, &decided))
}

fn route(number: usize) -> String {
    format!(
        "  - {{ name: route-{number}, when: {{ data.type: kind.{number} }}, to: {{ topic: 'deal:{{data.deal_id}}', except_user: '{{data.actor_id}}' }} }}\n"
    )
}

fn report(
    bytes: usize,
    batches: u16,
    options: Options,
    rows: Vec<Vec<String>>,
    decided: &[(Summary, Summary)],
) -> Report {
    let mut notes = Vec::new();
    if let ([(whole, alone), (_, among_many)], false) = (decided, options.short) {
        let met = |value: f64, target: f64| if value <= target { "met" } else { "missed" };
        let growth = among_many.median / alone.median;
        notes.push(format!(
            "Target: at most {} ns with the body's reading; {}.",
            TARGETS.0,
            met(whole.median, TARGETS.0)
        ));
        notes.push(format!("Target: at most {} ns without; {}.", TARGETS.1, met(alone.median, TARGETS.1)));
        notes.push(format!(
            "Target: among {MANY} at most {GROWTH} × as long as among {FEW}; {growth:.2} ×: {}.",
            met(growth, GROWTH)
        ));
    }
    notes.push(format!("CPU time, for a body of {bytes} bytes, to a topic without one user."));
    Report {
        title: format!("One event by the fast path (median and range of {batches} batches)"),
        columns: vec!["", "ns, with the body's reading", "ns, without"],
        rows,
        notes,
    }
}
