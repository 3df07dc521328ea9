//! Mail between modules that came to nothing: said in the log now and then, since most senders do not look at what `mailbox.send` returns, and nobody tells
//! them what became of it later. It decides nothing about who gets mail.

use core::mem::{Discriminant, discriminant};
use std::sync::Arc;

use cohnect_capabilities::{Caller, Error};

use crate::escaped::{Escaped, OneLine};
use crate::export::Export;
use crate::mail::Call;

/// Losses that are remembered: a handful of senders with a handful of mistakes each. One that finds no place is not said.
const SAID_MAX: usize = 64;

/// How long the same is not said again, in microseconds: an author who has just saved wants to know whether it still is.
const PERIOD_US: u64 = 60_000_000;

/// Whose mail, and to what.
#[derive(Clone, Copy, Debug)]
pub struct Letter<'a> {
    /// The module that sent it.
    pub from: &'a str,
    /// The module that was to get it.
    pub to: &'a str,
    /// Its action.
    pub action: &'a str,
}

impl<'a> Letter<'a> {
    /// What a call carries, if it is mail: a module makes it, and does not wait for it, so that it never expires.
    #[must_use]
    pub fn of(to: &'a str, export: &'a Export, expires_us: Option<u64>) -> Option<Self> {
        let Export::Execute(request) = export else {
            return None;
        };
        let Caller::Module(from) = &request.caller else {
            return None;
        };
        expires_us.is_none().then_some(Self {
            from,
            to,
            action: &request.name,
        })
    }
}

/// How mail came to nothing.
#[derive(Clone, Copy, Debug)]
pub enum Loss<'a> {
    /// It was not sent; its sender was told this.
    Unsent(&'a Error),
    /// Its receiver was not well, or went, before it read it.
    Unread,
    /// Its receiver's action said no.
    Refused(&'a Error),
}

impl Loss<'_> {
    const fn reason(self) -> &'static str {
        match self {
            Self::Unsent(Error::NotFound) => {
                "there is no such module, or it has no such action, or its manifest leaves that out"
            }
            Self::Unsent(Error::Busy) => "its queue is full",
            Self::Unsent(_) => "it cannot be sent",
            Self::Unread => "the module was not well, or went, before it came to its turn",
            Self::Refused(_) => "it was refused",
        }
    }

    /// The error whose text says more than the reason.
    const fn error(&self) -> Option<&Error> {
        match self {
            Self::Unsent(Error::NotFound | Error::Busy) | Self::Unread => None,
            Self::Unsent(error) | Self::Refused(error) => Some(error),
        }
    }
}

/// What was said of lost mail, so that it is said once in a while and does not fill the log.
#[derive(Debug, Default)]
pub struct LostMail {
    said: Vec<Said>,
}

#[derive(Debug)]
struct Said {
    from: Arc<str>,
    to: Arc<str>,
    action: Arc<str>,
    reason: &'static str,
    error: Option<Discriminant<Error>>,
    again_us: u64,
}

impl LostMail {
    /// Says what became of mail, at this moment of the monotonic clock, unless it has just been said of its like.
    pub fn note(&mut self, now_us: u64, letter: Letter<'_>, loss: Loss<'_>) {
        if !self.is_news(now_us, letter, loss) {
            return;
        }
        let more = loss.error().map(|error| format!(": {error}"));
        tracing::warn!(
            module = letter.from,
            "its mail to the action `{}` of `{}` came to nothing: {}{}",
            OneLine(letter.action),
            OneLine(letter.to),
            loss.reason(),
            Escaped(more.unwrap_or_default())
        );
    }

    /// As [`LostMail::note`], of a call that was never begun; of calls that are no mail nothing is said.
    pub fn note_unread(&mut self, now_us: u64, call: &Call) {
        if let Some(letter) = Letter::of(&call.to.module, &call.export, call.expires_us) {
            self.note(now_us, letter, Loss::Unread);
        }
    }

    fn is_news(&mut self, now_us: u64, letter: Letter<'_>, loss: Loss<'_>) -> bool {
        let (reason, error) = (loss.reason(), loss.error().map(discriminant));
        let again_us = now_us.saturating_add(PERIOD_US);
        let known = self.said.iter_mut().find(|said| {
            said.reason == reason
                && said.error == error
                && *said.to == *letter.to
                && *said.action == *letter.action
                && *said.from == *letter.from
        });
        if let Some(said) = known {
            let due = now_us >= said.again_us;
            if due {
                said.again_us = again_us;
            }
            return due;
        }
        if self.said.len() >= SAID_MAX {
            self.said.retain(|said| now_us < said.again_us);
        }
        if self.said.len() >= SAID_MAX {
            return false;
        }
        self.said.push(Said {
            from: letter.from.into(),
            to: letter.to.into(),
            action: letter.action.into(),
            reason,
            error,
            again_us,
        });
        true
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use cohnect_capabilities::Client;

    use super::*;
    use crate::export::Request;

    const LETTER: Letter<'_> = Letter {
        from: "a",
        to: "b",
        action: "x",
    };

    #[test]
    fn the_same_is_said_once_a_minute_and_what_differs_at_once() {
        let mut lost = LostMail::default();
        let full = Loss::Unsent(&Error::Busy);
        assert!(lost.is_news(0, LETTER, full));
        assert!(!lost.is_news(PERIOD_US - 1, LETTER, full));
        for other in [
            Letter {
                from: "c",
                ..LETTER
            },
            Letter { to: "c", ..LETTER },
            Letter {
                action: "y",
                ..LETTER
            },
        ] {
            assert!(lost.is_news(1, other, full), "{other:?}");
        }
        for other in [
            Loss::Unsent(&Error::NotFound),
            Loss::Unread,
            Loss::Refused(&Error::Busy),
            Loss::Refused(&Error::Denied),
        ] {
            assert!(lost.is_news(1, LETTER, other), "{other:?}");
        }
        let worded = |text: &str| lost.is_news(1, LETTER, Loss::Refused(&Error::invalid(text)));
        assert_eq!(["one", "two"].map(worded), [true, false], "by kind");
        assert!(lost.is_news(PERIOD_US, LETTER, full));
        assert!(!lost.is_news(PERIOD_US + 1, LETTER, full));
    }

    #[test]
    fn a_full_table_says_no_more_until_what_it_holds_is_old() {
        let mut lost = LostMail::default();
        let mut say = |now_us, n: usize| {
            let action = n.to_string();
            let letter = Letter {
                action: &action,
                ..LETTER
            };
            lost.is_news(now_us, letter, Loss::Unread)
        };
        assert!((0..SAID_MAX).all(|n| say(0, n)));
        assert!(!say(1, SAID_MAX));
        assert!(say(PERIOD_US, SAID_MAX));
        assert_eq!(lost.said.len(), 1);
    }

    #[test]
    fn only_what_a_module_sends_without_waiting_is_mail() {
        let asked_by = |caller| {
            Export::Execute(Request {
                id: 1,
                name: "x".into(),
                caller,
                received_at: 0,
                input: Bytes::new(),
            })
        };
        let by_module = asked_by(Caller::Module("a".into()));
        assert!(Letter::of("b", &by_module, None).is_some());
        assert!(Letter::of("b", &by_module, Some(7)).is_none(), "a call");
        let by_client = asked_by(Caller::Client(Client::default()));
        assert!(Letter::of("b", &by_client, None).is_none());
    }
}
