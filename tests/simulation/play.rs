//! One run from the beginning to the end, and what must be true of it.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use cohnect_capabilities::state::{Place, State as _};
use cohnect_host::custodian::{Change, Report};
use cohnect_host::mail::Layout;
use cohnect_protocol::{CloseCode, SteeringKeys};
use tokio::task::{LocalSet, spawn_local};

use crate::chance::Chance;
use crate::client::{Client, Command, Profile, Standing};
use crate::clock::SimClock;
use crate::errands::{Errand, numbers};
use crate::journal::{Journal, Listener};
use crate::network::{CALM, Network, Weather};
use crate::site::Site;

/// Errands of each client: about ten seconds of them.
const ERRANDS: u64 = 300;
/// Longest virtual time that anything may take.
const PATIENCE: Duration = Duration::from_secs(60);

const MODULES: [(&str, &str); 6] = [
    ("counter.luau", include_str!("modules/counter.luau")),
    ("ledger.luau", include_str!("modules/ledger.luau")),
    ("ledger.toml", "grants = [\"db:main\"]\n"),
    ("filter.luau", include_str!("modules/filter.luau")),
    ("metronome.luau", include_str!("modules/metronome.luau")),
    ("runaway.luau", include_str!("modules/runaway.luau")),
];

const STORMY: Weather = Weather {
    loss: 8,
    twice: 4,
    mangled: 2,
    delay_us: 8_000,
    jitter_us: 40_000,
};

/// Plays a whole run on so many shards; returns its journal.
pub(crate) fn play(seed: u64, shards: u16) -> Vec<String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime");
    let folder = tempfile::tempdir().expect("a folder");
    LocalSet::new().block_on(&runtime, async {
        let clock = SimClock::begin();
        let journal = Journal::new(clock, folder.path());
        let listening = tracing::subscriber::set_default(Listener(Arc::clone(&journal)));
        let mut run = Run::begin(seed, shards, folder.path(), clock, &journal).await;
        run.work().await;
        run.judge();
        run.leave_and_return().await;
        run.end().await;
        drop(listening);
        assert_eq!(journal.errors(), [""; 0], "the server logged errors");
        journal.close()
    })
}

struct Run<'a> {
    folder: &'a Path,
    clock: SimClock,
    journal: Arc<Journal>,
    network: std::rc::Rc<Network>,
    site: Site,
    clients: [Client; 3],
}

impl<'a> Run<'a> {
    async fn begin(
        seed: u64,
        shards: u16,
        folder: &'a Path,
        clock: SimClock,
        journal: &Arc<Journal>,
    ) -> Self {
        let mut chance = Chance::named(seed, "steering");
        let steering = SteeringKeys::new(chance.draw() as u32, chance.draw() as u32);
        let network = Network::new(seed, STORMY, steering, clock, journal);
        let carrier = std::rc::Rc::clone(&network);
        spawn_local(async move { carrier.carry().await });
        let site = Site::run(
            seed,
            Layout { shards, workers: 1 },
            steering,
            clock,
            &network,
            journal,
        );
        let [ada, bob, cyd] = [("ada", 0, None), ("bob", 1, None), ("cyd", 1, Some(5))];
        let mut number = 0;
        let clients = [ada, bob, cyd].map(|(name, shard, idle_timeout_s)| {
            number += 1;
            let profile = Profile {
                name,
                number,
                shard: shard % u32::from(shards),
                shards: shards.into(),
                idle_timeout: idle_timeout_s.map(Duration::from_secs),
            };
            Client::run(seed, &profile, site.key, steering, &network, clock, journal)
        });
        let mut run = Self {
            folder,
            clock,
            journal: Arc::clone(journal),
            network,
            site,
            clients,
        };
        for (file, text) in MODULES {
            // The counter lives on the last shard, so that calls come from others too.
            let last = format!("shard = {}", shards - 1);
            run.write(file, &text.replace("shard = 1", &last));
        }
        for Report { module, change, .. } in run.apply().await {
            assert!(matches!(change, Change::Loaded(_)), "{module}: {change:?}");
        }
        run.tell_all(&Command::Connect);
        run.until("everybody is connected", |run| {
            run.clients
                .iter()
                .all(|c| c.view.stands(&Standing::Connected))
        })
        .await;
        run.tell_all(&Command::Run(Errand::Open("counts")));
        run.tell_all(&Command::Run(Errand::Open("audits")));
        run.tell_all(&Command::Run(Errand::Open("chat")));
        run.until_done().await;
        run
    }

    /// The main part: errands all the time, swaps of everything, and a network that is gone for nine seconds.
    async fn work(&mut self) {
        self.tell_all(&Command::Work(ERRANDS));
        self.pass(1_000).await;
        self.save("counter.luau", "VERSION = 1", "VERSION = 2")
            .await;
        self.pass(700).await;
        let away = self.clients[2].address;
        self.network.cut(away);
        self.pass(700).await;
        self.save("filter.luau", "MARK = \"!\"", "MARK = \"?\"")
            .await;
        self.pass(700).await;
        self.save("ledger.luau", "VERSION = 1", "VERSION = 2").await;
        self.pass(700).await;
        self.save_bad("counter.luau", "VERSION = 2", "VERSION = )")
            .await;
        let fails = "error(\"not ready\")";
        self.save_bad("counter.luau", "print(`start {info.reason}`)", fails)
            .await;
        self.pass(700).await;
        self.save("counter.luau", "VERSION = 2", "VERSION = 3")
            .await;
        self.pass(5_500).await;
        self.network.mend(away);
        self.until_done().await;
        self.until("everything has come that was said and published", |run| {
            run.clients.iter().all(|client| run.has_heard_all(client))
        })
        .await;
        for module in ["counter", "ledger"] {
            self.clients[0]
                .view
                .tell(Command::Run(Errand::Sums(module)));
        }
        self.until_done().await;
    }

    fn judge(&self) {
        let mut counts = self.counts();
        counts.sort_unstable();
        let expected: Vec<u64> = (1..=counts.len() as u64).collect();
        assert_eq!(counts, expected, "each count was given once");
        let visits = self.shared("visits");
        assert_eq!(visits, counts.len().to_string());
        let puts: u64 = self.sum(|client| client.view.findings.borrow().puts);
        let conflicts = self.sum(|client| client.view.findings.borrow().conflicts);
        assert_eq!(self.shared("pot"), puts.to_string());
        assert!(conflicts > 0, "nobody was too late");
        let versions: std::collections::BTreeSet<u64> = (self.clients.iter())
            .flat_map(|client| client.view.findings.borrow().counts.clone())
            .map(|(version, _)| version)
            .collect();
        assert!(
            versions.contains(&1) && versions.contains(&3),
            "{versions:?}"
        );
        let findings = self.clients[0].view.findings.borrow();
        let [count, replies, rung] = numbers(&findings.sums["counter"]);
        let [noted, rounds] = numbers(&findings.sums["ledger"]);
        assert_eq!((count, replies), (counts.len() as u64, counts.len() as u64));
        assert_eq!((noted, rounds), (count, count / 10));
        let heard = self.journal.count("the bell rings") as u64;
        // It may have rung once more since the module was asked.
        assert!(
            rung > 0 && (rung..=rung + 1).contains(&heard),
            "{rung}, {heard}"
        );
        assert!(self.sum(|client| client.view.findings.borrow().audits) > 0);
        assert!(self.sum(|client| client.view.findings.borrow().spins) > 0);
        assert_eq!(self.journal.count("out of order"), 0);
        let [ticks, skipped] = numbers(&self.shared("ticks"));
        assert!(
            ticks.abs_diff(self.clock.us() / 100_000) <= 1 && skipped == 0,
            "{ticks}"
        );
        for (n, client) in self.clients.iter().enumerate() {
            let (away, back) = (client.view.away.get(), client.view.back.get());
            assert_eq!(
                (away, back),
                if n == 2 { (1, 1) } else { (0, 0) },
                "{}",
                client.name
            );
            for what in ["away", "back"] {
                let told = self.journal.count(&format!("{what} {}", client.id));
                assert_eq!(told, usize::from(n == 2), "{what} {}", client.name);
            }
            assert_eq!(self.journal.count(&format!(": connected {}", client.id)), 1);
        }
    }

    /// One client leaves, comes back, and finds nothing of what was only its own.
    async fn leave_and_return(&mut self) {
        self.network.set_weather(CALM);
        let ada = std::rc::Rc::clone(&self.clients[0].view);
        ada.tell(Command::Disconnect);
        self.until("ada has left", |run| {
            let gone = Standing::Closed(false, CloseCode::NORMAL);
            run.clients[0].view.stands(&gone) && run.site.directory.len() == 2
        })
        .await;
        ada.tell(Command::Connect);
        self.until("ada is back", |run| {
            run.clients[0].view.stands(&Standing::Connected)
        })
        .await;
        ada.tell(Command::Run(Errand::Get(None)));
        ada.tell(Command::Run(Errand::Open("counts")));
        ada.tell(Command::Run(Errand::Bump));
        self.until_done().await;
        let id = self.clients[0].id;
        assert_eq!(self.journal.count(&format!("disconnected {id} left")), 1);
        assert_eq!(self.journal.count(&format!(": connected {id}")), 2);
    }

    async fn end(self) {
        let Self {
            site,
            clients,
            journal,
            ..
        } = self;
        let (directory, state) = (Arc::clone(&site.directory), Arc::clone(&site.state));
        tokio::time::timeout(PATIENCE, site.shut_down())
            .await
            .expect("the server ends in time");
        for client in &clients {
            let ended = Standing::Closed(true, CloseCode::SHUTTING_DOWN);
            assert!(client.view.stands(&ended), "{}", client.name);
            client.task.abort();
        }
        assert!(directory.is_empty());
        assert_eq!(journal.count("stop shutdown"), 2);
        let visits = state.get(&Place::Shared, "visits").expect("it was counted");
        journal.note("the end", String::from_utf8_lossy(&visits.value));
    }

    fn counts(&self) -> Vec<u64> {
        self.clients
            .iter()
            .flat_map(|client| client.view.findings.borrow().counts.clone())
            .map(|(_, count)| count)
            .collect()
    }

    fn sum(&self, of: impl Fn(&Client) -> u64) -> u64 {
        self.clients.iter().map(of).sum()
    }

    fn shared(&self, key: &str) -> String {
        let entry = self.site.state.get(&Place::Shared, key).expect("a value");
        String::from_utf8_lossy(&entry.value).into_owned()
    }

    /// Whether a client has heard all that the others said, and all that was published.
    fn has_heard_all(&self, listener: &Client) -> bool {
        let findings = listener.view.findings.borrow();
        let counts = self.counts().len() as u64;
        // An audit publishes before it waits and when it ends.
        let audits = 2 * self.sum(|client| client.view.findings.borrow().audits);
        if findings.published("counts") != Some(counts)
            || findings.published("audits") != Some(audits)
        {
            return false;
        }
        let heard = &findings.heard;
        self.clients
            .iter()
            .filter(|client| client.id != listener.id)
            .all(|client| {
                let said = client.view.findings.borrow().said;
                heard.get(&client.id).map_or(0, |(last, _)| *last) == said
            })
    }

    fn tell_all(&self, command: &Command) {
        for client in &self.clients {
            client.view.tell(command.clone());
        }
    }

    fn write(&self, file: &str, text: &str) {
        std::fs::write(self.folder.join(file), text).expect("a file can be written");
    }

    async fn apply(&mut self) -> Vec<Report> {
        let scan = self.site.scan(self.folder);
        self.site.custodian.apply(&scan).await
    }

    /// Changes a file as somebody who saves it does, and sees what comes of it.
    async fn change(&mut self, file: &str, before: &str, after: &str) -> Change {
        let path = self.folder.join(file);
        let text = std::fs::read_to_string(&path).expect("a file can be read");
        assert!(text.contains(before), "{file} has no {before}");
        self.write(file, &text.replace(before, after));
        let [Report { change, .. }] = <[_; 1]>::try_from(self.apply().await).expect("one change");
        self.journal.note(file, format!("{change:?}"));
        change
    }

    async fn save(&mut self, file: &str, before: &str, after: &str) {
        let change = self.change(file, before, after).await;
        assert!(matches!(change, Change::Swapped(_)), "{file}: {change:?}");
    }

    /// Saves something that is refused, and puts back what was there.
    async fn save_bad(&mut self, file: &str, before: &str, after: &str) {
        let change = self.change(file, before, after).await;
        assert!(matches!(change, Change::Refused(_)), "{file}: {change:?}");
        let path = self.folder.join(file);
        let text = std::fs::read_to_string(&path).expect("a file can be read");
        self.write(file, &text.replace(after, before));
        assert!(self.apply().await.is_empty(), "what runs is what is there");
    }

    async fn pass(&self, ms: u64) {
        tokio::time::sleep(Duration::from_millis(ms)).await;
    }

    async fn until_done(&self) {
        self.until("every errand is done", |run| {
            run.clients.iter().all(|client| client.view.is_done())
        })
        .await;
    }

    async fn until(&self, what: &str, is_so: impl Fn(&Self) -> bool) {
        let end_us = self.clock.us() + PATIENCE.as_micros() as u64;
        while !is_so(self) {
            let is_broken =
                self.site.is_broken() || self.clients.iter().any(|c| c.task.is_finished());
            assert!(!is_broken, "a task has failed, as said above");
            assert!(self.clock.us() < end_us, "waited in vain: {what}");
            self.pass(10).await;
        }
    }
}
