use std::fmt::Write;

use super::*;

/// The first fault of a text, with its place.
fn fault(text: &str) -> String {
    let file = SourceFile::new("x".into(), "x".to_owned(), text.to_owned());
    let mut diagnostics = Diagnostics::default();
    let node = parse(&file, &mut diagnostics);
    let first = diagnostics.iter().next();
    assert_eq!(node.is_none(), first.is_some());
    first.map_or_else(String::new, |first| format!("{}:{} {}", first.place.line(), first.place.column(), first.message))
}

#[test]
fn faults_are_named_at_their_place() {
    for (text, expected) in [
        ("a: b\n", ""),
        ("", ""),
        ("# nothing\n", ""),
        ("a: &x 1\nb: *x\n", ""),
        ("a: *x\n", "1:4 the alias has no anchor"),
        ("a: &x [*x]\n", "1:8 the alias stands inside of its own anchor"),
        ("a: !t b\n", "1:4 tags have no meaning here"),
        ("? [a]\n: b\n", "1:3 a key must be text"),
        ("<<: { a: b }\n", "1:1 merge keys are not supported"),
        ("a: b\n---\nc: d\n", "2:1 a second document starts here"),
    ] {
        assert_eq!(fault(text), expected, "{text:?}");
    }
}

#[test]
fn an_alias_bomb_is_refused() {
    let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..10 {
        let before = format!("*a{}, ", level - 1).repeat(10);
        writeln!(bomb, "a{level}: &a{level} [{}]", before.trim_end_matches(", ")).unwrap();
    }
    assert!(fault(&bomb).contains("more than 200000 values"), "{}", fault(&bomb));
}

#[test]
fn copies_that_nested_anchors_make_are_bounded() {
    let scalars = "x, ".repeat(40_000);
    let nested = |depth: usize| format!("{}{scalars}{}", "&a [".repeat(depth), "]".repeat(depth));
    assert_eq!(fault(&nested(3)), "");
    assert!(fault(&nested(5)).contains("more than 200000 values"), "{}", fault(&nested(5)));
}

#[test]
fn depth_is_bounded() {
    for (open, close) in [("[", "]"), ("{a: ", "}")] {
        let text = format!("{}x{}", open.repeat(10_000), close.repeat(10_000));
        assert_ne!(fault(&text), "");
    }
    let mut block = String::new();
    for depth in 0..200 {
        writeln!(block, "{}a:", " ".repeat(depth)).unwrap();
    }
    assert_ne!(fault(&block), "");
    let mut nested = "a0: &a0 [x]\n".to_owned();
    for level in 1..100 {
        writeln!(nested, "a{level}: &a{level} [*a{}]", level - 1).unwrap();
    }
    assert!(fault(&nested).contains("more than 64 deep"), "{}", fault(&nested));
}

#[test]
fn values_know_where_they_stand() {
    let text = "a:\n  b: \"x y\"\n  c: [1, zwei]\n  d: |\n    one\n    two\n";
    let file = SourceFile::new("x".into(), "x".to_owned(), text.to_owned());
    let node = parse(&file, &mut Diagnostics::default()).unwrap();
    let Kind::Map(root) = &node.kind else { panic!() };
    let (key, inner) = root.get("a").unwrap();
    assert_eq!((key.place.to_string().as_str(), key.place.text()), ("x:1:1", "a"));
    let Kind::Map(map) = &inner.kind else { panic!() };
    assert_eq!((inner.place.to_string().as_str(), inner.place.text()), ("x:2:3", "b"));
    assert_eq!(
        (map.get("b").unwrap().1.place.to_string().as_str(), map.get("b").unwrap().1.place.text()),
        ("x:2:6", "\"x y\"")
    );
    let Kind::List(items) = &map.get("c").unwrap().1.kind else { panic!() };
    assert_eq!((items[1].place.to_string().as_str(), items[1].place.text()), ("x:3:10", "zwei"));
    assert!(map.get("d").unwrap().1.place.text().contains("two"));
}
