//! How queries look at flows, while ingest goes on.

use std::fmt::Debug;
use std::ops::ControlFlow;
use std::sync::PoisonError;

use super::{FlowStore, SharedFlowStore};
use crate::flow::{Headline, LazyFlow};

/// Flows that a query reads.
pub trait Flows: Debug {
    /// Shows the flows of shelf `number` to `look`, in no order: whether to go on with the next one,
    /// after the last there is none. With `brief` it promises to take some hundred nanoseconds for a
    /// flow, so that others may wait for as long as it looks.
    fn shelf(
        &self,
        number: usize,
        brief: bool,
        look: &mut dyn FnMut(Rows<'_>) -> ControlFlow<()>,
    ) -> ControlFlow<()>;

    /// All flows are there that were heard of after so many milliseconds since the epoch.
    fn known_since(&self) -> i64;

    /// Milliseconds of silence in which a flow is alive.
    fn idle(&self) -> i64;
}

/// Flows that lie side by side.
#[derive(Clone, Copy, Debug)]
pub struct Rows<'f> {
    /// Of each flow, or of none.
    headlines: &'f [Option<Headline>],
    flows: &'f [LazyFlow],
}

/// A flow among others.
#[derive(Clone, Copy, Debug)]
pub struct Row<'f> {
    /// What can be read without a look at the flow itself.
    pub(crate) headline: Option<&'f Headline>,
    pub(crate) flow: &'f LazyFlow,
}

impl<'f> Rows<'f> {
    /// Flows and their headlines, as many of them.
    pub(super) fn new(headlines: &'f [Option<Headline>], flows: &'f [LazyFlow]) -> Self {
        Self { headlines, flows }
    }

    pub(crate) fn len(self) -> usize {
        self.flows.len()
    }

    pub(crate) fn iter(self) -> impl Iterator<Item = Row<'f>> {
        let headline = |place| self.headlines.get(place).and_then(Option::as_ref);
        let flows = self.flows.iter().enumerate();
        flows.map(move |(place, flow)| Row { headline: headline(place), flow })
    }

    /// The same, so many at a time.
    pub(crate) fn chunks(self, size: usize) -> impl Iterator<Item = Self> {
        let headlines = self.headlines.chunks(size).chain(std::iter::repeat([].as_slice()));
        headlines.zip(self.flows.chunks(size)).map(|(headlines, flows)| Self { headlines, flows })
    }
}

impl Row<'_> {
    /// TID of the node where the flow was metered.
    pub(crate) fn node_tid(&self) -> &str {
        self.headline.map_or_else(|| self.flow.node_tid(), Headline::node_tid)
    }

    /// Milliseconds since the epoch of its first and of its last packet.
    pub(crate) fn times(&self) -> (i64, i64) {
        self.headline.map_or_else(|| self.flow.times(), Headline::times)
    }
}

impl<'f> From<&'f LazyFlow> for Row<'f> {
    fn from(flow: &'f LazyFlow) -> Self {
        Self { headline: None, flow }
    }
}

impl Flows for FlowStore {
    fn shelf(
        &self,
        number: usize,
        _: bool,
        look: &mut dyn FnMut(Rows<'_>) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        self.flows.rows(number).map_or(ControlFlow::Break(()), look)
    }

    fn known_since(&self) -> i64 {
        self.horizon.millis()
    }

    fn idle(&self) -> i64 {
        i64::try_from(self.times.idle.as_millis()).unwrap_or(i64::MAX)
    }
}

/// Flows that a query selected already, on one shelf.
impl Flows for Vec<LazyFlow> {
    fn shelf(
        &self,
        number: usize,
        _: bool,
        look: &mut dyn FnMut(Rows<'_>) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        match number {
            0 => look(Rows::new(&[], self)),
            _ => ControlFlow::Break(()),
        }
    }

    fn known_since(&self) -> i64 {
        i64::MIN
    }

    fn idle(&self) -> i64 {
        0
    }
}

/// Locked for a shelf at a time: of those who look at one after the other, each flow that is there
/// from begin to end is shown once, as it is when its shelf is looked at.
impl Flows for SharedFlowStore {
    fn shelf(
        &self,
        number: usize,
        brief: bool,
        look: &mut dyn FnMut(Rows<'_>) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        let store = self.read().unwrap_or_else(PoisonError::into_inner);
        if brief {
            return store.shelf(number, brief, look);
        }
        let Some(rows) = store.flows.rows(number) else { return ControlFlow::Break(()) };
        let (headlines, flows) = (rows.headlines.to_vec(), rows.flows.to_vec());
        drop(store);
        look(Rows::new(&headlines, &flows))
    }

    fn known_since(&self) -> i64 {
        self.read().unwrap_or_else(PoisonError::into_inner).known_since()
    }

    fn idle(&self) -> i64 {
        self.read().unwrap_or_else(PoisonError::into_inner).idle()
    }
}
