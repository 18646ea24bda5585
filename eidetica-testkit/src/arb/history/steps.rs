//! Owns the strategy of histories: what each device writes next, and whom it hears before.
//! Which of it the rules let in is the history's.

use std::collections::BTreeSet;

use eidetica_core::{
    StoreName, Timestamp,
    authority::{AuthOperation, Level, Subject},
    limits::MAX_PARENTS,
};
use eidetica_crdt::DocOp;
use proptest::{
    collection::vec,
    prelude::{Just, Strategy, any},
    prop_oneof,
    sample::{Index, select},
};

use super::{Changes, DeviceHistory};
use crate::{crdt::doc_operations, entries::device_key};

/// Devices of a small history; the first are admins, the others write.
const DEVICES: usize = 5;
const ADMINS: usize = 2;
/// Steps of a small history; what the rules refuse is left out.
const STEPS: std::ops::Range<usize> = 1..36;
/// Devices of a wide history, which leaves more tips than an entry has parents.
const MANY_DEVICES: std::ops::Range<usize> = 65..80;
/// Levels that operations give, the frequent ones repeated.
const LEVELS: [Level; 7] = [
    Level::None,
    Level::None,
    Level::Read,
    Level::Write,
    Level::Write,
    Level::Admin(1),
    Level::Admin(2),
];

/// Histories of five devices that write documents, hear of each other or write on old branches,
/// and now and then give or take permission; and, one in eight, of 65 to 79 devices that all
/// write unaware of each other before they hear of one or of all. Claimed times are few and in no
/// order.
pub fn device_histories() -> impl Strategy<Value = DeviceHistory> {
    let few = vec(step(DEVICES, deeds().boxed()), STEPS)
        .prop_map(|steps| run(start(members()), DEVICES, &steps));
    let many = MANY_DEVICES.prop_flat_map(|devices| {
        let apart = vec(step(devices, writes().boxed()), devices);
        let together = vec(step(devices, writes().boxed()), 0..6);
        (apart, together).prop_map(move |(mut apart, together)| {
            for (device, step) in apart.iter_mut().enumerate() {
                (step.device, step.hears) = (device, Hears::Nobody);
            }
            let anyone = AuthOperation::set(Subject::Anyone, Level::Write, "");
            let steps = [apart, together].concat();
            run(start(vec![anyone]), devices, &steps)
        })
    });
    prop_oneof![7 => few, 1 => many]
}

/// What a device writes next, and what it knows when it does.
#[derive(Debug, Clone)]
struct Step {
    device: usize,
    hears: Hears,
    millis: u64,
    deed: Deed,
}

#[derive(Debug, Clone)]
enum Hears {
    Nobody,
    One(usize),
    Everybody,
    /// Forgets everything but the past of an entry.
    Stale(Index),
}

#[derive(Debug, Clone)]
enum Deed {
    Write(Vec<(StoreName, Vec<DocOp>)>),
    Permit(usize, Level, bool),
}

impl Step {
    /// Who does it: permissions are left to the admins, as all others are refused.
    fn writer(&self) -> usize {
        match self.deed {
            Deed::Permit(..) => self.device % ADMINS,
            Deed::Write(_) => self.device,
        }
    }
}

fn step(devices: usize, deeds: impl Strategy<Value = Deed>) -> impl Strategy<Value = Step> {
    let hears = prop_oneof![
        8 => Just(Hears::Nobody),
        8 => (0..devices).prop_map(Hears::One),
        2 => Just(Hears::Everybody),
        1 => any::<Index>().prop_map(Hears::Stale),
    ];
    (0..devices, hears, 0..4_u64, deeds).prop_map(|(device, hears, millis, deed)| Step {
        device,
        hears,
        millis,
        deed,
    })
}

fn deeds() -> impl Strategy<Value = Deed> {
    let permit = (0..DEVICES, select(&LEVELS[..]), any::<bool>())
        .prop_map(|(subject, level, reinstate)| Deed::Permit(subject, level, reinstate));
    let settings = change("_settings").prop_map(|settings| Deed::Write(vec![settings]));
    prop_oneof![16 => writes(), 1 => settings, 4 => permit]
}

/// Changes of one or two documents that every writer may change, or of nothing: a merge.
fn writes() -> impl Strategy<Value = Deed> {
    let both = (change("notes"), change("todos"));
    prop_oneof![
        8 => change("notes").prop_map(|notes| Deed::Write(vec![notes])),
        2 => both.prop_map(|(notes, todos)| Deed::Write(vec![notes, todos])),
        1 => Just(Deed::Write(Vec::new())),
    ]
}

fn change(store: &str) -> impl Strategy<Value = (StoreName, Vec<DocOp>)> + use<> {
    let store = StoreName::new(store).expect("a short name");
    doc_operations().prop_map(move |operations| (store.clone(), operations))
}

fn start(auth: Vec<AuthOperation>) -> DeviceHistory {
    let writes = [(StoreName::settings(), Vec::new())].into();
    DeviceHistory::start(Changes { writes, auth })
}

fn members() -> Vec<AuthOperation> {
    let level = |device| match device {
        n if n < ADMINS => Level::Admin(1),
        _ => Level::Write,
    };
    (1..DEVICES)
        .map(|device| AuthOperation::set(device_key(device).public(), level(device), ""))
        .collect()
}

/// Lets devices take their steps, each on what it knows.
fn run(mut history: DeviceHistory, devices: usize, steps: &[Step]) -> DeviceHistory {
    let mut known = vec![BTreeSet::from([0]); devices];
    for step in steps {
        let device = step.writer();
        match &step.hears {
            Hears::Nobody => {}
            Hears::One(other) => {
                let heard = known[*other].clone();
                known[device].extend(heard);
            }
            Hears::Everybody => known[device] = history.all(),
            Hears::Stale(index) => {
                let place = index.index(history.entries().len());
                known[device] = history.closure(&[place]);
            }
        }
        let mut parents = history.tips(&known[device]);
        parents.truncate(MAX_PARENTS);
        let millis = Timestamp::from_millis(step.millis);
        let changes = changes(&step.deed);
        if let Some(place) = history.push(device, parents, millis, changes) {
            known[device].insert(place);
        }
    }
    history
}

fn changes(deed: &Deed) -> Changes {
    match deed {
        Deed::Write(writes) => Changes {
            writes: writes.iter().cloned().collect(),
            auth: Vec::new(),
        },
        Deed::Permit(device, level, reinstate) => Changes {
            writes: [].into(),
            auth: vec![AuthOperation::SetPermission {
                subject: device_key(*device).public().into(),
                level: *level,
                name: String::new(),
                reinstate: *reinstate,
            }],
        },
    }
}
