//! Actions: how they answer, refuse and fail, and what they see of their caller.

use std::sync::Arc;

use cohnect_capabilities::{Caller, Error, Failure};
use cohnect_host::export::{Export, Fault};

use super::bench::{ADA, ADA_TEXT, Bench, answer, request};

const HELLO: &str = r#"
local state = require("@cohnect/state")

return {
    action = {
        greet = function(request)
            local visits, problem = state.add("shared", "visits", 1)
            if not visits then
                return nil, problem
            end
            return `hello {request.input}, visitor {visits}`
        end,
    },
}
"#;

#[test]
fn the_smallest_module_greets() {
    let bench = Bench::new();
    let mut hello = bench.load(HELLO);
    assert_eq!(
        hello.execute("greet", "Ada"),
        Ok("hello Ada, visitor 1".into())
    );
    assert_eq!(
        hello.execute("greet", "Bob"),
        Ok("hello Bob, visitor 2".into())
    );
    assert_eq!(hello.execute("wave", "Ada"), Err(Error::NotFound));
}

#[test]
fn a_module_declares_its_actions() {
    let bench = Bench::new();
    let prepared = bench.prepare(&Bench::source(HELLO)).expect("it loads");
    let names: Vec<_> = prepared
        .exports()
        .actions
        .iter()
        .map(|action| &*action.name)
        .collect();
    assert_eq!(names, ["greet"]);
    assert_eq!(
        prepared.imports(),
        [cohnect_host::function::Interface::State]
    );
}

#[test]
fn a_refusal_reaches_the_caller_and_an_error_does_not() {
    let bench = Bench::new();
    let mut module = bench.load(
        r#"
        local errors = require("@cohnect/errors")
        local state = require("@cohnect/state")
        local function deep(n) if n == 0 then errors.fail(9, "deep") end deep(n - 1) end
        return { action = {
            words = function() return nil, { code = 7, message = "not your turn" } end,
            case = function() return nil, "denied" end,
            came = function() return state.add("shared", "", 1) end,
            fail = function() deep(10) end,
            need = function() return errors.need(nil, "conflict") end,
            raise = function() errors.raise(errors.busy) end,
            passed_on = function()
                local ok, problem = pcall(errors.fail, 3, "again")
                error(problem)
            end,
            bug = function() error("oh no") end,
            strange = function() return nil, "no_such_case" end,
            number = function() return 5 end,
            nothing = function() end,
            buffer = function() return buffer.fromstring("bytes") end,
        } }"#,
    );
    let failed = |code, message: &str| {
        Err(Error::Failed(Failure {
            code,
            message: message.into(),
        }))
    };
    assert_eq!(module.execute("words", ""), failed(7, "not your turn"));
    assert_eq!(module.execute("case", ""), Err(Error::Denied));
    assert!(matches!(
        module.execute("came", ""),
        Err(Error::InvalidArgument(_))
    ));
    assert_eq!(module.execute("fail", ""), failed(9, "deep"));
    assert_eq!(module.execute("need", ""), Err(Error::Conflict));
    assert_eq!(module.execute("raise", ""), Err(Error::Busy));
    assert_eq!(module.execute("passed_on", ""), failed(3, "again"));
    assert_eq!(module.execute("nothing", ""), Ok(String::new()));
    assert_eq!(module.execute("buffer", ""), Ok("bytes".into()));
    for (action, found) in [
        ("bug", "hello.luau:16: oh no"),
        ("strange", "no_such_case"),
        ("number", "expected a string or a buffer, got 5"),
    ] {
        match module.fault(action) {
            Fault::Raised(text) => assert!(text.contains(found), "{action}: {text}"),
            other => panic!("{action}: {other:?}"),
        }
    }
    // An error ends the call, not the module.
    assert_eq!(module.execute("nothing", ""), Ok(String::new()));
}

#[test]
fn a_request_shows_who_called() {
    let bench = Bench::new();
    bench.world.connect(ADA, &["red", "~lfg"]);
    let mut module = bench.load(
        r#"
        local kept
        return { action = {
            id = function(request) kept = request return request.client.id end,
            later = function() return kept.client.id end,
            same = function(request) return tostring(kept.client.id == request.client.id) end,
            tags = function(request) return table.concat(request.client.tags, ",") end,
            user = function(request) return request.user end,
            caller = function(request)
                local caller = request.caller
                return caller.module or caller.operator or caller.system or caller.client.id
            end,
            when = function(request) return string.format("%.6f", request.received_at) end,
        } }"#,
    );
    assert_eq!(module.execute("id", ""), Ok(ADA_TEXT.into()));
    assert_eq!(module.execute("later", ""), Ok(ADA_TEXT.into()));
    assert_eq!(module.execute("same", ""), Ok("true".into()));
    assert_eq!(module.execute("tags", ""), Ok("red,~lfg".into()));
    assert_eq!(module.execute("user", ""), Err(Error::Denied));
    assert_eq!(module.execute("when", ""), Ok("1700000000.123456".into()));
    let mut from = |caller: Caller, action: &str| {
        let mut request = request(action, "");
        request.caller = caller;
        answer(module.call(&Export::Execute(request)))
    };
    assert_eq!(
        from(Caller::Module("chat".into()), "caller"),
        Ok("chat".into())
    );
    assert_eq!(
        from(Caller::Operator("root".into()), "caller"),
        Ok("root".into())
    );
    assert_eq!(
        from(Caller::System("test".into()), "id"),
        Err(Error::Denied)
    );
    let mut known = super::bench::client(ADA);
    known.user = Some(Arc::from("ada"));
    known.tags = Arc::from([Arc::from("blue")]);
    assert_eq!(
        from(Caller::Client(known.clone()), "user"),
        Ok("ada".into())
    );
    assert_eq!(from(Caller::Client(known), "tags"), Ok("blue".into()));
}

#[test]
fn a_refusal_without_a_code_is_a_mistake_that_names_itself() {
    let bench = Bench::new();
    let mut module = bench.load(
        r#"
        local errors = require("@cohnect/errors")
        return { action = {
            none = function()
                errors.fail()
            end,
            text = function() errors.fail("not your turn") end,
            half = function() errors.fail(0.5, "no") end,
            table = function() errors.fail(1, {}) end,
            raised = function() errors.raise() end,
            fine = function() errors.fail(7) end,
        } }"#,
    );
    let code = "errors.fail: code: expected a whole number from 0 to 4294967295, got";
    for (action, found) in [
        ("none", format!("hello.luau:5: {code} nil")),
        (
            "text",
            format!("{code} string; errors.fail(7, \"not your turn\")"),
        ),
        ("half", format!("{code} 0.5")),
        (
            "table",
            "errors.fail: message: expected a string, got table".to_owned(),
        ),
        (
            "raised",
            "errors.raise: problem: expected an error".to_owned(),
        ),
    ] {
        match module.fault(action) {
            Fault::Raised(text) => assert!(text.contains(&found), "{action}: {text}"),
            other @ Fault::Ended(..) => panic!("{action}: {other:?}"),
        }
    }
    let refused = module.execute("fine", "");
    assert!(matches!(
        refused,
        Err(Error::Failed(Failure { code: 7, .. }))
    ));
}
