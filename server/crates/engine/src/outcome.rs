//! What a client sees of what happened: the one place where errors of the contract, faults of modules and refusals of queues become a status and a
//! detail of the wire (PROTOCOL.md 6.1). Only the text of a module's own refusal ever leaves the server.

use bytes::Bytes;
use cohnect_capabilities::{Error, Failure};
use cohnect_host::export::Returned;
use cohnect_host::limits::MESSAGE_BYTES_MAX;
use cohnect_host::mail::{Answered, NotRun};
use cohnect_protocol::ops::{Body as _, Detail, Outcome, Refusal};

/// Status, detail and body of a response.
pub(crate) type Reply = (Outcome, Bytes);

/// Bytes of the code in front of a refusal's text.
const REFUSAL_CODE_LEN: usize = 4;

/// It is done.
pub(crate) const fn done(body: Bytes) -> Reply {
    (Outcome::Done, body)
}

/// It is not done, and there is no more to say.
pub(crate) fn failed(detail: Detail) -> Reply {
    (Outcome::of(detail), Bytes::new())
}

/// The contract's error.
pub(crate) fn of_error(error: &Error) -> Reply {
    failed(match error {
        Error::Failed(failure) => return of_failure(failure),
        Error::NotFound => Detail::NOT_FOUND,
        Error::Denied => Detail::NOT_ALLOWED,
        Error::InvalidArgument(_) => Detail::MALFORMED_BODY,
        Error::Conflict | Error::AlreadyExists => Detail::CONFLICT,
        Error::LimitExceeded(limit) if limit.what.ends_with("bytes") => Detail::TOO_LARGE,
        Error::LimitExceeded(_) => Detail::RATE_LIMITED,
        Error::Timeout => Detail::TIMEOUT,
        Error::Busy => Detail::BUSY,
        Error::Unavailable(_) | Error::Closed | Error::Aborted => Detail::UNAVAILABLE,
        Error::WouldBlock
        | Error::Recursive
        | Error::Trapped
        | Error::Unsupported
        | Error::Other(_) => Detail::MODULE_FAILED,
    })
}

/// A module's own no; its text is cut to what a message holds.
pub(crate) fn of_failure(failure: &Failure) -> Reply {
    let len = failure
        .message
        .floor_char_boundary(MESSAGE_BYTES_MAX - REFUSAL_CODE_LEN);
    let refusal = Refusal {
        code: failure.code,
        text: failure.message.get(..len).unwrap_or_default(),
    };
    (Outcome::of(Detail::REFUSED), refusal.to_bytes())
}

/// A call that was never begun.
pub(crate) fn of_not_run(why: NotRun) -> Reply {
    failed(match why {
        NotRun::Unknown => Detail::NOT_FOUND,
        NotRun::Busy => Detail::BUSY,
        NotRun::Unavailable => Detail::UNAVAILABLE,
    })
}

/// A call whose module crashed, raised an error, or ran out of its limits.
pub(crate) fn of_fault() -> Reply {
    failed(Detail::MODULE_FAILED)
}

/// What came of a call that answers with bytes: an action, or a BROADCAST's walk through its stages.
pub(crate) fn of_answered(answered: Answered) -> Reply {
    match answered.outcome {
        Err(why) => of_not_run(why),
        Ok(Err(_fault)) => of_fault(),
        Ok(Ok(Returned::Answer(Ok(body)))) => done(body),
        Ok(Ok(Returned::Answer(Err(error)))) => of_error(&error),
        Ok(Ok(
            Returned::Nothing
            | Returned::Verdict(_)
            | Returned::Ruling(_)
            | Returned::Next(_)
            | Returned::Done(_)
            | Returned::Saved(_)
            | Returned::Admission(_)
            | Returned::Subscribed(_),
        )) => of_fault(),
    }
}

/// The same for a module that asked by mail.
pub(crate) fn as_answer(answered: Answered) -> cohnect_capabilities::Result<Bytes> {
    match answered.outcome {
        Err(NotRun::Unknown) => Err(Error::NotFound),
        Err(NotRun::Busy) => Err(Error::Busy),
        Err(NotRun::Unavailable) => Err(Error::unavailable("the module")),
        Ok(Ok(Returned::Answer(answer))) => answer,
        Ok(
            Err(_)
            | Ok(
                Returned::Nothing
                | Returned::Verdict(_)
                | Returned::Ruling(_)
                | Returned::Next(_)
                | Returned::Done(_)
                | Returned::Saved(_)
                | Returned::Admission(_)
                | Returned::Subscribed(_),
            ),
        ) => Err(Error::Trapped),
    }
}

#[cfg(test)]
mod tests {
    use cohnect_capabilities::Result;
    use cohnect_host::export::{Ending, Fault};
    use cohnect_protocol::ops::Status;

    use super::*;

    fn seen(
        outcome: core::result::Result<core::result::Result<Returned, Fault>, NotRun>,
    ) -> (Status, u16) {
        let (outcome, body) = of_answered(Answered {
            outcome,
            generation: 1,
        });
        assert!(body.is_empty(), "no text of the server's leaves it");
        (outcome.status(), outcome.detail().0)
    }

    fn of(error: Error) -> (Status, u16) {
        let answer: Result<Bytes> = Err(error);
        seen(Ok(Ok(Returned::Answer(answer))))
    }

    #[test]
    fn every_error_has_its_detail() {
        for (error, status, detail) in [
            (Error::NotFound, Status::Bad, 0x0107),
            (Error::Denied, Status::Bad, 0x0102),
            (Error::invalid("x"), Status::Bad, 0x010C),
            (Error::Conflict, Status::Bad, 0x0109),
            (Error::AlreadyExists, Status::Bad, 0x0109),
            (Error::limit("value-bytes", 1, 2), Status::Bad, 0x0104),
            (Error::limit("host-calls", 1, 2), Status::Bad, 0x0103),
            (Error::Timeout, Status::Err, 0x0105),
            (Error::Busy, Status::Err, 0x010A),
            (Error::unavailable("x"), Status::Err, 0x010B),
            (Error::Closed, Status::Err, 0x010B),
            (Error::Aborted, Status::Err, 0x010B),
            (Error::WouldBlock, Status::Err, 0x0106),
            (Error::Recursive, Status::Err, 0x0106),
            (Error::Trapped, Status::Err, 0x0106),
            (Error::Unsupported, Status::Err, 0x0106),
            (Error::other("a", "b"), Status::Err, 0x0106),
        ] {
            assert_eq!(of(error.clone()), (status, detail), "{error}");
        }
        let fault = Fault::Ended(Ending::Trap, "secret".into());
        assert_eq!(seen(Ok(Err(fault))), (Status::Err, 0x0106));
        assert_eq!(seen(Err(NotRun::Unknown)), (Status::Bad, 0x0107));
        assert_eq!(seen(Err(NotRun::Busy)), (Status::Err, 0x010A));
        assert_eq!(seen(Err(NotRun::Unavailable)), (Status::Err, 0x010B));
    }

    #[test]
    fn a_refusal_carries_code_and_text_and_fits_a_message() {
        let (outcome, body) = of_failure(&Failure {
            code: 7,
            message: "not your turn".into(),
        });
        assert_eq!(outcome, Outcome::Bad(Detail::REFUSED));
        assert_eq!(&body[..], b"\0\0\0\x07not your turn");
        let (_, body) = of_failure(&Failure {
            code: 0,
            message: "ä".repeat(2_000),
        });
        assert!(body.len() <= MESSAGE_BYTES_MAX);
        assert!(Refusal::decode(&body).is_ok(), "cut between two characters");
    }
}
