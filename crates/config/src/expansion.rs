//! `${NAME}` and `${NAME:-default}` in strings; `$${` writes `${`, any other dollar stands for itself.

use crate::Surroundings;
use crate::problem::{Complaint, did_you_mean, quoted};

/// The text with its variables replaced, or everything that is wrong with it.
///
/// As in a shell, `:-` also takes the default for a variable that is set but empty.
pub(crate) fn expand(text: &str, surroundings: &dyn Surroundings) -> Result<String, Vec<Complaint>> {
    let mut expanded = String::with_capacity(text.len());
    let mut complaints = Vec::new();
    let mut rest = text;
    while let Some(dollar) = rest.find('$') {
        let (before, from) = rest.split_at(dollar);
        expanded.push_str(before);
        if let Some(after) = from.strip_prefix("$${") {
            expanded.push_str("${");
            rest = after;
        } else if let Some(after) = from.strip_prefix("${") {
            let Some(end) = after.find('}') else {
                complaints.push(Complaint::new("\"${\" without \"}\"").hint(LITERAL));
                rest = "";
                break;
            };
            match replacement(&after[..end], surroundings) {
                Ok(value) => expanded.push_str(&value),
                Err(complaint) => complaints.push(complaint),
            }
            rest = &after[end + 1..];
        } else {
            expanded.push('$');
            rest = &from[1..];
        }
    }
    expanded.push_str(rest);
    if complaints.is_empty() { Ok(expanded) } else { Err(complaints) }
}

const LITERAL: &str = "write \"$${\" for the characters \"${\" themselves";

/// What stands for the inside of one pair of braces.
fn replacement(inside: &str, surroundings: &dyn Surroundings) -> Result<String, Complaint> {
    let end = inside.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(inside.len());
    let (name, operation) = inside.split_at(end);
    if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) {
        let complaint = Complaint::new(format!("{} names no variable", quoted(&format!("${{{inside}}}"))));
        return Err(complaint.hint(LITERAL));
    }
    let value = surroundings.var(name);
    if operation.is_empty() {
        return value.ok_or_else(|| {
            Complaint::new(format!("the environment has no {name}"))
                .hint(format!("set it, or give a default: \"${{{name}:-default}}\""))
        });
    }
    match operation.strip_prefix(":-") {
        Some(default) if default.contains("${") => {
            Err(Complaint::new("a default cannot hold another variable"))
        }
        Some(default) => Ok(value.filter(|value| !value.is_empty()).unwrap_or_else(|| default.to_owned())),
        None => {
            let complaint =
                Complaint::new(format!("{} is not understood", quoted(&format!("${{{inside}}}"))));
            let known = [format!("${{{name}}}"), format!("${{{name}:-default}}")];
            Err(complaint
                .hint(format!("only {} and {} are", quoted(&known[0]), quoted(&known[1])))
                .maybe_hint(did_you_mean(&format!("${{{inside}}}"), [known[0].as_str()])))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;
    use std::path::Path;

    struct Shell;

    impl Surroundings for Shell {
        fn var(&self, name: &str) -> Option<String> {
            [("HOME", "/root"), ("EMPTY", ""), ("DOLLAR", "${HOME}")]
                .iter()
                .find(|(known, _)| *known == name)
                .map(|(_, value)| (*value).to_owned())
        }

        fn read(&self, _: &Path) -> io::Result<Vec<u8>> {
            Err(io::ErrorKind::NotFound.into())
        }
    }

    #[test]
    fn variables_are_replaced_and_other_dollars_stand_for_themselves() {
        let cases = [
            ("", ""),
            ("plain", "plain"),
            ("${HOME}/x", "/root/x"),
            ("a${HOME}b${HOME}c", "a/rootb/rootc"),
            ("${NONE:-x y}", "x y"),
            ("${NONE:-}", ""),
            ("${EMPTY:-full}", "full"),
            ("<${EMPTY}>", "<>"),
            ("$HOME $ $$ 5$", "$HOME $ $$ 5$"),
            ("$${HOME}", "${HOME}"),
            ("$$${HOME}", "$${HOME}"),
            ("${DOLLAR}", "${HOME}"),
            ("é${HOME}é", "é/rooté"),
        ];
        for (text, expected) in cases {
            assert_eq!(expand(text, &Shell).ok().as_deref(), Some(expected), "{text}");
        }
    }

    #[test]
    fn what_cannot_be_replaced_is_named() {
        let cases = [
            ("${NONE}", "the environment has no NONE"),
            ("${HOME", "\"${\" without \"}\""),
            ("${}", "\"${}\" names no variable"),
            ("${1}", "\"${1}\" names no variable"),
            ("${-x}", "\"${-x}\" names no variable"),
            ("${HOME:+x}", "\"${HOME:+x}\" is not understood"),
            ("${HOME-x}", "\"${HOME-x}\" is not understood"),
            ("${A:-${B}}", "a default cannot hold another variable"),
        ];
        for (text, expected) in cases {
            let complaints = expand(text, &Shell).expect_err(text);
            assert_eq!(complaints[0].message, expected);
        }
    }

    #[test]
    fn every_unset_variable_of_a_string_is_named() {
        let complaints = expand("${A} ${HOME} ${B}", &Shell).unwrap_err();
        let messages: Vec<_> = complaints.iter().map(|complaint| complaint.message.as_str()).collect();
        assert_eq!(messages, ["the environment has no A", "the environment has no B"]);
    }
}
