//! The wire alone: the protocol's endpoint on a bare socket, answering every request with the last 32 bytes of its body. No engine and no module stands behind it,
//! so that the table shows what encryption and sessions cost by themselves.

use std::time::Instant;

use cohnect_protocol::ops::Outcome;
use cohnect_protocol::{
    CookieSecret, Monotonic, Now, PublicKey, ServerConfig, ServerEndpoint, ServerEvent,
    SessionEvent, StaticKeys,
};

use crate::answering::Answering;
use crate::bare::Batch;
use crate::seed::Seeded;

/// What an answer holds at most.
const ANSWER: usize = 32;

/// Starts it on a free port of loopback.
pub(crate) fn start(seed: u64) -> anyhow::Result<(Answering, PublicKey)> {
    // A stream that no client draws from.
    let mut entropy = Seeded::new(seed, u64::MAX);
    let keys = StaticKeys::generate(&mut entropy);
    let pin = keys.public();
    let config = ServerConfig::new(keys, CookieSecret::new(&mut entropy));
    let endpoint = ServerEndpoint::new(config, Box::new(entropy));
    let answering = Answering::start("wire-echo", |batch, ended| answer(batch, endpoint, ended))?;
    Ok((answering, pin))
}

fn answer(mut batch: Batch, mut endpoint: ServerEndpoint, ended: &dyn Fn() -> bool) {
    let origin = Instant::now();
    let mut out = Vec::new();
    let mut transmits = Vec::new();
    while !ended() {
        batch.receive();
        let now = Now {
            monotonic: Monotonic(u64::try_from(origin.elapsed().as_micros()).unwrap_or(u64::MAX)),
            wall_us: 1_700_000_000_000_000,
        };
        for (from, datagram) in batch.datagrams() {
            endpoint.handle_datagram(now, from, datagram);
        }
        if endpoint
            .poll_timeout()
            .is_some_and(|due| due <= now.monotonic)
        {
            endpoint.handle_timeout(now);
        }
        while let Some((handle, event)) = endpoint.poll_event() {
            if let ServerEvent::Session(SessionEvent::Message {
                request: Some(request),
                body,
                ..
            }) = event
            {
                let answer = body.slice(body.len().saturating_sub(ANSWER)..);
                // A client that is gone gets no answer.
                endpoint
                    .respond(now, handle, request, Outcome::Done, answer)
                    .ok();
            }
        }
        out.clear();
        transmits.clear();
        while let Some(transmit) = endpoint.poll_transmit(now, &mut out) {
            transmits.push(transmit);
        }
        let mut rest = out.as_slice();
        let mut datagrams = Vec::with_capacity(transmits.len());
        for transmit in &transmits {
            let (own, others) = rest.split_at(transmit.len);
            datagrams.extend(
                transmit
                    .datagrams(own)
                    .map(|datagram| (transmit.to, datagram)),
            );
            rest = others;
        }
        batch.send(&datagrams);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use cohnect_protocol::{ClientConfig, Mode, Opcode};

    use super::*;
    use crate::load::Crowd;
    use crate::peers::{Question, WirePeer};

    #[test]
    fn a_crowd_connects_asks_and_is_answered() {
        let (server, pin) = start(1).unwrap();
        let question = Question {
            opcode: Opcode::EXECUTE,
            body: bytes::Bytes::from_static(&[9; 40]),
            mode: Mode::ReliableOrdered,
        };
        let clients = (0..40).map(|number| {
            let mut entropy = Seeded::new(1, number);
            let keys = StaticKeys::generate(&mut entropy);
            let config = ClientConfig::new(keys, server.address, pin);
            WirePeer::new(config, Box::new(entropy), Some(question.clone()), 3)
        });
        let mut crowd = Crowd::new(server.address, clients).unwrap();
        crowd.gather(Duration::from_secs(60)).unwrap();
        let mut marks = 0;
        let load = crowd.run(Duration::ZERO, Duration::from_millis(200), || marks += 1);
        assert!(load.operations >= 120, "{} answers", load.operations);
        assert_eq!((load.refused, marks), (0, 2));
        assert_eq!(load.latency.len(), load.operations);
        for peer in crowd.peers() {
            assert_eq!(peer.latest, [9; ANSWER][..]);
            assert!(peer.sent.datagrams > 0 && peer.came.bytes > peer.came.datagrams * 64);
        }
    }
}
