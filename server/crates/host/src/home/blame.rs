//! Whose mistake an answer speaks of: what a module did wrong itself, its caller must not be told as if he had, and where he has to be, the log says the
//! truth beside it.

use bytes::Bytes;
use cohnect_capabilities::{Caller, Error, tags};

use super::body::Body;
use crate::export::{Export, Fault, MessageVerdict, Outcome, PacketVerdict, Returned};
use crate::limits::{BROADCAST_OVERHEAD, ITEM_OVERHEAD, MESSAGE_BYTES_MAX};

/// Longest circle of lines that is recognized.
const PERIOD_MAX: usize = 3;
/// Fewer repeated lines than this stay as they are.
const REPEATS_MIN: usize = 3;

/// The outcome as its caller gets it: a mistake of the module's own becomes a fault.
pub(super) fn judge(body: Option<&mut Body>, export: &Export, outcome: Outcome) -> Outcome {
    let Ok(returned) = &outcome else {
        return outcome;
    };
    if let Some(error) = refusal(returned)
        && let Some(context) = body.map(Body::context)
        && let Some(text) = context.judge(export, error)
    {
        return Err(Fault::Raised(text));
    }
    if let Some(text) = bad_tag(returned) {
        return Err(Fault::Raised(text));
    }
    outcome
}

/// The error that a caller is answered with.
const fn refusal(returned: &Returned) -> Option<&Error> {
    if let Returned::Answer(Err(error))
    | Returned::Admission(Err(error))
    | Returned::Subscribed(Err(error))
    | Returned::Verdict(PacketVerdict::Reject(error))
    | Returned::Ruling(MessageVerdict::Reject(error)) = returned
    {
        return Some(error);
    }
    None
}

/// An error that only the log can say: nobody is answered with it, or he hears only that the module failed.
pub(super) fn unsaid(returned: &Returned) -> Option<&Error> {
    if let Returned::Next(Err(error)) | Returned::Done(Err(error)) = returned {
        return Some(error);
    }
    refusal(returned).filter(|error| {
        matches!(
            error,
            Error::WouldBlock
                | Error::Recursive
                | Error::Trapped
                | Error::Unsupported
                | Error::Other(_)
        )
    })
}

/// What is said of an admission whose tags are none: without them the client would lack what the module meant to give it.
fn bad_tag(returned: &Returned) -> Option<String> {
    let Returned::Admission(Ok(admission)) = returned else {
        return None;
    };
    let mut tags = admission.tags.iter();
    let error = tags.find_map(|tag| tags::check(tag).err())?;
    Some(format!("the admission: {error}"))
}

/// What the log says of an answer that no message to a client holds, since its caller is told as if it were his.
pub(super) fn too_large(export: &Export, returned: &Returned) -> Option<String> {
    let over = |payload: &Bytes, before: usize| {
        let bytes = before + payload.len();
        (bytes > MESSAGE_BYTES_MAX).then_some(bytes)
    };
    let bound = "a message to a client holds at most 1,100";
    match (export, returned) {
        (Export::Execute(request), Returned::Answer(Ok(answer)))
            if matches!(request.caller, Caller::Client(_)) =>
        {
            let bytes = over(answer, 0)?;
            Some(format!(
                "the answer of the action `{}` has {bytes} bytes, and {bound}: its caller was told \"too large\"",
                request.name
            ))
        }
        (Export::Handle(packet), Returned::Verdict(PacketVerdict::Reply(reply))) => {
            let bytes = over(reply, 0)?;
            Some(format!(
                "the reply to the opcode {:#06x} has {bytes} bytes, and {bound}: its sender was told \"too large\"",
                packet.opcode
            ))
        }
        (
            Export::Broadcast(message),
            Returned::Ruling(
                MessageVerdict::Replace(payload) | MessageVerdict::Redirect(_, payload),
            ),
        ) => {
            let bytes = over(payload, BROADCAST_OVERHEAD + message.topic.len())?;
            Some(format!(
                "what replaces the message on \"{}\" has {bytes} bytes with its topic, and {bound}: unless a later stage shortens it, nobody gets it and \
                 its sender is told \"too large\"",
                message.topic
            ))
        }
        (Export::Subscribe { topic, .. }, Returned::Subscribed(Ok(Some(item)))) => {
            let bytes = over(item, ITEM_OVERHEAD)?;
            Some(format!(
                "the first item of \"{topic}\" has {bytes} bytes with the {ITEM_OVERHEAD} before it, and {bound}: it is lost"
            ))
        }
        _ => None,
    }
}

/// A fault in one line, for a log that has its traceback already.
pub(super) fn in_short(export: &Export, fault: &Fault) -> String {
    let text = fault.to_string();
    let first = text.lines().next().unwrap_or_default();
    format!("`{}`: {first}", export.handler())
}

/// A fault's text without what only repeats: code that calls itself fills a traceback with the same few lines.
pub(super) fn cut(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let mut kept: Vec<String> = Vec::new();
    let mut at = 0;
    while let Some(line) = lines.get(at) {
        // Functions that call each other repeat by twos and threes; larger circles are rare and stay.
        let circle = (1..=PERIOD_MAX)
            .map(|period| (period, period * repeats(&lines, at, period)))
            .find(|(_, more)| *more >= REPEATS_MIN);
        if let Some((period, more)) = circle {
            let shown = lines.iter().skip(at).take(period);
            kept.extend(shown.map(|line| (*line).to_owned()));
            kept.push(format!("… {more} more lines that repeat"));
            at += period + more;
        } else {
            kept.push((*line).to_owned());
            at += 1;
        }
    }
    kept.join("\n")
}

/// How many times the `period` lines from `at` on stand there once more, without a gap.
fn repeats(lines: &[&str], at: usize, period: usize) -> usize {
    let same = lines
        .iter()
        .skip(at)
        .zip(lines.iter().skip(at + period))
        .take_while(|(a, b)| frame(a) == frame(b))
        .count();
    same / period
}

/// A line of a traceback without the number that WebAssembly's has in front.
fn frame(line: &str) -> &str {
    let line = line.trim_start();
    match line.split_once(':') {
        Some((number, rest)) if number.bytes().all(|b| b.is_ascii_digit()) => rest,
        _ => line,
    }
}

#[cfg(test)]
mod tests {
    use cohnect_capabilities::Client;

    use super::*;
    use crate::export::{Admission, Message, Request};

    fn asked_by(caller: Caller) -> Export {
        Export::Execute(Request {
            id: 1,
            name: "load".into(),
            caller,
            received_at: 0,
            input: Bytes::new(),
        })
    }

    fn answer(bytes: usize) -> Returned {
        Returned::Answer(Ok(vec![0; bytes].into()))
    }

    #[test]
    fn an_answer_that_no_message_holds_is_named_with_its_action_and_size() {
        let export = asked_by(Caller::Client(Client::default()));
        let text = too_large(&export, &answer(1_101)).unwrap();
        for part in ["`load`", "1101 bytes", "1,100"] {
            assert!(text.contains(part), "{text}");
        }
        assert_eq!(too_large(&export, &answer(1_100)), None);
    }

    #[test]
    fn an_admission_with_a_tag_that_is_none_is_a_mistake() {
        let admission = |tags: &[&str]| {
            Returned::Admission(Ok(Admission {
                tags: tags.iter().map(ToString::to_string).collect(),
                ..Admission::default()
            }))
        };
        assert_eq!(bad_tag(&admission(&["vip", "team/red"])), None);
        let text = bad_tag(&admission(&["vip", "bad tag"])).unwrap();
        assert!(text.contains("\"bad tag\" is not a tag"), "{text}");
    }

    #[test]
    fn modules_may_answer_each_other_at_greater_length() {
        let export = asked_by(Caller::Module("other".into()));
        assert_eq!(too_large(&export, &answer(5_000)), None);
    }

    #[test]
    fn a_replacement_counts_with_its_topic() {
        let export = Export::Broadcast(Message {
            sender: Client::default(),
            topic: "chat/a".into(),
            to: cohnect_capabilities::Audience::Everyone,
            received_at: 0,
            payload: Bytes::new(),
        });
        let replace = |bytes| Returned::Ruling(MessageVerdict::Replace(vec![0; bytes].into()));
        let fits = MESSAGE_BYTES_MAX - BROADCAST_OVERHEAD - "chat/a".len();
        assert_eq!(too_large(&export, &replace(fits)), None);
        let text = too_large(&export, &replace(fits + 1)).unwrap();
        assert!(text.contains("\"chat/a\" has 1101 bytes"), "{text}");
    }

    #[test]
    fn a_first_item_counts_with_what_stands_before_it() {
        let export = Export::Subscribe {
            topic: "scores".into(),
            client: Client::default(),
            arguments: Bytes::new(),
        };
        let first = |bytes| Returned::Subscribed(Ok(Some(vec![0; bytes].into())));
        let fits = MESSAGE_BYTES_MAX - ITEM_OVERHEAD;
        assert_eq!(too_large(&export, &first(fits)), None);
        let text = too_large(&export, &first(fits + 1)).unwrap();
        assert!(text.contains("\"scores\" has 1101 bytes"), "{text}");
        assert!(text.ends_with("it is lost"), "{text}");
    }

    #[test]
    fn what_only_repeats_in_a_traceback_is_cut() {
        let same = "m:3 in f\n".repeat(100);
        assert_eq!(
            cut(&format!("stack overflow\n{same}m:9 in run")),
            "stack overflow\nm:3 in f\n… 99 more lines that repeat\nm:9 in run"
        );
        let two = "a\nb\n".repeat(10);
        assert_eq!(cut(&two), "a\nb\n… 18 more lines that repeat");
        let numbered: Vec<_> = (0..50).map(|n| format!("  {n}: 0x12 - f")).collect();
        assert_eq!(
            cut(&numbered.join("\n")),
            "  0: 0x12 - f\n… 49 more lines that repeat"
        );
        assert_eq!(cut("one\ntwo\ntwo"), "one\ntwo\ntwo");
    }

    #[test]
    fn a_restart_names_a_trap_in_one_line() {
        let fault = Fault::Ended(crate::export::Ending::Trap, "m:3: no\nm:3 in f".into());
        let export = asked_by(Caller::System("host".into()));
        let short = in_short(&export, &fault);
        assert!(short.ends_with("trapped: m:3: no"), "{short}");
    }
}
