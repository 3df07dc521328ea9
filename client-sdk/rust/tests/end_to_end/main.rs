//! The client against a server of the test's own, over loopback sockets: every operation, what goes wrong, and coming back.
#![allow(clippy::unwrap_used, reason = "in a test a panic is the failure")]

mod server;

use std::time::Duration;

use bytes::Bytes;
use cohnect_client::{
    Client, CloseCode, Config, ConnectError, ConnectFailure, Detail, Ending, Error, Event,
    Identity, Incoming, Mode, Opcode, PublicKey, Reason, Scope, StreamError, To,
};
use cohnect_protocol::ops::{Name8, stream};
use futures_util::StreamExt;
use server::{Server, config};

/// A client whose session the server knows of, which it does from the first datagram on that comes after the handshake.
async fn connected(server: &Server) -> (Client, Incoming) {
    let (client, incoming) = Client::connect(config(server, Identity::generate()))
        .await
        .unwrap();
    client.execute("any", "echo", "").await.unwrap();
    (client, incoming)
}

/// Waits for something, but not for ever: a test that hangs says nothing.
async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), what)
        .await
        .expect("in time")
}

#[tokio::test]
async fn every_operation_is_answered() {
    let server = Server::start().await;
    let (client, _incoming) = connected(&server).await;

    assert_eq!(client.get(Scope::Shared, "k").await, Ok(None));
    let version = client.set(Scope::Shared, "k", "v").await.unwrap();
    let found = client.get(Scope::Shared, "k").await.unwrap().unwrap();
    assert_eq!((found.version, &found.value[..]), (version, &b"v"[..]));
    assert_eq!(client.get(Scope::Mine, "k").await, Ok(None));

    let error = client.set_if(Scope::Shared, "k", 0, "w").await.unwrap_err();
    assert_eq!(error.detail(), Some(Detail::CONFLICT));
    let Error::Answer(failure) = error else {
        panic!("{error}")
    };
    assert_eq!(failure.reason, Reason::Conflict { version });
    let next = client
        .set_if(Scope::Shared, "k", version, "")
        .await
        .unwrap();
    client.delete_if(Scope::Shared, "k", next).await.unwrap();
    client.delete(Scope::Named("room"), "k").await.unwrap();

    assert_eq!(
        client.add_tags(&["b", "a"]).await.unwrap(),
        ["guest", "~a", "~b"]
    );
    assert_eq!(client.remove_tags(&["a"]).await.unwrap(), ["guest", "~b"]);
    assert_eq!(client.replace_tags(&[]).await.unwrap(), ["guest"]);

    assert_eq!(client.execute("any", "echo", "hi").await.unwrap(), "hi");
    assert_eq!(client.request(Opcode(0x0123), 3, "x").await.unwrap(), "x");
    client.close().await;
}

#[tokio::test]
async fn failures_say_whose_fault_they_are() {
    let server = Server::start().await;
    let (client, _) = connected(&server).await;
    let refused = client.execute("any", "refuse", "").await.unwrap_err();
    assert_eq!(refused.to_string(), "BAD refused (0x010d): 7 not your turn");
    for (action, detail) in [
        ("fail", Detail::MODULE_FAILED),
        ("nothing", Detail::NOT_FOUND),
        ("long", Detail::TOO_LARGE),
    ] {
        let error = client.execute("any", action, "").await.unwrap_err();
        assert_eq!(error.detail(), Some(detail), "{action}");
    }
    let unknown = client.request(Opcode(0x0200), 0, "").await.unwrap_err();
    assert_eq!(unknown.detail(), Some(Detail::UNKNOWN_OPCODE));

    assert_eq!(
        client.execute("any", "echo", vec![0; 1_100]).await,
        Err(Error::TooLarge)
    );
    assert!(matches!(
        client.get(Scope::Shared, "").await,
        Err(Error::Argument(_))
    ));
    assert!(matches!(
        client.add_tags(&["~a"]).await,
        Err(Error::Argument(_))
    ));
    let nobody = To::Tagged("a|");
    assert!(matches!(
        client.broadcast("t", nobody, "").await,
        Err(Error::Argument(_))
    ));
}

#[tokio::test]
async fn a_request_that_times_out_is_forgotten() {
    let server = Server::start().await;
    let (client, _) = connected(&server).await;
    let hasty = client.with_timeout(Duration::from_millis(1));
    // More than may be open at once: each must make room for the next.
    for _ in 0..300 {
        let error = hasty.execute("any", "silent", "").await.unwrap_err();
        // The server, too, has so many at most, and answers *busy*.
        assert!(
            error == Error::NoAnswer || error.detail() == Some(Detail::BUSY),
            "{error}"
        );
    }
    assert!(client.is_connected());
}

#[tokio::test]
async fn every_mode_carries_requests() {
    let server = Server::start().await;
    let (client, mut incoming) = connected(&server).await;
    for mode in [
        Mode::Unreliable,
        Mode::UnreliableSequenced,
        Mode::ReliableUnordered,
        Mode::ReliableOrdered,
    ] {
        let client = client.with_delivery(mode, 31);
        assert_eq!(client.execute("any", "echo", "x").await.unwrap(), "x");
        client.send(Opcode(0x0123), 1, "pushed back").unwrap();
        let Some(Event::Message(message)) = soon(incoming.next()).await else {
            panic!("no message in {mode:?}")
        };
        assert_eq!((message.mode, message.channel), (mode, 31));
        assert_eq!(message.opcode, Opcode(0x0124));
        assert_eq!(message.body, "pushed back");
    }
    let wrong = client.with_delivery(Mode::Unreliable, 32);
    assert!(matches!(
        wrong.execute("any", "echo", "").await,
        Err(Error::Argument(_))
    ));
}

#[tokio::test]
async fn many_requests_at_once_are_each_answered_once() {
    let server = Server::start().await;
    let (client, _) = connected(&server).await;
    let tasks: Vec<_> = (0..50_u32)
        .map(|n| {
            let client = client.clone();
            tokio::spawn(async move {
                for m in 0..40_u32 {
                    let input = format!("{n} {m}");
                    let output = client.execute("any", "echo", &input).await.unwrap();
                    assert_eq!(output, input.as_bytes());
                }
            })
        })
        .collect();
    for task in tasks {
        soon(task).await.unwrap();
    }
    let (sender, receiver) = tokio::sync::oneshot::channel();
    server.act(move |room, _| {
        let executed = room.executed.lock().unwrap().len();
        sender.send(executed).unwrap();
    });
    // These, and the one with which the client began.
    assert_eq!(receiver.await.unwrap(), 2_001);
}

#[tokio::test]
async fn a_stream_brings_its_items_and_its_end() {
    let server = Server::start().await;
    let (client, _) = connected(&server).await;
    let items = soon(
        client
            .stream("ends", "3")
            .await
            .unwrap()
            .collect::<Vec<_>>(),
    )
    .await;
    let expected = ["0", "1", "2"].map(|text| Ok(Bytes::from(text)));
    assert_eq!(items, expected);

    let mut fails = client.stream("fails", "1").await.unwrap();
    assert_eq!(soon(fails.next()).await, Some(Ok(Bytes::from("0"))));
    let Some(Err(StreamError::Ended(failure))) = soon(fails.next()).await else {
        panic!("it does not fail")
    };
    assert_eq!(
        (failure.detail(), failure.text()),
        (Detail::UNAVAILABLE, Some("gone"))
    );
    assert_eq!(soon(fails.next()).await, None);

    let denied = client.stream("forbidden", "").await.unwrap_err();
    assert_eq!(denied.detail(), Some(Detail::NOT_ALLOWED));
}

#[tokio::test]
async fn a_dropped_stream_is_closed_at_the_server() {
    let server = Server::start().await;
    let (client, _) = connected(&server).await;
    let opened = client.stream("t", "1").await.unwrap();
    assert_eq!(open_streams(&server, &client).await, 1);
    drop(opened);
    assert_eq!(open_streams(&server, &client).await, 0);
}

/// Streams at the server, in the order of what this client asked before.
async fn open_streams(server: &Server, client: &Client) -> usize {
    client.execute("any", "echo", "").await.unwrap();
    let (sender, receiver) = tokio::sync::oneshot::channel();
    server.act(move |room, _| sender.send(room.open_streams()).unwrap());
    receiver.await.unwrap()
}

#[tokio::test]
async fn a_slow_reader_hears_how_much_it_lost() {
    let server = Server::start().await;
    let config = config(&server, Identity::generate()).queue(2);
    let (client, _) = Client::connect(config).await.unwrap();
    let items: Vec<_> = soon(client.stream("ends", "5").await.unwrap().collect()).await;
    let expected = [
        Ok(Bytes::from("0")),
        Ok(Bytes::from("1")),
        Err(StreamError::Lost(3)),
    ];
    assert_eq!(items, expected);
}

#[tokio::test]
async fn the_server_begins_a_stream() {
    let server = Server::start().await;
    let (_client, mut incoming) = connected(&server).await;
    server.act(|room, now| {
        let id = stream::SERVER_BEGUN | 1;
        let topic = Name8::new("news").unwrap();
        for event in [
            stream::Event::Item(b"too early"),
            stream::Event::Begin { topic },
            stream::Event::Item(b"hello"),
        ] {
            room.push(now, stream::Push { stream: id, event });
        }
    });
    let Some(Event::Stream(mut begun)) = soon(incoming.next()).await else {
        panic!("no stream")
    };
    assert_eq!(begun.topic(), "news");
    assert_eq!(soon(begun.next()).await, Some(Ok(Bytes::from("hello"))));
}

#[tokio::test]
async fn a_broadcast_reaches_the_others() {
    let server = Server::start().await;
    let (ada, mut to_ada) = connected(&server).await;
    let (_bob, mut to_bob) = connected(&server).await;
    assert_eq!(ada.broadcast("chat", To::Everyone, "hi").await, Ok(2));
    let to = To::Tagged("red & !~away");
    assert_eq!(ada.broadcast_to_others("chat", to, "psst").await, Ok(1));
    for (incoming, expected) in [(&mut to_ada, &["hi"][..]), (&mut to_bob, &["hi", "psst"])] {
        for text in expected {
            let Some(Event::Broadcast(heard)) = soon(incoming.next()).await else {
                panic!("nothing heard")
            };
            assert_eq!((heard.sender, heard.topic()), (Some(ada.id()), "chat"));
            assert_eq!(heard.payload, *text);
        }
    }
}

#[tokio::test]
async fn a_wrong_pin_gets_no_answer() {
    let server = Server::start().await;
    let pin = PublicKey::from_bytes([9; 32]);
    let error = Client::connect(Config::new(server.address, pin))
        .await
        .unwrap_err();
    let ConnectError::Ended(Ending::Failed(ConnectFailure::NoAnswer { hint })) = error else {
        panic!("{error}")
    };
    assert_eq!(hint, None);
}

#[tokio::test]
async fn a_second_client_of_one_identity_supersedes_the_first() {
    let server = Server::start().await;
    let identity = Identity::generate();
    let (first, mut incoming) = Client::connect(config(&server, identity.clone()))
        .await
        .unwrap();
    // Of two handshakes in one millisecond a server takes the first for the newer (PROTOCOL.md 3.6): the second attempt is later.
    let patient = config(&server, identity).patience(Duration::from_secs(10));
    let (second, _) = Client::connect(patient).await.unwrap();
    second.execute("any", "echo", "").await.unwrap();
    let ending = soon(first.ended()).await;
    assert!(matches!(&ending, Ending::Closed { code, .. } if *code == CloseCode::SUPERSEDED));
    let Some(Event::Disconnected(told)) = soon(incoming.next()).await else {
        panic!("it was not told")
    };
    assert_eq!(told, ending);
    assert!(soon(incoming.next()).await.is_none());
    assert_eq!(
        first.execute("any", "echo", "").await,
        Err(Error::NotConnected)
    );
    assert!(second.is_connected());
}

#[tokio::test]
async fn a_client_that_was_closed_comes_back() {
    let server = Server::start().await;
    let (client, mut incoming) = connected(&server).await;
    let mut news = client.stream("t", "").await.unwrap();
    let waiting = tokio::spawn({
        let client = client.clone();
        async move { client.execute("any", "silent", "").await }
    });
    client.execute("any", "echo", "").await.unwrap();
    server.act(|room, now| room.close_all(now, CloseCode::SHUTTING_DOWN));
    let lost = soon(incoming.next()).await;
    assert!(
        matches!(&lost, Some(Event::Disconnected(Ending::Closed { code, text }))
            if *code == CloseCode::SHUTTING_DOWN && text == "bye"),
        "{lost:?}"
    );
    assert_eq!(soon(waiting).await.unwrap(), Err(Error::Disconnected));
    assert_eq!(
        soon(news.next()).await,
        Some(Err(StreamError::Disconnected))
    );
    let back = soon(incoming.next()).await;
    assert!(matches!(back, Some(Event::Connected { .. })), "{back:?}");
    // Its id may be used again by now: dropping the old stream must not close another's.
    let _new = client.stream("t", "").await.unwrap();
    drop(news);
    assert_eq!(open_streams(&server, &client).await, 1);
}

#[tokio::test]
async fn a_kicked_client_stays_away() {
    let server = Server::start().await;
    let (client, _) = connected(&server).await;
    server.act(|room, now| room.close_all(now, CloseCode::KICKED));
    let ending = soon(client.ended()).await;
    assert!(matches!(ending, Ending::Closed { code, .. } if code == CloseCode::KICKED));
}

#[tokio::test]
async fn a_client_finds_a_server_that_was_started_anew() {
    let server = Server::start().await;
    let (client, mut incoming) = connected(&server).await;
    let server = server.restart().await;
    // What is on its way makes the client probe, and the third probe makes it look for a new session.
    let asked = client.with_timeout(Duration::from_secs(20));
    assert_eq!(
        asked.execute("any", "echo", "x").await,
        Err(Error::Disconnected)
    );
    assert!(matches!(
        soon(incoming.next()).await,
        Some(Event::Disconnected(_))
    ));
    assert!(matches!(
        soon(incoming.next()).await,
        Some(Event::Connected { .. })
    ));
    assert_eq!(client.execute("any", "echo", "x").await.unwrap(), "x");
    // The pause before a new attempt, had there been need of one, ends after at most 500 ms: a request that nobody answers waits on the same clock for
    // longer, and so learns whether the session has survived that moment.
    let patient = client.with_timeout(Duration::from_millis(600));
    let unanswered = patient.execute("any", "silent", "").await;
    assert_eq!(unanswered, Err(Error::NoAnswer));
    tokio::select! {
        biased;
        event = incoming.next() => panic!("the session has not survived it: {event:?}"),
        answer = client.execute("any", "echo", "y") => assert_eq!(answer.unwrap(), "y"),
    }
    drop(server);
}

#[tokio::test]
async fn what_was_reliable_survives_a_deaf_network() {
    let server = Server::start().await;
    let (client, _) = connected(&server).await;
    server.deaf(true);
    let asked = tokio::spawn({
        let client = client.clone();
        async move { client.execute("any", "echo", "late").await }
    });
    tokio::time::timeout(Duration::from_millis(300), client.ended())
        .await
        .unwrap_err();
    server.deaf(false);
    assert_eq!(soon(asked).await.unwrap().unwrap(), "late");
}

#[tokio::test]
async fn the_last_handle_says_goodbye() {
    let server = Server::start().await;
    let (client, incoming) = connected(&server).await;
    let (_other, _) = connected(&server).await;
    client.execute("any", "echo", "").await.unwrap();
    drop(client);
    drop(incoming);
    // The server hears of it at once, not after its idle timeout.
    soon(async {
        loop {
            let (sender, receiver) = tokio::sync::oneshot::channel();
            server.act(move |room, _| sender.send(room.clients.len()).unwrap());
            if receiver.await.unwrap() == 1 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}
