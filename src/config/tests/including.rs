//! Several files made one.

use secrecy::ExposeSecret;

use super::*;

const SHELL: &str = "\
include: [routes/*.yaml, auth.yaml]
event: { tenant: data.tenant_id }
";
const AUTH: &str = "auth: { providers: [{ tokens: { t0ken: { user: 1, tenant: acme } } }] }\n";

#[test]
fn parts_are_joined_in_the_order_of_their_names() {
    let main = format!(
        "{SHELL}routes: [{{ name: first, when: {{ a: 1 }}, to: everyone }}]\ndatabase: {{ url: \"sqlite:app.db\" }}\n"
    );
    let (folder, loaded) = load_files(&[
        ("main.yaml", &main),
        ("routes/b.yaml", "routes: [{ name: b, to: everyone }]\n"),
        (
            "routes/a.yaml",
            "routes: [{ name: a, when: { a: 2 }, to: everyone }]\ndatabase: { queries: { a: { sql: SELECT 1 } } }\n",
        ),
        ("routes/.hidden.yaml", "nonsense: true\n"),
        ("routes/c.yml", "nonsense: true\n"),
        ("auth.yaml", AUTH),
    ]);
    let loaded = loaded.unwrap();
    let names: Vec<_> = loaded.config.routes.iter().map(|route| route.name.as_str()).collect();
    assert_eq!(names, ["first", "a", "b"]);
    assert_eq!(loaded.config.database.unwrap().queries.len(), 1);
    let files: Vec<_> = loaded.files.iter().map(|file| file.path.strip_prefix(folder.path()).unwrap()).collect();
    assert_eq!(files, ["main.yaml", "routes/a.yaml", "routes/b.yaml", "auth.yaml"].map(Path::new));
    assert!(loaded.warnings.is_empty());
}

#[test]
fn what_is_wrong_with_parts_is_said_at_its_place() {
    insta::assert_snapshot!(said(&[
        (
            "main.yaml",
            "include: [a.yaml, none/*.yaml, none*.yaml, missing.yaml, \"*/a.yaml\", bad.yaml, list.yaml, empty.yaml, \"${SECRET}\"]\ndemo: true\nadmin: { listen: \"127.0.0.1:1\" }\n"
        ),
        (
            "a.yaml",
            "include: [b.yaml]\ndemo: false\nadmin: { listen: \"127.0.0.1:2\", key: s3cret }\nauth:\n  deadlin: 1s\n"
        ),
        ("bad.yaml", "routes: [\n"),
        ("list.yaml", "- 1\n"),
        ("empty.yaml", ""),
    ]));
}

#[test]
fn paths_are_relative_to_the_file_they_stand_in() {
    let part = "database: { url: \"sqlite:data/app.db?mode=ro\" }\n";
    let main = format!("{BASE}include: [sub/part.yaml]\n");
    let (folder, loaded) = load_files(&[("main.yaml", &main), ("sub/part.yaml", part)]);
    let url = loaded.unwrap().config.database.unwrap().url;
    assert_eq!(url.expose_secret(), format!("sqlite://{}/sub/data/app.db?mode=ro", folder.path().display()));

    let part = "database: { url: \"sqlite::memory:\", init: [demo.sql] }\n";
    let files = [("main.yaml", main.as_str()), ("sub/part.yaml", part), ("sub/demo.sql", "SELECT 1;")];
    let (folder, loaded) = load_files(&files);
    let init = loaded.unwrap().config.database.unwrap().init;
    assert_eq!(init, [(folder.path().join("sub/demo.sql"), "SELECT 1;".to_owned())]);
}

#[test]
fn scripts_that_cannot_be_read_or_are_not_for_this_database() {
    insta::assert_snapshot!(said(&[(
        "main.yaml",
        &format!("{BASE}database: {{ url: \"sqlite:app.db\", init: [none.sql] }}\n")
    )]));
}
