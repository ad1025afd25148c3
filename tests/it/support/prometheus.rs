//! A real Prometheus, on a free port, in a temporary folder, that scrapes some servers.

use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;
use tokio::time::{interval, timeout};

use super::http;
use super::process::{DEADLINE, Process, Stream};
use super::tools;

/// A running one. Killed when it is dropped.
#[derive(Debug)]
pub struct Prometheus {
    _process: Process,
    _folder: TempDir,
    address: SocketAddr,
}

const CONFIG: &str = "
global: { scrape_interval: 500ms, evaluation_interval: 500ms }
rule_files: [rules.yaml]
scrape_configs:
  - job_name: pointsman
    static_configs: [{ targets: TARGETS }]
";

impl Prometheus {
    /// Starts one that scrapes these servers and evaluates these rules.
    pub async fn start(targets: &[SocketAddr], rules: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let targets = serde_json::json!(targets).to_string();
        let at = |name: &str| folder.path().join(name);
        std::fs::write(at("prometheus.yaml"), CONFIG.replace("TARGETS", &targets)).unwrap();
        std::fs::write(at("rules.yaml"), rules).unwrap();
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let mut command = tools::prometheus();
        command.current_dir(folder.path()).args(["--config.file=prometheus.yaml", "--storage.tsdb.path=data"]);
        command.arg(format!("--web.listen-address={address}"));
        let process = Process::start("prometheus", &mut command, Stream::Stderr);
        process
            .wait_for("that it is ready", |lines| {
                lines.iter().any(|line| line.contains("Server is ready to receive web requests")).then_some(())
            })
            .await;
        Self { _process: process, _folder: folder, address }
    }

    /// Waits until it has read the metrics of each so many times.
    pub async fn until_scraped(&self, times: u32) {
        // Nothing tells of a scrape but asking.
        let mut ticks = interval(Duration::from_millis(50));
        let mut said = String::new();
        let scraped = async {
            loop {
                let result = self.query("min(count_over_time(up[5m]) * min_over_time(up[5m]))").await;
                let count = result.first().and_then(|sample| sample["value"][1].as_str()?.parse::<f64>().ok());
                if count.is_some_and(|count| count >= f64::from(times)) {
                    return;
                }
                said = self.get("/api/v1/targets").await["data"]["activeTargets"].to_string();
                ticks.tick().await;
            }
        };
        let scraped = timeout(DEADLINE, scraped).await;
        assert!(scraped.is_ok(), "not scraped in time: {said}");
    }

    /// What a query answers now.
    pub async fn query(&self, query: &str) -> Vec<Value> {
        let query: String = form_urlencoded::Serializer::new(String::new()).append_pair("query", query).finish();
        self.get(&format!("/api/v1/query?{query}")).await["data"]["result"].as_array().expect("a vector").clone()
    }

    /// The rules that it evaluates.
    pub async fn rules(&self) -> Vec<Value> {
        let answer = self.get("/api/v1/rules").await;
        let groups = answer["data"]["groups"].as_array().expect("groups");
        groups.iter().flat_map(|group| group["rules"].as_array().expect("rules")).cloned().collect()
    }

    async fn get(&self, path: &str) -> Value {
        let answer = http::request(self.address, "GET", path, &[], String::new()).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.body);
        answer.json()
    }
}
