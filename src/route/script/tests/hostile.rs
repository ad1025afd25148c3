//! Scripts that run away, each by another door: all are stopped within a few budgets of CPU time, and leave a machine
//! that works, or one that is known to be spent.

use std::env;
use std::process::Command;

use rustix::time::{ClockId, clock_gettime};

use super::attacks::{ATTACKS, Ends, FULL};
use super::*;

/// A call may take its budget twice, and then what the operation takes that is under way. Builds with debug assertions
/// are slow, so this is generous; what would run away takes seconds.
const MOST: Duration = Duration::from_millis(250);

/// Set in a child process of these tests, in which a panic ends the process as it does in a server.
const PANICS_ABORT: &str = "POINTSMAN_TEST_PANICS_ABORT";

fn panics_abort_in_child() {
    if env::var_os(PANICS_ABORT).is_some() {
        crate::runtime::panics_abort();
    }
}

fn cpu() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap())
}

#[test]
fn whatever_runs_away_is_stopped_and_the_machine_works_or_is_known_to_be_spent() {
    panics_abort_in_child();
    let mut wrong = Vec::new();
    // A plugin that says `lookup` is run as a coroutine.
    for ((name, locals, attack, ends), waits) in ATTACKS.iter().flat_map(|attack| [(attack, ""), (attack, "lookup,")]) {
        let locals = format!("local _ = {waits} 1 {locals}");
        let text = format!(
            "{locals}\nreturn {{ route = function(event, to)\nif event.data.calm then to:tenant() return end\n{attack}\nend }}"
        );
        let mut stand = Stand::new(&text);
        let before = cpu();
        let result = stand.route(r#"{"data":{"tenant":"acme"}}"#);
        let took = cpu().saturating_sub(before);
        let ended = match &result {
            Ok(_) => Ends::Well,
            Err(error) => match error.kind {
                ScriptFailure::Budget => Ends::Budget,
                ScriptFailure::Memory => Ends::Memory,
                _ => Ends::Error,
            },
        };
        if *ends != Ends::Somehow && ended != *ends {
            wrong.push(format!("{name}: {result:?}"));
        }
        if took > MOST {
            wrong.push(format!("{name}: {took:?}"));
        }
        if stand.vm.is_spent() {
            stand.replace();
        }
        let after = stand.route(r#"{"data":{"tenant":"acme","calm":true}}"#);
        if after.as_ref().map(shown) != Ok("tenant".to_owned()) {
            wrong.push(format!("{name}: afterwards {after:?}"));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
    assert!(ATTACKS.len() > 40);
}

#[test]
fn what_runs_away_while_it_is_loaded_is_no_plugin() {
    for (text, said) in [
        (
            "while true do end",
            "p.lua: the plugin cannot be loaded: it took more CPU time than its budget, which is 10ms",
        ),
        ("while true do pcall(function() while true do end end) end", "more CPU time"),
        ("local s = 'x' while true do s = s .. s end", "more memory"),
        ("local s = string.rep('x', 2^30)", "the plugin cannot be loaded"),
        ("return { route = (function() while true do end end)() }", "more CPU time"),
        ("local t = {} for i = 1, 1e9 do t[i] = {} end", "the plugin cannot be loaded"),
    ] {
        let before = cpu();
        let faults = Plugin::compile(&file(text), LIMITS).unwrap_err();
        assert!(format!("p.lua: {}", faults[0].message).contains(said), "{text}: {faults:?}");
        let took = cpu().saturating_sub(before);
        assert!(took < MOST, "{text}: {took:?}");
    }
}

#[test]
fn each_attack_at_the_top_level_is_a_fault_or_costs_nothing() {
    panics_abort_in_child();
    for (name, locals, attack, _) in ATTACKS {
        let text =
            format!("{locals}\nlocal function attack()\n{attack}\nend attack()\nreturn {{ route = function() end }}");
        // Time enough to fill the memory.
        let patience = if *locals == FULL { 10 } else { 1 };
        let limits = ScriptLimits { budget: patience * LIMITS.budget, ..LIMITS };
        let before = cpu();
        let compiled = Plugin::compile(&file(&text), limits);
        let took = cpu().saturating_sub(before);
        assert!(took < patience * MOST, "{name}: {took:?}, {compiled:?}");
        if let Ok(plugin) = compiled {
            // If its memory is full, it fails here.
            let sink: LogSink = Rc::new(|_, _| {});
            drop(Vm::new(&Arc::new(plugin), &sink));
        }
    }
}

#[test]
fn no_attack_ends_the_process() {
    let (_, module) = module_path!().split_once("::").unwrap();
    for test in [
        "whatever_runs_away_is_stopped_and_the_machine_works_or_is_known_to_be_spent",
        "each_attack_at_the_top_level_is_a_fault_or_costs_nothing",
    ] {
        let mut child = Command::new(env::current_exe().unwrap());
        let child = child
            .args([&format!("{module}::{test}"), "--exact", "--nocapture"])
            .env(PANICS_ABORT, "1")
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&child.stdout);
        assert!(
            child.status.success() && said.contains("1 passed"),
            "{test}: {}\n{said}{}",
            child.status,
            String::from_utf8_lossy(&child.stderr)
        );
    }
}

#[test]
fn a_leak_over_many_calls_ends_in_a_new_machine() {
    let mut stand = Stand::new(
        "local kept = {} return { route = function(event, to) kept[#kept + 1] = string.rep('x', 100000) .. #kept to:tenant() end }",
    );
    let mut replaced = 0;
    for _ in 0..500 {
        // Each single call is fine, or fails for want of memory once and not again.
        let failed = stand.route(r#"{"data":{}}"#).is_err();
        assert!(!failed || stand.vm.is_spent());
        if stand.vm.is_spent() {
            stand.replace();
            replaced += 1;
        }
    }
    assert!((3..50).contains(&replaced), "{replaced}");
}

#[test]
fn a_call_that_waits_for_its_core_is_not_stopped() {
    let text = "return { route = function(event, to) log.info('x') for i = 1, 1000 do end to:tenant() end }";
    let stand = Stand::new(text);
    // By the clock on the wall the call takes five budgets, and next to nothing of CPU time.
    let sink: LogSink = Rc::new(|_, _| {
        let (_sender, receiver) = std::sync::mpsc::sync_channel::<()>(0);
        receiver.recv_timeout(5 * LIMITS.budget).unwrap_err();
    });
    let vm = Vm::new(&stand.plugin, &sink).unwrap();
    let routing = done(vm.route(0, &stand.event(r#"{"data":{}}"#), &stand.view));
    assert_eq!(routing.as_ref().map(shown), Ok("tenant".to_owned()));
}
