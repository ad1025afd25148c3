//! The control task that answers the shards' questions.

use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::authenticator::Step;
use super::{Authenticator, Identity, InForce, Refusal, Void};
use crate::shard::{AuthenticateRequest, Shards, ToShard};

/// Tokens that may wait to be asked for. More are answered as unavailable at once: they would wait in vain.
const WAITING: usize = 32_768;

/// Answers requests until all shards have gone. What is decided at once is answered in order; what a provider must be
/// asked for is answered when it has, and holds up nothing else.
pub async fn serve(in_force: InForce, mut requests: mpsc::Receiver<AuthenticateRequest>, shards: Shards) {
    // Answers under way. They end with this task: nobody is left then to hear them.
    let mut under_way = JoinSet::new();
    loop {
        tokio::select! {
            request = requests.recv() => match request {
                Some(request) => take(request, &in_force.current(), &shards, &mut under_way),
                None => return,
            },
            Some(ended) = under_way.join_next() => {
                if let Err(error) = ended {
                    tracing::error!(%error, "an authentication broke off");
                }
            }
        }
    }
}

/// Forgets what is no longer good, as lanes say it, until they have gone.
pub async fn forget(in_force: InForce, mut voids: mpsc::Receiver<Void>) {
    while let Some(void) = voids.recv().await {
        in_force.forget(&void);
    }
}

fn take(
    request: AuthenticateRequest,
    authenticator: &Arc<Authenticator>,
    shards: &Shards,
    under_way: &mut JoinSet<()>,
) {
    let AuthenticateRequest { token, remote, shard, connection } = request;
    let shard = shards.get(shard).clone();
    let answer = move |decision: Result<Identity, Refusal>| ToShard::Authenticated(connection, decision);
    let decision = match authenticator.authenticate_at_once(&token, remote) {
        Step::Decided(decision) => decision,
        Step::Ask(round) if under_way.len() < WAITING => {
            let authenticator = Arc::clone(authenticator);
            under_way.spawn(async move {
                let decision = authenticator.authenticate_from(round, &token, remote).await;
                shard.send(answer(decision)).await;
            });
            return;
        }
        Step::Ask(round) => authenticator.turn_away(round, &token, remote),
    };
    // A shard that lags holds up its own answers alone.
    if let Err(word) = shard.try_send(answer(decision)) {
        under_way.spawn(async move { shard.send(word).await });
    }
}

#[cfg(test)]
mod tests;
