//! The task that drains the rings.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use sonde_proto::flow::Stats;
use sonde_proto::record::{Cause, FlowRecord, WatchId};
use sonde_proto::report::{PacketHead, PacketWant};
use sonde_proto::ring::{RingId, Rings};
use sonde_proto::time::Timestamp;
use tokio::sync::watch;
use tokio::task::yield_now;
use tokio::time::{Instant, sleep};

use crate::assembler::Assembler;
use crate::flow::LazyFlow;
use crate::flow_store::{FlowKey, SharedFlowStore};
use crate::stream::FlowStream;

use super::lag::Lag;
use super::ledger::Head;
use super::{Names, Progress, Shared, WatchTotals, Watched};

/// What the task owns.
pub(super) struct Drain<C> {
    rings: Rings,
    store: SharedFlowStore,
    stream: FlowStream,
    names: Names,
    clock: C,
    shared: Arc<Shared>,
    progress: Progress,
    lag: Lag,
    /// When the sweep that is under way is not waited for any more.
    patience: Instant,
    stats: Timestamp,
    /// Taken from the rings and not yet in the store.
    records: Vec<FlowRecord>,
    packets: Vec<(PacketHead, Bytes)>,
    assembler: Assembler,
    heads: Vec<Head>,
    gone: Vec<RingId>,
}

impl<C: Fn() -> Timestamp + Send + 'static> Drain<C> {
    pub(super) fn new(
        rings: Rings,
        store: SharedFlowStore,
        stream: FlowStream,
        names: Names,
        clock: C,
        shared: Arc<Shared>,
    ) -> Self {
        let stats = clock();
        Self {
            rings,
            store,
            stream,
            names,
            clock,
            shared,
            progress: Progress::default(),
            lag: Lag::new(Instant::now()),
            patience: Instant::now(),
            stats,
            records: Vec::new(),
            packets: Vec::new(),
            assembler: Assembler::default(),
            heads: Vec::new(),
            gone: Vec::new(),
        }
    }

    /// Drains until no handle is left.
    pub(super) async fn run(
        mut self,
        mut woken: watch::Receiver<()>,
        tell: watch::Sender<Progress>,
    ) {
        let mut rest = BUSY;
        loop {
            let reports = self.turn().await;
            tell.send_replace(self.progress);
            rest = match reports {
                _ if self.sweeping() => SWEEPING,
                0 => (rest * 2).clamp(BUSY, IDLE),
                1..FLOOD => BUSY,
                _ => Duration::ZERO,
            };
            tokio::select! {
                () = sleep(rest) => {}
                handles = woken.changed() => if handles.is_err() { return },
            }
        }
    }

    /// Hands down what is new, takes what the rings hold, and says how many reports that was.
    async fn turn(&mut self) -> usize {
        self.hand_down();
        let (records, packets) = (&mut self.records, &mut self.packets);
        let (heads, gone) = (&mut self.heads, &mut self.gone);
        let given_up = self.rings.strain().given_up;
        let emptied = Instant::now();
        // Records are only copied here: the lcores have their reports back at once, and the slow
        // part below can be cut in slices.
        self.rings.drain(
            |ring, lcore, report| {
                records.extend(report.records());
                let copies = report.packets.iter();
                packets.extend(copies.map(|(head, bytes)| (*head, Bytes::copy_from_slice(bytes))));
                heads.push(Head::new(ring, lcore, report));
            },
            |ring, _| gone.push(ring),
        );
        let given_up = self.rings.strain().given_up - given_up;
        if given_up > 0 {
            tracing::warn!(flows = given_up, "flows were given up: their rings stayed full");
        }
        // First, because a packet travels with the record that counts it, or ahead.
        self.keep_packets().await;
        self.keep_records().await;
        let reports = self.heads.len();
        self.lag.drained(reports, emptied, Instant::now());
        self.keep_books();
        self.tick();
        reports
    }

    fn hand_down(&mut self) {
        let free = !self.sweeping() || Instant::now() >= self.patience;
        let mut state = self.shared.state();
        let sweep = state.plan.sweep;
        if let Some(plan) = state.news(free) {
            drop(state);
            if plan.sweep > sweep {
                self.patience = Instant::now() + PATIENCE;
            }
            self.rings.follow(plan);
        }
    }

    /// Keeps the packets for the flows they belong to, and hands on the frames that are mirrored.
    async fn keep_packets(&mut self) {
        let packets = std::mem::take(&mut self.packets);
        if packets.is_empty() {
            return;
        }
        let mirrors = self.shared.state().mirrors.clone();
        for (n, (head, bytes)) in packets.into_iter().enumerate() {
            match mirrors.get(&head.watch).filter(|_| head.want == PacketWant::Mirror) {
                Some(mirror) => mirror.put(&head, bytes),
                None => self.assembler.packet(&head, bytes),
            }
            if n % SLICE == SLICE - 1 {
                yield_now().await;
            }
        }
    }

    /// Turns the records into flows, for the store and for the subscribers.
    async fn keep_records(&mut self) {
        if self.records.is_empty() {
            return;
        }
        // Read after the drain: no record comes before its watch was followed.
        let watched = self.shared.state().watched.clone();
        let mut records = std::mem::take(&mut self.records);
        for (n, records) in records.chunks(SLICE).enumerate() {
            self.keep(records, &watched);
            if n % SLICES == SLICES - 1 {
                yield_now().await;
            }
        }
        records.clear();
        records.shrink_to(KEPT);
        self.records = records;
    }

    fn keep(&mut self, records: &[FlowRecord], watched: &HashMap<WatchId, Arc<Watched>>) {
        // Records of one watch come in rows.
        let mut last: Option<(WatchId, Option<Arc<Watched>>)> = None;
        let flows: Vec<LazyFlow> = records
            .iter()
            .map(|record| {
                let watched = match &last {
                    Some((watch, watched)) if *watch == record.watch => watched.clone(),
                    _ => {
                        let watched = watched.get(&record.watch).cloned();
                        last = Some((record.watch, watched.clone()));
                        watched
                    }
                };
                let names = self.names.of(record, watched);
                if record.cause != Cause::Sweep
                    && let Some(outlet) = names.outlet()
                {
                    outlet.put(record, &names);
                }
                if self.assembler.knows(record) {
                    let mut flow = names.flow(record);
                    self.assembler.complete(record, &mut flow);
                    Arc::new(flow).into()
                } else {
                    LazyFlow::new(*record, names)
                }
            })
            .collect();
        let now = (self.clock)();
        let mut store = self.store.write().unwrap_or_else(PoisonError::into_inner);
        for (record, flow) in records.iter().zip(&flows) {
            let key = FlowKey::of(record);
            let ended = matches!(record.cause, Cause::End(_));
            let update = record.cause == Cause::Update;
            let kept = if update { flow.without_packets() } else { flow.clone() };
            store.put(key, kept, ended, now);
        }
        drop(store);
        let seen = records.iter().zip(flows);
        // What only a query wanted to see is no news for subscribers, nor for a target.
        let news = seen.filter(|(record, _)| record.cause != Cause::Sweep);
        self.stream.publish(news.map(|(_, flow)| flow), now);
    }

    /// Enters what the reports said into the ledger, now that their records are in the store.
    fn keep_books(&mut self) {
        let mut state = self.shared.state();
        state.packets_lost = self.assembler.lost();
        state.strain = self.rings.strain();
        state.lag = (self.lag.newest, self.lag.longest);
        let ledger = &mut state.ledger;
        for head in self.heads.drain(..) {
            ledger.reported(head);
        }
        for ring in self.gone.drain(..) {
            ledger.closed(ring);
        }
        if self.rings.lcores().count() != ledger.len() {
            for (ring, lcore) in self.rings.lcores() {
                ledger.opened(ring, lcore);
            }
        }
        let answered = ledger.answered().unwrap_or(u64::MAX);
        self.progress.open = ledger.len();
        self.progress.drains += 1;
        // A ring that opens later takes back nothing that was answered before.
        let answered = answered.min(state.plan.sweep);
        self.progress.answered = self.progress.answered.max(answered);
    }

    /// Whether a ring has not answered the sweep that is under way.
    fn sweeping(&self) -> bool {
        self.progress.answered < self.shared.state().plan.sweep
    }

    /// What is due now and then.
    fn tick(&mut self) {
        let now = (self.clock)();
        self.store.write().unwrap_or_else(PoisonError::into_inner).expire(now);
        self.stream.tick(now);
        // A clock that was set back starts the wait again.
        self.stats = self.stats.min(now);
        if now.since(self.stats) < STATS {
            return;
        }
        self.stats = now;
        let watched = self.shared.state().watched.clone();
        self.assembler.retain(|flow| watched.contains_key(&flow.watch));
        if self.stream.wants_stats() {
            let tables = self.shared.state().tables();
            self.stream
                .publish_stats(tables.iter().map(|(watched, totals)| stats(watched, totals)));
        }
    }
}

/// Skydive's statistics of a watch. Our tables lose frames when they are full, never a flow they
/// have, hence no `FlowDropped`.
fn stats(watched: &Watched, totals: &WatchTotals) -> Stats {
    let count = |n| i64::try_from(n).unwrap_or(i64::MAX);
    Stats {
        capture_id: watched.capture_id.clone(),
        flow_count: count(totals.flows),
        packets_dropped: count(totals.dropped),
        packets_received: count(totals.packets),
        ..Stats::default()
    }
}

/// Records that are put at once, while queries wait: a quarter of a millisecond's work.
const SLICE: usize = 256;
/// Slices before other tasks have their turn: a few milliseconds. With fewer, fifty subscribers
/// that are served in between would leave too little time for the rings.
const SLICES: usize = 16;
/// Room for records that is kept from drain to drain.
const KEPT: usize = 65_536;
/// Reports of one drain that mean more of them wait already.
const FLOOD: usize = 16;
/// Between two drains while reports come.
const BUSY: Duration = Duration::from_millis(10);
/// Between two drains while none come, at last.
const IDLE: Duration = Duration::from_millis(50);
/// Between two drains while a query waits.
const SWEEPING: Duration = Duration::from_millis(2);
/// How long a sweep keeps the next one waiting.
const PATIENCE: Duration = Duration::from_secs(1);
/// Between two statistics. Skydive: 10 s.
const STATS: Duration = Duration::from_secs(10);
