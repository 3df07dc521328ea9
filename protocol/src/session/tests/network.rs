//! A network that loses, repeats, delays and reorders by a seed, and the clock of both ends.

use std::collections::BTreeMap;

use super::*;

/// How bad the network is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Weather {
    pub(super) seed: u64,
    /// Of 100 datagrams.
    pub(super) loss: u64,
    pub(super) twice: u64,
    /// Least delay, and what chance adds at most.
    pub(super) delay_ms: u64,
    pub(super) jitter_ms: u64,
}

/// Two ends and what is on its way between them.
pub(super) struct Network {
    pub(super) now: Monotonic,
    pub(super) client: TestSession,
    pub(super) server: TestSession,
    pub(super) weather: Weather,
    state: u64,
    sequence: u64,
    /// By arrival, then by order of sending; whether it goes to the server.
    on_its_way: BTreeMap<(Monotonic, u64), (bool, Vec<u8>)>,
    pub(super) datagrams: u64,
}

impl Network {
    pub(super) fn new(weather: Weather) -> Self {
        Self {
            now: at(1),
            client: session(Role::Client, None),
            server: session(Role::Server, None),
            weather,
            state: weather.seed,
            sequence: 0,
            on_its_way: BTreeMap::new(),
            datagrams: 0,
        }
    }

    /// A number below `end`.
    pub(super) fn draw(&mut self, end: u64) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % end
    }

    /// Sends what both have to send, then moves the clock to whatever comes next and lets it happen. False when nothing will ever happen.
    pub(super) fn step(&mut self) -> bool {
        self.flush();
        let next = [
            self.on_its_way.keys().next().map(|key| key.0),
            self.client.poll_timeout(),
            self.server.poll_timeout(),
        ];
        let Some(next) = next.into_iter().flatten().min() else {
            return false;
        };
        self.now = self.now.max(next);
        while let Some(entry) = self.on_its_way.first_entry() {
            if entry.key().0 > self.now {
                break;
            }
            let (to_server, mut datagram) = entry.remove();
            let end = if to_server {
                &mut self.server
            } else {
                &mut self.client
            };
            match end.handle_datagram(self.now, &mut datagram) {
                Ok(()) | Err(Dropped::Replayed | Dropped::Closed) => {}
                Err(other) => panic!("{other} {:?}", self.weather),
            }
        }
        self.client.handle_timeout(self.now);
        self.server.handle_timeout(self.now);
        true
    }

    fn flush(&mut self) {
        for to_server in [true, false] {
            let end = if to_server {
                &mut self.client
            } else {
                &mut self.server
            };
            let sent = transmit(end, self.now);
            assert!(end.in_flight() <= crate::limits::SENT_MAX);
            for datagram in sent {
                self.datagrams += 1;
                if self.draw(100) < self.weather.loss {
                    continue;
                }
                let copies = if self.draw(100) < self.weather.twice {
                    2
                } else {
                    1
                };
                for _ in 0..copies {
                    let jitter = self.draw(self.weather.jitter_ms * 1_000 + 1);
                    let delay = Duration::from_micros(self.weather.delay_ms * 1_000 + jitter);
                    self.sequence += 1;
                    let key = (self.now.plus(delay), self.sequence);
                    self.on_its_way.insert(key, (to_server, datagram.clone()));
                }
            }
        }
    }
}
