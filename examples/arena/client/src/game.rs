//! One seat, or one place to watch from: a connection, its streams, and what can be done in the game.

use anyhow::Context as _;
use cohnect_client::{
    Client, Config, Event, Incoming, Mode, Opcode, StreamError, Subscription, To,
};
use serde::Deserialize;

use crate::world::{Roster, World};

/// The opcode of an input.
const INPUT: Opcode = Opcode(0x0101);
/// The chat's topic.
const CHAT: &str = "chat/arena";

/// A place in the arena.
pub(crate) struct Game {
    client: Client,
    incoming: Incoming,
    world: Subscription,
    roster: Subscription,
    _chat: Subscription,
    /// The own number; none for who watches.
    pub(crate) number: Option<u8>,
    /// The arena in cells.
    pub(crate) size: (u16, u16),
}

/// What happened.
pub(crate) enum Happening {
    World(World),
    Roster(Roster),
    Chat(String),
    /// For a line of its own: connection news, lost items.
    News(String),
    End(String),
}

#[derive(Deserialize)]
struct Joined {
    number: u8,
    width: u16,
    height: u16,
}

/// Connects, and joins under a name if there is one.
pub(crate) async fn join(config: Config, name: Option<&str>) -> anyhow::Result<Game> {
    let (client, incoming) = Client::connect(config)
        .await
        .context("the arena does not answer")?;
    let world = client
        .stream("arena/world", "")
        .await
        .context("the world cannot be watched: is `arena` loaded?")?;
    let roster = client
        .stream("arena/roster", "")
        .await
        .context("the roster cannot be watched")?;
    let chat = client
        .stream(CHAT, "")
        .await
        .context("the chat cannot be heard")?;
    let mut game = Game {
        client,
        incoming,
        world,
        roster,
        _chat: chat,
        number: None,
        size: (60, 24),
    };
    if let Some(name) = name {
        let answer = game
            .client
            .execute("arena", "join", name)
            .await
            .context("no seat in the arena")?;
        let joined: Joined = serde_json::from_slice(&answer)
            .context("the arena answered something else than a seat")?;
        game.number = Some(joined.number);
        game.size = (joined.width, joined.height);
    }
    Ok(game)
}

impl Game {
    /// What happens next.
    pub(crate) async fn next(&mut self) -> Happening {
        loop {
            let happening = tokio::select! {
                item = self.world.next() => read(item, |bytes| World::decode(bytes).map(Happening::World)),
                item = self.roster.next() => read(item, |bytes| serde_json::from_slice(bytes).ok().map(Happening::Roster)),
                event = self.incoming.next() => heard(event),
            };
            if let Some(happening) = happening {
                return happening;
            }
        }
    }

    /// Says where to run, and whether to shoot. The newest input wins; a lost one does not matter.
    pub(crate) fn input(&self, dx: i8, dy: i8, shoot: bool) {
        let client = self.client.with_delivery(Mode::UnreliableSequenced, 1);
        // Without a session there is nobody to steer.
        drop(client.send(
            INPUT,
            0,
            vec![dx.cast_unsigned(), dy.cast_unsigned(), u8::from(shoot)],
        ));
    }

    /// Says something to everybody who listens; an answer that says no comes back as text.
    pub(crate) async fn say(&self, text: &str) -> Option<String> {
        self.client
            .broadcast(CHAT, To::Subscribers, text)
            .await
            .err()
            .map(|e| e.to_string())
    }

    /// The round trip to the server in milliseconds.
    pub(crate) fn rtt_ms(&self) -> Option<f64> {
        self.client.rtt().map(|rtt| rtt.as_secs_f64() * 1000.0)
    }

    /// Leaves the arena and the server.
    pub(crate) async fn leave(self) {
        if self.number.is_some() {
            drop(self.client.execute("arena", "leave", "").await);
        }
        self.client.close().await;
    }
}

fn read(
    item: Option<Result<bytes::Bytes, StreamError>>,
    decode: impl Fn(&[u8]) -> Option<Happening>,
) -> Option<Happening> {
    match item {
        Some(Ok(bytes)) => decode(&bytes),
        Some(Err(StreamError::Lost(_))) => None,
        Some(Err(e @ (StreamError::Ended(_) | StreamError::Disconnected))) => {
            Some(Happening::End(format!("the arena ended: {e}")))
        }
        None => Some(Happening::End("the arena ended".into())),
    }
}

fn heard(event: Option<Event>) -> Option<Happening> {
    match event {
        Some(Event::Broadcast(message)) => {
            let sender = message
                .sender
                .map_or_else(|| "server".to_owned(), |id| id.to_string()[..8].to_owned());
            Some(Happening::Chat(format!(
                "{sender}: {}",
                String::from_utf8_lossy(&message.payload)
            )))
        }
        Some(Event::Disconnected(ending)) => Some(Happening::End(ending.to_string())),
        Some(Event::Away) => Some(Happening::News("the server is silent".into())),
        Some(Event::Back) => Some(Happening::News("the server is back".into())),
        Some(Event::Message(_) | Event::Stream(_) | Event::Connected { .. } | Event::Lost(_)) => {
            None
        }
        None => Some(Happening::End("the connection ended".into())),
    }
}
