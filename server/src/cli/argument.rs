//! What stands on the command line and has a form: read before anything is sent, and refused with what was found and what would be right. Clap names the
//! argument in front of that.

use core::num::{IntErrorKind, ParseIntError};
use core::str::FromStr;
use core::time::Duration;

use cohnect_protocol::ops::expression::{self, Expression};
use cohnect_protocol::ops::{Malformed, Name8, TAG_LEN_MAX, Tag};

/// A key, a scope, a topic, a module or an action.
pub(super) fn name(text: &str) -> Result<String, String> {
    let found = match text.len() {
        0 => "it is empty".to_owned(),
        bytes => format!("it has {bytes} bytes"),
    };
    Name8::new(text)
        .map(|name| name.as_str().to_owned())
        .ok_or_else(|| format!("{found}; 1 to 255 would be right"))
}

/// A tag that a client gives to itself.
pub(super) fn tag(text: &str) -> Result<String, String> {
    let right = format!("a tag has 1 to {TAG_LEN_MAX} of A-Z a-z 0-9 _ . : / -");
    match Tag::new(text) {
        Ok(tag) => Ok(tag.as_str().to_owned()),
        Err(_) if text.starts_with('~') => Err(format!(
            "{right}; the `~` only shows in lists that a client gave it to itself"
        )),
        Err(_) => {
            let wrong = text
                .chars()
                .find(|c| Tag::new(c.encode_utf8(&mut [0; 4])).is_err());
            Err(match wrong {
                Some(c) => format!("{right}, and {c:?} is none of them"),
                None => format!("{right}, and this has {}", text.len()),
            })
        }
    }
}

/// An expression over tags.
pub(super) fn tag_expression(text: &str) -> Result<String, String> {
    let why = match Expression::parse(text) {
        Ok(_) if !text.is_empty() => return Ok(text.to_owned()),
        Err(Malformed::Expression(why)) => why.to_owned(),
        Err(other) => other.to_string(),
        Ok(_) => "it is empty".to_owned(),
    };
    Err(format!(
        "{why}; right are tags with & | ! and parentheses between them, such as `team/red & !(away | ~busy)` or `vip*`, in at most {} bytes",
        expression::LEN_MAX
    ))
}

/// An opcode that modules may claim.
pub(super) fn opcode(text: &str) -> Result<u16, String> {
    text.strip_prefix("0x")
        .map_or_else(
            || unsigned(text)?.parse().ok(),
            |digits| u16::from_str_radix(unsigned(digits)?, 16).ok(),
        )
        .filter(|number| cohnect_client::Opcode(*number).belongs_to_modules())
        .ok_or_else(|| {
            "it is no opcode of modules; those are 0x0100 to 0xFFFF, or 256 to 65535".to_owned()
        })
}

/// The version of a value.
pub(super) fn version(text: &str) -> Result<u64, String> {
    whole(text, u64::MAX)
}

/// The version of a command on an opcode.
pub(super) fn command_version(text: &str) -> Result<u8, String> {
    whole(text, u8::MAX)
}

/// How often.
pub(super) fn count(text: &str) -> Result<u64, String> {
    whole(text, u64::MAX)
}

/// The digits of a number without a sign, which Rust would take.
fn unsigned(text: &str) -> Option<&str> {
    (!text.starts_with('+')).then_some(text)
}

/// A number without sign and fraction.
fn whole<T: FromStr<Err = ParseIntError> + core::fmt::Display>(
    text: &str,
    most: T,
) -> Result<T, String> {
    unsigned(text)
        .unwrap_or("")
        .parse()
        .map_err(|e: ParseIntError| {
            let found = if *e.kind() == IntErrorKind::PosOverflow {
                "it is too large"
            } else {
                "it is no whole number"
            };
            format!("{found}; 0 to {most} would be right")
        })
}

/// A time in seconds.
pub(super) fn seconds(text: &str) -> Result<Duration, String> {
    text.parse::<f64>()
        .ok()
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
        .filter(|time| !time.is_zero())
        .ok_or_else(|| "it is no number of seconds above 0".to_owned())
}

/// How long a row of the benchmarks takes: rows end, whatever is asked for.
pub(super) fn row_time(text: &str) -> Result<Duration, String> {
    seconds(text).and_then(|time| {
        if time.as_secs_f64() <= 600.0 {
            Ok(time)
        } else {
            Err("a row takes at most 600 seconds".into())
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_tag_is_told_what_one_is() {
        assert_eq!(tag("team/red:captain").as_deref(), Ok("team/red:captain"));
        for (wrong, parts) in [
            ("bad tag", ["1 to 64 of A-Z", "' ' is none of them"]),
            ("ä", ["1 to 64 of A-Z", "'ä' is none of them"]),
            ("", ["1 to 64 of A-Z", "this has 0"]),
            (&"x".repeat(65), ["1 to 64 of A-Z", "this has 65"]),
            ("~busy", ["1 to 64 of A-Z", "`~` only shows in lists"]),
        ] {
            let said = tag(wrong).unwrap_err();
            assert!(parts.iter().all(|part| said.contains(part)), "{said}");
        }
    }

    #[test]
    fn a_malformed_expression_is_refused_with_its_place_and_an_example() {
        assert_eq!(tag_expression("a & !b*").as_deref(), Ok("a & !b*"));
        for (wrong, why) in [
            ("", "a tag of 1 to 64 bytes was expected"),
            ("red &", "a tag of 1 to 64 bytes was expected"),
            ("red blue", "something follows where"),
            ("(red", "a parenthesis is not closed"),
        ] {
            let said = tag_expression(wrong).unwrap_err();
            assert!(said.starts_with(why), "{said}");
            assert!(
                said.contains("such as `team/red & !(away | ~busy)`"),
                "{said}"
            );
        }
        // What is shown as right is.
        assert!(tag_expression("team/red & !(away | ~busy)").is_ok());
        assert!(tag_expression("vip*").is_ok());
    }

    #[test]
    fn names_and_numbers_say_what_would_be_right() {
        assert_eq!(name("motd").as_deref(), Ok("motd"));
        assert_eq!(name(""), Err("it is empty; 1 to 255 would be right".into()));
        let long = name(&"k".repeat(256)).unwrap_err();
        assert!(long.starts_with("it has 256 bytes"), "{long}");
        assert_eq!(command_version("2"), Ok(2));
        for (wrong, found) in [
            ("256", "too large"),
            ("x", "no whole"),
            ("-1", "no whole"),
            ("+5", "no whole"),
        ] {
            let said = command_version(wrong).unwrap_err();
            assert!(
                said.contains(found) && said.ends_with("0 to 255 would be right"),
                "{said}"
            );
        }
        assert!(version("1.5").unwrap_err().contains("no whole number"));
        assert!(opcode("0x0001").unwrap_err().contains("0x0100 to 0xFFFF"));
        assert_eq!(opcode("0x0123"), Ok(0x0123));
        assert!(opcode("0x+123").is_err() && opcode("+300").is_err());
    }
}
