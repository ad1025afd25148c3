//! Questions to an endpoint that the test plays.

use std::net::Ipv4Addr;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use super::*;
use crate::cache::Bounds;
use crate::config::HttpProvider;
use crate::event::Value;

const REMOTE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const KEEP: Keep = Keep { ttl: Duration::from_secs(30), bounds: Bounds { entries: 100, bytes: 1 << 20 } };

/// An endpoint whose answers the test gives.
struct Endpoint {
    asking: Asking,
    questions: mpsc::Receiver<Question>,
}

/// A request under way, and who answers it: with a status, and a role.
type Question = (String, oneshot::Sender<(u16, &'static str)>);

impl Endpoint {
    async fn start(concurrent: usize, keep: Option<Keep>) -> Self {
        crate::runtime::cryptography();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let config = HttpProvider {
            url: SecretString::from(format!("http://{}/", listener.local_addr().unwrap())),
            timeout: Duration::from_secs(30),
            connect_timeout: Duration::from_secs(30),
            cache: None,
            concurrent,
            headers: Vec::new(),
        };
        let (asked, questions) = mpsc::channel(1_000);
        tokio::spawn(async move {
            loop {
                let (mut socket, _) = listener.accept().await.unwrap();
                let asked = asked.clone();
                tokio::spawn(async move {
                    let mut request = String::new();
                    let mut buffer = [0; 4096];
                    loop {
                        let count = socket.read(&mut buffer).await.unwrap_or(0);
                        request.push_str(std::str::from_utf8(&buffer[..count]).unwrap());
                        if count == 0 {
                            return;
                        }
                        let Some(body) = request.strip_suffix('}').and_then(|text| text.rsplit_once('{')) else {
                            continue;
                        };
                        let token = body.1.split('"').nth(3).unwrap().to_owned();
                        request.clear();
                        let (answer, answered) = oneshot::channel();
                        asked.send((token, answer)).await.unwrap();
                        let Ok((status, role)) = answered.await else { return };
                        let body = format!(r#"{{"user":7,"tenant":"acme","role":"{role}"}}"#);
                        let answer = format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\n\r\n{body}", body.len());
                        socket.write_all(answer.as_bytes()).await.ok();
                    }
                });
            }
        });
        let source = Source::Http(Http::new(&config).unwrap());
        let asking = Asking::new(source, concurrent, Duration::from_secs(30), keep, &Metrics::new());
        Self { asking, questions }
    }

    /// The next request's token; it is answered with this.
    async fn answer(&mut self, status: u16, role: &'static str) -> String {
        let question = timeout(Duration::from_secs(30), self.questions.recv()).await;
        let (token, answer) = question.expect("a question in time").unwrap();
        answer.send((status, role)).unwrap();
        token
    }

    fn is_quiet(&mut self) -> bool {
        self.questions.try_recv().is_err()
    }
}

/// The role, or what else was said.
fn said(answer: &Answer) -> String {
    match answer {
        Answer::Known(identity) => match identity.attributes.get("role") {
            Value::Text(role) => role.to_owned(),
            other => panic!("{other:?}"),
        },
        other => format!("{other:?}"),
    }
}

async fn ask(asking: &Asking, token: &str) -> String {
    let token = SecretString::from(token);
    match asking.at_once(&token, REMOTE, wall_clock()) {
        Some(answer) => said(&answer),
        None => said(&asking.ask(&token, REMOTE, wall_clock()).await),
    }
}

#[tokio::test]
async fn equal_questions_are_asked_once_and_with_a_cache_once_for_a_while() {
    for keep in [None, Some(KEEP)] {
        let mut endpoint = Endpoint::start(8, keep).await;
        let asking = Asking(Arc::clone(&endpoint.asking.0));
        let crowd = join_all((0..100).map(|_| ask(&asking, "same")));
        let (answers, token) = tokio::join!(crowd, endpoint.answer(200, "first"));
        assert_eq!(token, "same");
        assert!(answers.iter().all(|answer| answer == "first"));
        assert!(endpoint.is_quiet() && asking.0.lock().flights.is_empty());
        let (answer, other) = tokio::join!(ask(&asking, "same"), async {
            match keep {
                None => Some(endpoint.answer(200, "second").await),
                Some(_) => None,
            }
        });
        assert_eq!(
            (answer.as_str(), other.is_some()),
            if keep.is_some() { ("first", false) } else { ("second", true) }
        );
    }
}

#[tokio::test]
async fn what_counts_from_one_address_alone_is_asked_for_each() {
    let mut endpoint = Endpoint::start(8, None).await;
    let asking = Asking(Arc::clone(&endpoint.asking.0));
    let token = SecretString::from("same");
    let ask = |last: u8| asking.ask(&token, IpAddr::from([10, 0, 0, last]), wall_clock());
    let (first, second, third, ..) = tokio::join!(ask(1), ask(2), ask(1), async {
        [endpoint.answer(200, "a").await, endpoint.answer(401, "").await]
    });
    let mut answers = [said(&first), said(&second)];
    answers.sort();
    assert_eq!(answers, ["Unknown", "a"]);
    assert_eq!(said(&third), said(&first));
}

#[tokio::test]
async fn denials_are_kept_and_outages_are_not() {
    let mut endpoint = Endpoint::start(8, Some(KEEP)).await;
    let asking = Asking(Arc::clone(&endpoint.asking.0));
    let (answer, _) = tokio::join!(ask(&asking, "bad"), endpoint.answer(401, ""));
    assert_eq!([answer, ask(&asking, "bad").await], ["Unknown", "Unknown"]);
    let (answer, _) = tokio::join!(ask(&asking, "other"), endpoint.answer(503, ""));
    assert!(answer.contains("503"), "{answer}");
    let (answer, _) = tokio::join!(ask(&asking, "other"), endpoint.answer(200, "well"));
    assert_eq!(answer, "well");
}

#[tokio::test]
async fn a_load_under_way_does_not_undo_that_it_was_forgotten() {
    for token in [Some(Scalar::Text("SAME".into())), None] {
        let mut endpoint = Endpoint::start(8, Some(KEEP)).await;
        let asking = Asking(Arc::clone(&endpoint.asking.0));
        let early = tokio::spawn({
            let asking = Asking(Arc::clone(&asking.0));
            async move { ask(&asking, "same").await }
        });
        let (_, stale) = endpoint.questions.recv().await.unwrap();
        asking.forget(token.as_ref());
        // Who comes now does not share what was asked before.
        let (late, token) = tokio::join!(ask(&asking, "same"), endpoint.answer(200, "fresh"));
        assert_eq!((late.as_str(), token.as_str()), ("fresh", "same"));
        stale.send((200, "stale")).unwrap();
        // Nor does who came before get what was answered before: it is asked again.
        endpoint.answer(200, "fresh too").await;
        assert_eq!(early.await.unwrap(), "fresh too");
        assert_eq!(ask(&asking, "same").await, "fresh");
    }
}

#[tokio::test]
async fn who_goes_away_leaves_nothing_behind() {
    let mut endpoint = Endpoint::start(1, None).await;
    let asking = Asking(Arc::clone(&endpoint.asking.0));
    let mut first = Box::pin(ask(&asking, "first"));
    let mut second = Box::pin(ask(&asking, "second"));
    assert!((&mut first).now_or_never().is_none() && (&mut second).now_or_never().is_none());
    let (token, _hung) = tokio::select! {
        _ = &mut first => panic!("not answered"),
        question = endpoint.questions.recv() => question.unwrap(),
    };
    assert_eq!(token, "first");
    drop(second);
    let mut third = Box::pin(ask(&asking, "third"));
    assert!((&mut third).now_or_never().is_none());
    drop(first);
    let (answer, token) = tokio::join!(third, endpoint.answer(200, "third's"));
    assert_eq!((answer.as_str(), token.as_str()), ("third's", "third"));
    assert!(asking.0.lock().flights.is_empty());
}
