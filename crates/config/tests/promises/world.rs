//! Configs in a made-up world, and what is said of them.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};

use config::{Plan, Problem, Problems, Refusal, Surroundings, Wish};

/// An environment and files that exist only here.
#[derive(Default)]
pub struct World {
    variables: HashMap<String, String>,
    files: HashMap<PathBuf, Vec<u8>>,
    /// Where nothing is granted beyond the ordinary.
    poor: bool,
    /// Where no worker of another user can be given a way to its supervisor.
    without_control: bool,
    /// Where a `/tmp` of one's own hides everything.
    in_tmp: bool,
}

impl World {
    pub fn var(mut self, name: &str, value: &str) -> World {
        self.variables.insert(name.to_owned(), value.to_owned());
        self
    }

    pub fn file(mut self, path: &str, content: &[u8]) -> World {
        self.files.insert(path.into(), content.to_owned());
        self
    }

    /// One that lets no other user in.
    pub fn without_control() -> World {
        World { without_control: true, ..World::default() }
    }

    /// One that lies in `/tmp`.
    pub fn in_tmp() -> World {
        World { in_tmp: true, ..World::default() }
    }

    /// One that grants nothing, and says what was wished for.
    pub fn poor() -> World {
        World { poor: true, ..World::default() }
    }

    pub fn read(&self, text: impl AsRef<[u8]>) -> Result<Plan, Problems> {
        config::read(text.as_ref(), Path::new("/srv/app/config.json"), self)
    }

    /// The problems of a text, which has some.
    pub fn problems(&self, text: &str) -> Vec<Problem> {
        match self.read(text) {
            Ok(_) => panic!("this config has no problem: {text}"),
            Err(problems) => problems.as_slice().to_vec(),
        }
    }

    /// Holds one config to one problem, at the place marked with `→`, which is not part of the text. Without a hint
    /// given: what its key is for, in whatever words.
    pub fn refuses(&self, marked: &str, path: &str, message: &str, hint: Option<&str>) {
        let (line, column) = place_of_mark(marked);
        let problems = self.problems(&marked.replacen('→', "", 1));
        assert!(problems.iter().all(|problem| !problem.hint.is_empty()), "{problems:?}");
        let hint = hint.or(problems.first().map(|problem| problem.hint.as_str())).unwrap_or_default();
        let expected = Problem {
            path: path.to_owned(),
            line,
            column,
            message: message.to_owned(),
            hint: hint.to_owned(),
        };
        assert_eq!(problems, [expected], "{marked}");
    }
}

impl Surroundings for World {
    fn var(&self, name: &str) -> Option<String> {
        self.variables.get(name).cloned()
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        self.files.get(path).cloned().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn grant(&self, wish: &Wish<'_>) -> Result<(), Refusal> {
        let is_closed = self.without_control && matches!(wish, Wish::Control { .. });
        let is_hidden = self.in_tmp && matches!(wish, Wish::Sight { .. });
        if self.poor || is_closed || is_hidden {
            Err(Refusal { message: format!("no {wish:?}"), hint: None })
        } else {
            Ok(())
        }
    }
}

fn place_of_mark(marked: &str) -> (usize, usize) {
    let before = marked.split('→').next().expect("a split has a first part");
    assert_ne!(before, marked, "the text has no mark");
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().expect("a split has a first part").chars().count() + 1;
    (line, column)
}

/// A config of one worker that is well but for these keys.
pub fn worker(keys: &str) -> String {
    format!("{{\n  \"workers\": {{\n    \"reader\": {{ \"command\": [\"cat\"],\n      {keys} }}\n  }}\n}}\n")
}

/// A config that is well but for these keys beside its workers.
pub fn beside_workers(keys: &str) -> String {
    format!("{{\n  {keys},\n  \"workers\": {{ \"reader\": {{ \"command\": [\"cat\"] }} }}\n}}\n")
}

/// A config that is well but for these keys of its queue `jobs`; there is a queue `dead` beside it.
pub fn queue(keys: &str) -> String {
    beside_workers(&format!("\"queues\": {{ \"dead\": {{}}, \"jobs\": {{ {keys} }} }}"))
}
