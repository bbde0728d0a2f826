//! What becomes of a client's changes.

use std::mem;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::task::spawn_blocking;

use super::super::author::Author;
use super::super::publication::{self, Refusal, Step};
use super::super::request::{Action, Of};
use super::{Follower, Gone};
use crate::aside::aside;
use crate::envelope::Obj;
use crate::graph::Graph;

impl Follower {
    /// Notes, before the first of the author's elements, that they are told here. What a peer told
    /// of them goes: their author is here now.
    pub(super) async fn settle(&mut self, author: &Author) -> Result<(), Gone> {
        if mem::replace(&mut self.settled, true) {
            return Ok(());
        }
        match author.origin() {
            Some(origin) if self.stream.origins.take(origin, &self.snapshot()) => {
                let stale = publication::withdraw(&self.snapshot(), author);
                self.make(author, stale).await
            }
            _ => Ok(()),
        }
    }

    /// The step that a message of the author asks for, if it is one that can be made.
    pub(super) async fn step(
        &self,
        of: Of,
        action: Action,
        obj: Obj,
        author: Author,
    ) -> Result<Option<Step>, Gone> {
        let (bytes, now, refused) = (obj.len(), self.snapshot(), self.refused.clone());
        let plan = move || {
            publication::step(&now, of, action, &obj, &author).unwrap_or_else(|why| {
                refuse(&refused, &why);
                None
            })
        };
        aside(bytes, plan).await.map_err(|_| Gone)
    }

    /// The steps that make the author's elements those of `obj`.
    pub(super) async fn replace(&self, author: Author, obj: Obj) -> Result<Vec<Step>, Gone> {
        let (now, refused) = (self.snapshot(), self.refused.clone());
        let plan = move || {
            publication::replace(&now, &obj, &author, |why| refuse(&refused, &why)).unwrap_or_else(
                |why| {
                    refuse(&refused, &why);
                    Vec::new()
                },
            )
        };
        spawn_blocking(plan).await.map_err(|_| Gone)
    }

    /// Changes the graph, a few elements at a time. The client does not hear of its own changes.
    pub(super) async fn make(&mut self, author: &Author, steps: Vec<Step>) -> Result<(), Gone> {
        if steps.is_empty() {
            return Ok(());
        }
        let (stream, refused, mut ears) =
            (self.stream.clone(), self.refused.clone(), self.ears.take());
        let author = author.clone();
        let work = move || {
            let mut steps = steps.into_iter();
            while steps.len() > 0 {
                let now = stream.asker.clock.now();
                let mut change = |graph: &mut Graph| {
                    for step in steps.by_ref().take(AT_ONCE) {
                        step.make(graph, &author, now).unwrap_or_else(|why| refuse(&refused, &why));
                    }
                };
                stream.asker.edit(|graph| match &mut ears {
                    Some(ears) => ears.deaf(graph, change),
                    None => change(graph),
                });
            }
            ears
        };
        self.ears = spawn_blocking(work).await.map_err(|_| Gone)?;
        Ok(())
    }
}

/// Counts what is refused.
pub(super) fn refuse(refused: &AtomicU64, why: &Refusal) {
    refused.fetch_add(1, Ordering::Relaxed);
    tracing::debug!(%why, "a publisher's message is refused");
}

/// Elements that are changed under one lock of the graph at most.
const AT_ONCE: usize = 256;
