//! What the collector of files asks and changes (`spec: messages.md §16`).

use aleph_types::{ItemHash, Timestamp};

use crate::engine::{Session, values};
use crate::{Store, StoreError, Transaction, effects};

impl Transaction<'_> {
    /// Deletes at most `most` grace pins that ended before `now`; returns how many.
    pub fn drop_expired_grace(&mut self, now: Timestamp, most: usize) -> Result<u64, StoreError> {
        let expired = self.session().rows(
            &format!(
                "SELECT file, pinned_by FROM file_pins \
                 WHERE delete_by IS NOT NULL AND delete_by < ?1 AND kind = 'grace_period' \
                 AND NOT EXISTS (SELECT 1 FROM removals r WHERE r.item_hash = pinned_by \
                 AND r.removed_at IS NULL) ORDER BY delete_by LIMIT {most}"
            ),
            values![now.as_micros()],
            |row| Ok((row.string(0)?, row.string(1)?)),
        )?;
        for (file, reason) in &expired {
            self.session().execute(
                "DELETE FROM file_pins WHERE file = ?1 AND kind = 'grace_period' AND pinned_by = ?2",
                values![file, reason],
            )?;
        }
        Ok(expired.len() as u64)
    }

    /// Whether anything holds a file.
    pub fn is_pinned(&self, file: &ItemHash) -> Result<bool, StoreError> {
        is_pinned(self.session(), file)
    }

    /// Deletes the record of a file that nothing holds.
    pub fn remove_file(&mut self, file: &ItemHash) -> Result<(), StoreError> {
        self.session().execute("DELETE FROM files WHERE hash = ?1", values![file.as_str()])
    }
}

pub(crate) fn is_pinned(session: &Session, file: &ItemHash) -> Result<bool, StoreError> {
    let pin = "SELECT kind FROM file_pins WHERE file = ?1 LIMIT 1";
    Ok(session.first(pin, values![file.as_str()], |row| row.string(0))?.is_some())
}

/// Releases the content of a message that goes, and lets its grace time begin if nothing else holds it.
pub(crate) fn release_content(
    session: &Session,
    content: &ItemHash,
    now: Timestamp,
) -> Result<(), StoreError> {
    let released = session.execute_counted(
        "DELETE FROM file_pins WHERE file = ?1 AND kind = 'content' AND pinned_by = ?1",
        values![content.as_str()],
    )?;
    if released > 0 && !is_pinned(session, content)? {
        effects::put_grace_pin(
            session,
            content,
            content.as_str(),
            now,
            now.plus_micros(effects::GRACE_MICROS),
        )?;
    }
    Ok(())
}

impl Store {
    /// Files on record that nothing holds, by hash, after `after`: at most `most`.
    pub async fn unpinned_files(
        &self,
        after: Option<ItemHash>,
        most: usize,
    ) -> Result<Vec<ItemHash>, StoreError> {
        self.read(move |session| {
            session.rows(
                &format!(
                    "SELECT f.hash FROM files f WHERE f.hash > ?1 \
                     AND NOT EXISTS (SELECT 1 FROM file_pins p WHERE p.file = f.hash) \
                     ORDER BY f.hash LIMIT {most}"
                ),
                values![after.as_ref().map_or("", ItemHash::as_str)],
                |row| row.hash(0),
            )
        })
        .await
    }
}
