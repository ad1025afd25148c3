//! A configuration at fault, as a shell sees it: what is printed, where, and the exit code.

use std::fmt::Write as _;
use std::fs;
use std::net::TcpListener;
use std::process::Command;

use serde_json::{Value, json};

use crate::support::server::POINTSMAN;

const GOOD: &str = "\
listen: 127.0.0.1:0
admin: { listen: 127.0.0.1:0 }
event: { payload: data, tenant: data.tenant_id }
auth: { providers: [{ tokens: { demo-ann: { user: 1, tenant: acme } } }] }
routes: [{ name: all, to: { tenant: true } }]
";

/// Runs a command beside `a.yaml`, and writes down all that comes of it.
fn run(arguments: &str, yaml: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("a.yaml"), yaml).unwrap();
    // A server that starts, where it should not, ends with 124.
    let output = Command::new("timeout")
        .args(["30", POINTSMAN])
        .args(arguments.split_whitespace())
        .current_dir(folder.path())
        .env("HUNTER", "hunter2:x")
        .env_remove("NOT_SET")
        .env_remove("POINTSMAN_LOG")
        .output()
        .unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    let (out, err) = (text(output.stdout), text(output.stderr));
    for secret in ["hunter2", "s3cret", "demo-ann"] {
        assert!(!out.contains(secret) && !err.contains(secret), "a secret is shown:\n{out}{err}");
    }
    let mut said = format!("exit code {}\n", output.status.code().expect("it ends by itself"));
    for (stream, text) in [("stdout", out), ("stderr", err)] {
        if !text.is_empty() {
            write!(said, "--- {stream}\n{text}").unwrap();
        }
    }
    said
}

fn check(yaml: &str) -> String {
    run("check --config a.yaml", yaml)
}

#[test]
fn a_good_configuration_is_fine() {
    insta::assert_snapshot!(check(GOOD), @r"
    exit code 0
    --- stdout
    routes:
      all  fast path
    a.yaml is fine: 1 route, 0 topic rules, 0 queries
    ");
    insta::assert_snapshot!(run("check --config a.yaml --format json", GOOD), @r#"
    exit code 0
    --- stdout
    {"diagnostics":[],"ok":true,"providers":[],"routes":[{"name":"all","queries":[],"script":null,"way":"fast_path"}],"topics":[]}
    "#);
    // Without a file of one's own it is the embedded one that is examined.
    insta::assert_snapshot!(run("check", GOOD), @r"
    exit code 0
    --- stdout
    routes:
      broadcast         fast path
      deals             fast path
      notes             query users_with_access
      tasks             fast path
      reports           fast path
      announcements     fast path
    topics:
      board:*           fast path
      record:{id}       fast path
      deal:{id}         query can_view_deal
      inbox:{user}      fast path
      managers:{board}  fast path
    <embedded>/pointsman.yaml is fine: 6 routes, 5 topic rules, 4 queries
    ");
}

#[test]
fn broken_yaml_is_shown_where_it_breaks() {
    insta::assert_snapshot!(check("event: { tenant: x\nauth: y\n"), @r"
    exit code 1
    --- stdout
    error: this does not belong here: its indentation fits nothing above, or a bracket above is not closed
     --> a.yaml:2:1
      |
    2 | auth: ***
      | ^
      = help: entries of one map or list start in one column

    a.yaml: 1 error
    ");
    insta::assert_snapshot!(check("event:\n\ttenant: x\n"), @r"
    exit code 1
    --- stdout
    error: a tab where only spaces may stand
     --> a.yaml:2:2
      |
    2 |     tenant: ***
      |     ^
      = help: indent with spaces

    a.yaml: 1 error
    ");
    insta::assert_snapshot!(check("admin:\n  key: s3cret: x\n"), @r"
    exit code 1
    --- stdout
    error: a `:` where no key can stand
     --> a.yaml:2:14
      |
    2 |   key: ***: ***
      |           ^
      = help: text that holds `: ` or ends with `:` needs quotes; or the line is indented too far

    a.yaml: 1 error
    ");
}

#[test]
fn all_faults_are_named_at_once_with_what_would_be_right() {
    let yaml = GOOD.replace("listen: 127.0.0.1:0\nadmin", "lisen: 127.0.0.1:0\ndrain: 10 sec\nadmin")
        + "limits: { message: 16KB, topics: many }\nping: { every: \"${NOT_SET}\" }\nshards: ${NOT_SET}\n";
    insta::assert_snapshot!(check(&yaml), @r#"
    exit code 1
    --- stdout
    error: unknown key `lisen`, did you mean `listen`?
     --> a.yaml:1:1
      |
    1 | lisen: ***
      | ^^^^^

    error: `10 sec` is not a duration; write 250ms, 10s, 5m or 1h
     --> a.yaml:2:8
      |
    2 | drain: 10 sec
      |        ^^^^^^

    error: `16KB` is not a size; write 16KiB, 1MiB, or a number of bytes
     --> a.yaml:7:20
      |
    7 | limits: { message: 16KB, topics: many }
      |                    ^^^^

    error: `many` is not a whole number
     --> a.yaml:7:34
      |
    7 | limits: { message: 16KB, topics: many }
      |                                  ^^^^

    error: the variable `NOT_SET` is not set
     --> a.yaml:8:17
      |
    8 | ping: { every: "${NOT_SET}" }
      |                 ^^^^^^^^^^
      = help: set it in the environment, or give a default: ${NOT_SET:-default}

    error: the variable `NOT_SET` is not set
     --> a.yaml:9:9
      |
    9 | shards: ${NOT_SET}
      |         ^^^^^^^^^^
      = help: set it in the environment, or give a default: ${NOT_SET:-default}

    a.yaml: 6 errors
    "#);
    let json = run("check --config a.yaml --format json", &yaml);
    let json: Value = serde_json::from_str(json.strip_prefix("exit code 1\n--- stdout\n").unwrap()).unwrap();
    let first = json!({
        "severity": "error",
        "file": "a.yaml",
        "line": 1,
        "column": 1,
        "end_column": 6,
        "message": "unknown key `lisen`, did you mean `listen`?",
        "help": null,
        "source": "lisen: ***",
    });
    assert_eq!((&json["ok"], &json["diagnostics"][0]), (&json!(false), &first));
    assert_eq!(json["diagnostics"].as_array().unwrap().len(), 6);
}

#[test]
fn what_later_work_brings_is_not_yet_supported() {
    let yaml = GOOD.to_owned() + "catch_up: { query: s3cret }\nlimits: { origins: [] }\n";
    insta::assert_snapshot!(check(&yaml), @r"
    exit code 1
    --- stdout
    error: `catch_up` is not yet supported
     --> a.yaml:6:1
      |
    6 | catch_up: { ***: *** }
      | ^^^^^^^^

    error: `origins` is not yet supported
     --> a.yaml:7:11
      |
    7 | limits: { origins: [] }
      |           ^^^^^^^

    a.yaml: 2 errors
    ");
}

#[test]
fn plugins_that_are_not_there_are_named_and_what_may_be_a_secret_is_not() {
    let yaml = "\
event: { tenant: data.tenant_id }
auth: { providers: [{ script: s3cret }] }
topics: [{ match: a, script: a.lua }]
routes: [{ name: all, script: lua/b.lua }]
";
    insta::assert_snapshot!(check(yaml), @r"
    exit code 1
    --- stdout
    error: this names no file that can be read
     --> a.yaml:2:31
      |
    2 | auth: { providers: [{ script: *** }] }
      |                               ^^^
      = help: write the name of a Lua file: tasks.lua

    error: `a.lua` cannot be read: there is no such file
     --> a.yaml:3:30
      |
    3 | topics: [{ match: a, script: a.lua }]
      |                              ^^^^^

    error: `lua/b.lua` cannot be read: there is no such file
     --> a.yaml:4:31
      |
    4 | routes: [{ name: all, script: lua/b.lua }]
      |                               ^^^^^^^^^

    a.yaml: 3 errors
    ");
}

#[test]
fn secrets_do_not_show_wherever_they_stand() {
    let yaml = "\
admin: { listen: \"${HUNTER}\", kay: s3cret }
amqp: { url: \"http://app:s3cret@mq\", queues: [{ name: q }] }
event: { tenant: data.tenant_id }
auth: { providers: [{ tokens: { demo-ann: { usr: 1, tenant: acme } } }] }
routes: [{ name: all, to: { tenant: true } }]
";
    insta::assert_snapshot!(check(yaml), @r#"
    exit code 1
    --- stdout
    error: `${HUNTER}` is not an address with a port
     --> a.yaml:1:18
      |
    1 | admin: { listen: "${HUNTER}", kay: *** }
      |                  ^^^^^^^^^^^
      = help: write an IP address and a port: 0.0.0.0:8080, 127.0.0.1:8080 or [::1]:8080

    error: unknown key `kay`, did you mean `key`?
     --> a.yaml:1:31
      |
    1 | admin: { listen: "${HUNTER}", kay: *** }
      |                               ^^^

    error: this URL's scheme is neither `amqp` nor `amqps`
     --> a.yaml:2:14
      |
    2 | amqp: { url: "http://***@mq", queues: [{ name: q }] }
      |              ^^^^^^^^^^^^^^^
      = help: write amqp://user:password@host:5672/vhost

    error: `user` is missing
     --> a.yaml:4:43
      |
    4 | auth: { providers: [{ tokens: { ***: { usr: 1, tenant: acme } } }] }
      |                                      ^

    a.yaml: 4 errors
    "#);
    run("check --config a.yaml --format json", yaml);
    run("serve --config a.yaml", yaml);
}

#[test]
fn a_file_that_cannot_be_read_is_the_environment_s_fault() {
    insta::assert_snapshot!(run("check --config b.yaml", GOOD), @r"
    exit code 3
    --- stdout
    cannot read b.yaml: No such file or directory (os error 2)
    ");
    insta::assert_snapshot!(run("check --config b.yaml --format json", GOOD), @r#"
    exit code 3
    --- stdout
    {"diagnostics":[{"message":"cannot read b.yaml: No such file or directory (os error 2)","severity":"error"}],"ok":false}
    "#);
    insta::assert_snapshot!(run("serve --config b.yaml", GOOD), @r"
    exit code 3
    --- stderr
    cannot read b.yaml: No such file or directory (os error 2)
    ");
    insta::assert_snapshot!(run("check --config .", GOOD), @r"
    exit code 3
    --- stdout
    cannot read .: it is no regular file
    ");
}

#[test]
fn serve_does_not_start_with_a_configuration_at_fault() {
    let yaml = GOOD.replace("tenant: true", "tenat: true");
    insta::assert_snapshot!(run("serve --config a.yaml", &yaml), @r"
    exit code 1
    --- stderr
    error: unknown key `tenat`, did you mean `tenant`?
     --> a.yaml:5:29
      |
    5 | routes: [{ name: all, to: { tenat: *** } }]
      |                             ^^^^^

    a.yaml: 1 error
    ");
    // The same for people and for a log in JSON: nobody collects a log of what never ran.
    assert_eq!(run("--config a.yaml --log json", &yaml), run("serve --config a.yaml", &yaml));
}

#[test]
fn an_address_in_use_is_the_environment_s_fault() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let said = |yaml: &str| run("serve --config a.yaml", yaml).replace(&address, "ADDRESS");
    insta::assert_snapshot!(said(&GOOD.replacen("127.0.0.1:0", &address, 1)), @r"
    exit code 3
    --- stderr
    pointsman: cannot listen on ADDRESS (`listen`): Address already in use (os error 98)
    ");
    let second = format!("admin: {{ listen: {address} }}");
    insta::assert_snapshot!(said(&GOOD.replace("admin: { listen: 127.0.0.1:0 }", &second)), @r"
    exit code 3
    --- stderr
    pointsman: cannot listen on ADDRESS (`admin.listen`): Address already in use (os error 98)
    ");
}

#[test]
fn a_database_script_that_does_not_run_is_the_environment_s_fault() {
    // The configuration itself is there to be run, and is no SQL.
    let yaml = format!("{GOOD}database: {{ url: \"sqlite::memory:\", init: [a.yaml], queries: {{}} }}\n");
    insta::assert_snapshot!(run("serve --config a.yaml", &yaml), @r#"
    exit code 3
    --- stderr
    pointsman: the script `a.yaml` did not run: near "listen": syntax error
    "#);
}

#[test]
fn the_schema_is_one_json_document_in_either_format() {
    let schema = |arguments: &str| -> Value {
        let said = run(arguments, GOOD);
        let text = said.strip_prefix("exit code 0\n--- stdout\n").unwrap_or_else(|| panic!("{said}"));
        serde_json::from_str(text).unwrap()
    };
    let human = schema("schema");
    assert_eq!(human, schema("schema --format json"));
    assert!(human["$schema"].as_str().unwrap().contains("json-schema.org"), "{human}");
    for key in ["listen", "amqp", "routes", "limits"] {
        assert!(human["properties"][key].is_object(), "{key}");
    }
}

#[test]
fn wrong_usage_is_told_apart_from_a_configuration_at_fault() {
    insta::assert_snapshot!(run("check --config", GOOD), @r"
    exit code 2
    --- stderr
    error: a value is required for '--config <FILE>' but none was supplied

    For more information, try '--help'.
    ");
    insta::assert_snapshot!(run("check --format xml", GOOD), @r"
    exit code 2
    --- stderr
    error: invalid value 'xml' for '--format <human|json>'
      [possible values: human, json]

    For more information, try '--help'.
    ");
}
