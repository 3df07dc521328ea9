//! Snapshots and payloads as MessagePack, structs as maps with their fields' names: so a Luau module reads what a Rust one wrote, and the other way round.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::migration::Snapshot;
use crate::{Error, Payload};

/// Reads a value.
///
/// # Errors
/// `invalid-argument`, with what was found.
pub fn parse<T: DeserializeOwned>(payload: &[u8]) -> Result<T, Error> {
    rmp_serde::from_slice(payload).map_err(Error::invalid)
}

/// Writes a value.
///
/// # Errors
/// `other` with the code `encode`.
pub fn payload<T: Serialize + ?Sized>(value: &T) -> Result<Payload, Error> {
    rmp_serde::to_vec_named(value).map_err(|error| Error::other("encode", error.to_string()))
}

/// A snapshot of a value, for [`Migration::save`](crate::Migration::save). A script takes it over only if its own `schema` is the same; without one it is 0.
///
/// # Errors
/// As [`payload`].
pub fn snapshot<T: Serialize + ?Sized>(schema: u32, value: &T) -> Result<Snapshot, Error> {
    Ok(Snapshot {
        schema,
        data: payload(value)?,
    })
}

#[cfg(test)]
mod tests {
    #[derive(Debug, PartialEq, serde::Serialize, serde::Deserialize)]
    struct World {
        ticks: u64,
        names: Vec<String>,
    }

    #[test]
    fn a_snapshot_holds_its_value() {
        let world = World {
            ticks: 7,
            names: vec!["Ada".into()],
        };
        let snapshot = super::snapshot(1, &world).unwrap();
        assert_eq!(snapshot.data.first(), Some(&0x82), "a map of two fields");
        assert_eq!(super::parse(&snapshot.data), Ok(world));
    }
}
