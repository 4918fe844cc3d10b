//! What an operator asks and repairs: one suite over both transports. It sends, receives and settles through the seams alone.

mod aws;
mod brakes; // pauses and limits
mod hands; // messages in queues
mod history; // failed attempts and repairs
mod kept; // the audit, and an RPC's refusals that are poison
mod letters; // dead letters, looked at
mod many; // repairs of many things, seen and stopped
mod paced; // repairs of many things, paused and slowed by others
mod postgres;
mod processes; // the reports of processes
mod repairs; // dead letters, redriven and dropped
mod replayed; // events of the past
mod states; // what became of a delivery, and how many there are

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::time::Duration;

use chrono::Utc;
use outbox_event::{EventId, Message};
use outbox_event_router::Rpc;
use outbox_transport::operate::{
    Addressed, Audit, DeadLetters, Filter, Letter, Operator, Queues, Repair, Repaired,
};
use outbox_transport::process::Store;
use outbox_transport::{
    Braked, Dedup, Delivery, Depths, Lease, LeaseAnswer, Outcome, Queue, Released, Wanted,
};
use tokio_util::sync::CancellationToken;

use super::queue::settle;
use crate::world::PATIENCE;

/// One transport, with a store of its own in which nothing lies. [`one`] and [`other`] have queues, [`stranger`] has none.
///
/// The constants are what the two honestly do differently, as the documentation of the seam says.
trait Subject {
    type Operator: Operator;
    type Queue: Queue<Receipt: Debug> + Depths;
    type Dedup: Dedup;
    type Store: Store;

    /// Letters come in the order in which they were sent.
    const ORDERED: bool;
    /// So many letters are several pages.
    const PAGES: usize;
    /// What one operator looks at, others can't see until it is put back.
    const HIDES: bool;
    /// A letter says after how many attempts it died.
    const COUNTS_ATTEMPTS: bool;
    /// What lies in a queue can be told from what does not, before a worker has received it.
    const SEES_QUEUES: bool;
    /// A message for an RPC without a queue makes that queue.
    const MAKES_QUEUES: bool;
    /// Nothing is changed without a repair that has begun and not ended.
    const NEEDS_AUDIT: bool;

    /// Another person's, each time.
    async fn operator(&self) -> Self::Operator;
    /// One that can't write the audit.
    async fn operator_without_audit(&self) -> Self::Operator;
    /// Its messages stay hidden for longer than a test.
    async fn queue(&self, rpc: &Rpc) -> Self::Queue;
    fn dedup(&self, rpc: &Rpc, lease: Duration) -> Self::Dedup;
    /// Where a process of this name writes its report.
    fn store(&self, name: &str) -> Self::Store;
    /// One that can't be written.
    fn store_that_fails(&self) -> Self::Store;
    /// As a worker hears it.
    async fn poison_for(&self, rpc: &Rpc) -> Option<Duration>;
    /// As workers read them.
    async fn brakes(&self) -> Vec<Braked>;
}

/// The whole suite, on one transport.
macro_rules! suite {
    ($subject:ty: $($part:ident::$name:ident)*) => { $(
        #[tokio::test(flavor = "multi_thread")]
        async fn $name() {
            let Some(subject) = <$subject>::new().await else { return };
            super::$part::$name(&subject).await;
            subject.finish().await;
        }
    )* };
    ($subject:ty) => {
        suite! { $subject:
            letters::dead_letters_are_listed_page_by_page
            letters::a_filter_chooses_what_fits_it
            letters::a_letter_is_what_died_whatever_text_it_has
            letters::the_newest_come_first_and_no_more_than_asked
            hands::what_is_not_possible_is_said
            hands::what_is_in_a_queue_is_seen
            hands::a_retry_is_brought_forward_or_given_up
            hands::what_may_be_called_is_neither_moved_nor_given_up
            hands::a_renamed_rpc_gets_what_its_old_name_had
            hands::a_removed_queue_leaves_a_trace
            repairs::what_is_redriven_is_received_again_as_it_was
            repairs::what_dies_again_is_not_redriven_for_ever
            repairs::what_was_done_is_called_again_only_by_force
            repairs::what_is_dropped_is_gone
            repairs::two_operators_repair_nothing_twice
            repairs::two_operators_share_the_letters
            replayed::a_replay_is_received_by_its_rpc
            replayed::only_force_forgets_and_no_call_under_way
            replayed::what_is_refused_is_not_said_to_be_sent
            replayed::nothing_is_forgotten_for_an_rpc_without_a_queue
            states::every_state_is_told
            states::a_repaired_letter_is_dead_no_more
            states::each_pair_is_answered_whether_it_was_done
            states::every_message_is_counted_once
            history::what_was_no_first_success_is_told
            history::a_long_story_is_cut
            kept::repairs_are_kept_newest_first
            kept::a_repair_is_kept_whatever_came_of_it
            kept::a_repair_that_has_not_ended_says_so
            kept::without_a_repair_nothing_is_changed
            kept::without_an_audit_only_what_can_be_undone_begins
            kept::poison_is_said_and_taken_back
            brakes::a_brake_is_set_replaced_and_lifted
            brakes::a_brake_ends_by_itself
            many::a_repair_is_seen_and_stopped
            many::one_repair_of_a_kind_runs_for_an_rpc
            many::of_many_at_once_one_goes_on
            many::a_repair_is_continued_once
            many::what_dies_later_is_not_moved
            many::what_was_counted_is_what_is_moved
            many::what_has_not_begun_is_taken_back
            paced::a_repair_is_paced_by_others
            paced::what_can_not_be_paced_stays_as_it_is
            processes::a_process_is_read_as_it_was_written
            processes::a_failed_write_has_its_reason
        }
    };
}
use suite;

const LONG: Duration = Duration::from_secs(60);

fn one() -> Rpc {
    Rpc::new("Test/One").unwrap()
}

fn other() -> Rpc {
    Rpc::new("Test/Other").unwrap()
}

fn stranger() -> Rpc {
    Rpc::new("Test/Stranger").unwrap()
}

fn of_rpc(rpc: Rpc) -> Filter {
    Filter { rpc: Some(rpc), ..Filter::default() }
}

/// A message as the relay writes it.
fn message(event: EventId, rpc: &Rpc) -> Addressed {
    let body = format!(
        r#"{{"rpc":"{rpc}","event":{{"id":"{event}","name":"event_one","key":"key \"é\"","occurred_at":"2026-11-22T03:04:05.678Z","headers":{{"acme-tenant":"t-1"}},"payload":{{"n":1.0,"of":"{event}"}}}}}}"#
    );
    Addressed { event, rpc: rpc.clone(), body }
}

fn messages(rpc: &Rpc, many: usize) -> Vec<Addressed> {
    (0..many).map(|_| message(EventId::new(), rpc)).collect()
}

async fn begun(operator: &impl Audit, command: &str) -> Repair {
    let (id, who) = (EventId::new().as_uuid(), "me@host".to_owned());
    let repair = Repair { id, at: Utc::now(), who, command: command.to_owned(), result: None };
    operator.begin(&repair, false).await.unwrap();
    repair
}

/// Into their queues, as a replay does it.
async fn send<S: Subject>(subject: &S, messages: &[Addressed]) {
    let operator = subject.operator().await;
    let repair = begun(&operator, "send").await;
    let sent = operator.replay(&repair, messages, false).await;
    assert_eq!(sent, vec![Ok(true); messages.len()]);
    operator.end(&repair).await.unwrap();
}

type Receipt<S> = <<S as Subject>::Queue as Queue>::Receipt;
type Received<S> = Vec<Delivery<Receipt<S>>>;

/// So many messages, whatever they are.
async fn receive<S: Subject>(queue: &S::Queue, many: usize) -> Received<S> {
    let (stop, mut received) = (CancellationToken::new(), Vec::new());
    let receiving = async {
        while received.len() < many {
            received.extend(queue.receive(Wanted::any(many - received.len()), &stop).await.unwrap());
        }
    };
    tokio::time::timeout(PATIENCE, receiving).await.expect("they come");
    received
}

/// Nothing lies in the RPC's queue, hidden or not.
async fn is_empty<S: Subject>(subject: &S, rpc: &Rpc) -> bool {
    let depth = subject.queue(rpc).await.depth().await.unwrap();
    (depth.waiting, depth.hidden, depth.retrying) == (0, 0, 0)
}

async fn lease<S: Subject>(subject: &S, event: EventId, rpc: &Rpc, lasts: Duration) -> LeaseAnswer {
    subject.dedup(rpc, lasts).lease(&[event]).await.unwrap()[0]
}

async fn won<S: Subject>(subject: &S, event: EventId, rpc: &Rpc, lasts: Duration) -> Lease {
    match lease(subject, event, rpc, lasts).await {
        LeaseAnswer::Won(lease) => lease,
        answer => panic!("{answer:?}"),
    }
}

/// The RPC has succeeded for the event.
async fn done<S: Subject>(subject: &S, event: EventId, rpc: &Rpc) {
    let lease = won(subject, event, rpc, LONG).await;
    assert!(super::lost_of(&subject.dedup(rpc, LONG), &[lease]).await.is_empty());
}

/// Sends messages, and settles what a worker then receives: the lease is given back, as after a call. A body that names no
/// event has none.
async fn settled_as<S: Subject>(subject: &S, messages: &[Addressed], outcome: &Outcome) {
    send(subject, messages).await;
    let rpc = &messages[0].rpc;
    settle_received(subject, rpc, messages.len(), outcome).await;
}

async fn settle_received<S: Subject>(subject: &S, rpc: &Rpc, many: usize, outcome: &Outcome) {
    let (queue, dedup) = (subject.queue(rpc).await, subject.dedup(rpc, LONG));
    let received = receive::<S>(&queue, many).await;
    let event = |one: &Delivery<_>| Message::decode(&one.body).ok().map(|message| message.event.id);
    let events: Vec<EventId> = received.iter().filter_map(event).collect();
    let answers = dedup.lease(&events).await.unwrap();
    let released: Vec<Released> = answers
        .into_iter()
        .filter_map(|answer| match answer {
            LeaseAnswer::Won(lease) => {
                Some(Released { lease, attempt: 1, outcome: outcome.clone(), waits: None })
            }
            _ => None,
        })
        .collect();
    super::release(&dedup, &released).await;
    let settled: Vec<_> = received.into_iter().map(|one| (one.receipt, outcome.clone())).collect();
    settle(&queue, &settled).await;
}

fn dead(code: &'static str, reason: &str) -> Outcome {
    Outcome::Dead { code, reason: reason.to_owned() }
}

/// Dead letters of new events.
async fn buried<S: Subject>(subject: &S, rpc: &Rpc, many: usize) -> Vec<EventId> {
    let messages = messages(rpc, many);
    settled_as(subject, &messages, &dead("internal", "no card")).await;
    messages.iter().map(|message| message.event).collect()
}

/// What is left of a look, page by page.
async fn look<O: DeadLetters>(operator: &mut O, filter: &Filter) -> Vec<Letter<O::Handle>> {
    let mut letters = Vec::new();
    loop {
        let page = operator.next(filter).await.unwrap();
        if page.is_empty() {
            return letters;
        }
        letters.extend(page);
    }
}

/// The events of the dead letters that fit, as somebody sees them who moves none.
async fn listed<S: Subject>(subject: &S, filter: &Filter) -> Vec<Option<EventId>> {
    let mut operator = subject.operator().await;
    let letters = look(&mut operator, filter).await;
    operator.put_back().await;
    letters.into_iter().map(|letter| letter.event).collect()
}

fn sorted<T: Ord>(all: impl IntoIterator<Item = T>) -> Vec<T> {
    let mut all: Vec<T> = all.into_iter().collect();
    all.sort();
    all
}

/// Each outcome, and how often it came.
fn tally(answers: &[Result<Repaired, outbox_transport::operate::OperateError>]) -> BTreeMap<String, usize> {
    let mut tally = BTreeMap::new();
    for answer in answers {
        *tally.entry(format!("{:?}", answer.as_ref().unwrap())).or_default() += 1;
    }
    tally
}

fn all_of(outcome: &Repaired, many: usize) -> BTreeMap<String, usize> {
    BTreeMap::from([(format!("{outcome:?}"), many)])
}
