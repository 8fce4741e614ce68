//! Groups of workers that share a fate.

use std::time::Duration;

use serde_json::json;
use supervision::{Group, GroupId, Intensity, Strategy, WorkerId};

use crate::world::World;

#[test]
fn groups_nest_by_name_in_any_order() {
    let config = json!({
        "groups": {
            "inner": { "strategy": "one_for_all", "workers": ["b", "c"] },
            "outer": { "intensity": { "restarts": 1, "within": "1m" }, "workers": ["a"], "groups": ["inner"] },
        },
        "workers": { "a": { "command": "x" }, "b": { "command": "x" }, "c": { "command": "x", "essential": true } },
    });
    let plan = World::default().read(config.to_string()).expect("it is well");
    let inner = Group {
        name: "inner".into(),
        strategy: Strategy::OneForAll,
        intensity: Intensity::default(),
        workers: vec![WorkerId(1), WorkerId(2)],
        groups: vec![],
    };
    let outer = Group {
        name: "outer".into(),
        strategy: Strategy::OneForOne,
        intensity: Intensity { restarts: 1, within: Duration::from_secs(60) },
        workers: vec![WorkerId(0)],
        groups: vec![GroupId(0)],
    };
    assert_eq!(plan.family.groups, [inner, outer]);
    let essential: Vec<bool> = plan.family.workers.iter().map(|worker| worker.essential).collect();
    assert_eq!(essential, [false, false, true]);
}

#[test]
fn whoever_is_nowhere_in_two_places_or_in_a_circle_is_named() {
    let config = json!({
        "groups": {
            "x": { "workers": ["a", "nobody"], "groups": ["y"] },
            "y": { "workers": ["a"], "groups": ["x", "y", "z"] },
        },
        "workers": { "a": { "command": "x" } },
    });
    let problems = World::default().problems(&config.to_string());
    let told: Vec<(&str, &str)> =
        problems.iter().map(|problem| (problem.path.as_str(), problem.message.as_str())).collect();
    let expected = [
        ("groups.x.workers[1]", "there is no worker \"nobody\""),
        ("groups.x.groups", "groups would lie in one another: x → y → x"),
        ("groups.y.workers[0]", "is in the group \"x\" already"),
        ("groups.y.groups[1]", "is in the group \"x\" already"),
        ("groups.y.groups[2]", "there is no group \"z\""),
    ];
    for expected in expected {
        assert!(told.contains(&expected), "{expected:?} in {told:?}");
    }
    assert_eq!(told.len(), 5, "{told:?}");
}
