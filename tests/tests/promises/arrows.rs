//! The rooms of the workspace know one another only along the arrows that were drawn.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use cargo_metadata::{DependencyKind, MetadataCommand};
use tests::skipped;

/// The folder of the workspace.
fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the tests lie in the workspace").to_owned()
}

/// For every room, the rooms that it builds on. `None` where there is no cargo to ask.
fn arrows() -> Option<BTreeMap<String, BTreeSet<String>>> {
    let mut command = MetadataCommand::new();
    command.manifest_path(workspace().join("Cargo.toml")).no_deps().other_options(["--offline".to_owned()]);
    let metadata = match command.exec() {
        Ok(metadata) => metadata,
        Err(cargo_metadata::Error::Io(error)) => {
            skipped(&format!("cargo cannot be executed here: {error}"));
            return None;
        }
        Err(error) => panic!("cargo does not tell of the workspace: {error}"),
    };
    let rooms: BTreeSet<String> = metadata.packages.iter().map(|package| package.name.to_string()).collect();
    let of = |package: &cargo_metadata::Package| {
        let normal =
            package.dependencies.iter().filter(|dependency| dependency.kind == DependencyKind::Normal);
        normal.map(|dependency| dependency.name.clone()).filter(|name| rooms.contains(name)).collect()
    };
    Some(metadata.packages.iter().map(|package| (package.name.to_string(), of(package))).collect())
}

#[test]
fn the_rooms_know_one_another_only_along_their_arrows() {
    let allowed: BTreeMap<&str, &[&str]> = BTreeMap::from([
        ("supervision", &[][..]),
        ("process", &[]),
        ("ipc", &[]),
        ("control", &[]),
        ("config", &["supervision"]),
        // A worker's author starts children of his own with the same import.
        ("worker", &["ipc", "control", "process"]),
        ("runtime", &["supervision", "process", "ipc", "control", "worker"]),
        ("supervisor", &["runtime", "control", "config", "supervision", "ipc", "process"]),
        ("workers", &["worker"]),
    ]);
    let Some(arrows) = arrows() else { return };
    for (room, known) in &arrows {
        // What only looks at the others may know them all.
        if room == "tests" || room == "bench" {
            continue;
        }
        let allowed =
            allowed.get(room.as_str()).unwrap_or_else(|| panic!("{room} is a room that nobody drew"));
        for other in known {
            assert!(allowed.contains(&other.as_str()), "{room} knows {other}");
        }
    }
    for room in allowed.keys() {
        assert!(arrows.contains_key(*room), "{room} is drawn but not there");
    }
}

#[test]
fn the_deciding_core_stands_on_std_alone() {
    let manifest = fs::read_to_string(workspace().join("crates/supervision/Cargo.toml")).unwrap();
    let dependencies = manifest.split("[dependencies]").nth(1).unwrap_or_default();
    let own = dependencies.split("\n[").next().unwrap_or_default();
    assert!(own.lines().all(|line| line.trim().is_empty() || line.starts_with('#')), "{own}");
}

/// Every source file below a folder.
fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found
}

#[test]
fn unsafe_is_forbidden_everywhere_but_where_it_has_its_room() {
    let workspace = workspace();
    for folder in ["crates/supervision", "crates/config", "crates/control", "crates/worker", "crates/runtime"]
    {
        let text = fs::read_to_string(workspace.join(folder).join("src/lib.rs")).unwrap();
        assert!(text.contains("#![forbid(unsafe_code)]"), "{folder} does not forbid it");
    }
    let programs = ["bin/supervisor/src/main.rs", "bin/workers/src/lib.rs"].map(|path| workspace.join(path));
    for path in programs.into_iter().chain(sources(&workspace.join("bin/workers/src/bin"))) {
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.contains("#![forbid(unsafe_code)]"), "{} does not forbid it", path.display());
    }
}

/// Fails for each line of a room with `unsafe` in it, but for those of files that begin with one of these names.
#[track_caller]
fn is_safe_but_for(room: &str, names: &[&str]) {
    let root = workspace().join(room);
    for path in sources(&root) {
        let inside = path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned();
        if names.iter().any(|name| inside.starts_with(name)) {
            continue;
        }
        for (number, line) in fs::read_to_string(&path).unwrap().lines().enumerate() {
            let code = line.split("//").next().unwrap_or_default();
            let found =
                code.contains("unsafe {") || code.contains("unsafe fn") || code.contains("unsafe impl");
            assert!(!found, "{inside}:{} is not the room for it", number + 1);
        }
    }
}

#[test]
fn every_unsafe_block_of_the_shared_memory_is_in_its_room() {
    is_safe_but_for("crates/ipc/src", &["memory", "futex"]);
}

#[test]
fn the_bench_has_one_file_for_what_its_yardsticks_are_made_of() {
    is_safe_but_for("bin/bench/src", &["raw.rs"]);
}

#[test]
fn every_unsafe_block_has_its_argument() {
    for folder in ["crates/process/src", "crates/ipc/src", "bin/bench/src"] {
        for path in sources(&workspace().join(folder)) {
            let text = fs::read_to_string(&path).unwrap();
            let lines: Vec<&str> = text.lines().collect();
            for (number, line) in lines.iter().enumerate() {
                let code = line.split("//").next().unwrap_or_default();
                if !code.contains("unsafe {") && !code.contains("unsafe impl") {
                    continue;
                }
                let before = &lines[number.saturating_sub(12)..=number];
                let argued = before.iter().any(|line| line.contains("SAFETY:"));
                assert!(argued, "{}:{} has none", path.display(), number + 1);
            }
        }
    }
}
