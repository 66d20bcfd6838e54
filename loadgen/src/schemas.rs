//! The JSON schemas in `docs/`, made from the structs that the JSON is made from.
//!
//! Invariant: a page that is not what the structs say is a failed test. `M2_KEEP_SCHEMAS=1` writes
//! the pages anew.

use std::path::PathBuf;

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use schemars::transform::{Transform, transform_subschemas};
use schemars::{Schema, json_schema};
use serde_json::{Value, json};

use crate::calibrate::{self, Calibration};
use crate::compare::report::{self as compare, CompareReport};
use crate::conformance;
use crate::receiver::report::{self as receive, ReceiveReport};
use crate::report::{self, Report};
use crate::search::report::{self as search, SearchReport};

/// Takes the marks off the words of our own documentation that lead nowhere in a schema.
#[derive(Clone, Debug)]
struct PlainWords;

impl Transform for PlainWords {
    fn transform(&mut self, schema: &mut Schema) {
        if let Some(Value::String(words)) = schema.get_mut("description") {
            *words = words.replace("[`", "`").replace("`]", "`");
        }
        transform_subschemas(self, schema);
    }
}

/// The schema of one report, whose key `schema` names it.
fn schema<T: JsonSchema>(name: &str) -> String {
    let settings = SchemaSettings::draft2020_12().for_serialize().with_transform(PlainWords);
    let mut schema = settings.into_generator().into_root_schema_for::<T>();
    schema.insert("title".to_owned(), json!(name));
    let named = json_schema!({ "description": "Names this schema.", "const": name });
    schema.get_mut("properties").unwrap()["schema"] = named.to_value();
    serde_json::to_string_pretty(&schema).unwrap() + "\n"
}

#[track_caller]
fn assert_current(file: &str, schema: &str) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs/schemas").join(file);
    if std::env::var_os("M2_KEEP_SCHEMAS").is_some() {
        std::fs::write(&path, schema).unwrap();
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(kept == schema, "docs/schemas/{file} is not current: M2_KEEP_SCHEMAS=1 writes it anew");
}

#[test]
fn the_schemas_in_the_docs_are_those_of_the_reports() {
    assert_current("m2-load.report.json", &schema::<Report>(report::SCHEMA));
    assert_current("m2-load.search.json", &schema::<SearchReport>(search::SCHEMA));
    assert_current("m2-load.compare.json", &schema::<CompareReport>(compare::SCHEMA));
    assert_current("m2-load.receive.json", &schema::<ReceiveReport>(receive::SCHEMA));
    assert_current("m2-load.conformance.json", &schema::<conformance::Report>(conformance::SCHEMA));
    assert_current("m2-load.calibrate.json", &schema::<Calibration>(calibrate::SCHEMA));
}
