//! A process that has no descriptor left when it loses its broker.

use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};

use super::links::linked;
use super::{QUEUES, Watched};
use crate::support::rabbitmq::shared_vhost;

/// From now on a process may open descriptors up to this number. Returns the limit before.
fn limit(process: Pid, descriptors: Option<u64>) -> Option<u64> {
    let limits = Rlimit { current: descriptors, maximum: getrlimit(Resource::Nofile).maximum };
    prlimit(Some(process), Resource::Nofile, limits).unwrap().current
}

#[tokio::test]
async fn a_broker_lost_without_descriptors_comes_back_as_soon_as_there_are_some() {
    let url = shared_vhost();
    let (proxy, through) = linked(&url);
    let mut watched = Watched::start(&through, QUEUES).await;

    let before = limit(watched.server.pid(), Some(0));
    proxy.cut();
    watched.says(&["the broker is lost"]).await;
    watched.says(&["still no connection to the broker", "Too many open files"]).await;
    watched.screen.pings_go_on().await;

    limit(watched.server.pid(), before);
    watched.recovers(&url).await;
    watched.leaves().await;
}
