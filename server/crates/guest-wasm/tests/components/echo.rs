//! The echo that the server embeds for its measurements: the committed component, and the one that its source makes now.

use std::path::Path;

use cohnect_capabilities::{Error, Payload};
use cohnect_host::export::{Access, Returned};
use cohnect_host::function::Interface;

use crate::fixture::{OnShard, guest_target, load};

fn check(code: &Payload) {
    let prepared = load(code).unwrap();
    assert_eq!(prepared.imports(), [Interface::Logging, Interface::Clock]);
    let actions = &prepared.exports().actions;
    let names: Vec<_> = actions.iter().map(|action| &*action.name).collect();
    assert_eq!(names, ["echo", "stamp"]);
    assert!(
        actions
            .iter()
            .all(|action| action.access == Access::Clients)
    );
    let mut echo = OnShard::of(&*prepared);
    for action in names {
        assert_eq!(
            echo.text(action, "32 bytes or any other number"),
            "32 bytes or any other number"
        );
    }
    assert_eq!(
        echo.action("shout", ""),
        Ok(Returned::Answer(Err(Error::NotFound)))
    );
}

#[test]
fn the_committed_echo_is_what_its_source_makes() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../benches/echo");
    check(&std::fs::read(folder.join("echo.wasm")).unwrap().into());
    let built = cohnect_build::component_of(&folder, &guest_target()).unwrap();
    check(&built.into());
}
