//! The contract's one error, and how other errors become it, so that `?` goes straight through.

use crate::{Detail, Error, Failure};

impl Error {
    /// A refusal in the module's own words: the only text that ever leaves the server. Codes are the module's; 0 is for "no particular one".
    pub fn refused(code: u32, message: impl Into<String>) -> Self {
        Self::Failed(Failure {
            code,
            message: message.into(),
        })
    }

    /// An argument of the wrong form.
    pub fn invalid(what: impl ToString) -> Self {
        Self::InvalidArgument(what.to_string())
    }

    /// Anything else; `code` is stable and kebab-case.
    pub fn other(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self::Other(Detail {
            code: code.into(),
            message: message.into(),
        })
    }
}

macro_rules! invalid {
    ($($error:ty),+ $(,)?) => {$(
        impl From<$error> for Error {
            fn from(error: $error) -> Self {
                Self::invalid(error)
            }
        }
    )+};
}

invalid!(
    core::str::Utf8Error,
    std::string::FromUtf8Error,
    core::num::ParseIntError,
    core::num::ParseFloatError,
    core::num::TryFromIntError,
);

#[cfg(test)]
mod tests {
    use crate::Error;

    #[test]
    fn what_is_no_text_is_an_invalid_argument() {
        let read = || -> Result<String, Error> { Ok(String::from_utf8(vec![0xff])?) };
        assert!(matches!(read(), Err(Error::InvalidArgument(_))));
    }
}
