//! SET_CLIENT_TAGS (PROTOCOL.md 6.2): a client changes the tags that it set for itself, and learns all of its tags. Which it may set is
//! policy, not form.

use super::{Body, ListedTag, Malformed, Tag, reader::Reader};

/// The most tags in one request, and the most that a client has of its own.
pub const OWN_TAGS_MAX: usize = 32;
/// The most tags in a response: what the count's byte can say.
pub const LISTED_TAGS_MAX: usize = 255;

/// What to do with the tags of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Mode {
    /// They become all of the client's own.
    Replace = 0,
    /// They join the client's own.
    Add = 1,
    /// They leave the client's own.
    Remove = 2,
}

/// What a client wants changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request<'a> {
    mode: Mode,
    tags: Vec<Tag<'a>>,
}

impl<'a> Request<'a> {
    /// A change by these tags; one that is named twice counts once.
    ///
    /// # Errors
    /// [`Malformed::TooMany`] for more than [`OWN_TAGS_MAX`].
    pub fn new(mode: Mode, tags: Vec<Tag<'a>>) -> Result<Self, Malformed> {
        if tags.len() > OWN_TAGS_MAX {
            return Err(Malformed::TooMany("tags"));
        }
        Ok(Self { mode, tags })
    }

    /// What to do with the tags.
    #[must_use]
    pub const fn mode(&self) -> Mode {
        self.mode
    }

    /// The tags, at most [`OWN_TAGS_MAX`], in the sender's order.
    #[must_use]
    pub fn tags(&self) -> &[Tag<'a>] {
        &self.tags
    }
}

impl<'a> Body<'a> for Request<'a> {
    fn decode(body: &'a [u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(body);
        let mode = match reader.u8("mode")? {
            0 => Mode::Replace,
            1 => Mode::Add,
            2 => Mode::Remove,
            _ => return Err(Malformed::Choice("mode")),
        };
        let count = usize::from(reader.u8("count")?);
        if count > OWN_TAGS_MAX {
            return Err(Malformed::TooMany("tags"));
        }
        let tags = (0..count)
            .map(|_| {
                reader
                    .name("a tag")
                    .and_then(|name| Tag::new(name.as_str()))
            })
            .collect::<Result<_, _>>()?;
        reader.finish("the tags")?;
        Ok(Self { mode, tags })
    }

    fn encode(&self, out: &mut Vec<u8>) {
        out.push(self.mode as u8);
        out.push(u8::try_from(self.tags.len()).expect("invariant: at most 32 tags"));
        for tag in &self.tags {
            ListedTag {
                own: false,
                tag: *tag,
            }
            .encode(out);
        }
    }
}

/// All tags of the client after the change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response<'a> {
    tags: Vec<ListedTag<'a>>,
}

impl<'a> Response<'a> {
    /// A list of these, sorted by bytes. What the count's byte cannot say ([`LISTED_TAGS_MAX`]) is left off at the end.
    #[must_use]
    pub fn new(mut tags: Vec<ListedTag<'a>>) -> Self {
        tags.sort_unstable();
        tags.dedup();
        tags.truncate(LISTED_TAGS_MAX);
        Self { tags }
    }

    /// The tags.
    #[must_use]
    pub fn tags(&self) -> &[ListedTag<'a>] {
        &self.tags
    }
}

impl<'a> Body<'a> for Response<'a> {
    fn decode(body: &'a [u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(body);
        let count = reader.u8("count")?;
        let tags = (0..count)
            .map(|_| {
                reader
                    .name("a tag")
                    .and_then(|name| ListedTag::new(name.as_str()))
            })
            .collect::<Result<_, _>>()?;
        reader.finish("the tags")?;
        Ok(Self { tags })
    }

    fn encode(&self, out: &mut Vec<u8>) {
        out.push(u8::try_from(self.tags.len()).expect("invariant: at most 255 tags"));
        for tag in &self.tags {
            tag.encode(out);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_form_forbids_is_malformed() {
        let many = [&[1, 33][..], &b"\x01a".repeat(33)].concat();
        for (body, error) in [
            (&b"\x03\x00"[..], Malformed::Choice("mode")),
            (b"\x00", Malformed::Truncated("count")),
            (b"\x00\x01\x02~a", Malformed::Tag("a tag")),
            (b"\x00\x01\x01a\x00", Malformed::LeftOver("the tags")),
            (&many, Malformed::TooMany("tags")),
        ] {
            assert_eq!(Request::decode(body), Err(error));
        }
    }

    #[test]
    fn a_response_is_sorted_and_without_doubles() {
        let tags = ["~b", "z", "a", "z"].map(|text| ListedTag::new(text).unwrap());
        let response = Response::new(tags.to_vec());
        assert_eq!(&response.to_bytes()[..], b"\x03\x01a\x01z\x02~b");
    }
}
