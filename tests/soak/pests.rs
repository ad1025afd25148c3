//! Clients that a server has to bear: slow ones, ones whose network has gone, and ones that send rubbish.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};

use crate::people::{Client, Memories, Over};
use crate::support::raw::{HANDSHAKE, frame, text};

/// A session that reads in fits and starts, and comes again when it is thrown out. It is owed nothing, and must still
/// not get what is not for it.
pub(crate) async fn dawdle(address: SocketAddr, index: usize, mut rng: fastrand::Rng, over: Over) -> Memories {
    let mut memories = Memories::default();
    while !*over.borrow() {
        let Ok(mut client) = Client::enter(address, &format!("dawdler {index}"), &mut rng).await else {
            memories.refused += 1;
            sleep(Duration::from_millis(500)).await;
            continue;
        };
        client.session.reads = false;
        while !*over.borrow() {
            rest(Duration::from_millis(rng.u64(1_000..8_000)), &over).await;
            if client.read_until(Instant::now() + Duration::from_millis(rng.u64(10..500))).await.is_err() {
                break;
            }
        }
        client.session.left = Some(Instant::now());
        memories.keep(client.leave(false).await);
    }
    memories
}

/// A session behind a link that may go half open: then it hears nothing any more, waits for some time, and comes again.
pub(crate) async fn hang(link: SocketAddr, index: usize, mut rng: fastrand::Rng, over: Over) -> Memories {
    let mut memories = Memories::default();
    while !*over.borrow() {
        let Ok(mut client) = Client::enter(link, &format!("hanger {index}"), &mut rng).await else {
            memories.refused += 1;
            sleep(Duration::from_millis(500)).await;
            continue;
        };
        client.session.reads = false;
        let patience = Duration::from_secs(rng.u64(5..20));
        let mut told = over.clone();
        loop {
            tokio::select! {
                message = timeout(patience, client.next()) => if !matches!(message, Ok(Ok(_))) { break },
                _ = told.wait_for(|over| *over) => break,
            }
        }
        client.session.left = Some(Instant::now());
        memories.keep(client.leave(false).await);
    }
    memories
}

/// Rubbish of all kinds, one connection after the other.
pub(crate) async fn litter(address: SocketAddr, mut rng: fastrand::Rng, over: Over) -> Memories {
    while !*over.borrow() {
        if let Ok(mut stream) = TcpStream::connect(address).await {
            let rubbish = rubbish(&mut rng);
            for part in rubbish.chunks(rng.usize(1..4096)) {
                if stream.write_all(part).await.is_err() {
                    break;
                }
            }
            // The server says what it thinks of it, and closes or not.
            let mut said = Vec::new();
            let patience = Duration::from_millis(rng.u64(50..3_000));
            timeout(patience, stream.read_to_end(&mut said)).await.ok();
        }
        rest(Duration::from_millis(rng.u64(50..1_000)), &over).await;
    }
    Memories::default()
}

fn rubbish(rng: &mut fastrand::Rng) -> Vec<u8> {
    let mut noise = |length: usize| -> Vec<u8> { std::iter::repeat_with(|| rng.u8(..)).take(length).collect() };
    let noise = noise(3_000);
    let open = HANDSHAKE.as_bytes();
    match rng.u8(..8) {
        0 => noise,
        // A request that never ends.
        1 => open[..rng.usize(1..open.len() - 1)].to_vec(),
        2 => [b"GET /ws HTTP/1.1\r\n".to_vec(), b"x-long: y\r\n".repeat(5_000)].concat(),
        // Frames without a mask, of reserved kinds, longer than they may be.
        3 => [open, &noise].concat(),
        4 => [open, &frame(0x81, &vec![b'x'; 1 << 20])].concat(),
        5 => [open, &frame(0x82, b"binary"), &frame(0x8f, b"reserved")].concat(),
        // Good frames with nothing good in them.
        6 => [open, &text("{"), &text("[1]"), &text(r#"{"unknown":1}"#), &text(r#"{"subscribe":["deal:1"]}"#)].concat(),
        _ => [open, text(r#"{"access_token":"wrong"}"#).repeat(5).as_slice()].concat(),
    }
}

async fn rest(time: Duration, over: &Over) {
    let mut over = over.clone();
    timeout(time, over.wait_for(|over| *over)).await.ok();
}
