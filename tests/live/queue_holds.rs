//! Holds of a locking queue: whose they are, what happens to those that somebody takes away, and
//! several at once.

use std::thread;
use std::time::Duration;

use zookeeper_blocking::recipes::{HeldItem, LockingQueue};
use zookeeper_blocking::{
    Acl, Client, Code, CreateMode, Error, Permissions, RecipeError, Result, Transaction, Version,
};

use crate::clients::patience;
use crate::faults::figure;
use crate::locks::Yard;
use crate::nodes::{await_children, children};
use crate::support::calm::undisturbed;
use crate::support::wait::eventually;
use crate::support::wire::op;

fn queue(client: &Client) -> LockingQueue {
    LockingQueue::new(client, "/queue").expect("legal")
}

fn get(queue: &LockingQueue) -> HeldItem {
    queue.get().expect("an item")
}

fn text(held: &HeldItem) -> String {
    String::from_utf8(held.data().to_vec()).expect("text")
}

#[track_caller]
fn assert_not_held(result: Result<()>) {
    match result {
        Err(Error::Recipe { why: RecipeError::NotHeld, .. }) => {}
        other => panic!("not NotHeld but {other:?}"),
    }
}

/// Deletes the only hold, as an admin would.
fn take_away(yard: &Yard, client: &Client) {
    let holds = children(yard, "/queue/taken");
    client.delete(&format!("/queue/taken/{}", holds[0]), Version::Any).expect("there");
}

#[test]
fn item_that_another_holds_now_is_not_consumed_let_go_or_written_for() {
    let yard = Yard::new();
    let (client, other) = (yard.client(), yard.client());
    queue(&client).put("item").expect("put");
    client.create("/result", "", CreateMode::Persistent).expect("new");
    // Of another session, and of the same.
    for rival in [queue(&other), queue(&client)] {
        let result = || Transaction::new().set_data("/result", "late", Version::Any);
        let consume: [&dyn Fn(HeldItem) -> Result<()>; 4] = [
            &|held| held.consume(),
            &|held| held.consume_with(result()),
            &|held| held.release(),
            &|held| {
                let set = held.transaction().set_data("/result", "late", Version::Any).commit();
                let refused = set.expect_err("not held");
                assert_eq!(refused.code(), Some(Code::BadVersion), "{refused}");
                Err(held.release().expect_err("not held"))
            },
        ];
        for act in consume {
            let late = get(&queue(&client));
            take_away(&yard, &client);
            let held = get(&rival);
            assert!(held.fence() > late.fence());
            assert_not_held(act(late));
            // Nor does the drop of the late one take it away.
            client.sync("/").expect("served");
            thread::sleep(Duration::from_millis(30));
            assert_eq!(children(&yard, "/queue/taken").len(), 1, "the rival's hold");
            held.transaction().check("/result", 0).commit().expect("held");
            held.release().expect("held");
        }
        // A drop alone.
        let late = get(&queue(&client));
        take_away(&yard, &client);
        let held = get(&rival);
        drop(late);
        client.sync("/").expect("served");
        thread::sleep(Duration::from_millis(30));
        held.release().expect("held still");
    }
    let held = get(&queue(&other));
    held.consume().expect("held");
    assert_eq!(client.get_data("/result").expect("there").0, b"");
    assert!(queue(&client).is_empty().expect("answered"));
}

/// Kazoo and Curator make holds that nobody wrote to, and do not write to the item.
#[test]
fn item_that_a_consumer_of_kazoo_holds_now_is_not_consumed() {
    let yard = Yard::new();
    let (client, other) = (yard.client(), yard.client());
    queue(&client).put("item").expect("put");
    for act in [HeldItem::consume, HeldItem::release] {
        let late = get(&queue(&client));
        let hold = format!("/queue/taken/{}", children(&yard, "/queue/taken")[0]);
        take_away(&yard, &client);
        other.create(&hold, "Kazoo's", CreateMode::Ephemeral).expect("free");
        let checked = late.transaction().set_data("/queue", "", Version::Any).commit();
        assert!(matches!(checked, Err(Error::Transaction { index: 1, .. })), "{checked:?}");
        assert_not_held(act(late));
        assert_eq!(other.get_data(&hold).expect("still there").0, b"Kazoo's");
        other.delete(&hold, Version::Any).expect("there");
    }
    assert_eq!(text(&get(&queue(&client))), "item");
}

#[test]
fn item_that_was_changed_under_its_holder_is_not_consumed_and_comes_again_as_it_is() {
    let yard = Yard::new();
    let client = yard.client();
    queue(&client).put("old").expect("put");
    let late = get(&queue(&client));
    client.set_data(late.path(), "new", Version::Any).expect("there");
    assert_not_held(late.consume());
    await_children(&yard, "/queue/taken", 0);
    let held = get(&queue(&client));
    assert_eq!(text(&held), "new");
    held.consume().expect("held");
}

/// Consumers may have no right to write the items, and need none.
#[test]
fn item_that_may_only_be_read_and_one_that_is_large_are_held_and_consumed() {
    let yard = Yard::new();
    let client = yard.client();
    let reader = queue(&client).acl([Acl::world(Permissions::READ)]);
    client.ensure_path("/queue/entries").expect("made");
    client.ensure_path("/queue/taken").expect("made");
    reader.put("read only").expect("put");
    let queue = queue(&client);
    queue.put(vec![b'x'; 100_000]).expect("put");
    let [small, large] = [get(&queue), get(&queue)];
    assert_eq!((text(&small), large.data().len()), ("read only".into(), 100_000));
    for held in [&small, &large] {
        held.transaction().check("/queue", Version::Any).commit().expect("held");
        let (_, stat) = client.get_data(held.path()).expect("there");
        assert_eq!(stat.version, 0, "not written");
    }
    small.consume().expect("held");
    take_away(&yard, &client);
    assert_not_held(large.consume());
    get(&queue).consume().expect("held");
    assert!(queue.is_empty().expect("answered"));
}

#[test]
fn several_items_are_held_at_once_each_for_itself() {
    let yard = Yard::new();
    let proxy = yard.proxy();
    let client = yard.through(&proxy).connect().expect("serves");
    let (queue, other) = (queue(&client), queue(&yard.client()));
    assert!(queue.try_get_all(5).expect("answered").is_empty());
    other.put_all((0..7).map(|n| n.to_string()), 100).expect("put");
    let taken = get(&other);
    let held = queue.try_get_all(4).expect("answered");
    assert_eq!(held.iter().map(text).collect::<Vec<_>>(), ["1", "2", "3", "4"]);
    assert!(queue.try_get_all(0).expect("nothing to do").is_empty());
    let rest = queue.get_all(9).expect("there are some");
    assert_eq!(rest.iter().map(text).collect::<Vec<_>>(), ["5", "6"]);
    assert!(queue.try_get_all(9).expect("answered").is_empty());
    let late = queue.get_all_timeout(9, Duration::from_millis(30));
    assert!(matches!(late, Err(Error::Timeout { .. })), "{late:?}");
    // Whoever waits gets what is there first.
    let own = queue.clone();
    let waiting = thread::spawn(move || {
        own.get_all(9).expect("given back").iter().map(text).collect::<Vec<_>>()
    });
    eventually("it waits", patience(), || client.watch_count() == 2);
    taken.release().expect("held");
    assert_eq!(waiting.join().expect("no panic"), ["0"]);
    let mut held = held.into_iter();
    held.next().expect("four").consume().expect("held");
    drop(held);
    drop(rest);
    await_children(&yard, "/queue/taken", 0);
    assert_eq!(queue.len().expect("answered"), 6);
    eventually("b9: no watch left", patience(), || client.watch_count() == 0);
}

#[test]
fn several_items_cost_few_round_trips() {
    undisturbed(|| {
        let yard = Yard::new();
        let proxy = yard.proxy();
        let queue = queue(&yard.through(&proxy).connect().expect("serves"));
        queue.put_all(["x"; 101], 100).expect("put");
        let first = get(&queue);
        proxy.far();
        proxy.reset_counts();
        let held = queue.try_get_all(100).expect("answered");
        let counts = proxy.counts();
        figure("locking queue: round trips to get 100", counts.round_trips);
        assert_eq!(held.len(), 100);
        assert_eq!(counts.to_server.requests(), 2 + 2 * 100);
        assert_eq!(counts.round_trips, 3, "{counts:?}");
        first.consume().expect("held");
    });
}

#[test]
fn e4_several_items_are_held_once_when_answers_are_lost() {
    let yard = Yard::new();
    let proxy = yard.proxy();
    let client = yard.through(&proxy).connect().expect("serves");
    let queue = queue(&client);
    queue.put_all((0..5).map(|n| n.to_string()), 100).expect("put");
    // The directory of the holds is there: else what is lost is a refusal.
    get(&queue).release().expect("held");
    for code in [op::MULTI, op::GET_DATA, op::GET_CHILDREN] {
        for lost in [true, false] {
            if lost {
                proxy.drop_reply_to(code)
            } else {
                proxy.drop_request(code)
            }
            let caught = proxy.caught().len();
            let held = queue.try_get_all(5).expect("answered");
            assert_eq!(proxy.caught().len(), caught + 1, "something was lost");
            assert_eq!(held.iter().map(text).collect::<Vec<_>>(), ["0", "1", "2", "3", "4"]);
            assert_eq!(children(&yard, "/queue/taken").len(), 5);
            for held in held {
                held.release().expect("held, and once");
            }
            await_children(&yard, "/queue/taken", 0);
        }
    }
}
