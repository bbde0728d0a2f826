//! How a field of a flow is read: from what is nearest of it.

use sonde_proto::flow::Flow;
use sonde_proto::record::FlowRecord;

use super::field::Field;
use crate::flow::{FlowNames, Form, Headline};
use crate::flow_store::Row;

/// Reads one field of a flow.
#[derive(Clone, Copy)]
pub(super) struct Getter {
    of_flow: OfFlow,
    /// `None` where the flow has to be made for it.
    of_record: Option<OfRecord>,
    /// `None` where the record has to be looked at for it.
    of_headline: Option<OfHeadline>,
}

type OfFlow = for<'f> fn(&'f Flow) -> Option<Field<'f>>;
type OfRecord = for<'f> fn(&'f FlowRecord, &'f FlowNames) -> Option<Field<'f>>;
type OfHeadline = for<'f> fn(&'f Headline) -> Option<Field<'f>>;

impl Getter {
    /// Of something that records have.
    pub(super) const fn new(of_flow: OfFlow, of_record: OfRecord) -> Option<Self> {
        Some(Self { of_flow, of_record: Some(of_record), of_headline: None })
    }

    /// Of something that headlines have, too.
    pub(super) const fn narrow(
        of_flow: OfFlow,
        of_record: OfRecord,
        of_headline: OfHeadline,
    ) -> Option<Self> {
        Some(Self { of_flow, of_record: Some(of_record), of_headline: Some(of_headline) })
    }

    /// Of something that no record has.
    pub(super) const fn beyond(of_flow: OfFlow) -> Option<Self> {
        Self::narrow(of_flow, |_, _| None, |_| None)
    }

    /// A whole layer, as an object.
    pub(super) const fn object(of_flow: OfFlow) -> Option<Self> {
        Some(Self { of_flow, of_record: None, of_headline: None })
    }

    /// The field; `None` when the flow lacks the layer it is in.
    pub(super) fn read<'f>(&self, row: impl Into<Row<'f>>) -> Option<Field<'f>> {
        let row = row.into();
        if let (Some(headline), Some(of_headline)) = (row.headline, self.of_headline) {
            return of_headline(headline);
        }
        match row.flow.form() {
            Form::Flow(flow) => (self.of_flow)(flow),
            Form::Record { record, names } => match self.of_record {
                Some(of_record) => of_record(record, names),
                None => (self.of_flow)(&names.flow(record)).map(Field::into_owned),
            },
        }
    }

    /// Whether it is about as fast as a comparison.
    pub(super) fn is_brief(&self) -> bool {
        self.of_record.is_some()
    }

    /// Whether it needs no more of a record than its headline.
    pub(super) fn is_narrow(&self) -> bool {
        self.of_headline.is_some()
    }
}
