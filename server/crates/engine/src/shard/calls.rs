//! Calls to modules: which copy, whether there is a place in its queue, and the way there. It knows no operation.

use cohnect_capabilities::mailbox::{Place, Share};
use cohnect_capabilities::{Client as Caller, ClientId, ClientParts};
use cohnect_host::catalog::Module;
use cohnect_host::export::{ClientEvents, Export};
use cohnect_host::limits::TOLD_MAX;
use cohnect_host::mail::{Address, Answer, Call, HomeId, Mail, NotRun};
use cohnect_protocol::SessionHandle;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::Shard;
use super::clients::CALLS_MAX;

/// A copy of a module, and a place in its queue.
pub(crate) struct Route {
    pub(crate) home: HomeId,
    pub(crate) to: Address,
    place: Option<Place>,
}

impl Shard {
    /// The copy of a module that answers this client's calls, with a place in its queue.
    ///
    /// # Errors
    /// `Unavailable` when the module is not well, `Busy` when its queue is full.
    pub(crate) fn route(&self, module: &Module, client: ClientId) -> Result<Route, NotRun> {
        if module.copies.is_empty() || !module.healthy.load(Ordering::Relaxed) {
            return Err(NotRun::Unavailable);
        }
        let copy = module.copy_for_client(self.id, client);
        if !copy.healthy.load(Ordering::Relaxed) {
            return Err(NotRun::Unavailable);
        }
        let place = Place::take(&copy.taken, module.queue_max).ok_or(NotRun::Busy)?;
        Ok(Route {
            home: copy.home,
            to: Address {
                module: Arc::clone(&module.name),
                copy: copy.number,
            },
            place: Some(place),
        })
    }

    /// As [`Shard::route`], for what a client asks of its own accord: the place counts among the client's.
    ///
    /// # Errors
    /// As [`Shard::route`].
    pub(crate) fn route_for(
        &self,
        module: &Module,
        id: ClientId,
        client: SessionHandle,
    ) -> Result<Route, NotRun> {
        let mut route = self.route(module, id)?;
        if let Some(share) = self.share_of(client) {
            route.place = route.place.map(|place| place.counted(share));
        }
        Ok(route)
    }

    /// One more among the calls that a client has under way.
    pub(crate) fn share_of(&self, client: SessionHandle) -> Option<Share> {
        let client = self.clients.find(client)?;
        Some(Share::of(&client.calls))
    }

    /// Whether a client has as many calls of modules under way as one may have.
    pub(crate) fn calls_enough(&self, client: SessionHandle) -> bool {
        let calls = self.clients.find(client).map(|client| &client.calls);
        calls.is_some_and(|calls| calls.load(Ordering::Relaxed) >= CALLS_MAX)
    }

    /// Sends a call on its way.
    pub(crate) fn call(&mut self, route: Route, export: Export, answer: Answer) {
        let call = Call {
            answer,
            place: route.place,
            ..Call::own(route.to, export)
        };
        self.send_call(route.home, call);
    }

    /// Tells the modules that described this event about a client. Events have places of their own: a queue full of calls loses none of them.
    pub(crate) fn notify(
        &mut self,
        client: ClientId,
        wanted: impl Fn(&ClientEvents) -> bool,
        event: impl Fn() -> Export,
    ) {
        let catalog = Arc::clone(&self.catalog);
        for module in catalog.modules.values() {
            if wanted(&module.exports.client_events) {
                self.tell(module, client, event());
            }
        }
    }

    /// Queues a call for the copy that answers this client's calls; nobody waits for an answer.
    pub(crate) fn tell(&mut self, module: &Module, client: ClientId, export: Export) {
        if module.copies.is_empty() {
            return;
        }
        let copy = module.copy_for_client(self.id, client);
        // What soon comes again takes no room from what comes once.
        let room = if export.is_news() {
            TOLD_MAX
        } else {
            module.queue_max
        };
        let Some(place) = Place::take(&copy.told, room) else {
            self.counters.untold += 1;
            self.untold
                .note(self.now.monotonic.0, &module.name, &export);
            return;
        };
        let to = Address {
            module: Arc::clone(&module.name),
            copy: copy.number,
        };
        let call = Call {
            place: Some(place),
            ..Call::own(to, export)
        };
        self.send_call(copy.home, call);
    }

    pub(super) fn send_call(&mut self, home: HomeId, call: Call) {
        if home == self.id {
            self.accept(call);
        } else {
            self.staging.send(home, Mail::Call(call));
        }
    }

    /// A client as a module meets it, with what it asked for.
    pub(crate) fn as_caller(&self, id: ClientId, wants: ClientParts) -> Caller {
        let tags = if wants.tags {
            self.directory.listed_tags(id).unwrap_or_default()
        } else {
            Arc::default()
        };
        Caller {
            id,
            user: None,
            tags,
        }
    }

    /// A number for a request, unique on this server and below 2^53 for as long as it can run.
    pub(crate) fn next_request(&mut self) -> u64 {
        self.requests += 1;
        self.requests * (self.post.layout().shards as u64) + self.id.0 as u64
    }
}
