//! SQS and DynamoDB as a worker sees them, on a server that fails as the test defines.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use outbox_event::EventId;
use serde_json::{Value, json};

use crate::stub::Answer;

/// The messages and records of the played SQS and DynamoDB.
#[derive(Default)]
pub(crate) struct State {
    /// Bodies, and how often they were received.
    pub(crate) waiting: VecDeque<(String, u32)>,
    /// By receipt handle, until when.
    pub(crate) hidden: HashMap<String, (String, u32, Instant)>,
    pub(crate) items: HashMap<String, Value>,
    pub(crate) next: u64,
}

impl State {
    pub(crate) fn answer(&mut self, operation: &str, input: &Value) -> Answer {
        match operation {
            "GetQueueUrl" => Answer::Ok(
                json!({"QueueUrl": format!("http://queue/{}", input["QueueName"].as_str().unwrap())}),
            ),
            "ReceiveMessage" => {
                self.bring_back();
                let many = (input["MaxNumberOfMessages"].as_u64().unwrap() as usize).min(self.waiting.len());
                if many == 0 {
                    return Answer::After(Duration::from_millis(500), json!({}));
                }
                let until = Instant::now() + seconds(&input["VisibilityTimeout"]);
                let received: Vec<_> = self.waiting.drain(..many).collect();
                let messages = received.into_iter().map(|(body, receives)| {
                    self.next += 1;
                    let handle = format!("handle-{}", self.next);
                    let sent_at = chrono::Utc::now().timestamp_millis().to_string();
                    let message = json!({
                        "MessageId": handle, "ReceiptHandle": handle, "Body": body, "MD5OfBody": "",
                        "Attributes": {"ApproximateReceiveCount": (receives + 1).to_string(), "SentTimestamp": sent_at},
                    });
                    self.hidden.insert(handle, (body, receives + 1, until));
                    message
                });
                Answer::Ok(json!({"Messages": messages.collect::<Vec<_>>()}))
            }
            "DeleteMessageBatch" => self.each(input, |state, entry| {
                state.hidden.remove(entry["ReceiptHandle"].as_str().unwrap()).is_some()
            }),
            "ChangeMessageVisibilityBatch" => self.each(input, |state, entry| {
                let hidden = state.hidden.get_mut(entry["ReceiptHandle"].as_str().unwrap());
                let until = Instant::now() + seconds(&entry["VisibilityTimeout"]);
                hidden.map(|hidden| hidden.2 = until).is_some()
            }),
            // The reports of workers.
            "PutItem" | "UpdateItem" if is_of_process(input) => Answer::Ok(json!({})),
            "PutItem" => {
                let id = input["Item"]["id"]["S"].as_str().unwrap().to_owned();
                match self.items.get(&id) {
                    Some(there) if !is_free(there) => {
                        Answer::Error("ConditionalCheckFailedException", "no", json!({"Item": there}))
                    }
                    _ => {
                        self.items.insert(id, input["Item"].clone());
                        Answer::Ok(json!({}))
                    }
                }
            }
            "GetItem" => {
                let item = self.items.get(input["Key"]["id"]["S"].as_str().unwrap());
                Answer::Ok(item.map_or(json!({}), |item| json!({"Item": item})))
            }
            "UpdateItem" if is_of_roster(input) => {
                self.sign(input);
                Answer::Ok(json!({}))
            }
            // The history of an event, which only `outbox why` reads.
            "UpdateItem" if input["Key"]["id"]["S"].as_str().is_some_and(|id| id.starts_with("history ")) => {
                Answer::Ok(json!({}))
            }
            "UpdateItem" => {
                let id = input["Key"]["id"]["S"].as_str().unwrap();
                let item = self.items.get_mut(id).expect("it was claimed");
                let values = &input["ExpressionAttributeValues"];
                assert_eq!(item["token"], values[":token"]);
                item["state"] = values.get(":state").unwrap_or(&values[":done"]).clone();
                // As each of these expressions says. What stays leased is held for the rest of its lease.
                item.as_object_mut().unwrap().remove("leased_until_ms");
                Answer::Ok(json!({}))
            }
            "BatchExecuteStatement" => {
                let statements = input["Statements"].as_array().unwrap();
                Answer::Ok(
                    json!({"Responses": statements.iter().map(|one| self.run(one)).collect::<Vec<_>>()}),
                )
            }
            "GetQueueAttributes" => Answer::Ok(json!({"Attributes": {}})),
            other => panic!("{other} is not expected"),
        }
    }
}

impl State {
    /// Runs a statement of PartiQL, and returns its result.
    pub(crate) fn run(&mut self, statement: &Value) -> Value {
        let values = values(statement);
        let id = values["id"]["S"].as_str().unwrap().to_owned();
        let there = self.items.get(&id).cloned().unwrap_or_default();
        let failed = |code| json!({"Error": {"Code": code, "Message": "no", "Item": there}});
        let is_insert = statement["Statement"].as_str().unwrap().starts_with("INSERT");
        match is_insert {
            true if !there.is_null() => return failed("DuplicateItem"),
            false if there["token"] != values["token"] => return failed("ConditionalCheckFailed"),
            _ => {}
        }
        if is_insert {
            self.items.insert(id, values);
        } else {
            let item = self.items.get_mut(&id).unwrap();
            item["state"] = values["state"].clone();
            item.as_object_mut().unwrap().remove("leased_until_ms");
        }
        json!({"TableName": "outbox-dedup"})
    }

    /// Writes or removes an entry of the roster.
    fn sign(&mut self, input: &Value) {
        let item =
            self.items.entry(input["Key"]["id"]["S"].as_str().unwrap().to_owned()).or_insert(json!({}));
        let worker = input["ExpressionAttributeNames"]["#worker"].as_str().unwrap();
        let entry = &input["ExpressionAttributeValues"][":entry"];
        match input["UpdateExpression"].as_str().unwrap().split(' ').next() {
            Some("set") => item[worker] = entry.clone(),
            _ if input["ConditionExpression"].is_null() || item[worker] == *entry => {
                item.as_object_mut().unwrap().remove(worker);
            }
            _ => {}
        }
    }

    /// The number of entries in all rosters.
    pub(crate) fn entries(&self) -> usize {
        let rosters = self.items.iter().filter(|(id, _)| id.starts_with("watch "));
        rosters
            .flat_map(|(_, item)| item.as_object().unwrap().keys())
            .filter(|name| name.starts_with("w "))
            .count()
    }

    /// Makes messages visible again whose visibility has ended.
    pub(crate) fn bring_back(&mut self) {
        let now = Instant::now();
        let back: Vec<String> = self
            .hidden
            .iter()
            .filter(|(_, hidden)| hidden.2 <= now)
            .map(|(handle, _)| handle.clone())
            .collect();
        for handle in back {
            let (body, receives, _) = self.hidden.remove(&handle).unwrap();
            self.waiting.push_back((body, receives));
        }
    }

    /// Answers a batch: entries whose receipt is no longer valid fail.
    pub(crate) fn each(&mut self, input: &Value, does: impl Fn(&mut Self, &Value) -> bool) -> Answer {
        let (mut successful, mut failed) = (Vec::new(), Vec::new());
        for entry in input["Entries"].as_array().unwrap() {
            if does(self, entry) {
                successful.push(json!({"Id": entry["Id"]}));
            } else {
                failed
                    .push(json!({"Id": entry["Id"], "Code": "ReceiptHandleIsInvalid", "SenderFault": true}));
            }
        }
        Answer::Ok(json!({"Successful": successful, "Failed": failed}))
    }

    pub(crate) fn is_settled(&self) -> bool {
        self.waiting.is_empty() && self.hidden.is_empty()
    }

    pub(crate) fn is_done(&self, id: &EventId) -> bool {
        self.items.get(&format!("{id} Test/One")).is_some_and(|item| item["state"]["S"] == "done")
    }
}

pub(crate) fn is_of_process(input: &Value) -> bool {
    let of = |at: &Value| at["id"]["S"].as_str().is_some_and(|id| id.starts_with("process"));
    of(&input["Item"]) || of(&input["Key"])
}

pub(crate) fn is_of_roster(input: &Value) -> bool {
    input["Key"]["id"]["S"].as_str().is_some_and(|id| id.starts_with("watch "))
}

/// Whether a put takes this item over.
fn is_free(item: &Value) -> bool {
    let until = item["leased_until_ms"]["N"].as_str().and_then(|until| until.parse().ok());
    match item["state"]["S"].as_str() {
        Some("failed" | "dead") => true,
        Some("leased") => until.is_some_and(|until: i64| until < chrono::Utc::now().timestamp_millis()),
        _ => false,
    }
}

/// The attributes that a statement sets or compares, in the order of its parameters.
fn values(statement: &Value) -> Value {
    let words = statement["Statement"].as_str().unwrap();
    let names = words
        .split('?')
        .filter_map(|part| part.trim_end_matches([':', '=', ' ', '\'', '"']).rsplit(['\'', '"']).next());
    let parameters = statement["Parameters"].as_array().unwrap();
    names.zip(parameters).map(|(name, value)| (name.to_owned(), value.clone())).collect()
}

fn seconds(value: &Value) -> Duration {
    Duration::from_secs(value.as_u64().unwrap())
}
