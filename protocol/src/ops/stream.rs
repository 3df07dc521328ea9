//! STREAM (PROTOCOL.md 6.2): what opens and closes a stream, and what the server sends on it. Who publishes, and to whom, is not its business.

use super::{Body, Detail, Malformed, Name8, Outcome, Status, reader::Reader};

/// Set in the ids of streams that the server begins; a client's request ids stay below it.
pub const SERVER_BEGUN: u32 = 1 << 31;

/// What a client asks for. The response to either is empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request<'a> {
    /// Opens a stream on a topic; its id is the id of this request.
    Open {
        /// The topic.
        topic: Name8<'a>,
        /// What the topic's owner gets.
        arguments: &'a [u8],
    },
    /// Closes a stream, also one that is not open.
    Close {
        /// The stream's id.
        stream: u32,
    },
}

impl<'a> Body<'a> for Request<'a> {
    fn decode(body: &'a [u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(body);
        match reader.u8("kind")? {
            0 => Ok(Self::Open {
                topic: reader.name("topic")?,
                arguments: reader.into_rest(),
            }),
            1 => {
                let stream = reader.u32("stream")?;
                reader.finish("stream")?;
                Ok(Self::Close { stream })
            }
            _ => Err(Malformed::Choice("kind")),
        }
    }

    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Open { topic, arguments } => {
                out.push(0);
                topic.encode(out);
                out.extend_from_slice(arguments);
            }
            Self::Close { stream } => {
                out.push(1);
                out.extend_from_slice(&stream.to_be_bytes());
            }
        }
    }
}

/// What the server sends on a stream, without a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Push<'a> {
    /// The stream's id.
    pub stream: u32,
    /// What happened on it.
    pub event: Event<'a>,
}

/// What happens on a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// Something was published.
    Item(&'a [u8]),
    /// Nothing more will come.
    End {
        /// Whether it came to its end, or why not.
        outcome: Outcome,
        /// What the module says about it, as UTF-8; may be empty.
        text: &'a str,
    },
    /// The server begins a stream of itself ([`SERVER_BEGUN`]).
    Begin {
        /// Its topic.
        topic: Name8<'a>,
    },
}

impl<'a> Body<'a> for Push<'a> {
    fn decode(body: &'a [u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(body);
        let stream = reader.u32("stream")?;
        let event = match reader.u8("kind")? {
            0 => Event::Item(reader.into_rest()),
            1 => decode_end(reader)?,
            2 => {
                let topic = reader.name("topic")?;
                reader.finish("topic")?;
                Event::Begin { topic }
            }
            _ => return Err(Malformed::Choice("kind")),
        };
        Ok(Self { stream, event })
    }

    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.stream.to_be_bytes());
        match self.event {
            Event::Item(item) => {
                out.push(0);
                out.extend_from_slice(item);
            }
            Event::End { outcome, text } => {
                out.push(1);
                out.push(outcome.status() as u8);
                out.extend_from_slice(&outcome.detail().0.to_be_bytes());
                out.extend_from_slice(text.as_bytes());
            }
            Event::Begin { topic } => {
                out.push(2);
                topic.encode(out);
            }
        }
    }
}

fn decode_end(mut reader: Reader<'_>) -> Result<Event<'_>, Malformed> {
    let status = Status::from_u8(reader.u8("status")?).ok_or(Malformed::Choice("status"))?;
    let detail = Detail(reader.u16("detail")?);
    if (status == Status::Ok) != (detail == Detail(0)) {
        return Err(Malformed::Outcome("the end"));
    }
    let text = core::str::from_utf8(reader.into_rest()).map_err(|_| Malformed::Name("text"))?;
    Ok(Event::End {
        outcome: Outcome::from_parts(status, detail),
        text,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_form_forbids_is_malformed() {
        assert_eq!(Request::decode(b"\x02"), Err(Malformed::Choice("kind")));
        assert_eq!(
            Request::decode(b"\x01\0\0\0\x09\0"),
            Err(Malformed::LeftOver("stream"))
        );
        for (push, error) in [
            (&b"\0\0\0\x09\x03"[..], Malformed::Choice("kind")),
            (b"\0\0\0\x09\x01\x02\0\0", Malformed::Choice("status")),
            (b"\0\0\0\x09\x01\x01\x01\x05", Malformed::Outcome("the end")),
            (b"\0\0\0\x09\x01\x05\0\0", Malformed::Outcome("the end")),
            (b"\0\0\0\x09\x02\x01t\0", Malformed::LeftOver("topic")),
        ] {
            assert_eq!(Push::decode(push), Err(error));
        }
    }
}
