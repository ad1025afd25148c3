//! A process that has no descriptor left when it loses its broker.

use super::links::linked;
use super::{QUEUES, Watched};
use crate::support::rabbitmq::shared_vhost;

#[tokio::test]
async fn a_broker_lost_without_descriptors_comes_back_as_soon_as_there_are_some() {
    let url = shared_vhost();
    let (proxy, through) = linked(&url);
    let mut watched = Watched::start(&through, QUEUES).await;

    let before = watched.server.limit_descriptors(0);
    proxy.cut();
    watched.says(&["the broker is lost"]).await;
    watched.says(&["still no connection to the broker", "Too many open files"]).await;
    watched.screen.pings_go_on().await;

    watched.server.limit_descriptors(before);
    watched.recovers(&url).await;
    watched.leaves().await;
}
