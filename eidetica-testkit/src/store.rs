//! Owns the conformance suite of `Backend`: what an implementer calls and hands in. The cases
//! are in the modules below, and so are backends that fail on purpose and that
//! are watched.

pub mod cases;
mod disk;
mod faulty;
mod folder;
mod kill;
mod tapped;

use std::{
    fmt,
    panic::{self, AssertUnwindSafe},
    path::{Path, PathBuf},
    pin::Pin,
    sync::Arc,
    time::Duration,
};

use eidetica_store::{Backend, StoreError};

use self::folder::Folder;
pub use self::{
    disk::{Lost, SECTOR, SimFile},
    faulty::{Fault, FaultyBackend},
    tapped::{Tap, TappedBackend},
};

/// A case that has not ended by then has failed.
const CASE_DEADLINE: Duration = Duration::from_secs(180);
/// How long a case waits for something that happens at once in a backend that is right.
const WAIT: Duration = Duration::from_secs(10);

type Opened = Result<Arc<dyn Backend>, StoreError>;
type Opener = Box<dyn Fn(PathBuf) -> Pin<Box<dyn Future<Output = Opened>>>>;

/// A backend under test: how to open it, in a folder of its own that goes with the fixture.
pub struct BackendFixture {
    open: Opener,
    volatile: bool,
    wait: Duration,
    /// The path of the test that runs the case, as the test binary names it.
    test: &'static str,
    folder: Folder,
}

impl BackendFixture {
    /// A backend whose data outlive it in the folder that `open` is given: opening the same
    /// folder again opens the same data.
    pub fn durable<B: Backend, F>(open: impl Fn(PathBuf) -> F + 'static) -> Self
    where
        F: Future<Output = Result<B, StoreError>> + 'static,
    {
        let open: Opener = Box::new(move |folder| {
            let opening = open(folder);
            Box::pin(async move { opening.await.map(|b| Arc::new(b) as Arc<dyn Backend>) })
        });
        Self {
            open,
            volatile: false,
            wait: WAIT,
            test: "",
            folder: Folder::default(),
        }
    }

    /// A backend whose data go with it: where a case opens the data again, it keeps the handle,
    /// and where it kills a process, it does not.
    pub fn volatile<B: Backend, F>(open: impl Fn(PathBuf) -> F + 'static) -> Self
    where
        F: Future<Output = Result<B, StoreError>> + 'static,
    {
        Self {
            volatile: true,
            ..Self::durable(open)
        }
    }

    /// Names the test that runs the case, as `module_path!()` and the function's name: cases
    /// that kill a process run this one test again as the process to kill.
    #[must_use]
    pub fn with_test(mut self, test: &'static str) -> Self {
        self.test = test.split_once("::").map_or(test, |(_, path)| path);
        self
    }

    /// Sets how long a case waits for what happens at once in a backend that is right.
    #[must_use]
    pub fn with_wait(mut self, wait: Duration) -> Self {
        self.wait = wait;
        self
    }

    async fn open(&self) -> Arc<dyn Backend> {
        self.open_in(self.folder.path()).await
    }

    async fn open_in(&self, folder: &Path) -> Arc<dyn Backend> {
        let opened = (self.open)(folder.to_owned()).await;
        opened.expect("the backend opens")
    }

    /// Closes the backend and opens its data again.
    async fn reopen(&self, backend: Arc<dyn Backend>) -> Arc<dyn Backend> {
        if self.volatile {
            return backend;
        }
        drop(backend);
        self.open().await
    }
}

impl fmt::Debug for BackendFixture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BackendFixture")
            .field("volatile", &self.volatile)
            .field("folder", &self.folder)
            .finish_non_exhaustive()
    }
}

/// Runs one case on a runtime of its own, with a deadline.
///
/// # Panics
/// When the case fails or does not end in time.
pub fn run(case: impl Future<Output = ()>) {
    block_on(async {
        tokio::time::timeout(CASE_DEADLINE, case)
            .await
            .expect("the case ends in time");
    });
}

/// A case of the suite.
pub type Case = fn(BackendFixture) -> Pin<Box<dyn Future<Output = ()>>>;

/// Runs every case on a fixture of its own and tells which fail, each with what it says: for
/// tests of the suite by backends that break a clause. `test` is the path of the test that calls
/// it, as for [`BackendFixture::with_test`].
pub fn failing_cases(
    test: &'static str,
    fixture: impl Fn() -> BackendFixture,
) -> Vec<(&'static str, String)> {
    let only = kill::case_to_run();
    let cases: [(&'static str, Case); _] = crate::backend_conformance! { @list @table };
    let mut failing = Vec::new();
    for (name, case) in cases {
        if only.as_deref().is_some_and(|only| only != name) {
            continue;
        }
        let fixture = fixture().with_test(test);
        if let Err(payload) = panic::catch_unwind(AssertUnwindSafe(|| run(case(fixture)))) {
            let said = payload.downcast_ref::<String>().cloned();
            let said = said.or_else(|| payload.downcast_ref::<&str>().map(|said| (*said).into()));
            failing.push((name, said.unwrap_or_default()));
        }
    }
    failing
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime needs nothing but memory and a few file descriptors")
        .block_on(future)
}

/// Expands to a `#[test]` for each clause of `Backend` (some clauses have two), named after it:
/// `b1_…` to `b13_…`.
///
/// Takes a closure from a folder to a future of the opened backend. Opening the same folder
/// again must open the same data; a backend that keeps nothing says `volatile` first. It runs
/// inside a tokio runtime; the implementer's crate needs no tokio of its own. To test two
/// configurations, call it in two modules.
///
/// ```
/// mod memory {
///     use eidetica_store::MemoryBackend;
///
///     eidetica_testkit::backend_conformance!(volatile |_| async { Ok(MemoryBackend::new()) });
/// }
/// ```
#[macro_export]
macro_rules! backend_conformance {
    (@cases $kind:ident $open:expr; $($case:ident)+) => {
        $(
            #[test]
            fn $case() {
                let fixture = $crate::store::BackendFixture::$kind($open)
                    .with_test(concat!(module_path!(), "::", stringify!($case)));
                $crate::store::run($crate::store::cases::$case(fixture));
            }
        )+
    };
    (@table $($case:ident)+) => {
        [$((
            stringify!($case),
            (|fixture| Box::pin($crate::store::cases::$case(fixture))) as $crate::store::Case,
        )),+]
    };
    (@list $($with:tt)*) => {
        $crate::backend_conformance! { $($with)*
            b1_a_snapshot_shows_one_state
            b2_a_commit_is_in_every_later_snapshot
            b3_a_refused_batch_applies_nothing
            b3_a_killed_process_leaves_batches_whole
            b4_a_failed_precondition_changes_nothing_and_names_every_key
            b5_writes_take_effect_in_the_order_given
            b6_acknowledged_commits_are_there_after_reopening
            b6_acknowledged_commits_survive_a_killed_process
            b7_a_scan_keeps_order_range_and_limits
            b8_keys_and_values_are_any_bytes_and_spaces_are_apart
            b9_what_is_over_a_limit_changes_nothing
            b10_values_come_in_the_order_of_their_keys
            b11_commits_and_snapshots_run_side_by_side
            b12_open_data_does_not_open_again_unless_shared
            b13_who_waits_for_a_key_is_told_of_its_write
        }
    };
    (volatile $open:expr) => {
        $crate::backend_conformance! { @list @cases volatile $open; }
    };
    ($open:expr) => {
        $crate::backend_conformance! { @list @cases durable $open; }
    };
}
