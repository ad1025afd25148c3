//! Whatever a file holds, reading it comes to an end, and says where it is wrong.

use proptest::prelude::*;

use super::*;

/// Pieces that files are made of, and pieces that break them.
const PIECES: [&str; 44] = [
    "event:",
    "auth:",
    "routes:",
    "topics:",
    "amqp:",
    "database:",
    "admin:",
    "limits:",
    "include:",
    "queries:",
    "providers:",
    "tokens:",
    "tenant:",
    "name:",
    "to:",
    "when:",
    "url:",
    "query:",
    "users:",
    "- ",
    "  ",
    "    ",
    "\n",
    "\n",
    "\n  ",
    "\n    - ",
    " ",
    "\t",
    "{",
    "}",
    "[",
    "]",
    ",",
    "\"",
    "'",
    ": ",
    "*",
    "&a ",
    "*a",
    "${SECRET}",
    "${",
    "ü\u{1f980}",
    "\r\n",
    "7",
];

/// What one types by accident.
const SLIPS: [&str; 16] = ["", " ", "  ", "\n", "\t", "- ", ": ", ":", ",", "\"", "'", "{", "}", "[", "#", "x"];

/// A configuration full of secrets, on lines of their own and inside of brackets.
const SECRETS: &str = "\
admin:
  listen: 0.0.0.0:9090
  key: s3cret
amqp: { url: \"amqp://app:s3cret@mq/v\", queues: [{ name: q }] }
database:
  url: sqlite://app:s3cret@x
event: { tenant: data.tenant_id }
auth:
  providers:
    - tokens:
        s3cret: { user: 1, tenant: acme }
        s3cret2:
          user: 2
          tenant: acme
    - tokens: { s3cret3: { user: 1, tenant: acme } }
routes: [{ name: all, to: everyone }]
";

proptest! {
    #[test]
    fn a_slip_of_the_hand_shows_no_secret(at in 0..SECRETS.len(), cut in 0..3usize, piece in prop::sample::select(&SLIPS[..])) {
        let end = (at + cut).min(SECRETS.len());
        let text = format!("{}{piece}{}", &SECRETS[..at], &SECRETS[end..]);
        let (said, json) = all_said(&text);
        prop_assert!(!said.contains("s3cret") && !json.contains("s3cret"), "{text}\n{said}");
    }

    #[test]
    fn reading_anything_says_where_it_is_wrong(pieces in prop::collection::vec(prop::sample::select(&PIECES[..]), 0..40)) {
        let text = pieces.concat();
        let diagnostics = examine(&text);
        prop_assert!(diagnostics.errors() > 0, "{text:?} is no whole configuration");
        let (said, json) = all_said(&text);
        prop_assert!(!said.contains("hunter2") && !json.contains("hunter2"), "{said}");
        for diagnostic in diagnostics.iter() {
            prop_assert!(diagnostic.place.line() <= text.lines().count().max(1) + 1);
        }
    }
}

#[test]
fn what_a_comment_hides_is_not_shown() {
    for (old, new) in [
        ("    - tokens: { s3cret3", "    - #tokens: { s3cret3"),
        ("  listen: 0.0.0.0:9090\n  key: s3cret\n", "  listen: nowhere # key: s3cret\n"),
        ("  listen: 0.0.0.0:9090\n  key: s3cret\n", "  listen: \"it's\" # key: s3cret\n"),
        ("  listen: 0.0.0.0:9090\n  key: s3cret\n", "  listen: it's # key: s3cret\n"),
    ] {
        assert!(SECRETS.contains(old), "{old}");
        let (said, json) = all_said(&SECRETS.replace(old, new));
        assert!(!said.contains("s3cret") && !json.contains("s3cret"), "{said}");
    }
}

fn examine(text: &str) -> Diagnostics {
    let source = place::SourceFile::new("x.yaml".into(), "x.yaml".to_owned(), text.to_owned());
    let mut diagnostics = Diagnostics::default();
    let mut files = Files::of(&ConfigFile::Embedded);
    if let Some(mut root) = yaml::parse(&source, &mut diagnostics) {
        variables::expand(&mut root, &environment, &mut diagnostics);
        if let Some(raw) = At::<RawConfig>::read(&root, &mut diagnostics) {
            validate::validate(&raw.value, &raw.place, "i", &mut files, &mut diagnostics);
        }
    }
    diagnostics.finish()
}

/// What is said of a text, for people and for programs.
fn all_said(text: &str) -> (String, String) {
    let diagnostics = examine(text);
    let mut out = Vec::new();
    diagnostics.render(&mut out, true).unwrap();
    (String::from_utf8(out).unwrap(), diagnostics.to_json().to_string())
}
