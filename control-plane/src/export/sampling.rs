//! How IPFIX tells that not every flow is taken: by an options template (RFC 7011, section 3.4.2)
//! with the elements that RFC 7014 names for flows.

use bytes::BufMut;

/// ID of the template and of the set of its only record.
pub(super) const ID: u16 = 259;

/// Appends the options template. Its scope is the observation domain.
pub(super) fn write_template(out: &mut Vec<u8>) {
    out.put_u16(ID);
    out.put_u16(ELEMENTS.len() as u16);
    out.put_u16(1); // elements that are the scope
    for (number, length) in ELEMENTS {
        out.put_u16(number);
        out.put_u16(length);
    }
}

/// Appends the record that says that one in `sampling` flows is taken.
pub(super) fn write_record(domain: u32, sampling: u32, out: &mut Vec<u8>) {
    out.put_u32(domain);
    out.put_u16(UNIFORM);
    out.put_f64(1.0 / f64::from(sampling));
}

/// `observationDomainId`, `flowSelectorAlgorithm` and `samplingProbability`: numbers and lengths.
const ELEMENTS: [(u16, u16); 3] = [(149, 4), (390, 2), (311, 8)];

/// `flowSelectorAlgorithm`: each flow is as likely as any other.
const UNIFORM: u16 = 4;
