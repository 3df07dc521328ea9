//! Values of `db`: parameters are further arguments, where `nil` is null; a result is a list of rows by column name, with `truncated` beside them.

use bytes::Bytes;
use cohnect_capabilities::ClientId;
use cohnect_capabilities::db::{RowSet, Value as Datum};
use mlua::{FromLuaMulti, Lua, MultiValue, Value};

use super::{Budget, FromLuau, IntoLuau, Mismatch, Pass, seconds, weight, whole};
use crate::binding::Unfit;
use crate::host::Host;

/// Parameters of one statement: what SQLite takes by default, and more than a person writes.
const PARAMS_MAX: usize = 1_000;

/// The parameters of a statement: all further arguments.
pub(crate) struct Params(pub(crate) Vec<Datum>);

impl FromLuaMulti for Params {
    fn from_lua_multi(values: MultiValue, lua: &Lua) -> mlua::Result<Self> {
        let unfit = |text| mlua::Error::external(Unfit::of_rest(lua, text));
        if values.len() > PARAMS_MAX {
            return Err(unfit(format!(
                "a statement has at most {PARAMS_MAX} parameters, here are {}",
                values.len()
            )));
        }
        let mut budget = Budget::default();
        values
            .iter()
            .enumerate()
            .map(|(n, value)| {
                budget.take(weight(value))?;
                datum(value).map_err(|mismatch| mismatch.within(&(n + 1).to_string()))
            })
            .collect::<Result<_, _>>()
            .map(Self)
            .map_err(|mismatch: Mismatch| unfit(mismatch.0))
    }
}

impl Pass<'_, Vec<Datum>> for Params {
    fn pass(&mut self) -> Vec<Datum> {
        core::mem::take(&mut self.0)
    }
}

/// The parameters of a batch: a list of lists. `n` in one of them says how long it is, where it ends in `nil`.
pub(crate) struct ParamsEach(pub(crate) Vec<Vec<Datum>>);

impl FromLuau for ParamsEach {
    const WHAT: &'static str = "a list of lists of parameters";

    fn from_luau(value: &Value) -> Result<Self, Mismatch> {
        struct Line(Vec<Datum>);

        /// How many parameters there are.
        fn count(table: &mlua::Table) -> Result<usize, Mismatch> {
            let count = match table.raw_get::<Value>("n")? {
                Value::Nil => table.raw_len(),
                n => usize::from(u16::from_luau(&n)?),
            };
            if count > PARAMS_MAX {
                return Err(Mismatch(format!(
                    "a statement has at most {PARAMS_MAX} parameters, here are {count}"
                )));
            }
            Ok(count)
        }

        impl FromLuau for Line {
            const WHAT: &'static str = "a list of parameters";

            fn from_luau(value: &Value) -> Result<Self, Mismatch> {
                let Value::Table(table) = value else {
                    return Err(Mismatch::expected(Self::WHAT, value));
                };
                (1..=count(table)?)
                    .map(|n| datum(&table.raw_get::<Value>(n)?))
                    .collect::<Result<_, _>>()
                    .map(Self)
            }

            fn weight(value: &Value) -> usize {
                // What cannot be read is refused when it is made.
                let Value::Table(table) = value else {
                    return weight(value);
                };
                let items = 1..=count(table).unwrap_or(0);
                items.fold(weight(value), |sum, n| {
                    sum + table.raw_get::<Value>(n).map_or(0, |item| weight(&item))
                })
            }
        }

        let lines: Vec<Line> = FromLuau::from_luau(value)?;
        Ok(Self(lines.into_iter().map(|line| line.0).collect()))
    }
}

impl Pass<'_, Vec<Vec<Datum>>> for ParamsEach {
    fn pass(&mut self) -> Vec<Vec<Datum>> {
        core::mem::take(&mut self.0)
    }
}

fn datum(value: &Value) -> Result<Datum, Mismatch> {
    Ok(match value {
        Value::Nil => Datum::Null,
        Value::Boolean(on) => Datum::Boolean(*on),
        Value::Integer(_) | Value::Number(_) => match whole(value) {
            Ok(number) => Datum::Integer(number),
            Err(_) => Datum::Real(f64::from_luau(value)?),
        },
        Value::String(text) => match text.to_str() {
            Ok(text) => Datum::Text((*text).to_owned()),
            Err(_) => Datum::Blob(Bytes::copy_from_slice(&text.as_bytes())),
        },
        Value::Buffer(buffer) => Datum::Blob(Bytes::from(buffer.to_vec())),
        other => {
            return Err(Mismatch::expected(
                "nil, a boolean, a number, a string or a buffer",
                other,
            ));
        }
    })
}

impl IntoLuau for Datum {
    fn into_luau(self, lua: &Lua, host: &Host) -> mlua::Result<Value> {
        match self {
            Self::Null => Ok(Value::Nil),
            Self::Boolean(on) => Ok(Value::Boolean(on)),
            Self::Integer(number) => number.into_luau(lua, host),
            Self::Real(number) => Ok(Value::Number(number)),
            Self::Text(text) | Self::Json(text) | Self::Decimal(text) => text.into_luau(lua, host),
            Self::Blob(bytes) => bytes.into_luau(lua, host),
            Self::Timestamp(at) => Ok(Value::Number(seconds(at))),
            Self::Uuid(hi, lo) => ClientId { hi, lo }.into_luau(lua, host),
        }
    }
}

impl IntoLuau for RowSet {
    fn into_luau(self, lua: &Lua, host: &Host) -> mlua::Result<Value> {
        let list = rows(lua, host, &self.columns, self.rows)?;
        if let (Value::Table(table), true) = (&list, self.truncated) {
            table.raw_set("truncated", true)?;
        }
        Ok(list)
    }
}

/// Rows by column name. Where two columns share a name, the last one counts, as in SQL's own row types.
pub(crate) fn rows(
    lua: &Lua,
    host: &Host,
    columns: &[String],
    rows: Vec<Vec<Datum>>,
) -> mlua::Result<Value> {
    let names = columns
        .iter()
        .map(|name| lua.create_string(name))
        .collect::<mlua::Result<Vec<_>>>()?;
    let list = lua.create_table_with_capacity(rows.len(), 1)?;
    for (n, row) in rows.into_iter().enumerate() {
        let table = lua.create_table_with_capacity(0, names.len())?;
        for (name, value) in names.iter().zip(row) {
            table.raw_set(name, value.into_luau(lua, host)?)?;
        }
        list.raw_set(n + 1, table)?;
    }
    Ok(Value::Table(list))
}
