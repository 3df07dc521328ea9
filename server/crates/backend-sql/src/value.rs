//! The contract's values and SQLite's: which of its five storage classes each is written as, and which case of `db::Value` comes back.

use cohnect_capabilities::db::Value;
use cohnect_capabilities::{ClientId, Error, Payload, Result};
use sqlx::sqlite::{SqliteArguments, SqliteRow, SqliteValueRef};
use sqlx::{Arguments, Decode, Row, Sqlite, TypeInfo, ValueRef};

use crate::{PARAMETERS_BYTES_MAX, PARAMETERS_MAX, VALUE_BYTES_MAX};

/// What a column's declared type says beyond its storage class.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Nothing.
    Plain,
    /// 0 and 1 are false and true.
    Boolean,
    /// Whole numbers are microseconds since the Unix epoch.
    Timestamp,
    /// Text is a UUID.
    Uuid,
    /// Text is JSON.
    Json,
    /// Text is an exact number.
    Decimal,
}

impl Kind {
    /// Of a declared type; an expression has none.
    pub(crate) fn of(declared: Option<&str>) -> Self {
        let word = declared
            .unwrap_or_default()
            .trim_start()
            .split(|c: char| !c.is_ascii_alphanumeric())
            .next()
            .unwrap_or_default()
            .to_ascii_uppercase();
        match word.as_str() {
            "BOOLEAN" | "BOOL" => Self::Boolean,
            "TIMESTAMP" | "TIMESTAMPTZ" | "DATETIME" => Self::Timestamp,
            "UUID" => Self::Uuid,
            "JSON" | "JSONB" => Self::Json,
            "DECIMAL" | "NUMERIC" => Self::Decimal,
            _ => Self::Plain,
        }
    }
}

/// The parameters of one statement, as sqlx binds them.
///
/// # Errors
/// Too many, too large, or a value that SQLite cannot hold.
pub(crate) fn arguments(values: &[Value]) -> Result<SqliteArguments> {
    if values.len() > PARAMETERS_MAX {
        return Err(Error::limit(
            "parameters",
            PARAMETERS_MAX as u64,
            values.len() as u64,
        ));
    }
    let bytes: usize = values.iter().map(weight).sum();
    if bytes > PARAMETERS_BYTES_MAX {
        return Err(Error::limit(
            "parameters-bytes",
            PARAMETERS_BYTES_MAX as u64,
            bytes as u64,
        ));
    }
    let mut arguments = SqliteArguments::default();
    for (n, value) in values.iter().enumerate() {
        if weight(value) > VALUE_BYTES_MAX {
            return Err(Error::limit(
                "value-bytes",
                VALUE_BYTES_MAX as u64,
                weight(value) as u64,
            ));
        }
        add(&mut arguments, value)
            .map_err(|problem| Error::invalid(format!("parameter ${}: {problem}", n + 1)))?;
    }
    Ok(arguments)
}

/// A row as the contract knows it, and how many bytes it weighs.
///
/// # Errors
/// The row has another width than its statement had when it was read: the schema changed in between, so it may be tried again.
pub(crate) fn row(row: &SqliteRow, kinds: &[Kind]) -> Result<(Vec<Value>, usize)> {
    if row.len() != kinds.len() {
        return Err(Error::Aborted);
    }
    let mut values = Vec::with_capacity(kinds.len());
    let mut bytes = 0;
    for (n, kind) in kinds.iter().enumerate() {
        let value = match row.try_get_raw(n) {
            Ok(raw) => read(raw, *kind),
            Err(_) => return Err(Error::Aborted),
        };
        // A null, too, costs its place in the guest's list.
        bytes += weight(&value) + CELL_BYTES;
        values.push(value);
    }
    Ok((values, bytes))
}

/// What a cell costs beside its content: about the size of the variant in a guest's memory.
const CELL_BYTES: usize = 16;

fn add(arguments: &mut SqliteArguments, value: &Value) -> core::result::Result<(), String> {
    let added = match value {
        Value::Null => arguments.add(None::<i64>),
        Value::Boolean(on) => arguments.add(i64::from(*on)),
        Value::Integer(number) => arguments.add(*number),
        // SQLite would store it as NULL without a word.
        Value::Real(number) if number.is_nan() => {
            return Err("not a number (NaN) cannot be stored".into());
        }
        Value::Real(number) => arguments.add(*number),
        Value::Text(text) | Value::Json(text) => arguments.add(text.clone()),
        Value::Decimal(text) if !is_decimal(text) => {
            return Err(format!(
                "{text:?} is no decimal number; digits, with a sign, a point or an exponent"
            ));
        }
        Value::Decimal(text) => arguments.add(text.clone()),
        Value::Blob(bytes) => arguments.add(bytes.to_vec()),
        Value::Timestamp(at_us) => {
            let at_us = i64::try_from(*at_us)
                .map_err(|_| "a timestamp beyond the year 294246".to_owned())?;
            arguments.add(at_us)
        }
        Value::Uuid(hi, lo) => arguments.add(uuid(*hi, *lo).to_string()),
    };
    added.map_err(|error| error.to_string())
}

fn read(raw: SqliteValueRef<'_>, kind: Kind) -> Value {
    // A null has its column's declared type, so the class would not show it.
    if raw.is_null() {
        return Value::Null;
    }
    let class = raw.type_info().name().to_owned();
    match class.as_str() {
        "INTEGER" => of_integer(
            <i64 as Decode<Sqlite>>::decode(raw).unwrap_or_default(),
            kind,
        ),
        "REAL" => of_real(
            <f64 as Decode<Sqlite>>::decode(raw).unwrap_or_default(),
            kind,
        ),
        // Text that is no UTF-8 came from another program; what is readable of it is better than an error for the whole result.
        "TEXT" => of_text(String::from_utf8_lossy(&bytes(raw)).into_owned(), kind),
        "BLOB" => Value::Blob(Payload::from(bytes(raw))),
        _ => Value::Null,
    }
}

fn bytes(raw: SqliteValueRef<'_>) -> Vec<u8> {
    <&[u8] as Decode<Sqlite>>::decode(raw)
        .unwrap_or_default()
        .to_vec()
}

fn of_integer(number: i64, kind: Kind) -> Value {
    match (kind, number) {
        (Kind::Boolean, 0 | 1) => Value::Boolean(number == 1),
        (Kind::Timestamp, 0..) => Value::Timestamp(number.unsigned_abs()),
        // A column of this type turns text that is a whole number into one.
        (Kind::Decimal, _) => Value::Decimal(number.to_string()),
        (Kind::Json, _) => Value::Json(number.to_string()),
        _ => Value::Integer(number),
    }
}

fn of_real(number: f64, kind: Kind) -> Value {
    match kind {
        Kind::Json if number.is_finite() => Value::Json(number.to_string()),
        // A decimal that SQLite has rounded is no longer exact, so it does not come back as one.
        Kind::Json | Kind::Plain | Kind::Boolean | Kind::Timestamp | Kind::Uuid | Kind::Decimal => {
            Value::Real(number)
        }
    }
}

fn of_text(text: String, kind: Kind) -> Value {
    match kind {
        Kind::Uuid => match ClientId::parse(&text) {
            Some(id) => Value::Uuid(id.hi, id.lo),
            None => Value::Text(text),
        },
        Kind::Json => Value::Json(text),
        Kind::Decimal if is_decimal(&text) => Value::Decimal(text),
        Kind::Decimal | Kind::Plain | Kind::Boolean | Kind::Timestamp => Value::Text(text),
    }
}

/// A UUID's text is that of every id.
fn uuid(hi: u64, lo: u64) -> ClientId {
    ClientId { hi, lo }
}

fn is_decimal(text: &str) -> bool {
    // Rust reads `inf`, `nan` and their kin as numbers too, but those have letters other than the exponent's.
    text.bytes()
        .all(|c| matches!(c, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E'))
        && text.parse::<f64>().is_ok()
}

pub(crate) fn weight(value: &Value) -> usize {
    match value {
        Value::Null | Value::Boolean(_) => 1,
        Value::Integer(_) | Value::Real(_) | Value::Timestamp(_) => 8,
        Value::Text(text) | Value::Json(text) | Value::Decimal(text) => text.len(),
        Value::Blob(bytes) => bytes.len(),
        Value::Uuid(..) => 36,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_declared_type_says_what_a_column_holds() {
        let cases = [
            (Some("BOOLEAN"), Kind::Boolean),
            (Some("bool not null"), Kind::Boolean),
            (Some("TIMESTAMP WITH TIME ZONE"), Kind::Timestamp),
            (Some("uuid"), Kind::Uuid),
            (Some("JSONB"), Kind::Json),
            (Some("DECIMAL(10,2)"), Kind::Decimal),
            (Some("TEXT"), Kind::Plain),
            (Some(""), Kind::Plain),
            (None, Kind::Plain),
        ];
        for (declared, kind) in cases {
            assert_eq!(Kind::of(declared), kind, "{declared:?}");
        }
    }

    #[test]
    fn what_cannot_be_stored_is_refused_by_its_number() {
        let cases = [
            (
                Value::Real(f64::NAN),
                "parameter $2: not a number (NaN) cannot be stored",
            ),
            (
                Value::Timestamp(u64::MAX),
                "parameter $2: a timestamp beyond the year 294246",
            ),
            (
                Value::Decimal("inf".into()),
                "parameter $2: \"inf\" is no decimal number; digits, with a sign, a point or an exponent",
            ),
        ];
        for (value, expected) in cases {
            assert_eq!(
                arguments(&[Value::Null, value]).unwrap_err(),
                Error::invalid(expected)
            );
        }
    }

    #[test]
    fn what_is_too_much_names_its_limit() {
        let large = Value::Blob(Payload::from(vec![0; VALUE_BYTES_MAX + 1]));
        let check = |values: &[Value], expected: &str| match arguments(values) {
            Err(Error::LimitExceeded(info)) => assert_eq!(info.what, expected),
            _ => panic!("{expected} is not kept"),
        };
        check(core::slice::from_ref(&large), "value-bytes");
        check(&vec![large; 5], "parameters-bytes");
        check(&vec![Value::Null; PARAMETERS_MAX + 1], "parameters");
    }

    #[test]
    fn a_column_whose_content_is_not_of_its_type_keeps_the_content() {
        assert_eq!(of_integer(2, Kind::Boolean), Value::Integer(2));
        assert_eq!(of_integer(-1, Kind::Timestamp), Value::Integer(-1));
        assert_eq!(
            of_text("nobody".into(), Kind::Uuid),
            Value::Text("nobody".into())
        );
        assert_eq!(
            of_text("1,5".into(), Kind::Decimal),
            Value::Text("1,5".into())
        );
        assert_eq!(of_integer(7, Kind::Decimal), Value::Decimal("7".into()));
    }
}
