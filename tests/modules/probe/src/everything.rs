//! Every function that never waits, called once; each answers with a line.

use cohnect_module::clients::{Addressed, SendOptions};
use cohnect_module::feature_flags::Subject;
use cohnect_module::logging::Level;
use cohnect_module::prelude::*;

/// The client that a test has connected, and one that nobody knows.
const ADA: ClientId = ClientId { hi: 1, lo: 1 };
const NOBODY: ClientId = ClientId { hi: 9, lo: 9 };

pub fn everything() -> Result<Vec<String>, Error> {
    let mut lines = Vec::new();
    clients_and_tags(&mut lines)?;
    values(&mut lines)?;
    effects(&mut lines)?;
    lookups(&mut lines)?;
    Ok(lines)
}

fn clients_and_tags(lines: &mut Vec<String>) -> Result<(), Error> {
    let options = SendOptions {
        channel: 3,
        ..SendOptions::default()
    };
    clients::send(ADA, 0x0100, b"one", options)?;
    lines.push(format!(
        "send {:?}",
        clients::send(NOBODY, 0x0100, b"one", options)
    ));
    let all = clients::send_to(&Audience::Everyone, 0x0101, b"all", options, Some(NOBODY))?;
    lines.push(format!("send-to {all}"));
    let items = [
        Addressed {
            to: ADA,
            payload: b"a".to_vec(),
        },
        Addressed {
            to: NOBODY,
            payload: b"b".to_vec(),
        },
    ];
    lines.push(format!(
        "send-each {}",
        clients::send_each(&items, 0x0102, options)?
    ));
    lines.push(format!(
        "broadcast {}",
        clients::broadcast("chat", &Audience::Tagged("red".into()), b"hi", options)?
    ));
    lines.push(format!(
        "online {} {}",
        clients::online(ADA),
        clients::online(NOBODY)
    ));
    lines.push(format!(
        "online-users {:?}",
        clients::online_users(&["ada".into()])
    ));
    lines.push(format!("info {}", clients::info(ADA)?.address));
    lines.push(format!(
        "ids {:?}",
        clients::ids(&Audience::Clients(vec![ADA, NOBODY]), None, 0)?
    ));
    lines.push(format!(
        "infos {}",
        clients::infos(&Audience::Everyone, None, 0)?.len()
    ));
    lines.push(format!(
        "count {} {:?}",
        clients::count(&Audience::Everyone)?,
        clients::count(&Audience::Members)
    ));
    clients::disconnect(ADA, CloseReason::Kicked, "go")?;
    lines.push(format!(
        "tags {} {} {}",
        tags::add(ADA, "blue")?,
        tags::has(ADA, "blue"),
        tags::remove(ADA, "blue")?
    ));
    tags::replace(ADA, &["x".into(), "y".into()])?;
    lines.push(format!("of {:?}", tags::of(ADA)?));
    Ok(())
}

fn values(lines: &mut Vec<String>) -> Result<(), Error> {
    lines.push(format!("get {:?}", state::get(&Scope::Module, "key")));
    let version = state::set(&Scope::Module, "key", b"value", 0)?;
    lines.push(format!(
        "conflict {:?}",
        state::compare_and_set(&Scope::Module, "key", version + 1, b"other", 0)
    ));
    state::compare_and_set(&Scope::Module, "key", version, b"other", 0)?;
    lines.push(format!(
        "add {} {}",
        state::add(&Scope::Named("n".into()), "c", 5, 0)?,
        state::add(&Scope::Named("n".into()), "c", -2, 0)?
    ));
    let many = state::get_many(&Scope::Module, &["key".into(), "none".into()])?;
    lines.push(format!("get-many {}", many.len()));
    let scan = state::scan(&Scope::Module, "k", None, 10)?;
    lines.push(format!(
        "scan {}={}",
        scan[0].key,
        String::from_utf8_lossy(&scan[0].value)
    ));
    lines.push(format!(
        "remove {} {}",
        state::remove(&Scope::Module, "key")?,
        state::remove(&Scope::Client(ADA), "key")?
    ));
    lines.push(format!(
        "ttl {:?}",
        state::set(&Scope::Room, "key", b"v", 1)
    ));
    lines.push(format!("apply {:?}", state::apply(&[])));
    Ok(())
}

fn effects(lines: &mut Vec<String>) -> Result<(), Error> {
    mailbox::send("bank", "pay", b"5")?;
    mailbox::request("bank", "ask", b"?", "tag", 1_000)?;
    lines.push(format!("mail {:?}", mailbox::send("nobody", "pay", b"")));
    lines.push(format!(
        "publish {}",
        streams::publish("news", b"item", Delivery::Unreliable)?
    ));
    streams::publish_one("news", ADA, b"item", Delivery::ReliableOrdered)?;
    streams::attach("more", ADA)?;
    lines.push(format!(
        "detach {} {}",
        streams::detach("more", ADA)?,
        streams::detach("more", NOBODY)?
    ));
    lines.push(format!("finish {}", streams::finish("news", "over")?));
    timers::set("once", 1_000, b"data")?;
    timers::every("often", 20_000, b"")?;
    lines.push(format!(
        "due {} {}",
        timers::due("once")?,
        timers::cancel("often")
    ));
    timers::set_tick_rate(30)?;
    lines.push(format!(
        "tick-rate {:?}",
        timers::set_tick_rate(100_000).is_err()
    ));
    signals::raise("go", b"body")?;
    Ok(())
}

fn lookups(lines: &mut Vec<String>) -> Result<(), Error> {
    let who = Subject {
        client: Some(ADA),
        user: Some("ada".into()),
        attributes: Vec::new(),
    };
    lines.push(format!(
        "flags {} {} {:?} {:?}",
        feature_flags::enabled("on", false),
        feature_flags::enabled_for("missing", &who, true),
        feature_flags::value("size", &who),
        feature_flags::value("missing", &Subject::default()),
    ));
    lines.push(format!(
        "log {} {}",
        logging::enabled(Level::Trace),
        logging::enabled(Level::Error)
    ));
    logging::log(
        Level::Warn,
        "a line",
        &[Field {
            key: "n".into(),
            value: Scalar::Number(1.5),
        }],
    );
    lines.push(format!("now {} {}", clock::now(), clock::remaining() > 0));
    let _ = clock::monotonic();
    let noon = clock::civil(1_700_000_000_000_000, "")?;
    lines.push(format!(
        "civil {}-{} {}",
        noon.year, noon.month, noon.weekday
    ));
    lines.push(format!("zone {:?}", clock::civil(0, "Nowhere/Land")));
    lines.push(format!(
        "next-due {}",
        clock::next_due("0 0 * * *", "", 1_700_000_000_000_000)?
    ));
    let low = random::integer(3, 4);
    lines.push(format!(
        "random {} {} {}",
        (3..=4).contains(&low),
        random::number() < 1.0,
        random::bytes(5).len()
    ));
    let _ = random::next();
    lines.push(format!(
        "config {:?} {:?} {:?}",
        config::get("name"),
        config::get("none"),
        config::secret("token")
    ));
    lines.push(format!("secret {:?}", config::secret("other")));
    Ok(())
}
