//! Several brokers: from one that is dead to one that works, and back.

use super::Watched;
use crate::broker::FANOUT;
use crate::support::proxy::Proxy;
use crate::support::rabbitmq::{shared, shared_vhost};

#[tokio::test]
async fn of_several_brokers_the_next_one_is_tried_and_the_first_one_again_when_it_must_be() {
    let url = shared_vhost();
    let [first, second] = [(); 2].map(|()| Proxy::start(shared().address()));
    let by = |proxy: &Proxy| url.replace(&shared().address().to_string(), &proxy.address().to_string());
    let nowhere = url.replace(&shared().address().to_string(), "broker.invalid");
    let urls = format!("[{nowhere}, {}, {}]", by(&first), by(&second));

    first.silence();
    let mut watched = Watched::start_without(&urls, FANOUT).await;
    let next = "no connection to this broker: the next one is tried";
    watched.loses("unresolved", &[next, "broker.invalid", "can this machine resolve it"]).await;
    watched.loses("silent", &[next, "no answer within 5s", &first.address().to_string()]).await;
    watched.says(&["connected to the broker", &second.address().to_string()]).await;
    watched.all_is_well().await;
    watched.events_flow(&url).await;

    first.resume();
    second.refuse();
    watched.loses("cut", &["the broker is lost"]).await;
    watched.loses("cut", &[next, &second.address().to_string()]).await;
    watched.says(&["connected to the broker again", &first.address().to_string()]).await;
    watched.recovers(&url).await;

    first.refuse();
    watched.loses("cut", &[next, &first.address().to_string()]).await;
    watched.stays_lost(&["connecting to"]).await;
    second.resume();
    watched.says(&["connected to the broker again", &second.address().to_string()]).await;
    watched.recovers(&url).await;
    watched.leaves().await;
}
