//! The printed table: a row a figure, our own beside the bare reference, absolute and as a ratio.

/// One row.
#[derive(Clone, Debug, Default)]
pub(crate) struct Row {
    /// What was measured.
    pub(crate) what: String,
    /// The reference, in words and figures.
    pub(crate) bare: String,
    /// Ours.
    pub(crate) ours: String,
    /// Bare ÷ ours for costs (ours ÷ bare for rates): above 1 we are cheaper.
    pub(crate) ratio: Option<f64>,
    /// What cohnect aims at.
    pub(crate) aim: &'static str,
}

impl Row {
    /// The row as a line of a Markdown table.
    pub(crate) fn line(&self) -> String {
        let ratio = self
            .ratio
            .filter(|ratio| ratio.is_finite())
            .map_or_else(String::new, |ratio| format!("{ratio:.2} ×"));
        format!(
            "| {} | {} | {} | {ratio} | {} |",
            self.what, self.bare, self.ours, self.aim
        )
    }
}

/// The table's head.
pub(crate) const HEAD: &str =
    "| what | bare | cohnect | ratio | aim |\n| --- | --- | --- | --- | --- |";

/// 123,456 as `123 k`.
pub(crate) fn thousands(number: f64) -> String {
    if number >= 10_000.0 {
        format!("{:.0} k", number / 1_000.0)
    } else {
        format!("{number:.0}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_a_line_of_the_table() {
        let row = Row {
            what: "echo".into(),
            bare: "3 µs".into(),
            ours: thousands(123_456.0),
            ratio: Some(0.754),
            aim: "≥ 0.6 ×",
        };
        assert_eq!(row.line(), "| echo | 3 µs | 123 k | 0.75 × | ≥ 0.6 × |");
        let nothing = Row {
            ratio: Some(f64::NAN),
            ..Row::default()
        };
        assert_eq!(nothing.line(), "|  |  |  |  |  |");
    }
}
