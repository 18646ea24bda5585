//! Owns the folder of a device's data: where it is, and that only its owner can read it.

use std::{
    env,
    ffi::OsString,
    fs, io,
    path::{Path, PathBuf},
};

use eidetica::{Instance, InstanceBuilder};

use crate::failure::{Code, Failure};

const FILE: &str = "data.redb";

/// The folder of a device's data.
#[derive(Debug)]
pub(crate) struct Home {
    folder: PathBuf,
}

impl Home {
    /// Finds the folder: the one that was named, else that of the environment.
    pub(crate) fn find(named: Option<PathBuf>) -> Result<Self, Failure> {
        let folder = named.or_else(|| variable("EIDETICA_DATA").map(PathBuf::from));
        let folder = folder.or_else(|| {
            let data = variable("XDG_DATA_HOME").map(PathBuf::from);
            data.or_else(|| Some(env::home_dir()?.join(".local").join("share")))
                .map(|data| data.join("eidetica"))
        });
        match folder {
            Some(folder) if !folder.as_os_str().is_empty() => Ok(Self { folder }),
            _ => Err(Failure::new(
                Code::Usage,
                "there is no home directory; name a folder with --data",
            )),
        }
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Opens the data with what a builder adds; makes it first if it is not there.
    pub(crate) async fn make(&self, builder: InstanceBuilder) -> Result<Instance, Failure> {
        if !self.folder.join(FILE).exists() {
            let created = create_private(&self.folder).map_err(Failure::from);
            created.map_err(|e| e.at(&self.folder.display().to_string()))?;
        }
        self.open_file(builder).await
    }

    /// Opens the data, which must be there.
    pub(crate) async fn open(&self) -> Result<Instance, Failure> {
        self.require_data()?;
        self.open_file(Instance::builder()).await
    }

    pub(crate) fn require_data(&self) -> Result<(), Failure> {
        if !self.folder.join(FILE).exists() {
            let message = format!(
                "there is no data here; make it with `eidetica init`. folder=`{}`",
                self.folder.display()
            );
            return Err(Failure::new(Code::NotFound, message));
        }
        Ok(())
    }

    async fn open_file(&self, builder: InstanceBuilder) -> Result<Instance, Failure> {
        let open = Box::pin(builder.redb(self.folder.join(FILE)).open());
        Ok(open.await?)
    }
}

fn variable(name: &str) -> Option<OsString> {
    env::var_os(name).filter(|value| !value.is_empty())
}

/// Makes a folder, with those above it, that only its owner can read.
fn create_private(folder: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)
}
