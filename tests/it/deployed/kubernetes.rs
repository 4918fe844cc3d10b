//! `ops/kubernetes`: the manifests fit Kubernetes, and the binaries that they start.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use clap::{CommandFactory, Parser};
use outbox_event_router::Router;
use outbox_event_router::services::Services;
use regex::Regex;
use serde_json::Value;
use testkit::process::{copy_dir, root};
use testkit::{scrape, tools};

use crate::world::{ROUTER, World, cluster, shared_turn, until};

/// The oldest and the newest whose schemas are at hand.
const KUBERNETES: [&str; 2] = ["1.29", "1.37"];

/// The manifests that `kubectl apply --kustomize` would apply, and those that are applied by themselves. They are validated.
/// `None` without kubectl.
fn manifests(folder: &Path) -> Option<Vec<Value>> {
    let Ok(rendered) = Command::new("kubectl").arg("kustomize").arg(folder).output() else {
        assert!(std::env::var_os("CI").is_none(), "in CI the manifests must be tested");
        eprintln!("\n!!! NOT TESTED: ops/kubernetes, because kubectl is missing\n");
        return None;
    };
    assert!(rendered.status.success(), "{}", String::from_utf8_lossy(&rendered.stderr));
    let migrate = std::fs::read_to_string(root().join("ops/kubernetes/migrate.yaml")).unwrap();
    let all = String::from_utf8(rendered.stdout).unwrap() + "\n---\n" + &migrate;
    let packages = tools::kubernetes().unwrap_or_else(|error| panic!("{error}"));
    let mut python = Command::new("python3")
        .arg(root().join("tests/it/deployed/kubernetes.py"))
        .args(KUBERNETES)
        .env("PYTHONPATH", packages)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    python.stdin.take().unwrap().write_all(all.as_bytes()).unwrap();
    let output = python.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let lines = String::from_utf8(output.stdout).unwrap();
    Some(lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect())
}

fn example() -> Option<Vec<Value>> {
    manifests(&root().join("ops/kubernetes/example"))
}

fn find<'a>(all: &'a [Value], kind: &str, name: &str) -> &'a Value {
    let is_it = |one: &&Value| {
        let named = one["metadata"]["name"].as_str().or(one["metadata"]["generateName"].as_str()).unwrap();
        one["kind"] == kind && named.starts_with(name)
    };
    all.iter().find(is_it).unwrap_or_else(|| panic!("there is no {kind} {name}"))
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text"))
}

/// Parses a container's environment as the program would. An unknown variable, or a value that is refused, fails.
fn parsed<C: Parser>(container: &Value) -> C {
    let command = C::command();
    let mut args = vec![text(&container["args"][0]).to_owned()];
    for variable in list(&container["env"]) {
        let name = text(&variable["name"]);
        let arg = command.get_arguments().find(|arg| arg.get_env().is_some_and(|env| env == name));
        let arg = arg.unwrap_or_else(|| panic!("{} has no variable {name}", args[0]));
        // The address of a database comes from a secret.
        let value = variable["value"].as_str().unwrap_or("postgres://127.0.0.1/cards");
        args.push(format!("--{}={value}", arg.get_long().unwrap()));
    }
    C::try_parse_from(&args).unwrap_or_else(|error| panic!("{args:?}: {error}"))
}

/// The one pod of a Deployment or a Job, and its one container.
fn pod(manifest: &Value) -> (&Value, &Value) {
    let pod = &manifest["spec"]["template"]["spec"];
    assert_eq!(pod["containers"].as_array().unwrap().len(), 1);
    (pod, &pod["containers"][0])
}

/// The file that a container finds at this path: the config map that is mounted there has it.
fn mounted<'a>(all: &'a [Value], manifest: &Value, path: &Path) -> &'a str {
    let (pod, container) = pod(manifest);
    let (folder, file) =
        (path.parent().unwrap().to_str().unwrap(), path.file_name().unwrap().to_str().unwrap());
    let mount = list(&container["volumeMounts"]).find(|mount| mount["mountPath"] == folder).unwrap();
    let volume = list(&pod["volumes"]).find(|volume| volume["name"] == mount["name"]).unwrap();
    text(&find(all, "ConfigMap", text(&volume["configMap"]["name"]))["data"][file])
}

/// Guards: the manifests are valid for Kubernetes. Each variable and value is one that relay and worker take, and the files that
/// they name are mounted and valid.
#[test]
fn the_manifests_fit_kubernetes_and_the_binaries() {
    let _turn = shared_turn();
    let Some(all) = example() else { return };
    let relay = find(&all, "Deployment", "outbox-relay");
    let worker = find(&all, "Deployment", "outbox-worker");
    let relay_cli: outbox_relay::config::Cli = parsed(pod(relay).1);
    let worker_cli: outbox_worker::config::Cli = parsed(pod(worker).1);
    let migrate = pod(find(&all, "Job", "outbox-migrate")).1;
    assert_eq!(list(&migrate["args"]).map(text).collect::<Vec<_>>(), ["relay", "migrate"]);

    for (manifest, router, port) in [
        (relay, relay_cli.transport.router(), relay_cli.run.metrics_addr),
        (worker, worker_cli.transport.router(), worker_cli.metrics_addr),
    ] {
        let routes = Router::parse("event_router.yaml", mounted(&all, manifest, router));
        let routes = routes.unwrap_or_else(|findings| panic!("{findings}"));
        // The worker has no proto.
        assert!(routes.rpcs().all(|(rpc, _)| rpc.service().contains('.')));
        assert!(port.ip().is_unspecified(), "{port}: a probe comes from outside");
        assert_eq!(pod(manifest).1["ports"][0]["containerPort"], port.port());
    }
    let services = mounted(&all, worker, worker_cli.services.as_deref().unwrap());
    let services = Services::parse("services.yaml", services).unwrap_or_else(|report| panic!("{report}"));
    assert!(services.default.is_some_and(|default| default.address.is_some()));
}

/// Guards: no pod is killed while it finishes its work, and all replicas of one kind never stop at once.
#[test]
fn pods_may_finish_their_work() {
    let _turn = shared_turn();
    let Some(all) = example() else { return };
    let worker = find(&all, "Deployment", "outbox-worker");
    let cli: outbox_worker::config::Cli = parsed(pod(worker).1);
    let grace = |manifest: &Value| {
        Duration::from_secs(pod(manifest).0["terminationGracePeriodSeconds"].as_u64().unwrap())
    };
    let stop_within = cli.stop_within.expect("without it the time would depend on event_router.yaml");
    assert_eq!(grace(worker), stop_within + Duration::from_secs(5));
    // A relay ends within 10 s.
    assert!(grace(find(&all, "Deployment", "outbox-relay")) > Duration::from_secs(10));
    for name in ["outbox-relay", "outbox-worker"] {
        let deployment = find(&all, "Deployment", name);
        assert!(deployment["spec"]["replicas"].as_u64().unwrap() >= 2);
        let budget = find(&all, "PodDisruptionBudget", name);
        assert_eq!(budget["spec"]["maxUnavailable"], 1);
        assert_eq!(budget["spec"]["selector"], deployment["spec"]["selector"]);
    }
}

/// Guards SECURITY.md: no container runs as root, writes to its image, or has a token of the cluster. Addresses of databases come
/// from secrets, one for each part.
#[test]
fn pods_have_few_rights() {
    let _turn = shared_turn();
    let Some(all) = example() else { return };
    let mut secrets = Vec::new();
    for (kind, name) in
        [("Deployment", "outbox-relay"), ("Deployment", "outbox-worker"), ("Job", "outbox-migrate")]
    {
        let (pod, container) = pod(find(&all, kind, name));
        assert_eq!(pod["automountServiceAccountToken"], false);
        assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
        assert_eq!(pod["securityContext"]["seccompProfile"]["type"], "RuntimeDefault");
        let rights = &container["securityContext"];
        assert_eq!(rights["readOnlyRootFilesystem"], true);
        assert_eq!(rights["allowPrivilegeEscalation"], false);
        assert_eq!(rights["capabilities"]["drop"], serde_json::json!(["ALL"]));
        let database = list(&container["env"]).find(|variable| variable["name"] == "DATABASE_URL").unwrap();
        assert!(database["value"].is_null());
        secrets.push(text(&database["valueFrom"]["secretKeyRef"]["name"]).to_owned());
    }
    assert_eq!(secrets, ["outbox-relay", "outbox-worker", "outbox-migrate"]);
}

/// Guards: relay and worker serve the paths that the probes and the monitor ask, and answer 200 once they make progress.
#[tokio::test(flavor = "multi_thread")]
async fn the_probes_are_answered() {
    let world = World::new(ROUTER).await;
    let Some(all) = example() else { return world.finish().await };
    for (name, mut process) in
        [("outbox-relay", world.relay_process()), ("outbox-worker", world.worker_process())]
    {
        let addr = scrape::addr(&mut process).await.unwrap();
        let container = pod(find(&all, "Deployment", name)).1;
        for probe in ["livenessProbe", "readinessProbe"] {
            let path = text(&container[probe]["httpGet"]["path"]);
            assert_eq!(container[probe]["httpGet"]["port"], container["ports"][0]["name"]);
            until(&format!("{name}: {path}"), async || scrape::get(&addr, path).await.unwrap().0 == 200)
                .await;
        }
        process.stop().await.unwrap();
    }
    world.finish().await;
}

/// Guards: the optional monitor selects the pods by labels and a port that they have, under the jobs' names of the alerts.
#[test]
fn the_monitor_finds_the_pods() {
    let _turn = shared_turn();
    let copy = cluster().dir().join("kubernetes");
    copy_dir(&root().join("ops/kubernetes"), &copy, &|_| true).unwrap();
    let file = copy.join("example/kustomization.yaml");
    let example = std::fs::read_to_string(&file).unwrap();
    let with = example.replace("# components:\n#   - ", "components:\n  - ");
    assert_ne!(with, example);
    std::fs::write(&file, with).unwrap();
    let Some(all) = manifests(&copy.join("example")) else { return };
    let monitor = &find(&all, "PodMonitor", "outbox")["spec"];
    let alerts = std::fs::read_to_string(root().join("ops/prometheus/alerts.yml")).unwrap();
    let jobs = Regex::new(r#"up\{job=~"([^"]+)"\}"#).unwrap().captures(&alerts).unwrap()[1].to_owned();
    let jobs = Regex::new(&format!("^(?:{jobs})$")).unwrap();
    for name in ["outbox-relay", "outbox-worker"] {
        let deployment = find(&all, "Deployment", name);
        let labels = &deployment["spec"]["template"]["metadata"]["labels"];
        for (label, value) in monitor["selector"]["matchLabels"].as_object().unwrap() {
            assert_eq!(labels[label], *value);
        }
        assert!(jobs.is_match(text(&labels[text(&monitor["jobLabel"])])));
        assert_eq!(monitor["podMetricsEndpoints"][0]["port"], pod(deployment).1["ports"][0]["name"]);
    }
}

/// Guards: each variable that the files for operators name is one that a binary takes, or one of Compose's own.
#[test]
fn variables_that_operators_are_shown_exist() {
    let of_compose = ["OUTBOX_IMAGE", "OUTBOX_PROTO_FOLDER", "OUTBOX_ROUTER_FILE", "OUTBOX_SERVICES_FILE"];
    let of_the_build = ["OUTBOX_REVISION"];
    let mut known: Vec<String> = of_compose.into_iter().chain(of_the_build).map(str::to_owned).collect();
    for command in [outbox_relay::config::Cli::command(), outbox_worker::config::Cli::command()] {
        let variables = command.get_arguments().filter_map(|arg| arg.get_env());
        known.extend(variables.map(|variable| variable.to_str().unwrap().to_owned()));
    }
    let word = Regex::new(r"(?-u:\b)OUTBOX_[A-Z_]*[A-Z](?-u:\b)").unwrap();
    let mut found = 0;
    for folder in
        ["ops/container", "ops/kubernetes/base", "ops/kubernetes/example", "ops/systemd", "infra/ecs"]
    {
        for entry in std::fs::read_dir(root().join(folder)).unwrap().map(Result::unwrap) {
            if !entry.path().is_file() {
                continue;
            }
            let text = std::fs::read_to_string(entry.path()).unwrap();
            for variable in word.find_iter(&text) {
                found += 1;
                let variable = variable.as_str().to_owned();
                assert!(known.contains(&variable), "{}: {variable}", entry.path().display());
            }
        }
    }
    assert!(found > 30, "{found}");
}
