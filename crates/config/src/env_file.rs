//! Files of environment variables: lines of `NAME=value`.
//!
//! Empty lines and lines that begin with `#` say nothing; `export ` before a name is allowed. White space around the
//! value is dropped; a value in single quotes is taken as it is, one in double quotes with `\n`, `\t`, `\"`, `\\` and
//! `\$` for what they stand for. Nothing is expanded. The last of equal names counts.

use crate::collection::check_variable;
use crate::problem::Complaint;

/// Names and values.
pub(crate) type Variables = Vec<(String, String)>;

/// The variables of a file; or what is wrong, each with the number of its line and never with its text, which may be
/// a secret.
pub(crate) fn parse(bytes: &[u8]) -> Result<Variables, Vec<(usize, Complaint)>> {
    let text = str::from_utf8(bytes).map_err(|error| {
        let line = 1 + bytes[..error.valid_up_to()].iter().filter(|byte| **byte == b'\n').count();
        vec![(line, Complaint::new("is not UTF-8"))]
    })?;
    let mut variables = Variables::new();
    let mut wrong = Vec::new();
    for (index, line) in text.lines().enumerate() {
        match assignment(line.trim()) {
            Ok(None) => {}
            Ok(Some((name, value))) => variables.push((name.to_owned(), value)),
            Err(complaint) => wrong.push((index + 1, complaint)),
        }
    }
    if wrong.is_empty() { Ok(variables) } else { Err(wrong) }
}

fn assignment(line: &str) -> Result<Option<(&str, String)>, Complaint> {
    if line.is_empty() || line.starts_with('#') {
        return Ok(None);
    }
    let line = line.strip_prefix("export ").map_or(line, str::trim_start);
    let Some((name, value)) = line.split_once('=') else {
        return Err(
            Complaint::new("has no \"=\"").hint("lines are NAME=value, or comments that begin with #")
        );
    };
    let name = name.trim_end();
    check_variable(name)?;
    if name.contains(char::is_whitespace) {
        return Err(Complaint::new("has white space in the name of its variable"));
    }
    let value = unquoted(value.trim())?;
    if value.contains('\0') {
        return Err(Complaint::new("holds a NUL character"));
    }
    Ok(Some((name, value)))
}

fn unquoted(value: &str) -> Result<String, Complaint> {
    let unclosed = || Complaint::new("has a quote that is not closed at the end of the line");
    if let Some(rest) = value.strip_prefix('\'') {
        let inside = rest.strip_suffix('\'').filter(|inside| !inside.contains('\''));
        return inside.map(str::to_owned).ok_or_else(unclosed);
    }
    let Some(rest) = value.strip_prefix('"') else { return Ok(value.to_owned()) };
    let mut plain = String::new();
    let mut characters = rest.chars();
    loop {
        match characters.next() {
            Some('"') if characters.as_str().is_empty() => return Ok(plain),
            Some('"') | None => return Err(unclosed()),
            Some('\\') => match characters.next() {
                Some('n') => plain.push('\n'),
                Some('t') => plain.push('\t'),
                Some(character @ ('"' | '\\' | '$')) => plain.push(character),
                Some(_) => {
                    return Err(Complaint::new(r"has an unknown escape").hint(r"for a backslash write \\"));
                }
                None => return Err(unclosed()),
            },
            Some(character) => plain.push(character),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_names_and_values() {
        let text = "# comment\n\nA=1\r\nexport B = two words \nC='a \"b\" $X'\nD=\"a\\n\\\"b\\\" \\$X \\\\\"\nE=\nF=a=b#c\nA=2";
        let expected = [
            ("A", "1"),
            ("B", "two words"),
            ("C", "a \"b\" $X"),
            ("D", "a\n\"b\" $X \\"),
            ("E", ""),
            ("F", "a=b#c"),
            ("A", "2"),
        ];
        let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(parse(text.as_bytes()).unwrap(), expected);
    }

    #[test]
    fn every_bad_line_is_told_with_its_number() {
        let text = "A=1\nwhat\n=x\nB='x\nC=\"x\nD=\"x\"y\nE=\"\\q\"\nF G=1\nH=\0";
        let wrong = parse(text.as_bytes()).unwrap_err();
        let lines: Vec<usize> = wrong.iter().map(|(line, _)| *line).collect();
        assert_eq!(lines, [2, 3, 4, 5, 6, 7, 8, 9]);
        assert_eq!(wrong[0].1.message, "has no \"=\"");
        assert_eq!(parse(b"A=1\nB=\xff").unwrap_err()[0].0, 2);
    }
}
