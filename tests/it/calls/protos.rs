//! Files of proto that a worker passes over, and the rest of the tree, which it uses.

use outbox_contract::Sources;
use tempfile::TempDir;

use crate::processes::assert_stops_cleanly;
use crate::world::{One, World};

const ROUTER: &str = "event: [{ name: event_one, subscriber: [{ id: Test/One }] }]";
const TEST: &str = "syntax = \"proto3\";
import \"acme/options.proto\";
import \"google/protobuf/empty.proto\";
enum Event { EVENT_UNSPECIFIED = 0; EVENT_ONE = 1; }
message OneEvent { int64 n = 1 [(acme.internal) = true]; }
message OneRequest { OneEvent happened = 1; }
service Test { rpc One(OneRequest) returns (google.protobuf.Empty); }
";
/// With the number of (outbox.key).
const OPTION: &str = "syntax = \"proto3\";
package acme;
import \"google/protobuf/descriptor.proto\";
extend google.protobuf.FieldOptions { bool internal = 93914932; }
";
/// A descriptor set of one file.
const IN_AN_EDITION: &[u8] = b"\x0a\x13\x0a\x07a.proto\x62\x08editions";

fn laid_out(files: &[(&str, &str)]) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = dir.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    dir
}

/// Guards promise 8: a file in an edition, one that needs it, and an option of a company's own with the number of (outbox.key) are
/// each a line in the log. The rest of the tree is used. The same holds for a descriptor set.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_passed_over_is_logged_and_the_rest_is_used() {
    let mut world = World::new(ROUTER).await;
    world.relay();
    let tree = laid_out(&[
        ("test.proto", TEST),
        ("acme/options.proto", OPTION),
        ("new.proto", "edition = \"2023\"; message New {}"),
        ("needs.proto", "syntax = \"proto3\"; import \"new.proto\"; message Needs { New new = 1; }"),
    ]);
    let contract = Sources { protos: vec![tree.path().to_owned()], ..Sources::default() }.read().unwrap();
    let set = tree.path().join("set.binpb");
    std::fs::write(&set, [contract.pool().encode_to_vec().as_slice(), IN_AN_EDITION].concat()).unwrap();
    let of_tree: &[&str] =
        &["`internal` has the number 93914932", "the file needs", "is written in an edition"];
    for (proto, said) in [(tree.path(), of_tree), (set.as_path(), &["is written in an edition"])] {
        let endpoint = format!("Test=http://{}", world.rpcs.addr);
        let proto = proto.display().to_string();
        let mut worker = world.worker_process_with(&["--endpoint", &endpoint, "--proto", &proto]);
        for said in said {
            let line = worker.wait_for(said).await.unwrap();
            assert!(line.contains("WARN"), "{line}");
        }
        let event = world.publish(One { n: 1 }).await;
        world.rpcs.until_done("Test/One", &[event]).await;
        assert_stops_cleanly(worker).await;
    }
    world.finish().await;
}
