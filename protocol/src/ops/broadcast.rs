//! BROADCAST (PROTOCOL.md 6.2): a client sends to many, and what they get. Who they are, and which stages come before, is the engine's.

use super::{Body, Malformed, Name8, expression, reader::Reader};
use crate::PeerId;

const AUDIENCE: u8 = 0b0000_0011;
const NOT_ME: u8 = 0b1000_0000;

/// To whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Audience<'a> {
    /// Every client with an open stream on the topic.
    Subscribers,
    /// Every client.
    Everyone,
    /// Every client whose tags fit.
    Tagged(ExpressionText<'a>),
}

/// The text of a tag expression, whose length is known to be right and whose grammar is not yet checked: one text comes many times, so who
/// reads it keeps what it was parsed into.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ExpressionText<'a>(&'a str);

impl<'a> ExpressionText<'a> {
    /// `text`, if its length is that of an expression.
    ///
    /// # Errors
    /// [`Malformed::Expression`] when it is empty or above [`expression::LEN_MAX`] bytes.
    pub const fn new(text: &'a str) -> Result<Self, Malformed> {
        if text.is_empty() || text.len() > expression::LEN_MAX {
            Err(Malformed::Expression("its length is not 1 to 256 bytes"))
        } else {
            Ok(Self(text))
        }
    }

    /// The text.
    #[must_use]
    pub const fn as_str(self) -> &'a str {
        self.0
    }

    /// What it means.
    ///
    /// # Errors
    /// [`Malformed::Expression`] when it is outside the grammar or a limit.
    pub fn parse(self) -> Result<expression::Expression, Malformed> {
        expression::Expression::parse(self.0)
    }
}

/// What a client sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request<'a> {
    /// The topic, whose stages see it first.
    pub topic: Name8<'a>,
    /// To whom.
    pub audience: Audience<'a>,
    /// Whether the sender itself is left out.
    pub not_me: bool,
    /// What they get.
    pub payload: &'a [u8],
}

impl<'a> Body<'a> for Request<'a> {
    fn decode(body: &'a [u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(body);
        let topic = reader.name("topic")?;
        let flags = reader.u8("audience")?;
        if flags & !(AUDIENCE | NOT_ME) != 0 {
            return Err(Malformed::ReservedBit("audience"));
        }
        let audience = match flags & AUDIENCE {
            0 => Audience::Subscribers,
            1 => Audience::Everyone,
            2 => {
                let len = reader.u16("expression")?;
                let text = reader.bytes(usize::from(len), "expression")?;
                let text = core::str::from_utf8(text)
                    .map_err(|_| Malformed::Expression("it is not UTF-8"))?;
                Audience::Tagged(ExpressionText::new(text)?)
            }
            _ => return Err(Malformed::Choice("audience")),
        };
        Ok(Self {
            topic,
            audience,
            not_me: flags & NOT_ME != 0,
            payload: reader.into_rest(),
        })
    }

    fn encode(&self, out: &mut Vec<u8>) {
        self.topic.encode(out);
        let not_me = if self.not_me { NOT_ME } else { 0 };
        match self.audience {
            Audience::Subscribers => out.push(not_me),
            Audience::Everyone => out.push(1 | not_me),
            Audience::Tagged(text) => {
                out.push(2 | not_me);
                let len = u16::try_from(text.0.len())
                    .expect("invariant: an expression has at most 256 bytes");
                out.extend_from_slice(&len.to_be_bytes());
                out.extend_from_slice(text.0.as_bytes());
            }
        }
        out.extend_from_slice(self.payload);
    }
}

/// What the sender learns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Response {
    /// For how many clients it was queued.
    pub recipients: u32,
}

impl Body<'_> for Response {
    fn decode(body: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(body);
        let recipients = reader.u32("recipients")?;
        reader.finish("recipients")?;
        Ok(Self { recipients })
    }

    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.recipients.to_be_bytes());
    }
}

/// What each recipient gets, without a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Push<'a> {
    /// The client that sent it; none when it was the server. On the wire none is 16 zero bytes.
    pub sender: Option<PeerId>,
    /// The topic.
    pub topic: Name8<'a>,
    /// What was sent, as the topic's stages left it.
    pub payload: &'a [u8],
}

impl<'a> Body<'a> for Push<'a> {
    fn decode(body: &'a [u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(body);
        let sender = PeerId::from_bytes(reader.array("sender")?);
        Ok(Self {
            sender: (sender != PeerId::default()).then_some(sender),
            topic: reader.name("topic")?,
            payload: reader.into_rest(),
        })
    }

    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.sender.unwrap_or_default().as_bytes());
        self.topic.encode(out);
        out.extend_from_slice(self.payload);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_form_forbids_is_malformed() {
        for (body, error) in [
            (&b"\x01t\x03"[..], Malformed::Choice("audience")),
            (b"\x01t\x40", Malformed::ReservedBit("audience")),
            (b"\x01t\x02\x00", Malformed::Truncated("expression")),
            (b"\x01t\x02\x00\x05a", Malformed::Truncated("expression")),
        ] {
            assert_eq!(Request::decode(body), Err(error));
        }
    }

    #[test]
    fn the_length_of_an_expression_is_1_to_256() {
        let body = |len: u16| {
            let text = "a".repeat(usize::from(len));
            [b"\x01t\x02", &len.to_be_bytes()[..], text.as_bytes()].concat()
        };
        assert!(Request::decode(&body(0)).is_err());
        assert!(Request::decode(&body(256)).is_ok());
        assert!(Request::decode(&body(257)).is_err());
    }
}
