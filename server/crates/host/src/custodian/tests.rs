//! The custodian over homes that a test drives by hand: loads, swaps, swaps back, moves, unloads and refusals.

use core::pin::pin;
use core::task::{Context as TaskContext, Poll, Waker as TaskWaker};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use cohnect_capabilities::{Caller, InstanceId};
use tempfile::TempDir;

use super::check::check;
use super::{Change, Custodian, Report, Setup};
use crate::catalog::{Catalog, Catalogs};
use crate::deadline::Ticker;
use crate::export::{Export, Request, Returned, ServerEvent};
use crate::home::Home;
use crate::load::{Scan, scan};
use crate::mail::{Address, Answer, Call, HomeId, Layout, Mail, Post, Staging, Waker};
use crate::now::Clock as _;
use crate::replica::Language;
use crate::testing::{ScriptLanguage, World};

const LAYOUT: Layout = Layout {
    shards: 2,
    workers: 1,
};

struct Awake;

impl Waker for Awake {
    fn wake(&self) {}
}

struct Rig {
    folder: TempDir,
    /// What was found there last.
    before: Scan,
    world: Arc<World>,
    custodian: Custodian,
    homes: Homes,
}

struct Homes {
    post: Arc<Post>,
    catalogs: Arc<Catalogs>,
    world: Arc<World>,
    homes: Vec<Home>,
}

impl Homes {
    /// Lets every home do what there is to do.
    fn turn(&mut self) {
        let now = self.world.now();
        for home in &mut self.homes {
            let mut staging = Staging::new(home.id(), LAYOUT);
            let mut mail = Vec::new();
            self.post.collect(home.id(), &mut mail);
            for (_, letter) in mail {
                match letter {
                    Mail::Order(order) => home.obey(now, order, &mut staging),
                    Mail::Call(_)
                    | Mail::Reply(..)
                    | Mail::Relay(_)
                    | Mail::Effects(..)
                    | Mail::Walk(_)
                    | Mail::Fanout(_) => {}
                }
            }
            home.handle_timeout(now);
            while home.run_next(now).is_some() {}
            staging.hand_over(&self.post);
        }
    }

    fn drive<T>(&mut self, future: impl Future<Output = T>) -> T {
        let mut future = pin!(future);
        let mut context = TaskContext::from_waker(TaskWaker::noop());
        for _ in 0..1_000 {
            if let Poll::Ready(value) = future.as_mut().poll(&mut context) {
                return value;
            }
            self.turn();
        }
        panic!("the custodian waits for ever");
    }

    /// The answer of the copy that a client of this shard meets.
    fn ask(&mut self, shard: u16, module: &str, action: &str) -> String {
        let catalog = self.catalogs.newest();
        self.ask_by(&catalog, shard, module, action)
    }

    /// The same for a caller who has this catalog.
    fn ask_by(&mut self, catalog: &Catalog, shard: u16, module: &str, action: &str) -> String {
        let Some(module) = catalog.module(module) else {
            return "unknown".into();
        };
        if module.copies.is_empty() {
            return "unavailable".into();
        }
        let copy = module.copy_for(HomeId(shard), 0);
        let home = self
            .homes
            .iter_mut()
            .find(|home| home.id() == copy.home)
            .unwrap();
        let call = Call {
            to: Address {
                module: Arc::clone(&module.name),
                copy: copy.number,
            },
            export: Export::Execute(Request {
                id: 1,
                name: action.into(),
                caller: Caller::Operator("test".into()),
                received_at: 0,
                input: Bytes::new(),
            }),
            answer: Answer::Home(HomeId(0), 77),
            chain: Vec::new(),
            expires_us: None,
            place: None,
        };
        if let Err((_, why)) = home.push(call) {
            return format!("{why:?}");
        }
        let now = self.world.now();
        while let Some(finished) = home.run_next(now) {
            if let (Answer::Home(_, 77), Ok(Ok(Returned::Answer(Ok(text))))) =
                (&finished.answer, &finished.answered.outcome)
            {
                return String::from_utf8_lossy(text).into_owned();
            }
        }
        "nothing".into()
    }
}

impl Rig {
    fn new(files: &[(&str, &str)]) -> Self {
        let world = World::new();
        let post = Post::new(LAYOUT, |_| Arc::new(Awake));
        let catalogs = Arc::<Catalogs>::default();
        let ticker = Ticker::default();
        let setup = Setup {
            post: Arc::clone(&post),
            catalogs: Arc::clone(&catalogs),
            capabilities: world.capabilities(),
            languages: vec![Arc::new(ScriptLanguage)],
            ticker: ticker.clone(),
            instance: InstanceId { hi: 1, lo: 2 },
            seed: [9; 32],
            aside: false,
        };
        let rig = Self {
            folder: tempfile::tempdir().unwrap(),
            before: Scan::default(),
            custodian: Custodian::new(setup),
            homes: Homes {
                post,
                catalogs,
                world: Arc::clone(&world),
                homes: (0..LAYOUT.shards)
                    .map(|n| Home::new(HomeId(n), ticker.clone()))
                    .collect(),
            },
            world,
        };
        for (path, text) in files {
            rig.write(path, text);
        }
        rig
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.folder.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    fn scan(&self) -> Scan {
        let languages: [Arc<dyn Language>; 1] = [Arc::new(ScriptLanguage)];
        scan(self.folder.path(), &languages, &self.before).unwrap()
    }

    fn apply(&mut self) -> BTreeMap<String, Change> {
        let scan = self.scan();
        let reports = self.homes.drive(self.custodian.apply(&scan));
        self.homes.turn();
        self.before = scan;
        reports
            .into_iter()
            .map(|Report { module, change, .. }| (module.to_string(), change))
            .collect()
    }

    fn ask(&mut self, module: &str, action: &str) -> String {
        self.homes.ask(0, module, action)
    }

    fn problem(&mut self, module: &str) -> String {
        match self.apply().remove(module) {
            Some(Change::Refused(problem)) => {
                problem.replace(&format!("{}/", self.folder.path().display()), "")
            }
            other => panic!("not refused: {other:?}"),
        }
    }
}

const COUNTER: &str = "action w which\nmigration\n";

#[test]
fn a_new_file_is_loaded_a_changed_one_swapped_and_a_removed_one_unloaded() {
    let mut rig = Rig::new(&[("a.script", COUNTER)]);
    assert_eq!(rig.apply()["a"], Change::Loaded(1));
    assert_eq!(rig.ask("a", "w"), "1:1");
    assert!(rig.apply().is_empty(), "nothing changed");
    rig.write("a.script", &format!("{COUNTER}# more"));
    assert_eq!(rig.apply()["a"], Change::Swapped(2));
    assert_eq!(rig.ask("a", "w"), "2:2");
    rig.write("a.toml", "queue_max = 7");
    assert_eq!(rig.apply()["a"], Change::Swapped(3));
    assert_eq!(rig.ask("a", "w"), "3:3");
    let catalog = rig.homes.catalogs.newest();
    assert_eq!(catalog.module("a").unwrap().queue_max, 7);
    std::fs::remove_file(rig.folder.path().join("a.script")).unwrap();
    std::fs::remove_file(rig.folder.path().join("a.toml")).unwrap();
    assert_eq!(rig.apply()["a"], Change::Unloaded);
    assert_eq!(rig.ask("a", "w"), "unknown");
}

#[test]
fn a_broken_file_is_refused_once_and_what_ran_goes_on() {
    let mut rig = Rig::new(&[("a.script", COUNTER)]);
    rig.apply();
    rig.ask("a", "w");
    rig.write("a.script", "action w which\nbroken missing end");
    assert_eq!(rig.problem("a"), "a.script:2: missing end");
    assert_eq!(rig.ask("a", "w"), "1:2");
    assert!(rig.apply().is_empty(), "it is not tried again");
    rig.write("a.script", COUNTER);
    assert!(rig.apply().is_empty(), "what runs is what is there");
}

#[test]
fn modules_want_to_know_of_each_other() {
    let mut rig = Rig::new(&[("a.script", "server module_loaded")]);
    rig.apply();
    rig.write("b.script", "");
    rig.apply();
    rig.homes.turn();
    let log = rig.world.log_lines();
    assert_eq!(log.last().unwrap(), "a: event ModuleLoaded(\"b\")");
    rig.custodian.announce(&ServerEvent::Started);
}

#[test]
fn a_copy_on_each_shard_and_one_that_fails_brings_the_others_back() {
    let mut rig = Rig::new(&[(
        "a.script",
        &format!("{COUNTER}manifest placement per-shard\nstart"),
    )]);
    rig.apply();
    assert_eq!(rig.homes.ask(0, "a", "w"), "1:1");
    assert_eq!(rig.homes.ask(1, "a", "w"), "1:1");
    assert_eq!(rig.homes.ask(1, "a", "w"), "1:2");
    // The second copy's home refuses, since its copy is not there.
    rig.homes.homes[1] = Home::new(HomeId(1), Ticker::default());
    rig.write(
        "a.script",
        &format!("{COUNTER}manifest placement per-shard\nstart\nserver started"),
    );
    assert!(matches!(rig.apply()["a"], Change::Refused(_)));
    assert_eq!(rig.homes.ask(0, "a", "w"), "1:2", "the old code, its state");
    let log = rig.world.log_lines();
    assert_eq!(
        log[log.len() - 4..],
        [
            "a: start Swapped",
            "a: stop Swapped",
            "a: start RolledBack",
            "a: stop RolledBack"
        ]
    );
}

#[test]
fn a_module_that_changes_its_placement_moves() {
    let mut rig = Rig::new(&[("a.script", COUNTER), ("a.toml", "shard = 0")]);
    rig.apply();
    assert_eq!(rig.ask("a", "w"), "1:1");
    let old = rig.homes.catalogs.newest();
    rig.write("a.toml", "shard = 1");
    assert_eq!(rig.apply()["a"], Change::Swapped(2));
    let late = rig.homes.ask_by(&old, 0, "a", "w");
    assert_eq!(late, "Unavailable", "it is there, and may be asked again");
    assert_eq!(rig.ask("a", "w"), "2:1", "it began empty");
    assert_eq!(rig.homes.homes[0].poll_timeout(), None);
    rig.write("a.toml", "placement = \"per-shard\"");
    assert_eq!(rig.apply()["a"], Change::Swapped(3));
    assert_eq!(rig.homes.ask(0, "a", "w"), "3:1");
    assert_eq!(rig.homes.ask(1, "a", "w"), "3:1");
}

#[test]
fn timers_go_along_when_a_module_moves() {
    let text = "action t timer bell 10\ntimers";
    let mut rig = Rig::new(&[("a.script", text), ("a.toml", "placement = \"per-shard\"")]);
    rig.apply();
    rig.ask("a", "t");
    rig.write("a.toml", "shard = 0");
    rig.apply();
    rig.world.advance(10_000);
    rig.homes.turn();
    assert_eq!(rig.world.log_lines(), ["a: timer bell"]);
}

#[test]
fn what_the_manifest_or_the_folder_does_not_allow_is_refused() {
    for (files, problem) in [
        (
            &[("a.script", "import db")][..],
            "it uses `db`, which needs a grant for each database, such as `grants = [\"db:main\"]` in its manifest",
        ),
        (
            &[
                ("a.script", "stage 0x0100 0 pass"),
                ("a.toml", "deadline_ms = 20"),
            ],
            "a.script: it has stages, which never wait, but its `deadline_ms` is 20; put the stages into a module of their own",
        ),
        (
            &[
                ("a.script", "stage 0x0100 0 pass\nimport db"),
                ("a.toml", "grants = [\"db:main\"]"),
            ],
            "a.script: it has stages, which never wait, but it imports `db`; put the stages into a module of their own",
        ),
        (
            &[("a.script", "background wait\nmanifest placement per-shard")],
            "a.script: it has a `background`, so its `placement` is \"single\"",
        ),
        (
            &[("a.script", ""), ("a.toml", "shard = 2")],
            "a.toml: `shard` is 2, and there are 2 shards, counted from 0",
        ),
        (
            &[("a.script", ""), ("a.toml", "shard = 0\ndeadline_ms = 4")],
            "a.toml: `shard` is for a module on a shard; this one lives on a worker",
        ),
        (
            &[("a.script", "manifest queue_max 3")],
            "a.script: manifest in the code: `queue_max` stands only in the manifest file; code may say placement, version, shard",
        ),
        (
            &[
                ("a.script", "action x echo"),
                ("a.toml", "narrow = { actions = [\"y\"] }"),
            ],
            "a.toml: `narrow.actions` names `y`, which the module does not have",
        ),
        (
            &[("a.script", "start fail")],
            "`start` failed: refused with code 1: as told",
        ),
        (
            &[("a.script", ""), ("a.toml", "nope = 1")],
            "a.toml:1: unknown key `nope`; is `name` meant?",
        ),
    ] {
        let mut rig = Rig::new(files);
        assert_eq!(rig.problem("a"), problem, "{files:?}");
        let catalog = rig.homes.catalogs.newest();
        let broken = catalog.module("a").unwrap();
        assert!(broken.copies.is_empty(), "there by name, and unavailable");
        assert!(catalog.infos().is_empty());
    }
}

#[test]
fn two_claims_with_one_order_are_refused() {
    for (claim, problem) in [
        (
            "stage 0x0100 5 pass",
            "opcodes 0x0100 to 0x0100 are claimed with order 5 by `a`, too: give one of them another order",
        ),
        (
            "topic chat 5 pass",
            "the BROADCAST topic `chat` is claimed with order 5 by `a`, too",
        ),
        (
            "stream chat hello",
            "the STREAM topic `chat` is claimed by `a`, too",
        ),
    ] {
        let mut rig = Rig::new(&[("a.script", claim), ("b.script", claim)]);
        assert_eq!(rig.problem("b"), problem);
    }
    let mut rig = Rig::new(&[
        ("a.script", "stage 0x0100 5 pass"),
        ("b.script", "stage 0x0100 4 pass"),
    ]);
    rig.apply();
    let catalog = rig.homes.catalogs.newest();
    let order: Vec<_> = catalog
        .stages_of_packet(0x0100, 0)
        .map(|stage| stage.module.name.to_string())
        .collect();
    assert_eq!(order, ["b", "a"]);
}

#[test]
fn what_was_refused_for_a_claim_is_tried_again_when_the_claim_is_free() {
    let mut rig = Rig::new(&[("a.script", "stream chat hello")]);
    rig.apply();
    rig.write("b.script", "stream chat hello");
    assert!(rig.problem("b").contains("claimed by `a`"));
    // As a renamed file looks in the end.
    std::fs::remove_file(rig.folder.path().join("a.script")).unwrap();
    let changes = rig.apply();
    assert!(matches!(changes["a"], Change::Unloaded));
    assert!(matches!(changes["b"], Change::Loaded(_)), "{changes:?}");
    rig.write("a.script", "stream chat hello");
    assert!(rig.problem("a").contains("claimed by `b`"));
    rig.write("b.script", "stream other hello");
    let changes = rig.apply();
    assert!(matches!(changes["a"], Change::Loaded(_)), "{changes:?}");
}

#[test]
fn the_manifest_narrows_what_a_module_answers_to() {
    let mut rig = Rig::new(&[
        (
            "a.script",
            "action x echo\naction y echo\nstage 0x0100 0 pass",
        ),
        ("a.toml", "[narrow]\nactions = [\"x\"]\nopcodes = []"),
    ]);
    rig.apply();
    let catalog = rig.homes.catalogs.newest();
    let module = catalog.module("a").unwrap();
    assert_eq!(module.actions.len(), 1);
    assert!(catalog.packet_stages.is_empty());
}

#[test]
fn a_module_of_stages_alone_lives_on_every_shard() {
    let mut rig = Rig::new(&[
        ("a.script", "topic chat 0 pass"),
        ("b.script", "topic chat 1 pass\naction x echo"),
    ]);
    rig.apply();
    let catalog = rig.homes.catalogs.newest();
    assert_eq!(catalog.module("a").unwrap().copies.len(), 2);
    assert_eq!(catalog.module("b").unwrap().copies.len(), 1);
}

#[test]
fn shutting_down_stops_every_module() {
    let mut rig = Rig::new(&[("a.script", "start\nserver stopping"), ("b.script", "")]);
    rig.apply();
    let Rig {
        custodian, homes, ..
    } = &mut rig;
    homes.drive(custodian.shut_down(5_000_000));
    assert_eq!(
        rig.world.log_lines(),
        [
            "a: start Loaded",
            "a: event Stopping(5000000)",
            "a: stop Shutdown"
        ]
    );
    assert!(rig.homes.catalogs.newest().modules.is_empty());
}

#[test]
fn a_check_says_what_there_is_and_starts_nothing() {
    let rig = Rig::new(&[
        (
            "a.script",
            "action x echo\nstage 0x0100 0 pass\nimport logging",
        ),
        ("b.script", "broken here"),
        ("c/c.script", "import db\nticker 20\nmigration"),
        ("c/module.toml", "grants = [\"db:main\"]"),
    ]);
    let checked = check(&rig.custodian.setup, &rig.scan());
    assert!(!checked.is_well());
    let text = checked.to_string();
    let text = text.replace(&format!("{}/", rig.folder.path().display()), "");
    let shard = checked.modules["a"].as_ref().unwrap()[0].clone();
    assert_eq!(
        text,
        format!(
            "\
a: well
  {shard}
  imports: logging
  actions: x (clients)
  opcodes: 0x0100 (order 0)
b: refused
  b.script:1: here
c: well
  single, on worker 0
  imports: db
  grants: db:main
  also: ticker, state goes over swaps
hops:
  opcode 0x0100 (order 0) hops to `a`, a single stage; `placement = \"per-shard\"` keeps it on its sender's shard
"
        )
    );
    assert!(rig.world.log_lines().is_empty());
    assert!(Path::new(rig.folder.path()).exists());
}

#[test]
fn a_module_that_is_broken_at_the_start_is_unavailable_until_it_is_mended() {
    let mut rig = Rig::new(&[("a.script", "broken start"), ("b.script", COUNTER)]);
    let scan = rig.scan();
    let Rig {
        custodian, homes, ..
    } = &mut rig;
    let reports = homes.drive(custodian.load_all(&scan));
    assert!(matches!(reports[0].change, Change::Refused(_)));
    assert_eq!(reports[1].change, Change::Loaded(1));
    assert_eq!(rig.ask("a", "w"), "unavailable");
    rig.write("a.script", COUNTER);
    assert_eq!(rig.apply()["a"], Change::Loaded(2));
    assert_eq!(rig.ask("a", "w"), "2:1");
    std::fs::remove_file(rig.folder.path().join("a.script")).unwrap();
    rig.write("c.script", "broken");
    rig.apply();
    assert_eq!(rig.ask("c", "w"), "unavailable");
    std::fs::remove_file(rig.folder.path().join("c.script")).unwrap();
    rig.apply();
    assert_eq!(rig.ask("c", "w"), "unknown");
}

#[test]
fn a_module_with_a_name_of_its_own_goes_on_while_its_files_are_wrong() {
    let well = "name = \"game\"\nentry = \"main.script\"";
    let mut rig = Rig::new(&[("arena/module.toml", well), ("arena/main.script", COUNTER)]);
    assert_eq!(rig.apply()["game"], Change::Loaded(1));
    assert_eq!(rig.ask("game", "w"), "1:1");
    let main = rig.folder.path().join("arena/main.script");
    let wrongs = ["name = \"game\"\nquite = 1", "name = \"gam", well];
    for (n, wrong) in (2..).zip(wrongs) {
        rig.write("arena/module.toml", wrong);
        if wrong == well {
            std::fs::remove_file(&main).unwrap();
        }
        let said = rig.apply();
        assert!(matches!(said["game"], Change::Refused(_)), "{said:?}");
        assert_eq!(said.len(), 1, "{said:?}");
        assert_eq!(rig.ask("game", "w"), format!("1:{n}"), "{wrong}");
    }
    rig.write("arena/main.script", COUNTER);
    assert!(rig.apply().is_empty(), "nothing has changed after all");
    assert_eq!(rig.ask("game", "w"), "1:5");
}
