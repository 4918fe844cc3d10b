//! Questions of pages, answered by the functions of the commands.

use std::pin::pin;
use std::process::ExitCode;
use std::time::Duration;

use outbox_console::{Answer, Answering, Ask, Question, Refusal};
use outbox_postgres::Budget;
use outbox_transport::args::Transport;
use serde_json::json;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot, watch};
use tokio::task::JoinSet;
use uuid::Uuid;

use super::place::Place;
use super::queues::{Asking, Kind, Queue, queues};
use crate::asked::{Asked, InUse};
use crate::options::Options;
use crate::safe::word;
use crate::stopped::Stopped;

/// All pages and forms share them: a page costs the database little, however many look.
const CONNECTIONS_MAX: usize = 4;
const ANSWER_WITHIN: Duration = Duration::from_secs(20);
/// With the time for which it stands in a queue.
const WAIT_WITHIN: Duration = Duration::from_secs(30);
/// So long a page waits for the end of a repair that has begun.
const ENDS_WITHIN: Duration = Duration::from_millis(1500);
/// A repair that runs notices Ctrl-C, too, and writes down how far it came.
const END_WITHIN: Duration = Duration::from_secs(10);

/// Hands questions over to the thread on which commands run.
#[derive(Debug)]
pub(super) struct Asker {
    questions: [mpsc::Sender<Asking>; 3],
    /// What each command ends with: the installation.
    place: String,
    is_sqs: bool,
}

#[derive(Debug)]
pub(crate) struct Questions {
    first: mpsc::Receiver<Asking>,
    others: [Queue; 2],
    place: watch::Receiver<Place>,
    connections: Budget,
    /// Those that run.
    changes: JoinSet<()>,
}

/// For the installation for which this process was started.
pub(super) fn new(options: &Options) -> (Asker, Questions) {
    let command = options.command(Vec::<&str>::new());
    let (_, place) = watch::channel(Place::of(options));
    let (asker, questions) = about(place, command.trim_start_matches("outbox").to_owned());
    (Asker { is_sqs: options.transport() == Transport::Aws, ..asker }, questions)
}

/// `shown` is what a command ends with that is pasted into a terminal.
pub(super) fn about(place: watch::Receiver<Place>, shown: String) -> (Asker, Questions) {
    let connections = Budget::of(CONNECTIONS_MAX, 0);
    let (questions, first, others) = queues();
    (
        Asker { questions, place: shown, is_sqs: false },
        Questions { first, others, place, connections, changes: JoinSet::new() },
    )
}

impl Ask for Asker {
    fn ask(&self, question: Question) -> Answering {
        let (to, changes) =
            (self.questions[Kind::of(&question, self.is_sqs) as usize].clone(), question.changes);
        Box::pin(async move {
            let (reply, answer) = oneshot::channel();
            match to.try_send(Asking { question, reply }) {
                Err(TrySendError::Full(_)) => {
                    return Err(refusal(&late("too many pages wait for an answer")));
                }
                // Without a receiver there is no answer.
                Ok(()) | Err(TrySendError::Closed(_)) => {}
            }
            let answer = async {
                let ended = || refusal(&Stopped::failed("the console ends", "start it again"));
                answer.await.unwrap_or_else(|_| Err(ended()))
            };
            if changes {
                return answer.await;
            }
            let answered = tokio::time::timeout(WAIT_WITHIN, answer).await;
            answered.unwrap_or_else(|_| {
                Err(refusal(&late("other searches run, and there was no answer in time")))
            })
        })
    }

    fn command(&self, words: &[String]) -> String {
        let words: Vec<String> = words.iter().map(|one| word(one).to_string()).collect();
        format!("outbox {}{}", words.join(" "), self.place)
    }
}

impl Questions {
    /// Until nothing asks any more.
    pub(crate) async fn answer<F>(&mut self, answer: F)
    where
        F: AsyncFn(Vec<String>, Asked) -> Result<ExitCode, Stopped> + Copy + 'static,
    {
        loop {
            let [shared, own] = &mut self.others;
            let (asking, place) = tokio::select! {
                Some(asking) = self.first.recv() => (asking, None),
                Some((asking, place)) = shared.next() => (asking, Some(place)),
                Some((asking, place)) = own.next() => (asking, Some(place)),
                else => return,
            };
            self.begin(asking, place, answer);
        }
    }

    /// Others go on meanwhile.
    fn begin<F>(&mut self, asking: Asking, held: Option<OwnedSemaphorePermit>, answer: F)
    where
        F: AsyncFn(Vec<String>, Asked) -> Result<ExitCode, Stopped> + Copy + 'static,
    {
        let Asking { question, mut reply } = asking;
        let place = self.place.borrow().clone();
        let words = place.command(&question.words);
        let in_use = InUse { connections: Some(self.connections.clone()), ..place.in_use };
        let asked = Asked::by_page(question.who, question.words, in_use);
        // Those that have ended are forgotten.
        while self.changes.try_join_next().is_some() {}
        if question.changes {
            self.changes.spawn_local(async move {
                let mut running = pin!(answer(words, asked.clone()));
                let went = tokio::select! {
                    went = &mut running => told(went, &asked),
                    repair = goes_on(&asked) => {
                        let _ = reply.send(Ok(Answer { json: json!({"repair": repair, "begun": true}) }));
                        // What becomes of it is in the list of repairs.
                        let _ = running.await;
                        return;
                    }
                };
                let _ = reply.send(went);
            });
            return;
        }
        tokio::task::spawn_local(async move {
            let _held = held;
            let looks = tokio::time::timeout(ANSWER_WITHIN, answer(words, asked.clone()));
            tokio::select! {
                went = looks => {
                    let _ = reply.send(told(went.unwrap_or_else(|_| Err(late("no answer in time"))), &asked));
                }
                // The browser has gone.
                () = reply.closed() => {}
            }
        });
    }

    /// Waits for the changes that run.
    pub(crate) async fn end(&mut self) {
        let all = async { while self.changes.join_next().await.is_some() {} };
        let _ = tokio::time::timeout(END_WITHIN, all).await;
    }
}

fn late(problem: &str) -> Stopped {
    Stopped::unreachable(problem, "try again in a minute; see `outbox doctor`")
}

/// The repair that has begun, and does not end soon.
async fn goes_on(asked: &Asked) -> Uuid {
    let repair = asked.begun().await;
    tokio::time::sleep(ENDS_WITHIN).await;
    repair
}

/// A command that found problems has answered, too.
fn told(went: Result<ExitCode, Stopped>, asked: &Asked) -> Result<Answer, Refusal> {
    went.map_err(|stopped| refusal(&stopped))?;
    let nothing = || Stopped::failed("it gave no answer", "run the command in a terminal");
    let json = asked.answer().ok_or_else(|| refusal(&nothing()))?;
    Ok(Answer { json })
}

fn refusal(stopped: &Stopped) -> Refusal {
    Refusal { code: stopped.code(), problem: stopped.problem.clone(), remedy: stopped.remedy.clone() }
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use tokio::task::LocalSet;

    use super::*;
    use crate::console::queues::tests::question;

    #[derive(Parser)]
    struct Of {
        #[command(flatten)]
        options: Options,
    }

    /// Guards promise 8: two viewers who search for long hold up no first page, no shared page, and no change. A browser that has
    /// gone leaves its place in the queue, and the queue has an end.
    #[tokio::test]
    async fn long_searches_hold_up_no_other_page() {
        let options = Of::try_parse_from(["outbox"]).unwrap().options;
        let (asker, mut questions) = new(&options);
        let answer = async |words: Vec<String>, asked: Asked| {
            if words[1] == "find" {
                std::future::pending::<()>().await;
            }
            asked.keeps(&words[1]);
            Ok(ExitCode::SUCCESS)
        };
        let asks = async {
            let searches: Vec<_> =
                (0..10).map(|_| tokio::task::spawn_local(asker.ask(question(&["find"])))).collect();
            tokio::task::yield_now().await;
            let shared = Question { who: "console".to_owned(), ..question(&["dlq", "summary"]) };
            let change = Question { changes: true, ..question(&["pause"]) };
            let first = ["status", "role", "routes"].map(|word| question(&[word]));
            for one in first.into_iter().chain([shared, change]) {
                let word = one.words[0].clone();
                assert_eq!(asker.ask(one).await.unwrap().json, serde_json::json!(word));
            }
            searches.iter().for_each(tokio::task::JoinHandle::abort);
            assert!(asker.ask(question(&["why", "1"])).await.is_ok());
            let searches: Vec<_> =
                (0..100).map(|_| tokio::task::spawn_local(asker.ask(question(&["find"])))).collect();
            let refused = loop {
                tokio::task::yield_now().await;
                if searches.iter().any(tokio::task::JoinHandle::is_finished) {
                    break asker.ask(question(&["find"])).await.unwrap_err();
                }
            };
            assert!(refused.code == 3 && refused.problem.contains("too many"), "{refused:?}");
        };
        let answers = async {
            tokio::select! {
                () = asks => {}
                () = questions.answer(answer) => panic!("it goes on"),
            }
        };
        LocalSet::new().run_until(answers).await;
    }

    /// Guards promise 8: a question is a command with the viewer's name, its answer is what the command would print, and a command
    /// that stops is a refusal with its remedy.
    #[tokio::test]
    async fn a_question_is_a_command() {
        let options = Of::try_parse_from(["outbox"]).unwrap().options;
        let (asker, mut questions) = new(&options);
        let answer = async |words: Vec<String>, asked: Asked| {
            if words[1] == "status" {
                asked.keeps(&(asked.who(), asked.words()));
                return Ok(ExitCode::FAILURE);
            }
            Err(Stopped::unusable("no", "do so"))
        };
        let asks = async {
            let answered = asker.ask(question(&["status"])).await.unwrap();
            assert_eq!(answered.json, serde_json::json!(["ann, console", ["status"]]));
            let refused = asker.ask(question(&["why", "x"])).await.unwrap_err();
            assert_eq!((refused.code, refused.problem.as_str(), refused.remedy.as_str()), (2, "no", "do so"));
        };
        let answers = async {
            tokio::select! {
                () = asks => {}
                () = questions.answer(answer) => panic!("it goes on"),
            }
        };
        LocalSet::new().run_until(answers).await;
        assert!(asker.command(&["why".to_owned(), "a b".to_owned()]).starts_with("outbox why 'a b'"));
    }

    /// Guards promise 8: a page learns that a repair was refused, however long that takes. One that has begun keeps no page waiting, and
    /// goes on.
    #[tokio::test(start_paused = true)]
    async fn a_page_waits_until_a_repair_has_begun() {
        let options = Of::try_parse_from(["outbox"]).unwrap().options;
        let (asker, mut questions) = new(&options);
        let answer = async |words: Vec<String>, asked: Asked| {
            tokio::time::sleep(Duration::from_secs(10)).await;
            match words[1].as_str() {
                "replay" => Err(Stopped::failed("another replay runs", "wait for it")),
                "quick" => {
                    asked.has_begun(Uuid::nil());
                    asked.keeps(&1);
                    Ok(ExitCode::SUCCESS)
                }
                _ => {
                    asked.has_begun(Uuid::nil());
                    tokio::time::sleep(Duration::from_secs(3600)).await;
                    Ok(ExitCode::SUCCESS)
                }
            }
        };
        let change = |word: &str| Question { changes: true, ..question(&[word]) };
        let asks = async {
            let refused = asker.ask(change("replay")).await.unwrap_err();
            assert_eq!((refused.code, refused.problem.as_str()), (1, "another replay runs"));
            assert_eq!(asker.ask(change("quick")).await.unwrap().json, 1);
            let begun = asker.ask(change("dlq")).await.unwrap().json;
            assert_eq!(begun, serde_json::json!({"repair": Uuid::nil(), "begun": true}));
        };
        let answers = async {
            tokio::select! {
                () = asks => {}
                () = questions.answer(answer) => panic!("it goes on"),
            }
        };
        LocalSet::new().run_until(answers).await;
        assert!(!questions.changes.is_empty(), "the last one runs");
    }
}
