//! Readers of single things: the clear header and the bodies of the operations. What they take, they write back byte for byte.

use crate::ops::expression::Expression;
use crate::ops::{Body, Refusal, broadcast, execute, get, set, stream, tags};
use crate::{ASSOCIATED_LEN, HEADER_LEN, Header, ProtectedPrefix};

/// The clear header and the clear fields of a protected datagram.
pub fn header(bytes: &[u8]) {
    if let Some(header) = Header::parse(bytes) {
        assert_eq!(header.encode()[..], bytes[..HEADER_LEN]);
    }
    if let Some(prefix) = ProtectedPrefix::parse(bytes) {
        assert_eq!(prefix.encode()[..], bytes[HEADER_LEN..ASSOCIATED_LEN]);
    }
}

/// The body of every operation, in both directions; the first byte says which.
pub fn operations(bytes: &[u8]) {
    let Some((which, bytes)) = bytes.split_first() else {
        return;
    };
    match which % 15 {
        0 => again::<get::Request<'_>>(bytes),
        1 => again::<get::Response<'_>>(bytes),
        2 => again::<set::Request<'_>>(bytes),
        3 => again::<set::Response>(bytes),
        4 => again::<set::Conflict>(bytes),
        5 => again::<tags::Request<'_>>(bytes),
        6 => again::<tags::Response<'_>>(bytes),
        7 => again::<execute::Request<'_>>(bytes),
        8 => again::<Refusal<'_>>(bytes),
        9 => again::<stream::Request<'_>>(bytes),
        10 => again::<stream::Push<'_>>(bytes),
        11 => again::<broadcast::Request<'_>>(bytes),
        12 => again::<broadcast::Response>(bytes),
        13 => again::<broadcast::Push<'_>>(bytes),
        _ => expression(bytes),
    }
}

fn again<'a, B: Body<'a>>(bytes: &'a [u8]) {
    if let Ok(body) = B::decode(bytes) {
        assert_eq!(body.to_bytes(), bytes);
    }
}

/// A tag expression means the same once it is printed and read again.
fn expression(bytes: &[u8]) {
    let Ok(text) = core::str::from_utf8(bytes) else {
        return;
    };
    if let Ok(parsed) = Expression::parse(text) {
        // The printed form has all its parentheses, so it may be longer than what may be sent.
        if let Ok(again) = Expression::parse(&parsed.to_string()) {
            assert_eq!(again, parsed);
        }
        for tagged in [false, true] {
            let _ = parsed.holds(&mut |_| tagged);
        }
    }
}
