//! Files and directories as archives (CAR), in and out.

use std::collections::HashMap;

use aleph_cid::{
    BlockSink as _, Built, CarHeader, CarIndexer, CarLimits, Cid, Codec, DirectoryBuilder, FileBuilder,
    Layout, Limits, MemoryBlocks, TreeBuilder, car_section_head, cid_of, export_car, symlink,
};
use base64::Engine as _;
use reqwest::multipart::{Form, Part};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::node::{Author, TestNode, hash};

const TIME: f64 = 1_714_564_800.0;

pub(crate) fn file(layout: Layout, bytes: &[u8], blocks: &mut MemoryBlocks) -> Built {
    let mut builder = FileBuilder::new(layout);
    builder.update(bytes, blocks).unwrap();
    builder.finish(blocks).unwrap()
}

pub(crate) fn car_of(root: Cid, blocks: &mut MemoryBlocks) -> Vec<u8> {
    let mut car = Vec::new();
    export_car(blocks, root, Limits::default(), |bytes| {
        car.extend_from_slice(bytes);
        Ok(())
    })
    .unwrap();
    car
}

/// A small site: its root, its archive, and its files by path.
pub(crate) fn site(layout: Layout) -> (Cid, Vec<u8>, HashMap<&'static str, Vec<u8>>) {
    let mut blocks = MemoryBlocks::default();
    let page = b"<h1>hello</h1>".to_vec();
    let large: Vec<u8> = (0..900_000u32).map(|at| (at / 5 % 253) as u8).collect();
    let mut tree = TreeBuilder::new(layout, 100);
    let mut files = HashMap::new();
    for (path, bytes) in [("index.html", page), ("data/large.bin", large), ("data/empty", Vec::new())] {
        tree.insert(path, &file(layout, &bytes, &mut blocks)).unwrap();
        files.insert(path, bytes);
    }
    tree.insert("data/link", &symlink(layout, "../index.html", &mut blocks).unwrap()).unwrap();
    let root = tree.finish(&mut blocks).unwrap().cid;
    let car = car_of(root, &mut blocks);
    (root, car, files)
}

pub(crate) fn store(author: &Author, time: f64, cid: &str) -> Value {
    author.store(time, cid, json!({ "item_type": "ipfs" }))
}

/// Status and body of an upload.
pub(crate) async fn add_car(node: &TestNode, car: &[u8], message: &Value) -> (u16, String) {
    let metadata = json!({ "message": message, "sync": true }).to_string();
    let form =
        Form::new().part("file", Part::bytes(car.to_vec()).file_name("a.car")).text("metadata", metadata);
    let response = node.post("/api/v0/ipfs/add_car").multipart(form).send().await.unwrap();
    (response.status().as_u16(), response.text().await.unwrap())
}

async fn bytes(node: &TestNode, path: &str) -> Vec<u8> {
    let response = node.get(path).send().await.unwrap();
    assert_eq!(response.status(), StatusCode::OK, "{path}");
    response.bytes().await.unwrap().to_vec()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_comes_in_and_goes_out_in_every_form() {
    let node = TestNode::start().await;
    let author = Author::new(1);
    for (index, layout) in [Layout::KUBO_V0, Layout::KUBO_V1].into_iter().enumerate() {
        let (root, car, files) = site(layout);
        let name = root.to_string();
        let message = store(&author, TIME + index as f64, &name);
        let (status, answer) = add_car(&node, &car, &message).await;
        assert_eq!(status, 200, "{answer}");
        let answer: Value = serde_json::from_str(&answer).unwrap();
        let size = answer["size"].as_u64().unwrap();
        assert!(size > 900_000 && answer["hash"] == name && answer.get("name").is_none(), "{answer}");
        assert_eq!(
            node.ok(&format!("/api/v0/messages/{}/status", hash(&message))).await["status"],
            "processed"
        );
        let other = if index == 0 { root.to_v1() } else { root.to_v0().unwrap() }.to_string();
        for text in [&name, &other] {
            let about = node.ok(&format!("/api/v0/storage/metadata/{text}")).await;
            assert_eq!((&about["type"], &about["size"]), (&json!("dir"), &json!(size)));
            // A directory is no file in base64.
            let (status, told) = node.text(&format!("/api/v0/storage/{text}")).await;
            assert_eq!((status.as_u16(), told), (404, format!("No file found for hash {text}")));

            // As a tar.
            let path = format!("/api/v0/storage/raw/{text}");
            let response = node.get(&path).send().await.unwrap();
            assert_eq!(response.headers()["content-type"], "application/x-tar");
            assert!(!response.headers().contains_key("content-length"));
            let tar = response.bytes().await.unwrap();
            assert_eq!(untar(&tar, text), files);
            let head = node.client.head(format!("{}{path}", node.url)).send().await.unwrap();
            assert_eq!(head.headers()["content-type"], "application/x-tar");

            // As an archive that leads to the same root, by either way to ask.
            let again = node.get(&path).header("accept", "application/vnd.ipld.car").send().await.unwrap();
            assert!(
                again.headers()["content-type"].to_str().unwrap().starts_with("application/vnd.ipld.car")
            );
            let again = again.bytes().await.unwrap();
            assert_eq!(again, bytes(&node, &format!("{path}?format=car")).await);
            let mut indexer = CarIndexer::new(CarLimits::default());
            indexer.update(&again).unwrap();
            assert!(indexer.finish().unwrap().root.is_same_block(&root));

            // Its files, with ranges.
            for (below, content) in &files {
                let path = format!("{path}/{below}");
                assert_eq!(bytes(&node, &path).await, *content);
                if content.len() > 600_000 {
                    let part = node.get(&path).header("range", "bytes=300000-600000").send().await.unwrap();
                    assert_eq!(part.status(), StatusCode::PARTIAL_CONTENT);
                    assert_eq!(part.headers()["content-range"], "bytes 300000-600000/900000");
                    assert_eq!(part.bytes().await.unwrap(), content[300_000..=600_000]);
                    let part = node.get(&path).header("range", "bytes=-7").send().await.unwrap();
                    assert_eq!(part.bytes().await.unwrap(), content[899_993..]);
                }
            }
            let sub = bytes(&node, &format!("{path}/data")).await;
            assert_eq!(untar(&sub, text).len(), 2);
            let block = bytes(&node, &format!("{path}?format=raw")).await;
            assert!(root.matches(&block));
            for (below, status) in [("nothing", 404), ("index.html/x", 400), ("data//large.bin", 200)] {
                let found = node.get(&format!("{path}/{below}")).send().await.unwrap();
                assert_eq!(found.status().as_u16(), status, "{below}");
            }
        }
    }
    node.stop().await;
}

/// Paths and bytes of the files of a tar, below its top folder.
fn untar(tar: &[u8], top: &str) -> HashMap<&'static str, Vec<u8>> {
    let mut files = HashMap::new();
    let mut rest = tar;
    assert_eq!(tar.len() % 512, 0);
    assert!(tar.ends_with(&[0; 1024]));
    while rest[0] != 0 {
        let text = |range: std::ops::Range<usize>| {
            std::str::from_utf8(&rest[range]).unwrap().trim_end_matches(['\0', ' ']).to_owned()
        };
        let sum: u32 = rest[..512]
            .iter()
            .enumerate()
            .map(|(at, byte)| if (148..156).contains(&at) { 32 } else { u32::from(*byte) })
            .sum();
        assert_eq!(u32::from_str_radix(&text(148..154), 8).unwrap(), sum, "checksum");
        let size = usize::from_str_radix(&text(124..135), 8).unwrap();
        let name = text(0..100);
        let below = name.strip_prefix(top).unwrap().trim_matches('/').to_owned();
        if rest[156] == b'0' {
            let below = ["index.html", "data/large.bin", "data/empty", "large.bin", "empty"]
                .into_iter()
                .find(|known| *known == below)
                .unwrap();
            files.insert(below, rest[512..512 + size].to_vec());
        } else if rest[156] == b'2' {
            assert_eq!(text(157..257), "../index.html");
        }
        rest = &rest[512 + size.div_ceil(512) * 512..];
    }
    files
}

#[tokio::test(flavor = "multi_thread")]
async fn files_of_any_layout_come_as_archives_and_plain_files_go_out_as_such() {
    let node = TestNode::start().await;
    let author = Author::new(1);
    let content: Vec<u8> = (0..1_000_000u32).map(|at| (at / 3 % 241) as u8).collect();
    // A layout that nobody could guess from the bytes.
    let layout = Layout::KUBO_V0.with_chunk(1000).unwrap().with_max_links(7).unwrap();
    let mut blocks = MemoryBlocks::default();
    let root = file(layout, &content, &mut blocks).cid;
    let message = store(&author, TIME, &root.to_string());
    let (status, answer) = add_car(&node, &car_of(root, &mut blocks), &message).await;
    assert_eq!(status, 200, "{answer}");
    let about = node.ok(&format!("/api/v0/storage/metadata/{root}")).await;
    assert_eq!((&about["type"], &about["size"]), (&json!("file"), &json!(1_000_000)));
    assert_eq!(bytes(&node, &format!("/api/v0/storage/raw/{root}")).await, content);
    let encoded = node.ok(&format!("/api/v0/storage/{root}")).await;
    let lines: String = encoded["content"].as_str().unwrap().split('\n').collect();
    assert_eq!(base64::engine::general_purpose::STANDARD.decode(lines).unwrap(), content);

    // What came as plain bytes has blocks, too.
    let form = Form::new().part("file", Part::bytes(content.clone()));
    node.post("/api/v0/ipfs/add_file").multipart(form).send().await.unwrap();
    let plain = cid_of(Layout::KUBO_V0, &content);
    let car = bytes(&node, &format!("/api/v0/storage/raw/{plain}?format=car")).await;
    let mut expected = MemoryBlocks::default();
    file(Layout::KUBO_V0, &content, &mut expected);
    assert_eq!(car, car_of(plain, &mut expected));
    let head =
        node.client.head(format!("{}/api/v0/storage/raw/{plain}?format=car", node.url)).send().await.unwrap();
    assert_eq!(head.status(), StatusCode::OK);
    let (status, _) = node.text(&format!("/api/v0/storage/raw/{plain}?format=xml")).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);

    // A large file by its SHA-256 is no block; a small one is.
    node.post("/api/v0/storage/add_file").body(vec![1; 3 << 20]).send().await.unwrap();
    let large = aleph_types::ItemHash::sha256(&vec![1; 3 << 20]);
    let (status, _) = node.text(&format!("/api/v0/storage/raw/{large}?format=car")).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    let raw = Cid::v1(Codec::Raw, &vec![1; 3 << 20]);
    assert_eq!(node.text(&format!("/api/v0/storage/raw/{raw}")).await.0, StatusCode::NOT_FOUND);
    node.stop().await;
}

fn archive(root: Cid, blocks: &[(Cid, Vec<u8>)]) -> Vec<u8> {
    let mut car = CarHeader::new(vec![root]).encode();
    for (cid, block) in blocks {
        car.extend(car_section_head(cid, block.len()));
        car.extend(block);
    }
    car
}

#[tokio::test(flavor = "multi_thread")]
async fn archives_that_are_none_leave_nothing() {
    let node = TestNode::start().await;
    let author = Author::new(1);
    let (root, car, _) = site(Layout::KUBO_V0);
    let message = store(&author, TIME, &root.to_string());
    let other = store(&author, TIME, &cid_of(Layout::KUBO_V0, b"other").to_string());

    let (other_root, other_car, _) = site(Layout::KUBO_V1);
    let cases: Vec<(&str, Vec<u8>, &Value, String)> = vec![
        ("empty", Vec::new(), &message, "422: Invalid CAR file: truncated header".into()),
        (
            "no archive",
            b"hello world, this is no archive".to_vec(),
            &message,
            "422: Invalid CAR file: ".into(),
        ),
        (
            "a long header",
            vec![0xff, 0xff, 0x7f, 0],
            &message,
            "422: Invalid CAR file: header exceeds maximum size (2097151 > 8192)".into(),
        ),
        ("a broken number", vec![0xff; 11], &message, "422: Invalid CAR file: malformed varint".into()),
        (
            "two roots",
            CarHeader::new(vec![root, root]).encode(),
            &message,
            "422: Invalid CAR file: expected exactly 1 root, got 2".into(),
        ),
        (
            "another root",
            other_car,
            &message,
            format!("422: Root CID does not match ({other_root} != {root})"),
        ),
        ("another claim", car.clone(), &other, "422: Root CID does not match (".into()),
        ("no block at all", archive(root, &[]), &message, "422: Invalid CAR file: the root ".into()),
        (
            "a huge block",
            {
                let mut car = archive(root, &[]);
                car.extend([0xff, 0xff, 0xff, 0xff, 0x0f]);
                car
            },
            &message,
            "422: Invalid CAR file: a section of ".into(),
        ),
        (
            "a block above 2 MiB",
            archive(root, &[(Cid::v1(Codec::Raw, &vec![0; (2 << 20) + 1]), vec![0; (2 << 20) + 1])]),
            &message,
            "422: Invalid CAR file: a section of ".into(),
        ),
        (
            "a wrong block",
            archive(root, &[(root, b"wrong".to_vec())]),
            &message,
            format!("422: Invalid CAR file: block {root} does not match"),
        ),
        (
            "a stray block",
            {
                let mut more = car.clone();
                more.extend(
                    &archive(root, &[(Cid::v1(Codec::Raw, b"stray"), b"stray".to_vec())])
                        [CarHeader::new(vec![root]).encode().len()..],
                );
                more
            },
            &message,
            "422: Invalid CAR file: 1 blocks are not part of the root's tree".into(),
        ),
    ];
    for (what, car, message, expected) in cases {
        let (status, told) = add_car(&node, &car, message).await;
        assert!(status == 422 && told.starts_with(&expected), "{what}: {status} {told}");
    }
    // Cut anywhere: between blocks a block is missing, inside one the archive is cut.
    for cut in (0..car.len()).step_by(car.len() / 40) {
        let (status, told) = add_car(&node, &car[..cut], &message).await;
        assert!(status == 422 && told.starts_with("422: Invalid CAR file: "), "{cut}: {status} {told}");
    }
    // Without its message, and with one of another kind.
    let form = Form::new().part("file", Part::bytes(car.clone()));
    let response = node.post("/api/v0/ipfs/add_car").multipart(form).send().await.unwrap();
    assert_eq!(response.text().await.unwrap(), "422: metadata is required for CAR upload");
    let raw = node.post("/api/v0/ipfs/add_car").body(car.clone()).send().await.unwrap();
    assert_eq!(raw.text().await.unwrap(), "400: Expected Content-Type: multipart/form-data");
    for store in [node.node.blobs.clone(), node.node.blobs.archives()] {
        assert_eq!(store.iter().count(), 0, "nothing stays");
    }
    assert_eq!(add_car(&node, &car, &message).await.0, 200);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bombs_cost_what_they_are() {
    let node = TestNode::start_with(|config| config.ipfs.archive_bytes = 3 << 20).await;
    let author = Author::new(1);
    let mut blocks = MemoryBlocks::default();
    // A file of a terabyte in ten blocks: it reads, and every part of it costs its depth.
    let leaf = file(Layout::KUBO_V1, b"x", &mut blocks);
    let mut below = (leaf.cid, 1u64);
    for _ in 0..6 {
        below = (node_of(&[below; 100], &mut blocks), below.1 * 100);
    }
    let message = store(&author, TIME, &below.0.to_string());
    let (status, answer) = add_car(&node, &car_of(below.0, &mut blocks), &message).await;
    assert_eq!(status, 200, "{answer}");
    let path = format!("/api/v0/storage/raw/{}", below.0);
    let head = node.client.head(format!("{}{path}", node.url)).send().await.unwrap();
    assert_eq!(head.headers()["content-length"], below.1.to_string());
    let part = node.get(&path).header("range", "bytes=700000000000-700000000003").send().await.unwrap();
    assert_eq!(part.text().await.unwrap(), "xxxx");
    // The same as content of a message, and in base64, is too long and not read.
    assert_eq!(node.text(&format!("/api/v0/storage/{}", below.0)).await.0, StatusCode::PAYLOAD_TOO_LARGE);
    let like = author.note(TIME, "c", json!(1));
    let by_hash = author.sign_by_hash(aleph_types::MessageType::Post, TIME, &below.0.to_string(), &like);
    assert_eq!(node.publish(&by_hash, true).await.status(), StatusCode::UNPROCESSABLE_ENTITY);

    // A file whose parts lie about their sizes.
    let lie = node_of(&[(leaf.cid, 5)], &mut blocks);
    let message = store(&author, TIME, &lie.to_string());
    let (status, told) = add_car(&node, &car_of(lie, &mut blocks), &message).await;
    assert!(status == 422 && told.contains("holds 1 bytes"), "{told}");

    // Directories in directories: kept, and listed as deep as anybody needs.
    let mut deep = leaf;
    for _ in 0..500 {
        let mut directory = DirectoryBuilder::new(Layout::KUBO_V0);
        directory.insert("d", &deep).unwrap();
        deep = directory.finish(&mut blocks).unwrap();
    }
    let message = store(&author, TIME, &deep.cid.to_string());
    assert_eq!(add_car(&node, &car_of(deep.cid, &mut blocks), &message).await.0, 200);
    let tar = node.get(&format!("/api/v0/storage/raw/{}", deep.cid)).send().await.unwrap();
    assert!(tar.bytes().await.is_err(), "it breaks off");
    let (status, _) = node.text(&format!("/api/v0/storage/raw/{}/{}", deep.cid, "d/".repeat(100))).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);

    // A directory that names one file a thousand times over and over.
    let mut wide = leaf;
    for _ in 0..5 {
        let mut directory = DirectoryBuilder::new(Layout::KUBO_V0);
        for index in 0..100 {
            directory.insert(&format!("{index}"), &wide).unwrap();
        }
        wide = directory.finish(&mut blocks).unwrap();
    }
    let message = store(&author, TIME, &wide.cid.to_string());
    assert_eq!(add_car(&node, &car_of(wide.cid, &mut blocks), &message).await.0, 200);

    // More than is taken.
    let mut blocks = MemoryBlocks::default();
    let mut state = 1u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 56) as u8
    };
    let noise: Vec<u8> = (0..4_000_000).map(|_| next()).collect();
    let large = file(Layout::KUBO_V1, &noise, &mut blocks).cid;
    let message = store(&author, TIME, &large.to_string());
    let (status, told) = add_car(&node, &car_of(large, &mut blocks), &message).await;
    assert!(
        status == 413 && told.starts_with("Maximum request body size 3145728 exceeded"),
        "{status} {told}"
    );
    assert!(node.ok("/api/v1/node/health").await["resident_memory_bytes"].as_u64().unwrap() < 400 << 20);
    node.stop().await;
}

/// A file node of children with these sizes.
fn node_of(children: &[(Cid, u64)], blocks: &mut MemoryBlocks) -> Cid {
    fn number(mut value: u64, out: &mut Vec<u8>) {
        while value > 127 {
            out.push(value as u8 | 0x80);
            value >>= 7;
        }
        out.push(value as u8);
    }
    fn field(tag: u8, bytes: &[u8], out: &mut Vec<u8>) {
        out.push(tag);
        number(bytes.len() as u64, out);
        out.extend(bytes);
    }
    let mut data = vec![0x08, 2, 0x18];
    number(children.iter().map(|(_, size)| size).sum(), &mut data);
    let mut block = Vec::new();
    for (cid, size) in children {
        data.push(0x20);
        number(*size, &mut data);
        let mut link = Vec::new();
        field(0x0a, &cid.to_bytes(), &mut link);
        field(0x12, b"", &mut link);
        link.push(0x18);
        number(*size, &mut link);
        field(0x12, &link, &mut block);
    }
    field(0x0a, &data, &mut block);
    let cid = Cid::v0(&block);
    blocks.put(&cid, &block).unwrap();
    cid
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_is_added_as_ipfs_does_it() {
    let node = TestNode::start().await;
    let author = Author::new(1);
    let add = |query: &'static str, parts: Vec<(&'static str, &'static str, Vec<u8>)>| {
        let form = parts.into_iter().fold(Form::new().percent_encode_noop(), |form, (name, kind, bytes)| {
            let part = Part::bytes(bytes).file_name(name).mime_str(kind).unwrap();
            form.part("file", part)
        });
        node.post(&format!("/api/v0/add?{query}")).multipart(form).send()
    };
    let lines = |text: String| -> Vec<Value> {
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    let (file, directory) = ("application/octet-stream", "application/x-directory");
    for (query, layout) in [("", Layout::KUBO_V0), ("cid-version=1&pin=true", Layout::KUBO_V1)] {
        let (root, _, files) = site(layout);
        let parts = vec![
            ("site", directory, Vec::new()),
            ("site%2Findex.html", file, files["index.html"].clone()),
            ("site/data", directory, Vec::new()),
            ("site/data/large.bin", file, files["data/large.bin"].clone()),
            ("site/data/empty", file, Vec::new()),
            ("site/data/link", "application/symlink", b"../index.html".to_vec()),
        ];
        let answer = add(query, parts).await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
        let told = lines(answer.text().await.unwrap());
        let last = told.last().unwrap();
        assert_eq!((&last["Name"], &last["Hash"]), (&json!("site"), &json!(root.to_string())));
        assert_eq!(told.len(), 5);
        assert_eq!(
            bytes(&node, &format!("/api/v0/storage/raw/{root}/data/large.bin")).await,
            files["data/large.bin"]
        );
        assert_eq!(node.ok(&format!("/api/v0/storage/count/{root}")).await, json!(1));
        node.process(&[&store(&author, TIME, &root.to_string())]).await;
    }
    // One folder around everything, and files alone.
    let wrapped =
        add("wrap-with-directory=true", vec![("a b.txt", file, b"a".to_vec()), ("c/d", file, b"d".to_vec())]);
    let told = lines(wrapped.await.unwrap().text().await.unwrap());
    let root = told.last().unwrap();
    assert_eq!(root["Name"], "");
    let root = root["Hash"].as_str().unwrap();
    assert_eq!(bytes(&node, &format!("/api/v0/storage/raw/{root}/c/d")).await, b"d");
    let told = lines(
        add("cid-version=1", vec![("one", file, b"1".to_vec()), ("two", file, b"2".to_vec())])
            .await
            .unwrap()
            .text()
            .await
            .unwrap(),
    );
    assert_eq!(told.len(), 2);
    assert_eq!(
        bytes(&node, &format!("/api/v0/storage/raw/{}", told[0]["Hash"].as_str().unwrap())).await,
        b"1"
    );
    for (query, name, status) in [
        ("", "../up", 400),
        ("", "a//b", 400),
        ("", "%zz", 400),
        ("cid-version=2", "a", 422),
        ("trickle=true", "a", 400),
        ("chunker=size-1", "a", 400),
        ("", ".", 400),
    ] {
        let answer = add(query, vec![(name, file, Vec::new())]).await.unwrap();
        assert_eq!(answer.status().as_u16(), status, "{query} {name}");
    }
    let twice = add("", vec![("t/x", file, Vec::new()), ("t", file, Vec::new())]).await.unwrap();
    assert_eq!(twice.status(), StatusCode::BAD_REQUEST);
    let large = add("", vec![("t", file, vec![0; 26_214_401])]).await.unwrap();
    assert_eq!(large.status(), StatusCode::PAYLOAD_TOO_LARGE);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_archive_in_pieces() {
    let node = TestNode::start().await;
    let author = Author::new(1);
    let (root, car, files) = site(Layout::KUBO_V0);
    let message = store(&author, TIME, &root.to_string());
    let text = json!({ "message": message, "sync": true }).to_string();
    let tus = |method: Method, path: &str| {
        node.client.request(method, format!("{}{path}", node.url)).header("tus-resumable", "1.0.0")
    };
    for (archive, status) in [(car[..car.len() - 1].to_vec(), 422), (car.clone(), 204)] {
        let begun = tus(Method::POST, "/api/v1/uploads")
            .header("upload-length", archive.len())
            .header(
                "upload-metadata",
                format!("message {},car", base64::engine::general_purpose::STANDARD.encode(&text)),
            )
            .send()
            .await
            .unwrap();
        let place = begun.headers()["location"].to_str().unwrap().to_owned();
        let sent = tus(Method::PATCH, &place)
            .header("upload-offset", 0)
            .header("content-type", "application/offset+octet-stream")
            .body(archive)
            .send()
            .await
            .unwrap();
        assert_eq!(sent.status().as_u16(), status);
    }
    assert_eq!(bytes(&node, &format!("/api/v0/storage/raw/{root}/index.html")).await, files["index.html"]);
    node.stop().await;
}
