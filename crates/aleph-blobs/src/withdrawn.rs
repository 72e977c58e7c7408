use crate::BlobError;
use crate::local::WithdrawnFile;
use crate::s3::WithdrawnObject;

/// What became of a file that was to be taken out of the store.
#[derive(Debug)]
pub enum Withdrawal {
    /// It was not here.
    Absent,
    /// Somebody stored it again a moment ago: it stays.
    InUse,
    /// It can't be read under its hash any more.
    Done(Withdrawn),
}

/// A file that was taken out of the store. Dropped, it comes back; [`Withdrawn::delete`] makes it final.
#[derive(Debug)]
pub struct Withdrawn(Place);

#[derive(Debug)]
enum Place {
    Local(WithdrawnFile),
    S3(WithdrawnObject),
}

impl Withdrawn {
    /// Bytes of the file.
    pub fn size(&self) -> u64 {
        match &self.0 {
            Place::Local(file) => file.size(),
            Place::S3(object) => object.size(),
        }
    }

    /// Frees the space. Blocks for as long as the file system or the object store needs; for threads that
    /// may block.
    ///
    /// # Errors
    /// The disk or the object store failed: the file is out of the store, and its space is not free yet.
    pub fn delete(self) -> Result<(), BlobError> {
        match self.0 {
            Place::Local(file) => file.delete(),
            Place::S3(object) => object.delete(),
        }
    }
}

impl From<WithdrawnFile> for Withdrawn {
    fn from(file: WithdrawnFile) -> Self {
        Self(Place::Local(file))
    }
}

impl From<WithdrawnObject> for Withdrawn {
    fn from(object: WithdrawnObject) -> Self {
        Self(Place::S3(object))
    }
}
