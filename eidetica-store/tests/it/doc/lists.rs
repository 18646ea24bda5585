//! Lists by index, and what two devices do to one at a time.

use eidetica_crdt::Value;
use eidetica_store::StoreErrorKind;

use super::{created, devices, exchange, get, ints, write};
use crate::support::block_on;

#[test]
fn elements_are_inserted_replaced_and_removed() {
    block_on(async {
        let database = created().await;
        write(&database, async |notes| {
            notes.push("l", 1).await.unwrap();
            notes.push_many("l", [2, 5]).await.unwrap();
            notes.insert("l", 2, 3).await.unwrap();
            notes.insert_many("l", 0, [-1, 0]).await.unwrap();
            assert_eq!(notes.list_len("l").await.unwrap(), 6);
        })
        .await;
        assert_eq!(get(&database, "l").await, ints(&[-1, 0, 1, 2, 3, 5]));
        write(&database, async |notes| {
            assert_eq!(notes.remove("l", 0).await.unwrap(), Value::from(-1));
            notes.set_at("l", 4, 4).await.unwrap();
            notes.push("l", 5).await.unwrap();
        })
        .await;
        assert_eq!(get(&database, "l").await, ints(&[0, 1, 2, 3, 4, 5]));
        let notes = database.doc("notes").unwrap();
        assert_eq!(notes.list_len("l").await.unwrap(), 6);
        assert_eq!(notes.list_len("none").await.unwrap(), 0);
    });
}

#[test]
fn elements_are_maps_that_are_written_by_path() {
    block_on(async {
        let database = created().await;
        write(&database, async |notes| {
            let todo = Value::from([("title", "tea")]);
            notes.push("todos", todo).await.unwrap();
            let first = notes.element("todos", 0).await.unwrap();
            notes.set(first.key("done").unwrap(), true).await.unwrap();
        })
        .await;
        let expected = Value::from([("title", "tea".into()), ("done", Value::from(true))]);
        assert_eq!(get(&database, "todos").await, Value::List(vec![expected]));
        let notes = database.doc("notes").unwrap();
        let first = notes.element("todos", 0).await.unwrap();
        let title = notes.get(first.key("title").unwrap()).await.unwrap();
        assert_eq!(title, Some("tea".into()));
    });
}

#[test]
fn what_is_behind_the_end_is_an_error() {
    block_on(async {
        let database = created().await;
        write(&database, async |notes| {
            notes.push("l", 1).await.unwrap();
            let errors = [
                notes.insert("l", 2, 2).await.unwrap_err(),
                notes.remove("l", 1).await.unwrap_err(),
                notes.set_at("l", 1, 2).await.unwrap_err(),
                notes.element("none", 0).await.unwrap_err(),
                notes.rewrite("none").await.unwrap_err(),
            ];
            for error in errors {
                assert_eq!(error.kind(), &StoreErrorKind::Invalid, "{error}");
            }
        })
        .await;
        assert_eq!(get(&database, "l").await, ints(&[1]));
    });
}

#[test]
fn appending_sees_what_the_transaction_removed_from_the_end() {
    block_on(async {
        let database = created().await;
        write(&database, async |notes| {
            notes.push_many("l", [1, 2, 3]).await.unwrap();
        })
        .await;
        write(&database, async |notes| {
            notes.remove("l", 2).await.unwrap();
            notes.remove("l", 1).await.unwrap();
            notes.push("l", 4).await.unwrap();
        })
        .await;
        write(&database, async |notes| {
            let element = notes.element("l", 1).await.unwrap();
            assert!(notes.delete(element).await.unwrap());
            notes.push("l", 5).await.unwrap();
        })
        .await;
        assert_eq!(get(&database, "l").await, ints(&[1, 5]));
    });
}

#[test]
fn runs_of_two_devices_at_one_place_do_not_interleave() {
    block_on(async {
        let both = devices(async |notes| notes.push_many("l", [1, 2]).await.unwrap()).await;
        for (database, from) in both.iter().zip([10, 20]) {
            for i in 0..3 {
                write(database, async |notes| {
                    notes.insert("l", 1 + i, from + i as i64).await.unwrap();
                })
                .await;
            }
        }
        exchange(&both).await;
        let [one, other] = &both;
        let list = get(one, "l").await;
        let either = [
            ints(&[1, 10, 11, 12, 20, 21, 22, 2]),
            ints(&[1, 20, 21, 22, 10, 11, 12, 2]),
        ];
        assert!(either.contains(&list), "{list:?}");
        assert_eq!(get(other, "l").await, list);
    });
}

#[test]
fn inserts_at_one_time_need_no_fork() {
    block_on(async {
        let database = created().await;
        write(&database, async |notes| notes.push("l", 1).await.unwrap()).await;
        let one = database.transaction().await.unwrap();
        one.doc("notes").unwrap().push("l", 2).await.unwrap();
        let two = database.transaction().await.unwrap();
        two.doc("notes").unwrap().insert("l", 0, 0).await.unwrap();
        one.commit().await.unwrap();
        two.commit_if_unchanged().await.unwrap();
        assert_eq!(database.frontier().tips.len(), 1);
        assert_eq!(get(&database, "l").await, ints(&[0, 1, 2]));
    });
}

#[test]
fn a_list_is_rewritten_while_others_append() {
    block_on(async {
        let both = devices(async |notes| notes.push_many("l", [1, 2]).await.unwrap()).await;
        let [one, other] = &both;
        write(one, async |notes| notes.rewrite("l").await.unwrap()).await;
        write(other, async |notes| notes.push("l", 3).await.unwrap()).await;
        exchange(&both).await;
        let list = get(one, "l").await;
        assert_eq!(get(other, "l").await, list);
        let Value::List(mut elements) = list else {
            panic!("{list:?}");
        };
        elements.sort_by_key(Value::as_int);
        assert_eq!(Value::List(elements), ints(&[1, 2, 3]));
    });
}

#[test]
fn old_states_have_their_lists() {
    block_on(async {
        let database = created().await;
        write(&database, async |notes| notes.push("l", 1).await.unwrap()).await;
        let then = database.frontier().tips;
        write(&database, async |notes| notes.push("l", 2).await.unwrap()).await;
        let then = database.at(&then).await.unwrap().doc("notes").unwrap();
        assert_eq!(then.list_len("l").await.unwrap(), 1);
        let first = then.element("l", 0).await.unwrap();
        assert_eq!(then.get(&first).await.unwrap(), Some(1.into()));
    });
}
