use super::*;
use crate::clock::SystemClock;
use crate::provider::testing::{Say, Seen, TestProvider};
use base64::Engine as _;
use serde_json::{Value, json};

/// Sound vectors of `length` for the inputs of a request, in the encoding it asks for.
fn vectors(request: &Seen, length: usize) -> Say {
    let inputs = request.body["input"].as_array().unwrap().len();
    let item = |index: usize| {
        let mut values = vec![0.0_f32; length];
        values[index % length] = 1.0;
        let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        let encoded = base64::engine::general_purpose::STANDARD.encode(bytes);
        let embedding = match request.body["encoding_format"].as_str() {
            Some("base64") => json!(encoded),
            _ => json!(values),
        };
        json!({"index": index, "embedding": embedding})
    };
    let data: Vec<Value> = (0..inputs).map(item).collect();
    Say::json(
        200,
        &json!({"data": data, "usage": {"prompt_tokens": 3, "total_tokens": 3}}),
    )
}

fn refusal(message: &str) -> Say {
    Say::json(400, &json!({"error": {"message": message}}))
}

fn open(server: &TestProvider, model: &str, dimensions: usize) -> OpenAiEmbedder {
    let settings = OpenAiSettings {
        model: model.to_owned(),
        dimensions,
        batch_max: 2,
    };
    OpenAiEmbedder::open(server.client(0, Arc::new(SystemClock)), &settings).unwrap()
}

#[test]
fn texts_go_in_batches_and_come_back_in_order() {
    let server = TestProvider::start(|_, request| vectors(request, 1_536));
    let embedder = open(&server, DEFAULT_MODEL, 0);
    assert!(server.seen().is_empty(), "a known model needs no probe");
    let made = embedder.embed(&["a", "", "c"]).unwrap();
    assert_eq!((made.vectors.len(), made.tokens), (3, 6));
    assert_eq!(embedder.provider.stats().snapshot().embedding_tokens, 6);
    let seen = server.seen();
    assert_eq!(seen.len(), 2);
    assert_eq!(seen[0].body["input"], json!(["a", " "]));
    assert_eq!(seen[0].body["encoding_format"], "base64");
    assert!(seen[0].body.get("dimensions").is_none());
    assert_eq!(embedder.embed(&[]).unwrap().vectors.len(), 0);
}

#[test]
fn a_server_without_base64_is_asked_for_numbers_from_then_on() {
    let server = TestProvider::start(|_, request| {
        if request.body["encoding_format"] == "base64" {
            refusal("no such thing")
        } else {
            vectors(request, 4)
        }
    });
    let embedder = open(&server, "other", 4);
    embedder.embed(&["a"]).unwrap();
    embedder.embed(&["b"]).unwrap();
    let formats: Vec<Value> = server
        .seen()
        .iter()
        .map(|request| request.body["encoding_format"].clone())
        .collect();
    assert_eq!(formats, ["base64", "float", "float"]);
}

#[test]
fn a_bad_request_is_not_blamed_on_base64() {
    let server = TestProvider::start(|n, request| match n {
        0 | 1 => refusal("the input is bad"),
        _ => vectors(request, 4),
    });
    let embedder = open(&server, "other", 4);
    let error = embedder.embed(&["a"]).unwrap_err();
    assert!(error.to_string().contains("the input is bad"), "{error}");
    embedder.embed(&["b"]).unwrap();
    assert_eq!(server.seen()[2].body["encoding_format"], "base64");
}

#[test]
fn dimensions_are_sent_where_they_differ_and_left_out_where_they_are_refused() {
    let server = TestProvider::start(|_, request| match request.body.get("dimensions") {
        Some(_) => refusal("This model does not support matryoshka representation"),
        None => vectors(request, 8),
    });
    assert_eq!(
        open(&server, "other", 8)
            .embed(&["a"])
            .unwrap()
            .vectors
            .len(),
        1
    );
    let error = open(&server, "other", 9)
        .embed(&["a"])
        .unwrap_err()
        .to_string();
    assert!(error.contains("8 dimensions, not 9"), "{error}");
    // OpenAI's own models know `dimensions`: a refusal is one.
    let error = open(&server, "text-embedding-3-large", 8).embed(&["a"]);
    assert!(error.unwrap_err().to_string().contains("matryoshka"));
}

#[test]
fn the_length_of_an_unknown_model_is_learnt() {
    let server = TestProvider::start(|_, request| vectors(request, 12));
    let embedder = open(&server, "nomic-embed-text", 0);
    assert_eq!(embedder.model().dimensions, 12);
    assert_eq!(server.seen().len(), 1);
    assert!(embedder.embed(&["a"]).is_ok());
}

#[test]
fn a_wrong_answer_is_an_error_with_a_reason_and_a_hint() {
    let server = TestProvider::start(|_, request| vectors(request, 7));
    let error = open(&server, DEFAULT_MODEL, 0).embed(&["a"]).unwrap_err();
    assert!(
        error.to_string().contains("7 dimensions, not 1536"),
        "{error}"
    );
    assert!(error.hint().unwrap().contains("embedding.dimensions"));
}
