//! The one use case: question → embedding → search → answer. No HTTP in it.

mod generate;

pub use generate::Generator;

use crate::answering::{self, Question, Quoted, Source, asks_for_a_number};
use crate::clock::{Clock, Deadline};
use crate::domain::{
    Answer, AnswerKind, Citation, CompletionUsage, Embedding, Mode, Query, Timings, Usage,
};
use crate::embed::{CachedEmbedder, EmbedError, Embedder, QueryEmbedding};
use crate::extract::Format;
use crate::store::{EmbeddingRepo, Hit, SearchRequest, StoreError};
use crate::telemetry::metrics::RepoMetrics;
use crate::telemetry::trace::{self, Stage};
use crate::terms::{TermFinder, query_terms};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Least cosine of an answer that has no word of the question.
///
/// Measured with all-MiniLM-L6-v2 on this project's manual: the nearest chunk of questions about
/// other things, and of rows of letters, had 0.28 at most, that of paraphrases of what is there
/// 0.32 at least but for one of 0.27, which gets no answer. Another model may need another figure;
/// one whose cosines are all high merely gets an answer always.
const MIN_COSINE_WITHOUT_WORDS: f32 = 0.3;
/// Least cosine of an answer that has half of the question's words or fewer: "capital" in "What is
/// the capital of France?" stands in a manual too.
const MIN_COSINE_WITH_FEW_WORDS: f32 = 0.2;

/// What is done with an answer.
pub type AnswerThen = Box<dyn FnOnce(Result<Answer, SearchError>) + Send>;

/// Answers questions over a store; shared by the daemon's threads and the command line.
pub struct Searcher {
    embedder: Arc<CachedEmbedder>,
    repo: Arc<dyn EmbeddingRepo>,
    clock: Arc<dyn Clock>,
    generator: Option<Generator>,
    metrics: RepoMetrics,
}

impl Searcher {
    /// A searcher over `repo`, embedding with `embedder`, timed by `clock`.
    #[must_use]
    pub fn new(
        embedder: Arc<CachedEmbedder>,
        repo: Arc<dyn EmbeddingRepo>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self {
            embedder,
            repo,
            clock,
            generator: None,
            metrics: RepoMetrics::default(),
        }
    }

    /// Generated answers are written by `generator`; without one there are none.
    #[must_use]
    pub fn with_generator(mut self, generator: Option<Generator>) -> Self {
        self.generator = generator;
        self
    }

    /// Times searches in `metrics`.
    #[must_use]
    pub fn timed(mut self, metrics: RepoMetrics) -> Self {
        self.metrics = metrics;
        self
    }

    /// The store that is searched.
    #[must_use]
    pub fn repo(&self) -> &Arc<dyn EmbeddingRepo> {
        &self.repo
    }

    /// The model that embeds.
    #[must_use]
    pub fn embedder(&self) -> &Arc<dyn Embedder> {
        self.embedder.embedder()
    }

    /// The cache in front of the model.
    #[must_use]
    pub fn cache(&self) -> &Arc<CachedEmbedder> {
        &self.embedder
    }

    /// Answers one question; blocks, on others not beyond `deadline`. `queue_ms` of the timings is
    /// left 0 for the caller to fill in, `total_ms` does not include it.
    ///
    /// # Errors
    /// When the query cannot be embedded or the store cannot be searched.
    pub fn answer(&self, query: &Query, deadline: Deadline) -> Result<Answer, SearchError> {
        if query.answer == AnswerKind::Generated && self.generator.is_none() {
            return Err(SearchError::GeneratedUnavailable);
        }
        let began = self.clock.monotonic();
        if query.mode != Mode::Text {
            trace::reached(Stage::Embed, began);
        }
        let (embedding, usage) = self.embed(query, deadline)?;
        let asked = self.asked(embedding, usage, began);
        let hits = self.search(&asked.request(query))?;
        self.finish(query, &asked, hits, deadline)
    }

    /// As [`Searcher::answer`], but returns at once, and may be called on any thread: `then` is called
    /// with the answer, once, on a thread of the store. Dropped uncalled, it says that this query is
    /// to be answered by [`Searcher::answer`]: it is no search by vector alone, its vector is in no
    /// memory, or the store is not to be asked in this way.
    pub fn answer_later(self: &Arc<Self>, query: &Arc<Query>, then: AnswerThen) {
        let is_for_the_store = query.mode == Mode::Vector && query.answer != AnswerKind::Generated;
        if !is_for_the_store || !self.repo.searches_later() {
            return;
        }
        let began = self.clock.monotonic();
        let Some(made) = self.embedder.remembered(query.text.as_str()) else {
            return;
        };
        trace::reached(Stage::Embed, began);
        let (embedding, usage) = embedded(made);
        let asked = self.asked(Some(embedding), usage, began);
        let (searcher, same, kept) = (Arc::clone(self), Arc::clone(query), asked.clone());
        let within = trace::carried();
        let finish = move |found: Result<Vec<Hit>, StoreError>| {
            let since = searcher.clock.monotonic();
            let took = since.saturating_duration_since(kept.ended);
            searcher.metrics.search.observe(took);
            within.run(|| {
                let hits = found.map_err(SearchError::from);
                let finish = |hits| searcher.finish(&same, &kept, hits, Deadline::NONE);
                then(hits.and_then(finish));
            });
        };
        self.repo
            .search_later(&asked.request(query), Box::new(finish));
    }

    /// What is asked of the store from now on.
    fn asked(&self, embedding: Option<Arc<Embedding>>, usage: Usage, began: Instant) -> Asked {
        let ended = self.clock.monotonic();
        trace::reached(Stage::Search, ended);
        Asked {
            embedding,
            usage,
            began,
            ended,
        }
    }

    /// The answer from what was found.
    fn finish(
        &self,
        query: &Query,
        asked: &Asked,
        hits: Vec<Hit>,
        deadline: Deadline,
    ) -> Result<Answer, SearchError> {
        let searched = self.clock.monotonic();
        trace::reached(Stage::Answer, searched);
        let told = self.tell(query, &asked.request(query), hits, deadline)?;
        let answered = self.clock.monotonic();
        trace::answered(answered);
        Ok(Answer {
            text: told.text,
            fallback: told.fallback,
            citations: told.citations,
            timings: Timings {
                queue_ms: 0.0,
                embed_ms: ms(asked.ended - asked.began),
                search_ms: ms(searched - asked.ended),
                total_ms: ms(answered - asked.began),
            },
            usage: Usage {
                completion: told.completion,
                ..asked.usage
            },
        })
    }

    /// The hits as citations, and the answer from them that is wanted.
    fn tell(
        &self,
        query: &Query,
        request: &SearchRequest<'_>,
        hits: Vec<Hit>,
        deadline: Deadline,
    ) -> Result<Told, SearchError> {
        let mut told = Told::default();
        let wanted = self.generator.as_ref();
        let generator =
            wanted.filter(|_| query.answer == AnswerKind::Generated && !hits.is_empty());
        if let Some(generator) = generator {
            told.citations = hits.iter().cloned().map(cite).collect();
            let question = query.text.as_str();
            match generator.generate(question, &told.citations, deadline, &*self.clock) {
                Ok(generated) => {
                    told.text = Some(generated.text);
                    told.completion = Some(generated.usage);
                    return Ok(told);
                }
                Err(reason) => told.fallback = Some(reason),
            }
        }
        let mut sections = Vec::new();
        if query.answer != AnswerKind::None {
            let quoted = self.extract(request, &hits)?;
            told.text = Some(quoted.text);
            sections = quoted.sections;
        }
        told.citations = hits.into_iter().map(cite).collect();
        for (at, section) in sections {
            if let Some(citation) = told.citations.get_mut(at) {
                citation.title = section;
            }
        }
        Ok(told)
    }

    fn embed(
        &self,
        query: &Query,
        deadline: Deadline,
    ) -> Result<(Option<Arc<Embedding>>, Usage), SearchError> {
        if query.mode == Mode::Text {
            return Ok((None, Usage::default()));
        }
        let made = self.embedder.embed_query(query.text.as_str(), deadline)?;
        let (embedding, usage) = embedded(made);
        Ok((Some(embedding), usage))
    }

    /// The quoted passages that answer; an empty text when nothing was found, or nothing that the
    /// question is about.
    ///
    /// A search always finds the nearest chunks, however far they are, and a quotation looks
    /// certain. So something must speak for it: either more than half of the question's words
    /// stand in what was found, or the best chunk is near the question in meaning. A question in
    /// other words than the text's is still answered when it is near. In `text` mode only chunks
    /// with a word of the question are found, and that mode asks for nothing more.
    ///
    /// Where few words speak for it, the nearest chunk is quoted alone, if it is among the hits:
    /// the few words may be in the others by chance.
    fn extract(&self, request: &SearchRequest<'_>, hits: &[Hit]) -> Result<Quoted, SearchError> {
        let question = request.text.as_str();
        let wanted = query_terms(question);
        let quoted = quote(question, &wanted, hits, None);
        let least = match quoted.found {
            _ if request.mode == Mode::Text => return Ok(quoted),
            0 => MIN_COSINE_WITHOUT_WORDS,
            found if found * 2 <= wanted.len() => MIN_COSINE_WITH_FEW_WORDS,
            _ => return Ok(quoted),
        };
        let nearest = self.nearest(request, hits)?;
        if nearest.as_ref().is_none_or(|hit| hit.score < least) {
            return Ok(nothing());
        }
        let place = nearest.and_then(|nearest| hits.iter().position(|hit| hit.id == nearest.id));
        Ok(match place {
            Some(_) => quote(question, &wanted, hits, place),
            None => quoted,
        })
    }

    /// The chunk nearest to the question, with its cosine as score. A fused score is relative to
    /// the best of its question and does not tell how near that is, so a hybrid search asks the
    /// store once more, by vector alone; few questions need it.
    fn nearest(
        &self,
        request: &SearchRequest<'_>,
        hits: &[Hit],
    ) -> Result<Option<Hit>, StoreError> {
        if request.mode == Mode::Vector || hits.is_empty() {
            return Ok(hits.first().cloned());
        }
        let by_vector = SearchRequest {
            mode: Mode::Vector,
            limit: 1,
            ..request.clone()
        };
        Ok(self.search(&by_vector)?.into_iter().next())
    }

    fn search(&self, request: &SearchRequest<'_>) -> Result<Vec<Hit>, StoreError> {
        self.metrics.search.time(|| self.repo.search(request))
    }
}

fn embedded(made: QueryEmbedding) -> (Arc<Embedding>, Usage) {
    let usage = Usage {
        embedding_tokens: made.tokens,
        embedding_cached: made.cached,
        completion: None,
    };
    (made.embedding, usage)
}

/// A question once it has its vector, where it needs one.
#[derive(Clone)]
struct Asked {
    embedding: Option<Arc<Embedding>>,
    usage: Usage,
    /// When it began to be embedded, and when that ended.
    began: Instant,
    ended: Instant,
}

impl Asked {
    fn request<'a>(&'a self, query: &'a Query) -> SearchRequest<'a> {
        SearchRequest {
            collection: &query.collection,
            mode: query.mode,
            text: &query.text,
            embedding: self.embedding.as_deref(),
            filter: &query.filter,
            limit: query.top_k.get(),
        }
    }
}

/// An answer and what it rests on.
#[derive(Default)]
struct Told {
    text: Option<String>,
    fallback: Option<String>,
    citations: Vec<Citation>,
    completion: Option<CompletionUsage>,
}

fn nothing() -> Quoted {
    Quoted {
        text: String::new(),
        sections: Vec::new(),
        found: 0,
    }
}

/// The passages of the hits that answer best; of one of them where `only` names it.
fn quote(question: &str, wanted: &[String], hits: &[Hit], only: Option<usize>) -> Quoted {
    let headings: Vec<String> = hits.iter().map(|hit| hit.title_path.join(" ")).collect();
    let is_read = |at: usize| only.is_none_or(|only| only == at);
    let sources: Vec<Source<'_>> = hits
        .iter()
        .zip(&headings)
        .enumerate()
        .map(|(at, (hit, headings))| Source {
            headings,
            text: if is_read(at) { &hit.text } else { "" },
            is_markdown: matches!(
                Format::of_source(&hit.source),
                None | Some(Format::Markdown)
            ),
        })
        .collect();
    let question = Question {
        words: wanted.len(),
        wants_number: asks_for_a_number(question),
    };
    let finder = TermFinder::new(wanted);
    let find = |text: &str, found: &mut dyn FnMut(usize)| finder.find(text, found);
    answering::extractive(question, &sources, &find).unwrap_or_else(nothing)
}

fn cite(hit: Hit) -> Citation {
    let title = hit
        .title_path
        .into_iter()
        .next_back()
        .unwrap_or(hit.document_title);
    Citation {
        id: hit.id,
        document_id: hit.document_id,
        excerpt: hit.text,
        score: hit.score,
        source: hit.source,
        title,
        chunk: hit.position,
        page: hit.page,
        metadata: hit.metadata,
    }
}

fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum SearchError {
    /// The embedding failed.
    #[error(transparent)]
    Embed(#[from] EmbedError),
    /// The store failed, or has no such collection.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// `"answer": "generated"` was asked for, and no chat model is configured.
    #[error("`answer` \"generated\" needs a chat model, and none is configured")]
    GeneratedUnavailable,
}

impl SearchError {
    /// What to try next.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Embed(error) => error.hint(),
            Self::Store(error) => error.hint(),
            Self::GeneratedUnavailable => {
                Some("ask for \"extractive\" or \"none\", or set `answer.model`".to_owned())
            }
        }
    }
}
