//! Ids as values: order, hash, and the UUID's text.

use core::cmp::Ordering;
use core::fmt;
use core::hash::{Hash, Hasher};
use core::str::FromStr;

use crate::{ClientId, Error, InstanceId};

macro_rules! value {
    ($($id:ident),+) => {$(
        impl Eq for $id {}

        impl PartialOrd for $id {
            fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
                Some(self.cmp(other))
            }
        }

        impl Ord for $id {
            fn cmp(&self, other: &Self) -> Ordering {
                (self.hi, self.lo).cmp(&(other.hi, other.lo))
            }
        }

        impl Hash for $id {
            fn hash<H: Hasher>(&self, state: &mut H) {
                (self.hi, self.lo).hash(state);
            }
        }

        impl fmt::Display for $id {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(
                    f,
                    "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
                    self.hi >> 32,
                    (self.hi >> 16) & 0xffff,
                    self.hi & 0xffff,
                    self.lo >> 48,
                    self.lo & 0xffff_ffff_ffff,
                )
            }
        }

        impl FromStr for $id {
            type Err = Error;

            fn from_str(text: &str) -> Result<Self, Error> {
                let hyphens = text.bytes().enumerate().all(|(at, byte)| {
                    if matches!(at, 8 | 13 | 18 | 23) {
                        byte == b'-'
                    } else {
                        byte.is_ascii_hexdigit()
                    }
                });
                if text.len() != 36 || !hyphens {
                    return Err(Error::invalid(format!("`{text}` is no id")));
                }
                let digits: String = text.chars().filter(|c| *c != '-').collect();
                let value = u128::from_str_radix(&digits, 16)?;
                Ok(Self {
                    hi: (value >> 64) as u64,
                    lo: value as u64,
                })
            }
        }
    )+};
}

value!(ClientId, InstanceId);

#[cfg(test)]
mod tests {
    use crate::ClientId;

    #[test]
    fn an_id_is_its_text() {
        let id = ClientId {
            hi: 0xc44b_be47_9bdd_83c8,
            lo: 0xa994_6b3e_0a1c_e92a,
        };
        assert_eq!(id.to_string(), "c44bbe47-9bdd-83c8-a994-6b3e0a1ce92a");
        assert_eq!(id.to_string().parse(), Ok(id));
    }

    #[test]
    fn what_is_no_id_is_refused() {
        for text in ["", "c44bbe47", "+44bbe47-9bdd-83c8-a994-6b3e0a1ce92a"] {
            assert!(text.parse::<ClientId>().is_err(), "{text}");
        }
    }
}
