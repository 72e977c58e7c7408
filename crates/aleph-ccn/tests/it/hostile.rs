//! Bad input at a running node: each case ends in its code with details that say what and where, and the
//! node goes on as if nothing had been.
//!
//! Forms are here; `hostile_fields` puts wrong types into every field, `hostile_graphs` builds what is well
//! formed and still means harm.

use aleph_ccn::{Origin, Outcome};
use aleph_crypto::EvmKey;
use aleph_types::{Address, Chain, ItemHash, ItemType, Message, MessageType, ParsedMessage, Timestamp};
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::node::{Author, TestNode, hash};

pub(crate) const TIME: f64 = 1_714_564_800.0;

/// Who signs texts as they are, well formed or not.
pub(crate) struct Forger {
    key: EvmKey,
    pub(crate) address: String,
}

impl Forger {
    pub(crate) fn new(byte: u8) -> Self {
        let key = EvmKey::from_bytes([byte; 32]).unwrap();
        let address = key.address().to_string();
        Self { key, address }
    }

    fn sign(&self, mut message: Message) -> Value {
        message.signature = Some(self.key.sign_message(&message));
        serde_json::to_value(message.to_wire()).unwrap()
    }

    fn unsigned(&self, message_type: MessageType, item_hash: ItemHash) -> Message {
        Message {
            item_hash,
            message_type,
            chain: Chain::Eth,
            sender: Address::from(self.address.as_str()),
            signature: None,
            item_type: ItemType::Storage,
            item_content: None,
            time: Timestamp::from_secs_f64(TIME).unwrap(),
            channel: None,
        }
    }

    /// Any text as inline content.
    pub(crate) fn inline(&self, message_type: MessageType, text: &str) -> Value {
        let message = self.unsigned(message_type, ItemHash::sha256(text.as_bytes()));
        self.sign(Message { item_type: ItemType::Inline, item_content: Some(text.into()), ..message })
    }

    /// Content that lies in a file.
    pub(crate) fn by_hash(&self, message_type: MessageType, item_hash: ItemHash) -> Value {
        self.sign(self.unsigned(message_type, item_hash))
    }

    /// A POST whose `content` is any text.
    pub(crate) fn post(&self, content: &str) -> Value {
        let address = &self.address;
        let text = format!(r#"{{"address":"{address}","time":{TIME},"type":"note","content":{content}}}"#);
        self.inline(MessageType::Post, &text)
    }
}

/// What the node says of a message: status, code, and whether there are details.
pub(crate) async fn fate(node: &TestNode, message: &Value) -> (String, Option<i64>, Value) {
    let answer = node.ok(&format!("/api/v0/messages/{}", hash(message))).await;
    let status = answer["status"].as_str().unwrap().to_owned();
    (status, answer["error_code"].as_i64(), answer["details"].clone())
}

/// A good message is processed at once, and the state is what its rows say.
pub(crate) async fn is_well(node: &TestNode, number: u32) {
    let author = Author::new(200);
    let note = author.note(TIME + f64::from(number), "good", json!({ "number": number }));
    node.process(&[&note]).await;
    let both = node.node.store.recompute_digest().await.unwrap();
    assert_eq!(both.kept, both.recomputed);
}

/// The resident memory of this process, of which the node is a part, and its highest value since.
#[derive(Debug)]
pub(crate) struct Memory {
    before: Option<u64>,
}

impl Memory {
    /// Starts to watch.
    pub(crate) fn mark() -> Self {
        // Forgets the highest value so far; a machine without that shows a higher one.
        let _ = std::fs::write("/proc/self/clear_refs", "5");
        Self { before: kilobytes("VmRSS:") }
    }

    /// Fails when more than `bound` MiB came on top at any time.
    pub(crate) fn assert_below(&self, bound: u64, what: &str) {
        let (Some(before), Some(highest)) = (self.before, kilobytes("VmHWM:")) else { return };
        let grown = highest.saturating_sub(before) / 1024;
        println!("{what}: {grown} MiB more at most");
        assert!(grown <= bound, "{what}: {grown} MiB, more than {bound}");
    }
}

fn kilobytes(field: &str) -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(field))?;
    line.trim().trim_end_matches(" kB").parse().ok()
}

/// Sends a message as a peer does. Says why it is none, or what became of it.
async fn gossip(node: &TestNode, text: &str) -> Result<Outcome, String> {
    match ParsedMessage::from_json(text.as_bytes()) {
        Ok(parsed) => Ok(node.node.pipeline.submit(parsed, Origin::Gossip).await.unwrap()),
        Err(error) => Err(error.to_string()),
    }
}

/// One way to be no message, and what is said about it.
struct Wrong {
    what: &'static str,
    message: String,
    says: String,
}

fn wrong(what: &'static str, message: impl ToString, says: impl Into<String>) -> Wrong {
    Wrong { what, message: message.to_string(), says: says.into() }
}

fn nested(open: &str, close: &str, levels: usize) -> String {
    format!("{}{}", open.repeat(levels), close.repeat(levels))
}

/// A good message with one field of the envelope replaced by the text of any JSON.
fn with(good: &Value, field: &str, json: &str) -> String {
    let mut message = good.clone();
    message[field] = "PLACE".into();
    message.to_string().replace("\"PLACE\"", json)
}

fn without(good: &Value, field: &str) -> String {
    let mut message = good.clone();
    message.as_object_mut().unwrap().remove(field);
    message.to_string()
}

/// Messages that are JSON and have no form.
fn formless(forger: &Forger) -> Vec<Wrong> {
    let good = forger.post("1");
    let big = forger.post(&format!("\"{}\"", "x".repeat(200_000)));
    let mut cases = vec![
        wrong("200,001 characters and more", big, "Message too long: inline content is limited to 200000"),
        wrong("content that is no JSON", forger.inline(MessageType::Post, "{"), "Could not load JSON: ends"),
        wrong("content that is empty", forger.inline(MessageType::Post, ""), "Could not load JSON: ends"),
        wrong(
            "content that is a list",
            forger.inline(MessageType::Post, "[]"),
            "Content must be a JSON object",
        ),
        wrong(
            "content that is null",
            forger.inline(MessageType::Post, "null"),
            "Content must be a JSON object",
        ),
        wrong(
            "content in two documents",
            forger.inline(MessageType::Post, "{} {}"),
            "not valid JSON at byte 3",
        ),
        wrong("content after a mark of UTF-16", forger.inline(MessageType::Post, "\u{feff}{}"), "at byte 0"),
        wrong(
            "inline without content",
            without(&with(&good, "item_type", "\"inline\"").parse::<Value>().unwrap(), "item_content"),
            "Could not find inline item content",
        ),
        wrong(
            "content of another hash",
            with(&good, "item_hash", &format!("\"{}\"", "a".repeat(64))),
            "'item_hash' does not match 'sha256(item_content)'",
        ),
        wrong(
            "content beside a hash",
            with(&good, "item_type", "\"storage\""),
            "cannot define 'item_content'",
        ),
    ];
    for (what, levels) in [("one level too many", 1024), ("100,000 levels", 99_000)] {
        for (open, close) in [("[", "]"), ("{\"a\":", "")] {
            let content = if close.is_empty() {
                // As many as fit into 200,000 characters.
                let levels = levels.min(30_000);
                format!("{}1{}", open.repeat(levels), "}".repeat(levels))
            } else {
                nested(open, close, levels)
            };
            cases.push(wrong(what, forger.post(&content), "nested deeper than 1024 levels"));
        }
    }
    let digits = "9".repeat(1000);
    for number in [
        "1e400",
        "-1e400",
        "NaN",
        "Infinity",
        "-Infinity",
        "nan",
        "0x10",
        "01",
        "1.",
        ".5",
        "+1",
        digits.as_str(),
    ] {
        cases.push(wrong(
            "a content that is no number",
            forger.post(number),
            "Could not load JSON: not valid",
        ));
    }
    for text in [r#""\ud800""#, r#""\udc00\ud800""#, r#"{"\ud800":1}"#, "\"\u{1}\"", "\"\u{0}\"", r#""\x""#] {
        cases.push(wrong("a content that is no text", forger.post(text), "Could not load JSON: not valid"));
    }
    for text in [r#""\u0000""#, r#""a\u0000b""#, r#"{"\u0000":1}"#, r#"["\\u0000"]"#] {
        let says = "Unsupported character in message: \\u0000";
        cases.push(wrong("an escaped NUL in the content", forger.post(text), says));
    }
    for time in ["-1", "-0.000001", "9223372037", "1e308", "31556952000000"] {
        let address = &forger.address;
        let text = format!(r#"{{"address":"{address}","time":{time},"type":"note","content":1}}"#);
        cases.push(wrong("an absurd time in the content", forger.inline(MessageType::Post, &text), "time: "));
    }
    for time in ["-1e308", "1e308", "31556952000000", "-62135596800.1", "253402300800"] {
        cases.push(wrong("an absurd time", with(&good, "time", time), "time: outside the range of times"));
    }
    for field in ["sender", "chain", "type", "item_hash", "time"] {
        cases.push(wrong("a field less", without(&good, field), format!("{field}: Field required")));
    }
    for (field, right) in [
        ("time", "number"),
        ("sender", "string"),
        ("chain", "string"),
        ("type", "string"),
        ("item_hash", "string"),
        ("signature", "string"),
        ("channel", "string"),
        ("item_type", "string"),
        ("item_content", "string"),
    ] {
        for (kind, value) in [
            ("number", "1"),
            ("string", "\"\""),
            ("flag", "true"),
            ("list", "[]"),
            ("object", "{}"),
            ("null", "null"),
        ] {
            let may_be_null = matches!(field, "signature" | "channel" | "item_type" | "item_content");
            // A signature may be an object: see the publishing route.
            let is_fine =
                kind == right || kind == "null" && may_be_null || field == "signature" && kind == "object";
            if !is_fine {
                cases.push(wrong(
                    "an envelope's field of another type",
                    with(&good, field, value),
                    format!("{field}: "),
                ));
            }
        }
    }
    for chain in ["", "eth", "ETH ", "XYZ", "ETH\\n", "é"] {
        cases.push(wrong(
            "an unknown chain",
            with(&good, "chain", &format!("\"{chain}\"")),
            "chain: not a known",
        ));
    }
    for kind in ["", "post", "POST ", "MESSAGE"] {
        cases.push(wrong(
            "an unknown type",
            with(&good, "type", &format!("\"{kind}\"")),
            "type: not a known",
        ));
    }
    for kind in ["", "INLINE", "ipns"] {
        cases.push(wrong(
            "an unknown place",
            with(&good, "item_type", &format!("\"{kind}\"")),
            "item_type: not a",
        ));
    }
    let hashes = [
        String::new(),
        "a".repeat(63),
        "a".repeat(65),
        "Qm".into(),
        "Qm".repeat(24),
        "bafy".into(),
        format!("bafk{}", "a".repeat(55)),
        format!("bafy{}", "a".repeat(54)),
        "x".repeat(100_000),
        "é".repeat(32),
        "../../etc/passwd".into(),
        "0x".to_owned() + &"a".repeat(62).replace('a', "aa"),
    ];
    for hash in hashes {
        let message = with(&good, "item_hash", &format!("\"{hash}\""));
        cases.push(wrong("no shape of a hash", message, "item_hash: unknown hash type"));
    }
    for field in ["sender", "channel", "signature"] {
        let message = with(&good, field, r#""a\u0000b""#);
        cases.push(wrong("NUL in an envelope", message, format!("{field}: must not hold the character NUL")));
    }
    let mut by_hash = forger.by_hash(MessageType::Post, ItemHash::sha256(b"x"));
    by_hash["item_hash"] = format!("\u{0}{}", "a".repeat(63)).into();
    cases.push(wrong("NUL in a hash", by_hash, "item_hash: must not hold the character NUL"));
    cases
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_no_form_is_refused_in_words() {
    let node = TestNode::start().await;
    let memory = Memory::mark();
    let cases = formless(&Forger::new(1));
    let known = node.ok("/api/v0/messages.json").await["pagination_total"].clone();
    for Wrong { what, message, says } in &cases {
        let shown: String = message.chars().take(400).collect();
        // As a client, in both ways, and as a peer.
        let body = format!(r#"{{"message":{message},"sync":true}}"#);
        let response = node.post("/api/v0/messages").body(body).send().await.unwrap();
        assert_eq!(response.status(), StatusCode::UNPROCESSABLE_ENTITY, "{what}: {shown}");
        let text = response.text().await.unwrap();
        assert!(text.starts_with("InvalidMessageFormat: ") && text.contains(says), "{what}: {text}");
        assert!(text.len() < 1000, "{what}: {} bytes are told", text.len());

        let body = json!({ "topic": "ALEPH-TEST", "data": message }).to_string();
        let response = node.post("/api/v0/ipfs/pubsub/pub").body(body).send().await.unwrap();
        assert_eq!(response.status(), StatusCode::UNPROCESSABLE_ENTITY, "{what}: {shown}");
        assert_eq!(response.text().await.unwrap(), text, "{what}");

        let told = gossip(&node, message).await.unwrap_err();
        assert_eq!(format!("InvalidMessageFormat: {told}"), text, "{what}");
    }
    assert_eq!(node.ok("/api/v0/messages.json").await["pagination_total"], known);
    memory.assert_below(64, "messages without form");
    println!("{} messages without form, each in three ways", cases.len());
    is_well(&node, 1).await;
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_request_is_refused_in_words() {
    let node = TestNode::start().await;
    let memory = Memory::mark();
    let good = Forger::new(1).post("1");
    let request = |message: &str| format!(r#"{{"message":{message},"sync":false}}"#).into_bytes();
    let megabyte = |more: usize| {
        let body = format!(r#"{{"pad":"","message":{good}}}"#);
        body.replace("\"pad\":\"", &format!("\"pad\":\"{}", "x".repeat((1 << 20) + more - body.len())))
            .into_bytes()
    };
    let unprocessable = "422: Unprocessable Entity";
    let dictionary = "Input should be a valid dictionary";
    let cases: Vec<(&str, Vec<u8>, u16, &str)> = vec![
        ("an empty body", Vec::new(), 422, unprocessable),
        ("white space", b" \n".to_vec(), 422, unprocessable),
        ("no UTF-8", b"{\"message\":\"\xff\xfe\"}".to_vec(), 422, unprocessable),
        ("an overlong encoding of NUL", b"{\"message\":\"\xc0\x80\"}".to_vec(), 422, unprocessable),
        ("a surrogate in UTF-8", b"{\"message\":\"\xed\xa0\x80\"}".to_vec(), 422, unprocessable),
        ("UTF-16", "\u{feff}{}".encode_utf16().flat_map(u16::to_le_bytes).collect(), 422, unprocessable),
        ("half a document", request(&good.to_string())[..200].to_vec(), 422, unprocessable),
        ("100,000 levels", request(&nested("[", "]", 100_000)), 422, unprocessable),
        ("100,000 open levels", "[".repeat(100_000).into_bytes(), 422, unprocessable),
        ("100,000 levels of objects", "{\"message\":".repeat(90_000).into_bytes(), 422, unprocessable),
        ("an infinite number", request("1e400"), 422, unprocessable),
        ("a number of 1,000 digits", request(&"1".repeat(1000)), 422, unprocessable),
        ("no number", request("NaN"), 422, unprocessable),
        ("half a surrogate pair", request(r#"{"sender":"\ud800"}"#), 422, unprocessable),
        ("a raw NUL", request("{\"sender\":\"\0\"}"), 422, unprocessable),
        ("a raw line break", request("{\"sender\":\"\n\"}"), 422, unprocessable),
        ("a message that is a list", request("[]"), 422, dictionary),
        ("a message that is a text", request("\"{}\""), 422, dictionary),
        ("a message that is null", request("null"), 422, dictionary),
        ("a message that is a number", request("-0"), 422, dictionary),
        ("no object", b"[{\"message\":1}]".to_vec(), 422, "Field required"),
        (
            "a flag that is none",
            format!(r#"{{"message":{good},"sync":[]}}"#).into_bytes(),
            422,
            "valid boolean",
        ),
        ("a byte more than 1 MiB", megabyte(1), 413, "Maximum request body size 1048576 exceeded"),
        ("exactly 1 MiB", megabyte(0), 202, "pending"),
    ];
    for (what, body, status, says) in &cases {
        let response = node.post("/api/v0/messages").body(body.clone()).send().await.unwrap();
        assert_eq!(response.status().as_u16(), *status, "{what}");
        let text = response.text().await.unwrap();
        assert!(text.contains(says) && text.len() < 1000, "{what}: {text}");
    }
    memory.assert_below(64, "bodies that are no request");
    println!("{} bodies", cases.len());
    is_well(&node, 1).await;
    node.stop().await;
}

/// Odd, but what the network accepts.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_odd_and_valid_is_processed_and_read_back() {
    let node = TestNode::start().await;
    let forger = Forger::new(1);
    let address = forger.address.clone();
    let of = |rest: &str| forger.inline(MessageType::Post, &format!(r#"{{"address":"{address}",{rest}}}"#));
    let frame = of(r#""time":1,"type":"t","content":"""#)["item_content"].as_str().unwrap().chars().count();
    let filled =
        |with: &str| of(&format!(r#""time":1,"type":"t","content":"{}""#, with.repeat(200_000 - frame)));
    let cases = [
        ("exactly 200,000 characters", filled("x")),
        ("200,000 characters of four bytes", filled("😀")),
        // The content itself is a level.
        ("the deepest document", forger.post(&nested("[", "]", 1023))),
        ("the deepest objects", forger.post(&format!("{}1{}", "{\"a\":".repeat(1023), "}".repeat(1023)))),
        ("minus zero", of(r#""time":-0.0,"type":"t","content":-0"#)),
        ("the smallest number", of(r#""time":5e-324,"type":"t","content":1e-400"#)),
        ("the last time", of(r#""time":9223372036.0,"type":"t","content":1.7976931348623157e308"#)),
        ("numbers beyond 64 bits", forger.post(&format!("[18446744073709551616,{}]", "9".repeat(300)))),
        ("a number of 100,000 digits", forger.post(&format!("0.{}1", "0".repeat(100_000)))),
        ("the same key twice", of(r#""time":1,"type":1,"type":"t","content":1,"content":2"#)),
        (
            "keys of serde_json",
            forger
                .post(r#"{"$serde_json::private::RawValue":"1","a":[{"$serde_json::private::Number":"x"}]}"#),
        ),
        ("keys of JavaScript", forger.post(r#"{"__proto__":{"a":1},"constructor":null,"":""}"#)),
        (
            "the last characters of planes",
            forger.post("\"\u{ffff}\u{10ffff}\u{fffe}\\ud83d\\ude00\u{202e}\""),
        ),
        (
            "words of SQL",
            of(r#""time":1,"type":"'; DROP TABLE messages; --","content":"\" OR 1=1","ref":"%_\\'"}"#
                .trim_end_matches('}')),
        ),
        (
            "24,000 keys",
            forger.post(&format!(
                "{{{}}}",
                (0..16_000).map(|n| format!("\"k{n}\":1")).collect::<Vec<_>>().join(",")
            )),
        ),
    ];
    for (what, message) in &cases {
        let response = node.publish(message, true).await;
        let status = response.status();
        assert_eq!(status, StatusCode::OK, "{what}: {}", response.text().await.unwrap());
        let single = node.get(&format!("/api/v0/messages/{}", hash(message))).send().await.unwrap();
        assert_eq!(single.status(), StatusCode::OK, "{what}");
        let bytes = single.bytes().await.unwrap();
        let shown = aleph_types::json::parse(&bytes);
        // The deepest document lies deeper in the answer, as in the reference's.
        if !what.starts_with("the deepest") {
            assert_eq!(shown.unwrap()["message"]["item_content"], message["item_content"], "{what}");
        }
        let explained =
            node.get(&format!("/api/v1/messages/{}/explain", hash(message))).send().await.unwrap();
        assert_eq!(explained.status(), StatusCode::OK, "{what}");
    }
    // Whoever lists them reads them all.
    let list = node.get("/api/v0/messages.json?pagination=200").send().await.unwrap();
    assert_eq!(list.status(), StatusCode::OK);
    let list = node.get("/api/v0/posts.json?pagination=200").send().await.unwrap();
    assert_eq!(list.status(), StatusCode::OK);

    // An envelope with keys that come twice: the last ones count.
    let good = forger.post("3");
    let twice = good.to_string().replacen('{', r#"{"sender":[],"time":"x","chain":"XYZ","#, 1);
    let body = format!(r#"{{"message":0,"message":{twice},"sync":false,"sync":true}}"#);
    let response = node.post("/api/v0/messages").body(body).send().await.unwrap();
    assert_eq!(response.status(), StatusCode::OK, "{}", response.text().await.unwrap());
    is_well(&node, 1).await;
    node.stop().await;
}

/// Signatures of every family that are none: rejected with code 1, and 0 where nobody verifies the chain.
#[tokio::test(flavor = "multi_thread")]
async fn bad_signatures_are_rejected_with_their_code() {
    let node = TestNode::start().await;
    let memory = Memory::mark();
    let forger = Forger::new(1);
    let signatures = [
        json!("x"),
        json!("0x"),
        json!("{}"),
        json!("[".repeat(100_000)),
        json!("1".repeat(300_000)),
        json!("0x".to_owned() + &"f".repeat(130)),
        json!({ "signature": "1", "publicKey": "1" }),
        json!({ "signature": [], "publicKey": { "a": [] }, "pub_key": { "type": null }, "data": 1, "curve": "x" }),
        json!("😀".repeat(1000)),
        json!(null),
        json!(""),
    ];
    let mut count = 0u32;
    for chain in Chain::ALL {
        for signature in &signatures {
            count += 1;
            // Each is a message of its own: a rejected one may be sent again, and would be seen as that.
            let mut message = forger.post(&count.to_string());
            message["chain"] = chain.as_str().into();
            message["signature"] = signature.clone();
            let response = node.publish(&message, true).await;
            assert_eq!(response.status(), StatusCode::UNPROCESSABLE_ENTITY, "{chain} {count}");
            assert_eq!(response.json::<Value>().await.unwrap()["message_status"], "rejected");
            let (status, code, details) = fate(&node, &message).await;
            let is_missing = signature.is_null() || signature == "";
            let no_verifier = chain.family() == aleph_types::SignatureFamily::None;
            let expected = if no_verifier && !is_missing { 0 } else { 1 };
            assert_eq!((status.as_str(), code), ("rejected", Some(expected)), "{chain}: {details}");
            let says = details["errors"][0].as_str().unwrap();
            assert!(!says.is_empty() && says.len() < 200, "{says}");
        }
    }
    memory.assert_below(128, "bad signatures");
    println!("{count} bad signatures");
    is_well(&node, 1).await;
    node.stop().await;
}
