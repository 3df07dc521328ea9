//! The modules in `modules/` do what they say, as they are.

use cohnect_tests::{Server, eventually, top};

fn file(path: &str) -> Vec<u8> {
    std::fs::read(top().join("modules").join(path)).expect("the module is there")
}

#[test]
fn presence_counts_who_comes_and_goes() {
    let script = file("presence.luau");
    for shards in ["1", "2"] {
        let files: [(&str, &[u8]); 2] = [
            ("presence.luau", &script),
            ("presence.toml", b"[config]\ninterval_s = 0.05\n"),
        ];
        let server = Server::dev_of(&files, &["--shards", shards]);
        let listener = server
            .command(&["stream", "presence", "--count", "2", "--timeout", "60"])
            .stdout(std::process::Stdio::piped())
            .spawn()
            .expect("it runs");
        eventually("the listener", || {
            let said = server.cohnect(&["call", "presence", "count"]);
            // The listener and whoever asks.
            (said.out == r#"{"online":2}"#).then_some(())
        });
        let heard = listener.wait_with_output().expect("it ends");
        let heard = String::from_utf8(heard.stdout).expect("it is text");
        assert!(heard.starts_with(r#"{"online":"#), "{heard}");
        let said = server.cohnect(&["call", "presence", "list", "{}"]);
        let ids: Vec<String> = serde_json::from_str(&said.out).expect("a list");
        assert_eq!((said.code, ids.first().map(String::len)), (0, Some(36)));
    }
}

#[test]
fn the_leaderboard_keeps_the_best_of_each_player() {
    let (script, manifest) = (
        file("leaderboard/leaderboard.luau"),
        file("leaderboard/module.toml"),
    );
    let files: [(&str, &[u8]); 2] = [
        ("leaderboard/leaderboard.luau", &script),
        ("leaderboard/module.toml", &manifest),
    ];
    let server = Server::dev_of(&files, &[]);
    let call = |action: &str, input: &str| server.cohnect(&["call", "leaderboard", action, input]);
    for (player, score) in [("Ada", 7), ("Edsger", 9), ("Ada", 5), ("Grace", 7)] {
        let input = format!(r#"{{"board":"easy","player":"{player}","score":{score}}}"#);
        let said = call("submit", &input);
        assert_eq!(said.code, 0, "{said:?}");
    }
    let top: serde_json::Value =
        serde_json::from_str(&call("top", r#"{"board":"easy","count":2}"#).out).expect("JSON");
    assert_eq!(
        top,
        serde_json::json!([{ "player": "Edsger", "score": 9 }, { "player": "Ada", "score": 7 }])
    );
    let rank = |player: &str| {
        let said = call(
            "rank",
            &format!(r#"{{"board":"easy","player":"{player}"}}"#),
        );
        (said.code, said.out)
    };
    let rank_of = |player: &str| -> serde_json::Value {
        serde_json::from_str(&rank(player).1).expect("JSON")
    };
    assert_eq!(
        rank_of("Grace"),
        serde_json::json!({ "rank": 2, "score": 7 })
    );
    assert_eq!(rank("Nobody").0, 1);
    assert_eq!(call("top", r#"{"board":"none"}"#).out, "[]");
    let refused = call("submit", r#"{"board":"","player":"Ada","score":1}"#);
    assert_eq!(refused.code, 1);
    assert!(refused.err.contains("board"), "{refused:?}");
}
