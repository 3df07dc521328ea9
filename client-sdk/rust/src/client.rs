//! The handle through which a program uses a server: connecting, the operations, leaving.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cohnect_protocol::ops::broadcast::{Audience, ExpressionText};
use cohnect_protocol::ops::{
    Body, Detail, ListedTag, Malformed, Name8, Scope, Tag, broadcast, execute, get, set, stream,
    tags,
};
use cohnect_protocol::{ClientEndpoint, Mode, Opcode, Outgoing, PeerId};

use crate::clock::Clock;
use crate::config::{Config, Options};
use crate::connection::{Connection, Handle, Phase};
use crate::driver::{self, Driver};
use crate::{Ending, Error, Incoming, OsEntropy, Subscription};

/// A connection to a server, cheap to clone. The connection lives until the last handle, [`Subscription`] and [`Incoming`] of it is dropped,
/// and comes back by itself when it is lost (see [`Config::reconnect`]); requests that were on their way then fail with
/// [`Error::Disconnected`], and requests without a session with [`Error::NotConnected`].
///
/// ```no_run
/// use cohnect_client::{Client, Config, Scope};
///
/// # async fn example(config: Config) -> Result<(), Box<dyn std::error::Error>> {
/// let (client, _) = Client::connect(config).await?;
/// let output = client.execute("hello", "greet", "Ada").await?;
/// println!("{}", String::from_utf8_lossy(&output));
/// let visits = client.get(Scope::Shared, "visits").await?;
/// println!("{visits:?}");
/// client.close().await;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Client {
    handle: Arc<Handle>,
    options: Options,
    id: PeerId,
}

/// Where a value lives, by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScopeName<'a> {
    /// One for the whole server.
    Shared,
    /// This client's own.
    Mine,
    /// One that the server's modules or operator named.
    Named(&'a str),
}

/// A value and its version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Versioned {
    /// For guarded writes.
    pub version: u64,
    /// The value.
    pub value: Bytes,
}

/// To whom a broadcast goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum To<'a> {
    /// The clients with an open stream on the topic.
    Subscribers,
    /// Everyone.
    Everyone,
    /// Those whose tags fit this expression, as `red & !~away`.
    Tagged(&'a str),
}

impl Client {
    /// Connects. The second half of what is returned is everything that comes unasked; who has no use for it drops it.
    ///
    /// # Errors
    /// [`ConnectError`] when there is no socket, or the server did not answer, or it refused.
    pub async fn connect(config: Config) -> Result<(Self, Incoming), ConnectError> {
        let socket = driver::socket(config.server, config.bind)
            .await
            .map_err(ConnectError::Socket)?;
        let clock = Clock::start();
        let id = config.identity.id();
        let endpoint = ClientEndpoint::new(config.endpoint(), Box::new(OsEntropy));
        let connection = Connection::new(endpoint, clock, config.queue);
        let handle = Handle::new(Arc::clone(&connection));
        let driver = Driver {
            connection: Arc::clone(&connection),
            socket,
            clock,
            server: config.server,
            bind: config.bind,
            reconnect: config.reconnect,
            patience_ends: clock.now().monotonic.plus(config.patience),
        };
        tokio::spawn(driver.run());
        let client = Self {
            handle: Arc::clone(&handle),
            options: config.options,
            id,
        };
        let incoming = Incoming::new(connection.incoming(), handle);
        client.connected().await.map_err(ConnectError::Ended)?;
        Ok((client, incoming))
    }

    /// The UUID by which the server and other clients know this client.
    #[must_use]
    pub const fn id(&self) -> PeerId {
        self.id
    }

    /// Whether there is a session now.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        *self.connection().phase.borrow() == Phase::Connected
    }

    /// Waits until there is a session.
    ///
    /// # Errors
    /// How the client ended, if there will be none any more.
    pub async fn connected(&self) -> Result<(), Ending> {
        self.phase(|phase| match phase {
            Phase::Connecting => None,
            Phase::Connected => Some(Ok(())),
            Phase::Ended(ending) => Some(Err(ending.clone())),
        })
        .await
    }

    /// Waits for the client's end.
    pub async fn ended(&self) -> Ending {
        self.phase(|phase| match phase {
            Phase::Connecting | Phase::Connected => None,
            Phase::Ended(ending) => Some(ending.clone()),
        })
        .await
    }

    async fn phase<T>(&self, wanted: impl Fn(&Phase) -> Option<T>) -> T {
        let mut phase = self.connection().phase.subscribe();
        loop {
            let found = wanted(&phase.borrow_and_update());
            if let Some(found) = found {
                return found;
            }
            // The sender lives in the connection, which this handle keeps.
            let _ = phase.changed().await;
        }
    }

    /// Leaves: what is on its way is waited for, at most a second, then the server hears goodbye. Every handle of this client is of no use
    /// afterwards.
    pub async fn close(self) {
        self.connection().leave();
        self.ended().await;
    }

    /// The smoothed round trip to the server; none without a session.
    #[must_use]
    pub fn rtt(&self) -> Option<Duration> {
        self.connection()
            .with_endpoint(|endpoint, _| endpoint.session().map(|session| session.rtt()))
    }

    /// A handle whose requests time out after this.
    #[must_use]
    pub fn with_timeout(&self, timeout: Duration) -> Self {
        let mut other = self.clone();
        other.options.timeout = timeout;
        other
    }

    /// A handle whose requests and messages travel like this. Channels are 0 to 31.
    ///
    /// An unreliable request is sent once: when it or its answer is lost, it times out. A sequenced one cannot be asked; requests of such a
    /// handle are unreliable.
    #[must_use]
    pub fn with_delivery(&self, mode: Mode, channel: u8) -> Self {
        let mut other = self.clone();
        (other.options.mode, other.options.channel) = (mode, channel);
        other
    }

    /// GET: reads a value; none when there is none.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn get(&self, scope: ScopeName<'_>, key: &str) -> Result<Option<Versioned>, Error> {
        let request = get::Request {
            scope: scope.name()?,
            key: name(key, "key")?,
        };
        let answer = match self.ask(Opcode::GET, &request).await {
            Ok(answer) => answer,
            Err(error) if error.detail() == Some(Detail::NOT_FOUND) => return Ok(None),
            Err(error) => return Err(error),
        };
        let found = get::Response::decode(&answer).map_err(Error::MalformedAnswer)?;
        Ok(Some(Versioned {
            version: found.version,
            value: answer.slice_ref(found.value),
        }))
    }

    /// SET: writes a value, whatever was there, and returns its version.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn set(
        &self,
        scope: ScopeName<'_>,
        key: &str,
        value: impl AsRef<[u8]>,
    ) -> Result<u64, Error> {
        self.write(scope, key, None, Some(value.as_ref())).await
    }

    /// SET, guarded: writes a value if this version is there (0: none at all), and returns the new version.
    ///
    /// # Errors
    /// *conflict*, with the version that is there as [`Reason::Conflict`](crate::Reason::Conflict); else see [`Error`].
    pub async fn set_if(
        &self,
        scope: ScopeName<'_>,
        key: &str,
        expected: u64,
        value: impl AsRef<[u8]>,
    ) -> Result<u64, Error> {
        let value = Some(value.as_ref());
        self.write(scope, key, Some(expected), value).await
    }

    /// SET, delete: removes a value, if there is one.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn delete(&self, scope: ScopeName<'_>, key: &str) -> Result<(), Error> {
        self.write(scope, key, None, None).await.map(drop)
    }

    /// SET, delete, guarded: removes a value if this version is there.
    ///
    /// # Errors
    /// *conflict*, as with [`set_if`](Self::set_if); else see [`Error`].
    pub async fn delete_if(
        &self,
        scope: ScopeName<'_>,
        key: &str,
        expected: u64,
    ) -> Result<(), Error> {
        self.write(scope, key, Some(expected), None).await.map(drop)
    }

    async fn write(
        &self,
        scope: ScopeName<'_>,
        key: &str,
        expected: Option<u64>,
        value: Option<&[u8]>,
    ) -> Result<u64, Error> {
        let request = set::Request {
            scope: scope.name()?,
            key: name(key, "key")?,
            expected,
            value,
        };
        let answer = self.ask(Opcode::SET, &request).await?;
        let written = set::Response::decode(&answer).map_err(Error::MalformedAnswer)?;
        Ok(written.version)
    }

    /// SET_CLIENT_TAGS: these become all of the client's own tags. Like the two below it returns all tags that the client has afterwards: those
    /// it was given, and its own with a `~` before them.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn replace_tags(&self, tags: &[&str]) -> Result<Vec<String>, Error> {
        self.change_tags(tags::Mode::Replace, tags).await
    }

    /// SET_CLIENT_TAGS: these join the client's own tags.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn add_tags(&self, tags: &[&str]) -> Result<Vec<String>, Error> {
        self.change_tags(tags::Mode::Add, tags).await
    }

    /// SET_CLIENT_TAGS: these leave the client's own tags.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn remove_tags(&self, tags: &[&str]) -> Result<Vec<String>, Error> {
        self.change_tags(tags::Mode::Remove, tags).await
    }

    async fn change_tags(&self, mode: tags::Mode, tags: &[&str]) -> Result<Vec<String>, Error> {
        let tags: Result<Vec<_>, _> = tags.iter().map(|text| Tag::new(text)).collect();
        let request = tags
            .and_then(|tags| tags::Request::new(mode, tags))
            .map_err(Error::Argument)?;
        let answer = self.ask(Opcode::SET_CLIENT_TAGS, &request).await?;
        let listed = tags::Response::decode(&answer).map_err(Error::MalformedAnswer)?;
        Ok(listed.tags().iter().map(ListedTag::to_string).collect())
    }

    /// EXECUTE: calls an action of a module, `arena` or one instance of it, `arena#room-17`.
    ///
    /// # Errors
    /// A module's own no is *refused*, with its words as [`Reason::Refused`](crate::Reason::Refused); else see [`Error`].
    pub async fn execute(
        &self,
        module: &str,
        action: &str,
        input: impl AsRef<[u8]>,
    ) -> Result<Bytes, Error> {
        let request = execute::Request {
            module: name(module, "module")?,
            action: name(action, "action")?,
            input: input.as_ref(),
        };
        self.ask(Opcode::EXECUTE, &request).await
    }

    /// STREAM: opens a stream on a topic.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn stream(
        &self,
        topic: &str,
        arguments: impl AsRef<[u8]>,
    ) -> Result<Subscription, Error> {
        let request = stream::Request::Open {
            topic: name(topic, "topic")?,
            arguments: arguments.as_ref(),
        };
        let mut message = self.message(Opcode::STREAM, 0, request.to_bytes());
        if !message.mode.is_reliable() {
            message.mode = Mode::ReliableOrdered;
        }
        let (waiting, queue) = self.connection().open_stream(message)?;
        let handle = Arc::clone(&self.handle);
        // Dropped by an error or by the caller, it closes what may have been opened.
        let opened = Subscription::new(waiting.id, topic.to_owned(), queue, handle);
        waiting.answer(self.options.timeout).await?;
        Ok(opened)
    }

    /// BROADCAST: sends to many, and returns for how many clients it was queued.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn broadcast(
        &self,
        topic: &str,
        to: To<'_>,
        payload: impl AsRef<[u8]>,
    ) -> Result<u32, Error> {
        self.publish(topic, to, false, payload.as_ref()).await
    }

    /// BROADCAST, but not to this client itself.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn broadcast_to_others(
        &self,
        topic: &str,
        to: To<'_>,
        payload: impl AsRef<[u8]>,
    ) -> Result<u32, Error> {
        self.publish(topic, to, true, payload.as_ref()).await
    }

    async fn publish(
        &self,
        topic: &str,
        to: To<'_>,
        not_me: bool,
        payload: &[u8],
    ) -> Result<u32, Error> {
        let request = broadcast::Request {
            topic: name(topic, "topic")?,
            audience: to.audience()?,
            not_me,
            payload,
        };
        let answer = self.ask(Opcode::BROADCAST, &request).await?;
        let reached = broadcast::Response::decode(&answer).map_err(Error::MalformedAnswer)?;
        Ok(reached.recipients)
    }

    /// A request on an opcode of the modules (at least 0x0100), or on any other: the body is the caller's.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn request(
        &self,
        opcode: Opcode,
        version: u8,
        body: impl Into<Bytes>,
    ) -> Result<Bytes, Error> {
        let mut message = self.message(opcode, version, body.into());
        if message.mode == Mode::UnreliableSequenced {
            message.mode = Mode::Unreliable;
        }
        let waiting = self.connection().request(message)?;
        waiting.answer(self.options.timeout).await
    }

    /// A message without an answer, on an opcode of the modules (at least 0x0100) or any other. It is on its way when this returns.
    ///
    /// # Errors
    /// [`Error::NotConnected`], [`Error::Busy`] or [`Error::TooLarge`].
    pub fn send(&self, opcode: Opcode, version: u8, body: impl Into<Bytes>) -> Result<(), Error> {
        self.connection()
            .send(self.message(opcode, version, body.into()))
    }

    async fn ask<'a>(&self, opcode: Opcode, body: &impl Body<'a>) -> Result<Bytes, Error> {
        self.request(opcode, 0, body.to_bytes()).await
    }

    const fn message(&self, opcode: Opcode, version: u8, body: Bytes) -> Outgoing {
        Outgoing {
            opcode,
            version,
            channel: self.options.channel,
            mode: self.options.mode,
            body,
        }
    }

    fn connection(&self) -> &Arc<Connection> {
        self.handle.connection()
    }
}

impl<'a> ScopeName<'a> {
    fn name(self) -> Result<Scope<'a>, Error> {
        Ok(match self {
            Self::Shared => Scope::Shared,
            Self::Mine => Scope::Mine,
            Self::Named(text) => Scope::Named(name(text, "scope's name")?),
        })
    }
}

impl<'a> To<'a> {
    fn audience(self) -> Result<Audience<'a>, Error> {
        match self {
            Self::Subscribers => Ok(Audience::Subscribers),
            Self::Everyone => Ok(Audience::Everyone),
            Self::Tagged(text) => ExpressionText::new(text)
                .and_then(|text| text.parse().map(|_| Audience::Tagged(text)))
                .map_err(Error::Argument),
        }
    }
}

fn name<'a>(text: &'a str, what: &'static str) -> Result<Name8<'a>, Error> {
    Name8::new(text).ok_or(Error::Argument(Malformed::Name(what)))
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The operating system gave no socket for this server.
    #[error("no socket for the server's address: {0}")]
    Socket(std::io::Error),
    /// No session came to be, or it ended at once.
    #[error("{0}")]
    Ended(Ending),
}
