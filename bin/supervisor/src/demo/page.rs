//! How a lesson looks: numbered steps, wrapped where somebody reads them on a terminal.

use std::io::IsTerminal;

use crate::demo::text::{Facts, Lang, Step, Text, fill};
use crate::output::{printable, wants_colour};

const SEEN: Text = Text { en: "seen: ", zh: "看到：" };
const INSTEAD: Text = Text { en: "seen instead: ", zh: "实际看到：" };
const MEANS: Text = Text { en: "so: ", zh: "说明：" };

/// Beyond this a line is hard to follow.
const WIDEST: usize = 100;
/// Below this there is no use in wrapping.
const NARROWEST: usize = 20;

/// The paper.
#[derive(Clone, Copy, Debug)]
pub struct Page {
    lang: Lang,
    width: Option<usize>,
    bold: bool,
}

impl Page {
    /// For standard output as it is: off a terminal a paragraph is a line.
    pub fn new(lang: Lang) -> Page {
        let columns = terminal_size::terminal_size().map(|(width, _)| usize::from(width.0));
        let width = columns.filter(|_| std::io::stdout().is_terminal());
        Page { lang, width: width.map(|width| width.clamp(NARROWEST, WIDEST)), bold: wants_colour() }
    }

    /// A title.
    pub fn title(&self, name: &str, teaches: Text) -> String {
        let text = self.wrap(&format!("{name}: {}", teaches.of(self.lang)), 0);
        if self.bold { format!("\x1b[1m{}\x1b[0m\n", text.trim_end()) } else { text }
    }

    /// What is done: the sentence, files, commands, and what they printed.
    pub fn done(
        &self,
        number: usize,
        step: &Step,
        facts: &Facts,
        files: &[String],
        printed: &[String],
    ) -> String {
        let mut text = self.wrap(&format!("{number}. {}", fill(step.does.of(self.lang), facts)), 3);
        for line in files.iter().flat_map(|file| file.lines()) {
            text.push_str(&format!("     {line}\n"));
        }
        for line in fill(step.call, facts).lines() {
            text.push_str(&format!("   {line}\n"));
        }
        for line in printed.iter().flat_map(|output| output.lines()) {
            text.push_str(&format!("     {}\n", printable(line)));
        }
        text
    }

    /// What was seen and what it means.
    pub fn seen(&self, step: &Step, facts: &Facts) -> String {
        [(SEEN, step.seen), (MEANS, step.means)]
            .map(|(label, text)| {
                self.item(&format!("{}{}", label.of(self.lang), fill(text.of(self.lang), facts)))
            })
            .concat()
    }

    /// What was seen where something else should have been.
    pub fn instead(&self, facts: &[(String, String)]) -> String {
        let facts: Vec<String> = facts.iter().map(|(name, value)| format!("{name} = {value}")).collect();
        self.item(&format!("{}{}", INSTEAD.of(self.lang), facts.join(", ")))
    }

    /// A paragraph of its own.
    pub fn paragraph(&self, text: &str) -> String {
        self.wrap(text, 0)
    }

    fn item(&self, text: &str) -> String {
        self.wrap(&format!("   {text}"), 3)
    }

    /// Breaks at blanks and between wide characters; every line but the first is indented.
    fn wrap(&self, text: &str, indent: usize) -> String {
        let text = printable(text);
        let Some(width) = self.width else { return text + "\n" };
        let mut lines = String::new();
        let mut column = 0;
        for piece in pieces(&text) {
            let length: usize = piece.trim_end().chars().map(columns).sum();
            if column > indent && column + length > width {
                lines.truncate(lines.trim_end_matches(' ').len());
                lines.push('\n');
                lines.push_str(&" ".repeat(indent));
                column = indent;
            }
            lines.push_str(piece);
            column += piece.chars().map(columns).sum::<usize>();
        }
        lines.truncate(lines.trim_end().len());
        lines + "\n"
    }
}

/// Words with the blanks behind them; wide characters each alone, but for punctuation, which begins no line.
fn pieces(text: &str) -> Vec<&str> {
    let mut cuts = vec![0];
    let mut last = None;
    for (at, c) in text.char_indices() {
        let begins = match last {
            None => false,
            Some(' ') => c != ' ',
            Some(before) => {
                c != ' ' && (columns(before) == 2 || columns(c) == 2) && !"，。；：、！？）”".contains(c)
            }
        };
        // What is indented stays with the first word.
        if begins && !text[..at].trim_start().is_empty() {
            cuts.push(at);
        }
        last = Some(c);
    }
    cuts.push(text.len());
    cuts.windows(2).map(|pair| &text[pair[0]..pair[1]]).collect()
}

/// How many columns a character takes: those of East Asia take two.
fn columns(c: char) -> usize {
    match c {
        '\u{1100}'..='\u{115f}' | '\u{2e80}'..='\u{a4cf}' | '\u{ac00}'..='\u{d7a3}' => 2,
        '\u{f900}'..='\u{faff}' | '\u{fe30}'..='\u{fe4f}' | '\u{ff00}'..='\u{ff60}' => 2,
        '“' | '”' => 2,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(width: Option<usize>) -> Page {
        Page { lang: Lang::En, width, bold: false }
    }

    #[test]
    fn no_line_is_wider_than_the_terminal_and_no_word_is_lost() {
        for text in [
            "1. a child says who it is, and who its parent is",
            "1. 子进程说出自己的编号，以及父进程的编号 4711。",
        ] {
            let wrapped = page(Some(20)).wrap(text, 3);
            assert!(wrapped.lines().count() > 1);
            for line in wrapped.lines() {
                assert!(line.chars().map(columns).sum::<usize>() <= 22, "{line:?}");
            }
            let letters = |text: &str| text.chars().filter(|c| !c.is_whitespace()).collect::<String>();
            assert_eq!(letters(&wrapped), letters(text));
        }
    }

    #[test]
    fn off_a_terminal_a_paragraph_is_a_line() {
        assert_eq!(page(None).wrap("a b", 3), "a b\n");
        assert_eq!(page(None).instead(&[("code".to_owned(), "7".to_owned())]), "   seen instead: code = 7\n");
    }
}
