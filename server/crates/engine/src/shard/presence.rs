//! Clients come and go: admission, the directory, and what modules are told of it. Each client that modules heard of as connected they hear of as
//! disconnected, once, unless too many events wait for them: what finds no place is logged.

use core::time::Duration;
use std::net::SocketAddr;
use std::sync::Arc;

use cohnect_capabilities::{Client as Caller, ClientId, ClientParts, CloseReason, Error};
use cohnect_host::export::{Export, Newcomer, Returned};
use cohnect_host::mail::{Answer, Answered, NotRun};
use cohnect_protocol::{CloseCode, PeerId, SessionHandle, VERSION};

use super::clients::{Connecting, Stage};
use super::{Client, Continuation, Shard, StreamStage, Work};
use crate::Card;
use crate::ops::Op;
use crate::outcome;
use cohnect_protocol::ops::Detail;

/// How long modules may take to let a client in.
const ADMISSION: Duration = Duration::from_secs(3);
/// Messages of a client that wait until it is let in: as many requests as it may have open.
const HELD_MAX: usize = 256;
/// Bytes of text in a CLOSE.
const CLOSE_TEXT_MAX: usize = 64;
/// How often a client's card is brought up to date at most, in microseconds.
const CARD_PERIOD_US: u64 = 100_000;

impl Shard {
    pub(super) fn connected(&mut self, handle: SessionHandle, peer: PeerId, address: SocketAddr) {
        if self.closing {
            return;
        }
        let id = ClientId::from_bytes(*peer.as_bytes());
        // A session that was replaced may still say goodbye for a while; modules hear of its end before they hear of the new one.
        if let Some(older) = self.clients.by_id(id) {
            self.depart(older, CloseReason::Replaced);
        }
        let card = Arc::new(Card::new(id, address, self.now.wall_us, VERSION));
        self.clients.insert(handle, Client::new(card));
        tracing::debug!(client = %id, %address, "a session is open");
        let catalog = Arc::clone(&self.catalog);
        let asked: Vec<_> = catalog
            .modules
            .values()
            .filter(|module| module.exports.client_events.connecting)
            .collect();
        if asked.is_empty() {
            self.admit(handle);
            return;
        }
        let deadline = self.now.monotonic.plus(ADMISSION).0;
        let late = Continuation::ConnectingLate(handle);
        let ticket = self.continuations.insert(late, Some(deadline));
        if let Some(connecting) = self.connecting(handle) {
            connecting.asked = asked
                .iter()
                .map(|module| Arc::clone(&module.name))
                .collect();
            connecting.ticket = Some(ticket);
        }
        for module in asked {
            match self.route(module, id) {
                Ok(route) => {
                    let answer = Continuation::Connecting(handle, Arc::clone(&module.name));
                    let ticket = self.continuations.insert(answer, None);
                    let newcomer = Newcomer {
                        id,
                        address: address.to_string(),
                        protocol_version: VERSION,
                        ..Newcomer::default()
                    };
                    self.call(
                        route,
                        Export::Connecting(newcomer),
                        Answer::Home(self.id, ticket),
                    );
                }
                Err(why) => {
                    self.not_asked(&module.name, why);
                    self.refuse(handle, "");
                    return;
                }
            }
        }
    }

    /// A module has said whether a client may come in.
    pub(super) fn admission(
        &mut self,
        handle: SessionHandle,
        module: &Arc<str>,
        answered: Answered,
    ) {
        let Some(connecting) = self.connecting(handle) else {
            return;
        };
        match answered.outcome {
            Ok(Ok(Returned::Admission(Ok(admission)))) => {
                connecting.tags.extend(admission.tags);
                connecting.asked.retain(|asked| asked != module);
                if connecting.asked.is_empty() {
                    self.admit(handle);
                }
            }
            Ok(Ok(Returned::Admission(Err(Error::Failed(failure))))) => {
                self.refuse(handle, &failure.message);
            }
            Ok(Ok(Returned::Admission(Err(Error::Denied)))) => self.refuse(handle, ""),
            Ok(Ok(Returned::Admission(Err(error)))) => {
                let why = format!("answered: {error}");
                self.turned_away.note(self.now.monotonic.0, module, &why);
                self.refuse(handle, "");
            }
            // Whoever cannot say yes has said no.
            Ok(_) => {
                let now_us = self.now.monotonic.0;
                self.turned_away.note(now_us, module, "failed");
                self.refuse(handle, "");
            }
            Err(why) => {
                self.not_asked(module, why);
                self.refuse(handle, "");
            }
        }
    }

    pub(super) fn admission_late(&mut self, handle: SessionHandle) {
        let slow = self
            .connecting(handle)
            .and_then(|connecting| connecting.asked.first().cloned());
        if let Some(module) = slow {
            let why = format!("took more than {} s", ADMISSION.as_secs());
            self.turned_away.note(self.now.monotonic.0, &module, &why);
        }
        self.refuse(handle, "");
    }

    fn not_asked(&mut self, module: &str, why: NotRun) {
        let why = match why {
            NotRun::Busy => "could not be asked: too many calls wait for the module",
            NotRun::Unavailable | NotRun::Unknown => {
                "could not be asked: the module is not available"
            }
        };
        self.turned_away.note(self.now.monotonic.0, module, why);
    }

    pub(super) fn alive(&mut self, handle: SessionHandle, rtt: Duration) {
        if let Some(connecting) = self.connecting(handle) {
            connecting.alive = Some(rtt);
            return;
        }
        let Some(caller) = self.known(handle) else {
            return;
        };
        let rtt_us = u64::try_from(rtt.as_micros()).unwrap_or(u64::MAX);
        self.refresh_card(handle);
        self.notify(
            caller.id,
            |events| events.alive,
            || Export::Alive(caller.clone(), rtt_us),
        );
    }

    pub(super) fn away(&mut self, handle: SessionHandle) {
        if let Some(caller) = self.known(handle) {
            let event = || Export::Away(caller.clone());
            self.notify(caller.id, |events| events.away, event);
        }
    }

    pub(super) fn back(&mut self, handle: SessionHandle) {
        if let Some(caller) = self.known(handle) {
            self.refresh_card(handle);
            let event = || Export::Back(caller.clone());
            self.notify(caller.id, |events| events.back, event);
        }
    }

    pub(super) fn closed(&mut self, handle: SessionHandle, code: CloseCode) {
        self.depart(handle, reason_of(code));
    }

    /// Ends a session for a module. The client is gone at once for everybody here; what was sent to it before still goes out.
    pub(super) fn disconnect(&mut self, handle: SessionHandle, reason: CloseReason, message: &str) {
        let code = match reason {
            CloseReason::Left => CloseCode::NORMAL,
            CloseReason::ShuttingDown => CloseCode::SHUTTING_DOWN,
            CloseReason::ServerFull => CloseCode::REFUSED,
            CloseReason::Kicked
            | CloseReason::Banned
            | CloseReason::Replaced
            | CloseReason::TimedOut
            | CloseReason::ProtocolError
            | CloseReason::Other => CloseCode::KICKED,
        };
        let text = message.get(..message.floor_char_boundary(CLOSE_TEXT_MAX));
        self.endpoint
            .close(self.now, handle, code, text.unwrap_or_default());
        self.depart(handle, reason);
    }

    /// Forgets a client, and tells the modules that knew it.
    pub(super) fn depart(&mut self, handle: SessionHandle, reason: CloseReason) {
        let Some(mut client) = self.clients.remove(handle) else {
            return;
        };
        let id = client.id();
        tracing::debug!(client = %id, ?reason, "a client is gone");
        if let Stage::Connecting(Connecting {
            ticket: Some(ticket),
            ..
        }) = client.stage
        {
            self.continuations.take(ticket);
        }
        if client.seat().is_none() {
            return;
        }
        let caller = self.as_caller(id, WHOLE);
        for stream in core::mem::take(&mut client.streams) {
            if stream.stage == StreamStage::Handled {
                self.unsubscribed(caller.clone(), &stream.topic, reason);
            }
        }
        self.directory.release(id);
        self.state.close_client(id);
        self.notify(
            id,
            |events| events.disconnected,
            || Export::Disconnected(caller.clone(), reason),
        );
    }

    /// Keeps what a client sends until it is let in; gives it back when it is here.
    pub(crate) fn hold(&mut self, op: Op) -> Option<Op> {
        let client = self.clients.find_mut(op.client)?;
        match &mut client.stage {
            Stage::Here(_) => return Some(op),
            Stage::Connecting(connecting) if connecting.held.len() < HELD_MAX => {
                connecting.held.push_back(op);
            }
            Stage::Connecting(_) => {
                self.counters.overrun += 1;
                self.respond(op.client, op.request, outcome::failed(Detail::BUSY));
            }
            Stage::Refused => {}
        }
        None
    }

    /// Brings a client's card up to date, not too often.
    pub(crate) fn refresh_card(&mut self, handle: SessionHandle) {
        let now = self.now;
        let Some(client) = self.clients.find_mut(handle) else {
            return;
        };
        if now.monotonic.0 < client.card_due_us {
            return;
        }
        client.card_due_us = now.monotonic.0 + CARD_PERIOD_US;
        if let Some(session) = self.endpoint.session(handle) {
            let silent = now.monotonic.since(session.last_heard()).as_micros() as u64;
            let rtt = session.rtt().as_micros() as u64;
            client.card.seen(now.wall_us.saturating_sub(silent), rtt);
        }
    }

    fn connecting(&mut self, handle: SessionHandle) -> Option<&mut Connecting> {
        match &mut self.clients.find_mut(handle)?.stage {
            Stage::Connecting(connecting) => Some(connecting),
            Stage::Here(_) | Stage::Refused => None,
        }
    }

    /// A client that modules know of.
    fn known(&self, handle: SessionHandle) -> Option<Caller> {
        let client = self.clients.find(handle)?;
        client.seat()?;
        Some(self.as_caller(client.id(), WHOLE))
    }

    fn admit(&mut self, handle: SessionHandle) {
        let Some(connecting) = self.connecting(handle).map(core::mem::take) else {
            return;
        };
        if let Some(ticket) = connecting.ticket {
            self.continuations.take(ticket);
        }
        let Some(client) = self.clients.find_mut(handle) else {
            return;
        };
        let id = client.id();
        let seat = self
            .directory
            .admit(Arc::clone(&client.card), &connecting.tags);
        client.stage = Stage::Here(seat);
        self.clients.seat(handle, seat);
        self.state.open_client(id);
        let caller = self.as_caller(id, WHOLE);
        let event = || Export::Connected(caller.clone());
        self.notify(id, |events| events.connected, event);
        if let Some(rtt) = connecting.alive {
            self.alive(handle, rtt);
        }
        // What it sent meanwhile comes before what of it waits in the run queue.
        for op in connecting.held.into_iter().rev() {
            self.run_queue.push_front(Work::Operation(op));
        }
    }

    fn refuse(&mut self, handle: SessionHandle, text: &str) {
        let Some(ticket) = self.connecting(handle).map(|connecting| connecting.ticket) else {
            return;
        };
        if let Some(ticket) = ticket {
            self.continuations.take(ticket);
        }
        if let Some(client) = self.clients.find_mut(handle) {
            client.stage = Stage::Refused;
        }
        let text = text.get(..text.floor_char_boundary(CLOSE_TEXT_MAX));
        self.endpoint.close(
            self.now,
            handle,
            CloseCode::REFUSED,
            text.unwrap_or_default(),
        );
    }
}

/// Modules that hear of clients hear all that is known.
pub(crate) const WHOLE: ClientParts = ClientParts {
    user: true,
    tags: true,
};

/// Why a session has ended, as modules hear it (PROTOCOL.md 5.2).
fn reason_of(code: CloseCode) -> CloseReason {
    match code {
        CloseCode::NORMAL => CloseReason::Left,
        CloseCode::PROTOCOL_ERROR => CloseReason::ProtocolError,
        CloseCode::SUPERSEDED => CloseReason::Replaced,
        CloseCode::SHUTTING_DOWN => CloseReason::ShuttingDown,
        CloseCode::KICKED => CloseReason::Kicked,
        CloseCode::IDLE => CloseReason::TimedOut,
        CloseCode(_) => CloseReason::Other,
    }
}
