//! Servers are started, asked, killed, and gone afterwards.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use aleph_test_postgres::{Options, Server, ServerError};

fn is_alive(pid: u32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| stat.rsplit(") ").next().is_some_and(|rest| !rest.starts_with('Z')))
}

fn eventually(what: &str, holds: impl Fn() -> bool) {
    let started = Instant::now();
    while !holds() {
        assert!(started.elapsed() < Duration::from_secs(30), "{what}: not within 30 s");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_server_answers_and_leaves_nothing() {
    let server = Server::start(Options::fast()).unwrap();
    let (pid, folder) = (server.pid().unwrap(), server.folder().to_path_buf());
    let url = server.database("node").unwrap();
    assert_eq!(url, server.url("node"));
    assert!(url.contains(&server.port().to_string()) && url.contains(server.password()), "{url}");
    assert_eq!(server.query("node", "SELECT 1, 'ä'").unwrap(), "1|ä");
    assert_eq!(server.query("node", "SHOW server_encoding").unwrap(), "UTF8");
    assert_eq!(server.query("node", "SHOW fsync").unwrap(), "off");
    drop(server);
    assert!(!is_alive(pid));
    assert!(!folder.is_dir());
}

#[test]
fn what_was_committed_survives_a_kill() {
    let mut server = Server::start(Options::durable()).unwrap();
    server.database("node").unwrap();
    assert_eq!(server.query("node", "SHOW fsync").unwrap(), "on");
    server.query("node", "CREATE TABLE t (n int)").unwrap();
    let port = server.port();
    for n in 0..3 {
        server.query("node", &format!("INSERT INTO t VALUES ({n})")).unwrap();
        let pid = server.pid().unwrap();
        server.kill9().unwrap();
        assert!(!is_alive(pid));
        assert!(matches!(server.query("node", "SELECT 1"), Err(ServerError::Stopped)));
        server.start_again().unwrap();
    }
    assert_eq!(server.query("node", "SELECT count(*), sum(n) FROM t").unwrap(), "3|3");
    server.stop().unwrap();
    server.start_again().unwrap();
    assert_eq!(server.query("node", "SELECT count(*) FROM t").unwrap(), "3");
    assert_eq!(server.port(), port, "nodes find it where it was");
}

#[test]
fn names_that_need_quoting_and_names_twice_are_refused() {
    let server = Server::start(Options::fast()).unwrap();
    assert!(matches!(server.database("a; DROP"), Err(ServerError::Name { .. })));
    server.database("twice").unwrap();
    let error = server.database("twice").unwrap_err().to_string();
    assert!(error.contains("already exists"), "{error}");
}

#[test]
fn many_start_at_once() {
    std::thread::scope(|scope| {
        let started: Vec<_> =
            (0..4).map(|_| scope.spawn(|| Server::start(Options::fast()).unwrap())).collect();
        let servers: Vec<Server> = started.into_iter().map(|server| server.join().unwrap()).collect();
        for server in &servers {
            assert_eq!(server.query("postgres", "SELECT 1").unwrap(), "1");
        }
    });
}

const TELL: &str = "ALEPH_TEST_POSTGRES_TELL";

/// A test that is killed can clean nothing up itself.
#[test]
fn a_killed_test_leaves_no_server() {
    let folder = tempfile::tempdir().unwrap();
    let told = folder.path().join("told");
    let mut inner = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "inside_a_test_that_is_killed", "--ignored", "--nocapture"])
        .env(TELL, &told)
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let read = |path: &Path| -> Option<(u32, PathBuf)> {
        let text = std::fs::read_to_string(path).ok()?;
        let (pid, folder) = text.strip_suffix('\n')?.split_once(' ')?;
        Some((pid.parse().ok()?, PathBuf::from(folder)))
    };
    eventually("the inner test has a server", || read(&told).is_some());
    let (pid, server) = read(&told).unwrap();
    assert!(is_alive(pid) && server.is_dir());
    inner.kill().unwrap();
    inner.wait().unwrap();
    eventually("the server ends", || !is_alive(pid));
    eventually("its folder goes", || !server.is_dir());
}

#[test]
#[ignore = "run by a_killed_test_leaves_no_server"]
fn inside_a_test_that_is_killed() {
    let Some(path) = std::env::var_os(TELL) else {
        eprintln!("skipped: run by another test");
        return;
    };
    let server = Server::start(Options::fast()).unwrap();
    std::fs::write(path, format!("{} {}\n", server.pid().unwrap(), server.folder().display())).unwrap();
    std::thread::sleep(Duration::from_secs(60));
}
