//! E4, E9, E22: who is a member is one again after whatever happened, once, until it leaves.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use zookeeper_blocking::recipes::{
    Discovery, GroupMember, KeptNode, Membership, Party, PersistentNode, Registration,
    ServiceInstance, ShallowParty,
};
use zookeeper_blocking::{Client, Version};

use crate::clients::patience;
use crate::ensemble::play::{CLIENTS, Play};
use crate::faults::figure;
use crate::locks::ms;
use crate::support::txnlog::Txn;
use crate::support::wait::eventually;
use crate::support::wire::op;

/// What one client keeps present all the time.
struct Kept {
    party: Membership,
    group: Membership,
    node: KeptNode,
    registration: Registration,
    /// Joins and leaves.
    shallow: Mutex<Option<Membership>>,
}

/// Clients that stay members, whose nodes are also removed by others at times.
pub(crate) struct Members {
    clients: Vec<Client>,
    kept: Mutex<Vec<Kept>>,
    removed: AtomicUsize,
    rejoined: AtomicUsize,
}

const PARTY: &str = "/play/party";
const SHALLOW: &str = "/play/shallow";
const GROUP: &str = "/play/group";
const NODES: &str = "/play/kept";
const SERVICES: &str = "/play/services";

fn shallow(client: &Client, who: usize) -> ShallowParty {
    ShallowParty::new(client, SHALLOW, &format!("m{who}")).expect("legal")
}

impl Members {
    pub(crate) fn new(clients: &[Client]) -> Self {
        let keep = |(who, client): (usize, &Client)| {
            let name = format!("m{who}");
            let party = Party::new(client, PARTY).expect("legal").identifier(&name);
            let group = GroupMember::new(client, GROUP, &name).expect("legal").payload(&name);
            let node = PersistentNode::new(client, &format!("{NODES}/{name}")).expect("legal");
            let discovery = Discovery::new(client, SERVICES).expect("legal");
            let instance = ServiceInstance::new("mail").id(&name).port(25);
            Kept {
                party: party.join().expect("joined"),
                group: group.join().expect("joined"),
                node: node.data(&name).keep().expect("made"),
                registration: discovery.register(&instance).expect("registered"),
                shallow: Mutex::new(None),
            }
        };
        let kept = Mutex::new(clients.iter().enumerate().map(keep).collect());
        let (removed, rejoined) = Default::default();
        Self { clients: clients.to_vec(), kept, removed, rejoined }
    }
}

/// The nodes that are to be there, at each of these paths.
const PLACES: [&str; 4] = [PARTY, GROUP, NODES, "/play/services/mail"];

impl Play for Members {
    fn turn(&self, who: usize) {
        let client = &self.clients[who];
        thread::sleep(ms(fastrand::u64(..300)));
        if fastrand::u8(..4) == 0 {
            // Somebody removes a node; or the whole parent, at times.
            let place = PLACES[fastrand::usize(..PLACES.len())];
            let names = client.get_children(place).unwrap_or_default();
            if let Some(name) = fastrand::choice(names) {
                let is_removed = client.delete(&format!("{place}/{name}"), Version::Any).is_ok();
                self.removed.fetch_add(usize::from(is_removed), Ordering::SeqCst);
                let _ = client.delete(place, Version::Any);
            }
        }
        let own = self.kept.lock().expect("no panic")[who].shallow.lock().expect("no panic").take();
        let next = match own {
            // Told, or in the background.
            Some(member) if fastrand::bool() => {
                let _ = member.leave();
                None
            }
            Some(_) => None,
            None => shallow(client, who).join_timeout(ms(1_000)).ok(),
        };
        self.rejoined.fetch_add(usize::from(next.is_some()), Ordering::SeqCst);
        let kept = self.kept.lock().expect("no panic");
        *kept[who].shallow.lock().expect("no panic") = next;
    }

    /// All are present, once; then all leave, and nobody is there.
    fn settle(&self, witness: &Client) {
        let mut kept = self.kept.lock().expect("no panic");
        eventually("all are present", patience(), || {
            kept.iter().all(|own| {
                let nodes = [own.node.is_present(), own.registration.node().is_present()];
                own.party.is_present() && own.group.is_present() && nodes == [true; 2]
            })
        });
        let names = |place: &str| {
            witness.sync("/").expect("answered");
            witness.get_children(place).expect("answered")
        };
        for place in PLACES {
            eventually(&format!("one node each in {place}"), patience(), || {
                names(place).len() == CLIENTS
            });
        }
        for (own, client) in kept.iter().zip(&self.clients) {
            let nodes = [own.party.node(), own.group.node(), own.node.path()];
            for node in nodes.into_iter().chain([own.registration.node().path()]) {
                let stat = witness.exists(node).expect("answered").expect("present");
                assert_eq!(stat.ephemeral_owner, client.session_id(), "{node}");
            }
        }
        let shallow = kept.iter().filter(|own| own.shallow.lock().expect("no panic").is_some());
        let shallow = shallow.count();
        eventually("whoever left is gone", patience(), || names(SHALLOW).len() == shallow);
        let made = |it: u64| usize::try_from(it).expect("few");
        let mut times = [0; 4];
        for (who, own) in kept.drain(..).enumerate() {
            let node = own.node.presence();
            let registered = own.registration.node().presence();
            let all = [own.party.presence(), own.group.presence(), node, registered];
            for (times, presence) in times.iter_mut().zip(all) {
                *times += made(presence.made);
            }
            drop(own.shallow);
            // Told, or in the background.
            if who % 2 == 0 {
                own.party.leave().expect("present");
                own.group.leave().expect("present");
                own.node.close().expect("present");
                own.registration.unregister().expect("present");
            }
        }
        for place in PLACES.into_iter().chain([SHALLOW]) {
            eventually(&format!("none is left in {place}"), patience(), || names(place).is_empty());
        }
        figure("ensemble, e22: times that each recipe made its node", times);
    }

    /// Whoever never left the party was in it once at most.
    fn judge(&self, log: &[Txn]) {
        let begins = format!("{PARTY}/");
        // By node: whose it is, and of which session.
        let mut here: BTreeMap<&str, (&[u8], i64)> = BTreeMap::new();
        let mut most = 0;
        for txn in log {
            if txn.op == op::CLOSE_SESSION {
                here.retain(|_, (_, session)| *session != txn.session);
            }
            for change in txn.changes.iter().filter(|it| it.path.starts_with(&begins)) {
                if change.op == op::DELETE {
                    here.remove(change.path.as_str());
                } else {
                    let name = change.data.as_deref().expect("an identifier");
                    let other = here.iter().find(|(_, (other, _))| *other == name);
                    assert_eq!(other, None, "twice in the party at 0x{:x}", txn.zxid);
                    here.insert(&change.path, (name, txn.session));
                    most = most.max(here.len());
                }
            }
        }
        assert!(here.is_empty(), "{here:?}");
        assert_eq!(most, CLIENTS);
        let counts = [&self.removed, &self.rejoined].map(|count| count.load(Ordering::SeqCst));
        figure("ensemble, e4: nodes removed by others, parties joined again", counts);
        assert!(counts.iter().all(|count| *count > 0), "too little happened");
    }
}
