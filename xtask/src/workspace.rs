//! Where the workspace is, which files belong to it and what cargo knows about its packages.
//! Judging any of that is left to the checks.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::command::Failure;
use crate::process::Program;

/// The repository that a command works on.
#[derive(Debug, Clone)]
pub(crate) struct Workspace {
    root: PathBuf,
}

impl Workspace {
    /// The workspace this tool was built in.
    pub(crate) fn locate() -> Result<Self, Failure> {
        let manifest = std::env::var_os("CARGO_MANIFEST_DIR")
            .map_or_else(|| env!("CARGO_MANIFEST_DIR").into(), PathBuf::from);
        match manifest.parent() {
            Some(root) => Ok(Self { root: root.into() }),
            None => Err(Failure::Failed("no workspace around xtask".to_owned())),
        }
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    pub(crate) fn read(&self, path: &str) -> Result<String, Failure> {
        std::fs::read_to_string(self.root.join(path))
            .map_err(|error| Failure::Failed(format!("cannot read {path}: {error}")))
    }

    /// Every file that git tracks or would add, relative to the root.
    pub(crate) fn files(&self) -> Result<Vec<String>, Failure> {
        let list = Program::new("git", ["ls-files", "-co", "--exclude-standard", "-z"]);
        let mut files: Vec<String> = list
            .read(self)?
            .split_terminator('\0')
            .filter(|path| self.root.join(path).is_file())
            .map(str::to_owned)
            .collect();
        files.sort();
        files.dedup();
        Ok(files)
    }

    pub(crate) fn packages(&self) -> Result<Vec<Package>, Failure> {
        let arguments = ["metadata", "--format-version", "1", "--no-deps"];
        let text = Program::cargo(arguments).read(self)?;
        let metadata: Value = serde_json::from_str(&text)
            .map_err(|error| Failure::Failed(format!("cargo metadata is not JSON: {error}")))?;
        Ok(items(&metadata["packages"]).map(Package::parse).collect())
    }
}

/// A package of the workspace, as `cargo metadata` describes it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Package {
    pub(crate) name: String,
    /// The folder of the package, relative to the root.
    pub(crate) folder: String,
    pub(crate) description: Option<String>,
    pub(crate) license: Option<String>,
    pub(crate) readme: Option<String>,
    pub(crate) repository: Option<String>,
    pub(crate) has_keywords: bool,
    pub(crate) publishable: bool,
    pub(crate) is_library: bool,
    pub(crate) features: BTreeMap<String, Vec<String>>,
    pub(crate) dependencies: Vec<Dependency>,
}

impl Package {
    fn parse(value: &Value) -> Self {
        Self {
            name: text(&value["name"]).unwrap_or_default(),
            folder: text(&value["manifest_path"])
                .and_then(|path| Some(Path::new(&path).parent()?.file_name()?.to_owned()))
                .map_or_else(String::new, |name| name.to_string_lossy().into_owned()),
            description: text(&value["description"]),
            license: text(&value["license"]),
            readme: text(&value["readme"]),
            repository: text(&value["repository"]),
            has_keywords: items(&value["keywords"]).count() > 0,
            publishable: value["publish"].is_null(),
            is_library: items(&value["targets"])
                .flat_map(|target| items(&target["kind"]))
                .any(|kind| kind == "lib"),
            features: features(&value["features"]),
            dependencies: items(&value["dependencies"])
                .map(Dependency::parse)
                .collect(),
        }
    }

    /// What the feature `default` turns on.
    pub(crate) fn default_features(&self) -> &[String] {
        self.features.get("default").map_or(&[], Vec::as_slice)
    }
}

/// When a dependency is built.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum DependencyKind {
    #[default]
    Normal,
    Build,
    Dev,
}

/// One line of a package's dependency tables.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Dependency {
    pub(crate) name: String,
    pub(crate) kind: DependencyKind,
    pub(crate) by_path: bool,
    /// The version asked for; `*` if the manifest names none.
    pub(crate) requirement: String,
    pub(crate) default_features: bool,
    pub(crate) features: Vec<String>,
}

impl Dependency {
    fn parse(value: &Value) -> Self {
        Self {
            name: text(&value["name"]).unwrap_or_default(),
            kind: match value["kind"].as_str() {
                Some("dev") => DependencyKind::Dev,
                Some("build") => DependencyKind::Build,
                _ => DependencyKind::Normal,
            },
            by_path: value["path"].is_string(),
            requirement: text(&value["req"]).unwrap_or_default(),
            default_features: value["uses_default_features"] == true,
            features: items(&value["features"]).filter_map(text).collect(),
        }
    }
}

fn features(value: &Value) -> BTreeMap<String, Vec<String>> {
    let object = value.as_object().into_iter().flatten();
    object
        .map(|(name, turned_on)| (name.clone(), items(turned_on).filter_map(text).collect()))
        .collect()
}

fn items(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn text(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_workspace_holds_this_tool() {
        let workspace = Workspace::locate().unwrap();
        let packages = workspace.packages().unwrap();
        let xtask = packages.iter().find(|package| package.name == "xtask");
        let xtask = xtask.unwrap();
        assert_eq!(xtask.folder, "xtask");
        assert!(!xtask.publishable && !xtask.is_library);
        assert!(
            workspace
                .files()
                .unwrap()
                .contains(&"xtask/src/main.rs".to_owned())
        );
    }

    #[test]
    fn a_dependency_keeps_what_the_layers_check_needs() {
        let value = serde_json::json!({
            "name": "eidetica-testkit", "kind": "dev", "path": "here", "req": "*",
            "uses_default_features": false, "features": ["core"],
        });
        let expected = Dependency {
            name: "eidetica-testkit".to_owned(),
            kind: DependencyKind::Dev,
            by_path: true,
            requirement: "*".to_owned(),
            default_features: false,
            features: vec!["core".to_owned()],
        };
        assert_eq!(Dependency::parse(&value), expected);
    }
}
