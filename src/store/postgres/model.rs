//! The model of the store, and what depends on its dimensions: the type of the column, the index,
//! and the search functions.

use super::fault::Fault;
use super::migrate;
use super::settings::Quantization;
use crate::domain::ModelId;
use crate::fusion::COSINE_WEIGHT;
use postgres::{Client, GenericClient};
use std::sync::LazyLock;

/// Changes with `search.sql`: functions of several versions of alfred stand side by side.
const SEARCH_VERSION: u32 = 1;

const TEMPLATE: &str = include_str!("search.sql");

/// The search functions of one kind of index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Functions {
    pub(super) nearest: String,
    pub(super) nearest_many: String,
    pub(super) hybrid: String,
    /// The statements that call them.
    pub(super) call_nearest: String,
    pub(super) call_nearest_many: String,
    pub(super) call_hybrid: String,
}

impl Functions {
    pub(super) fn of(kind: Quantization) -> &'static Self {
        static NAMES: LazyLock<[Functions; 3]> = LazyLock::new(|| {
            [
                Quantization::None,
                Quantization::Halfvec,
                Quantization::Binary,
            ]
            .map(Functions::named)
        });
        let [none, halfvec, binary] = &*NAMES;
        match kind {
            Quantization::None => none,
            Quantization::Halfvec => halfvec,
            Quantization::Binary => binary,
        }
    }

    fn named(kind: Quantization) -> Self {
        let name = |what: &str| format!("alfred_{what}_{}_v{SEARCH_VERSION}", kind.name());
        let call = |name: &str, parameters: u32| {
            let numbers: Vec<String> = (1..=parameters).map(|n| format!("${n}")).collect();
            format!("SELECT * FROM {name}({})", numbers.join(", "))
        };
        let (nearest, nearest_many, hybrid) =
            (name("nearest"), name("nearest_many"), name("hybrid"));
        Self {
            call_nearest: call(&nearest, 7),
            call_nearest_many: call(&nearest_many, 7),
            call_hybrid: call(&hybrid, 12),
            nearest,
            nearest_many,
            hybrid,
        }
    }
}

/// The recorded model; `None` before the first document.
pub(super) fn recorded(client: &mut impl GenericClient) -> Result<Option<ModelId>, Fault> {
    let rows = client.query(
        "SELECT m.value, d.value::integer FROM alfred_settings m, alfred_settings d
         WHERE m.key = 'model' AND d.key = 'dimensions'",
        &[],
    )?;
    let model = |row: &postgres::Row| ModelId {
        name: row.get(0),
        dimensions: usize::try_from(row.get::<_, i32>(1)).unwrap_or_default(),
    };
    Ok(rows.first().map(model))
}

/// Records the model in a store that has none, and returns the one that is recorded then: another
/// process may have been first.
pub(super) fn record(
    client: &mut Client,
    model: &ModelId,
    kind: Quantization,
) -> Result<ModelId, Fault> {
    let mut transaction = client.transaction()?;
    migrate::lock(&mut transaction)?;
    if let Some(stored) = recorded(&mut transaction)? {
        return Ok(stored);
    }
    transaction.batch_execute(&column_sql(model.dimensions))?;
    transaction.batch_execute(&index_sql(kind, model.dimensions, ""))?;
    transaction.batch_execute(&functions_sql(kind, model.dimensions))?;
    transaction.execute(
        "INSERT INTO alfred_settings (key, value) VALUES ('model', $1), ('dimensions', $2)",
        &[&model.name, &model.dimensions.to_string()],
    )?;
    transaction.commit()?;
    Ok(model.clone())
}

/// Makes the functions for the recorded model where they are missing.
pub(super) fn ensure_functions(
    client: &mut Client,
    kind: Quantization,
    dimensions: usize,
) -> Result<(), Fault> {
    if has_functions(client, kind)? {
        return Ok(());
    }
    let mut transaction = client.transaction()?;
    migrate::lock(&mut transaction)?;
    transaction.batch_execute(&functions_sql(kind, dimensions))?;
    transaction.commit()?;
    Ok(())
}

/// Whether the functions of that kind are there, all of them.
pub(super) fn has_functions(
    client: &mut impl GenericClient,
    kind: Quantization,
) -> Result<bool, Fault> {
    let Functions {
        nearest,
        nearest_many,
        hybrid,
        ..
    } = Functions::of(kind);
    let sql = "SELECT count(DISTINCT proname) = 3 FROM pg_proc
               WHERE proname IN ($1, $2, $3) AND pronamespace = current_schema()::regnamespace";
    Ok(client
        .query_one(sql, &[nearest, nearest_many, hybrid])?
        .get(0))
}

/// The name of the index of one kind.
pub(super) fn index_name(kind: Quantization) -> String {
    format!("documents_embedding_{}", kind.name())
}

/// Kinds whose index is there and valid.
pub(super) fn valid_indexes(client: &mut impl GenericClient) -> Result<Vec<Quantization>, Fault> {
    let rows = client.query(
        "SELECT c.relname FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
         WHERE i.indrelid = to_regclass('documents') AND i.indisvalid",
        &[],
    )?;
    let names: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    let kinds = [
        Quantization::None,
        Quantization::Halfvec,
        Quantization::Binary,
    ];
    Ok(kinds
        .into_iter()
        .filter(|kind| names.contains(&index_name(*kind)))
        .collect())
}

pub(super) fn column_sql(dimensions: usize) -> String {
    format!("ALTER TABLE documents ALTER COLUMN embedding TYPE vector({dimensions});\n")
}

/// The statement that makes the index; `how` is empty or `CONCURRENTLY`.
pub(super) fn index_sql(kind: Quantization, dimensions: usize, how: &str) -> String {
    let expression = match kind {
        Quantization::None => "embedding vector_cosine_ops".to_owned(),
        Quantization::Halfvec => {
            format!("(embedding::halfvec({dimensions})) halfvec_cosine_ops")
        }
        Quantization::Binary => {
            format!("(binary_quantize(embedding)::bit({dimensions})) bit_hamming_ops")
        }
    };
    format!(
        "CREATE INDEX {how} IF NOT EXISTS {} ON documents USING hnsw ({expression});\n",
        index_name(kind)
    )
}

/// The search functions for one kind of index.
pub(super) fn functions_sql(kind: Quantization, dimensions: usize) -> String {
    let functions = Functions::of(kind);
    let (distance, fetch) = match kind {
        Quantization::None => ("d.embedding <=> p_embedding".to_owned(), "p_limit"),
        Quantization::Halfvec => (
            format!("d.embedding::halfvec({dimensions}) <=> p_embedding::halfvec({dimensions})"),
            "p_limit * 2",
        ),
        Quantization::Binary => (
            format!(
                "binary_quantize(d.embedding)::bit({dimensions}) \
                 <~> binary_quantize(p_embedding)::bit({dimensions})"
            ),
            "least(1000, greatest(200, p_limit * 20))",
        ),
    };
    TEMPLATE
        .replace("{nearest}", &functions.nearest)
        .replace("{nearest_many}", &functions.nearest_many)
        .replace("{hybrid}", &functions.hybrid)
        .replace("{distance}", &distance)
        .replace("{fetch}", fetch)
        .replace("{fetch_depth}", &fetch.replace("p_limit", "p_depth"))
        .replace(
            "{each_distance}",
            &distance.replace("p_embedding", "v_embedding"),
        )
        .replace("{each_fetch}", &fetch.replace("p_limit", "v_limit"))
        .replace("{weight}", &COSINE_WEIGHT.to_string())
        .replace("{dimensions}", &dimensions.to_string())
        .replace("{quantization}", kind.name())
}
