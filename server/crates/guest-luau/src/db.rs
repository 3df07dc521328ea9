//! `db` for scripts: written from `wit/db.wit` by `module-sdk/generator`. Do not edit.

use std::rc::Rc;

use cohnect_capabilities::{db::Isolation, db::RowSet};
use cohnect_host::function::HostFunction;
use mlua::{Lua, UserData, UserDataMethods, Value};

use crate::binding::Binder;
use crate::convert::{Arg, IntoLuau, Need, Params, ParamsEach, Pass};
use crate::host::Host;
use crate::resource::{Method, Slot, finish, hold, look, step};

pub(crate) fn bind(binder: &Binder<'_>) -> mlua::Result<()> {
    binder.waiting(
        "query",
        HostFunction::DbQuery,
        &["database", "statement", "params"],
        |entered,
         (Need(mut database), Need(mut statement), mut params): (
            Need<String>,
            Need<String>,
            Params,
        )| { entered.db_query(database.pass(), statement.pass(), params.pass()) },
    )?;
    binder.waiting(
        "execute",
        HostFunction::DbExecute,
        &["database", "statement", "params"],
        |entered,
         (Need(mut database), Need(mut statement), mut params): (
            Need<String>,
            Need<String>,
            Params,
        )| { entered.db_execute(database.pass(), statement.pass(), params.pass()) },
    )?;
    binder.waiting(
        "execute_batch",
        HostFunction::DbExecuteBatch,
        &["database", "statement", "params"],
        |entered,
         (Need(mut database), Need(mut statement), Need(mut params)): (
            Need<String>,
            Need<String>,
            Need<ParamsEach>,
        )| { entered.db_execute_batch(database.pass(), statement.pass(), params.pass()) },
    )?;
    binder.waiting(
        "begin",
        HostFunction::DbBegin,
        &["database", "isolation"],
        |entered, (Need(mut database), Arg(mut isolation)): (Need<String>, Arg<Isolation>)| {
            entered.db_begin(database.pass(), isolation.pass())
        },
    )?;
    binder.waiting(
        "open",
        HostFunction::DbOpen,
        &["database", "statement", "params"],
        |entered,
         (Need(mut database), Need(mut statement), mut params): (
            Need<String>,
            Need<String>,
            Params,
        )| { entered.db_open(database.pass(), statement.pass(), params.pass()) },
    )?;
    Ok(())
}

/// A script's hold on one; it ends, at the latest, with the call that made it.
struct Transaction(Rc<Slot<dyn cohnect_capabilities::db::Transaction>>);

impl Transaction {
    const METHODS: &[Method] = &[
        (
            "query",
            HostFunction::DbTransactionQuery,
            &["self", "statement", "params"],
        ),
        (
            "execute",
            HostFunction::DbTransactionExecute,
            &["self", "statement", "params"],
        ),
        ("commit", HostFunction::DbTransactionCommit, &["tx"]),
        ("rollback", HostFunction::DbTransactionRollback, &["tx"]),
    ];
}

impl IntoLuau for Box<dyn cohnect_capabilities::db::Transaction> {
    fn into_luau(self, lua: &Lua, host: &Host) -> mlua::Result<Value> {
        let thing = Transaction(host.resources.open(self));
        hold(lua, host, thing, Transaction::METHODS)
    }
}

impl UserData for Transaction {
    fn add_methods<M: UserDataMethods<Self>>(methods: &mut M) {
        methods.add_async_method(
            "query",
            |lua, this, (Need(mut statement), mut params): (Need<String>, Params)| {
                let (lua, slot) = (lua.weak(), Rc::clone(&this.0));
                async move {
                    step(&lua, &slot, HostFunction::DbTransactionQuery, move |it| {
                        Box::pin(async move { it.query(statement.pass(), params.pass()).await })
                    })
                    .await
                }
            },
        );
        methods.add_async_method(
            "execute",
            |lua, this, (Need(mut statement), mut params): (Need<String>, Params)| {
                let (lua, slot) = (lua.weak(), Rc::clone(&this.0));
                async move {
                    step(&lua, &slot, HostFunction::DbTransactionExecute, move |it| {
                        Box::pin(async move { it.execute(statement.pass(), params.pass()).await })
                    })
                    .await
                }
            },
        );
        methods.add_async_method("commit", |lua, this, ()| {
            let (lua, slot) = (lua.weak(), Rc::clone(&this.0));
            async move {
                finish(&lua, &slot, HostFunction::DbTransactionCommit, |it| {
                    it.commit()
                })
                .await
            }
        });
        methods.add_async_method("rollback", |lua, this, ()| {
            let (lua, slot) = (lua.weak(), Rc::clone(&this.0));
            async move {
                finish(&lua, &slot, HostFunction::DbTransactionRollback, |it| {
                    it.rollback()
                })
                .await
            }
        });
    }
}

/// A script's hold on one; it ends, at the latest, with the call that made it.
struct Cursor(Rc<Slot<dyn cohnect_capabilities::db::Cursor>>);

impl Cursor {
    const METHODS: &[Method] = &[
        ("columns", HostFunction::DbCursorColumns, &["self"]),
        ("next", HostFunction::DbCursorNext, &["self", "limit"]),
    ];
}

impl IntoLuau for Box<dyn cohnect_capabilities::db::Cursor> {
    fn into_luau(self, lua: &Lua, host: &Host) -> mlua::Result<Value> {
        let thing = Cursor(host.resources.open(self));
        hold(lua, host, thing, Cursor::METHODS)
    }
}

impl UserData for Cursor {
    fn add_methods<M: UserDataMethods<Self>>(methods: &mut M) {
        methods.add_method("columns", |lua, this, ()| {
            look(lua, &this.0, HostFunction::DbCursorColumns, |it| {
                it.columns()
            })
        });
        methods.add_async_method("next", |lua, this, Arg(mut limit): Arg<u32>| {
            let (lua, slot) = (lua.weak(), Rc::clone(&this.0));
            async move {
                step(&lua, &slot, HostFunction::DbCursorNext, move |it| {
                    Box::pin(async move {
                        let rows = it.next(limit.pass()).await?;
                        Ok(RowSet {
                            columns: it.columns(),
                            rows,
                            truncated: false,
                        })
                    })
                })
                .await
            }
        });
    }
}
