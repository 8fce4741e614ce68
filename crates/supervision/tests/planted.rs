//! The simulation finds what it is there to find: ten bugs, each planted in a copy of the core, each found by a seed.
//!
//! It takes minutes, for each copy is built; so it is run by hand: `cargo test -p supervision --test planted -- --ignored`.
//! A bug whose place in the source has changed is told: plant it anew.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// How many seeds each bug has to show itself in.
const SEEDS: &str = "20000";

struct Bug {
    what: &'static str,
    file: &'static str,
    from: &'static str,
    to: &'static str,
}

const BUGS: [Bug; 10] = [
    Bug {
        what: "a successor is launched before what its predecessor held was given back",
        file: "living.rs",
        from: "        if self.leaves_by(process, Step::Clearing) {\n            self.step(process.instance, Step::Reclaiming);\n            self.order(Action::Reclaim(process));\n        }",
        to: "        if self.leaves_by(process, Step::Clearing)\n            && let State::Leaving { fate, .. } = self.member(process.instance).state.clone()\n        {\n            self.gone(process.instance, fate);\n        }",
    },
    Bug {
        what: "news of an old launch is taken for news of the present one",
        file: "living.rs",
        from: "(member.launch == process.launch.0 && member.state.is_up())",
        to: "member.state.is_up()",
    },
    Bug {
        what: "a restart leaves its window a moment too late",
        file: "restart.rs",
        from: "at + allowed.within <= now",
        to: "at + allowed.within < now",
    },
    Bug {
        what: "one restart more than allowed is spent",
        file: "restart.rs",
        from: "self.spent.len() < allowed.restarts as usize",
        to: "self.spent.len() <= allowed.restarts as usize",
    },
    Bug {
        what: "a level is stopped before the one above it is gone",
        file: "stopping.rs",
        from: "        let (&level, members) = self.levels.last_key_value()?;",
        to: "        let (&level, members) = self.levels.iter().rev().nth(1).or(self.levels.last_key_value())?;",
    },
    Bug {
        what: "who is asked twice gets its grace twice",
        file: "living.rs",
        from: "            State::Starting { .. } | State::Running => Step::Asked { kill_at },\n            _ => return,",
        to: "            State::Starting { .. } | State::Running | State::Leaving { step: Step::Asked { .. }, .. } => {\n                Step::Asked { kill_at }\n            }\n            _ => return,",
    },
    Bug {
        what: "what was stopped by request is started again with its family",
        file: "requests.rs",
        from: "                    Fate::Stays(_) | Fate::Rejoins(_) | Fate::Starts | Fate::Changes => {\n                        Fate::Stays(Blame::Requested)\n                    }",
        to: "                    Fate::Rejoins(culprit) => Fate::Rejoins(culprit),\n                    Fate::Stays(_) | Fate::Starts | Fate::Changes => Fate::Stays(Blame::Requested),",
    },
    Bug {
        what: "who has changed is asked before those who depend on it are gone",
        file: "changing.rs",
        from: "            if above.is_empty() && !asked {",
        to: "            if !asked {",
    },
    Bug {
        what: "a removed worker that ends by itself is started again",
        file: "strategy.rs",
        from: "        if self.crew(id.worker).removed {\n            return self.vanish(id);\n        }\n",
        to: "",
    },
    Bug {
        what: "a group that gave up keeps its record of restarts",
        file: "strategy.rs",
        from: "        self.groups.forgive(outermost);\n",
        to: "",
    },
];

/// A copy of this crate that stands alone.
fn copy(to: &Path) {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let manifest = "[package]\nname = \"supervision\"\nedition = \"2024\"\n\n[workspace]\n\n[profile.dev]\nopt-level = 1\ndebug = false\n";
    fs::create_dir_all(to.join("tests")).expect("a folder can be made");
    fs::write(to.join("Cargo.toml"), manifest).expect("a file can be written");
    copy_folder(&here.join("src"), &to.join("src"));
    copy_folder(&here.join("tests/simulation"), &to.join("tests/simulation"));
}

fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder can be made");
    for entry in fs::read_dir(from).expect("it can be listed") {
        let entry = entry.expect("it can be listed");
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        if from.is_dir() {
            copy_folder(&from, &to);
        } else {
            fs::copy(from, to).expect("it can be copied");
        }
    }
}

/// Runs the simulation of a copy; says what came of it.
fn simulate(folder: &Path) -> (bool, String) {
    let cargo = option_env!("CARGO").unwrap_or("cargo");
    let output = Command::new(cargo)
        .args(["test", "--quiet", "--offline", "--test", "simulation", "whatever_happens"])
        .current_dir(folder)
        .env("SIMULATION_SEEDS", SEEDS)
        .env("CARGO_TARGET_DIR", folder.join("target"))
        .output()
        .expect("cargo can be executed");
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&text).into_owned())
}

/// A folder that goes with the test.
struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
#[ignore = "takes minutes"]
fn each_of_ten_planted_bugs_is_found_by_a_seed() {
    let folder = Folder(std::env::temp_dir().join(format!("planted-{}", std::process::id())));
    copy(&folder.0);
    let (sound, said) = simulate(&folder.0);
    assert!(sound, "it is not sound without any of them: {said}");
    for Bug { what, file, from, to } in BUGS {
        let place = folder.0.join("src").join(file);
        let sound = fs::read_to_string(&place).expect("it can be read");
        assert_eq!(sound.matches(from).count(), 1, "{file} has changed; plant it anew: {what}");
        fs::write(&place, sound.replace(from, to)).expect("it can be written");
        let (unnoticed, said) = simulate(&folder.0);
        assert!(!unnoticed, "nobody noticed that {what}");
        let seed = said.lines().find(|line| line.starts_with("seed "));
        let seed = seed.unwrap_or_else(|| panic!("it was not built: {what}: {said}"));
        println!("{what}: {seed}");
        fs::write(&place, sound).expect("it can be written");
    }
}
