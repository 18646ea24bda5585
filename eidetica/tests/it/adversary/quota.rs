//! Two honest devices of which one holds more entries without effect than the other takes.

use eidetica::{Level, Value};
use eidetica_testkit::entries::device_key;

use super::attacker::{Attacker, Scene, WRITER};
use crate::devices::{TRANSPORTS, grant, instance, join, listen, write};

/// Entries beyond those that are taken of a removed key.
const MORE: i128 = 1100;

#[tokio::test]
async fn devices_that_hold_different_void_entries_show_the_same_and_end_equal() {
    for kind in TRANSPORTS {
        let scene = Scene::new(kind).await;
        let friend = instance().await;
        grant(&scene.database, &friend, Level::Write).await;
        join(
            &friend,
            &scene.database,
            std::slice::from_ref(&scene.address),
        )
        .await;
        let theirs = friend.database(scene.database.id()).await.unwrap();
        let address = listen(&friend, kind).await.remove(0);
        let tip = scene.tip().await;
        scene.permit(WRITER, Level::None).await;
        // The friend does not know of the removal: for it these count.
        let attack: Vec<_> = (0..MORE).map(|n| scene.write(WRITER, &tip, n)).collect();
        let writer = Attacker::new(&device_key(WRITER), kind, &address);
        writer.push(scene.database.id(), &attack).await;
        let title = async || theirs.doc("notes").unwrap().get("title").await.unwrap();
        assert_eq!(title().await, Some(Value::Int(MORE - 1)), "the control");

        let sync = async || {
            let report = scene
                .victim
                .sync()
                .sync_with_peer(scene.database.id(), &address);
            report.await.unwrap()
        };
        for received in [1024, 0] {
            let report = sync().await;
            assert_eq!((report.received, report.is_over_quota), (received, true));
            assert_eq!(report.refused, []);
            assert_eq!((scene.title().await, title().await), (None, None));
        }
        // What the friend writes builds on all of it, and so all of it is taken.
        write(&theirs, "title", 7).await;
        sync().await;
        assert_eq!(scene.title().await, Some(Value::Int(7)));
        assert_eq!(scene.database.frontier().digest, theirs.frontier().digest);
        assert!(!sync().await.is_over_quota);
    }
}
