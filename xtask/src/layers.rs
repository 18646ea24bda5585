//! Which crate may use which: the table of layers, and the check that manifests keep to it.
//! The reasons for each third-party crate are in ARCHITECTURE.md; files are checked by `tidy`.

use crate::command::{Command, Failure};
use crate::problem::{Problem, conclude};
use crate::workspace::{Dependency, DependencyKind, Package, Workspace};

pub(crate) const COMMAND: Command = Command {
    name: "layers",
    arguments: "",
    help: "check which crate uses which, and which third-party crates",
    run: |workspace, arguments| {
        COMMAND.expect_no_arguments(arguments)?;
        run(workspace)
    },
};

const TESTKIT: &str = "eidetica-testkit";

/// What one crate may use.
struct Layer {
    name: &'static str,
    ours: &'static [&'static str],
    third_party: &'static [&'static str],
    /// The feature of testkit that the crate's tests may turn on.
    testkit: Option<&'static str>,
}

const LAYERS: &[Layer] = &[
    Layer {
        name: "eidetica-core",
        ours: &[],
        third_party: &[
            "data-encoding",
            "ed25519-dalek",
            "ed25519-zebra",
            "postcard",
            "rand_core",
            "serde",
            "sha2",
        ],
        testkit: Some("core"),
    },
    Layer {
        name: "eidetica-crdt",
        ours: &["eidetica-core"],
        third_party: &["data-encoding", "postcard", "serde"],
        testkit: Some("crdt"),
    },
    Layer {
        name: "eidetica-store",
        ours: &["eidetica-core", "eidetica-crdt"],
        third_party: &["async-trait", "postcard", "redb", "serde", "tokio"],
        testkit: Some("store"),
    },
    Layer {
        name: "eidetica-transport",
        ours: &["eidetica-core"],
        third_party: &["async-trait", "bytes", "futures-core"],
        testkit: Some("transport"),
    },
    Layer {
        name: "eidetica-sync",
        ours: &["eidetica-core", "eidetica-store", "eidetica-transport"],
        third_party: &[
            "async-trait",
            "bytes",
            "data-encoding",
            "futures-core",
            "getrandom",
            "governor",
            "hmac",
            "metrics",
            "postcard",
            "serde",
            "sha2",
            "snow",
            "tokio",
            "tracing",
            "zstd",
        ],
        testkit: Some("sync"),
    },
    Layer {
        name: "eidetica-transport-http",
        ours: &["eidetica-core", "eidetica-transport"],
        third_party: &[
            "async-trait",
            "bytes",
            "futures-core",
            "http-body-util",
            "hyper",
            "hyper-rustls",
            "hyper-util",
            "rustls",
            "rustls-native-certs",
            "tokio",
            "tokio-rustls",
        ],
        testkit: Some("transport"),
    },
    Layer {
        name: "eidetica-transport-quic",
        ours: &["eidetica-core", "eidetica-transport"],
        third_party: &[
            "async-trait",
            "bytes",
            "futures-core",
            "quinn",
            "rustls",
            "tokio",
        ],
        testkit: Some("transport"),
    },
    Layer {
        name: TESTKIT,
        ours: &[
            "eidetica-core",
            "eidetica-crdt",
            "eidetica-store",
            "eidetica-sync",
            "eidetica-transport",
        ],
        third_party: &["async-trait", "bytes", "futures-core", "proptest", "tokio"],
        testkit: None,
    },
    Layer {
        name: "eidetica",
        ours: &[
            "eidetica-core",
            "eidetica-crdt",
            "eidetica-store",
            "eidetica-sync",
            "eidetica-transport",
            "eidetica-transport-http",
            "eidetica-transport-quic",
        ],
        third_party: &[
            "argon2",
            "async-trait",
            "chacha20poly1305",
            "data-encoding",
            "getrandom",
            "ryu-js",
            "serde",
            "sha2",
            "tokio",
            "tracing",
            "zeroize",
        ],
        testkit: Some("sync"),
    },
    Layer {
        name: "eidetica-cli",
        ours: &["eidetica"],
        third_party: &[
            "clap",
            "hyper",
            "indicatif",
            "serde_json",
            "sha2",
            "tempfile",
            "tokio",
            "uuid",
        ],
        testkit: Some("sync"),
    },
    Layer {
        name: "xtask",
        ours: &[],
        third_party: &["serde_json"],
        testkit: None,
    },
];

/// Third-party crates of which a crate may use these features only: (crate, dependency, features).
const FEATURES: &[(&str, &str, &[&str])] = &[("eidetica-store", "tokio", &["sync"])];

fn run(workspace: &Workspace) -> Result<(), Failure> {
    let packages = workspace.packages()?;
    let mut problems = check_packages(&packages, LAYERS);
    match workspace.read("ARCHITECTURE.md") {
        Ok(architecture) => problems.extend(check_documented(&packages, &architecture)),
        Err(failure) => problems.push(Problem::new("ARCHITECTURE.md", failure.to_string())),
    }
    conclude("layers", &problems)?;
    println!("layers: {} crates keep to the table", packages.len());
    Ok(())
}

fn check_packages(packages: &[Package], layers: &[Layer]) -> Vec<Problem> {
    let mut problems = Vec::new();
    for package in packages {
        let Some(layer) = layers.iter().find(|layer| layer.name == package.name) else {
            let message =
                "has no row in xtask/src/layers.rs; add one, and the crate to ARCHITECTURE.md";
            problems.push(Problem::new(&package.name, message));
            continue;
        };
        let found = package.dependencies.iter().filter_map(|dependency| {
            let message = judge(layer, dependency)?;
            Some(Problem::new(&package.name, message))
        });
        problems.extend(found);
        problems.extend(check_engine(package));
    }
    let stale = layers
        .iter()
        .filter(|layer| !packages.iter().any(|package| package.name == layer.name));
    problems.extend(stale.map(|layer| {
        Problem::new(
            layer.name,
            "is in xtask/src/layers.rs but not in the workspace",
        )
    }));
    problems
}

/// Says what is wrong with one dependency of a crate, if anything is.
fn judge(layer: &Layer, dependency: &Dependency) -> Option<String> {
    let name = dependency.name.as_str();
    if name == TESTKIT {
        return judge_testkit(layer, dependency);
    }
    if dependency.by_path {
        return (!layer.ours.contains(&name)).then(|| {
            format!(
                "uses `{name}`, which its layer may not; move the code to a crate that may, or, if \
                 the edge is right, add a line of reason to ARCHITECTURE.md and the crate to \
                 xtask/src/layers.rs"
            )
        });
    }
    if dependency.kind == DependencyKind::Dev {
        return None;
    }
    if !layer.third_party.contains(&name) {
        return Some(format!(
            "uses third-party `{name}`, which is not in its row; do without, or add a line of \
             reason to ARCHITECTURE.md and the crate to xtask/src/layers.rs"
        ));
    }
    let (_, _, allowed) = FEATURES
        .iter()
        .find(|(owner, used, _)| *owner == layer.name && *used == name)?;
    let extra = dependency
        .features
        .iter()
        .find(|feature| !allowed.contains(&feature.as_str()))?;
    Some(format!(
        "turns on feature `{extra}` of `{name}`; its row allows {allowed:?} only: do without, or \
         add a line of reason to ARCHITECTURE.md and the feature to xtask/src/layers.rs"
    ))
}

fn judge_testkit(layer: &Layer, dependency: &Dependency) -> Option<String> {
    if dependency.kind != DependencyKind::Dev {
        return Some(format!(
            "uses `{TESTKIT}` outside its tests; move it to [dev-dependencies]"
        ));
    }
    let Some(feature) = layer.testkit else {
        return Some(format!("may not use `{TESTKIT}` in its tests"));
    };
    if !dependency.by_path || dependency.requirement != "*" {
        return Some(format!(
            "names a version of `{TESTKIT}`; use a path alone, or the crates could not be published"
        ));
    }
    let only_own = dependency
        .features
        .iter()
        .all(|turned_on| turned_on == feature);
    (dependency.default_features || !only_own).then(|| {
        format!(
            "dev-depends on `{TESTKIT}` with more than its own layer; write \
             `default-features = false, features = [\"{feature}\"]`"
        )
    })
}

/// testkit gets its engines from its callers' constructors and so turns none on.
fn check_engine(package: &Package) -> Option<Problem> {
    if package.name != TESTKIT {
        return None;
    }
    let by_feature = package.features.values().flatten();
    let by_dependency = package.dependencies.iter().flat_map(|used| &used.features);
    let engine = by_feature
        .chain(by_dependency)
        .find(|name| name.rsplit('/').next() == Some("redb"))?;
    let message = format!("turns on the engine `{engine}`; take a constructor instead");
    Some(Problem::new(TESTKIT, message))
}

/// Every third-party crate in use has its reason in a list or table of ARCHITECTURE.md.
fn check_documented(packages: &[Package], architecture: &str) -> Vec<Problem> {
    let mut names: Vec<&str> = packages
        .iter()
        .flat_map(|package| &package.dependencies)
        .filter(|dependency| !dependency.by_path)
        .map(|dependency| dependency.name.as_str())
        .collect();
    names.sort_unstable();
    names.dedup();
    names.retain(|name| !is_listed(architecture, name));
    names
        .into_iter()
        .map(|name| {
            let message = format!("no table row or list item gives a reason for `{name}`; add one");
            Problem::new("ARCHITECTURE.md", message)
        })
        .collect()
}

fn is_listed(architecture: &str, name: &str) -> bool {
    let quoted = format!("`{name}`");
    architecture
        .lines()
        .map(str::trim_start)
        .any(|line| line.starts_with(['|', '-', '*']) && line.contains(&quoted))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(name: &str, dependencies: Vec<Dependency>) -> Package {
        Package {
            name: name.to_owned(),
            dependencies,
            ..Package::default()
        }
    }

    fn ours(name: &str) -> Dependency {
        Dependency {
            name: name.to_owned(),
            by_path: true,
            ..Dependency::default()
        }
    }

    fn third_party(name: &str) -> Dependency {
        Dependency {
            name: name.to_owned(),
            ..Dependency::default()
        }
    }

    fn testkit(feature: &str) -> Dependency {
        Dependency {
            kind: DependencyKind::Dev,
            requirement: "*".to_owned(),
            features: vec![feature.to_owned()],
            ..ours(TESTKIT)
        }
    }

    /// What is said about one crate with one dependency.
    fn verdict(name: &str, dependency: Dependency) -> String {
        let packages = [package(name, vec![dependency])];
        let layer: Vec<Layer> = LAYERS
            .iter()
            .filter(|layer| layer.name == name)
            .map(|layer| Layer { ..*layer })
            .collect();
        let problems = check_packages(&packages, &layer);
        problems.iter().map(Problem::to_string).collect()
    }

    #[test]
    fn an_edge_of_the_table_is_allowed() {
        assert_eq!(verdict("eidetica-store", ours("eidetica-crdt")), "");
        assert_eq!(verdict("eidetica-core", third_party("sha2")), "");
    }

    #[test]
    fn an_edge_upwards_is_found() {
        let text = verdict("eidetica-core", ours("eidetica-store"));
        assert!(text.starts_with("eidetica-core: uses `eidetica-store`"));
        assert!(text.contains("ARCHITECTURE.md"));
    }

    #[test]
    fn an_edge_upwards_in_tests_is_found() {
        let dependency = Dependency {
            kind: DependencyKind::Dev,
            ..ours("eidetica-sync")
        };
        assert_ne!(verdict("eidetica-store", dependency), "");
    }

    #[test]
    fn a_third_party_crate_outside_the_row_is_found() {
        let text = verdict("eidetica-core", third_party("tokio"));
        assert!(text.starts_with("eidetica-core: uses third-party `tokio`"));
        assert!(text.contains("line of reason to ARCHITECTURE.md"));
    }

    #[test]
    fn a_build_dependency_outside_the_row_is_found() {
        let dependency = Dependency {
            kind: DependencyKind::Build,
            ..third_party("cc")
        };
        assert_ne!(verdict("eidetica-core", dependency), "");
    }

    #[test]
    fn tests_may_use_any_third_party_crate() {
        let dependency = Dependency {
            kind: DependencyKind::Dev,
            ..third_party("proptest")
        };
        assert_eq!(verdict("eidetica-core", dependency), "");
    }

    #[test]
    fn a_feature_outside_the_row_is_found() {
        let tokio = |feature: &str| Dependency {
            features: vec![feature.to_owned()],
            ..third_party("tokio")
        };
        assert_eq!(verdict("eidetica-store", tokio("sync")), "");
        assert!(verdict("eidetica-store", tokio("net")).contains("feature `net` of `tokio`"));
    }

    #[test]
    fn testkit_with_the_own_layer_is_allowed() {
        assert_eq!(verdict("eidetica-core", testkit("core")), "");
    }

    #[test]
    fn testkit_outside_tests_is_found() {
        let text = verdict("eidetica", ours(TESTKIT));
        assert!(text.contains("[dev-dependencies]"));
    }

    #[test]
    fn testkit_with_a_version_is_found() {
        let dependency = Dependency {
            requirement: "^0.1.0".to_owned(),
            ..testkit("core")
        };
        assert!(verdict("eidetica-core", dependency).contains("names a version"));
    }

    #[test]
    fn testkit_with_a_higher_layer_or_its_default_is_found() {
        assert_ne!(verdict("eidetica-core", testkit("sync")), "");
        let dependency = Dependency {
            default_features: true,
            ..testkit("core")
        };
        assert_ne!(verdict("eidetica-core", dependency), "");
    }

    #[test]
    fn an_engine_turned_on_by_testkit_is_found() {
        let mut testkit = package(TESTKIT, Vec::new());
        assert_eq!(check_engine(&testkit), None);
        let turned_on = vec!["eidetica-store/redb".to_owned()];
        testkit.features.insert("store".to_owned(), turned_on);
        assert!(check_engine(&testkit).is_some());
    }

    #[test]
    fn a_crate_without_a_row_and_a_row_without_a_crate_are_found() {
        let problems = check_packages(&[package("eidetica-new", Vec::new())], &LAYERS[..1]);
        let text: Vec<String> = problems.iter().map(Problem::to_string).collect();
        assert!(text[0].starts_with("eidetica-new: has no row"));
        assert!(text[1].starts_with("eidetica-core: is in"));
    }

    #[test]
    fn a_third_party_crate_without_a_reason_is_found() {
        let packages = [package(
            "eidetica-core",
            vec![third_party("sha2"), third_party("serde")],
        )];
        let architecture = "We like `serde`.\n\n| `sha2` | names entries |\n";
        let problems = check_documented(&packages, architecture);
        assert_eq!(problems.len(), 1);
        assert!(problems[0].to_string().contains("reason for `serde`"));
    }
}
