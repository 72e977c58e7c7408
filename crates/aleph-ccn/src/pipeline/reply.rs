//! Who is told the fate of a message, once it is durable.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::{Answer, PipelineError};

/// Takes one answer. Dropped without one, the pipeline has stopped.
#[derive(Debug)]
pub(crate) enum Reply {
    /// Somebody waits for this message.
    One(oneshot::Sender<Answer>),
    /// Somebody waits for several messages, and is woken once.
    Part(Part),
}

impl Reply {
    pub(crate) fn send(self, answer: Answer) {
        match self {
            // Who does not wait any more needs no answer.
            Self::One(sender) => drop(sender.send(answer)),
            Self::Part(part) => part.together.answers.lock()[part.place] = Some(answer),
        }
    }
}

/// The place of one message among several.
#[derive(Debug)]
pub(crate) struct Part {
    together: Arc<Together>,
    place: usize,
}

#[derive(Debug)]
struct Together {
    answers: Mutex<Vec<Option<Answer>>>,
    left: AtomicUsize,
    done: Mutex<Option<oneshot::Sender<()>>>,
}

impl Drop for Part {
    fn drop(&mut self) {
        if self.together.left.fetch_sub(1, Ordering::AcqRel) == 1
            && let Some(done) = self.together.done.lock().take()
        {
            let _ = done.send(());
        }
    }
}

/// The answers to several messages.
#[derive(Debug)]
pub(crate) struct Answers {
    together: Arc<Together>,
    done: oneshot::Receiver<()>,
}

/// As many replies as messages, and their answers. None of no messages.
pub(crate) fn together(messages: usize) -> (Vec<Reply>, Answers) {
    let (sender, done) = oneshot::channel();
    let together = Arc::new(Together {
        answers: Mutex::new(vec![None; messages]),
        left: AtomicUsize::new(messages),
        done: Mutex::new((messages > 0).then_some(sender)),
    });
    let replies =
        (0..messages).map(|place| Reply::Part(Part { together: Arc::clone(&together), place })).collect();
    (replies, Answers { together, done })
}

impl Answers {
    /// Waits for all of them; in the order of the messages.
    pub(crate) async fn all(self) -> Vec<Answer> {
        // Of no messages the sender is gone.
        let _ = self.done.await;
        let answers = std::mem::take(&mut *self.together.answers.lock());
        answers.into_iter().map(|answer| answer.unwrap_or(Err(PipelineError::Stopped))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::Outcome;

    #[tokio::test]
    async fn answers_come_in_the_order_of_the_messages_whoever_is_first() {
        let (mut replies, answers) = together(3);
        replies.remove(2).send(Ok(Outcome::Removed));
        replies.remove(0).send(Ok(Outcome::Processed));
        let waiting = tokio::spawn(answers.all());
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        drop(replies);
        let answers = waiting.await.unwrap();
        assert!(matches!(
            answers[..],
            [Ok(Outcome::Processed), Err(PipelineError::Stopped), Ok(Outcome::Removed)]
        ));
        assert!(together(0).1.all().await.is_empty());
    }
}
