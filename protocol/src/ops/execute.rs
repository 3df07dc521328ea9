//! EXECUTE (PROTOCOL.md 6.2): calls an action of a module. Its response is the module's output, bytes without a form.

use super::{Body, Malformed, Name8, reader::Reader};

/// What a client calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request<'a> {
    /// The module, or with `#key` behind its name one of its instances.
    pub module: Name8<'a>,
    /// The action.
    pub action: Name8<'a>,
    /// What the action gets.
    pub input: &'a [u8],
}

impl<'a> Request<'a> {
    /// The module's name, and the key of the instance where one is addressed: `arena#room-17` is `("arena", Some("room-17"))`.
    #[must_use]
    pub fn target(&self) -> (&'a str, Option<&'a str>) {
        match self.module.as_str().split_once('#') {
            Some((name, key)) => (name, Some(key)),
            None => (self.module.as_str(), None),
        }
    }
}

impl<'a> Body<'a> for Request<'a> {
    fn decode(body: &'a [u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(body);
        Ok(Self {
            module: reader.name("module")?,
            action: reader.name("action")?,
            input: reader.into_rest(),
        })
    }

    fn encode(&self, out: &mut Vec<u8>) {
        self.module.encode(out);
        self.action.encode(out);
        out.extend_from_slice(self.input);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instance_is_addressed_by_its_key() {
        let target = |module| {
            Request {
                module: Name8::new(module).unwrap(),
                action: Name8::new("a").unwrap(),
                input: b"",
            }
            .target()
        };
        assert_eq!(target("arena"), ("arena", None));
        assert_eq!(target("arena#room#17"), ("arena", Some("room#17")));
        assert_eq!(target("arena#"), ("arena", Some("")));
    }
}
