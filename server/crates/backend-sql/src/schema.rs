//! How large a database's schema may be: every connection reads all of it into memory, so one that is too large for that is a database that nobody can open
//! any more.

use cohnect_capabilities::{Error, Result};
use sqlx::sqlite::SqliteConnection;

use crate::{SCHEMA_BYTES_MAX, SCHEMA_OBJECTS_MAX};

/// What a schema has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Measure {
    objects: u64,
    bytes: u64,
}

/// Measures the schema as the connection sees it, its own changes included.
///
/// # Errors
/// What sqlx meets.
pub(crate) async fn measure(
    connection: &mut SqliteConnection,
) -> core::result::Result<Measure, sqlx::Error> {
    let (objects, bytes): (i64, i64) = sqlx::query_as(
        "select count(*), coalesce(sum(octet_length(name) + coalesce(octet_length(sql), 0)), 0) from sqlite_schema",
    )
    .persistent(false)
    .fetch_one(connection)
    .await?;
    Ok(Measure {
        objects: u64::try_from(objects).unwrap_or(u64::MAX),
        bytes: u64::try_from(bytes).unwrap_or(u64::MAX),
    })
}

/// Refuses a schema that is too large.
///
/// # Errors
/// It is; the limit says in what.
pub(crate) fn check(measure: Measure) -> Result<()> {
    for (what, most, found) in [
        ("schema-objects", SCHEMA_OBJECTS_MAX, measure.objects),
        ("schema-bytes", SCHEMA_BYTES_MAX, measure.bytes),
    ] {
        if found > most {
            return Err(Error::limit(what, most, found));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schema_is_refused_above_either_bound_only() {
        let measure = |objects, bytes| Measure { objects, bytes };
        assert_eq!(check(measure(SCHEMA_OBJECTS_MAX, SCHEMA_BYTES_MAX)), Ok(()));
        assert!(check(measure(SCHEMA_OBJECTS_MAX + 1, 0)).is_err());
        assert!(check(measure(0, SCHEMA_BYTES_MAX + 1)).is_err());
    }
}
