//! Files behind links, in folders that are made anew, and in none.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use super::{Stage, rules, turn, write};

/// A folder as the kubelet fills it from a `ConfigMap`: everything at once, by moving one link.
fn mount(folder: &Path, version: &str, text: &str) {
    let own = format!("..2026_{version}");
    write(&folder.join(&own).join("pointsman.yaml"), text);
    symlink(&own, folder.join("..data_tmp")).unwrap();
    fs::rename(folder.join("..data_tmp"), folder.join("..data")).unwrap();
}

#[tokio::test]
async fn a_config_map_is_taken_up_each_time_that_its_link_is_moved() {
    let folder = tempfile::tempdir().unwrap();
    let etc = folder.path().join("etc");
    fs::create_dir(&etc).unwrap();
    mount(&etc, "1", &rules("one"));
    symlink("..data/pointsman.yaml", etc.join("pointsman.yaml")).unwrap();
    let stage = Stage::start_in(folder, "etc/pointsman.yaml").await;
    for (generation, version, before) in [(2, "two", "1"), (3, "three", "two"), (4, "four", "three")] {
        mount(&etc, version, &rules(version));
        fs::remove_dir_all(etc.join(format!("..2026_{before}"))).unwrap();
        stage.until_in_force(version, version).await;
        assert_eq!(stage.standing().await.0, generation);
    }
}

#[tokio::test]
async fn a_folder_behind_a_link_is_taken_up_when_the_link_is_moved() {
    let folder = tempfile::tempdir().unwrap();
    let release =
        |version: &str| write(&folder.path().join("releases").join(version).join("pointsman.yaml"), &rules(version));
    let current = folder.path().join("current");
    let point_to = |version: &str| turn(&current, &format!("releases/{version}"));
    for version in ["v1", "v2", "v3"] {
        release(version);
    }
    point_to("v1");
    let stage = Stage::start_in(folder, "current/pointsman.yaml").await;
    for version in ["v2", "v3", "v1"] {
        point_to(version);
        stage.until_in_force(version, version).await;
    }
    // And what is written where it points to.
    stage.write("releases/v1/pointsman.yaml", &rules("edited"));
    stage.until_in_force("written behind the link", "edited").await;
}

#[tokio::test]
async fn a_folder_that_vanishes_is_missed_and_one_that_comes_again_is_taken_up() {
    let stage = Stage::start(&[("etc/pointsman.yaml", &rules("one"))]).await;
    for (round, route) in ["two", "three"].iter().enumerate() {
        let known = stage.attempts().await.len();
        fs::remove_dir_all(stage.path("etc")).unwrap();
        let refused = stage.until_refused("no folder", known, "read").await;
        assert!(refused["error"].as_str().unwrap().contains("pointsman.yaml"), "{refused:#}");
        assert_eq!(stage.standing().await.0, 1 + round as u64);
        stage.write("etc/pointsman.yaml", &rules(route));
        stage.until_in_force("a new folder", route).await;
    }
    // By another name, and back under its own.
    stage.write("other/pointsman.yaml", &rules("four"));
    fs::rename(stage.path("etc"), stage.path("old")).unwrap();
    fs::rename(stage.path("other"), stage.path("etc")).unwrap();
    stage.until_in_force("another folder in its place", "four").await;
    stage.write("etc/pointsman.yaml", &rules("five"));
    stage.until_in_force("a file of that", "five").await;
}
