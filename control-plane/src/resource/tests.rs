use sonde_proto::alert::Alert;

use super::*;
use crate::tests::world::World;

fn alert(name: &str) -> Alert {
    Alert { name: name.into(), expression: "G.V()".into(), ..Alert::default() }
}

#[tokio::test]
async fn an_update_finds_what_it_was_made_from_or_does_nothing() {
    let world = World::new();
    let alerts = &world.state.alerts.resources;
    let mut changed = alerts.subscribe();
    let first = alerts.create(alert("first"), None).unwrap();
    let id = &first.resource.uuid;
    assert!(changed.has_changed().unwrap());
    changed.mark_unchanged();
    let second = alerts.update(id, &first, alert("second")).unwrap().unwrap();
    assert_eq!((&second.resource.uuid, second.resource.name.as_str()), (id, "second"));
    assert!(changed.has_changed().unwrap());
    changed.mark_unchanged();
    assert!(alerts.update(id, &first, alert("late")).unwrap().is_none());
    let same = alerts.update(id, &second, second.resource.clone()).unwrap().unwrap();
    assert!(Arc::ptr_eq(&same, &second));
    let error = alerts.update(id, &second, Alert::default()).unwrap_err();
    assert_eq!(error.to_string(), "Expression: zero value");
    assert!(Arc::ptr_eq(&alerts.entries()[id], &second));
    assert!(!changed.has_changed().unwrap());
    assert!(alerts.delete(id).unwrap() && !alerts.delete(id).unwrap());
    assert!(changed.has_changed().unwrap());
    assert!(alerts.update(id, &second, alert("gone")).unwrap().is_none());
}

#[tokio::test]
async fn the_time_of_an_end_survives_the_process_and_updates() {
    let directory = tempfile::tempdir().unwrap();
    let world = World::open(Some(directory.path())).unwrap();
    let alerts = &world.state.alerts.resources;
    let minute = Duration::from_secs(60);
    let first = alerts.create(alert("first"), Some(minute)).unwrap();
    let id = &first.resource.uuid;
    alerts.update(id, &first, alert("second")).unwrap().unwrap();
    assert!(!alerts.expire().unwrap());
    drop(world);
    let world = World::open(Some(directory.path())).unwrap();
    let alerts = &world.state.alerts.resources;
    assert_eq!(alerts.entries()[id].resource.name, "second");
    world.pass(minute);
    assert!(alerts.expire().unwrap());
    assert!(alerts.entries().is_empty());
    drop(world);
    let world = World::open(Some(directory.path())).unwrap();
    assert!(world.state.alerts.resources.entries().is_empty(), "it is off the disk, too");
}
