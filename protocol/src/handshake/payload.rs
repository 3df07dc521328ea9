//! What the two sides tell each other inside the key exchange (PROTOCOL.md 3): the client's wishes and the server's answer. It judges none of
//! it.

/// Bytes of the server's payload.
pub(crate) const SERVER_PAYLOAD_LEN: usize = 31;
/// Bytes of the client's payload before its list of versions.
const CLIENT_PAYLOAD_LEN_MIN: usize = 11;
/// The most versions that a client of ours announces.
pub(crate) const CLIENT_VERSIONS_MAX: usize = 8;

/// What a client says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ClientPayload {
    pub(crate) idle_timeout_s: u16,
    pub(crate) max_ack_delay_ms: u8,
    pub(crate) max_message: u32,
    pub(crate) psk_id: u8,
    pub(crate) versions: Vec<u8>,
}

impl ClientPayload {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let versions = self
            .versions
            .get(..CLIENT_VERSIONS_MAX)
            .unwrap_or(&self.versions);
        let mut out = Vec::with_capacity(CLIENT_PAYLOAD_LEN_MIN + versions.len());
        out.extend_from_slice(&0_u16.to_be_bytes());
        out.extend_from_slice(&self.idle_timeout_s.to_be_bytes());
        out.push(self.max_ack_delay_ms);
        out.extend_from_slice(&self.max_message.to_be_bytes());
        out.push(self.psk_id);
        out.push(versions.len() as u8);
        out.extend_from_slice(versions);
        out
    }

    /// Reads a payload; what later versions append is ignored, and so are the flags.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let (fixed, rest) = bytes.split_first_chunk::<CLIENT_PAYLOAD_LEN_MIN>()?;
        let [
            _,
            _,
            idle_0,
            idle_1,
            delay,
            m0,
            m1,
            m2,
            m3,
            psk_id,
            versions_len,
        ] = *fixed;
        Some(Self {
            idle_timeout_s: u16::from_be_bytes([idle_0, idle_1]),
            max_ack_delay_ms: delay,
            max_message: u32::from_be_bytes([m0, m1, m2, m3]),
            psk_id,
            versions: rest.get(..usize::from(versions_len))?.to_vec(),
        })
    }
}

/// What a server answers. With a status other than OK only status and detail mean anything, and the rest is zero.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ServerPayload {
    pub(crate) status: u8,
    pub(crate) detail: u16,
    pub(crate) session: u8,
    pub(crate) live: [u8; 8],
    pub(crate) max_message: u32,
    pub(crate) idle_timeout_s: u16,
    pub(crate) keepalive_s: u16,
    pub(crate) max_ack_delay_ms: u8,
    pub(crate) server_time_ms: u64,
}

impl ServerPayload {
    pub(crate) fn encode(&self) -> [u8; SERVER_PAYLOAD_LEN] {
        let mut out = [0; SERVER_PAYLOAD_LEN];
        out[0] = self.status;
        out[1..3].copy_from_slice(&self.detail.to_be_bytes());
        out[5] = self.session;
        out[6..14].copy_from_slice(&self.live);
        out[14..18].copy_from_slice(&self.max_message.to_be_bytes());
        out[18..20].copy_from_slice(&self.idle_timeout_s.to_be_bytes());
        out[20..22].copy_from_slice(&self.keepalive_s.to_be_bytes());
        out[22] = self.max_ack_delay_ms;
        out[23..].copy_from_slice(&self.server_time_ms.to_be_bytes());
        out
    }

    /// Reads a payload; the flags are ignored.
    pub(crate) fn decode(bytes: &[u8; SERVER_PAYLOAD_LEN]) -> Self {
        Self {
            status: bytes[0],
            detail: u16::from_be_bytes(field(bytes, 1)),
            session: bytes[5],
            live: field(bytes, 6),
            max_message: u32::from_be_bytes(field(bytes, 14)),
            idle_timeout_s: u16::from_be_bytes(field(bytes, 18)),
            keepalive_s: u16::from_be_bytes(field(bytes, 20)),
            max_ack_delay_ms: bytes[22],
            server_time_ms: u64::from_be_bytes(field(bytes, 23)),
        }
    }
}

/// The field of `N` bytes at a constant place of a payload that has them all.
fn field<const N: usize>(bytes: &[u8; SERVER_PAYLOAD_LEN], at: usize) -> [u8; N] {
    let mut out = [0; N];
    out.copy_from_slice(&bytes[at..at + N]);
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn truncated_wishes_are_refused_and_longer_ones_taken() {
        let wishes = ClientPayload {
            idle_timeout_s: 15,
            max_ack_delay_ms: 20,
            max_message: 1_100,
            psk_id: 0,
            versions: vec![1, 2],
        };
        let mut bytes = wishes.encode();
        for len in 0..bytes.len() {
            assert_eq!(ClientPayload::decode(&bytes[..len]), None);
        }
        bytes.extend_from_slice(b"from a later version");
        assert_eq!(ClientPayload::decode(&bytes), Some(wishes));
    }

    proptest! {
        #[test]
        fn answers_come_back(bytes: [u8; SERVER_PAYLOAD_LEN]) {
            let mut expected = bytes;
            expected[3..5].fill(0);
            prop_assert_eq!(ServerPayload::decode(&bytes).encode(), expected);
        }

        #[test]
        fn wishes_come_back(idle_timeout_s: u16, max_ack_delay_ms: u8, max_message: u32, psk_id: u8, versions in proptest::collection::vec(any::<u8>(), 0..=CLIENT_VERSIONS_MAX)) {
            let wishes = ClientPayload { idle_timeout_s, max_ack_delay_ms, max_message, psk_id, versions };
            prop_assert_eq!(ClientPayload::decode(&wishes.encode()), Some(wishes));
        }

        #[test]
        fn any_bytes_are_read_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = ClientPayload::decode(&bytes);
        }
    }
}
