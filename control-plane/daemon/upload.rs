//! Capture files that clients send: a worker of their own, and a ring like any other.

use std::io::Read;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use sonde_control_plane::upload::{Damaged, Replay, SOURCE};
use sonde_probe::flow::Timers;
use sonde_probe::source::Closed;
use sonde_probe::source::pcap::PcapReader;
use sonde_probe::worker::{FlowConfig, Worker};
use sonde_proto::plan::{Options, Point, Watch};
use sonde_proto::record::{EndReason, WatchId};
use sonde_proto::report::LcoreInfo;
use sonde_proto::ring::{Announcer, RingSize};

use crate::signals::Stop;

/// Meters each capture as `sonde read` does: in L2 key mode, whole frames, by the clock of the
/// frames.
pub(crate) fn replay(announcer: Announcer, flow: FlowConfig, stop: Stop) -> Replay {
    let newest = AtomicU32::new(0);
    let config = FlowConfig { timers: Timers { update: Duration::MAX, ..flow.timers }, ..flow };
    Arc::new(move |body| {
        let number = newest.fetch_add(1, Ordering::Relaxed) + 1;
        let point = Point::File(PathBuf::from(format!("upload {number}")));
        meter(body, point, &announcer, &config, &stop)
    })
}

fn meter(
    body: Box<dyn Read + Send>,
    point: Point,
    announcer: &Announcer,
    config: &FlowConfig,
    stop: &Stop,
) -> Result<(), Damaged> {
    let source = PcapReader::new(body)?;
    let lcore = LcoreInfo { point: point.clone(), queue: 0, cpu: None, source: SOURCE };
    let ring = announcer.open(lcore, RingSize::default());
    let mut worker = Worker::new(source, point, ring, config).watching(vec![watch()]);
    let closed = loop {
        match worker.turn() {
            Ok(_) if stop.asked() => break Closed::End,
            Ok(_) => {}
            Err(closed) => break closed,
        }
    };
    worker.end(EndReason::Drained);
    while !worker.drain() {
        // The control plane drains on a tick of its own.
        std::thread::sleep(Duration::from_millis(1));
    }
    match closed {
        Closed::End => Ok(()),
        damaged => Err(damaged.into()),
    }
}

/// Takes all frames; of no node and no capture.
fn watch() -> Watch {
    let options = Options { header_size: u32::MAX, ..Options::default() };
    Watch { id: WatchId::UPLOAD, node_tid: None, filter: Arc::default(), options }
}
