//! Which acknowledgements the broker is known to have.
//!
//! The broker does not answer an acknowledgement. It does what it is asked on a channel in order, so its answer to any
//! question says that it had all acknowledgements that were written before. The question here is `channel.flow` with
//! `active: true`, which changes nothing. At most one question is open.

use std::future::Future;
use std::pin::Pin;

use lapin::Channel;
use lapin::options::ChannelFlowOptions;
use tokio::sync::mpsc;

type Answer = Pin<Box<dyn Future<Output = lapin::Result<bool>> + Send>>;

/// Deliveries that are acknowledged and not yet proven to be.
pub(super) struct Proof {
    /// Their acknowledgements were written after the open question.
    written: Vec<u64>,
    /// Their acknowledgements were written before the open question.
    asked: Vec<u64>,
    answer: Option<Answer>,
    proven: mpsc::Sender<Vec<u64>>,
}

impl Proof {
    /// Tells `proven` the numbers of deliveries whose acknowledgement the broker has.
    pub(super) fn new(proven: mpsc::Sender<Vec<u64>>) -> Self {
        Self { written: Vec::new(), asked: Vec::new(), answer: None, proven }
    }

    /// The acknowledgements of these deliveries have been written.
    pub(super) fn written(&mut self, channel: &Channel, tags: &mut Vec<u64>) {
        self.written.append(tags);
        self.ask(channel);
    }

    /// Waits for the answer to the open question, and asks the next one. Waits for ever if none is open. May be given up
    /// and called again.
    pub(super) async fn answered(&mut self, channel: &Channel) -> lapin::Result<()> {
        let Some(answer) = &mut self.answer else { return std::future::pending().await };
        let answered = answer.await;
        self.answer = None;
        answered?;
        // There is room: each message is of deliveries that were out together, and the prefetch bounds those.
        self.proven.try_send(std::mem::take(&mut self.asked)).ok();
        self.ask(channel);
        Ok(())
    }

    fn ask(&mut self, channel: &Channel) {
        if self.answer.is_some() || self.written.is_empty() {
            return;
        }
        self.asked = std::mem::take(&mut self.written);
        let channel = channel.clone();
        self.answer = Some(Box::pin(async move { channel.channel_flow(ChannelFlowOptions { active: true }).await }));
    }
}
