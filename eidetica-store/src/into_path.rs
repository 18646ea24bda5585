//! Owns the forms in which a program names a place in a document.

use eidetica_crdt::{Path, PathError, Segment};

/// Something that names a place in a document: a [`Path`]; text, which is a JSON Pointer (`/a/b`)
/// or keys with dots between (`a.b`), the empty text being the whole document; or an array or
/// slice of segments, whose text is taken as it is: `["a.b", "c"]`.
///
/// ```
/// use eidetica_crdt::Path;
/// use eidetica_store::IntoPath;
///
/// let path = Path::of_keys(["app", "theme"])?;
/// assert_eq!("app.theme".into_path(), Ok(path.clone()));
/// assert_eq!("/app/theme".into_path(), Ok(path.clone()));
/// assert_eq!(["app", "theme"].into_path(), Ok(path));
/// # Ok::<(), eidetica_crdt::PathError>(())
/// ```
pub trait IntoPath {
    /// The path.
    ///
    /// # Errors
    /// It is too long or too deep.
    fn into_path(self) -> Result<Path, PathError>;
}

impl IntoPath for &str {
    fn into_path(self) -> Result<Path, PathError> {
        self.parse()
    }
}

impl IntoPath for &String {
    fn into_path(self) -> Result<Path, PathError> {
        self.parse()
    }
}

impl IntoPath for Path {
    fn into_path(self) -> Result<Path, PathError> {
        Ok(self)
    }
}

impl IntoPath for &Path {
    fn into_path(self) -> Result<Path, PathError> {
        Ok(self.clone())
    }
}

impl<S: Into<Segment>, const N: usize> IntoPath for [S; N] {
    fn into_path(self) -> Result<Path, PathError> {
        of_segments(self)
    }
}

impl<S: Into<Segment> + Clone> IntoPath for &[S] {
    fn into_path(self) -> Result<Path, PathError> {
        of_segments(self.iter().cloned())
    }
}

impl<S: Into<Segment>> IntoPath for Vec<S> {
    fn into_path(self) -> Result<Path, PathError> {
        of_segments(self)
    }
}

fn of_segments<S: Into<Segment>>(segments: impl IntoIterator<Item = S>) -> Result<Path, PathError> {
    segments
        .into_iter()
        .try_fold(Path::root(), |path, segment| path.child(&segment.into()))
}
