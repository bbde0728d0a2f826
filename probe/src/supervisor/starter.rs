//! Starts the workers of a point, each on a thread of its own.

use std::sync::{Arc, OnceLock};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use sonde_proto::plan::Point;
use sonde_proto::record::EndReason;
use sonde_proto::report::LcoreInfo;
use sonde_proto::ring::Announcer;

use super::{SupervisorConfig, TICK};
use crate::source::af_packet::AfPacket;
use crate::source::pcap_socket::PcapSocket;
use crate::source::{Closed, Source};
use crate::worker::{FlowConfig, Worker};

/// The thread of a worker.
#[derive(Debug)]
pub(super) struct Member {
    /// Set when the worker shall end.
    pub(super) ending: Arc<OnceLock<EndReason>>,
    /// Returns the errno when the point is gone.
    pub(super) thread: JoinHandle<Option<i32>>,
}

/// What is needed to start workers.
#[derive(Debug)]
pub(super) struct Starter {
    pub(super) announcer: Announcer,
    pub(super) flow: FlowConfig,
    pub(super) config: SupervisorConfig,
}

impl Starter {
    /// Opens a point and starts its workers; else tells the errno. Those that run already are in
    /// `members` all the same.
    pub(super) fn start(&self, point: &Point, members: &mut Vec<Member>) -> Result<(), i32> {
        match point {
            Point::Interface { index, netns } => {
                let workers = self.config.workers_per_interface;
                let queues =
                    AfPacket::open(*index, netns.as_deref(), workers, &self.config.af_packet)
                        .map_err(|error| error.errno)?;
                for (queue, source) in (0..).zip(queues) {
                    let name = format!("sonde-afp-{index}-{queue}");
                    members.push(self.employ(
                        name,
                        source,
                        Self::lcore(point, queue, "af_packet"),
                    )?);
                }
                Ok(())
            }
            Point::Socket(address) => {
                let source = PcapSocket::open(*address, self.config.on_damage)
                    .map_err(|error| error.raw_os_error().unwrap_or(libc::EIO))?;
                let name = format!("sonde-pcs-{}", address.port());
                members.push(self.employ(name, source, Self::lcore(point, 0, "pcap_socket"))?);
                Ok(())
            }
            // Opened by others.
            Point::Port(_) | Point::File(_) => Err(libc::ENOTSUP),
        }
    }

    fn lcore(point: &Point, queue: u16, source: &'static str) -> LcoreInfo {
        LcoreInfo { point: point.clone(), queue, cpu: None, source }
    }

    /// Gives a source to a worker on a thread of that name.
    fn employ<S: Source + Send + 'static>(
        &self,
        name: String,
        source: S,
        lcore: LcoreInfo,
    ) -> Result<Member, i32> {
        let point = lcore.point.clone();
        let ring = self.announcer.open(lcore, self.config.ring);
        let (flow, ending) = (self.flow, Arc::new(OnceLock::new()));
        let told = ending.clone();
        let thread = thread::Builder::new()
            .name(name)
            .spawn(move || work(Worker::new(source, point, ring, &flow), &told))
            .map_err(|error| error.raw_os_error().unwrap_or(libc::EAGAIN))?;
        Ok(Member { ending, thread })
    }
}

/// Turns a worker until it is told to end or its point is gone, of which it tells the errno.
fn work<S: Source>(mut worker: Worker<S>, told: &OnceLock<EndReason>) -> Option<i32> {
    let (reason, gone) = loop {
        if let Some(reason) = told.get() {
            break (*reason, None);
        }
        match worker.turn() {
            Ok(0) => worker.idle(TICK),
            Ok(_) => {}
            Err(Closed::Gone(errno)) => break (EndReason::Stopped, Some(errno)),
            // Only files say so.
            Err(Closed::End | Closed::Damaged { .. }) => {
                break (EndReason::Stopped, Some(libc::EIO));
            }
        }
    };
    worker.end(reason);
    for _ in 0..DRAIN_TRIES {
        if worker.drain() {
            break;
        }
        thread::sleep(DRAIN_NAP);
    }
    gone
}

/// Between two attempts to hand records to a full ring. All together, three seconds.
const DRAIN_NAP: Duration = Duration::from_millis(1);
const DRAIN_TRIES: u32 = 3_000;
