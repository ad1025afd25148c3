//! Hints that something in a folder has changed: the only home of the watching crate.
//!
//! Invariant: a hint carries nothing. What has changed, and whether anything has, is seen by looking.

use std::path::Path;
use std::sync::Arc;

use notify::event::{AccessKind, AccessMode};
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::Notify;

use super::folders::{self, Folders};

/// The folders that are watched.
pub(super) struct Hints {
    watcher: Option<RecommendedWatcher>,
    watched: Folders,
    /// It was said that a folder cannot be watched.
    complained: bool,
}

impl Hints {
    /// Nothing is watched yet. `hint` is rung when there is something to look at.
    pub(super) fn new(hint: Arc<Notify>) -> Self {
        let ring = move |event: notify::Result<Event>| {
            if is_a_change(&event) {
                hint.notify_one();
            }
        };
        let watcher = notify::recommended_watcher(ring);
        if let Err(error) = &watcher {
            tracing::warn!(%error, "the system tells nothing of changed files: they are looked at every few seconds");
        }
        Self { watcher: watcher.ok(), watched: Folders::new(), complained: false }
    }

    /// Watches what leads to these files and folders, and nothing else. Whether that is anything new: it may have changed
    /// just before.
    pub(super) fn watch<'p>(&mut self, paths: impl Iterator<Item = &'p Path>) -> bool {
        let Some(watcher) = &mut self.watcher else { return false };
        let wanted = folders::of(paths);
        let gone = self.watched.iter().filter(|(path, known)| wanted.get(*path) != Some(*known));
        let gone: Vec<_> = gone.map(|(path, _)| path.clone()).collect();
        for path in gone {
            // Where the folder is gone, so is the watch.
            watcher.unwatch(&path).ok();
            self.watched.remove(&path);
        }
        let mut is_new = false;
        for (path, folder) in wanted {
            if self.watched.contains_key(&path) {
                continue;
            }
            match watcher.watch(&path, RecursiveMode::NonRecursive) {
                Ok(()) => {
                    self.watched.insert(path, folder);
                    is_new = true;
                }
                Err(error) if !self.complained => {
                    self.complained = true;
                    tracing::warn!(folder = %path.display(), %error, "a folder cannot be watched: its files are looked at every few seconds");
                }
                Err(_) => {}
            }
        }
        is_new
    }
}

/// Looking at files makes events too: those are not meant.
fn is_a_change(event: &notify::Result<Event>) -> bool {
    match event {
        Ok(event) => match event.kind {
            EventKind::Access(AccessKind::Close(AccessMode::Write)) => true,
            EventKind::Access(_) => event.need_rescan(),
            _ => true,
        },
        Err(_) => true,
    }
}
