//! Answers of remote servers that are good for a while.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use sha2::{Digest, Sha256};

/// How many answers are kept; beyond them, old ones make room.
const MAX: usize = 4096;

/// What was asked, as a digest: questions hold secrets.
pub type Question = [u8; 32];

/// The question that these parts make.
pub fn question<'p>(parts: impl IntoIterator<Item = &'p str>) -> Question {
    let mut digest = Sha256::new();
    for part in parts {
        digest.update((part.len() as u64).to_be_bytes());
        digest.update(part);
    }
    digest.finalize().into()
}

/// Answers by their questions.
#[derive(Debug)]
pub struct Answers<A>(Mutex<HashMap<Question, (Instant, A)>>);

impl<A> Default for Answers<A> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<A: Clone> Answers<A> {
    /// The answer, if there is one that is still good.
    pub fn get(&self, question: &Question, now: Instant) -> Option<A> {
        let answers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        answers.get(question).filter(|(until, _)| *until > now).map(|(_, answer)| answer.clone())
    }

    /// Keeps an answer for a while.
    pub fn put(&self, question: Question, answer: A, now: Instant, good_for: Duration) {
        let Some(until) = now.checked_add(good_for).filter(|until| *until > now) else { return };
        let mut answers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if answers.len() >= MAX {
            answers.retain(|_, (until, _)| *until > now);
        }
        if answers.len() >= MAX
            && let Some(any) = answers.keys().next().copied()
        {
            answers.remove(&any);
        }
        answers.insert(question, (until, answer));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_good_until_its_time_is_over() {
        let (answers, now) = (Answers::default(), Instant::now());
        answers.put(question(["a"]), 1, now, Duration::from_secs(2));
        answers.put(question(["b"]), 2, now, Duration::ZERO);
        assert_eq!(answers.get(&question(["a"]), now + Duration::from_secs(1)), Some(1));
        assert_eq!(answers.get(&question(["a"]), now + Duration::from_secs(2)), None);
        assert_eq!(answers.get(&question(["b"]), now), None);
    }

    #[test]
    fn questions_differ_by_their_parts() {
        assert_ne!(question(["ab", "c"]), question(["a", "bc"]));
    }

    #[test]
    fn there_is_always_room_for_one_more() {
        let (answers, now) = (Answers::default(), Instant::now());
        for index in 0..=MAX {
            answers.put(question([index.to_string().as_str()]), index, now, Duration::from_secs(1));
        }
        assert_eq!(answers.0.lock().unwrap().len(), MAX);
        assert_eq!(answers.get(&question([MAX.to_string().as_str()]), now), Some(MAX));
    }
}
