//! A broker that comes late, and one that is killed while somebody would rather end than wait.

use tokio::net::TcpListener;

use super::{Watched, readyz};
use crate::broker::{FANOUT, settings};
use crate::support::process::{Process, Stream};
use crate::support::rabbitmq::Rabbit;
use crate::support::server::{POINTSMAN, Server};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_comes_late_goes_and_comes_again_costs_no_connection() {
    let mut rabbit = Rabbit::absent();
    let url = rabbit.vhost();
    let mut watched = Watched::start_without(&url, FANOUT).await;
    watched.says(&["no connection to the broker", "refused", "does a broker run there"]).await;
    watched.stays_lost(&["connecting to", "refused"]).await;
    tokio::task::block_in_place(|| rabbit.start());
    readyz(&watched.server, 200, &[]).await;
    watched.all_is_well().await;
    watched.events_flow(&url).await;
    // A program that would rather end than wait, beside the one that waits.
    let quitter = Server::start(&settings(&url, &format!("{FANOUT}  when_lost: exit\n"))).await;
    readyz(&quitter, 200, &[]).await;

    tokio::task::block_in_place(|| rabbit.kill());
    assert_eq!(quitter.exit_code().await, Some(3));
    watched.loses("refused", &["still no connection to the broker", "refused"]).await;
    watched.stays_lost(&["refused"]).await;
    tokio::task::block_in_place(|| rabbit.start());
    watched.recovers(&url).await;
    assert_eq!(watched.connects().await, 2);
    watched.leaves().await;
}

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
        let mut command = std::process::Command::new(POINTSMAN);
        let process = Process::start("pointsman", command.arg("serve").arg("--config").arg(file), Stream::Stderr);
        assert_eq!(process.ended().await.code(), Some(3));
        let log = process.lines().join("\n");
        for said in [said, "leaving: the broker is lost, and `amqp.when_lost` is `exit`"] {
            assert!(log.contains(said), "{log}");
        }
    }
}
