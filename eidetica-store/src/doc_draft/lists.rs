//! Owns writing to lists by index. Where another device writes to the list at the same time, the
//! elements meant are those that the index named in what the transaction reads.

use eidetica_crdt::{DocWriter, Path, RowRange, Value};

use super::DocDraft;
use crate::{
    IntoPath, StoreError,
    doc_store::{list_len, read},
    draft::Draft,
    rows::invalid,
};

impl DocDraft<'_> {
    /// How many elements a list has; 0 where no list is.
    ///
    /// # Errors
    /// The path is none, or the backend failed.
    ///
    /// # Cancel safety
    /// Nothing happens.
    pub async fn list_len(&self, list: impl IntoPath) -> Result<usize, StoreError> {
        let list = list.into_path().map_err(invalid)?;
        let mut draft = self.draft().await?;
        let range = RowRange::positions(&list);
        let snapshot = self.transaction.snapshot();
        draft.read(snapshot, range).await?;
        list_len(&draft.view, &list)
    }

    /// The path of a list's element, by which it is meant wherever others move it.
    ///
    /// # Errors
    /// There is no such element, the path is none, or the backend failed.
    ///
    /// # Cancel safety
    /// Nothing happens.
    pub async fn element(&self, list: impl IntoPath, index: usize) -> Result<Path, StoreError> {
        let list = list.into_path().map_err(invalid)?;
        let draft = self.load_ranges(&[RowRange::positions(&list)]).await?;
        Ok(DocWriter::element(draft.view.view(), &list, index)?)
    }

    /// Inserts a value into a list, so that it has this index. Where no list is, one is made.
    ///
    /// # Errors
    /// The index is behind the end, the path is none, the value has no place there, or the backend
    /// failed.
    ///
    /// # Cancel safety
    /// The transaction has the write or not.
    pub async fn insert(
        &self,
        list: impl IntoPath,
        index: usize,
        value: impl Into<Value>,
    ) -> Result<(), StoreError> {
        self.insert_many(list, index, [value]).await
    }

    /// Inserts values into a list, the first at this index, as one run that no other device's
    /// comes into.
    ///
    /// # Errors
    /// As [`DocDraft::insert`].
    ///
    /// # Cancel safety
    /// The transaction has the writes or not.
    pub async fn insert_many<V: Into<Value>>(
        &self,
        list: impl IntoPath,
        index: usize,
        values: impl IntoIterator<Item = V>,
    ) -> Result<(), StoreError> {
        let list = list.into_path().map_err(invalid)?;
        let values: Vec<_> = values.into_iter().map(Into::into).collect();
        let mut draft = self.load_ranges(&DocWriter::list_ranges(&list)).await?;
        let Draft { view, writer, .. } = &mut *draft;
        Ok(writer.insert(view.view_mut(), &list, index, &values)?)
    }

    /// Appends a value to a list. Where no list is, one is made.
    ///
    /// # Errors
    /// As [`DocDraft::insert`].
    ///
    /// # Cancel safety
    /// The transaction has the write or not.
    pub async fn push(
        &self,
        list: impl IntoPath,
        value: impl Into<Value>,
    ) -> Result<(), StoreError> {
        self.push_many(list, [value]).await
    }

    /// Appends values to a list, as one run that no other device's comes into.
    ///
    /// # Errors
    /// As [`DocDraft::insert`].
    ///
    /// # Cancel safety
    /// The transaction has the writes or not.
    pub async fn push_many<V: Into<Value>>(
        &self,
        list: impl IntoPath,
        values: impl IntoIterator<Item = V>,
    ) -> Result<(), StoreError> {
        let list = list.into_path().map_err(invalid)?;
        let values: Vec<_> = values.into_iter().map(Into::into).collect();
        let mut draft = self.load_ranges(&DocWriter::push_ranges(&list)).await?;
        let Draft { view, writer, .. } = &mut *draft;
        let elements = RowRange::positions(&list);
        view.load_last(self.transaction.snapshot(), &elements)
            .await?;
        Ok(writer.push(view.view_mut(), &list, &values)?)
    }

    /// Removes an element of a list and returns what it held.
    ///
    /// # Errors
    /// There is no such element, the path is none, or the backend failed.
    ///
    /// # Cancel safety
    /// The transaction has the write or not.
    pub async fn remove(&self, list: impl IntoPath, index: usize) -> Result<Value, StoreError> {
        let element = self.element(list, index).await?;
        let mut draft = self.load(&element).await?;
        let Draft { view, writer, .. } = &mut *draft;
        let held = read(view, &element)?.winner.map(|(_, value)| value);
        writer.delete(view.view_mut(), &element)?;
        Ok(held.unwrap_or_default())
    }

    /// Puts a value in the place of a list's element.
    ///
    /// # Errors
    /// As [`DocDraft::set`], or there is no such element.
    ///
    /// # Cancel safety
    /// The transaction has the write or not.
    pub async fn set_at(
        &self,
        list: impl IntoPath,
        index: usize,
        value: impl Into<Value>,
    ) -> Result<(), StoreError> {
        let element = self.element(list, index).await?;
        self.set(element, value).await
    }

    /// Writes a list anew, with positions as short as can be: what to do when it has no room for
    /// more. Conflicts at its path and in its elements are settled in favour of what is shown.
    ///
    /// # Errors
    /// No list is at the path, the path is none, or the backend failed.
    ///
    /// # Cancel safety
    /// The transaction has the writes or not.
    pub async fn rewrite(&self, list: impl IntoPath) -> Result<(), StoreError> {
        let list = list.into_path().map_err(invalid)?;
        let mut draft = self.load(&list).await?;
        draft.read.push(RowRange::subtree(&list));
        let Draft { view, writer, .. } = &mut *draft;
        Ok(writer.rewrite(view.view_mut(), &list)?)
    }
}
