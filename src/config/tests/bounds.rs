use std::fmt::Write;

use super::*;

/// Returns the diagnostics of a configuration whose one route names `count` fields.
fn said_of_fields(count: usize) -> String {
    let mut when = String::new();
    for field in 0..count {
        write!(when, "f{}.g{}: 1, ", field / 200, field % 200).unwrap();
    }
    said(&[("c.yaml", &BASE.replace("to: {", &format!("when: {{ {when} }}, to: {{")))])
}

#[test]
fn more_fields_than_an_event_has_places_for_are_refused_at_the_first_of_them() {
    assert_eq!(said_of_fields(10_000), "");
    let said = said_of_fields(70_000);
    assert!(
        said.starts_with(
            "error: `f50.g0` is one field too many: all routes name at most 10000 different ones\n --> c.yaml:3:"
        ),
        "{said:.300}"
    );
    assert_eq!(said.matches("error: ").count(), 1, "{said:.1000}");
}

#[test]
fn many_topic_rules_are_held_against_each_other() {
    let mut rules = String::from("topics:\n");
    for rule in 0..20_000 {
        writeln!(rules, "  - {{ match: \"t{rule}:{{id}}\", allow: true }}").unwrap();
    }
    assert_eq!(said(&[("c.yaml", &format!("{BASE}{rules}"))]), "");
    rules.push_str("  - { match: \"t19999:{other}\", allow: true }\n");
    let said = said(&[("c.yaml", &format!("{BASE}{rules}"))]);
    assert!(said.contains("never asked: `t19999:{id}` matches all of `t19999:{other}` before"), "{said}");
}

#[test]
fn of_many_faults_100_are_shown_and_the_others_counted() {
    let mut topics = String::from("topics:\n");
    for rule in 0..10_000 {
        writeln!(topics, "  - {{ match: \"a::{rule}\", allow: true }}").unwrap();
    }
    let said = said(&[("c.yaml", &format!("{BASE}{topics}"))]);
    assert_eq!(said.matches("error: ").count(), 100);
    assert!(said.ends_with("... and 9900 more, which are not shown\n\n"), "{said}");
}

#[test]
fn a_database_that_is_reached_over_an_open_network_needs_tls() {
    let risk = "passwords and rows may travel unencrypted to this server";
    for (url, is_risky) in [
        ("postgres://u@db.example.com/app", true),
        ("postgres://u@8.8.8.8/app?sslmode=prefer", true),
        ("postgres://u@db.example.com/app?sslmode=disable", true),
        ("postgres://u@db.example.com/app?sslmode=require", false),
        ("postgres://u@db.example.com/app?sslmode=verify-full", false),
        ("postgres://u@db.internal/app", false),
        ("postgres://u@127.0.0.1/app", false),
        ("postgres://u@[::1]:5432/app", false),
        ("postgres://u@/app?host=/run/postgresql", false),
        ("postgres:///app?host=db.example.com", true),
        ("mysql://u@db.example.com/app", true),
        ("mysql://u@db.example.com/app?ssl-mode=PREFERRED", true),
        ("mysql://u@db.example.com/app?ssl-mode=REQUIRED", false),
        ("mysql://u@db/app", false),
    ] {
        let said = said(&[("c.yaml", &format!("{BASE}database: {{ url: \"{url}\" }}\n"))]);
        assert_eq!(said.contains(risk), is_risky, "{url}: {said}");
    }
}
