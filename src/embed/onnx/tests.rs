use super::*;
use crate::embed::graph::Graph;
use crate::embed::testing::model_dir;
use proptest::prelude::*;

/// A field of stated length.
fn field(number: u8, content: &[u8]) -> Vec<u8> {
    let mut bytes = vec![number << 3 | 2];
    let mut length = content.len();
    while length > 0x7f {
        bytes.push(u8::try_from(length & 0x7f).unwrap() | 0x80);
        length >>= 7;
    }
    bytes.push(u8::try_from(length).unwrap());
    bytes.extend(content);
    bytes
}

/// A number.
fn number(field: u8, value: u8) -> Vec<u8> {
    vec![field << 3, value]
}

/// A file that holds `graph`.
fn model(graph: &[u8]) -> Vec<u8> {
    [number(1, 8), field(8, &number(2, 17)), field(7, graph)].concat()
}

fn load(onnx: &[u8]) -> Result<(), String> {
    let about = crate::embed::model_folder::ModelFolder::open(&model_dir()).unwrap();
    Graph::load(onnx.to_owned(), about.about()).map(drop)
}

#[track_caller]
fn refused(onnx: &[u8], expected: &str) {
    let problem = load(onnx).unwrap_err();
    assert!(problem.contains(expected), "{problem}");
    assert!(
        problem.starts_with("it is damaged or no ONNX file: "),
        "{problem}"
    );
}

#[test]
fn the_real_graph_is_far_from_every_bound() {
    let onnx = std::fs::read(model_dir().join("model.onnx")).unwrap();
    let walk = walk(&onnx).unwrap();
    let (messages, operators) = (walk.messages, walk.operators);
    assert!(operators > 100 && messages > operators);
    assert!(
        10 * operators < OPERATORS_MAX && 10 * messages < MESSAGES_MAX,
        "{operators} operators, {messages} messages"
    );
}

/// Each of these made rten ask for as much memory as there is not, and the process ended.
#[test]
fn a_length_that_the_file_does_not_have_is_refused() {
    let huge = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x3f];
    let name = [&[8 << 3 | 2][..], &huge].concat();
    let raw_data = [&[9 << 3 | 2][..], &huge].concat();
    for tensor in [name, raw_data] {
        refused(
            &model(&field(5, &tensor)),
            "a field states 281474976710655 bytes, 0 are left",
        );
    }
    // Within the file, and beyond the message that it is in.
    let graph = field(5, &[9 << 3 | 2, 9]);
    let onnx = model(&[graph, vec![0; 20]].concat());
    refused(&onnx, "a field states 9 bytes, 0 are left");
    // Skipped backwards it would be read again and again.
    let back = [0xf6, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01];
    refused(
        &model(&[&[15 << 3 | 2][..], &back].concat()),
        "a field states 18446744073709551606 bytes",
    );
}

#[test]
fn a_shape_that_the_file_has_no_numbers_for_is_refused() {
    let huge = [1 << 3, 0xff, 0xff, 0xff, 0xff, 0x0f];
    refused(
        &model(&field(5, &huge)),
        "a tensor states 4294967295 numbers",
    );
    let product = [number(1, 100).repeat(2), vec![0x42, 100], vec![0; 100]].concat();
    refused(&model(&field(5, &product)), "a tensor states 10000 numbers");
    // A size of 0 hides none of the others.
    let hidden = [number(1, 0), product].concat();
    refused(&model(&field(5, &hidden)), "a tensor states 10000 numbers");
    let negative = [&[1 << 3][..], &[0xff; 9], &[1]].concat();
    refused(&model(&field(5, &negative)), "a tensor states");
}

/// On a stack of 2 MiB each of these would overflow it, which ends the process too.
#[test]
fn graphs_in_graphs_are_refused_when_they_are_too_deep() {
    let mut graph = Vec::new();
    for _ in 0..5_000 {
        graph = field(1, &field(5, &field(6, &graph)));
    }
    refused(&model(&graph), "nested deeper than 32");
    let mut kind = Vec::new();
    for _ in 0..5_000 {
        kind = field(4, &field(1, &kind));
    }
    refused(
        &model(&field(11, &field(2, &kind))),
        "nested deeper than 32",
    );
}

#[test]
fn lists_that_end_within_a_number_are_refused() {
    for (list, expected) in [
        (field(4, &[0; 5]), "a list ends within a number"),
        (field(10, &[0; 9]), "a list ends within a number"),
        (field(7, &[1, 0x80]), "a number is cut off"),
        (field(7, &[0xff; 11]), "a number is longer than 64 bits"),
        (vec![3], "of the unknown kind 3"),
    ] {
        refused(&model(&field(5, &list)), expected);
    }
}

#[test]
fn more_messages_than_any_graph_has_are_refused() {
    let operators = field(1, &[]).repeat(OPERATORS_MAX + 1);
    refused(&model(&operators), "more than 3000 operators");
    let values = field(13, &[]).repeat(MESSAGES_MAX);
    refused(&model(&values), "or 200000 messages");
}

/// A chain of operators: each takes what the one before gave.
fn chain(operators: usize) -> Vec<u8> {
    let kind = field(4, b"Neg");
    let value = |n: usize| match n {
        0 => "input_ids".to_owned(),
        n if n == operators => "last_hidden_state".to_owned(),
        n => format!("v{n}"),
    };
    let mut graph = Vec::new();
    for n in 0..operators {
        let input = field(1, value(n).as_bytes());
        let output = field(2, value(n + 1).as_bytes());
        graph.extend(field(1, &[input, output, kind.clone()].concat()));
    }
    for input in ["input_ids", "attention_mask"] {
        graph.extend(field(11, &field(1, input.as_bytes())));
    }
    graph.extend(field(12, &field(1, b"last_hidden_state")));
    model(&graph)
}

/// rten orders operators by recursion when a graph is loaded and when it first runs.
#[test]
fn the_longest_chain_of_operators_overflows_no_stack() {
    let onnx = chain(OPERATORS_MAX);
    let folder = crate::embed::model_folder::ModelFolder::open(&model_dir()).unwrap();
    let graph = Graph::load(onnx, folder.about()).unwrap();
    let pool = std::sync::Arc::new(rten::ThreadPool::with_num_threads(1));
    let problem = graph.run(&[&[1, 2]], pool).unwrap_err();
    assert!(problem.contains("shape"), "{problem}");
}

proptest! {
    /// What is accepted states no more than there is, so that reading it takes no more room than its size allows.
    #[test]
    fn any_bytes_are_walked_to_their_end(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let _ = check(&bytes);
        let _ = check(&model(&bytes));
    }
}
