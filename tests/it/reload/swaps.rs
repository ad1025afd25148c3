//! Many changes while events flow: each event reaches whom it is for, once and in order, by one state of the files.
//!
//! The benchmark `swaps` is the same with more of everything.

use std::cell::Cell;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};

use super::Stage;
use crate::support::client::Client;
use crate::support::generations::{Book, Change, Files, Seats};

const SEATS: Seats = Seats { tenants: 5, boards: 2 };
const SESSIONS: u64 = 100;
const EVERY: Duration = Duration::from_millis(2);

/// Who takes up a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum By {
    /// The API, when the files are changed.
    Api,
    /// The API, which is asked all the time: also while the files change.
    Racing,
    /// The watcher.
    Watch,
}

#[tokio::test]
async fn no_event_is_lost_doubled_or_decided_by_half_of_a_change() {
    let folder = tempfile::tempdir().unwrap();
    let mut files = Files::create(folder.path(), SEATS).unwrap();
    let stage = Stage::start_in(folder, Files::MAIN).await;
    let session = async |index| {
        let (token, topic) = (SEATS.token(index), SEATS.topic(index));
        Client::session(&stage.server, &token, &[&topic]).await
    };
    let mut sessions = join_all((0..SESSIONS).map(session)).await;

    let (published, progress) = watch::channel(0);
    let done = Cell::new(false);
    let changes = async {
        for by in [By::Api, By::Racing, By::Watch] {
            let phase = change_all(by, &mut files, &stage, progress.clone());
            if by == By::Racing {
                tokio::select! { () = phase => {} () = ask_all_the_time(&stage) => {} }
            } else {
                phase.await;
            }
        }
        done.set(true);
    };
    let (events, ()) = tokio::join!(publish(&stage, &published, &done), changes);

    let mut book = Book::new(SEATS, SESSIONS);
    for (index, session) in sessions.iter_mut().enumerate() {
        while !book.has_all(index, events) {
            book.note(index, &session.next_event().await).unwrap();
        }
    }
    // What came twice would come before this.
    for event in (0..SEATS.round()).map(|number| SEATS.event(events + number)) {
        stage.server.post("/publish", event).await;
    }
    for (index, session) in sessions.iter_mut().enumerate() {
        book.note(index, &session.next_event().await).unwrap();
    }
    let seen = book.close(events + SEATS.round(), files.states()).unwrap();
    assert_eq!(seen, files.states().len(), "each of them has decided something");
}

/// Each kind of change, three times.
async fn change_all(by: By, files: &mut Files, stage: &Stage, mut published: watch::Receiver<u64>) {
    for change in [Change::Plugin, Change::Yaml, Change::Both].repeat(3) {
        files.change(change).unwrap();
        let generation = files.states().len() as u64;
        if by == By::Api {
            let (_, answer) = stage.reload().await;
            assert_eq!(answer["generation"], generation, "{answer:#}");
        } else {
            let in_force = async || stage.standing().await.0 >= generation;
            stage.until(&format!("{change:?} by {by:?}"), in_force).await;
        }
        assert_eq!(stage.standing().await.0, generation, "one change, one generation");
        // One may be under way already: the next one is decided by what is in force now.
        let now = *published.borrow();
        published.wait_for(|count| *count >= now + 2).await.unwrap();
    }
}

/// Publishes until it is done and each board has had as many events. Answers how many there were.
async fn publish(stage: &Stage, published: &watch::Sender<u64>, done: &Cell<bool>) -> u64 {
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut number = 0;
    while !done.get() || number % SEATS.round() != 0 {
        ticks.tick().await;
        let answer = stage.server.post("/publish", SEATS.event(number)).await;
        assert_eq!(answer.status, 202, "{}", answer.body);
        number += 1;
        published.send_replace(number);
    }
    number
}

async fn ask_all_the_time(stage: &Stage) {
    loop {
        let (status, answer) = stage.reload().await;
        assert_eq!(status, 200, "{answer:#}");
    }
}
