use crate::ItemHash;

use super::super::reader::Object;

/// Largest disk, MiB: 2048 × 10⁹ bytes, rounded up.
pub(in crate::content) const DISK_MIB: i128 = 1_953_125;
/// Largest ephemeral disk, MiB.
const EPHEMERAL_MIB: i128 = 1000;
const MOUNT_CHARS: usize = 256;
const COMMENT_CHARS: usize = 256;
const NAME_CHARS: usize = 256;

words! {
    /// Where a disk survives.
    Persistence {
        /// On the compute node that runs the machine.
        Host = "host",
        /// Saved on the network.
        Store = "store",
    }
}

/// The file that a disk starts from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParentVolume {
    /// STORE message, or tag of a file with versions.
    pub reference: ItemHash,
    /// Whether the newest version of the file is meant.
    pub use_latest: bool,
}

impl ParentVolume {
    pub(in crate::content) fn read(object: &mut Object) -> Option<Self> {
        let reference = object.required_hash("ref");
        let use_latest = object.defaulted_flag("use_latest", true);
        Some(Self { reference: reference?, use_latest: use_latest? })
    }
}

/// A disk of a machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Volume {
    /// Where it is mounted; old volumes have no mount.
    pub mount: Option<String>,
    /// Free text.
    pub comment: Option<String>,
    /// What kind of disk it is.
    pub kind: VolumeKind,
}

/// The three kinds of disk; the wire has no tag, the fields tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum VolumeKind {
    /// A file of the network, read only.
    Immutable {
        /// STORE message, or tag of a file with versions.
        reference: ItemHash,
        /// Whether the newest version of the file is meant.
        use_latest: bool,
    },
    /// Empty at each start, gone at the stop.
    Ephemeral {
        /// Size, MiB, 1 to 1000.
        size_mib: u32,
    },
    /// Kept between starts.
    Persistent {
        /// Size, MiB, 1 to 1,953,125.
        size_mib: u32,
        /// Where it is kept; `None` leaves it to the compute node.
        persistence: Option<Persistence>,
        /// Name of the owner's choice.
        name: Option<String>,
        /// Initial contents; empty without one.
        parent: Option<ParentVolume>,
    },
}

impl Volume {
    /// The file that must be on the network before the disk can be made: (hash, use latest version).
    pub fn reference(&self) -> Option<(&ItemHash, bool)> {
        match &self.kind {
            VolumeKind::Immutable { reference, use_latest } => Some((reference, *use_latest)),
            VolumeKind::Persistent { parent: Some(parent), .. } => {
                Some((&parent.reference, parent.use_latest))
            }
            VolumeKind::Ephemeral { .. } | VolumeKind::Persistent { parent: None, .. } => None,
        }
    }

    /// Size in MiB where the owner chose one.
    pub fn size_mib(&self) -> Option<u32> {
        match &self.kind {
            VolumeKind::Immutable { .. } => None,
            VolumeKind::Ephemeral { size_mib } | VolumeKind::Persistent { size_mib, .. } => Some(*size_mib),
        }
    }

    /// The reference tries all three shapes, none of which admits a foreign key; which keys are there
    /// decides the shape, except that a bare size is ephemeral up to that kind's limit.
    pub(super) fn read(object: &mut Object) -> Option<Self> {
        let mount = object.optional_short_string("mount", MOUNT_CHARS);
        let comment = object.optional_short_string("comment", COMMENT_CHARS);
        let kind = if object.has("ref") {
            read_immutable(object)
        } else if object.has("ephemeral") {
            read_ephemeral(object)
        } else {
            let bare = object.len() == 1 && object.has("size_mib");
            match read_persistent(object)? {
                VolumeKind::Persistent { size_mib, .. } if bare && i128::from(size_mib) <= EPHEMERAL_MIB => {
                    Some(VolumeKind::Ephemeral { size_mib })
                }
                persistent => Some(persistent),
            }
        };
        object.refuse_extra();
        Some(Self { mount, comment, kind: kind? })
    }
}

fn read_immutable(object: &mut Object) -> Option<VolumeKind> {
    let reference = object.required_hash("ref");
    let use_latest = object.defaulted_flag("use_latest", true);
    Some(VolumeKind::Immutable { reference: reference?, use_latest: use_latest? })
}

fn read_ephemeral(object: &mut Object) -> Option<VolumeKind> {
    if object.take("ephemeral").and_then(|value| value.as_bool()) != Some(true) {
        object.issue("literal_error", "ephemeral", "must be true");
    }
    let size_mib = object.required_strict_integer("size_mib", 1, EPHEMERAL_MIB);
    Some(VolumeKind::Ephemeral { size_mib: size_mib? })
}

fn read_persistent(object: &mut Object) -> Option<VolumeKind> {
    let size_mib = object.required_strict_integer("size_mib", 1, DISK_MIB);
    let persistence = object.optional_word("persistence", "persistence");
    let name = object.optional_short_string("name", NAME_CHARS);
    let parent = object.optional_child("parent").and_then(|mut child| {
        let parent = ParentVolume::read(&mut child);
        object.absorb(child, parent)
    });
    Some(VolumeKind::Persistent { size_mib: size_mib?, persistence, name, parent })
}
