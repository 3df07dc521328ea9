//! The echo that `cohnect bench` measures, as a component. It is embedded in the server as `echo.wasm` beside it, which `cohnect build` makes of it.
#![forbid(unsafe_code)]

use cohnect_module::prelude::*;

#[derive(Default)]
struct Echo;

impl Action for Echo {
    fn describe() -> Vec<ActionInfo> {
        vec![
            ActionInfo::named("echo").for_clients(),
            ActionInfo::named("stamp").for_clients(),
        ]
    }

    fn execute(&mut self, request: Request) -> Result<Payload, Error> {
        match request.name.as_str() {
            "echo" => Ok(request.input),
            // The same with one call of the host.
            "stamp" => {
                clock::now();
                Ok(request.input)
            }
            _ => Err(Error::NotFound),
        }
    }
}

cohnect_module::export!(Echo: action);
