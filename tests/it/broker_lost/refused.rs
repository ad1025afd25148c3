//! What the broker refuses is said with what to do, and when that has been done all goes on by itself.

use lapin::ExchangeKind;

use super::Watched;
use crate::broker::FANOUT;
use crate::support::amqp_client::AmqpClient;
use crate::support::rabbitmq::{shared, shared_vhost, vhost_of};

/// A program that is refused at its start for this cause, says all of this, and goes on once `mend` is through.
async fn check(url: &str, amqp: &str, cause: &str, said: &[&str], publisher: &str, mend: impl AsyncFnOnce()) {
    let mut watched = Watched::start_without(url, amqp).await;
    watched.loses(cause, &[&["no connection to the broker"], said].concat()).await;
    watched.stays_lost(said).await;
    mend().await;
    super::readyz(&watched.server, 200, &[]).await;
    watched.all_is_well().await;
    watched.events_flow(publisher).await;
    assert_eq!(watched.connects().await, 1);
    watched.leaves().await;
}

#[tokio::test]
async fn what_exists_with_other_properties_is_named_until_it_is_gone() {
    let url = shared_vhost();
    let back_end = AmqpClient::connect(&url).await;
    back_end.declare_exchange("events", ExchangeKind::Direct).await;
    let said =
        ["declaring exchange `events`", "PRECONDITION_FAILED", "configure it as it is", "delete it at the broker"];
    check(&url, FANOUT, "topology", &said, &url, async || back_end.delete_exchange("events").await).await;

    back_end.declare_queue("q", true).await;
    let own = "\"pointsman.{instance}\", exclusive: true, auto_delete: true";
    let amqp = FANOUT.replace(own, "q, arguments: { x-max-length: 9 }");
    let said = ["declaring queue `q`", "PRECONDITION_FAILED", "configure it as it is"];
    check(&url, &amqp, "topology", &said, &url, async || back_end.delete_queue("q").await).await;
}

#[tokio::test]
async fn who_may_not_come_in_or_do_what_is_needed_is_told_what_is_missing() {
    let url = shared_vhost();
    let vhost = vhost_of(&url);
    let stranger = url.replace("guest:guest", "late:s3cret-l");
    let reader = url.replace("guest:guest", "reader:reader");
    let (missing, elsewhere) = (format!("{vhost}-late"), format!("{url}-late"));
    let no_login = ["ACCESS_REFUSED", "check the user name and password in `amqp.url`"];
    let no_rights = ["declaring exchange `events`", "ACCESS_REFUSED", "rabbitmqctl set_permissions -p"];
    let no_vhost = ["NOT_ALLOWED", "the path of `amqp.url` names the vhost", missing.as_str()];
    check(&stranger, FANOUT, "credentials", &no_login, &url, async || {
        shared().add_user("late", "s3cret-l");
        shared().permit("late", vhost);
    })
    .await;
    check(&reader, FANOUT, "permission", &no_rights, &url, async || shared().permit("reader", vhost)).await;
    check(&elsewhere, FANOUT, "vhost", &no_vhost, &elsewhere, async || shared().add_vhost(&missing)).await;
}
