//! Of the scanner, for each dialect.

use proptest::prelude::*;

use super::Dialect::{Mysql, Postgres, Sqlite};
use super::*;

const ALL: [Dialect; 3] = [Sqlite, Postgres, Mysql];

fn read(dialect: Dialect, sql: &str) -> Sql {
    Sql::read(dialect, sql).unwrap_or_else(|error| panic!("{dialect:?} {sql}: {error}"))
}

/// What a text becomes, and the names that it binds.
fn check(dialect: Dialect, sql: &str, expected: &str, names: &[&str]) {
    let read = read(dialect, sql);
    let found: Vec<&str> = read.names().iter().map(CompactString::as_str).collect();
    assert_eq!((read.text().as_str(), found), (expected, names.to_vec()), "{dialect:?} {sql}");
}

/// Texts in which there is no bind.
fn check_none(dialect: Dialect, texts: &[&str]) {
    for sql in texts {
        check(dialect, sql, sql, &[]);
    }
}

fn check_error(dialect: Dialect, cases: &[(&str, &str)]) {
    for (sql, said) in cases {
        let error = Sql::read(dialect, sql).expect_err(sql);
        assert!(error.contains(said), "{dialect:?} {sql}: {error}");
    }
}

#[test]
fn binds_are_written_as_their_database_wants_them() {
    for (sql, sqlite, postgres, mysql, names) in [
        ("SELECT 1", "SELECT 1", "SELECT 1", "SELECT 1", &[][..]),
        ("SELECT :a", "SELECT ?1", "SELECT $1", "SELECT ?", &["a"]),
        ("SELECT :b, :a, :b", "SELECT ?1, ?2, ?1", "SELECT $1, $2, $1", "SELECT ?, ?, ?", &["b", "a"]),
        (
            "SELECT x WHERE a=:a_1AND b",
            "SELECT x WHERE a=?1 b",
            "SELECT x WHERE a=$1 b",
            "SELECT x WHERE a=? b",
            &["a_1AND"],
        ),
        ("SELECT (:a)||:b;", "SELECT (?1)||?2;", "SELECT ($1)||$2;", "SELECT (?)||?;", &["a", "b"]),
        ("SELECT :größe", "SELECT ?1", "SELECT $1", "SELECT ?", &["größe"]),
        (
            "SELECT :a :b ; /* x */\n;",
            "SELECT ?1 ?2 ; /* x */\n;",
            "SELECT $1 $2 ; /* x */\n;",
            "SELECT ? ? ; /* x */\n;",
            &["a", "b"],
        ),
        ("a IN(1)AND:a", "a IN(1)AND?1", "a IN(1)AND $1", "a IN(1)AND?", &["a"]),
    ] {
        for (dialect, expected) in [(Sqlite, sqlite), (Postgres, postgres), (Mysql, mysql)] {
            check(dialect, sql, expected, names);
        }
    }
}

#[test]
fn a_repeated_name_is_sent_once_or_as_often_as_it_stands() {
    let sql = "SELECT :b, :a, :b";
    for (dialect, sent) in [(Sqlite, vec![0, 1]), (Postgres, vec![0, 1]), (Mysql, vec![0, 1, 0])] {
        assert_eq!(read(dialect, sql).sent(), sent, "{dialect:?}");
    }
}

#[test]
fn binds_can_be_written_otherwise_and_the_end_left_out() {
    let sql = read(Postgres, "SELECT :a, :b; -- done\n");
    let cast = |bind| (bind == 1).then(|| "($2::text)::inet".to_owned());
    assert_eq!(sql.inner_text(&cast), "SELECT $1, ($2::text)::inet -- done\n");
}

#[test]
fn what_is_quoted_commented_or_an_operator_is_no_bind() {
    for dialect in ALL {
        check_none(
            dialect,
            &[
                "SELECT ':a'",
                "SELECT 'it''s :a'",
                "SELECT 1 -- :a",
                "SELECT 1 -- :a\n",
                "SELECT /* :a ' */ 1",
                "SELECT /*/ :a */ 1",
                "SELECT a::text",
                "SELECT a:=1",
                "SELECT a - b / c * d, a$b",
            ],
        );
        let (one, two) = match dialect {
            Sqlite => ("?1", "?2"),
            Postgres => ("$1", "$2"),
            Mysql => ("?", "?"),
        };
        check(dialect, "SELECT ':a'||:a||'--'||:b", &format!("SELECT ':a'||{one}||'--'||{two}"), &["a", "b"]);
        check(dialect, "SELECT 1 -- '\n, :a", &format!("SELECT 1 -- '\n, {one}"), &["a"]);
    }
}

#[test]
fn what_sqlite_quotes() {
    check_none(Sqlite, &["SELECT \"a:b\"\":c\"", "SELECT `a:b``:c`", "SELECT [a:b]", "SELECT '?', \"@x\""]);
    // A backslash is nothing of its kind there.
    check(Sqlite, r"SELECT '\', :a, '\'", r"SELECT '\', ?1, '\'", &["a"]);
}

#[test]
fn what_postgresql_quotes() {
    check_none(
        Postgres,
        &[
            r"SELECT E'it\'s :a'",
            r"SELECT e'\\', 'b :a'",
            "SELECT E'a'\n  'b\\' :a'",
            r#"SELECT U&"d\0061t:a", U&'\0441 :a'"#,
            "SELECT $$ :a ' $$",
            "SELECT $tag$ :a $$ :b $t$ $tag$",
            "SELECT /* one /* two :a */ :b */ 1",
            "SELECT /* a */ 1 /**/",
            "SELECT a[1:2], a[lo:hi], a[:], a[:2], a[1:], (a)[f(x):g(y)], a[b[1]:2]",
            "SELECT '{1,2}'::int[] @> ARRAY[1]",
            "SELECT data ? 'a' AND data ?| ARRAY['a'] AND data ?& ARRAY['b'] AND data #>> '{a}' = '1'",
            "SELECT @ -5, 5 # 3, a.b$1, now() AT TIME ZONE 'x:y'",
            "SELECT \"a:b\"\":c\"",
        ],
    );
    for (sql, expected) in [
        // Backslashes are plain characters, but in E''.
        (r"SELECT '\', :a, '\'", r"SELECT '\', $1, '\'"),
        (r"SELECT name'\', :a, '\'", r"SELECT name'\', $1, '\'"),
        ("SELECT E'a' 'b\\', :a, '\\'", "SELECT E'a' 'b\\', $1, '\\'"),
        ("SELECT :a::int8, x::text, (:a)::uuid", "SELECT $1::int8, x::text, ($1)::uuid"),
        ("SELECT x[:a], x[1: :a], x[(:a)], ARRAY[1,:a]", "SELECT x[$1], x[1: $1], x[($1)], ARRAY[1,$1]"),
        ("SELECT x[CASE WHEN :a THEN 1 END]", "SELECT x[CASE WHEN $1 THEN 1 END]"),
        ("SELECT a$$b, :a", "SELECT a$$b, $1"),
        ("SELECT $$a$$||:a||$x$:a$x$", "SELECT $$a$$||$1||$x$:a$x$"),
        ("SELECT 1 -- :b\r, :a", "SELECT 1 -- :b\r, $1"),
        ("SELECT x ?| :a", "SELECT x ?| $1"),
        ("SELECT f(y => :a, z := :a)", "SELECT f(y => $1, z := $1)"),
        ("SELECT [:a", "SELECT [$1"),
    ] {
        check(Postgres, sql, expected, &["a"]);
    }
}

#[test]
fn what_mysql_quotes() {
    check_none(
        Mysql,
        &[
            r"SELECT 'it\'s :a'",
            r#"SELECT "say \":a\"", '\\'"#,
            "SELECT \"it\"\":a\"",
            "SELECT `a:b``:c`",
            "SELECT 1 # :a '\n, 2",
            "SELECT 1 --\t:a",
            "SELECT 1 --",
            "SELECT @a, @@global.x, @a := 1, @'b:c'",
            "SELECT [a], $b",
        ],
    );
    for (sql, expected) in [
        (r"SELECT '\\', :a, '\\'", r"SELECT '\\', ?, '\\'"),
        (r"SELECT `\`, :a, `\`", r"SELECT `\`, ?, `\`"),
        ("SELECT 1--:a", "SELECT 1--?"),
        ("SELECT /* /* */ :a -- */", "SELECT /* /* */ ? -- */"),
        ("SELECT @x:=:a", "SELECT @x:=?"),
        ("SELECT 1 # it's\n, :a", "SELECT 1 # it's\n, ?"),
    ] {
        check(Mysql, sql, expected, &["a"]);
    }
}

#[test]
fn what_cannot_be_read_says_why() {
    for dialect in ALL {
        check_error(
            dialect,
            &[
                ("SELECT 'abc", "`'abc` is never closed"),
                ("SELECT 'abc''", "`'abc''` is never closed"),
                ("SELECT \"a", "`\"a` is never closed"),
                ("SELECT /* a very long comment it is", "`/* a very long comme…` is never closed"),
                ("SELECT :", "is no bind"),
                ("SELECT :1", "is no bind"),
                ("SELECT 1; DELETE FROM t", "`DELETE` begins a second one"),
                ("SELECT 1;:a", "begins a second one"),
                ("", "there is no statement"),
                (" -- nothing\n;", "there is no statement"),
            ],
        );
    }
    check_error(
        Sqlite,
        &[
            ("SELECT [a", "`[a` is never closed"),
            ("SELECT ?", "write `:name`"),
            ("SELECT ?1", "write `:name`"),
            ("SELECT @a", "write `:name`"),
            ("SELECT $a", "write `:name`"),
            ("SELECT :a$b", "write `:name`"),
        ],
    );
    check_error(
        Postgres,
        &[
            ("SELECT $1", "write `:name`"),
            ("SELECT $tag$ x $t$", "`$tag$ x $t$` is never closed"),
            ("SELECT /* /* */", "is never closed"),
            (r"SELECT E'\'", "is never closed"),
            ("SELECT a[1]:2", "is no bind"),
        ],
    );
    check_error(
        Mysql,
        &[("SELECT ?", "write `:name`"), (r"SELECT '\'", "is never closed"), ("SELECT `a", "is never closed")],
    );
}

proptest! {
    #[test]
    fn any_text_is_read_without_a_panic(text in "\\PC*|[':\"`;a/*\\-\\[\\]\n$?@=é#\\\\eE()1 ]*") {
        for dialect in ALL {
            if let Ok(sql) = Sql::read(dialect, &text) && !text.contains(':') {
                prop_assert_eq!(sql.text(), text.as_str());
                prop_assert!(sql.names().is_empty());
            }
        }
    }

    #[test]
    fn everything_but_the_binds_stays(
        (dialect, pieces) in proptest::sample::select(ALL.to_vec()).prop_flat_map(|dialect| {
            (Just(dialect), proptest::collection::vec(piece_of_sql(dialect), 1..30))
        })
    ) {
        let (mut sql, mut expected) = ("x ".to_owned(), "x ".to_owned());
        let mut names = Vec::<&str>::new();
        let mut sent = Vec::new();
        for (text, bind) in &pieces {
            if !bind {
                sql.push_str(text);
                expected.push_str(text);
                continue;
            }
            write!(sql, " :{text} ").unwrap();
            let index = names.iter().position(|name| name == text).unwrap_or(names.len());
            if index == names.len() {
                names.push(text);
            }
            sent.push(index);
            match dialect {
                Sqlite => write!(expected, " ?{} ", index + 1).unwrap(),
                Postgres => write!(expected, " ${} ", index + 1).unwrap(),
                Mysql => expected.push_str(" ? "),
            }
        }
        let read = Sql::read(dialect, &sql).unwrap();
        prop_assert_eq!(read.text(), expected);
        prop_assert_eq!(read.names(), &names);
        if dialect == Mysql {
            prop_assert_eq!(read.sent(), sent);
        }
    }
}

/// A piece that keeps apart from its neighbours, and whether it is a bind.
fn piece_of_sql(dialect: Dialect) -> impl Strategy<Value = (&'static str, bool)> {
    let mut verbatim = vec![" ", "\n", "( ", ") ", "'a:b'' ' ", "/* :c */", "-- :d '\n", "::", " é ", "<> ", "a$b "];
    verbatim.extend(match dialect {
        Sqlite => &["[:z] ", "`:y` ", "\":x\" "][..],
        Postgres => {
            &["E'\\' :a' ", "$t$ :a $$ $t$ ", "/* /* :a */ ' */", "a[1:2] ", "?| ", "@> ", "\":x\" ", "|| '\\' "]
        }
        Mysql => &["'\\' :a' ", "\"\\\" :a\" ", "`:y` ", "# :a '\n", "@v := ", "-1 ", "[ "],
    });
    let names = ["a", "tenant", "b2", "_x"];
    prop_oneof![
        proptest::sample::select(verbatim).prop_map(|text| (text, false)),
        proptest::sample::select(names.to_vec()).prop_map(|text| (text, true)),
    ]
}
