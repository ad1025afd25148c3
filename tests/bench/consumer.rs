//! The baseline of what comes from the broker: a bare consumer of the same client library, which looks at nothing.
//!
//! The harness starts itself as this, on the server's core, or runs it on a thread of its own where what counts is the
//! time from publisher to receipt. The queue is declared as the program declares it.

use std::io::{self, BufRead as _, BufReader, Read, Write as _};
use std::process::{ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Duration;

use futures_util::StreamExt as _;
use lapin::options::{
    BasicAckOptions, BasicCancelOptions, BasicConsumeOptions, BasicQosOptions, ExchangeDeclareOptions,
    QueueBindOptions, QueueDeclareOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Channel, Connection, ConnectionProperties, Consumer as Consuming, ExchangeKind};
use rustix::process::{Signal, set_parent_process_death_signal};
use tokio::runtime::Builder;
use tokio::sync::oneshot;

use crate::Outcome;
use crate::broker::{Broker, LONGEST, PREFETCH, Settling};
use crate::machine::Cores;
use crate::process::Running;

/// The harness's first argument when it shall be the consumer.
pub(crate) const ARGUMENT: &str = "--be-the-consumer";
/// Deliveries that one acknowledgement stands for.
const TOGETHER: u64 = 100;
/// How long it may take from one line that it prints to the next.
const STALL: Duration = Duration::from_secs(20);

/// A running one, in a process of its own. It ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Consumer {
    pub(crate) process: Running,
    pub(crate) settling: Settling,
    /// What it is told.
    input: ChildStdin,
    /// What it says.
    lines: Receiver<String>,
}

/// One on a thread of this process. It ends when this is dropped.
#[derive(Debug)]
pub(crate) struct ConsumerHere {
    _stop: oneshot::Sender<()>,
}

impl Consumer {
    /// Starts it, and waits until its queue is there. It will say each time that it has got so many. Where it does not
    /// acknowledge, it consumes only so many each time that it is told to [subscribe](Self::subscribe).
    pub(crate) fn start(broker: &Broker, exchange: &str, settling: Settling, many: u64, cores: Cores) -> Outcome<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args([ARGUMENT, broker.url(), exchange, settling.word(), &many.to_string()]);
        let mut child = cores.apart(|| command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn())??;
        let input = child.stdin.take().ok_or("its input is piped")?;
        let lines = lines(child.stdout.take().ok_or("its output is piped")?);
        let consumer = Self { process: Running::new(child), settling, input, lines };
        consumer.hear("ready")?;
        Ok(consumer)
    }

    /// Has one that does not acknowledge consume as many as it was told.
    pub(crate) fn subscribe(&mut self) -> Outcome<()> {
        Ok(writeln!(self.input, "subscribe")?)
    }

    /// Waits until it has got as many as it was told.
    pub(crate) fn drained(&self) -> Outcome<()> {
        self.hear("drained")
    }

    fn hear(&self, word: &str) -> Outcome<()> {
        let line = self.lines.recv_timeout(STALL).map_err(|_| format!("the bare consumer does not say `{word}`"))?;
        if line == word { Ok(()) } else { Err(format!("the bare consumer says `{line}`").into()) }
    }
}

/// What the process does, with the arguments after the first: runs until it is killed.
pub(crate) fn run(arguments: &[String]) -> Outcome<()> {
    set_parent_process_death_signal(Some(Signal::KILL))?;
    let [url, exchange, settling, many] = arguments else { return Err("four arguments".into()) };
    let (settling, many) = (Settling::parse(settling)?, many.parse()?);
    let runtime = Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let queue = Queue::declare(url, exchange, settling).await?;
        say("ready")?;
        match settling {
            Settling::Acknowledged => {
                let mut got = 0_u64;
                let each = |_: &[u8]| {
                    got += 1;
                    if got.is_multiple_of(many) { say("drained") } else { Ok(()) }
                };
                queue.consume(each).await
            }
            Settling::NoAck => loop {
                // Holds up this thread, and the heartbeat with it, for far shorter than the broker would miss it.
                io::stdin().lock().read_line(&mut String::new())?;
                queue.consume_some(many).await?;
                say("drained")?;
            },
        }
    })
}

impl ConsumerHere {
    /// Starts it, and waits until it consumes. `each` gets every body; an error from it ends the consumer and is printed.
    pub(crate) fn start(
        broker: &Broker,
        exchange: &str,
        each: impl FnMut(&[u8]) -> Outcome<()> + Send + 'static,
    ) -> Outcome<Self> {
        let (url, exchange) = (broker.url().to_owned(), exchange.to_owned());
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let (tell, told) = sync_channel(1);
        let (stop, stopped) = oneshot::channel::<()>();
        std::thread::spawn(move || {
            let consume = async {
                let queue = Queue::declare(&url, &exchange, Settling::Acknowledged).await?;
                tell.send(())?;
                queue.consume(each).await
            };
            runtime.block_on(async {
                tokio::select! {
                    end = consume => if let Err(error) = end {
                        eprintln!("the bare consumer: {error}");
                    },
                    _ = stopped => {}
                }
            });
            runtime.shutdown_background();
        });
        told.recv_timeout(STALL).map_err(|_| "the bare consumer does not consume")?;
        Ok(Self { _stop: stop })
    }
}

/// A queue that is declared and bound.
struct Queue {
    channel: Channel,
    name: String,
    _connection: Connection,
}

impl Queue {
    async fn declare(url: &str, exchange: &str, settling: Settling) -> Outcome<Self> {
        let connection = Connection::connect(url, ConnectionProperties::default()).await?;
        let channel = connection.create_channel().await?;
        let (nothing, name) = (FieldTable::default, format!("bench.{exchange}"));
        let durable = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
        channel.exchange_declare(exchange.into(), ExchangeKind::Fanout, durable, nothing()).await?;
        let mut arguments = FieldTable::default();
        arguments.insert("x-max-length".into(), AMQPValue::LongLongInt(LONGEST));
        // Who subscribes time and again must find it again.
        let auto_delete = settling == Settling::Acknowledged;
        let own = QueueDeclareOptions { exclusive: true, auto_delete, ..QueueDeclareOptions::default() };
        channel.queue_declare(name.as_str().into(), own, arguments).await?;
        let bound = QueueBindOptions::default();
        channel.queue_bind(name.as_str().into(), exchange.into(), "".into(), bound, nothing()).await?;
        Ok(Self { channel, name, _connection: connection })
    }

    /// Hands on each body and acknowledges, for ever.
    async fn consume(&self, mut each: impl FnMut(&[u8]) -> Outcome<()>) -> Outcome<()> {
        self.channel.basic_qos(PREFETCH, BasicQosOptions::default()).await?;
        let mut consumer = self.subscribe(BasicConsumeOptions::default()).await?;
        while let Some(delivery) = consumer.next().await {
            let delivery = delivery?;
            each(&delivery.data)?;
            if delivery.delivery_tag.is_multiple_of(TOGETHER) {
                self.channel.basic_ack(delivery.delivery_tag, BasicAckOptions { multiple: true }).await?;
            }
        }
        Err("its queue is gone".into())
    }

    /// Takes so many, without acknowledgements.
    async fn consume_some(&self, many: u64) -> Outcome<()> {
        let options = BasicConsumeOptions { no_ack: true, ..BasicConsumeOptions::default() };
        let mut consumer = self.subscribe(options).await?;
        for _ in 0..many {
            consumer.next().await.ok_or("its queue is gone")??;
        }
        Ok(self.channel.basic_cancel(consumer.tag(), BasicCancelOptions::default()).await?)
    }

    async fn subscribe(&self, options: BasicConsumeOptions) -> Outcome<Consuming> {
        let consumed = self.channel.basic_consume(self.name.as_str().into(), "".into(), options, FieldTable::default());
        Ok(consumed.await?)
    }
}

fn say(word: &str) -> Outcome<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{word}")?;
    Ok(out.flush()?)
}

fn lines(output: impl Read + Send + 'static) -> Receiver<String> {
    let output = BufReader::new(output);
    let (said, lines) = sync_channel(16);
    std::thread::spawn(move || {
        for line in output.lines().map_while(Result::ok) {
            if said.send(line).is_err() {
                break;
            }
        }
    });
    lines
}
