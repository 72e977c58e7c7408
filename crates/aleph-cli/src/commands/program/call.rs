use std::io::{self, Read};
use std::process::ExitCode;
use std::time::Duration;

use aleph_sdk::ProgramRequest;
use aleph_types::ItemHash;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use clap::Args;
use reqwest::Method;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use serde_json::{Map, Value, json};

use super::compute_node;
use crate::context::Context;
use crate::error::{CliError, CliResult};

/// Compute nodes take request bodies up to 1 MiB (`spec: crn-api.md §1`).
const LARGEST_BODY: u64 = 1024 * 1024;

/// Longest answer that `--json` shows.
const LARGEST_ANSWER: usize = 64 * 1024 * 1024;

/// Send an HTTP request to a program and show its answer
///
/// Ends with 1 when the answer's status is 400 or above; the answer is shown all the same.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  aleph program call HASH
  aleph program call HASH /entries -X POST -H 'content-type: application/json' -d '{\"text\": \"hi\"}'
  aleph program call HASH /report --include > report.txt")]
pub(crate) struct Arguments {
    /// The program
    hash: ItemHash,
    /// Path and query
    #[arg(default_value = "/")]
    path: String,
    /// HTTP method [default: GET, or POST with a body]
    #[arg(long, short = 'X', value_name = "METHOD")]
    method: Option<Method>,
    /// Header; may be given several times
    #[arg(long = "header", short = 'H', value_name = "NAME: VALUE", value_parser = header)]
    headers: Vec<(HeaderName, HeaderValue)>,
    /// Body: text, `@PATH` of a file, or `-` for stdin
    #[arg(long, short, value_name = "BODY")]
    data: Option<String>,
    /// Show status and headers as well
    #[arg(long, short)]
    include: bool,
    /// Longest wait in seconds; the first call boots the program
    #[arg(long, value_name = "SECONDS", default_value_t = 120)]
    wait: u64,
    /// Compute node to call, instead of the one that the network chose
    #[arg(long, value_name = "URL")]
    on: Option<String>,
}

fn header(text: &str) -> Result<(HeaderName, HeaderValue), String> {
    let (name, value) = text.split_once(':').ok_or("expected 'name: value'")?;
    let name = name.trim().parse().map_err(|_| format!("'{name}' can't be the name of a header"))?;
    let value = value.trim().parse().map_err(|_| "the value can't be in a header".to_owned())?;
    Ok((name, value))
}

fn read_body(data: &str) -> CliResult<Bytes> {
    let mut body = Vec::new();
    let read = match data.strip_prefix('@') {
        Some(path) => std::fs::File::open(path)
            .and_then(|file| file.take(LARGEST_BODY + 1).read_to_end(&mut body))
            .map_err(|error| CliError::file("read", path.as_ref(), &error))?,
        None if data == "-" => io::stdin()
            .lock()
            .take(LARGEST_BODY + 1)
            .read_to_end(&mut body)
            .map_err(|error| CliError::failure("can't read stdin").cause(error.to_string()))?,
        None => {
            body.extend_from_slice(data.as_bytes());
            body.len()
        }
    };
    if read as u64 > LARGEST_BODY {
        return Err(CliError::usage("the body is larger than 1 MiB, the most that programs are sent")
            .hint("store it with `aleph file upload` and send its hash"));
    }
    Ok(body.into())
}

pub(super) async fn run(arguments: &Arguments, context: &Context) -> CliResult<ExitCode> {
    let body = arguments.data.as_deref().map(read_body).transpose()?;
    let usual = if body.is_some() { Method::POST } else { Method::GET };
    let request = ProgramRequest {
        method: arguments.method.clone().unwrap_or(usual),
        path: arguments.path.clone(),
        headers: arguments.headers.iter().cloned().collect::<HeaderMap>(),
        body: body.unwrap_or_default(),
        timeout: Duration::from_secs(arguments.wait),
    };
    let client = match &arguments.on {
        // A given compute node needs no core node.
        Some(url) => return answer(arguments, context, aleph_sdk::ComputeNode::new(url)?, request).await,
        None => context.client()?,
    };
    let compute = compute_node(&client, &arguments.hash, None).await?;
    answer(arguments, context, compute, request).await
}

async fn answer(
    arguments: &Arguments,
    context: &Context,
    compute: aleph_sdk::ComputeNode,
    request: ProgramRequest,
) -> CliResult<ExitCode> {
    let mut answer = compute.call(&arguments.hash, request).await?;
    let status = answer.status;
    let code = if status.as_u16() >= 400 { ExitCode::FAILURE } else { ExitCode::SUCCESS };
    let out = &context.out;
    if out.json {
        let mut headers = Map::new();
        for (name, value) in &answer.headers {
            headers.insert(name.to_string(), Value::from(String::from_utf8_lossy(value.as_bytes())));
        }
        let from_program = answer.from_program;
        let body = answer.bytes(LARGEST_ANSWER).await?;
        let (text, base64) = match String::from_utf8(body) {
            Ok(text) => (Value::from(text), Value::Null),
            Err(error) => (Value::Null, Value::from(STANDARD.encode(error.as_bytes()))),
        };
        out.document(&json!({
            "status": status.as_u16(),
            "from_program": from_program,
            "headers": headers,
            "body": text,
            "body_base64": base64,
        }))?;
        return Ok(code);
    }
    if arguments.include {
        out.line(format!("HTTP {status}"))?;
        for (name, value) in &answer.headers {
            out.line(format!("{name}: {}", String::from_utf8_lossy(value.as_bytes())))?;
        }
        out.line("")?;
    }
    while let Some(chunk) = answer.chunk().await? {
        out.bytes(&chunk)?;
    }
    if status.as_u16() >= 400 && !arguments.include {
        context.out.note(format!("the answer's status is {status}"));
    }
    Ok(code)
}
