//! The configuration that the program carries.

use super::*;

#[test]
fn it_is_fine_and_has_no_warnings() {
    let loaded = load(&ConfigFile::Embedded, "host-1", &|_| None).unwrap();
    assert!(loaded.warnings.is_empty(), "{:?}", loaded.warnings);
    assert!(loaded.config.amqp.is_none());
    let names: Vec<_> = loaded.files.iter().map(|file| file.path.to_str().unwrap()).collect();
    assert_eq!(names, ["pointsman.yaml", "demo.sql"]);
    assert!(loaded.config.database.unwrap().init[0].1.contains("CREATE TABLE"));
}

#[test]
fn a_file_that_is_not_there_is_unreadable() {
    for path in ["/nowhere/x.yaml", "/"] {
        let loaded = load(&ConfigFile::Disk(path.into()), "host-1", &|_| None);
        assert!(matches!(loaded, Err(LoadError::Unreadable { .. })), "{path}");
    }
}

#[test]
fn a_file_that_is_too_large_or_no_text_is_invalid() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.yaml");
    for (bytes, expected) in [
        (b"a: b\nc: \xff\n".to_vec(), "2:4: the file is not UTF-8 here"),
        (vec![b'#'; (1 << 20) + 1], "1:1: the file is larger than 1024 KiB"),
    ] {
        fs::write(&path, bytes).unwrap();
        let Err(LoadError::Invalid(diagnostics)) = load(&ConfigFile::Disk(path.clone()), "", &|_| None) else {
            panic!("it is invalid")
        };
        let first = diagnostics.iter().next().unwrap();
        assert_eq!(format!("{}:{}: {}", first.place.line(), first.place.column(), first.message), expected);
    }
}
