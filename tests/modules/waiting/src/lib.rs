//! A module whose calls wait: databases and other modules, and each way to wait wrongly.
#![forbid(unsafe_code)]

use cohnect_module::db::{Cursor, Isolation, Transaction, Value};
use cohnect_module::prelude::*;

#[derive(Default)]
struct Waiting {
    kept: Option<Transaction>,
    kept_cursor: Option<Cursor>,
}

impl Action for Waiting {
    fn describe() -> Vec<ActionInfo> {
        vec![ActionInfo::named("query")]
    }

    fn execute(&mut self, request: Request) -> Result<Payload, Error> {
        match request.name.as_str() {
            "query" => {
                let params = [
                    Value::Integer(7),
                    Value::Text("Ada".into()),
                    Value::Null,
                    Value::Uuid((1, 2)),
                ];
                let found = db::query("main", "select $1, $2, $3, $4", &params)?;
                Ok(
                    format!("{:?} {:?} {}", found.columns, found.rows, found.truncated)
                        .into_bytes(),
                )
            }
            "elsewhere" => db::query("other", "select 1", &[]).map(|_| Vec::new()),
            "execute" => {
                let one = db::execute("main", "delete", &[])?;
                let many = db::execute_batch(
                    "main",
                    "insert",
                    &[vec![Value::Boolean(true)], vec![Value::Real(0.5)]],
                )?;
                Ok(format!("{one} {many}").into_bytes())
            }
            "transaction" => {
                let tx = db::begin("main", Isolation::Serializable)?;
                let rows = tx.query("select 1", &[])?.rows.len();
                let changed = tx.execute("update", &[])?;
                Transaction::commit(tx)?;
                let other = db::begin("main", Isolation::ReadCommitted)?;
                Transaction::rollback(other)?;
                Ok(format!("{rows} {changed}").into_bytes())
            }
            "too-many" => {
                let mut open = Vec::new();
                let problem = loop {
                    match db::begin("main", Isolation::Serializable) {
                        Ok(tx) => open.push(tx),
                        Err(problem) => break problem,
                    }
                };
                Ok(format!("{} {problem:?}", open.len()).into_bytes())
            }
            "cursor" => {
                let cursor = db::open("main", "select n", &[])?;
                let mut rows = Vec::new();
                loop {
                    let page = cursor.next(0)?;
                    if page.is_empty() {
                        break;
                    }
                    rows.push(page.len());
                }
                Ok(format!("{:?} {rows:?}", cursor.columns()).into_bytes())
            }
            "keep" => {
                self.kept = Some(db::begin("main", Isolation::Serializable)?);
                self.kept_cursor = Some(db::open("main", "select n", &[])?);
                Ok(Vec::new())
            }
            "use-kept" => {
                // A fresh one must not be mistaken for the one that was kept.
                let fresh = db::begin("main", Isolation::Serializable)?;
                let answer = self.kept.as_ref().map(|tx| tx.execute("update", &[]));
                drop(fresh);
                Ok(format!(
                    "{answer:?} {:?}",
                    self.kept_cursor.as_ref().map(|cursor| cursor.next(1))
                )
                .into_bytes())
            }
            "call" => modules::call("bank", "balance", &request.input),
            "loaded" => Ok(format!("{:?}", modules::loaded()).into_bytes()),
            "send-and-wait" => {
                clients::send(
                    ClientId { hi: 1, lo: 1 },
                    0x0100,
                    b"before",
                    clients::SendOptions::default(),
                )?;
                modules::call("bank", "balance", b"")
            }
            "spin" => loop {
                std::hint::black_box(());
            },
            "wait-and-spin" => {
                let _ = modules::call("bank", "balance", b"");
                loop {
                    std::hint::black_box(());
                }
            }
            "panic" => panic!("told to panic"),
            "echo" => Ok(request.input),
            _ => Err(Error::NotFound),
        }
    }
}

impl Migration for Waiting {
    fn save(&mut self) -> Result<Snapshot, Error> {
        // Waiting is not allowed here.
        db::query("main", "select 1", &[])?;
        Ok(Snapshot::default())
    }

    fn restore(&mut self, _snapshot: Snapshot) -> Result<(), Error> {
        Ok(())
    }
}

cohnect_module::export!(Waiting: action, migration);
