//! A client's task: tells it what changes, answers what it asks, and makes its changes.

mod changing;

use std::mem::take;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep_until};

use super::author::Author;
use super::difference::difference;
use super::ears::{Ears, News};
use super::filter::{Filter, FilterError, Moment};
use super::publication::{self, Persistence};
use super::request::{Request, Wanted};
use super::seen::Seen;
use super::telling::{self, Policy};
use super::{TopologyStream, text};
use crate::aside::aside;
use crate::envelope::{Letter, Received};
use crate::graph::{Event, Graph, Span, Topology};
use crate::notice::{Notice, Subscription};

use changing::refuse;

/// What a client does here.
#[derive(Clone, Debug, Default)]
pub struct Part {
    /// Whether and how it is told of changes.
    pub follows: Option<Policy>,
    /// The part of the graph that it follows; the whole without one.
    pub filter: Option<Filter>,
    /// Whether it changes the graph: as whom, and what becomes of its elements when it leaves.
    pub publishes: Option<(Author, Persistence)>,
    /// Whether it is told the graph before it asks, and asked for its own when that may matter.
    pub greets: bool,
}

/// Serves one client.
#[derive(Debug)]
pub struct Follower {
    stream: TopologyStream,
    part: Part,
    /// Of those who follow.
    ears: Option<Ears>,
    notices: Option<Subscription>,
    /// Of peers, who may tell of more then.
    released: Option<watch::Receiver<()>>,
    /// What the client knows, if it follows a part.
    shown: Option<Seen>,
    /// A filter runs no earlier.
    not_before: Instant,
    refused: Arc<AtomicU64>,
    /// Whether it was noted where its elements are told.
    settled: bool,
}

/// What there is to tell.
enum Heard {
    Change,
    Notice(Notice),
    Released,
}

/// The client is gone, or the daemon stops.
#[derive(Debug)]
struct Gone;

impl Follower {
    /// A client that is told of all changes from now on. An error when its filter shows nothing.
    pub async fn new(stream: TopologyStream, part: Part) -> Result<Self, FilterError> {
        let ears = part.follows.map(|_| stream.asker.look(Ears::new));
        let notices = part.follows.map(|_| stream.notices.subscribe());
        let released = part.greets.then(|| stream.origins.released());
        let mut follower = Self {
            stream,
            part,
            ears,
            notices,
            released,
            shown: None,
            not_before: Instant::now(),
            refused: Arc::default(),
            settled: false,
        };
        if let (Some(filter), Some(ears)) = (&follower.part.filter, &follower.ears) {
            let now = Moment::Now(ears.told().clone());
            follower.shown = Some(follower.stream.look(Some(filter), now).await?);
        }
        Ok(follower)
    }

    /// How many of the client's messages were refused.
    pub fn refused(&self) -> Arc<AtomicU64> {
        self.refused.clone()
    }

    /// Serves until the client is gone, which ends both channels, or the stream is closed.
    pub(crate) async fn run(
        mut self,
        mut requests: mpsc::Receiver<Received>,
        letters: mpsc::Sender<Letter>,
    ) {
        let mut stopped = self.stream.stopped.subscribe();
        if self.greet(&letters).await.is_err() {
            return;
        }
        loop {
            let done = tokio::select! {
                biased;
                () = async { _ = stopped.wait_for(|stopped| *stopped).await } => break,
                () = letters.closed() => break,
                request = requests.recv() => match request {
                    Some(request) => {
                        let more = std::iter::from_fn(|| requests.try_recv().ok());
                        let batch = std::iter::once(request).chain(more.take(BATCH)).collect();
                        self.serve(batch, &letters).await
                    }
                    None => break,
                },
                heard = self.changed() => match heard {
                    Heard::Change => self.catch_up(&letters).await,
                    Heard::Notice(notice) => {
                        letters.send(telling::notice(&notice)).await.map_err(|_| Gone)
                    }
                    Heard::Released => letters.send(telling::ask()).await.map_err(|_| Gone),
                },
            };
            if done.is_err() {
                break;
            }
        }
        if let Some((author, Persistence::DeleteOnDisconnect)) = self.part.publishes.clone() {
            let steps = publication::withdraw(&self.snapshot(), &author);
            // Nobody is left to be told of a failure, which is in the log.
            let _ = self.make(&author, steps).await;
            // Who told of nothing has nothing that a peer may tell of now.
            if self.settled {
                author.leave(&self.stream.origins);
            }
        }
    }

    /// Tells the graph, if the client shall have it unasked.
    async fn greet(&mut self, letters: &mpsc::Sender<Letter>) -> Result<(), Gone> {
        if let Some(seen) = self.shown.take_if(|_| self.part.greets) {
            let (obj, seen) = written(seen).await?;
            self.shown = Some(seen);
            letters.send(telling::sync(obj)).await.map_err(|_| Gone)?;
        }
        Ok(())
    }

    /// Waits for something to tell. Nothing is lost when the future is dropped.
    async fn changed(&mut self) -> Heard {
        let (Some(ears), Some(notices)) = (&mut self.ears, &mut self.notices) else {
            return std::future::pending().await;
        };
        let wait = self.shown.is_some().then_some(self.not_before);
        let change = async {
            ears.listen().await;
            if let Some(not_before) = wait {
                sleep_until(not_before).await;
            }
        };
        let released = async {
            match &mut self.released {
                Some(released) => released.changed().await.is_ok(),
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = change => Heard::Change,
            Some(notice) = notices.next() => Heard::Notice(notice),
            true = released => Heard::Released,
        }
    }

    /// Tells all changes until now.
    async fn catch_up(&mut self, letters: &mpsc::Sender<Letter>) -> Result<(), Gone> {
        let (Some(policy), Some(ears)) = (self.part.follows, &mut self.ears) else {
            return Ok(());
        };
        let news = self.stream.asker.look(|graph| ears.news(graph));
        let now = ears.told().clone();
        let events = match (&self.shown, news) {
            (Some(_), _) => self.filtered(now).await,
            (None, News::Events(events)) => events,
            (None, News::Since(before)) => {
                let compare = move || difference(&Seen::from(&*before), &Seen::from(&*now));
                spawn_blocking(compare).await.map_err(|_| Gone)?
            }
        };
        for event in &events {
            letters.send(telling::letter(event, policy)).await.map_err(|_| Gone)?;
        }
        Ok(())
    }

    /// What changed in the part that the client follows. The query runs half of the time at most,
    /// however often the graph changes.
    async fn filtered(&mut self, now: Arc<Topology>) -> Vec<Event> {
        let begun = Instant::now();
        let seen = self.stream.look(self.part.filter.as_ref(), Moment::Now(now)).await;
        self.not_before = Instant::now() + begun.elapsed().max(PAUSE);
        match seen {
            Ok(seen) => {
                let before = self.shown.replace(seen).unwrap_or_default();
                self.shown.as_ref().map(|after| difference(&before, after)).unwrap_or_default()
            }
            Err(error) => {
                // The next change is another try.
                tracing::debug!(%error, "the filter of a subscriber");
                Vec::new()
            }
        }
    }

    /// Does what messages ask for, in their order.
    async fn serve(
        &mut self,
        mut batch: Vec<Received>,
        letters: &mpsc::Sender<Letter>,
    ) -> Result<(), Gone> {
        // What was read of them takes its room until the last of it is in the graph.
        let _held: Vec<_> = batch.iter_mut().map(|it| (it.hold.take(), it.turn.take())).collect();
        let author = self.part.publishes.as_ref().map(|(author, _)| author.clone());
        let (mut batch, mut steps, mut room) = (batch.into_iter(), Vec::new(), None);
        while let Some(received) = batch.next() {
            if room.is_none() {
                // So does what they become.
                let rest = batch.as_slice().iter().chain([&received]);
                let weight = rest.map(|it| it.obj.weight()).sum();
                room = Some(self.stream.room(weight).await.ok_or(Gone)?);
            }
            let bytes = received.obj.len();
            let request = aside(bytes, || Request::read(received)).await.map_err(|_| Gone)?;
            match (request, &author) {
                (Ok(Some(Request::Sync { uuid, wanted })), author) => {
                    if let Some(author) = author {
                        self.make(author, take(&mut steps)).await?;
                    }
                    // The client may let us wait.
                    room = None;
                    self.catch_up(letters).await?;
                    let (status, obj) = self.sync(wanted).await?;
                    let letter = telling::reply(uuid, status, obj);
                    letters.send(letter).await.map_err(|_| Gone)?;
                }
                (Ok(Some(Request::Change { of, action, obj })), Some(author)) => {
                    self.settle(author).await?;
                    steps.extend(self.step(of, action, obj, author.clone()).await?);
                }
                (Ok(Some(Request::Replace(obj))), Some(author)) => {
                    self.settle(author).await?;
                    self.make(author, take(&mut steps)).await?;
                    steps = self.replace(author.clone(), obj).await?;
                }
                (Ok(_), _) => {}
                (Err(why), _) => refuse(&self.refused, &why.into()),
            }
        }
        match author {
            Some(author) => {
                self.make(&author, steps).await?;
                author.tidy(&self.snapshot());
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// The status and the object that answer a request for the graph. One for the graph as it is
    /// may change what a subscriber follows.
    async fn sync(&mut self, wanted: Wanted) -> Result<(i64, Vec<u8>), Gone> {
        let filter = match wanted.gremlin_filter {
            None => self.part.filter.clone(),
            Some(text) if text.is_empty() => None,
            Some(text) => match self.stream.filter(text).await {
                Ok(filter) => Some(filter),
                Err(why) => return Ok((REFUSED, text_of(&why))),
            },
        };
        let now = match &self.ears {
            Some(ears) => ears.told().clone(),
            None => self.snapshot(),
        };
        let moment = match wanted.time {
            None => Moment::Now(now),
            Some(at) => {
                match self.stream.asker.look(|graph| graph.recall(Span { from: at, to: at })) {
                    Ok(past) => Moment::Then(Arc::new(past)),
                    Err(why) => return Ok((REFUSED, text_of(&why))),
                }
            }
        };
        let seen = match self.stream.look(filter.as_ref(), moment).await {
            Ok(seen) => seen,
            Err(why) => return Ok((REFUSED, text_of(&why))),
        };
        let (obj, seen) = written(seen).await?;
        if wanted.time.is_none() && self.part.follows.is_some() && self.part.publishes.is_none() {
            self.shown = filter.is_some().then_some(seen);
            self.part.filter = filter;
        }
        Ok((OK, obj))
    }

    fn snapshot(&self) -> Arc<Topology> {
        self.stream.asker.look(Graph::snapshot)
    }
}

/// A graph in JSON.
async fn written(seen: Seen) -> Result<(Vec<u8>, Seen), Gone> {
    let write = move || (text(&seen.listed()), seen);
    spawn_blocking(write).await.map_err(|_| Gone)
}

fn text_of(why: &impl ToString) -> Vec<u8> {
    text(&why.to_string())
}

/// As in HTTP.
const OK: i64 = 200;
const REFUSED: i64 = 400;

/// Messages that are taken together at most.
const BATCH: usize = 256;

/// The shortest time between two runs of a filter.
const PAUSE: Duration = Duration::from_millis(20);
