//! Owns a project's history as a file: its commits and the tree at each of them. What is made of
//! it is `devices`'s.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, BufRead, BufReader},
    path::Path,
};

use flate2::bufread::GzDecoder;
use serde::Deserialize;

/// Paths and what they hold.
pub(crate) type Tree = BTreeMap<String, String>;

/// One commit.
#[derive(Debug, Deserialize)]
pub(crate) struct Commit {
    /// Numbers of commits before this one.
    pub(crate) parents: Vec<usize>,
    /// The author's number.
    pub(crate) author: usize,
    /// Seconds since 1970.
    pub(crate) time: u64,
    /// Every path at which a parent differs, and what the commit has there, if anything.
    pub(crate) changes: BTreeMap<String, Option<String>>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Line {
    Last {
        #[serde(rename = "final")]
        tree: Tree,
    },
    Commit(Commit),
}

/// A project's history.
#[derive(Debug)]
pub(crate) struct History {
    /// Parents before children; only the last has no child.
    pub(crate) commits: Vec<Commit>,
    /// The tree at the last commit.
    pub(crate) last: Tree,
}

impl History {
    /// Reads a gzipped file: a commit a line, the final tree in the last one.
    pub(crate) fn read(path: &Path) -> io::Result<Self> {
        let lines = BufReader::new(GzDecoder::new(BufReader::new(File::open(path)?))).lines();
        let (mut commits, mut last) = (Vec::new(), None);
        for line in lines {
            match serde_json::from_str(&line?)? {
                Line::Commit(commit) => commits.push(commit),
                Line::Last { tree } => last = Some(tree),
            }
        }
        let last = last.ok_or(io::ErrorKind::UnexpectedEof)?;
        Ok(Self { commits, last })
    }

    /// How many authors there are.
    pub(crate) fn authors(&self) -> usize {
        let numbers = self.commits.iter().map(|commit| commit.author + 1);
        numbers.max().unwrap_or_default()
    }

    /// The tree at a commit: its changes on top of those of its first ancestors.
    pub(crate) fn tree(&self, commit: usize) -> Tree {
        let first_parent = |at: &usize| self.commits[*at].parents.first().copied();
        let mut line: Vec<_> = std::iter::successors(Some(commit), first_parent).collect();
        let mut tree = Tree::new();
        while let Some(at) = line.pop() {
            for (path, content) in &self.commits[at].changes {
                match content {
                    Some(content) => tree.insert(path.clone(), content.clone()),
                    None => tree.remove(path),
                };
            }
        }
        tree
    }
}
