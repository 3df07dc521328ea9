//! A server of one task for the tests: the protocol's own endpoint on a loopback socket, with just enough behind it to answer every
//! operation. It is no example of a server: it waits for nothing and bounds nothing.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use bytes::Bytes;
use cohnect_client::{Identity, OsEntropy, PublicKey};
use cohnect_protocol::ops::{
    Body, Detail, ListedTag, Outcome, Refusal, Tag, broadcast, execute, get, set, stream, tags,
};
use cohnect_protocol::{
    CloseCode, CookieSecret, Mode, Monotonic, Now, Opcode, Outgoing, PeerId, RequestContext,
    ServerConfig, ServerEndpoint, ServerEvent, SessionEvent, SessionHandle, StaticKeys,
};
use tokio::net::UdpSocket;
use tokio::sync::mpsc;

/// A running server; dropped, it vanishes without a word.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) pin: PublicKey,
    commands: mpsc::UnboundedSender<Command>,
    task: tokio::task::JoinHandle<()>,
    keys: StaticKeys,
}

type Act = Box<dyn FnOnce(&mut Room, Now) + Send>;

enum Command {
    Act(Act),
    /// Takes nothing in and lets nothing out until this is false.
    Deaf(bool),
}

impl Server {
    pub(crate) async fn start() -> Self {
        Self::start_as(StaticKeys::generate(&mut OsEntropy), "127.0.0.1:0").await
    }

    async fn start_as(keys: StaticKeys, address: &str) -> Self {
        let socket = UdpSocket::bind(address).await.unwrap();
        let (commands, receiver) = mpsc::unbounded_channel();
        Self {
            address: socket.local_addr().unwrap(),
            pin: keys.public(),
            commands,
            task: tokio::spawn(run(socket, Room::new(keys.clone()), receiver)),
            keys,
        }
    }

    /// Another server in its place, which knows nobody.
    pub(crate) async fn restart(self) -> Self {
        let address = self.address.to_string();
        let keys = self.keys.clone();
        self.task.abort();
        let mut task = self.task;
        let _ = (&mut task).await;
        Self::start_as(keys, &address).await
    }

    pub(crate) fn act(&self, act: impl FnOnce(&mut Room, Now) + Send + 'static) {
        self.commands
            .send(Command::Act(Box::new(act)))
            .ok()
            .unwrap();
    }

    pub(crate) fn deaf(&self, deaf: bool) {
        self.commands.send(Command::Deaf(deaf)).ok().unwrap();
    }
}

/// What the server holds.
pub(crate) struct Room {
    endpoint: ServerEndpoint,
    values: BTreeMap<Vec<u8>, (u64, Bytes)>,
    version: u64,
    own_tags: BTreeMap<PeerId, Vec<String>>,
    streams: Vec<(SessionHandle, u32, String)>,
    pub(crate) clients: Vec<SessionHandle>,
    pub(crate) executed: Arc<Mutex<Vec<Bytes>>>,
}

async fn run(socket: UdpSocket, mut room: Room, mut commands: mpsc::UnboundedReceiver<Command>) {
    let start = Instant::now();
    let now = || Now {
        monotonic: Monotonic(start.elapsed().as_micros() as u64 + 1),
        wall_us: 1_700_000_000_000_000,
    };
    let mut buffer = [0; 2_048];
    let mut out = Vec::new();
    let mut deaf = false;
    loop {
        if room
            .endpoint
            .poll_timeout()
            .is_some_and(|at| at <= now().monotonic)
        {
            room.endpoint.handle_timeout(now());
        }
        while let Some((handle, event)) = room.endpoint.poll_event() {
            room.handle(now(), handle, event);
        }
        while let Some(transmit) = room.endpoint.poll_transmit(now(), &mut out) {
            for datagram in transmit.datagrams(&out) {
                if !deaf {
                    let _ = socket.send_to(datagram, transmit.to).await;
                }
            }
            out.clear();
        }
        let next = room.endpoint.poll_timeout();
        let due = next.map(|at| start + core::time::Duration::from_micros(at.0));
        tokio::select! {
            received = socket.recv_from(&mut buffer) => {
                if let Ok((len, from)) = received && !deaf {
                    room.endpoint.handle_datagram(now(), from, &mut buffer[..len]);
                }
            }
            command = commands.recv() => match command {
                Some(Command::Act(act)) => act(&mut room, now()),
                Some(Command::Deaf(now)) => deaf = now,
                None => return,
            },
            () = sleep_until(due) => {}
        }
    }
}

async fn sleep_until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due.into()).await,
        None => std::future::pending().await,
    }
}

impl Room {
    fn new(keys: StaticKeys) -> Self {
        let config = ServerConfig::new(keys, CookieSecret::new(&mut OsEntropy));
        Self {
            endpoint: ServerEndpoint::new(config, Box::new(OsEntropy)),
            values: BTreeMap::new(),
            version: 0,
            own_tags: BTreeMap::new(),
            streams: Vec::new(),
            clients: Vec::new(),
            executed: Arc::default(),
        }
    }

    pub(crate) fn close_all(&mut self, now: Now, code: CloseCode) {
        for handle in self.clients.clone() {
            self.endpoint.close(now, handle, code, "bye");
        }
    }

    /// Sends to every client without being asked.
    pub(crate) fn send_all(&mut self, now: Now, opcode: Opcode, body: &Bytes) {
        for handle in self.clients.clone() {
            self.send(now, handle, opcode, Mode::ReliableOrdered, 0, body.clone());
        }
    }

    pub(crate) fn push(&mut self, now: Now, push: stream::Push<'_>) {
        self.send_all(now, Opcode::STREAM, &push.to_bytes());
    }

    fn send(
        &mut self,
        now: Now,
        handle: SessionHandle,
        opcode: Opcode,
        mode: Mode,
        channel: u8,
        body: Bytes,
    ) {
        let message = Outgoing {
            opcode,
            version: 0,
            channel,
            mode,
            body,
        };
        let _ = self.endpoint.send(now, handle, message);
    }

    fn handle(&mut self, now: Now, handle: SessionHandle, event: ServerEvent) {
        match event {
            ServerEvent::Connected { .. } => self.clients.push(handle),
            ServerEvent::Session(SessionEvent::Closed { .. }) => {
                self.clients.retain(|each| *each != handle);
                self.streams.retain(|each| each.0 != handle);
            }
            ServerEvent::Session(SessionEvent::Message {
                opcode,
                mode,
                channel,
                request,
                body,
                ..
            }) => {
                let answer = self.answer(now, handle, opcode, request, mode, channel, &body);
                if let (Some(request), Some((outcome, body))) = (request, answer) {
                    let _ = self.endpoint.respond(now, handle, request, outcome, body);
                }
            }
            ServerEvent::Session(_) => {}
        }
    }

    #[allow(
        clippy::too_many_arguments,
        reason = "what one message is, taken apart"
    )]
    fn answer(
        &mut self,
        now: Now,
        handle: SessionHandle,
        opcode: Opcode,
        request: Option<RequestContext>,
        mode: Mode,
        channel: u8,
        body: &Bytes,
    ) -> Option<(Outcome, Bytes)> {
        let peer = self.endpoint.peer(handle).unwrap_or_default();
        let done = |body: Bytes| Some((Outcome::Done, body));
        let failed = |detail, body: Bytes| Some((Outcome::of(detail), body));
        match opcode {
            Opcode::GET => {
                let Ok(request) = get::Request::decode(body) else {
                    return failed(Detail::MALFORMED_BODY, Bytes::new());
                };
                match self.values.get(&request.to_bytes()[..]) {
                    None => failed(Detail::NOT_FOUND, Bytes::new()),
                    Some((version, value)) => done(
                        get::Response {
                            version: *version,
                            value,
                        }
                        .to_bytes(),
                    ),
                }
            }
            Opcode::SET => {
                let Ok(request) = set::Request::decode(body) else {
                    return failed(Detail::MALFORMED_BODY, Bytes::new());
                };
                let (scope, key) = (request.scope, request.key);
                let place = get::Request { scope, key }.to_bytes().to_vec();
                let there = self.values.get(&place).map_or(0, |entry| entry.0);
                if request.expected.is_some_and(|expected| expected != there) {
                    let conflict = set::Conflict { version: there };
                    return failed(Detail::CONFLICT, conflict.to_bytes());
                }
                let version = match request.value {
                    None => {
                        self.values.remove(&place);
                        0
                    }
                    Some(value) => {
                        self.version += 1;
                        let value = Bytes::copy_from_slice(value);
                        self.values.insert(place, (self.version, value));
                        self.version
                    }
                };
                done(set::Response { version }.to_bytes())
            }
            Opcode::SET_CLIENT_TAGS => {
                let Ok(request) = tags::Request::decode(body) else {
                    return failed(Detail::MALFORMED_BODY, Bytes::new());
                };
                let own = self.own_tags.entry(peer).or_default();
                let named: Vec<String> = request.tags().iter().map(Tag::to_string).collect();
                match request.mode() {
                    tags::Mode::Replace => *own = named,
                    tags::Mode::Add => own.extend(named),
                    tags::Mode::Remove => own.retain(|tag| !named.contains(tag)),
                }
                let listed = own.iter().map(|tag| ListedTag {
                    own: true,
                    tag: Tag::new(tag).unwrap(),
                });
                let given = ListedTag::new("guest").unwrap();
                done(tags::Response::new(listed.chain([given]).collect()).to_bytes())
            }
            Opcode::EXECUTE => self.execute(body),
            Opcode::STREAM => self.stream(now, handle, request, body),
            Opcode::BROADCAST => {
                let Ok(request) = broadcast::Request::decode(body) else {
                    return failed(Detail::MALFORMED_BODY, Bytes::new());
                };
                let push = broadcast::Push {
                    sender: Some(peer),
                    topic: request.topic,
                    payload: request.payload,
                }
                .to_bytes();
                let mut recipients = 0;
                for to in self.clients.clone() {
                    if !(request.not_me && to == handle) {
                        recipients += 1;
                        self.send(now, to, Opcode::BROADCAST, mode, channel, push.clone());
                    }
                }
                done(broadcast::Response { recipients }.to_bytes())
            }
            Opcode(0x0123) => {
                self.executed.lock().unwrap().push(body.clone());
                self.send(now, handle, Opcode(0x0124), mode, channel, body.clone());
                done(body.clone())
            }
            _ => failed(Detail::UNKNOWN_OPCODE, Bytes::new()),
        }
    }

    fn execute(&self, body: &Bytes) -> Option<(Outcome, Bytes)> {
        let Ok(request) = execute::Request::decode(body) else {
            return Some((Outcome::of(Detail::MALFORMED_BODY), Bytes::new()));
        };
        let input = body.slice_ref(request.input);
        self.executed.lock().unwrap().push(input.clone());
        match request.action.as_str() {
            "echo" => Some((Outcome::Done, input)),
            "refuse" => {
                let refusal = Refusal {
                    code: 7,
                    text: "not your turn",
                };
                Some((Outcome::of(Detail::REFUSED), refusal.to_bytes()))
            }
            "fail" => Some((Outcome::of(Detail::MODULE_FAILED), Bytes::new())),
            "long" => Some((Outcome::Done, vec![0; 2_000].into())),
            "silent" => None,
            _ => Some((Outcome::of(Detail::NOT_FOUND), Bytes::new())),
        }
    }

    /// The arguments of an open are the number of items to send at once; `ends` is a topic that ends after them, `fails` one that fails.
    fn stream(
        &mut self,
        now: Now,
        handle: SessionHandle,
        request: Option<RequestContext>,
        body: &Bytes,
    ) -> Option<(Outcome, Bytes)> {
        let id = request?.id.0;
        match stream::Request::decode(body) {
            Err(_) => Some((Outcome::of(Detail::MALFORMED_BODY), Bytes::new())),
            Ok(stream::Request::Close { stream }) => {
                self.streams
                    .retain(|each| (each.0, each.1) != (handle, stream));
                Some((Outcome::Done, Bytes::new()))
            }
            Ok(stream::Request::Open { topic, arguments }) => {
                if topic.as_str() == "forbidden" {
                    return Some((Outcome::of(Detail::NOT_ALLOWED), Bytes::new()));
                }
                self.streams.push((handle, id, topic.to_string()));
                let count = core::str::from_utf8(arguments)
                    .unwrap()
                    .parse()
                    .unwrap_or(0);
                // Before the answer: a client must not lose what comes early.
                for n in 0..count {
                    let text = u32::to_string(&n);
                    let event = stream::Event::Item(text.as_bytes());
                    self.push_to(now, handle, stream::Push { stream: id, event });
                }
                let outcome = match topic.as_str() {
                    "ends" => Some(Outcome::Done),
                    "fails" => Some(Outcome::of(Detail::UNAVAILABLE)),
                    _ => None,
                };
                if let Some(outcome) = outcome {
                    let event = stream::Event::End {
                        outcome,
                        text: "gone",
                    };
                    self.push_to(now, handle, stream::Push { stream: id, event });
                }
                Some((Outcome::Done, Bytes::new()))
            }
        }
    }

    fn push_to(&mut self, now: Now, handle: SessionHandle, push: stream::Push<'_>) {
        let body = push.to_bytes();
        let channel = (push.stream % 32) as u8;
        self.send(
            now,
            handle,
            Opcode::STREAM,
            Mode::ReliableOrdered,
            channel,
            body,
        );
    }

    /// How many streams are open.
    pub(crate) fn open_streams(&self) -> usize {
        self.streams.len()
    }
}

/// An identity and where to connect with it.
pub(crate) fn config(server: &Server, identity: Identity) -> cohnect_client::Config {
    cohnect_client::Config::new(server.address, server.pin).identity(identity)
}
