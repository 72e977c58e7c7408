//! Answers and bodies as the document describes them. The handlers write them directly.

#![allow(dead_code, reason = "described, never made")]

use std::collections::BTreeMap;

use serde_json::Value;
use utoipa::ToSchema;
use utoipa::openapi::schema::{AnyOfBuilder, ObjectBuilder, SchemaType};

use super::params::{PaymentWord, StatusWord, TypeWord};

/// A transaction that holds the message.
#[derive(Debug, ToSchema)]
pub(in crate::api) struct Confirmation {
    chain: String,
    hash: String,
    height: u64,
}

/// A message with its content.
#[derive(Debug, ToSchema)]
pub(in crate::api) struct Message {
    sender: String,
    /// Code of the chain whose key signed.
    chain: String,
    #[schema(required)]
    signature: Option<String>,
    #[schema(inline)]
    r#type: TypeWord,
    item_hash: String,
    /// `inline`, `storage` or `ipfs`.
    item_type: String,
    /// The signed text of the content, if it is inline.
    #[schema(required)]
    item_content: Option<String>,
    /// Seconds since 1970.
    time: f64,
    #[schema(required)]
    channel: Option<String>,
    /// Bytes of the content; in lists.
    size: Option<u64>,
    /// By the message's type; absent with `contentFormat=none`.
    content: Option<Value>,
    confirmed: Option<bool>,
    confirmations: Option<Vec<Confirmation>>,
}

/// A page of messages.
#[derive(Debug, ToSchema)]
pub(in crate::api) struct MessagesPage {
    /// Messages; skeletons without content with `msgStatuses=forgotten` or `removed`.
    messages: Vec<Value>,
    pagination_per_page: u64,
    pagination_page: Option<u64>,
    /// At most five minutes old.
    pagination_total: Option<u64>,
    pagination_item: Option<String>,
    /// With a cursor: where the next page starts; null at the end.
    next_cursor: Option<String>,
}

/// A page of item hashes.
#[derive(Debug, ToSchema)]
pub(in crate::api) struct HashesPage {
    /// Hashes, or objects with `status`, `item_hash` and `reception_time`.
    hashes: Vec<Value>,
    pagination_per_page: u64,
    pagination_page: u64,
    pagination_total: u64,
    pagination_item: String,
}

/// What became of a message.
#[derive(Debug, ToSchema)]
pub(in crate::api) struct MessageStatusAnswer {
    #[schema(inline)]
    status: StatusWord,
    item_hash: String,
    /// When it came here, ISO 8601.
    reception_time: String,
}

/// A message and what became of it.
#[derive(Debug, ToSchema)]
#[schema(as = MessageFate)]
pub(in crate::api) struct MessageFateAnswer {
    #[schema(inline)]
    status: StatusWord,
    item_hash: String,
    reception_time: String,
    /// Unless it is pending.
    message: Option<Value>,
    /// Of a pending message: its copies, one for each sender and signature.
    messages: Option<Vec<Value>>,
    /// Of a forgotten message.
    forgotten_by: Option<Vec<String>>,
    /// Of a rejected message: see the list of codes in the reference.
    error_code: Option<i64>,
    /// Of a rejected message.
    details: Option<Value>,
    /// Of a message that is not paid for any more.
    reason: Option<String>,
    /// Seconds since 1970.
    removed_at: Option<f64>,
    /// Bytes of the file of a removed message.
    size: Option<u64>,
}

/// A message to publish.
#[derive(Debug, ToSchema)]
pub(in crate::api) struct PublishRequest {
    message: NewMessage,
    /// Wait until its fate is final, for 30 seconds at most.
    #[schema(default = false)]
    sync: Option<bool>,
}

/// A signed message.
#[derive(Debug, ToSchema)]
pub(in crate::api) struct NewMessage {
    sender: String,
    chain: String,
    signature: Option<String>,
    #[schema(inline)]
    r#type: TypeWord,
    /// sha256 of `item_content`, in hexadecimal; or the hash of the content elsewhere.
    item_hash: String,
    item_type: Option<String>,
    /// JSON, at most 200,000 characters.
    item_content: Option<String>,
    /// Seconds since 1970.
    time: f64,
    channel: Option<String>,
}

/// How the publication went.
#[derive(Debug, ToSchema)]
pub(in crate::api) struct Publication {
    /// `success`, `warning` or `error`.
    status: String,
    failed: Vec<String>,
}

/// How the publication went, and what became of the message so far.
#[derive(Debug, ToSchema)]
pub(in crate::api) struct PublishAnswer {
    publication_status: Publication,
    #[schema(inline, required)]
    message_status: Option<StatusWord>,
    /// Of a rejected message: the code of the refusal.
    error_code: Option<i16>,
    /// Of a rejected message: what and where, `{"errors": […]}` as a rule.
    details: Option<Value>,
    /// Of a rejected message: the refusal in words.
    explanation: Option<String>,
}

/// A message for the peer-to-peer network, as old clients send it.
#[derive(Debug, ToSchema)]
pub(in crate::api) struct PubSubRequest {
    /// The network's topic.
    topic: String,
    /// The message as JSON text.
    data: String,
}

/// A page of posts in the older shape.
#[derive(Debug, ToSchema)]
pub(in crate::api) struct PostsPage {
    posts: Vec<Post>,
    pagination_per_page: u64,
    pagination_page: Option<u64>,
    pagination_total: Option<u64>,
    pagination_item: Option<String>,
    /// With a cursor: where the next page starts; null at the end.
    next_cursor: Option<String>,
}

/// An original with its latest amendment.
#[derive(Debug, ToSchema)]
pub(in crate::api) struct Post {
    /// Of the latest version.
    item_hash: String,
    #[schema(required)]
    content: Value,
    original_item_hash: String,
    original_type: String,
    /// The owner.
    address: String,
    #[schema(required)]
    r#ref: Option<String>,
    #[schema(required)]
    channel: Option<String>,
    created: String,
    last_updated: String,
}

/// A page of posts in the older shape.
#[derive(Debug, ToSchema)]
pub(in crate::api) struct PostsPageV0 {
    posts: Vec<PostV0>,
    pagination_per_page: u64,
    pagination_page: Option<u64>,
    pagination_total: Option<u64>,
    pagination_item: Option<String>,
    next_cursor: Option<String>,
}

/// An original with its latest amendment, in the older shape.
#[derive(Debug, ToSchema)]
pub(in crate::api) struct PostV0 {
    chain: String,
    item_hash: String,
    sender: String,
    r#type: String,
    #[schema(required)]
    channel: Option<String>,
    confirmed: bool,
    #[schema(required)]
    content: Value,
    #[schema(required)]
    item_content: Option<String>,
    item_type: String,
    #[schema(required)]
    signature: Option<String>,
    size: u64,
    time: f64,
    confirmations: Vec<Confirmation>,
    original_item_hash: String,
    #[schema(required)]
    original_signature: Option<String>,
    original_type: String,
    hash: String,
    address: String,
    #[schema(required)]
    r#ref: Option<String>,
}

/// The aggregates of an owner.
#[derive(Debug, ToSchema)]
pub(in crate::api) struct AggregatesOfOwner {
    address: String,
    /// Values by key.
    data: BTreeMap<String, Value>,
    /// With `with_info`, times and hashes by key.
    info: BTreeMap<String, AggregateInfo>,
}

/// The aggregates of an owner; with `value_only` and one key the value itself, which may be anything.
#[derive(Debug)]
pub(in crate::api) struct AggregatesAnswer;

impl utoipa::PartialSchema for AggregatesAnswer {
    fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::Schema> {
        let value = ObjectBuilder::new().schema_type(SchemaType::AnyValue).description(Some("The value."));
        let all = utoipa::openapi::Ref::from_schema_name(AggregatesOfOwner::name());
        AnyOfBuilder::new().item(all).item(value).into()
    }
}

impl ToSchema for AggregatesAnswer {
    fn schemas(schemas: &mut Vec<(String, utoipa::openapi::RefOr<utoipa::openapi::Schema>)>) {
        let all = <AggregatesOfOwner as utoipa::PartialSchema>::schema();
        schemas.push((AggregatesOfOwner::name().into(), all));
        <AggregatesOfOwner as ToSchema>::schemas(schemas);
    }
}

/// When a key was made and changed, and by which messages.
#[derive(Debug, ToSchema)]
pub(in crate::api) struct AggregateInfo {
    created: String,
    last_updated: String,
    original_item_hash: String,
    last_update_item_hash: String,
}

/// A page of aggregates.
#[derive(Debug, ToSchema)]
pub(in crate::api) struct AggregatesPage {
    aggregates: Vec<Aggregate>,
    pagination_per_page: u64,
    pagination_page: Option<u64>,
    pagination_total: Option<u64>,
    pagination_item: Option<String>,
    next_cursor: Option<String>,
}

/// A key of an owner.
#[derive(Debug, ToSchema)]
pub(in crate::api) struct Aggregate {
    address: String,
    key: String,
    content: BTreeMap<String, Value>,
    created: String,
    last_updated: String,
}

/// Permissions by the address on the other side.
#[derive(Debug, ToSchema)]
pub(in crate::api) struct AuthorizationsPage {
    authorizations: BTreeMap<String, Vec<BTreeMap<String, Value>>>,
    pagination_page: u64,
    pagination_per_page: u64,
    pagination_total: u64,
    pagination_item: String,
    address: String,
}

/// Numbers of messages by type.
#[derive(Debug, ToSchema)]
pub(in crate::api) struct AddressCounts {
    /// Of all types.
    messages: u64,
    aggregate: u64,
    forget: u64,
    instance: u64,
    post: u64,
    program: u64,
    store: u64,
}

/// Numbers of messages by sender.
#[derive(Debug, ToSchema)]
pub(in crate::api) struct AddressStats {
    data: BTreeMap<String, AddressCounts>,
    pagination_per_page: Option<u64>,
    pagination_page: Option<u64>,
    pagination_total: Option<u64>,
    pagination_item: Option<String>,
    next_cursor: Option<String>,
}

/// What an address has.
#[derive(Debug, ToSchema)]
pub(in crate::api) struct BalanceAnswer {
    address: String,
    /// Tokens, summed over chains.
    balance: f64,
    /// Tokens by chain.
    details: BTreeMap<String, f64>,
    locked_amount: f64,
    credit_balance: i64,
    #[schema(required)]
    credit_balance_details: Option<Vec<Value>>,
}

/// A file of an owner.
#[derive(Debug, ToSchema)]
pub(in crate::api) struct AccountFile {
    file_hash: String,
    size: u64,
    /// `file` or `dir`.
    r#type: String,
    /// ISO 8601; seconds since 1970 with a cursor.
    #[schema(required)]
    created: Value,
    /// The STORE message.
    item_hash: String,
}

/// The files of an owner.
#[derive(Debug, ToSchema)]
pub(in crate::api) struct AccountFiles {
    address: String,
    /// Bytes of all files.
    total_size: f64,
    files: Vec<AccountFile>,
    pagination_per_page: u64,
    pagination_page: Option<u64>,
    pagination_total: Option<u64>,
    next_cursor: Option<String>,
}

/// The post types that a sender used.
#[derive(Debug, ToSchema)]
pub(in crate::api) struct PostTypes {
    address: String,
    post_types: Vec<String>,
}

/// The channels that a sender used.
#[derive(Debug, ToSchema)]
pub(in crate::api) struct AddressChannels {
    address: String,
    channels: Vec<String>,
}

/// All channels.
#[derive(Debug, ToSchema)]
pub(in crate::api) struct Channels {
    channels: Vec<String>,
}

/// What a resource costs.
#[derive(Debug, ToSchema)]
pub(in crate::api) struct Price {
    /// In the unit of the payment type; credits and streams are for a second.
    required_tokens: f64,
    #[schema(inline)]
    payment_type: PaymentWord,
    /// Decimal, 18 digits after the point.
    cost: String,
    detail: Vec<Value>,
    charged_address: String,
}

/// Tokens of an account on one chain.
#[derive(Debug, ToSchema)]
pub(in crate::api) struct AccountBalance {
    address: String,
    balance: f64,
    chain: String,
}

/// Balances of all accounts.
#[derive(Debug, ToSchema)]
pub(in crate::api) struct BalancesPage {
    balances: Vec<AccountBalance>,
    pagination_per_page: u64,
    pagination_page: Option<u64>,
    /// At most five minutes old.
    pagination_total: Option<u64>,
    pagination_item: Option<String>,
    /// With a cursor: where the next page starts; null at the end.
    next_cursor: Option<String>,
}

/// Sums over resources. Amounts are decimal, 18 digits after the point.
#[derive(Debug, ToSchema)]
pub(in crate::api) struct CostsSummary {
    /// Of every way to pay.
    total_consumed_credits: u64,
    total_cost_hold: String,
    total_cost_stream: String,
    total_cost_credit: String,
    resource_count: u64,
}

/// What was asked for.
#[derive(Debug, ToSchema)]
pub(in crate::api) struct CostsFilters {
    address: Option<String>,
    item_hash: Option<String>,
    payment_type: String,
}

/// What one resource costs.
#[derive(Debug, ToSchema)]
pub(in crate::api) struct ResourceCosts {
    item_hash: String,
    owner: String,
    payment_type: String,
    consumed_credits: u64,
    cost_hold: String,
    cost_stream: String,
    cost_credit: String,
    /// With `include_details=2`.
    detail: Option<Vec<Value>>,
}

/// What resources cost.
#[derive(Debug, ToSchema)]
pub(in crate::api) struct CostsAnswer {
    summary: CostsSummary,
    filters: CostsFilters,
    /// With `include_details` of 1 and 2.
    resources: Option<Vec<ResourceCosts>>,
    pagination_page: Option<u64>,
    pagination_total: Option<u64>,
    pagination_per_page: Option<u64>,
    pagination_item: Option<String>,
}

/// A message whose costs could not be computed anew.
#[derive(Debug, ToSchema)]
pub(in crate::api) struct RecalculationError {
    item_hash: String,
    error: String,
}

/// What a recalculation did.
#[derive(Debug, ToSchema)]
pub(in crate::api) struct Recalculation {
    message: String,
    recalculated_count: u64,
    total_messages: u64,
    /// The prices that the network began with count as one.
    pricing_changes_found: Option<u64>,
    /// The first thousand; absent without any.
    errors: Option<Vec<RecalculationError>>,
}

/// A message whose price is asked for.
#[derive(Debug, ToSchema)]
pub(in crate::api) struct PriceRequest {
    message: Value,
}

/// Where a file was put.
#[derive(Debug, ToSchema)]
pub(in crate::api) struct StoredFile {
    /// `success`.
    status: String,
    hash: String,
    /// Of IPFS uploads.
    name: Option<String>,
    size: Option<u64>,
}

/// A file, and the signed message that stores it.
#[derive(Debug, ToSchema)]
pub(in crate::api) struct FileForm {
    #[schema(format = Binary, content_media_type = "application/octet-stream")]
    file: String,
    /// JSON: `{"message": <signed STORE>, "sync": <bool>}`.
    metadata: Option<String>,
}

/// An archive, and the signed message that stores what it holds.
#[derive(Debug, ToSchema)]
pub(in crate::api) struct ArchiveForm {
    #[schema(format = Binary, content_media_type = "application/vnd.ipld.car")]
    file: String,
    /// JSON: `{"message": <signed STORE of item_type ipfs>, "sync": <bool>}`.
    metadata: String,
}

/// Bytes that uploads may have.
#[derive(Debug, ToSchema)]
pub(in crate::api) struct UploadLimits {
    storage: StorageLimits,
    ipfs: IpfsLimits,
}

/// Bytes of files.
#[derive(Debug, ToSchema)]
pub(in crate::api) struct StorageLimits {
    max_file_size: u64,
    max_unauthenticated_upload_file_size: u64,
}

/// Bytes of files that are addressed by CID.
#[derive(Debug, ToSchema)]
pub(in crate::api) struct IpfsLimits {
    max_upload_file_size: u64,
    max_upload_car_size: u64,
    max_unauthenticated_upload_file_size: u64,
}

/// A file in base64.
#[derive(Debug, ToSchema)]
pub(in crate::api) struct Base64File {
    status: String,
    hash: String,
    /// `storage` or `ipfs`.
    engine: String,
    /// In lines of 76 characters.
    content: String,
}

/// How an upload is.
#[derive(Debug, ToSchema)]
pub(in crate::api) struct UploadState {
    id: String,
    /// Bytes that arrived.
    offset: u64,
    /// Bytes of the whole file.
    length: u64,
    /// When it is thrown away, ISO 8601.
    expires: String,
    finished: bool,
    #[schema(required)]
    file_hash: Option<String>,
    /// What became of the STORE message that came with it.
    #[schema(required)]
    message_status: Option<String>,
}

/// What is known about a file.
#[derive(Debug, ToSchema)]
pub(in crate::api) struct FileMetadata {
    file_hash: String,
    /// `file` or `dir`.
    r#type: String,
    size: u64,
    download_url: String,
}

/// A version of a file with its reference.
#[derive(Debug, ToSchema)]
#[schema(as = FileVersion)]
pub(in crate::api) struct FileVersionAnswer {
    r#ref: String,
    owner: String,
    file_hash: String,
    download_url: String,
    size: u64,
}

/// The node's version.
#[derive(Debug, ToSchema)]
pub(in crate::api) struct Version {
    version: String,
}

/// Where other nodes reach this one.
#[derive(Debug, ToSchema)]
pub(in crate::api) struct PublicInfo {
    node_multi_addresses: Vec<String>,
}

/// A program that listens to messages.
#[derive(Debug, ToSchema)]
pub(in crate::api) struct ProgramOnMessage {
    item_hash: String,
    content: Value,
}

/// Something that needs attention.
#[derive(Debug, ToSchema)]
pub(in crate::api) struct Problem {
    /// What is wrong.
    what: String,
    /// What to do.
    next: String,
}

/// How the node is.
#[derive(Debug, ToSchema)]
pub(in crate::api) struct Health {
    /// `ok` or `attention`.
    status: String,
    problems: Vec<Problem>,
    /// What may be meant and may be a mistake, such as posts of publishers that are not configured.
    notes: Vec<Problem>,
    version: String,
    uptime_seconds: u64,
    messages: u64,
    pending_messages: u64,
    #[schema(required)]
    peers: Option<u64>,
    database_bytes: u64,
    #[schema(required)]
    resident_memory_bytes: Option<u64>,
}

/// What the node lacks, and what to do.
#[derive(Debug, ToSchema)]
pub(in crate::api) struct NodeSync {
    /// `in sync`, `catching up`, `unreachable` or `alone`.
    status: String,
    /// Why nothing can be stored now.
    #[schema(required)]
    blocked: Option<String>,
    words: Vec<String>,
    problems: Vec<Problem>,
    messages: u64,
    pending_messages: u64,
    /// Messages that came from comparing with other nodes since the start.
    caught_up: u64,
    /// The last place in this node's order of processing.
    log_end: i64,
    #[schema(required)]
    gossip_peers: Option<u64>,
    peers: Vec<PeerSync>,
}

/// Where catching up with another node stands. What is counted is of the present comparison, or the last.
#[derive(Debug, ToSchema)]
pub(in crate::api) struct PeerSync {
    /// Its base URL, or `/p2p/…` if it tells none.
    url: String,
    /// How it was asked: `libp2p` or `http`.
    #[schema(required)]
    via: Option<String>,
    words: String,
    /// Whether the last comparison came to its end.
    compared: bool,
    /// Whether it is a node of another kind, which can't be asked.
    foreign: bool,
    /// Messages that it has accepted.
    known: u64,
    /// Messages that were found lacking here.
    wanted: u64,
    /// Of those, how many came.
    fetched: u64,
    /// Of those, how many were verified and decided.
    verified: u64,
    /// Of those, how many are stored.
    stored: u64,
    /// How many wait for a file, a content or another message.
    waiting: u64,
    /// How many were refused.
    refused: u64,
    /// Messages decided a second over the last ten seconds, while a comparison is under way.
    #[schema(required)]
    rate: Option<f64>,
    /// Until what is known to be lacking is here, at that rate.
    #[schema(required)]
    seconds_left: Option<f64>,
    #[schema(required)]
    seconds_since_last_answer: Option<u64>,
    #[schema(required)]
    error: Option<String>,
}

/// Who the node gossips with.
#[derive(Debug, ToSchema)]
pub(in crate::api) struct NodePeers {
    /// Whether it gossips at all; without, only `words` and empty lists are here.
    enabled: bool,
    peer_id: Option<String>,
    listening: Option<Vec<String>>,
    words: Vec<String>,
    /// The longest connected first.
    connected: Vec<ConnectedPeer>,
    /// Peers that did something wrong and are not connected, the worst first: shunned ones, and authors
    /// that only others are connected to.
    faulty: Vec<PeerStanding>,
    /// What believed peers announced within a day.
    known: Vec<KnownAddress>,
    /// Messages since the start: new ones, …
    received: Option<u64>,
    /// … judged well and passed on,
    accepted: Option<u64>,
    /// … that can't be valid for anyone,
    rejected: Option<u64>,
    /// … dropped without blame,
    ignored: Option<u64>,
    /// … judged well too late to be passed on.
    late: Option<u64>,
    /// Messages published by this node, …
    published: Option<u64>,
    /// … given up because nobody listened,
    unheard: Option<u64>,
    /// … not taken by a slow peer; one may count for several.
    missed: Option<u64>,
    failed_dials: Option<u64>,
    refused_connections: Option<u64>,
    shunned_peers: Option<u64>,
    shunned_addresses: Option<u64>,
    /// Peers of which it is remembered how they stand.
    remembered_peers: Option<u64>,
    /// Payloads that were no message.
    garbage: Option<u64>,
    /// Refusals that were not stored because there were too many.
    unrecorded: Option<u64>,
}

/// How a peer stands with the node.
#[derive(Debug, ToSchema)]
pub(in crate::api) struct PeerStanding {
    peer: String,
    /// `configured`, `listed`, `member` (everybody in some private networks) or `stranger`.
    trust: String,
    /// From 100, nothing against it, to 0.
    score: f64,
    /// The worst first.
    faults: Vec<PeerFault>,
    /// Messages that came from it first and were judged well.
    useful: u64,
    /// Messages of its own that were dropped because it published too many.
    dropped: u64,
    #[schema(required)]
    shunned_seconds: Option<u64>,
    #[schema(required)]
    last_address: Option<String>,
}

/// What a peer did wrong.
#[derive(Debug, ToSchema)]
pub(in crate::api) struct PeerFault {
    fault: String,
    count: u64,
    last: String,
    words: String,
}

/// A connected peer.
#[derive(Debug, ToSchema)]
pub(in crate::api) struct ConnectedPeer {
    peer: String,
    trust: String,
    score: f64,
    faults: Vec<PeerFault>,
    useful: u64,
    dropped: u64,
    #[schema(required)]
    shunned_seconds: Option<u64>,
    #[schema(required)]
    last_address: Option<String>,
    /// The address of each connection, the oldest first.
    addresses: Vec<String>,
    since: String,
    /// Whether this node dialled it.
    dialled: bool,
    /// Whether it gets what this node publishes.
    listens: bool,
    #[schema(required)]
    round_trip_ms: Option<f64>,
    #[schema(required)]
    last_message: Option<String>,
    /// New messages that came from it first, …
    messages: u64,
    /// … and those of them that were rejected.
    rejected: u64,
    /// Messages that it was too slow to take.
    missed: u64,
}

/// An announced address.
#[derive(Debug, ToSchema)]
pub(in crate::api) struct KnownAddress {
    peer: String,
    /// `P2P`, `HTTP` or `IPFS`.
    kind: String,
    address: String,
    seconds_ago: u64,
}

/// The state in one hash.
#[derive(Debug, ToSchema)]
pub(in crate::api) struct Digest {
    digest: String,
    messages: u64,
    /// A hash for each table.
    parts: BTreeMap<String, Value>,
    /// Rows of each table.
    rows: BTreeMap<String, u64>,
    /// With `recompute`: the same from the tables.
    recomputed: Option<Value>,
    /// With `recompute`: whether they agree.
    sound: Option<bool>,
}

/// Measurements of a node in parallel lists, one for each column.
#[derive(Debug, ToSchema)]
pub(in crate::api) struct NodeMetrics {
    metrics: BTreeMap<String, Vec<Value>>,
}
