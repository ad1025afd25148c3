//! A link that a test breaks: a small TCP proxy between a client and what it connects to.
//!
//! It runs on a thread of its own, so that a test that waits for something else does not hold it up.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::runtime::Builder;
use tokio::sync::{broadcast, mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

/// Bytes that are read at once.
const CHUNK: usize = 16 << 10;
/// Chunks that are on their way in one direction at most; a full way stops reading.
const ON_THE_WAY: usize = 256;
/// What a test says to clients and is not yet said, at most.
const SAYING: usize = 16;

/// A proxy on a port of its own. Ends, with all its connections, when it is dropped.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    link: watch::Sender<Link>,
    saying: broadcast::Sender<Vec<u8>>,
    open: Arc<AtomicUsize>,
    accepted: Arc<AtomicUsize>,
    thread: Option<JoinHandle<()>>,
}

/// How it stands with the link.
#[derive(Clone, Copy, Debug)]
struct Link {
    state: State,
    delay: Duration,
    /// How often it was cut. A connection ends when this is another number than when it began.
    cuts: usize,
    /// Whether a cut reaches the clients alone, and the far ends of their connections stay open.
    deserts: bool,
    /// After the far end has said this on a connection, what its client says there is lost.
    deaf_after: Option<&'static [u8]>,
    over: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Whole,
    Silent,
    HalfOpen,
    Refusing,
}

impl Proxy {
    /// Starts to forward to this address.
    pub fn start(upstream: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let (link, seen) = watch::channel(Link {
            state: State::Whole,
            delay: Duration::ZERO,
            cuts: 0,
            deserts: false,
            deaf_after: None,
            over: false,
        });
        let (open, accepted) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let (saying, _) = broadcast::channel(SAYING);
        let counts = (Arc::clone(&open), Arc::clone(&accepted));
        let said = saying.clone();
        // Made here, so that what a process holds changes with the call, and not some time after it.
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let serve = async move {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            serve(listener, upstream, seen, said, counts).await;
        };
        let thread = std::thread::Builder::new().name("proxy".into()).spawn(move || runtime.block_on(serve)).unwrap();
        Self { address, link, saying, open, accepted, thread: Some(thread) }
    }

    /// Where to connect.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Resets all connections. Later ones are forwarded, unless something else was said of them.
    pub fn cut(&self) {
        self.link.send_modify(|link| (link.cuts, link.deserts) = (link.cuts + 1, false));
    }

    /// Resets all connections of clients, and the far end does not learn of it: its ends stay open and silent until the
    /// proxy ends.
    pub fn desert(&self) {
        self.link.send_modify(|link| (link.cuts, link.deserts) = (link.cuts + 1, true));
    }

    /// On each connection, after the far end has said this, everything that the client says is lost.
    pub fn deafen_after(&self, said: &'static [u8]) {
        self.link.send_modify(|link| link.deaf_after = Some(said));
    }

    /// Keeps all connections open and accepts more, and reads nothing from them, as a peer does that has stopped:
    /// who goes on writing will have to wait. What is on its way arrives after [`resume`](Self::resume).
    pub fn silence(&self) {
        self.set(State::Silent);
    }

    /// The far end is gone and the near one does not know: upstream connections are reset, those of clients stay open,
    /// and what they send is lost. Later ones fare the same.
    pub fn half_open(&self) {
        self.set(State::HalfOpen);
    }

    /// Resets all connections and each that comes.
    pub fn refuse(&self) {
        self.set(State::Refusing);
        self.cut();
    }

    /// Says this to all clients, as if the far end had: between what comes from there.
    pub fn say(&self, bytes: &[u8]) {
        self.saying.send(bytes.to_vec()).expect("somebody listens");
    }

    /// Bytes that are read from now on arrive this much later. There is no bound on how many bytes arrive in a second.
    pub fn delay(&self, delay: Duration) {
        self.link.send_modify(|link| link.delay = delay);
    }

    /// Forwards again, without delay. Connections that are half open or deaf stay so.
    pub fn resume(&self) {
        self.delay(Duration::ZERO);
        self.link.send_modify(|link| link.deaf_after = None);
        self.set(State::Whole);
    }

    /// How many clients are connected.
    pub fn open(&self) -> usize {
        self.open.load(Ordering::Acquire)
    }

    /// How many connections there have been.
    pub fn accepted(&self) -> usize {
        self.accepted.load(Ordering::Acquire)
    }

    fn set(&self, state: State) {
        self.link.send_modify(|link| link.state = state);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.link.send_modify(|link| link.over = true);
        if let Some(thread) = self.thread.take() {
            thread.join().expect("the proxy ends without a panic");
        }
    }
}

/// What all connections are counted by: those that are open, and all there were.
type Counts = (Arc<AtomicUsize>, Arc<AtomicUsize>);

async fn serve(
    listener: tokio::net::TcpListener,
    upstream: SocketAddr,
    mut link: watch::Receiver<Link>,
    saying: broadcast::Sender<Vec<u8>>,
    (open, accepted): Counts,
) {
    let mut connections = JoinSet::new();
    loop {
        let (client, _) = tokio::select! {
            _ = link.wait_for(|link| link.over) => return,
            Some(ended) = connections.join_next() => {
                ended.expect("a connection ends without a panic");
                continue;
            }
            client = listener.accept() => client.expect("a connection"),
        };
        accepted.fetch_add(1, Ordering::AcqRel);
        open.fetch_add(1, Ordering::AcqRel);
        let (link, said, open) = (link.clone(), saying.subscribe(), Arc::clone(&open));
        connections.spawn(async move {
            connection(client, upstream, link, said).await;
            open.fetch_sub(1, Ordering::AcqRel);
        });
    }
}

/// One client's connection, until it ends or is cut.
async fn connection(
    mut client: TcpStream,
    upstream: SocketAddr,
    mut link: watch::Receiver<Link>,
    said: broadcast::Receiver<Vec<u8>>,
) {
    let cuts = link.borrow().cuts;
    let mut cut = link.clone();
    let mut far = None;
    let life = async {
        if wait_until_open(&mut link).await {
            // Where nobody is there, the client learns of it by the end of its connection.
            let Ok(stream) = TcpStream::connect(upstream).await else { return };
            // It must not seem slower than it is.
            client.set_nodelay(true).and_then(|()| stream.set_nodelay(true)).ok();
            far = Some(stream);
        }
        if let Some(far) = &mut far {
            let mut half_open = link.clone();
            tokio::select! {
                () = both_ways(&mut client, far, &link, said) => return,
                _ = half_open.wait_for(|link| link.state == State::HalfOpen) => reset(far),
            }
        }
        far = None;
        tokio::io::copy(&mut client, &mut tokio::io::sink()).await.ok();
    };
    let is_cut = tokio::select! {
        () = life => false,
        _ = cut.wait_for(|link| link.cuts != cuts || link.state == State::Refusing) => true,
    };
    if is_cut {
        reset(&client);
        drop(client);
        if cut.borrow().deserts {
            cut.wait_for(|link| link.over).await.ok();
        }
    }
    drop(far);
}

/// Waits while the link is silent. Answers whether it forwards then: else it is half open.
async fn wait_until_open(link: &mut watch::Receiver<Link>) -> bool {
    let open = link.wait_for(|link| link.state != State::Silent).await;
    open.is_ok_and(|link| link.state == State::Whole)
}

/// The end of a connection will be a reset. Connections that are forwarded to are cut with the one they serve.
fn reset(stream: &TcpStream) {
    SockRef::from(stream).set_linger(Some(Duration::ZERO)).ok();
}

async fn both_ways(
    client: &mut TcpStream,
    far: &mut TcpStream,
    link: &watch::Receiver<Link>,
    said: broadcast::Receiver<Vec<u8>>,
) {
    // Where it is cut, this goes with it.
    reset(far);
    let (client_reads, client_writes) = client.split();
    let (far_reads, far_writes) = far.split();
    // Nothing is ever said by this one.
    let (_silence, nothing) = broadcast::channel(1);
    let deaf = AtomicBool::new(false);
    let listen = link.clone();
    let heard = |chunk: &[u8]| {
        let is_said = |said: &[u8]| chunk.windows(said.len()).any(|window| window == said);
        if listen.borrow().deaf_after.is_some_and(is_said) {
            deaf.store(true, Ordering::Release);
        }
        true
    };
    tokio::join!(
        one_way(client_reads, far_writes, link.clone(), nothing, |_| !deaf.load(Ordering::Acquire)),
        one_way(far_reads, client_writes, link.clone(), said, heard)
    );
}

/// Forwards the bytes that `passes` accepts. Stops when `to` accepts no more. Closes `to` when `from` ends.
async fn one_way(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    link: watch::Receiver<Link>,
    mut said: broadcast::Receiver<Vec<u8>>,
    passes: impl Fn(&[u8]) -> bool,
) {
    let (send, mut on_the_way) = mpsc::channel::<(Instant, Vec<u8>)>(ON_THE_WAY);
    let mut sending = link.clone();
    let read = async move {
        let mut link = link;
        loop {
            wait_until_open(&mut link).await;
            let mut chunk = vec![0; CHUNK];
            let mut silent = link.clone();
            let read = tokio::select! {
                biased;
                _ = silent.wait_for(|link| link.state == State::Silent) => continue,
                read = from.read(&mut chunk) => read.unwrap_or(0),
            };
            chunk.truncate(read);
            let due = Instant::now() + link.borrow().delay;
            if read == 0 || send.send((due, chunk)).await.is_err() {
                return;
            }
        }
    };
    let write = async move {
        loop {
            let (due, chunk) = tokio::select! {
                chunk = on_the_way.recv() => match chunk {
                    Some(chunk) => chunk,
                    None => break,
                },
                Ok(bytes) = said.recv() => (Instant::now(), bytes),
            };
            sleep_until(due).await;
            wait_until_open(&mut sending).await;
            if !chunk.is_empty() && !passes(&chunk) {
                continue;
            }
            if to.write_all(&chunk).await.is_err() {
                return;
            }
        }
        to.shutdown().await.ok();
    };
    tokio::join!(read, write);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::support::held::eventually;

    /// A server that says everything twice, and the number of its connections.
    async fn echo() -> (SocketAddr, Arc<AtomicUsize>) {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, open) = (listener.local_addr().unwrap(), Arc::new(AtomicUsize::new(0)));
        let connections = Arc::clone(&open);
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let open = Arc::clone(&connections);
                open.fetch_add(1, Ordering::AcqRel);
                tokio::spawn(async move {
                    let (mut reads, mut writes) = stream.split();
                    tokio::io::copy(&mut reads, &mut writes).await.ok();
                    open.fetch_sub(1, Ordering::AcqRel);
                });
            }
        });
        (address, open)
    }

    async fn connect(proxy: &Proxy) -> TcpStream {
        TcpStream::connect(proxy.address()).await.unwrap()
    }

    async fn says(stream: &mut TcpStream, text: &[u8]) {
        stream.write_all(text).await.unwrap();
        hears(stream, text).await;
    }

    async fn hears(stream: &mut TcpStream, text: &[u8]) {
        let mut heard = vec![0; text.len()];
        stream.read_exact(&mut heard).await.unwrap();
        assert_eq!(heard, text);
    }

    async fn hears_nothing(stream: &mut TcpStream) {
        let heard = tokio::time::timeout(Duration::from_millis(100), stream.read_u8()).await;
        assert!(heard.is_err(), "{heard:?}");
    }

    async fn is_reset(mut stream: TcpStream) {
        let end = stream.read_u8().await.unwrap_err();
        assert_eq!(end.kind(), std::io::ErrorKind::ConnectionReset);
    }

    async fn nobody(proxy: &Proxy) {
        eventually("nobody is connected", || proxy.open() == 0, || proxy.open().to_string()).await;
    }

    async fn eventually_is(count: &AtomicUsize, expected: usize) {
        let now = || count.load(Ordering::Acquire);
        eventually("that many", || now() == expected, || now().to_string()).await;
    }

    #[tokio::test]
    async fn it_forwards_both_ways_to_the_end_and_delays_where_asked() {
        let (address, at_echo) = echo().await;
        let proxy = Proxy::start(address);
        let mut stream = connect(&proxy).await;
        says(&mut stream, &vec![7; 3 * CHUNK]).await;
        proxy.delay(Duration::from_millis(50));
        let begun = Instant::now();
        says(&mut stream, b"late").await;
        assert!(begun.elapsed() >= Duration::from_millis(100), "there and back");
        proxy.resume();
        stream.shutdown().await.unwrap();
        assert_eq!(stream.read(&mut [0]).await.unwrap(), 0);
        eventually_is(&at_echo, 0).await;
        nobody(&proxy).await;
    }

    #[tokio::test]
    async fn a_cut_resets_what_is_open_and_nothing_later() {
        let (address, at_echo) = echo().await;
        let proxy = Proxy::start(address);
        let mut stream = connect(&proxy).await;
        says(&mut stream, b"1").await;
        proxy.cut();
        is_reset(stream).await;
        eventually_is(&at_echo, 0).await;
        says(&mut connect(&proxy).await, b"2").await;
        proxy.refuse();
        is_reset(connect(&proxy).await).await;
        proxy.resume();
        let mut stream = connect(&proxy).await;
        says(&mut stream, b"3").await;
        proxy.say(b"from nowhere");
        hears(&mut stream, b"from nowhere").await;
        assert_eq!(proxy.accepted(), 4);
    }

    #[tokio::test]
    async fn a_deserted_far_end_stays_open_and_a_deaf_one_hears_nothing_more() {
        let (address, at_echo) = echo().await;
        let proxy = Proxy::start(address);
        let mut stream = connect(&proxy).await;
        says(&mut stream, b"1").await;
        proxy.desert();
        is_reset(stream).await;
        proxy.deafen_after(b"enough");
        let mut stream = connect(&proxy).await;
        says(&mut stream, b"2").await;
        says(&mut stream, b"enough").await;
        stream.write_all(b"3").await.unwrap();
        hears_nothing(&mut stream).await;
        proxy.resume();
        says(&mut connect(&proxy).await, b"4").await;
        eventually_is(&at_echo, 2).await;
        drop((stream, proxy));
        eventually_is(&at_echo, 0).await;
    }

    #[tokio::test]
    async fn a_silent_link_keeps_everything_and_a_half_open_one_loses_it() {
        let (address, at_echo) = echo().await;
        let proxy = Proxy::start(address);
        let mut stream = connect(&proxy).await;
        says(&mut stream, b"1").await;
        proxy.silence();
        let mut second = connect(&proxy).await;
        for stream in [&mut stream, &mut second] {
            stream.write_all(b"2").await.unwrap();
            hears_nothing(stream).await;
        }
        proxy.resume();
        hears(&mut stream, b"2").await;
        hears(&mut second, b"2").await;
        proxy.half_open();
        eventually_is(&at_echo, 0).await;
        for stream in [&mut stream, &mut second] {
            stream.write_all(b"3").await.unwrap();
            hears_nothing(stream).await;
        }
        proxy.resume();
        hears_nothing(&mut stream).await;
        says(&mut connect(&proxy).await, b"4").await;
        drop((stream, second));
        nobody(&proxy).await;
        drop(proxy);
        eventually_is(&at_echo, 0).await;
    }
}
