//! A plugin: an event to an audience by a script, with everything, beside the same route compiled.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use pointsman::config::{Hook, PluginFile};
use pointsman::event::Audience;
use pointsman::route::NoScripts;
use pointsman::route::script::{LogSink, Plugin, ScriptLimits, Step, Vm};

use crate::micro::{body, event, measure, received, rulebook};
use crate::report::Report;
use crate::stats::Summary;
use crate::{Options, Outcome};

/// Nanoseconds with everything: the body's reading, the call, the audience.
const TARGET: f64 = 3000.0;

/// Six fields, two users, three topics.
const DECLARED: &str = "fields = { 'data.type', 'data.deal_id', 'data.record.id', 'data.record.board', 'data.owner_id', 'data.actor_id' },";
const SCRIPT: &str = "
  route = function(event, to)
    local data = event.data
    if string.sub(data.type, 1, 5) ~= 'kind.' then return end
    to:topic('deal:' .. data.deal_id)
    to:topic('record:' .. data.record.id)
    to:topic('board:' .. data.record.board)
    to:user(data.owner_id)
    to:user(data.actor_id)
  end";
const COMPILED: &str = "  - name: compiled
    when: { data.type: 'kind.*' }
    to:
      topics: ['deal:{data.deal_id}', 'record:{data.record.id}', 'board:{data.record.board}']
      users: ['{data.owner_id}', '{data.actor_id}']
";

/// Measures, and answers the table.
pub(crate) fn run(options: Options) -> Outcome<Report> {
    let (batches, size) = if options.short { (1, 100) } else { (options.rounds.unwrap_or(21), 10_000) };
    let compiled = rulebook(COMPILED)?;
    let (body, at) = (body(7), received());
    let fast = measure(
        batches,
        size,
        || Ok(body.clone()),
        |body| event(&compiled, body, at).map(|event| compiled.routes.decide(event, &mut NoScripts)).ok(),
    )?;
    let by_script = |text: String| -> Outcome<(Summary, Summary)> {
        let mut rulebook = rulebook(COMPILED)?;
        let mut file = PluginFile::of_text("bench.lua", &text);
        let site = file.call(Hook::Route, serde_json::json!({}));
        let limits = ScriptLimits { budget: Duration::from_millis(10), memory: 8 << 20 };
        let plugin = Plugin::compile(&file, limits).map_err(|faults| format!("{faults:?}"))?;
        let view = plugin.view(&mut rulebook.decoder);
        let silent: LogSink = Rc::new(|_, _| ());
        let vm = Vm::new(&Arc::new(plugin), &silent)?;
        let wrong = Cell::new(0);
        let route = |event| match vm.route(site, &event, &view) {
            Step::Done(Ok(routing)) if routing.clauses.len() == 1 => {
                Some((Audience::of_tenant(&event, routing.clauses), event))
            }
            _ => {
                wrong.set(wrong.get() + 1);
                None
            }
        };
        let whole =
            measure(batches, size, || Ok(body.clone()), |body| event(&rulebook, body, at).ok().and_then(route))?;
        let alone = measure(batches, size, || event(&rulebook, body.clone(), at), route)?;
        if wrong.get() > 0 { Err("the plugin fails".into()) } else { Ok((whole, alone)) }
    };
    let (declared, declared_alone) = by_script(format!("return {{ {DECLARED} {SCRIPT} }}"))?;
    let (all, all_alone) = by_script(format!("return {{ {SCRIPT} }}"))?;
    // Text that names it makes a coroutine of each call.
    let (waiting, waiting_alone) = by_script(format!("local ask = lookup return {{ {DECLARED} {SCRIPT} }}"))?;
    let row = |name: &str, whole: Summary, alone: Option<Summary>| {
        let ratio = format!("{:.1} ×", whole.median / fast.median);
        vec![name.to_owned(), whole.show(0), alone.map_or_else(String::new, |alone| alone.show(0)), ratio]
    };
    let mut notes = Vec::new();
    if !options.short {
        let met = if declared.median <= TARGET { "met" } else { "missed" };
        notes.push(format!("Target: at most {TARGET} ns with everything, for declared fields; {met}."));
    }
    notes.push(format!("CPU time, for a body of {} bytes, to three topics of two users.", body.len()));
    Ok(Report {
        title: format!("One event by a script (median and range of {batches} batches)"),
        columns: vec!["", "ns, with the body's reading", "ns, the call alone", "to the fast path"],
        rows: vec![
            row("the fast path, compiled", fast, None),
            row("a plugin that declares six fields", declared, Some(declared_alone)),
            row("the same, that may ask queries", waiting, Some(waiting_alone)),
            row("the same, handed the whole event", all, Some(all_alone)),
        ],
        notes,
    })
}
