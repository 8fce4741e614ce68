//! From bytes to JSON values that know where they stand; and from a place in the bytes to line and column.
//!
//! The parser keeps the range of every value, but lets a few things pass that JSON forbids (line breaks in strings,
//! white space that is not JSON's) and nests deeper than our readers should. One look over the text beforehand finds
//! those, so that what is left of a config is strict JSON.

use jsonc_parser::ast::Value;
use jsonc_parser::common::Ranged;
use jsonc_parser::errors::{ParseError, ParseErrorKind};
use jsonc_parser::{CollectOptions, ParseOptions, ParseStringErrorKind, parse_to_ast};

use crate::problem::{Complaint, quoted};

/// How many lists and objects may lie in one another.
const DEEPEST: usize = 64;
/// The longest config, in bytes.
pub(crate) const LONGEST: usize = 16 << 20;
const EXAMPLE: &str = r#"begin with {"workers": {"hello": {"command": ["echo", "hello"]}}}"#;

/// The text of a config as UTF-8, or where it is not and why.
pub(crate) fn decode(bytes: &[u8]) -> Result<&str, (usize, Complaint)> {
    if bytes.len() > LONGEST {
        return Err((0, Complaint::new("is longer than 16MiB")));
    }
    if bytes.starts_with(b"\xff\xfe") || bytes.starts_with(b"\xfe\xff") {
        return Err((0, Complaint::new("is UTF-16, not UTF-8").hint("save the file as UTF-8")));
    }
    str::from_utf8(bytes).map_err(|error| {
        let at = error.valid_up_to();
        let complaint = Complaint::new(format!("is not UTF-8: byte {:#04x}", bytes[at]));
        (at, complaint.hint("save the file as UTF-8"))
    })
}

/// The value a text holds, or the first place where it is not strict JSON.
pub(crate) fn parse(text: &str) -> Result<Value<'_>, (usize, Complaint)> {
    check_characters(text)?;
    let strict = ParseOptions {
        allow_comments: false,
        allow_loose_object_property_names: false,
        allow_trailing_commas: false,
        allow_missing_commas: false,
        allow_single_quoted_strings: false,
        allow_hexadecimal_numbers: false,
        allow_unary_plus_numbers: false,
        allow_bare_decimal_point_numbers: false,
        allow_non_finite_numbers: false,
        allow_extended_string_escapes: false,
    };
    let parsed =
        parse_to_ast(text, &CollectOptions::default(), &strict).map_err(|error| explain(text, &error))?;
    parsed.value.ok_or_else(|| (0, Complaint::new("is empty").hint(EXAMPLE)))
}

/// What the parser would let pass.
fn check_characters(text: &str) -> Result<(), (usize, Complaint)> {
    if text.starts_with('\u{feff}') {
        let complaint = Complaint::new("begins with a byte order mark, which JSON forbids");
        return Err((0, complaint.hint("save the file as UTF-8 without a byte order mark")));
    }
    let mut string_from = None;
    let mut escaped = false;
    let mut depth = 0;
    for (at, character) in text.char_indices() {
        if let Some(start) = string_from {
            match character {
                '\n' | '\r' => return Err((start, unclosed_string())),
                '\0'..='\x1f' => return Err((at, raw_control(character))),
                _ if escaped => escaped = false,
                '\\' => escaped = true,
                '"' => string_from = None,
                _ => {}
            }
            continue;
        }
        match character {
            '"' => string_from = Some(at),
            '{' | '[' if depth == DEEPEST => {
                return Err((at, Complaint::new(format!("lists and objects lie more than {DEEPEST} deep"))));
            }
            '{' | '[' => depth += 1,
            '}' | ']' => depth = depth.saturating_sub(1),
            // Nothing after a comment can be told apart from its text; the parser will stop there too.
            '/' | '\'' => return Ok(()),
            ' ' | '\t' | '\n' | '\r' => {}
            _ if character.is_control() || character.is_whitespace() => {
                let name = character.escape_unicode();
                let complaint = Complaint::new(format!("the character {name} is not white space in JSON"));
                return Err((at, complaint.hint("use plain spaces")));
            }
            _ => {}
        }
    }
    Ok(())
}

fn unclosed_string() -> Complaint {
    Complaint::new("this string does not end on its line")
        .hint(r#"close it with ", or write a line break as \n"#)
}

fn raw_control(character: char) -> Complaint {
    let written = if character == '\t' { r"\t".to_owned() } else { format!("\\u{:04x}", character as u32) };
    Complaint::new("a control character stands in a string").hint(format!("write it as {written}"))
}

/// The parser's complaint in our words, at the place where a person would look.
fn explain(text: &str, error: &ParseError) -> (usize, Complaint) {
    use ParseErrorKind as Kind;
    let range = error.range();
    let at = range.start.min(text.len());
    let say = |message: &str| Complaint::new(message);
    let complaint = match error.kind() {
        Kind::CommentsNotAllowed | Kind::UnterminatedCommentBlock => {
            say("a comment, which JSON does not have").hint("take it out")
        }
        Kind::TrailingCommasNotAllowed => say("a comma after the last entry").hint("take it out"),
        Kind::ExpectedComma => say("expected a comma before the next entry"),
        Kind::ExpectedColonAfterObjectKey => say("expected \":\" after the key"),
        Kind::ExpectedObjectValue => say("expected a value, found the end of the file"),
        Kind::ExpectedStringObjectProperty => say("expected a key in double quotes"),
        Kind::UnexpectedTokenInObject => say("expected a key in double quotes or \"}\""),
        Kind::SingleQuotedStringsNotAllowed => {
            say("a string in single quotes").hint("write strings in double quotes")
        }
        Kind::MultipleRootJsonValues => say("expected the end of the file after the last \"}\""),
        Kind::UnexpectedCloseBrace => say("expected a value, found \"}\""),
        Kind::UnexpectedCloseBracket => say("expected a value, found \"]\""),
        Kind::UnexpectedColon => say("expected a value, found \":\""),
        Kind::UnexpectedComma => say("expected a value, found \",\""),
        Kind::UnterminatedObject => say("this \"{\" is never closed"),
        Kind::UnterminatedArray => say("this \"[\" is never closed"),
        Kind::UnexpectedWord | Kind::UnexpectedToken => unexpected_word(text.get(at..).unwrap_or_default()),
        Kind::HexadecimalNumbersNotAllowed => say("JSON has no hexadecimal numbers"),
        Kind::UnaryPlusNumbersNotAllowed => say("a number must not begin with \"+\""),
        Kind::BareDecimalPointNumbersNotAllowed => say("a number needs digits on both sides of its point"),
        Kind::NonFiniteNumbersNotAllowed => say("JSON has no such number"),
        Kind::ExpectedDigit
        | Kind::ExpectedDigitFollowingNegativeSign
        | Kind::ExpectedPlusMinusOrDigitInNumberLiteral => say("expected a digit"),
        Kind::NestingDepthExceeded => {
            Complaint::new(format!("lists and objects lie more than {DEEPEST} deep"))
        }
        Kind::String(kind) => explain_string(kind),
    };
    (at, complaint)
}

fn explain_string(kind: &ParseStringErrorKind) -> Complaint {
    match kind {
        ParseStringErrorKind::UnterminatedStringLiteral => unclosed_string(),
        ParseStringErrorKind::ExpectedFourHexDigits => {
            Complaint::new(r"\u needs four hexadecimal digits").hint(r"for a backslash write \\")
        }
        ParseStringErrorKind::InvalidUnicodeEscapeSequence(_) => {
            Complaint::new(r"this \u escape is half of a character").hint("write the character itself")
        }
        _ => Complaint::new("unknown escape in a string").hint(r"for a backslash write \\"),
    }
}

/// What stands where a value should: perhaps a word that other languages know.
fn unexpected_word(rest: &str) -> Complaint {
    let end = rest.find(|c: char| !(c.is_alphanumeric() || c == '_' || c == '-')).unwrap_or(rest.len());
    let hint = match &rest[..end] {
        "" => return Complaint::new("expected a value").hint("strings stand in double quotes"),
        word @ ("True" | "False") => format!("write {}", word.to_lowercase()),
        "None" | "nil" | "undefined" | "NULL" | "Null" => "write null".to_owned(),
        _ => "strings stand in double quotes".to_owned(),
    };
    Complaint::new(format!("expected a value, found {}", quoted(&rest[..end]))).hint(hint)
}

/// The first byte of a value.
pub(crate) fn start_of(value: &Value<'_>) -> usize {
    value.range().start
}

/// Where bytes of a text stand, as line and column.
pub(crate) struct Positions<'t> {
    text: &'t str,
    /// Line and column at every [`Positions::STRIDE`]th byte (or the next that begins a character): a look-up counts
    /// no further than that, even in a file of one long line.
    marks: Vec<(usize, usize, usize)>,
}

impl<'t> Positions<'t> {
    const STRIDE: usize = 1024;

    pub fn of(text: &'t str) -> Positions<'t> {
        let mut marks = vec![(0, 1, 1)];
        let (mut line, mut column) = (1, 1);
        for (at, character) in text.char_indices() {
            if at >= marks.len() * Self::STRIDE {
                marks.push((at, line, column));
            }
            (line, column) = after(character, line, column);
        }
        Positions { text, marks }
    }

    /// Line and column, from 1, of the byte at `at`; the end of the text for what lies behind it.
    pub fn locate(&self, at: usize) -> (usize, usize) {
        let before = self.marks.partition_point(|(mark, _, _)| *mark <= at).saturating_sub(1);
        let (mark, mut line, mut column) = self.marks[before];
        for (offset, character) in self.text[mark..].char_indices() {
            if mark + offset >= at {
                break;
            }
            (line, column) = after(character, line, column);
        }
        (line, column)
    }
}

fn after(character: char, line: usize, column: usize) -> (usize, usize) {
    if character == '\n' { (line + 1, 1) } else { (line, column + 1) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn lines_and_columns_count_characters() {
        let text = "ä\tb\r\nc\n\n→x";
        let positions = Positions::of(text);
        let place = |needle: &str| positions.locate(text.find(needle).expect("the text holds it"));
        assert_eq!((place("ä"), place("b"), place("c"), place("x")), ((1, 1), (1, 3), (2, 1), (4, 2)));
        assert_eq!(positions.locate(9999), (4, 3));
    }

    #[test]
    fn a_long_line_is_located_like_a_short_one() {
        let text = format!("\n{}x", "ä".repeat(5000));
        assert_eq!(Positions::of(&text).locate(text.len() - 1), (2, 5001));
    }

    #[test]
    fn the_longest_text_is_taken_and_one_byte_more_is_not() {
        let text = vec![b' '; LONGEST + 1];
        assert!(decode(&text[..LONGEST]).is_ok() && decode(&text).is_err());
    }

    /// Pieces that JSON is made of, and pieces that only look so.
    fn nearly_json() -> impl Strategy<Value = String> {
        let pieces = prop::sample::select(vec![
            "{", "}", "[", "]", ",", ":", "\"a\"", "\"b\\n\"", "1", "-0.5e3", "01", "1.", "+1", "true",
            "nul", "null", " ", "\n", "\u{b}", "\u{a0}", "//", "'", "\"", "\\", "\\ud800", "\t", "0x1",
            "NaN", "é",
        ]);
        prop::collection::vec(pieces, 0..12).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, cases: 5000, ..ProptestConfig::default() })]

        #[test]
        fn a_text_is_json_here_exactly_when_it_is_json_elsewhere(text in nearly_json()) {
            let elsewhere = serde_json::from_str::<serde_json::Value>(&text);
            // JSON sets no bound to numbers, serde_json does, and stops there.
            let too_large = |error: serde_json::Error| error.to_string().starts_with("number out of range");
            let is_json = elsewhere.is_ok();
            prop_assume!(is_json || !elsewhere.is_err_and(too_large));
            prop_assert_eq!(parse(&text).is_ok(), is_json);
        }
    }
}
