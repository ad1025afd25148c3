//! What the tests share: the program under test, and the real parts around it.
#![expect(unreachable_pub, reason = "items say that they are for all tests")]

pub mod amqp_client;
pub mod certificates;
pub mod client;
pub mod generations;
pub mod held;
pub mod http;
pub mod keeper;
pub mod mariadb;
pub mod postgres;
pub mod process;
pub mod prometheus;
pub mod proxy;
pub mod rabbitmq;
pub mod raw;
pub mod server;
pub mod tools;
pub mod web;

use pointsman::config::{self, Config, ConfigFile};

/// The configuration that this YAML is.
pub fn config(yaml: &str) -> Config {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pointsman.yaml");
    std::fs::write(&path, yaml).unwrap();
    match config::load(&ConfigFile::Disk(path), "test", &|_| None) {
        Ok(loaded) => loaded.config,
        Err(config::LoadError::Invalid(diagnostics)) => panic!("{:#}", diagnostics.to_json()),
        Err(error) => panic!("{error}"),
    }
}
