use super::guess;
use super::*;

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
