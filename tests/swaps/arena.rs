//! The example's own promise: `entry` in its manifest says which of its two languages runs, and the world goes over.

use std::path::Path;

use cohnect_client::Client;
use cohnect_tests::{Server, top};

/// Ticks that were played, from a snapshot of the world.
fn ticks(snapshot: &[u8]) -> u32 {
    let first = snapshot.first_chunk().expect("it begins with the tick");
    u32::from_le_bytes(*first)
}

/// What `join` answers; the two languages order its fields as they like.
fn seat_of(answer: &[u8]) -> serde_json::Value {
    serde_json::from_slice(answer).expect("it is JSON")
}

#[test]
fn the_arena_changes_its_language_and_the_game_goes_on() {
    let folder = top().join("examples/arena/modules/arena");
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("guests");
    let script = std::fs::read(folder.join("arena.luau")).expect("the script is there");
    let component = cohnect_build::component_of(&folder, &target).expect("it compiles");
    for shards in ["1", "2"] {
        let server = Server::dev_of(
            &[
                ("arena/arena.luau", &script),
                ("arena/arena.wasm", &component),
                ("arena/module.toml", b"entry = \"arena.luau\"\n"),
            ],
            &["--shards", shards],
        );
        let runtime = tokio::runtime::Runtime::new().expect("a runtime can be made");
        runtime.block_on(play(&server));
    }
}

async fn play(server: &Server) {
    let (client, _) = Client::connect(server.client())
        .await
        .expect("the server answers");
    let seat = client.execute("arena", "join", "Ada").await.expect("room");
    let mut world = client.stream("arena/world", "").await.expect("it is open");
    let mut newest = 0;
    for (entry, sign) in [
        ("arena.wasm", "the arena runs in Rust with"),
        ("arena.luau", "the arena runs since"),
        ("arena.wasm", "the arena runs in Rust with"),
    ] {
        let starts = server.log().matches(sign).count();
        server.save("arena/module.toml", &format!("entry = \"{entry}\"\n"));
        // The world is watched until the other language runs, and a while longer.
        let mut since = 0;
        while since < 10 {
            let item = tokio::time::timeout(cohnect_tests::PATIENCE, world.next())
                .await
                .unwrap_or_else(|_| panic!("the world stands still\n{}", server.log()))
                .expect("nobody ends the stream")
                .expect("nothing is lost");
            let tick = ticks(&item);
            assert!(tick >= newest, "the world went back: {newest}, then {tick}");
            newest = tick;
            if server.log().matches(sign).count() > starts {
                since += 1;
            }
        }
        let scores = client.execute("arena", "scores", "").await.expect("scores");
        let scores: serde_json::Value = serde_json::from_slice(&scores).expect("JSON");
        assert_eq!(scores["players"][0]["name"], "Ada", "{entry}: {scores}");
    }
    // Whoever plays keeps the seat.
    let again = client.execute("arena", "join", "Ada").await.expect("room");
    assert_eq!(seat_of(&again), seat_of(&seat));
    client.close().await;
}
