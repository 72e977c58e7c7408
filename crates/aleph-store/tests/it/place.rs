//! A database of each engine for a test: a file, or a database of a server that this process started.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use aleph_store::Location;
use aleph_test_postgres::{Options, Server};

/// Every test takes one, and runs once with each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Engine {
    Sqlite,
    Postgres,
}

/// Makes two tests of each function: `sqlite::name` and `postgres::name`.
macro_rules! on_both_engines {
    ($($name:ident),* $(,)?) => {
        mod sqlite {
            $(#[test]
            fn $name() {
                super::$name($crate::place::Engine::Sqlite);
            })*
        }
        mod postgres {
            $(#[test]
            fn $name() {
                super::$name($crate::place::Engine::Postgres);
            })*
        }
    };
}
pub(crate) use on_both_engines;

/// One server for all tests of this process.
static SERVER: LazyLock<Server> = LazyLock::new(|| {
    Server::start(Options::fast()).expect("PostgreSQL starts (`cargo xtask setup` installs it)")
});

/// An empty database.
#[derive(Debug)]
pub(crate) struct Place {
    location: Location,
    name: String,
    _folder: tempfile::TempDir,
}

impl Engine {
    pub(crate) fn place(self) -> Place {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let name = format!("test{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        // In memory where that is possible: durability is tested elsewhere.
        let shared_memory = std::path::Path::new("/dev/shm");
        let folder = tempfile::tempdir_in(shared_memory).or_else(|_| tempfile::tempdir()).unwrap();
        let location = match self {
            Engine::Sqlite => Location::from(folder.path().join("made/on/demand/node.sqlite3")),
            Engine::Postgres => SERVER.database(&name).unwrap().parse().unwrap(),
        };
        Place { location, name, _folder: folder }
    }
}

impl Place {
    pub(crate) fn location(&self) -> &Location {
        &self.location
    }

    /// Runs a statement as nobody but a test does; the answer is the first column of the first row.
    pub(crate) fn by_hand(&self, sql: &str) -> String {
        match &self.location {
            Location::Sqlite(path) => {
                let connection = rusqlite::Connection::open(path).unwrap();
                let mut statement = connection.prepare(sql).unwrap();
                let mut rows = statement.query([]).unwrap();
                rows.next().unwrap().map(|row| row.get(0).unwrap()).unwrap_or_default()
            }
            Location::Postgres(_) => SERVER.query(&self.name, sql).unwrap(),
        }
    }

    /// The same with every row.
    pub(crate) fn lines_by_hand(&self, sql: &str) -> Vec<String> {
        match &self.location {
            Location::Sqlite(path) => {
                let connection = rusqlite::Connection::open(path).unwrap();
                let mut statement = connection.prepare(sql).unwrap();
                let rows = statement.query_map([], |row| row.get(0)).unwrap();
                rows.map(Result::unwrap).collect()
            }
            Location::Postgres(_) => {
                SERVER.query(&self.name, sql).unwrap().lines().map(str::to_owned).collect()
            }
        }
    }
}
