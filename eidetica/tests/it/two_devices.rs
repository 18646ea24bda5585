//! Two or three devices, over each transport: they end with the same entries.

use eidetica::Level;

use crate::devices::{TRANSPORTS, grant, instance, join, listen, shared, write};

#[tokio::test]
async fn a_device_joins_and_both_converge_with_the_conflict_kept() {
    for transport in TRANSPORTS {
        let (a, b) = (instance().await, instance().await);
        let ours = shared(&a, &b).await;
        for i in 0..100 {
            write(&ours, &format!("list.{i}"), i).await;
        }
        let addresses = listen(&a, transport).await;
        let answering = b.sync().connect_to_peer(&addresses[0]).await.unwrap();
        assert_eq!(answering, a.public_key());
        assert_eq!(join(&b, &ours, &addresses).await.received, 102);
        let theirs = b.database(ours.id()).await.unwrap();
        assert_eq!(theirs.frontier().digest, ours.frontier().digest);

        write(&ours, "title", "from a").await;
        write(&theirs, "title", "from b").await;
        let report = join(&b, &ours, &addresses).await;
        assert_eq!((report.received, report.sent), (1, 1));
        assert_eq!(theirs.frontier().digest, ours.frontier().digest);
        let reading = theirs.doc("notes").unwrap().read("title").await.unwrap();
        assert_eq!(
            reading,
            ours.doc("notes").unwrap().read("title").await.unwrap()
        );
        assert_eq!(reading.conflicts.len(), 1);
    }
}

#[tokio::test]
async fn a_sync_with_nothing_new_is_one_small_round_trip() {
    for transport in TRANSPORTS {
        let (a, b) = (instance().await, instance().await);
        let ours = shared(&a, &b).await;
        let addresses = listen(&a, transport).await;
        join(&b, &ours, &addresses).await;
        let report = join(&b, &ours, &addresses).await;
        assert_eq!(
            (report.received, report.sent, report.round_trips),
            (0, 0, 1)
        );
        let bytes = report.bytes_in + report.bytes_out;
        assert!(bytes <= 200, "{bytes} bytes, {report:?}");
    }
}

#[tokio::test]
async fn a_third_device_hands_on_what_the_writer_no_longer_can() {
    for transport in TRANSPORTS {
        let (a, b, c) = (instance().await, instance().await, instance().await);
        let ours = shared(&a, &b).await;
        grant(&ours, &c, Level::Read).await;
        write(&ours, "title", "from a").await;
        join(&c, &ours, &listen(&a, transport).await).await;
        a.sync().stop().await;
        join(&b, &ours, &listen(&c, transport).await).await;
        let theirs = b.database(ours.id()).await.unwrap();
        assert_eq!(theirs.frontier().digest, ours.frontier().digest);
    }
}

#[tokio::test]
async fn devices_that_never_met_exchange_only_about_what_differs() {
    for transport in TRANSPORTS {
        let (a, b, c) = (instance().await, instance().await, instance().await);
        let ours = shared(&a, &b).await;
        grant(&ours, &c, Level::Write).await;
        for i in 0..400 {
            write(&ours, &format!("list.{i}"), i).await;
        }
        let addresses = listen(&a, transport).await;
        join(&b, &ours, &addresses).await;
        join(&c, &ours, &addresses).await;
        let at_b = b.database(ours.id()).await.unwrap();
        let at_c = c.database(ours.id()).await.unwrap();
        for i in 0..5 {
            write(&at_b, &format!("b.{i}"), i).await;
            write(&at_c, &format!("c.{i}"), i).await;
        }
        let report = join(&c, &ours, &listen(&b, transport).await).await;
        assert_eq!((report.received, report.sent), (5, 5));
        assert!(report.redundant <= 5, "{report:?}");
        assert_eq!(at_b.frontier().digest, at_c.frontier().digest);
    }
}
