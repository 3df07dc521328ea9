//! A cohnect module: what it answers to stands in `describe`, what it does in `execute`.
#![forbid(unsafe_code)]

use cohnect_module::prelude::*;

/// The module's own memory: one value for each copy of the module, kept from call to call.
#[derive(Default)]
struct MyModule {
    greeted: u64,
}

impl Action for MyModule {
    fn describe() -> Vec<ActionInfo> {
        vec![ActionInfo::named("greet").for_clients()]
    }

    fn execute(&mut self, request: Request) -> Result<Payload, Error> {
        match request.name.as_str() {
            "greet" => self.greet(&request.input),
            _ => Err(Error::NotFound),
        }
    }
}

impl MyModule {
    fn greet(&mut self, input: &[u8]) -> Result<Payload, Error> {
        let name = str::from_utf8(input)?;
        if name.is_empty() {
            return Err(Error::refused(1, "say who you are"));
        }
        self.greeted += 1;
        let visits = state::add(&Scope::Shared, "visits", 1, 0)?;
        Ok(format!("hello {name}, visitor {visits}").into_bytes())
    }
}

/// What survives a hot swap: save the file, run `cohnect build`, and the count goes on.
impl Migration for MyModule {
    fn save(&mut self) -> Result<Snapshot, Error> {
        Ok(Snapshot {
            schema: 1,
            data: self.greeted.to_be_bytes().to_vec(),
        })
    }

    fn restore(&mut self, snapshot: Snapshot) -> Result<(), Error> {
        let bytes = snapshot.data.try_into().map_err(|_| Error::invalid("a snapshot of eight bytes"))?;
        self.greeted = u64::from_be_bytes(bytes);
        Ok(())
    }
}

cohnect_module::export!(MyModule: action, migration);
