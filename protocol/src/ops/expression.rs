//! Tag expressions (PROTOCOL.md 6.2): `red&!~away | vip*` parsed into a tree. It knows no client and no index; who evaluates it walks the tree.
//!
//! ```text
//! expr   = term *("|" term)
//! term   = factor *("&" factor)
//! factor = ["!"] (["~"] name ["*"] / "(" expr ")")
//! ```
//! Spaces may stand between these, not inside `~name*`.

use core::fmt;

use super::{Malformed, TAG_LEN_MAX, tag::is_tag_byte};

/// The longest expression in bytes, so that one fits any request beside its payload.
pub const LEN_MAX: usize = 256;
/// The most names in an expression: each costs a look-up in an index.
pub const NAMES_MAX: usize = 16;
/// The deepest nesting of parentheses, which bounds the recursion of whoever walks the tree.
pub const DEPTH_MAX: usize = 8;

/// What a client's tags are held against.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Expression {
    /// A tag of this pattern is there.
    Tag(Pattern),
    /// It does not hold.
    Not(Box<Self>),
    /// All of these hold; at least two.
    All(Vec<Self>),
    /// One of these holds; at least two.
    Any(Vec<Self>),
}

/// One name in an expression.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Pattern {
    /// Whether it means tags that clients set for themselves (`~`) instead of those they were given.
    pub own: bool,
    /// The tag, or with [`Pattern::prefix`] what it begins with.
    pub name: Box<str>,
    /// Whether every tag that begins with the name fits (`*`).
    pub prefix: bool,
}

impl Pattern {
    /// Whether the tag `name`, of the client's own or given, fits.
    #[must_use]
    pub fn fits(&self, own: bool, name: &str) -> bool {
        self.own == own
            && if self.prefix {
                name.starts_with(&*self.name)
            } else {
                name == &*self.name
            }
    }
}

impl Expression {
    /// Reads an expression.
    ///
    /// # Errors
    /// [`Malformed::Expression`] names what is outside the grammar or a limit.
    pub fn parse(text: &str) -> Result<Self, Malformed> {
        if text.len() > LEN_MAX {
            return Err(Malformed::Expression("its length is not 1 to 256 bytes"));
        }
        let mut parser = Parser {
            rest: text.as_bytes(),
            names: 0,
        };
        let parsed = parser.expression(0)?;
        match parser.peek() {
            None => Ok(parsed),
            Some(_) => Err(Malformed::Expression(
                "something follows where | & or the end was expected",
            )),
        }
    }

    /// Whether it holds, where `has` says whether a tag of a pattern is there.
    pub fn holds(&self, has: &mut impl FnMut(&Pattern) -> bool) -> bool {
        match self {
            Self::Tag(pattern) => has(pattern),
            Self::Not(inner) => !inner.holds(has),
            Self::All(parts) => parts.iter().all(|part| part.holds(has)),
            Self::Any(parts) => parts.iter().any(|part| part.holds(has)),
        }
    }
}

/// A text that parses into the same tree, as long as the tree was parsed.
impl fmt::Display for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let joined = |f: &mut fmt::Formatter<'_>, parts: &[Self], sign: &str| {
            for (n, part) in parts.iter().enumerate() {
                let before = if n == 0 { "" } else { sign };
                // Only a nested operator needs parentheses; a negation brings its own.
                match part {
                    Self::Tag(_) | Self::Not(_) => write!(f, "{before}{part}")?,
                    Self::All(_) | Self::Any(_) => write!(f, "{before}({part})")?,
                }
            }
            Ok(())
        };
        match self {
            Self::Tag(pattern) => pattern.fmt(f),
            Self::Not(inner) => match &**inner {
                Self::Tag(pattern) => write!(f, "!{pattern}"),
                Self::Not(_) | Self::All(_) | Self::Any(_) => write!(f, "!({inner})"),
            },
            Self::All(parts) => joined(f, parts, "&"),
            Self::Any(parts) => joined(f, parts, "|"),
        }
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let own = if self.own { "~" } else { "" };
        let prefix = if self.prefix { "*" } else { "" };
        write!(f, "{own}{}{prefix}", self.name)
    }
}

/// Recursive descent; the depth is bounded by [`DEPTH_MAX`], the work by the length of the text.
struct Parser<'a> {
    rest: &'a [u8],
    names: usize,
}

impl Parser<'_> {
    /// The next byte that is no space.
    fn peek(&mut self) -> Option<u8> {
        // Only U+0020 counts as a space: the other blanks of ASCII are outside the grammar.
        let spaces = self.rest.iter().take_while(|byte| **byte == b' ').count();
        self.rest = self.rest.get(spaces..).unwrap_or_default();
        self.rest.first().copied()
    }

    /// Takes `sign` when it comes next.
    fn take(&mut self, sign: u8) -> bool {
        let there = self.peek() == Some(sign);
        if there {
            self.rest = self.rest.get(1..).unwrap_or_default();
        }
        there
    }

    fn expression(&mut self, depth: usize) -> Result<Expression, Malformed> {
        let first = self.term(depth)?;
        if !self.take(b'|') {
            return Ok(first);
        }
        let mut parts = vec![first, self.term(depth)?];
        while self.take(b'|') {
            parts.push(self.term(depth)?);
        }
        Ok(Expression::Any(parts))
    }

    fn term(&mut self, depth: usize) -> Result<Expression, Malformed> {
        let first = self.factor(depth)?;
        if !self.take(b'&') {
            return Ok(first);
        }
        let mut parts = vec![first, self.factor(depth)?];
        while self.take(b'&') {
            parts.push(self.factor(depth)?);
        }
        Ok(Expression::All(parts))
    }

    fn factor(&mut self, depth: usize) -> Result<Expression, Malformed> {
        let negated = self.take(b'!');
        let factor = if self.take(b'(') {
            if depth == DEPTH_MAX {
                return Err(Malformed::Expression("it is nested deeper than 8"));
            }
            let inner = self.expression(depth + 1)?;
            if !self.take(b')') {
                return Err(Malformed::Expression("a parenthesis is not closed"));
            }
            inner
        } else {
            Expression::Tag(self.pattern()?)
        };
        Ok(if negated {
            Expression::Not(Box::new(factor))
        } else {
            factor
        })
    }

    fn pattern(&mut self) -> Result<Pattern, Malformed> {
        let own = self.take(b'~');
        let len = self
            .rest
            .iter()
            .take_while(|byte| is_tag_byte(**byte))
            .count();
        if len == 0 || len > TAG_LEN_MAX {
            return Err(Malformed::Expression("a tag of 1 to 64 bytes was expected"));
        }
        let (name, rest) = self.rest.split_at_checked(len).unwrap_or_default();
        self.names += 1;
        if self.names > NAMES_MAX {
            return Err(Malformed::Expression("it has more than 16 names"));
        }
        let (prefix, rest) = match rest.strip_prefix(b"*") {
            Some(rest) => (true, rest),
            None => (false, rest),
        };
        self.rest = rest;
        Ok(Pattern {
            own,
            name: name.iter().copied().map(char::from).collect(),
            prefix,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn holds(text: &str, tags: &[&str]) -> bool {
        Expression::parse(text).unwrap().holds(&mut |pattern| {
            tags.iter().any(|tag| match tag.strip_prefix('~') {
                Some(own) => pattern.fits(true, own),
                None => pattern.fits(false, tag),
            })
        })
    }

    #[test]
    fn and_binds_tighter_than_or() {
        assert!(holds("a | b & c", &["a"]));
        assert!(!holds("(a | b) & c", &["a"]));
        assert!(holds("!a&b", &["b"]));
        assert!(!holds("!(a|b)", &["b"]));
    }

    #[test]
    fn own_tags_and_given_ones_never_meet() {
        assert!(!holds("admin", &["~admin"]));
        assert!(!holds("~admin", &["admin"]));
        assert!(holds("~adm*", &["~admin"]));
        assert!(!holds("adm*", &["~admin"]));
        assert!(holds("team/*", &["team/red"]));
        assert!(!holds("team/*", &["team"]));
    }

    #[test]
    fn texts_outside_the_grammar_are_malformed() {
        for bad in [
            "", " ", "*", "~", "!", "a b", "a||b", "a|", "&a", "(a", "a)", "()", "!!a", "~ a",
            "a *", "a**", "a*b", "~~a", "ä", "a\tb", "\ta", "a\0", "!~", "a!b",
        ] {
            assert!(Expression::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn limits_hold_to_the_last() {
        let nested = |n| format!("{}a{}", "(".repeat(n), ")".repeat(n));
        assert!(Expression::parse(&nested(8)).is_ok());
        assert!(Expression::parse(&nested(9)).is_err());
        assert!(Expression::parse(&vec!["a"; 16].join("|")).is_ok());
        assert!(Expression::parse(&vec!["a"; 17].join("|")).is_err());
        assert!(Expression::parse(&"a".repeat(64)).is_ok());
        assert!(Expression::parse(&"a".repeat(65)).is_err());
        assert!(Expression::parse(&format!("a{}", " ".repeat(255))).is_ok());
        assert!(Expression::parse(&format!("a{}", " ".repeat(256))).is_err());
    }

    proptest! {
        #[test]
        fn what_was_parsed_is_printed_and_parsed_again(text in "[ab/~*!&|() ]{0,40}") {
            if let Ok(parsed) = Expression::parse(&text) {
                prop_assert_eq!(Expression::parse(&parsed.to_string()), Ok(parsed));
            }
        }

        #[test]
        fn any_text_is_read_without_panic(text in any::<String>()) {
            let _ = Expression::parse(&text);
        }
    }
}
