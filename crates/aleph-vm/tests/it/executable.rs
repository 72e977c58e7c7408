//! Any program that listens on $PORT, in the small runtime.

use aleph_vm::Phase;

use crate::host::{get, host, log_text, stop};

const SCRIPT: &str = r#"#!/bin/sh
echo "args: $*"
mkdir -p /tmp/www
echo "served on $PORT" > /tmp/www/index.html
exec httpd -f -p "127.0.0.1:$PORT" -h /tmp/www
"#;

#[tokio::test]
async fn an_executable_serves_http() {
    let Some(host) = host() else { return };
    let vm = host.start(&host.script("exe", "executable", SCRIPT)).await;
    let answer = get(vm.http_addr(), "/").await;
    assert_eq!((answer.status, answer.text().as_str()), (200, "served on 8080\n"));
    assert!(log_text(&vm).await.contains("Stdout: args: hello"));
    assert_eq!(stop(&vm).await.phase, Phase::Stopped);
}
