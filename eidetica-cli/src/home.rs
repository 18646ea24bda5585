//! Owns the folder of a device's data: where it is, and that only its owner can read it.

use std::{
    env,
    ffi::OsString,
    fs,
    io::{self, Read},
    path::{Path, PathBuf},
};

use eidetica::{Instance, InstanceBuilder, Passphrase, TlsRoots};

use crate::failure::{Code, Failure};

const FILE: &str = "data.redb";
/// Bytes of a passphrase file that are read.
const MAX_PASSPHRASE_BYTES: u64 = 64 * 1024;

/// The folder of a device's data.
#[derive(Debug)]
pub(crate) struct Home {
    folder: PathBuf,
    passphrase: Option<Passphrase>,
    tls_roots: Option<TlsRoots>,
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
            Some(folder) if !folder.as_os_str().is_empty() => Ok(Self {
                folder,
                passphrase: None,
                tls_roots: None,
            }),
            _ => Err(Failure::new(
                Code::Usage,
                "there is no home directory; name a folder with --data",
            )),
        }
    }

    /// Takes the passphrase of the device key from a file, else from the environment.
    pub(crate) fn with_passphrase(mut self, file: Option<&Path>) -> Result<Self, Failure> {
        self.passphrase = match (file, variable("EIDETICA_PASSPHRASE")) {
            (Some(file), _) => Some(read_passphrase(file)?),
            (None, Some(text)) => {
                let text = text.into_string();
                let message = "the passphrase in EIDETICA_PASSPHRASE is not UTF-8";
                let text = text.map_err(|_| Failure::new(Code::Usage, message))?;
                Some(Passphrase::new(text))
            }
            (None, None) => None,
        };
        Ok(self)
    }

    /// Believes the root certificates in a file, if one is named.
    pub(crate) fn with_tls_roots(mut self, file: Option<&Path>) -> Result<Self, Failure> {
        self.tls_roots = file.map(TlsRoots::from_file).transpose()?;
        Ok(self)
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
        let mut builder = builder.redb(self.folder.join(FILE));
        if let Some(passphrase) = &self.passphrase {
            builder = builder.passphrase(passphrase.clone());
        }
        if let Some(roots) = &self.tls_roots {
            builder = builder.tls_roots(roots.clone());
        }
        Ok(Box::pin(builder.open()).await?)
    }
}

/// A passphrase in a file or on standard input, without the end of its line.
pub(crate) fn read_passphrase(file: &Path) -> Result<Passphrase, Failure> {
    let mut text = String::new();
    let read = match file == Path::new("-") {
        true => io::stdin().read_to_string(&mut text),
        false => fs::File::open(file)
            .and_then(|file| file.take(MAX_PASSPHRASE_BYTES).read_to_string(&mut text)),
    };
    let at = |e: Failure| e.at(&file.display().to_string());
    read.map_err(|e| at(e.into()))?;
    let line = text.strip_suffix('\n').unwrap_or(&text);
    let line = line.strip_suffix('\r').unwrap_or(line);
    if line.is_empty() {
        return Err(at(Failure::new(Code::Usage, "the passphrase is empty")));
    }
    Ok(Passphrase::new(line))
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
