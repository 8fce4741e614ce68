//! The simulation finds what it is there to find: bugs of every kind, each planted in a copy of the core, each found by a seed.
//!
//! It takes minutes, for each copy is built; so it is run by hand: `cargo test -p supervision --test planted -- --ignored`.
//! `PLANTED=words` limits it to those whose names contain the words. A bug whose place in the source has changed is told: plant it
//! anew.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

/// How many seeds each bug has to show itself in.
const SEEDS: &str = "200000";

struct Bug {
    what: &'static str,
    file: &'static str,
    from: &'static str,
    to: &'static str,
}

const BUGS: [Bug; 46] = [
    Bug {
        what: "what a former run had more of is taken back and stays",
        file: "living.rs",
        from: "        if one_too_many {",
        to: "        if one_too_many && false {",
    },
    Bug {
        what: "a successor is launched before what its predecessor held was given back",
        file: "living.rs",
        from: "        if matches!(self.present(process), Some(State::Leaving { step, .. }) if leaves(step)) {\n            self.step(process.instance, Step::Reclaiming);\n            self.order(Action::Reclaim(process));\n        }",
        to: "        if let Some(State::Leaving { step, fate }) = self.present(process).cloned()\n            && leaves(&step)\n        {\n            self.gone(process.instance, fate);\n        }",
    },
    Bug {
        what: "news of an old launch is taken for news of the present one",
        file: "living.rs",
        from: "(member.launch == process.launch.0 && member.state.is_up())",
        to: "member.state.is_up()",
    },
    Bug {
        what: "a window of restarts is twice as long as it is said to be",
        file: "restart.rs",
        from: "at + allowed.within <= now",
        to: "at + allowed.within + allowed.within <= now",
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
        from: "            State::Starting { .. } | State::Running { .. } => self.asked_now(id),\n            _ => return,",
        to: "            State::Starting { .. } | State::Running { .. } | State::Leaving { step: Step::Asked { .. }, .. } => {\n                self.asked_now(id)\n            }\n            _ => return,",
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
        from: "            if above.is_empty() {\n                self.changing.due.insert(worker);",
        to: "            if above.len() < 1000 {\n                self.changing.due.insert(worker);",
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
    Bug {
        what: "what is due while a run is under way is owed, though it is to be skipped",
        file: "schedule.rs",
        from: "            Overlap::Skip => {}\n            Overlap::Queue => self",
        to: "            Overlap::Skip | Overlap::Queue => self",
    },
    Bug {
        what: "a look that comes late shifts all runs to come",
        file: "schedule.rs",
        from: "        let next = next + Duration::from_nanos(u64::try_from(passed).unwrap_or(u64::MAX));",
        to: "        let _ = passed;\n        let next = now + every;",
    },
    Bug {
        what: "of several runs that are owed only one follows",
        file: "schedule.rs",
        from: "            self.change(id, |member| member.dues.owed -= 1);",
        to: "            self.change(id, |member| member.dues.owed = 0);",
    },
    Bug {
        what: "a run that is due does not take the place of one that rests",
        file: "schedule.rs",
        from: "            State::Resting { .. } => self.begin_run_of(id),\n",
        to: "",
    },
    Bug {
        what: "a changed schedule holds only when the worker is started again",
        file: "changing.rs",
        from: "            if schedule != former.schedule {\n                self.reschedule(id);\n            }\n",
        to: "            let _ = (schedule, former.schedule);\n",
    },
    Bug {
        what: "what was stopped by request is started by a change",
        file: "changing.rs",
        from: "                    State::Resting { .. } | State::Done(_) | State::Failed { .. },\n                    Manner::Restart | Manner::Roll,",
        to: "                    State::Stopped(_) | State::Resting { .. } | State::Done(_) | State::Failed { .. },\n                    Manner::Restart | Manner::Roll,",
    },
    Bug {
        what: "who changed comes back before what it comes after and changed too is gone",
        file: "changing.rs",
        from: "        self.blocked.get(&worker)?.first().copied()",
        to: "        self.blocked.get(&worker)?.first().copied().filter(|_| false)",
    },
    Bug {
        what: "an old one is asked before the new one is ready",
        file: "rolling.rs",
        from: "            State::Running { .. } if tried && self.is_proven(id) => Progress::Ready,",
        to: "            State::Starting { .. } | State::Running { .. } if tried => Progress::Ready,",
    },
    Bug {
        what: "a rolling restart goes on though a new one did not get ready",
        file: "rolling.rs",
        from: "                Progress::Failed(why) => {\n                    self.fail_rolling(InstanceId { index, ..one_more }, rolling, &why);\n",
        to: "                Progress::Failed(_) => {\n                    self.replace_next(worker, rolling);\n",
    },
    Bug {
        what: "where more are wanted in the middle of a rolling restart what is on its way is not awaited",
        file: "rolling.rs",
        from: "Step::Growing { index, before } if index < size => {",
        to: "Step::Growing { index, before } if index < size && size == 0 => {",
    },
    Bug {
        what: "the one more of a rolling restart charges its group when it fails",
        file: "strategy.rs",
        from: "if self.is_on_trial(id) => {\n                self.fail_trial(id, &Blame::Cause(cause));\n            }\n            Fate::Policy(_) | Fate::PolicyOrStopped(_) if self.goes_with_its_roll(id) =>",
        to: "if self.is_on_trial(id) && false => {\n                self.fail_trial(id, &Blame::Cause(cause));\n            }\n            Fate::Policy(_) | Fate::PolicyOrStopped(_) if self.goes_with_its_roll(id) && false =>",
    },
    Bug {
        what: "who waits for a worker that was removed waits for ever",
        file: "waiting.rs",
        from: "        if self.removed {\n            return Standing::Never;\n        }\n",
        to: "",
    },
    Bug {
        what: "under rest_for_one those before the one to blame are restarted too",
        file: "strategy.rs",
        from: "                let from = self.groups.standpoint_in(node, id).unwrap_or(FIRST);\n",
        to: "                let from = FIRST;\n",
    },
    Bug {
        what: "a group that gave up is not charged to what it lies in",
        file: "strategy.rs",
        from: "        self.groups.spend(node, restarted, now);",
        to: "        if anew.is_none() {\n            self.groups.spend(node, restarted, now);\n        }",
    },
    Bug {
        what: "an essential worker that ends well does not end the run",
        file: "strategy.rs",
        from: "        self.end_if_essential(id, &Blame::Cause(cause.clone()), self.member(id).last);\n",
        to: "",
    },
    Bug {
        what: "a sign of life counts for twice as long",
        file: "vigil.rs",
        from: "                pulse.by = now + pulse.every;",
        to: "                pulse.by = now + pulse.every + pulse.every;",
    },
    Bug {
        what: "a probe that finds it well does not make up for those that failed",
        file: "vigil.rs",
        from: "                    (checkup.failures, checkup.last) = (0, None);",
        to: "                    checkup.last = None;",
    },
    Bug {
        what: "a probe is ordered while another is under way",
        file: "vigil.rs",
        from: "                            checkup.probing = Probing::Asked(now);\n                        }\n                    });\n                    self.outbox",
        to: "                            checkup.probing = Probing::At(now + Duration::from_millis(20));\n                        }\n                    });\n                    self.outbox",
    },
    Bug {
        what: "a stop may take longer than it is said to",
        file: "stopping.rs",
        from: "            self.kill_what_is_left(blame.clone());\n        }\n    }\n",
        to: "            let _ = blame;\n            if let Run::Stopping { limit, .. } = &mut self.run {\n                *limit = Limit::Never;\n            }\n        }\n    }\n",
    },
    Bug {
        what: "the rest of a tree that was asked is killed when its leader has ended",
        file: "living.rs",
        from: "                if spec.asks_tree && !before.is_of_who_departs() =>",
        to: "                if spec.asks_tree && false && !before.is_of_who_departs() =>",
    },
    Bug {
        what: "the rest of a tree is waited for without a limit",
        file: "instance.rs",
        from: "State::Leaving { step: Step::Asked { kill_at, .. } | Step::Outlived { kill_at }, .. } => {",
        to: "State::Leaving { step: Step::Asked { kill_at, .. }, .. } => {",
    },
    Bug {
        what: "who was asked to stop leaves others to be adopted",
        file: "living.rs",
        from: "            && matches!(fate, Fate::Policy(Cause::Ended { .. }))",
        to: "            && matches!(fate, Fate::Policy(Cause::Ended { .. }) | Fate::Stays(_))",
    },
    Bug {
        what: "who was killed leaves others to be adopted",
        file: "living.rs",
        from: "            && !self.leaves_by(process, Step::Killed);",
        to: ";",
    },
    Bug {
        what: "what was adopted goes with a restart of its worker",
        file: "living.rs",
        from: "        self.change(id, |member| member.state = State::Leaving { step, fate });\n        if matches!(step, Step::Asked { .. }) {",
        to: "        self.end_leftovers(id);\n        self.change(id, |member| member.state = State::Leaving { step, fate });\n        if matches!(step, Step::Asked { .. }) {",
    },
    Bug {
        what: "what was adopted is asked to stop twice",
        file: "leftovers.rs",
        from: "filter(|(_, left)| left.stage == Stage::Lives);",
        to: "filter(|(_, left)| left.stage != Stage::Killed);",
    },
    Bug {
        what: "what was adopted has no grace",
        file: "leftovers.rs",
        from: "        let kill_at = self.now + self.crew(id.worker).spec.grace;",
        to: "        let kill_at = self.now + self.crew(id.worker).spec.grace / 2;",
    },
    Bug {
        what: "the run ends while what was adopted lives",
        file: "supervisor.rs",
        from: "            && !self.has_leftovers(id)\n",
        to: "",
    },
    Bug {
        what: "what was adopted is forgotten when its worker is taken out",
        file: "requests.rs",
        from: "        self.change(id, |member| member.renew(State::Absent, now));\n        self.end_leftovers(id);",
        to: "        self.change(id, |member| member.renew(State::Absent, now));",
    },
    Bug {
        what: "who left others behind has not failed",
        file: "strategy.rs",
        from: "            Cause::Ended { remark: Some(Remark::LeftBehind(_)), .. } => false,\n",
        to: "",
    },
    Bug {
        what: "a rolling restart takes a launch for good as soon as it is ready",
        file: "rolling.rs",
        from: "        self.now >= self.member(id).since + self.crew(id.worker).spec.min_ready",
        to: "        self.now >= self.member(id).since",
    },
    Bug {
        what: "a rolling restart that goes on by another config asks an old one at once",
        file: "rolling.rs",
        from: "                    State::Running { .. } => {}\n                    State::Launching",
        to: "                    State::Running { .. } => {\n                        self.ask(id(*index), Fate::Starts);\n                        *before = launch;\n                    }\n                    State::Launching",
    },
    Bug {
        what: "a rolling restart whose number has changed leaves those that are too many",
        file: "rolling.rs",
        from: "        self.resize(worker, rolling.size, false);\n    }\n\n    fn progress",
        to: "        self.resize(worker, rolling.one_more, false);\n    }\n\n    fn progress",
    },
    Bug {
        what: "who had its turn for a former change is forgotten by the next",
        file: "changing.rs",
        from: "            if above.is_empty() {\n                self.changing.due.insert(worker);",
        to: "            if above.is_empty() && self.changing.turns.get(&worker).is_none_or(|turn| !turn.asked) {\n                self.changing.due.insert(worker);",
    },
    Bug {
        what: "who is spared by a change is forgiven and replaced all the same",
        file: "rolling.rs",
        from: "            rolling.left.retain(|(index, _)| !spared.contains(&id(*index)));\n",
        to: "",
    },
    Bug {
        what: "a changed limit of the stop holds from the next run on",
        file: "changing.rs",
        from: "        self.stop_within = change.stop_within;\n",
        to: "        let _ = change.stop_within;\n",
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

/// What came of a simulation.
enum Outcome {
    Clean,
    /// It says what went wrong.
    Failed(String),
    /// The core goes round in circles.
    Hangs,
}

/// A simulation that takes longer hangs.
const PATIENCE: Duration = Duration::from_secs(900);

/// Runs the simulation of a copy; says what came of it.
fn simulate(folder: &Path) -> Outcome {
    let cargo = option_env!("CARGO").unwrap_or("cargo");
    let in_copy = |command: &mut Command| -> Output {
        let command = command.current_dir(folder).env("SIMULATION_SEEDS", SEEDS);
        command.env("CARGO_TARGET_DIR", folder.join("target")).output().expect("it can be executed")
    };
    let test = ["test", "--quiet", "--offline", "--test", "simulation"];
    let built = in_copy(Command::new(cargo).args(test).arg("--no-run"));
    let said = |output: &Output| {
        String::from_utf8_lossy(&[&output.stdout[..], &output.stderr].concat()).into_owned()
    };
    assert!(built.status.success(), "it is not built: {}", said(&built));
    let ran = in_copy(
        Command::new("timeout")
            .args(["--kill-after=1", &PATIENCE.as_secs().to_string(), cargo])
            .args(test)
            .arg("whatever_happens"),
    );
    match ran.status.code() {
        Some(0) => Outcome::Clean,
        Some(124 | 137) | None => Outcome::Hangs,
        Some(_) => Outcome::Failed(said(&ran)),
    }
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
fn each_planted_bug_is_found_by_a_seed() {
    let folder = Folder(std::env::temp_dir().join(format!("planted-{}", std::process::id())));
    copy(&folder.0);
    match simulate(&folder.0) {
        Outcome::Clean => {}
        Outcome::Failed(said) => panic!("it is not sound without any of them: {said}"),
        Outcome::Hangs => panic!("it hangs without any of them"),
    }
    let mut unfound = Vec::new();
    let wanted = std::env::var("PLANTED").unwrap_or_default();
    for Bug { what, file, from, to } in BUGS.into_iter().filter(|bug| bug.what.contains(&wanted)) {
        let place = folder.0.join("src").join(file);
        let sound = fs::read_to_string(&place).expect("it can be read");
        assert_eq!(sound.matches(from).count(), 1, "{file} has changed; plant it anew: {what}");
        fs::write(&place, sound.replace(from, to)).expect("it can be written");
        let outcome = simulate(&folder.0);
        fs::write(&place, sound).expect("it can be written");
        match outcome {
            Outcome::Clean => unfound.push(what),
            Outcome::Hangs => println!("it hangs: {what}"),
            Outcome::Failed(said) => {
                let seed = said.lines().find(|line| line.starts_with("seed "));
                let seed = seed.and_then(|line| line.split(' ').nth(1)).expect("a failure names its seed");
                println!("seed {seed}: {what}");
            }
        }
    }
    assert!(unfound.is_empty(), "nobody noticed that {}", unfound.join("; nor that "));
}
