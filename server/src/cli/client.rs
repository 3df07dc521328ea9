//! The client commands: each connects, does one operation, prints what came of it, and leaves. They speak the wire through the client SDK alone.

use std::io::{IsTerminal as _, Read as _};
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::process::ExitCode;
use std::time::Duration;

use bytes::Bytes;
use cohnect_client::{
    Client, Config, ConnectError, ConnectFailure, Ending, Error, Event, Identity, Incoming, Opcode,
    PublicKey, Reason, Scope, StreamError, To,
};
use serde_json::{Value, json};
use tokio::signal::unix::{SignalKind, signal};

use crate::cli::exit::{NO_CONNECTION, SAID_NO, USAGE};
use crate::cli::{Broadcast, Call, Connection, Get, Send, Set, Stream, Tags, TagsMode};
use crate::output;
use crate::ready::Ready;

/// Why a command did not do its work.
enum Failed {
    Server(Error),
    Usage(String),
    Connection(String),
    /// The session ended while something was waited for; how it did says more than that.
    Ended(Option<Ending>),
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        match error {
            Error::Disconnected | Error::NotConnected => Self::Ended(None),
            error @ (Error::Answer(_)
            | Error::Busy
            | Error::TooLarge
            | Error::Argument(_)
            | Error::NoAnswer
            | Error::MalformedAnswer(_)) => Self::Server(error),
        }
    }
}

/// `cohnect call`
pub(crate) fn call(call: &Call) -> ExitCode {
    perform(&call.connection, async |client, _incoming| {
        let output = client
            .execute(&call.module, &call.action, input(&call.input)?)
            .await?;
        print(
            &call.connection,
            &output,
            |output| json!({ "output": output }),
        );
        Ok(())
    })
}

/// `cohnect send`
pub(crate) fn send(send: &Send) -> ExitCode {
    perform(&send.connection, async |client, _incoming| {
        let opcode = Opcode(send.opcode);
        let payload = input(&send.payload)?;
        let answer = client
            .request(opcode, send.command_version, payload)
            .await?;
        print(
            &send.connection,
            &answer,
            |answer| json!({ "answer": answer }),
        );
        Ok(())
    })
}

/// `cohnect get`
pub(crate) fn get(get: &Get) -> ExitCode {
    perform(&get.connection, async |client, _incoming| {
        match client.get(scope(&get.scope), &get.key).await? {
            Some(found) => print(
                &get.connection,
                &found.value,
                |value| json!({ "version": found.version, "value": value }),
            ),
            None => {
                let failure = cohnect_client::Failure {
                    outcome: cohnect_client::Outcome::of(cohnect_client::Detail::NOT_FOUND),
                    reason: Reason::None,
                };
                return Err(Failed::Server(Error::Answer(failure)));
            }
        }
        Ok(())
    })
}

/// `cohnect set`
pub(crate) fn set(set: &Set) -> ExitCode {
    perform(&set.connection, async |client, _incoming| {
        let scope = scope(&set.scope);
        let version = match (&set.value, set.expected) {
            (Some(value), None) => client.set(scope, &set.key, input(value)?).await?,
            (Some(value), Some(expected)) => {
                client
                    .set_if(scope, &set.key, expected, input(value)?)
                    .await?
            }
            (None, None) => client.delete(scope, &set.key).await.map(|()| 0)?,
            (None, Some(expected)) => client
                .delete_if(scope, &set.key, expected)
                .await
                .map(|()| 0)?,
        };
        if set.connection.json {
            output::line(json!({ "version": version }).to_string());
        } else if version != 0 {
            output::line(format!("version {version}"));
        }
        Ok(())
    })
}

/// `cohnect tags`
pub(crate) fn tags(tags: &Tags) -> ExitCode {
    perform(&tags.connection, async |client, _incoming| {
        let names: Vec<_> = tags.tags.iter().map(String::as_str).collect();
        let now = match tags.mode {
            TagsMode::Add => client.add_tags(&names).await?,
            TagsMode::Remove => client.remove_tags(&names).await?,
            TagsMode::Replace => client.replace_tags(&names).await?,
        };
        if tags.connection.json {
            output::line(json!({ "tags": now }).to_string());
        } else {
            now.iter().for_each(output::line);
        }
        Ok(())
    })
}

/// `cohnect stream`
pub(crate) fn stream(stream: &Stream) -> ExitCode {
    perform(&stream.connection, async |client, incoming| {
        // Heard from here on, so that the session is closed and not just left.
        let hear =
            |kind| signal(kind).map_err(|e| Failed::Usage(format!("signals cannot be heard: {e}")));
        let mut interrupt = hear(SignalKind::interrupt())?;
        let mut terminate = hear(SignalKind::terminate())?;
        let mut items = client
            .stream(&stream.topic, input(&stream.arguments)?)
            .await?;
        let mut seen = 0;
        loop {
            if stream.count.is_some_and(|count| seen >= count) {
                return Ok(());
            }
            let shown = tokio::select! {
                biased;
                _ = interrupt.recv() => return Ok(()),
                _ = terminate.recv() => return Ok(()),
                item = items.next() => match item {
                    None => return Ok(()),
                    Some(Ok(item)) => show(&stream.connection, &item, |text| json!({ "item": text })),
                    Some(Err(StreamError::Lost(count))) => {
                        output::note(format!("{count} items came faster than they were read, and are lost"));
                        false
                    }
                    Some(Err(StreamError::Ended(failure))) => return Err(Failed::Server(Error::Answer(failure))),
                    Some(Err(StreamError::Disconnected)) => return Err(Failed::Ended(None)),
                },
                event = incoming.next() => heard(stream, event)?,
            };
            seen += u64::from(shown);
        }
    })
}

/// What came beside the items; true when it was shown.
fn heard(stream: &Stream, event: Option<Event>) -> Result<bool, Failed> {
    match event {
        Some(Event::Broadcast(message)) if message.topic() == stream.topic => {
            let sender = message.sender.map(|id| id.to_string());
            Ok(show(
                &stream.connection,
                &message.payload,
                |text| json!({ "broadcast": text, "sender": sender }),
            ))
        }
        Some(Event::Disconnected(ending)) => Err(Failed::Ended(Some(ending))),
        None => Err(Failed::Ended(None)),
        Some(
            Event::Broadcast(_)
            | Event::Message(_)
            | Event::Stream(_)
            | Event::Connected { .. }
            | Event::Away
            | Event::Back
            | Event::Lost(_),
        ) => Ok(false),
    }
}

/// `cohnect broadcast`
pub(crate) fn broadcast(broadcast: &Broadcast) -> ExitCode {
    perform(&broadcast.connection, async |client, _incoming| {
        let payload = input(&broadcast.payload)?;
        let to = match &broadcast.tagged {
            Some(expression) => To::Tagged(expression),
            None if broadcast.everyone => To::Everyone,
            None => To::Subscribers,
        };
        let reached = if broadcast.not_me {
            client
                .broadcast_to_others(&broadcast.topic, to, payload)
                .await?
        } else {
            client.broadcast(&broadcast.topic, to, payload).await?
        };
        if broadcast.connection.json {
            output::line(json!({ "recipients": reached }).to_string());
        } else {
            output::line(reached.to_string());
        }
        Ok(())
    })
}

/// How long a command waits for the reason of an end that it has heard of.
const ENDING: Duration = Duration::from_secs(1);

/// Connects, does the work, leaves, and says what went wrong with the exit code that belongs to it.
fn perform(
    connection: &Connection,
    work: impl AsyncFnOnce(&Client, &mut Incoming) -> Result<(), Failed>,
) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(e) => {
            return fail(
                connection,
                &Failed::Connection(format!("the runtime cannot be started: {e}")),
            );
        }
    };
    let done = runtime.block_on(async {
        let (client, mut incoming) = connect(connection).await?;
        let mut done = work(&client, &mut incoming).await;
        if let Err(Failed::Ended(how @ None)) = &mut done {
            // Who waits for an answer hears of the end first, and of its reason at once after it.
            *how = tokio::time::timeout(ENDING, client.ended()).await.ok();
        }
        drop(incoming);
        drop(tokio::time::timeout(Duration::from_secs(1), client.close()).await);
        done
    });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failed) => fail(connection, &failed),
    }
}

async fn connect(connection: &Connection) -> Result<(Client, Incoming), Failed> {
    let (addresses, key) = server(connection)?;
    let identity = match &connection.identity {
        Some(file) => {
            Some(Identity::load_or_create(file).map_err(|e| Failed::Usage(e.to_string()))?)
        }
        None => None,
    };
    // One after the other: two sessions of one identity would supersede each other.
    let patience = connection.timeout / u32::try_from(addresses.len()).unwrap_or(u32::MAX).max(1);
    let mut failed = None;
    for server in addresses {
        let mut config = Config::new(server, key)
            .timeout(connection.timeout)
            .reconnect(false);
        if let Some(identity) = &identity {
            config = config.identity(identity.clone());
        }
        match try_server(config, server, key, patience).await {
            Ok(connected) => return Ok(connected),
            Err(e) => failed = Some(e),
        }
    }
    Err(failed.unwrap_or_else(|| Failed::Connection("the server's name has no address".into())))
}

async fn try_server(
    config: Config,
    server: SocketAddr,
    key: PublicKey,
    patience: Duration,
) -> Result<(Client, Incoming), Failed> {
    match tokio::time::timeout(patience, Client::connect(config)).await {
        Ok(Ok(connected)) => Ok(connected),
        Ok(Err(ConnectError::Socket(e))) => {
            Err(Failed::Connection(format!("no socket for {server}: {e}")))
        }
        Ok(Err(ConnectError::Ended(Ending::Failed(
            failure @ (ConnectFailure::Refused(_) | ConnectFailure::ServerMisbehaved),
        )))) => Err(Failed::Connection(format!("{server}: {failure}"))),
        Ok(Err(ConnectError::Ended(
            ending @ (Ending::Closed { .. } | Ending::Lost { .. } | Ending::Left),
        ))) => Err(Failed::Connection(format!("{server}: {ending}"))),
        Ok(Err(ConnectError::Ended(Ending::Failed(ConnectFailure::NoAnswer { .. })))) | Err(_) => {
            Err(Failed::Connection(format!(
                "{server} does not answer. A server is silent when it does not run there, when a firewall stands between, when its key is not the one \
             that was given (key {}…), or when it wants a `psk_file`, which these commands do not have",
                &key.to_string()[..8]
            )))
        }
    }
}

/// Addresses of one name that are tried at most; the names of a machine have two.
const ADDRESSES_MAX: usize = 4;

/// Where the server may be, and its key.
fn server(connection: &Connection) -> Result<(Vec<SocketAddr>, PublicKey), Failed> {
    let (address, key) = match (&connection.server, &connection.server_key) {
        (Some(address), Some(key)) => (address.clone(), key.clone()),
        _ => {
            let here = std::env::current_dir()
                .map_err(|e| Failed::Usage(format!("the current folder is not to be had: {e}")))?;
            let file = Ready::find(&here).ok_or_else(|| {
                Failed::Usage(
                    "no server is named: there is no .cohnect/server.json here or above. Run this beside `cohnect dev`, or give --server ADDR --key HEX"
                        .into(),
                )
            })?;
            let ready = Ready::read(&file).map_err(|e| Failed::Usage(format!("{e:#}")))?;
            if ready.is_gone() {
                return Err(Failed::Connection(format!(
                    "the server that wrote {} no longer runs (its process was {}). Start it again with `cohnect dev`, or give --server ADDR --key HEX",
                    file.display(),
                    ready.pid
                )));
            }
            (ready.udp.to_string(), ready.server_key)
        }
    };
    let key = key
        .parse()
        .map_err(|e| Failed::Usage(format!("--key: {e}")))?;
    let found = address.to_socket_addrs().map_err(|e| {
        let text = format!("--server {address}: {e}");
        // What has no form is the caller's mistake; a name that is not found now may be found later.
        if e.kind() == std::io::ErrorKind::InvalidInput {
            Failed::Usage(text)
        } else {
            Failed::Connection(text)
        }
    })?;
    // `localhost` is two addresses, of which a server has the first of the older kind.
    let (mut addresses, newer): (Vec<_>, Vec<_>) = found.partition(SocketAddr::is_ipv4);
    addresses.extend(newer);
    addresses.truncate(ADDRESSES_MAX);
    Ok((addresses, key))
}

fn scope(name: &str) -> Scope<'_> {
    match name {
        "shared" => Scope::Shared,
        "mine" => Scope::Mine,
        name => Scope::Named(name),
    }
}

/// Text, `@FILE`, or `-` for standard input.
fn input(text: &str) -> Result<Vec<u8>, Failed> {
    if text == "-" {
        let mut bytes = Vec::new();
        // More than this the server does not take; the rest need not be read.
        let most = 1 << 20;
        std::io::stdin()
            .lock()
            .take(most)
            .read_to_end(&mut bytes)
            .map_err(|e| Failed::Usage(format!("standard input: {e}")))?;
        return Ok(bytes);
    }
    match text.strip_prefix('@') {
        Some(file) => std::fs::read(file).map_err(|e| Failed::Usage(format!("{file}: {e}"))),
        None => Ok(text.as_bytes().to_vec()),
    }
}

/// Bytes as JSON: text as it is, JSON as itself, anything else in hex.
fn value(bytes: &Bytes) -> Value {
    core::str::from_utf8(bytes).map_or_else(
        |_| json!({ "hex": crate::keys::hex(bytes) }),
        |text| {
            serde_json::from_str(text)
                .ok()
                .filter(|v: &Value| v.is_object() || v.is_array())
                .unwrap_or_else(|| Value::String(text.to_owned()))
        },
    )
}

fn print(connection: &Connection, bytes: &Bytes, as_json: impl FnOnce(Value) -> Value) {
    if connection.json {
        output::line(as_json(value(bytes)).to_string());
    } else {
        output::raw(bytes);
        // A person's prompt stands on a line of its own; a pipe gets the bytes and nothing else.
        if std::io::stdout().is_terminal() {
            output::raw(b"\n");
        }
    }
}

fn show(connection: &Connection, bytes: &Bytes, as_json: impl FnOnce(Value) -> Value) -> bool {
    if connection.json {
        output::line(as_json(value(bytes)).to_string());
    } else {
        output::raw(bytes);
        output::raw(b"\n");
    }
    true
}

fn fail(connection: &Connection, failed: &Failed) -> ExitCode {
    let (code, text) = match failed {
        Failed::Server(error) => match error {
            Error::Answer(_) | Error::MalformedAnswer(_) => (SAID_NO, error.to_string()),
            Error::Argument(_) | Error::TooLarge => (USAGE, error.to_string()),
            Error::NotConnected | Error::Busy | Error::NoAnswer | Error::Disconnected => {
                (NO_CONNECTION, error.to_string())
            }
        },
        Failed::Usage(text) => (USAGE, text.clone()),
        Failed::Ended(None) => (NO_CONNECTION, "the session ended".into()),
        Failed::Ended(Some(ending)) => (NO_CONNECTION, format!("the session ended: {ending}")),
        Failed::Connection(text) => (NO_CONNECTION, text.clone()),
    };
    if connection.json {
        output::line(failure(failed, &text).to_string());
    }
    output::note(text);
    ExitCode::from(code)
}

fn failure(failed: &Failed, text: &str) -> Value {
    if let Failed::Ended(Some(Ending::Closed { code, text: words })) = failed {
        return json!({ "error": text, "close": code.0, "name": code.to_string(), "message": words });
    }
    let Failed::Server(Error::Answer(answer)) = failed else {
        return json!({ "error": text });
    };
    let mut shown = json!({
        "error": text,
        "status": if answer.outcome.status() == cohnect_client::Status::Bad { "BAD" } else { "ERR" },
        "detail": answer.detail().0,
        "name": answer.detail().name(),
    });
    match &answer.reason {
        Reason::Refused { code, text } => {
            shown["code"] = json!(code);
            shown["message"] = json!(text);
        }
        Reason::Conflict { version } => shown["version"] = json!(version),
        Reason::Text(text) => shown["message"] = json!(text),
        Reason::None | Reason::Bytes(_) => {}
    }
    shown
}
