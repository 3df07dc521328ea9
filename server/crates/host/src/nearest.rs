//! The known name that is nearest to an unknown one, for errors that an author can act on.

/// The name with the fewest edits, if that is at most a third of the word's letters (and at least one edit).
#[must_use]
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    within((word.len() / 3).max(1), word, known)
}

/// The name with the fewest edits, if there are no more than so many.
pub(crate) fn within<'a>(
    edits_max: usize,
    word: &str,
    known: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    // Words that a person wrote: beyond this length a comparison is not worth its square of time.
    if word.len() > 64 {
        return None;
    }
    known
        .into_iter()
        .map(|name| (distance(word, name), name))
        .min_by_key(|(edits, _)| *edits)
        .filter(|(edits, _)| *edits <= edits_max)
        .map(|(_, name)| name)
}

/// A sentence's end that names the nearest one, or all of a few. A name that was not written to its end is taken for its beginning: the fewest edits may lead
/// to its opposite.
#[must_use]
pub fn suggestion(word: &str, known: &[&str]) -> String {
    let begun = known.iter().filter(|name| {
        name.strip_prefix(word)
            .is_some_and(|rest| rest.starts_with('_'))
    });
    let begun: Vec<_> = begun.map(|name| format!("`{name}`")).collect();
    if !begun.is_empty() {
        return format!("did you mean {}?", begun.join(" or "));
    }
    match nearest(word, known.iter().copied()) {
        Some(name) => format!("did you mean `{name}`?"),
        None => format!("there are: {}", known.join(", ")),
    }
}

fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (n, x) in a.chars().enumerate() {
        let mut diagonal = core::mem::replace(&mut row[0], n + 1);
        for (m, y) in b.iter().enumerate() {
            let change = diagonal + usize::from(x != *y);
            diagonal = row[m + 1];
            row[m + 1] = change.min(row[m] + 1).min(diagonal + 1);
        }
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_a_name_is_not_taken_for_its_opposite() {
        let known = ["reliable_ordered", "reliable_unordered", "unreliable"];
        assert_eq!(
            suggestion("reliable", &known),
            "did you mean `reliable_ordered` or `reliable_unordered`?"
        );
        assert_eq!(
            suggestion("unrelable", &known),
            "did you mean `unreliable`?"
        );
    }

    #[test]
    fn a_slip_of_the_finger_finds_its_word() {
        let known = ["action", "pipeline", "broadcast", "on_tick"];
        for (word, found) in [
            ("actions", Some("action")),
            ("ontick", Some("on_tick")),
            ("pipline", Some("pipeline")),
            ("zzz", None),
            ("", None),
        ] {
            assert_eq!(nearest(word, known), found, "{word}");
        }
    }
}
