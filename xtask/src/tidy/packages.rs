//! What every crate of the workspace brings along, and what the changelog must hold.

use crate::problem::Problem;
use crate::workspace::Package;

pub(super) fn check(package: &Package, files: &[String]) -> Vec<Problem> {
    let mut missing = Vec::new();
    if !files.contains(&format!("{}/README.md", package.folder)) {
        missing.push("README.md");
    }
    let fields = [
        (package.readme.is_some(), "readme"),
        (package.description.is_some(), "description"),
        (package.license.is_some(), "license"),
        (package.repository.is_some(), "repository"),
        (package.has_keywords, "keywords"),
    ];
    missing.extend(
        fields
            .iter()
            .filter(|(is_set, _)| !is_set)
            .map(|(_, name)| *name),
    );
    missing
        .into_iter()
        .map(|name| {
            Problem::new(
                format!("{}/Cargo.toml", package.folder),
                format!("lacks {name}"),
            )
        })
        .collect()
}

pub(super) fn check_changelog(changelog: &str) -> Option<Problem> {
    let has_section = changelog
        .lines()
        .any(|line| line.starts_with("## ") && line.to_lowercase().contains("unreleased"));
    (!has_section).then(|| Problem::new("CHANGELOG.md", "lacks a section `## Unreleased`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complete() -> Package {
        let set = || Some("set".to_owned());
        Package {
            folder: "here".to_owned(),
            description: set(),
            license: set(),
            readme: set(),
            repository: set(),
            has_keywords: true,
            ..Package::default()
        }
    }

    #[test]
    fn a_complete_package_passes() {
        assert_eq!(check(&complete(), &["here/README.md".to_owned()]), []);
    }

    #[test]
    fn a_missing_readme_and_field_are_found() {
        let package = Package {
            description: None,
            ..complete()
        };
        let problems = check(&package, &[]);
        let text: Vec<String> = problems.iter().map(Problem::to_string).collect();
        let expected = [
            "here/Cargo.toml: lacks README.md",
            "here/Cargo.toml: lacks description",
        ];
        assert_eq!(text, expected);
    }

    #[test]
    fn a_changelog_needs_a_section_for_what_comes() {
        assert_eq!(check_changelog("# Changelog\n\n## [Unreleased]\n"), None);
        assert!(check_changelog("# Changelog\n\n## 0.1.0\n\nunreleased\n").is_some());
    }
}
