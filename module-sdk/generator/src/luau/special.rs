//! The types that no interface of the contract has as scripts see them: ids, times, payloads, and errors.

use anyhow::{Result, bail};
use wit_parser::TypeDefKind;

use crate::contract::{Contract, snake};

/// What stands at the head of `types`.
pub(super) fn head(contract: &Contract) -> Result<String> {
    let types = contract.interface("types")?;
    let TypeDefKind::Variant(errors) = &contract.def(types.types["error"]).kind else {
        bail!("the contract's error is a variant");
    };
    let kinds: Vec<_> = errors
        .cases
        .iter()
        .map(|case| format!("\n\t| \"{}\"", snake(&case.name)))
        .collect();
    Ok(format!(
        r#"
-- A client's id: the text of a UUID.
export type ClientId = string
-- A server's id: the text of a UUID.
export type InstanceId = string
-- The modules' own begin at 0x0100.
export type Opcode = number
-- Bytes to be passed; what arrives is always a string.
export type Payload = string | buffer
-- Seconds since the Unix epoch, exact to the microsecond.
export type Timestamp = number
-- Seconds, exact to the microsecond.
export type Duration = number
-- A value of configuration, flags, labels and log fields.
export type Scalar = boolean | number | string | buffer

export type ErrorKind ={}

-- Why something did not happen. Compare `kind`, or the whole with a constant of `errors`.
export type Error = {{
	read kind: ErrorKind,
	read message: string,
	-- Of `failed`: the module's own code. Of `other`: text, for SQL the SQLSTATE.
	read code: any,
	-- Of `limit_exceeded`: which limit, what it allows, what was asked for.
	read what: string?,
	read allowed: number?,
	read requested: number?,
}}

-- What a handler refuses with: an error as it came, its own code and text, or a case by name.
export type Problem = Error | {{ read code: number?, read message: string? }} | ErrorKind
"#,
        kinds.concat()
    ))
}
