//! Every type: what comes out, and what goes in.

use pointsman::event::Scalar;
use pointsman::lookup::LookupError;

use super::{Asked, databases, text};

const POSTGRES: &str = "
    CREATE EXTENSION citext;
    CREATE EXTENSION hstore;
    CREATE TYPE mood AS ENUM ('sad', 'fine');
    CREATE DOMAIN positive AS bigint CHECK (VALUE > 0);
    CREATE TYPE place AS (x int, y int);
";

const UUID: &str = "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11";

/// Asks for all of these expressions at once, and for each alone.
async fn check_out(url: &str, expected: &[(&str, Scalar)]) {
    let all: Vec<&str> = expected.iter().map(|(expression, _)| *expression).collect();
    let all = format!("SELECT {}", all.join(", "));
    let mut queries = vec![all];
    queries.extend(expected.iter().map(|(expression, _)| format!("SELECT {expression} AS value; -- end")));
    let queries: Vec<&str> = queries.iter().map(String::as_str).collect();
    let asked = Asked::open(url, "max: 2", &queries).await;
    for (number, (expression, value)) in (1..).zip(expected) {
        assert_eq!(asked.one(number).await, *value, "{expression}");
    }
    let values: Vec<Scalar> = expected.iter().map(|(_, value)| value.clone()).collect();
    assert_eq!(asked.ask(0).await, Ok(vec![values]), "all in one row");
}

#[tokio::test(flavor = "multi_thread")]
async fn columns_of_every_type_of_postgresql_are_read() {
    let [url, _] = databases(POSTGRES, "").await;
    let null = || Scalar::Null;
    check_out(
        &url,
        &[
            ("true", Scalar::Bool(true)),
            ("7::int2", Scalar::Int(7)),
            ("-7::int4", Scalar::Int(-7)),
            ("9223372036854775807::int8", Scalar::Int(i64::MAX)),
            ("4294967295::oid", Scalar::Int(4_294_967_295)),
            ("0.1::float4", Scalar::Float(0.1)),
            ("1.5::float8", Scalar::Float(1.5)),
            ("'NaN'::float8", text("NaN")),
            ("'-Infinity'::float4", text("-Infinity")),
            ("42::numeric", Scalar::Int(42)),
            ("sum(7::int8)", Scalar::Int(7)),
            ("-1.50::numeric(10,2)", Scalar::Float(-1.5)),
            ("12345678901234567890.5", text("12345678901234567890.5")),
            ("100000000000000000000::numeric", text("100000000000000000000")),
            ("0.00001", Scalar::Float(0.00001)),
            ("'NaN'::numeric", text("NaN")),
            ("'ö'::text", text("ö")),
            ("'x'::varchar(10)", text("x")),
            ("'x'::char(3)", text("x  ")),
            ("'n'::name", text("n")),
            ("'c'::\"char\"", text("c")),
            ("'Ann'::citext", text("Ann")),
            ("'a0eebc999c0b4ef8bb6d6bb9bd380a11'::uuid", text(UUID)),
            ("'{\"b\": 1, \"a\":2}'::json", text("{\"b\": 1, \"a\":2}")),
            ("'{\"b\": 1, \"a\":2}'::jsonb", text("{\"a\": 2, \"b\": 1}")),
            ("'<a/>'::xml", text("<a/>")),
            ("'\\x6869ff'::bytea", text("\\x6869ff")),
            ("'2026-11-24'::date", text("2026-11-24")),
            ("'0044-03-15 BC'::date", text("0044-03-15 BC")),
            ("'12:34:56.5'::time", text("12:34:56.5")),
            ("'12:34:56+02'::timetz", text("12:34:56+02")),
            ("'2026-11-24 07:40:00'::timestamp", text("2026-11-24 07:40:00")),
            ("'2026-11-24 07:40:00.25+02'::timestamptz", text("2026-11-24 05:40:00.25+00")),
            ("'infinity'::timestamptz", text("infinity")),
            ("'1 day 02:03:04'::interval", text("1 day 02:03:04")),
            ("'fine'::mood", text("fine")),
            ("5::positive", Scalar::Int(5)),
            ("(1, 2)::place", text("(1,2)")),
            ("ROW(1, 'a')", text("(1,a)")),
            ("ARRAY[1, 2]", text("{1,2}")),
            ("ARRAY['a b', NULL]", text("{\"a b\",NULL}")),
            ("'{sad}'::mood[]", text("{sad}")),
            ("'10.0.0.1/8'::inet", text("10.0.0.1/8")),
            ("'08:00:2b:01:02:03'::macaddr", text("08:00:2b:01:02:03")),
            ("'[1,5)'::int4range", text("[1,5)")),
            ("B'101'", text("101")),
            ("point(1, 2)", text("(1,2)")),
            ("'a=>1'::hstore", text("\"a\"=>\"1\"")),
            ("pg_sleep(0)", null()),
            ("NULL", null()),
            ("NULL::inet", null()),
            ("NULL::uuid", null()),
        ],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn columns_of_every_type_of_mariadb_are_read() {
    let [_, url] = databases("", "").await;
    let [_, table] = databases("", "
        CREATE TABLE t (
            yes TINYINT(1), five TINYINT(1), tiny TINYINT, small SMALLINT UNSIGNED, medium MEDIUMINT, plain INT, big BIGINT,
            huge BIGINT UNSIGNED, bits BIT(12), f FLOAT, d DOUBLE, whole DECIMAL(10,0), part DECIMAL(10,2), y YEAR,
            day DATE, moment DATETIME(3), stamp TIMESTAMP, span TIME, c CHAR(5), v VARCHAR(50) COLLATE utf8mb4_bin,
            t TEXT, e ENUM('a','b'), s SET('a','b'), j JSON, id BINARY(16), raw VARBINARY(20), u UUID, i INET6, nothing INT
        );
        INSERT INTO t VALUES (
            1, 5, -7, 65535, -8, 2147483647, 9223372036854775807, 18446744073709551615, b'101', 0.1, 1.5, 42, -1.50, 2026,
            '2026-11-24', '2026-11-24 07:40:00.250', '2026-11-24 07:40:00', '-51:04:05', 'ö', 'Ann', 'long', 'b', 'a,b',
            '{\"b\": 1}', UNHEX('a0eebc999c0b4ef8bb6d6bb9bd380a11'), 'bytes', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', '::1',
            NULL
        );")
    .await;
    let asked = Asked::open(&table, "max: 2", &["SELECT * FROM t", "SELECT UNHEX('ff')", "SELECT POINT(1,2)"]).await;
    let expected = vec![
        Scalar::Bool(true),
        Scalar::Int(5),
        Scalar::Int(-7),
        Scalar::Int(65535),
        Scalar::Int(-8),
        Scalar::Int(2_147_483_647),
        Scalar::Int(i64::MAX),
        text("18446744073709551615"),
        Scalar::Int(5),
        Scalar::Float(0.1),
        Scalar::Float(1.5),
        Scalar::Int(42),
        Scalar::Float(-1.5),
        Scalar::Int(2026),
        text("2026-11-24"),
        text("2026-11-24 07:40:00.25"),
        text("2026-11-24 07:40:00"),
        text("-51:04:05"),
        text("ö"),
        text("Ann"),
        text("long"),
        text("b"),
        text("a,b"),
        text("{\"b\": 1}"),
        text(UUID),
        text("bytes"),
        text(UUID),
        text("::1"),
        Scalar::Null,
    ];
    assert_eq!(asked.ask(0).await, Ok(vec![expected]));
    for (query, help) in [(1, "BIN_TO_UUID"), (2, "ST_AsText")] {
        let error = asked.ask(query).await.unwrap_err();
        assert!(matches!(&error, LookupError::Failed(said) if said.contains(help)), "{error}");
    }
    assert!(asked.ask(0).await.is_ok());

    check_out(
        &url,
        &[
            ("1 = 1", Scalar::Int(1)),
            ("COUNT(*)", Scalar::Int(1)),
            ("SUM(7)", Scalar::Int(7)),
            ("CONCAT('a', 1)", text("a1")),
            ("'a' || 'b'", text("ab")),
            ("CAST('7' AS UNSIGNED)", Scalar::Int(7)),
            ("UNIX_TIMESTAMP('2026-11-24 07:40:00')", Scalar::Int(1_795_506_000)),
            ("JSON_EXTRACT('[7]', '$[0]')", text("7")),
            ("0.5", Scalar::Float(0.5)),
            ("NULL", Scalar::Null),
        ],
    )
    .await;
}

/// Asks which of these rows a value is found in, as `:value` and as `:tenant`.
async fn check_in(url: &str, table: &str, cases: &[(&str, Scalar)]) {
    let conditions = cases.iter().flat_map(|(condition, _)| {
        [(*condition).to_owned(), condition.replace(":value", ":tenant")]
            .map(|condition| format!("SELECT count(*) FROM {table} WHERE {condition}"))
    });
    let queries: Vec<String> = conditions.collect();
    let queries: Vec<&str> = queries.iter().map(String::as_str).collect();
    let asked = Asked::open(url, "max: 2", &queries).await;
    for (index, (condition, value)) in cases.iter().enumerate() {
        let number = u16::try_from(2 * index).unwrap();
        let found = asked.rows(number, None, &[("value", value.clone())]).await.map(|rows| rows.rows[0][0].clone());
        assert_eq!(found, Ok(Scalar::Int(1)), "{condition} {value:?}");
        if let Scalar::Text(tenant) = value {
            let found = asked.rows(number + 1, Some(tenant), &[]).await.map(|rows| rows.rows[0][0].clone());
            assert_eq!(found, Ok(Scalar::Int(1)), "{condition} for a tenant");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bind_is_of_the_type_that_it_is_compared_with() {
    let postgres_table = format!(
        "{POSTGRES}
        CREATE TABLE t (yes bool, two int2, four int4, eight int8, o oid, f4 float4, f8 float8, n numeric, t text, v varchar(9),
            c char(5), na name, ci citext, u uuid, j jsonb, b bytea, d date, tz timestamptz, m mood, p positive, i inet,
            a int[], r int4range);
        INSERT INTO t VALUES (true, 2, 4, 9007199254740993, 7, 0.5, 1.5, 12345678901234567890.5, 'ö', '7', 'x', 'n', 'Ann',
            '{UUID}', '{{\"a\": 1}}', '\\x6869', '2026-11-24', '2026-11-24 07:40:00+00', 'fine', 5, '10.0.0.1', '{{1,2}}',
            '[1,5)');"
    );
    let mariadb_table = format!(
        "CREATE TABLE t (yes TINYINT(1), eight BIGINT, huge BIGINT UNSIGNED, d DOUBLE, n DECIMAL(30,1), v VARCHAR(9), day DATE,
            e ENUM('a','b'), u UUID);
         INSERT INTO t VALUES (1, 9007199254740993, 18446744073709551615, 1.5, 12345678901234567890.5, '7', '2026-11-24', 'b',
            '{UUID}');"
    );
    let [postgres, mariadb] = databases(&postgres_table, &mariadb_table).await;
    let now = "2026-11-24 09:40:00+02";
    check_in(
        &postgres,
        "t",
        &[
            ("yes = :value", text("true")),
            ("yes = :value", Scalar::Bool(true)),
            ("two = :value", text("2")),
            ("four = :value", Scalar::Int(4)),
            ("four + :value = 6", Scalar::Int(2)),
            ("eight = :value", text("9007199254740993")),
            ("eight = :value", Scalar::Int(9_007_199_254_740_993)),
            ("eight = :value OR four = :value", Scalar::Int(4)),
            ("o = :value", text("7")),
            ("f4 = :value", Scalar::Float(0.5)),
            ("f8 = :value", text("1.5")),
            ("n = :value", text("12345678901234567890.5")),
            ("t = :value", text("ö")),
            ("t LIKE :value || '%'", text("ö")),
            ("v = :value", text("7")),
            ("v = :value", Scalar::Int(7)),
            ("c = :value", text("x")),
            ("na = :value", text("n")),
            ("ci = :value", text("ANN")),
            ("u = :value", text(UUID)),
            ("u::text = :value", text(UUID)),
            ("u = :value::uuid", text(UUID)),
            ("j = :value", text("{\"a\":1}")),
            ("j @> :value", text("{}")),
            ("b = :value", text("hi")),
            ("b = :value", text("\\x6869")),
            ("d = :value", text("2026-11-24")),
            ("tz = :value", text(now)),
            ("m = :value", text("fine")),
            ("p = :value", text("5")),
            ("i = :value", text("10.0.0.1")),
            ("i << :value", text("10.0.0.0/8")),
            ("a = :value", text("{1,2}")),
            ("four = ANY(:value)", text("{3,4}")),
            ("a[1:2] = a AND two = :value", text("2")),
            ("r = :value", text("[1,5)")),
            (":value::text IS NULL", Scalar::Null),
            ("i IS DISTINCT FROM :value", Scalar::Null),
        ],
    )
    .await;
    check_in(
        &mariadb,
        "t",
        &[
            ("yes = :value", Scalar::Bool(true)),
            ("eight = :value", text("9007199254740993")),
            ("eight = :value", Scalar::Int(9_007_199_254_740_993)),
            ("eight = :value OR d = :value", Scalar::Float(1.5)),
            ("huge = :value", text("18446744073709551615")),
            ("d = :value", text("1.5")),
            ("n = :value", text("12345678901234567890.5")),
            ("v = :value", text("7")),
            ("v = CAST(:value AS CHAR)", Scalar::Int(7)),
            ("day = :value", text("2026-11-24")),
            ("e = :value", text("b")),
            ("u = :value", text(UUID)),
            (":value IS NULL", Scalar::Null),
        ],
    )
    .await;
    // A text that only looks like the neighbour of a number.
    let asked = Asked::open(&mariadb, "max: 1", &["SELECT count(*) FROM t WHERE eight = :value"]).await;
    let rows = asked.rows(0, None, &[("value", text("9007199254740992"))]).await.unwrap();
    assert_eq!(*rows.rows[0], [Scalar::Int(0)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_value_that_does_not_fit_fails_alone_and_is_not_shown() {
    let [url, _] =
        databases(&format!("{POSTGRES} CREATE TABLE t (eight int8, u uuid, m mood, d date, i inet);"), "").await;
    let conditions = ["eight = :value", "u = :value", "m = :value", "d = :value", "i = :value"];
    let queries = conditions.map(|condition| format!("SELECT 1 FROM t WHERE {condition}"));
    let mut queries: Vec<&str> = queries.iter().map(String::as_str).collect();
    queries.extend(["SELECT pg_backend_pid()", "SELECT CAST(CAST(:value AS text) AS int)"]);
    let asked = Asked::open(&url, "max: 1", &queries).await;
    let before = asked.one(5).await;
    for (query, said) in [
        (0, "what is bound to `:value` is no int8, which it is compared with"),
        (1, "what is bound to `:value` is no uuid, which it is compared with"),
        (2, "what is bound to `:value` is no mood, which it is compared with"),
        (3, "what is bound to `:value` is no date, which it is compared with"),
        (4, "what is bound to `:value` is no inet, which it is compared with"),
    ] {
        let error = asked.rows(query, None, &[("value", text("s3cret"))]).await.unwrap_err();
        assert_eq!(error, LookupError::Unfit(said.to_owned()));
    }
    // A cast in the query's own text might be the query's fault.
    for (value, said) in [
        ("s3cret", "invalid input syntax for type integer"),
        ("a\"b", "invalid input syntax for type integer"),
        ("99999999999", "value … is out of range for type integer"),
    ] {
        let error = asked.rows(6, None, &[("value", text(value))]).await.unwrap_err();
        assert_eq!(error, LookupError::Failed(said.to_owned()));
    }
    assert_eq!(asked.one(5).await, before, "on the same connection");
}

#[tokio::test(flavor = "multi_thread")]
async fn columns_keep_their_names_and_order() {
    let [postgres, mariadb] = databases("", "").await;
    for (url, query) in [
        (postgres, "SELECT 1 AS b, 2 AS a, 3 AS b, '::1'::inet AS \"c d\""),
        (mariadb, "SELECT 1 AS b, 2 AS a, 3 AS b, '::1' AS `c d`"),
    ] {
        let asked = Asked::open(&url, "max: 1", &[query]).await;
        let rows = asked.rows(0, None, &[]).await.unwrap();
        assert_eq!(*rows.columns, ["b", "a", "b", "c d"], "{url}");
        assert_eq!(*rows.rows[0], [Scalar::Int(1), Scalar::Int(2), Scalar::Int(3), text("::1")], "{url}");
    }
}
