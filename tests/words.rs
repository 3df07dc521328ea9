//! What the author of a module reads in the log of the real binary: which handler failed and on what, once and not at every tick, and what a swap loses.

use cohnect_tests::Server;

#[test]
fn the_log_names_the_handler_and_the_statement_and_counts_what_comes_again() {
    let module = r#"local db = require("@cohnect/db")
    return {
        keep = { round = 1, players = {} },
        ticker = { hz = 20, on_tick = function() error("a bug in each tick") end },
        action = { passes = function() return nil, select(2, db.query("main", [[SELECT *
            FORM t]])) end },
    }"#;
    let server = Server::dev(
        &[
            ("notes.luau", module),
            ("notes.toml", "grants = [\"db:main\"]\n"),
        ],
        &[],
    );
    let said = server.cohnect(&["call", "notes", "passes"]);
    assert!(said.err.contains("module failed"), "{said:?}");
    server.logs("action.execute passes");
    server.logs("syntax error, in `SELECT * FORM t`");
    server.logs("the same again");
    let log = server.log();
    let whole = log.matches("a bug in each tick").count();
    assert_eq!(whole, 1, "{log}");
    server.save("notes.luau", "return { action = {} }");
    server.logs("what `keep` of the old code held (`players`, `round`) is lost");
}
