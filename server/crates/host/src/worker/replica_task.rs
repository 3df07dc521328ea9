//! The life of one replica on a worker: it takes calls from its copy's queue, runs what is due by itself between them, and obeys its copy's orders.

use core::pin::pin;
use core::time::Duration;
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;

use cohnect_capabilities::ClientId;

use super::station::Station;
use super::{REPLACED, Shared};
use crate::deadline::Ticker;
use crate::export::{Ending, Export, Fault, StartReason, StopReason};
use crate::home::farewell;
use crate::home::slot::{Ran, Slot, Turn};
use crate::mail::{Answer, Answered, Call, HomeId, Relay};
use crate::order::Install;

/// Lives until its copy goes, or newer code has come for a copy with several replicas.
pub(super) async fn live(shared: Rc<Shared>, station: Rc<Station>, mut slot: Slot, epoch: u64) {
    let _presence = Presence {
        shared: Rc::clone(&shared),
        station: Rc::clone(&station),
    };
    let mut own = VecDeque::new();
    let mut own_first = true;
    let mut successions = station.successions();
    loop {
        // What it would do by itself is not for a replica that goes: what is still queued here goes with it, and timers stay set for the one that follows.
        if let Some(reason) = station.leaving() {
            say_goodbye(&shared, &station, &mut slot, reason).await;
            stop(&shared, &mut slot, reason).await;
            return;
        }
        if station.epoch() != epoch {
            stop(&shared, &mut slot, REPLACED).await;
            station.succeed();
            return;
        }
        if successions != station.successions() {
            successions = station.successions();
            slot.schedule.index();
        }
        let now = shared.now();
        slot.poll(now, |export| own.push_back(export));
        if let Some(install) = station.next_order() {
            switch(&shared, &station, &mut slot, install).await;
            continue;
        }
        if !shared.has_room(&station) {
            shared.wait_for_room(&station).await;
            continue;
        }
        // What it does by itself and what others ask of it take turns.
        let call = if own_first {
            own.pop_front()
                .map(|export| Call::own(slot.address.clone(), export))
        } else {
            None
        }
        .or_else(|| station.next_call(|export| slot.turn(export)))
        .or_else(|| {
            own.pop_front()
                .map(|export| Call::own(slot.address.clone(), export))
        });
        own_first = !own_first;
        if let Some(call) = call {
            run(&shared, &station, &mut slot, call).await;
            tokio::task::yield_now().await;
        } else {
            let at_most = slot
                .next_us(now)
                .map(|due| Duration::from_micros(due.saturating_sub(now.monotonic_us)));
            station.wait(at_most).await;
        }
    }
}

/// That a replica is there. However its life ends, by a panic too, its copy hears of it.
struct Presence {
    shared: Rc<Shared>,
    station: Rc<Station>,
}

impl Drop for Presence {
    fn drop(&mut self) {
        self.shared.quit(&self.station);
    }
}

/// The answer that a running call owes. If the call is given up with its task, whoever waits hears that it ended.
struct Owed<'a> {
    shared: &'a Shared,
    carrier: HomeId,
    /// Who asks to have which topic open.
    subscriber: Option<(ClientId, Arc<str>)>,
    answer: Option<Answer>,
}

impl Owed<'_> {
    fn pay(mut self, answered: Answered) {
        self.settle(answered);
    }

    fn settle(&mut self, answered: Answered) {
        if let Some(answer) = self.answer.take() {
            let relay = Relay {
                subscriber: self.subscriber.take(),
                answer,
                answered,
            };
            self.shared.relay(self.carrier, relay);
        }
    }
}

impl Drop for Owed<'_> {
    fn drop(&mut self) {
        let fault = Fault::Ended(Ending::Trap, "its worker is gone".to_owned());
        self.settle(Answered {
            outcome: Ok(Err(fault)),
            generation: 0,
        });
    }
}

/// Holds the tick while the future is polled, since only then a guest runs.
pub(super) async fn metered<T>(ticker: &Ticker, future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    core::future::poll_fn(|context| {
        let _running = ticker.running();
        future.as_mut().poll(context)
    })
    .await
}

async fn run(shared: &Shared, station: &Station, slot: &mut Slot, call: Call) {
    let Call {
        mut export,
        answer,
        chain,
        expires_us,
        place,
        to,
    } = call;
    let owed = Owed {
        shared,
        carrier: station.carrier(),
        subscriber: export.subscriber(),
        answer: Some(answer),
    };
    let ran = run_until_hurried(shared, station, slot, &mut export, chain, expires_us).await;
    let ran = match ran {
        Some(ran) => ran,
        None => slot.abandon(&export, "ended by force, for a swap", shared.now()),
    };
    if ran.again {
        station.put_back(Call {
            place,
            ..Call::own(to, export)
        });
    } else {
        drop(place);
    }
    finish(shared, owed, ran);
}

/// Runs one call to its end; none when an order by force did not wait for it.
async fn run_until_hurried(
    shared: &Shared,
    station: &Station,
    slot: &mut Slot,
    export: &mut Export,
    chain: Vec<Arc<str>>,
    expires_us: Option<u64>,
) -> Option<Ran> {
    let name = export.name();
    let clock = &*shared.setup.clock;
    let mut running = pin!(metered(
        &shared.setup.ticker,
        slot.run(export, chain, expires_us, clock)
    ));
    loop {
        if station.is_forced() {
            return None;
        }
        let gives_up = station.gives_up_us();
        let given_up = async {
            match gives_up {
                None => core::future::pending().await,
                Some(at) => {
                    let left = at.saturating_sub(shared.now().monotonic_us);
                    tokio::time::sleep(Duration::from_micros(left)).await;
                }
            }
        };
        tokio::select! {
            biased;
            ran = &mut running => return Some(ran),
            () = station.hurried() => {}
            () = given_up => station.give_up(name),
        }
    }
}

fn finish(shared: &Shared, owed: Owed<'_>, ran: Ran) {
    let generation = if ran.outcome.is_ok() {
        ran.identity.generation
    } else {
        0
    };
    let answered = Answered {
        outcome: ran.outcome,
        generation,
    };
    // As on a shard: the reply leaves, then what the call left behind.
    owed.pay(answered);
    shared.release(&ran.identity, ran.effects);
}

async fn switch(shared: &Shared, station: &Station, slot: &mut Slot, install: Install) {
    if install.done.is_closed() {
        // The custodian is gone, or has given it up.
        return;
    }
    let mut effects = Vec::new();
    let switching = slot.switch(&install, &*shared.setup.clock, &mut effects);
    let outcome = metered(&shared.setup.ticker, switching).await;
    shared.release(slot.identity(), effects);
    if outcome.is_ok() {
        station.took_over(install.again(StartReason::Loaded));
    }
    install.done.send(outcome).unwrap_or_default();
}

/// Answers what still waits, and tells what has happened before it goes: that clients have gone, and that it goes itself. Others live here too, so a copy
/// with much to hear does not keep them from their own end.
async fn say_goodbye(shared: &Shared, station: &Station, slot: &mut Slot, reason: StopReason) {
    let clock = &*shared.setup.clock;
    let began_us = clock.now().monotonic_us;
    let most_us = farewell(reason).as_micros();
    while let Some(mut call) = station.next_call(Slot::last_turn) {
        if Slot::last_turn(&call.export) != Turn::Run {
            shared.refuse(call);
            continue;
        }
        let late = u128::from(clock.now().monotonic_us.saturating_sub(began_us)) >= most_us;
        let heard = !late && slot.lives() && {
            while !shared.has_room(station) {
                shared.room.notified().await;
            }
            let telling = slot.run(&mut call.export, Vec::new(), None, clock);
            let ran = metered(&shared.setup.ticker, telling).await;
            shared.release(&ran.identity, ran.effects);
            !ran.again
        };
        if !heard {
            let module = &station.address().module;
            shared
                .untold
                .borrow_mut()
                .note(clock.now().monotonic_us, module, &call.export);
        }
    }
}

/// Tells a replica that it goes, and lets it go.
pub(super) async fn stop(shared: &Shared, slot: &mut Slot, reason: StopReason) {
    let mut effects = Vec::new();
    let stopping = slot.stop(reason, &*shared.setup.clock, &mut effects);
    metered(&shared.setup.ticker, stopping).await;
    shared.release(slot.identity(), effects);
}
