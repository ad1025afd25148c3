//! A node that is short of something, loses a vhost or a queue, is administered, paused, stopped, killed.

use serde_json::{Value, json};

use super::{QUEUES, Watched};
use crate::broker::{FANOUT, ready, settings};
use crate::support::amqp_client::AmqpClient;
use crate::support::held::eventually;
use crate::support::rabbitmq::{Rabbit, vhost_of};
use crate::support::server::Server;

type ToRabbit = fn(&mut Rabbit);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_becomes_of_a_node_those_who_are_connected_stay_and_all_goes_on_when_it_is_back() {
    let mut rabbit = Rabbit::absent();
    let url = rabbit.vhost();
    let with_heartbeat = format!("{url}?heartbeat=1");
    let mut watched = Watched::start_without(&with_heartbeat, QUEUES).await;
    watched.loses("refused", &["no connection to the broker", "refused", "does a broker run there"]).await;
    watched.stays_lost(&["connecting to", "refused"]).await;
    tokio::task::block_in_place(|| rabbit.start());
    ready(&watched.server).await;
    watched.all_is_well().await;
    watched.events_flow(&url).await;

    alarms(&rabbit, &url, &mut watched).await;
    administered(&rabbit, &url, &mut watched).await;

    // One that would rather end than wait, beside the one that waits.
    let quitter = Server::start(&settings(&url, &format!("{FANOUT}  when_lost: exit\n"))).await;
    ready(&quitter).await;
    tokio::task::block_in_place(|| rabbit.kill());
    assert_eq!(quitter.exit_code().await, Some(3));
    watched.loses("refused", &["still no connection", "Connection refused"]).await;
    watched.stays_lost(&["Connection refused"]).await;
    tokio::task::block_in_place(|| rabbit.start());
    watched.recovers(&url).await;

    let breaks: [(&str, &str, ToRabbit, ToRabbit); 2] = [
        ("heartbeat", "no heartbeat", |rabbit| rabbit.pause(), |rabbit| rabbit.resume()),
        ("refused", "Connection refused", Rabbit::stop, Rabbit::start),
    ];
    for (cause, said, break_it, mend_it) in breaks {
        tokio::task::block_in_place(|| break_it(&mut rabbit));
        watched.loses(cause, &[said]).await;
        watched.stays_lost(&[]).await;
        tokio::task::block_in_place(|| mend_it(&mut rabbit));
        watched.recovers(&url).await;
    }
    watched.leaves().await;
}

/// What somebody at the node does to connections, queues and vhosts.
async fn administered(rabbit: &Rabbit, url: &str, watched: &mut Watched) {
    rabbit.cut(url);
    watched.loses("closed", &["the broker is lost", "CONNECTION_FORCED", "somebody closed the connection"]).await;
    watched.recovers(url).await;

    // The broker's own affair: it consumes it again for us.
    rabbit.crash_queue(url, "lasting");
    watched.recovers(url).await;
    assert_eq!(watched.connects().await, 2);

    AmqpClient::connect(url).await.delete_queue("lasting").await;
    watched.loses("cancelled", &["the broker is lost", "queue `lasting`: was the queue deleted?"]).await;
    watched.recovers(url).await;

    let vhost = vhost_of(url);
    rabbit.delete_vhost(vhost);
    watched.says(&["the broker is lost"]).await;
    watched.loses("vhost", &["NOT_ALLOWED", "the path of `amqp.url` names the vhost"]).await;
    watched.stays_lost(&["NOT_ALLOWED", vhost]).await;
    rabbit.add_vhost(vhost);
    watched.recovers(url).await;
}

/// A node that is short of something takes no more from those who publish. What it has it gives out as ever.
async fn alarms(rabbit: &Rabbit, url: &str, watched: &mut Watched) {
    let alarms: [fn(&Rabbit, bool); 2] = [Rabbit::memory_alarm, Rabbit::disk_alarm];
    for alarm in alarms {
        alarm(rabbit, true);
        let back_end = AmqpClient::connect(url).await;
        let held = json!({ "data": { "tenant": "acme", "held": true } });
        let body = held.to_string();
        let publishing = tokio::spawn(async move { back_end.publish("events", "", body).await });
        for number in 0..20 {
            let event: Value = json!({ "data": { "tenant": "acme", "inside": number } });
            rabbit.publish_inside(url, "events", &event.to_string());
            watched.gets(&event).await;
        }
        let unacknowledged = || rabbit.unacknowledged(url, "lasting");
        eventually("all is acknowledged", || unacknowledged() == 0, || unacknowledged().to_string()).await;
        watched.state_is("consuming").await;
        assert_eq!(watched.server.get("/readyz").await.status, 200);
        // One that starts just now also finds what it needs.
        let late = Server::start(&settings(url, FANOUT)).await;
        ready(&late).await;
        assert_eq!(late.terminate().await, Some(0));
        assert!(!publishing.is_finished(), "the broker takes nothing");

        alarm(rabbit, false);
        publishing.await.unwrap();
        watched.gets(&held).await;
        watched.recovers(url).await;
    }
    assert_eq!(watched.connects().await, 1);
}
