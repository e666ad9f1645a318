//! Serving a Llama-3 8B of half its layers: requests come and go, caches grow by reallocation.
//!
//! Each token makes every cache of keys and values longer by one, in a new tensor into which the
//! old one is copied. When a request comes or goes the caches are laid out anew for the batch.
//! Nearly no size is ever asked for twice.

use freeboard_units::Bytes;

use crate::Trace;

use super::bytes::{float, half, long};
use super::layers::{Batch, Ends, LLAMA_8B, Llama, Training};
use super::model::{Model, Tensor};
use super::random::Random;
use super::tape::{Kernel, Mode, Tape, forget};

pub(super) const ABOUT: &str = "16 layers of Llama-3 8B serving up to 12 requests: prompts of \
    128..6144, answers of 16..96 tokens, caches of keys and values reallocated for each token";

const LAYERS: usize = 16;
const WORDS: u64 = 128_256;
const REQUESTS_AT_ONCE: usize = 12;
const ROUNDS: u64 = 90;
const WIDTH: u64 = LLAMA_8B.model;
const KEYS: u64 = LLAMA_8B.keys;
const HIDDEN: u64 = LLAMA_8B.hidden;
const HEADS: u64 = LLAMA_8B.heads;

/// A request that is being answered.
struct Request {
    length: u64,
    tokens_left: u64,
}

/// The model, the requests, and by layer the caches of keys and values for all of them.
struct Server {
    model: Model,
    layers: Vec<Llama>,
    requests: Vec<Request>,
    caches: Vec<[Tensor; 2]>,
}

pub(super) fn make(seed: u64) -> Trace {
    let mut random = Random::new(seed);
    let mut model = Model::new(ABOUT);
    Ends::frozen(&mut model, WIDTH, WORDS);
    let layers = (0..LAYERS).map(|_| Llama::new(&mut model, LLAMA_8B, Training::Frozen)).collect();
    model.workspaces();
    let mut server = Server { model, layers, requests: Vec::new(), caches: Vec::new() };
    for _ in 0..ROUNDS {
        let room = server.requests.len() < REQUESTS_AT_ONCE;
        if server.requests.is_empty() || room && random.percent(25) {
            let (prompt, answer) = (random.between(128, 6144), random.between(16, 96));
            server.arrive(Request { length: prompt, tokens_left: answer });
        }
        server.next_token();
        server.leave();
    }
    for cache in server.caches.drain(..) {
        server.model.drop_all(cache);
    }
    server.model.finish()
}

impl Server {
    /// Runs the prompt through the network, then takes the request into the batch.
    fn arrive(&mut self, request: Request) {
        let Self { model, layers, .. } = self;
        model.comment(&format!("request of {}, {} to come", request.length, request.tokens_left));
        let batch = Batch { sequences: 1, length: request.length };
        let numbers = model.get(long(batch.tokens()));
        let mut value = model.get(half(batch.tokens() * WIDTH));
        model.drop(numbers);
        let size = half(batch.tokens() * KEYS);
        let mut prompt_caches = Vec::with_capacity(layers.len());
        for layer in layers {
            let output = forget(model, value, |model, tape| layer.run(model, tape, batch));
            prompt_caches.push([model.get(size), model.get(size)]);
            model.drop(value);
            value = output;
        }
        sample(model, 1);
        model.drop(value);
        self.requests.push(request);
        self.lay_out(prompt_caches);
    }

    /// New caches for the batch as it is now, padded to its longest; `extra` are merged in.
    fn lay_out(&mut self, extra: Vec<[Tensor; 2]>) {
        let size = self.cache_size();
        let mut old = std::mem::take(&mut self.caches).into_iter();
        let mut extra = extra.into_iter();
        for _ in 0..LAYERS {
            let from = old.next().into_iter().chain(extra.next());
            if !size.is_zero() {
                self.caches.push([self.model.get(size), self.model.get(size)]);
            }
            self.model.drop_all(from.flatten());
        }
    }

    fn cache_size(&self) -> Bytes {
        let longest = self.requests.iter().map(|request| request.length).max().unwrap_or(0);
        half(self.requests.len() as u64 * longest * KEYS)
    }

    /// One token for every request.
    fn next_token(&mut self) {
        for request in &mut self.requests {
            request.length += 1;
            request.tokens_left -= 1;
        }
        let (size, rows) = (self.cache_size(), self.requests.len() as u64);
        let model = &mut self.model;
        let mut value = model.get(half(rows * WIDTH));
        for cache in &mut self.caches {
            value = decode(model, value, rows, size, cache);
        }
        sample(model, rows);
        model.drop(value);
    }

    /// Requests that are answered go, and their part of the caches with them.
    fn leave(&mut self) {
        let before = self.requests.len();
        self.requests.retain(|request| request.tokens_left > 0);
        if self.requests.len() < before {
            self.lay_out(Vec::new());
        }
    }
}

/// One token of each row through a layer, which makes its caches longer.
fn decode(
    model: &mut Model,
    value: Tensor,
    rows: u64,
    cache_size: Bytes,
    cache: &mut [Tensor; 2],
) -> Tensor {
    let row = half(rows * WIDTH);
    let normed = model.get(row);
    let query = model.get(row);
    let new = model.get_all(&[half(rows * KEYS), half(rows * KEYS)]);
    model.drop(normed);
    for old in cache {
        *old = model.replace(*old, cache_size);
    }
    model.drop_all(new);
    // Keys are shared by four heads each: scores for every head and place.
    let scores = model.get(Bytes::new(cache_size.get() / KEYS * HEADS));
    let attended = model.get(row);
    model.drop(scores);
    let attended = model.replace(attended, row);
    model.drop(query);
    let value = model.replace(value, row);
    model.drop(attended);
    let hidden = model.get_all(&[half(rows * HIDDEN), half(rows * HIDDEN)]);
    let down = model.get(row);
    model.drop_all(hidden);
    let value = model.replace(value, row);
    model.drop(down);
    value
}

/// Words for the last place of each row.
fn sample(model: &mut Model, rows: u64) {
    let mut tape = Tape::new(Mode::Forget, Vec::new());
    for size in [half(rows * WORDS), float(rows * WORDS), long(rows)] {
        tape.run(model, Kernel::to(&[size]));
    }
    let words = tape.take_value();
    model.drop(words);
}
