//! The framing of a journal: an append-only file of records, each with length
//! and checksum, so that a torn tail is recognised and cut off. Pure: the
//! shim's and the manager's files are written elsewhere.
//!
//! ```text
//! record := length: u32 LE | crc32(payload): u32 LE | payload
//! ```
//!
//! The payload is an encoded [`crate::shim::Event`] in a shim's journal and a
//! [`crate::v1::Event`] in the manager's; both carry their own sequence number.

use prost::Message;

/// Bytes before each payload.
pub const HEADER: usize = 8;

/// A record longer than this is taken for damage: no event comes near it.
pub const MAX_RECORD: usize = 4 << 20;

/// Encodes one record, ready to be appended in one write.
///
/// # Errors
/// When the encoded message is larger than [`MAX_RECORD`]; its size is given back.
pub fn encode<M: Message>(message: &M) -> Result<Vec<u8>, usize> {
    let size = message.encoded_len();
    let length = u32::try_from(size).ok().filter(|_| size <= MAX_RECORD).ok_or(size)?;
    let mut record = vec![0; HEADER];
    record.reserve_exact(size);
    message.encode_raw(&mut record);
    let crc = crc32fast::hash(&record[HEADER..]);
    record[..4].copy_from_slice(&length.to_le_bytes());
    record[4..HEADER].copy_from_slice(&crc.to_le_bytes());
    Ok(record)
}

/// What a journal's bytes hold.
#[derive(Debug)]
pub struct Decoded<M> {
    /// The whole records, in order.
    pub records: Vec<M>,
    /// Length of the bytes that are whole; the file is cut to this length
    /// before anything is appended.
    pub valid: usize,
    /// Bytes behind `valid`: a record that was not written to its end.
    pub torn: usize,
}

/// Decodes records up to the end or the first one that is torn or damaged.
pub fn decode<M: Message + Default>(bytes: &[u8]) -> Decoded<M> {
    let mut records = Vec::new();
    let mut valid = 0;
    while let Some((record, size)) = next(&bytes[valid..]) {
        records.push(record);
        valid += size;
    }
    Decoded { records, valid, torn: bytes.len() - valid }
}

/// Size of the record that begins with `header`, the header included: how much
/// a reader has to have before it calls [`next`]. `None` when the length is
/// beyond [`MAX_RECORD`], which no record has.
pub fn record_size(header: &[u8; HEADER]) -> Option<usize> {
    let [a, b, c, d, ..] = *header;
    let length = usize::try_from(u32::from_le_bytes([a, b, c, d])).ok()?;
    (length <= MAX_RECORD).then_some(HEADER + length)
}

/// The first record of `bytes` and its size with header, if it is whole and undamaged.
pub fn next<M: Message + Default>(bytes: &[u8]) -> Option<(M, usize)> {
    let header = bytes.first_chunk::<HEADER>()?;
    let size = record_size(header)?;
    let [.., a, b, c, d] = *header;
    let payload = bytes.get(HEADER..size)?;
    if crc32fast::hash(payload) != u32::from_le_bytes([a, b, c, d]) {
        return None;
    }
    Some((M::decode(payload).ok()?, size))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shim::Event;

    fn journal(n: u64) -> Vec<u8> {
        (1..=n)
            .flat_map(|seq| encode(&Event { seq, monotonic_ns: seq * 7, ..Event::default() }).unwrap())
            .collect()
    }

    #[test]
    fn round_trip() {
        let bytes = journal(5);
        let decoded = decode::<Event>(&bytes);
        assert_eq!(decoded.records.iter().map(|e| e.seq).collect::<Vec<_>>(), [1, 2, 3, 4, 5]);
        assert_eq!((decoded.valid, decoded.torn), (bytes.len(), 0));
    }

    #[test]
    fn every_truncation_keeps_the_whole_records() {
        let bytes = journal(3);
        let two = journal(2).len();
        for cut in two..bytes.len() {
            let decoded = decode::<Event>(&bytes[..cut]);
            assert_eq!(decoded.records.len(), 2, "cut at {cut}");
            assert_eq!((decoded.valid, decoded.torn), (two, cut - two));
        }
    }

    #[test]
    fn a_flipped_bit_ends_the_journal() {
        let mut bytes = journal(3);
        let at = journal(1).len() + HEADER;
        bytes[at] ^= 1;
        assert_eq!(decode::<Event>(&bytes).records.len(), 1);
    }

    #[test]
    fn an_absurd_length_is_damage() {
        assert_eq!(decode::<Event>(&[0xff; 64]).records.len(), 0);
    }
}
