use super::super::place::SourceFile;
use super::guess;
use super::*;

/// A file of one line with this text.
fn line(text: &str) -> Place {
    let file = SourceFile::new("c.yaml".into(), "c.yaml".to_owned(), text.to_owned());
    Place::new(&file, 0..text.len())
}

#[test]
fn the_first_100_are_shown_errors_before_warnings_and_the_rest_is_counted() {
    let place = line(&"x".repeat(1000));
    let mut diagnostics = Diagnostics::default();
    for at in 0..150 {
        diagnostics.warning(&place.part(at..at + 1), "odd");
        diagnostics.error(&place.part(500 + at % 60..501 + at % 60), format!("wrong {}", at / 60));
    }
    let diagnostics = diagnostics.finish();
    assert_eq!((diagnostics.errors(), diagnostics.warnings(), diagnostics.left_out()), (150, 150, 200));
    assert_eq!(diagnostics.iter().filter(|shown| shown.severity == Severity::Error).count(), 100);
    let mut out = Vec::new();
    diagnostics.render(&mut out, false).unwrap();
    let out = String::from_utf8(out).unwrap();
    assert!(out.ends_with("... and 200 more, which are not shown\n\n"), "{out}");
    assert_eq!(diagnostics.to_json().as_array().unwrap().len(), 100);
    // A second time changes nothing.
    assert_eq!(diagnostics.finish().left_out(), 200);
}

#[test]
fn a_long_line_is_shown_around_its_fault_with_its_secrets_masked() {
    // As of a minified file that is not YAML: each word may be a secret.
    let text = "{\"topics\":\"hunter2\"},".repeat(50_000);
    let whole = line(&text);
    let at = text.len() / 2 / 21 * 21 + 2;
    let mut diagnostics = Diagnostics::default();
    diagnostics.guess_secrets(&whole);
    for _ in 0..100 {
        diagnostics.error(&whole.part(at..at + 6), "wrong");
    }
    let mut out = Vec::new();
    diagnostics.render(&mut out, false).unwrap();
    let out = String::from_utf8(out).unwrap();
    let shown = out.lines().find(|line| line.starts_with("1 | ")).unwrap();
    assert!(shown.len() < 200 && shown.starts_with("1 | ... ") && shown.ends_with(" ..."), "{shown}");
    assert!(shown.contains("{\"topics\":\"***\"},") && !out.contains("hunter2"), "{shown}");
    let marked = out.lines().find(|line| line.contains("^^^^^^")).unwrap();
    assert_eq!(&shown[marked.find('^').unwrap()..=marked.rfind('^').unwrap()], "topics");
    let json = diagnostics.to_json().to_string();
    assert!(json.len() < 100 * 500 && !json.contains("hunter2"), "{}", json.len());
}

#[test]
fn suggestions_are_close() {
    for (word, expected) in [
        ("exchagne", Some("exchange")),
        ("Exchange", Some("exchange")),
        ("auto-delete", Some("auto_delete")),
        ("que", None),
        ("xyz", None),
    ] {
        assert_eq!(similar(word, ["exchange", "auto_delete", "queues"]), expected, "{word}");
    }
}

#[test]
fn what_looks_like_a_secret_is_found() {
    for (text, expected) in [
        ("key: abc\nkey: key\n", &["abc"][..]),
        ("key: { \"s3-c/r=t\": [x y, 'z'] }", &["s3-c/r=t", "x", "y", "z"]),
        ("---\n- | # ü", &["ü"]),
    ] {
        let found: Vec<_> = guess::secrets(text, |word| word == "key").into_iter().map(|range| &text[range]).collect();
        assert_eq!(found, expected, "{text}");
    }
    for (line, expected) in [
        ("url: amqp://u:p@mq/v", &["u:p"][..]),
        ("[\"a://u:p@ss@h\", 'b://u@h', c://h]", &["u:p@ss", "u"]),
        ("url: amqp://mq/v", &[]),
    ] {
        let found: Vec<_> = guess::credentials(line).into_iter().map(|range| &line[range]).collect();
        assert_eq!(found, expected, "{line}");
    }
}
