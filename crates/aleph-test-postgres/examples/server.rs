//! A server with one empty database, until standard input ends: prints the address that
//! `bench ingest --database` takes. `-- durable` waits for the disk at each commit, as a server in use does.

use std::io::Read;

use aleph_test_postgres::{Options, Server};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let durable = std::env::args().any(|argument| argument == "durable");
    let server = Server::start(if durable { Options::durable() } else { Options::fast() })?;
    println!("{}", server.database("node")?);
    std::io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}
