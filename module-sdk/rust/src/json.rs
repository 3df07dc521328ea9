//! Inputs and answers as JSON.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::{Error, Payload};

/// Reads a value; an input of the wrong form is the caller's mistake.
///
/// # Errors
/// `invalid-argument`, with what was found where.
pub fn parse<T: DeserializeOwned>(payload: &[u8]) -> Result<T, Error> {
    serde_json::from_slice(payload).map_err(Error::invalid)
}

/// Writes a value.
///
/// # Errors
/// `other` with the code `encode`, for a map with keys that are no text.
pub fn payload<T: Serialize + ?Sized>(value: &T) -> Result<Payload, Error> {
    serde_json::to_vec(value).map_err(|error| Error::other("encode", error.to_string()))
}

#[cfg(test)]
mod tests {
    use crate::Error;

    #[derive(Debug, PartialEq, serde::Serialize, serde::Deserialize)]
    struct Move {
        x: i32,
    }

    #[test]
    fn a_value_goes_out_and_in() {
        let payload = super::payload(&Move { x: -3 }).unwrap();
        assert_eq!(payload, b"{\"x\":-3}");
        assert_eq!(super::parse(&payload), Ok(Move { x: -3 }));
    }

    #[test]
    fn what_is_no_json_is_the_callers_mistake() {
        let parsed = super::parse::<Move>(b"{\"x\":");
        assert!(
            matches!(parsed, Err(Error::InvalidArgument(_))),
            "{parsed:?}"
        );
    }
}
