//! Encrypted connections to real servers, with certificates that are good and bad.

use aleph_store::{Location, NewMessage, Store, StoreError, StoreErrorKind};
use aleph_test_postgres::{Options, Server};
use aleph_types::{ItemHash, ParsedMessage, Timestamp};
use rcgen::{BasicConstraints, CertificateParams, CertifiedKey, IsCa, KeyPair};
use serde_json::json;

/// A certificate for these names, and its key. What signs it is another's, or itself.
fn certificate(names: &[&str], is_authority: bool, by: Option<&CertifiedKey>) -> CertifiedKey {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = CertificateParams::new(names).unwrap();
    if is_authority {
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    }
    let key_pair = KeyPair::generate().unwrap();
    let cert = match by {
        Some(by) => params.signed_by(&key_pair, &by.cert, &by.key_pair),
        None => params.self_signed(&key_pair),
    };
    CertifiedKey { cert: cert.unwrap(), key_pair }
}

fn server_with(certificate: &CertifiedKey) -> Server {
    let (pem, key) = (certificate.cert.pem(), certificate.key_pair.serialize_pem());
    let server = Server::start(Options::fast().encrypted(&pem, &key)).unwrap();
    server.database("node").unwrap();
    server
}

fn open(server: &Server, parameters: &str) -> Result<(Store, aleph_store::Writer), StoreError> {
    let url = format!("{}?{parameters}", server.url("node"));
    Store::open(url.parse::<Location>().unwrap())
}

/// Of this program's connections, how many are encrypted and how many are not.
fn connections(server: &Server) -> String {
    let sql = "SELECT count(*) FILTER (WHERE ssl), count(*) FILTER (WHERE NOT ssl) FROM pg_stat_ssl \
               JOIN pg_stat_activity USING (pid) WHERE application_name = 'alephd'";
    server.query("node", sql).unwrap()
}

fn refusal(server: &Server, parameters: &str) -> String {
    let error = open(server, parameters).unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Unusable, "{error}");
    error.to_string()
}

fn message(number: usize) -> ParsedMessage {
    let content = "x".repeat(20_000);
    let text = json!({ "address": "0xA", "time": number, "type": "t", "content": content }).to_string();
    ParsedMessage::from_value(&json!({
        "chain": "ETH", "sender": "0xA", "signature": "0x", "type": "POST", "time": number,
        "item_hash": ItemHash::sha256(text.as_bytes()), "item_content": text,
    }))
    .unwrap()
}

/// Stores messages of some megabytes in one transaction and reads them again.
fn use_it(store: &Store, writer: &mut aleph_store::Writer, from: usize) {
    let messages: Vec<ParsedMessage> = (from..from + 150).map(message).collect();
    let mut transaction = writer.begin().unwrap();
    for parsed in &messages {
        let new = NewMessage {
            message: &parsed.message,
            content: parsed.content.as_ref().unwrap(),
            document: None,
            size: 1,
            reception_time: Timestamp::EPOCH,
            origin: "http",
        };
        transaction.process(new, &[]).unwrap();
    }
    transaction.commit().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    for parsed in messages.iter().step_by(20) {
        let stored = runtime.block_on(store.content_document(&parsed.message.item_hash)).unwrap();
        assert_eq!(stored.as_deref(), parsed.message.item_content.as_deref());
    }
}

#[test]
fn connections_are_encrypted_as_the_url_asks() {
    let mut server = server_with(&certificate(&["127.0.0.1"], false, None));
    for (parameters, expected) in
        [("", "2|0"), ("sslmode=prefer", "2|0"), ("sslmode=require", "2|0"), ("sslmode=disable", "0|2")]
    {
        let (store, mut writer) = open(&server, parameters).unwrap();
        use_it(&store, &mut writer, 1);
        assert_eq!(connections(&server), expected, "{parameters}");
        writer.empty().unwrap();
    }
    // A server that was killed is found again, as safely as before.
    let (store, mut writer) = open(&server, "sslmode=require").unwrap();
    use_it(&store, &mut writer, 1);
    let transaction = writer.begin().unwrap();
    server.kill9().unwrap();
    let error = transaction.status(&message(1).message.item_hash).unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Unavailable, "{error}");
    drop(transaction);
    server.start_again().unwrap();
    use_it(&store, &mut writer, 1_000);
    assert_eq!(connections(&server), "2|0");
}

#[test]
fn a_server_without_encryption_is_used_only_where_the_url_allows_it() {
    let server = Server::start(Options::fast()).unwrap();
    server.database("node").unwrap();
    for parameters in ["", "sslmode=prefer", "sslmode=disable"] {
        let (store, mut writer) = open(&server, parameters).unwrap();
        use_it(&store, &mut writer, 1);
        assert_eq!(connections(&server), "0|2", "{parameters}");
        writer.empty().unwrap();
    }
    for parameters in ["sslmode=require", "sslmode=verify-full"] {
        let text = refusal(&server, parameters);
        assert!(text.contains("does not support TLS") && text.contains("sslmode"), "{text}");
    }
}

#[test]
fn a_server_is_known_by_its_certificate() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, certificate: &CertifiedKey| {
        let path = folder.path().join(name);
        std::fs::write(&path, certificate.cert.pem()).unwrap();
        format!("sslmode=verify-full&sslrootcert={}", path.display())
    };
    let authority = certificate(&["authority"], true, None);
    let known = file("authority.pem", &authority);
    let foreign = file("foreign.pem", &certificate(&["authority"], true, None));

    let server = server_with(&certificate(&["127.0.0.1"], false, Some(&authority)));
    let (store, mut writer) = open(&server, &known).unwrap();
    use_it(&store, &mut writer, 1);
    assert_eq!(connections(&server), "2|0");
    drop((store, writer));
    for parameters in [foreign.as_str(), "sslmode=verify-full", "sslmode=verify-full&sslrootcert=system"] {
        let text = refusal(&server, parameters);
        assert!(text.contains("invalid peer certificate") && text.contains("sslrootcert"), "{text}");
    }
    let text = refusal(&server, "sslmode=verify-full&sslrootcert=/nowhere.pem");
    assert!(text.contains("/nowhere.pem"), "{text}");

    // It is another server's.
    let other = server_with(&certificate(&["db.example.org"], false, Some(&authority)));
    let text = refusal(&other, &known);
    assert!(text.contains("not valid for name"), "{text}");
    drop(open(&other, "sslmode=require").unwrap());

    // One that signs itself, as PostgreSQL's manual makes it, is its own authority.
    let own = certificate(&["127.0.0.1"], true, None);
    let server = server_with(&own);
    drop(open(&server, &file("own.pem", &own)).unwrap());
    refusal(&server, &foreign);
    let own = certificate(&["db.example.org"], true, None);
    let text = refusal(&server_with(&own), &file("misnamed.pem", &own));
    assert!(text.contains("not valid for name"), "{text}");
}
