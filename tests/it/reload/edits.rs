//! Each way in which editors and programs write a file.

use std::fs::{self, OpenOptions, Permissions};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::{SUCCESSFUL, Stage, rules};

/// What a file is called, and what it shall hold.
type Edit = (&'static str, fn(&Path, &str));

const EDITS: [Edit; 6] = [
    ("truncated and written in place", |path, text| fs::write(path, text).unwrap()),
    ("written beside and renamed over it", |path, text| {
        let beside = path.with_extension("tmp");
        fs::write(&beside, text).unwrap();
        fs::rename(beside, path).unwrap();
    }),
    ("put aside and written anew, as vim does", |path, text| {
        fs::write(path.with_file_name(".pointsman.yaml.swp"), "swap").unwrap();
        fs::rename(path, path.with_file_name("pointsman.yaml~")).unwrap();
        fs::write(path, text).unwrap();
        fs::remove_file(path.with_file_name("pointsman.yaml~")).unwrap();
        fs::remove_file(path.with_file_name(".pointsman.yaml.swp")).unwrap();
    }),
    ("deleted and written anew", |path, text| {
        fs::remove_file(path).unwrap();
        fs::write(path, text).unwrap();
    }),
    ("written in many small parts", |path, text| {
        let mut file = fs::File::create(path).unwrap();
        for part in text.as_bytes().chunks(16) {
            file.write_all(part).unwrap();
            file.sync_data().unwrap();
        }
    }),
    ("a link to it made anew", |path, text| {
        let target = path.with_file_name(format!("target-{}", text.len()));
        fs::write(&target, text).unwrap();
        let link = path.with_extension("link");
        std::os::unix::fs::symlink(target.file_name().unwrap(), &link).unwrap();
        fs::rename(link, path).unwrap();
    }),
];

/// Twice each: a watch that is lost by the first time misses the second one.
#[tokio::test]
async fn each_way_to_write_a_file_is_taken_up_once() {
    let stage = Stage::start(&[("pointsman.yaml", &rules("first"))]).await;
    let path = stage.path("pointsman.yaml");
    let mut generation = 1;
    for round in 0..2 {
        for (index, (what, edit)) in EDITS.iter().enumerate() {
            let route = format!("r{round}{}", "x".repeat(index));
            edit(&path, &rules(&route));
            stage.until_in_force(what, &route).await;
            generation += 1;
            assert_eq!(stage.standing().await.0, generation, "{what}: {:#?}", stage.attempts().await);
        }
    }
    let attempts = stage.attempts().await;
    assert!(attempts.iter().rev().skip(1).all(|attempt| attempt["trigger"] == "watch"), "{attempts:#?}");
    assert_eq!(attempts[0]["files_changed"].as_array().unwrap().len(), 1, "{:#}", attempts[0]);
}

#[tokio::test]
async fn a_file_of_which_half_is_there_for_long_is_refused_and_then_taken_up() {
    let stage = Stage::start(&[("pointsman.yaml", &rules("whole"))]).await;
    let text = rules("second").replace("routes: [{", "routes:\n  [ {");
    let (half, rest) = text.split_at(text.find("name: second").unwrap());
    let mut file = OpenOptions::new().write(true).truncate(true).open(stage.path("pointsman.yaml")).unwrap();
    file.write_all(half.as_bytes()).unwrap();
    stage.until_refused("half a file", 1, "config").await;
    assert_eq!(stage.standing().await, (1, "whole".to_owned()));
    assert_eq!(stage.server.metric(SUCCESSFUL).await, 0);
    file.write_all(rest.as_bytes()).unwrap();
    stage.until_in_force("the other half", "second").await;
    assert_eq!(stage.server.metric(SUCCESSFUL).await, 1);
}

#[tokio::test]
async fn what_changes_no_content_is_no_change() {
    let stage = Stage::start(&[("pointsman.yaml", &rules("same"))]).await;
    let path = stage.path("pointsman.yaml");
    let nothings: [Edit; 4] = [
        ("other rights", |path, _| fs::set_permissions(path, Permissions::from_mode(0o640)).unwrap()),
        ("the same once more", |path, text| fs::write(path, text).unwrap()),
        ("the same by another file", |path, text| {
            fs::write(path.with_extension("tmp"), text).unwrap();
            fs::rename(path.with_extension("tmp"), path).unwrap();
        }),
        ("a file beside it", |path, _| fs::write(path.with_file_name("notes.txt"), "").unwrap()),
    ];
    for (what, nothing) in nothings {
        nothing(&path, &rules("same"));
        let (status, answer) = stage.reload().await;
        assert_eq!((status, &answer["unchanged"], &answer["generation"]), (200, &true.into(), &1.into()), "{what}");
    }
    stage.replace("pointsman.yaml", &rules("another"));
    stage.until_in_force("a change after all", "another").await;
    assert_eq!(stage.standing().await.0, 2);
    let by_watch = stage.attempts().await.iter().filter(|attempt| attempt["trigger"] == "watch").count();
    assert_eq!(by_watch, 1, "{:#?}", stage.attempts().await);
}

#[tokio::test]
async fn a_file_that_appears_under_a_pattern_is_read_and_one_that_goes_is_not() {
    let main = rules("main").replace("\nevent:", "\ninclude: [routes/*.yaml]\nevent:");
    let route = |name: &str| format!("routes: [{{ name: {name}, to: {{ tenant: true }} }}]\n");
    let stage = Stage::start(&[("pointsman.yaml", &main), ("routes/a.yaml", &route("a"))]).await;
    let names = async || {
        let rulebook = stage.rulebook().await;
        let routes = rulebook["routes"].as_array().unwrap();
        routes.iter().map(|route| route["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    stage.replace("routes/b.yaml", &route("b"));
    stage.until("a second file", async || names().await == ["main", "a", "b"]).await;
    stage.replace("routes/b.yaml", &route("c"));
    stage.until("another content", async || names().await == ["main", "a", "c"]).await;
    fs::remove_file(stage.path("routes/a.yaml")).unwrap();
    stage.until("one less", async || names().await == ["main", "c"]).await;
    let wider = main.replace("[routes/*.yaml]", "[routes/*.yaml, more.yaml]");
    // Both at once: one generation.
    stage.write("more.yaml", &route("more"));
    stage.replace("pointsman.yaml", &wider);
    stage.until("one more to include", async || names().await == ["main", "c", "more"]).await;
    assert_eq!(stage.standing().await.0, 5);
}
