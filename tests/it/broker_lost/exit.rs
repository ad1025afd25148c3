//! A program that would rather end than wait for its broker.

use std::process::Command;

use tokio::net::TcpListener;

use crate::broker::{FANOUT, settings};
use crate::support::process::{Process, Stream};
use crate::support::server::POINTSMAN;

#[tokio::test]
async fn a_program_that_shall_exit_without_a_broker_does_so_at_start_also_when_that_is_silent() {
    let dead = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    // Nobody accepts: the kernel does, and then nothing is said.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let silent = silent.local_addr().unwrap();
    for (broker, said) in [(dead, "Connection refused"), (silent, "no answer within 5s while connecting to")] {
        let yaml = "listen: 127.0.0.1:0\nadmin: { listen: 127.0.0.1:0 }\n".to_owned()
            + &settings(&format!("amqp://{broker}"), &format!("{FANOUT}  when_lost: exit\n"));
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("pointsman.yaml");
        std::fs::write(&file, yaml).unwrap();
        let mut command = Command::new(POINTSMAN);
        let process = Process::start("pointsman", command.arg("serve").arg("--config").arg(file), Stream::Stderr);
        assert_eq!(process.ended().await.code(), Some(3));
        let log = process.lines().join("\n");
        for said in [said, "leaving: the broker is lost, and `amqp.when_lost` is `exit`"] {
            assert!(log.contains(said), "{log}");
        }
    }
}
