//! What is around a worker that is measured: a plan with one capture, and who takes its reports.

use std::sync::Arc;

use sonde_proto::plan::{Options, Plan, PlannedPoint, Point, Watch};
use sonde_proto::record::WatchId;
use sonde_proto::report::LcoreInfo;
use sonde_proto::ring::{self, Announcer, Rings};
use sonde_proto::time::Timestamp;

use super::figures::State;

/// The control end of the ring: takes reports, and keeps what the newest one says.
pub(super) struct Taker {
    rings: Rings,
    /// As of the newest report.
    pub(super) state: State,
    /// The source's clock then.
    pub(super) at: Timestamp,
}

impl Taker {
    /// A plan that captures all that the point sees, and both ends of the rings.
    pub(super) fn new() -> (Announcer, Self) {
        let watch = Watch {
            id: WatchId(1),
            node_tid: None,
            filter: Arc::default(),
            options: Options::default(),
        };
        let points = vec![PlannedPoint { point: point(), watches: vec![watch] }];
        let (announcer, mut rings) = ring::rings();
        rings.follow(Arc::new(Plan { revision: 1, sweep: 0, points }));
        (announcer, Self { rings, state: State::default(), at: Timestamp::default() })
    }

    /// Takes the reports that wait.
    pub(super) fn take(&mut self) {
        let Self { rings, state, at } = self;
        rings.drain(
            |_, _, report| {
                let flows = report.watches.iter().map(|watch| watch.flows).sum();
                *state = State { books: report.books, flows };
                *at = report.at;
            },
            |_, _| {},
        );
    }
}

/// Where the frames are seen.
pub(super) fn point() -> Point {
    Point::Port(NAME.into())
}

/// The one who sees them.
pub(super) fn lcore(source: &'static str) -> LcoreInfo {
    LcoreInfo { point: point(), queue: 0, cpu: None, source }
}

/// What the point is called.
pub(super) const NAME: &str = "bench";
