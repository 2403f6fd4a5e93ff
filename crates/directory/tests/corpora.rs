//! The public corpora as judge: the Thing Descriptions of the Thingweb playground, and the official TD 1.1 schema. They
//! are not in this repository: `SOFIE_CORPORA` names their folder, else it is looked for beside the workspace.
#![expect(clippy::print_stderr, reason = "a test says what it left out, and how much it judged")]

use std::{fs, path::PathBuf};

use proptest::{prelude::*, sample::Index};
use serde_json::{Value, json};
use sofie_directory::{Code, ThingDescription, parse};

/// `folder` of the corpora, or a loud line on what is left out.
fn corpus(folder: &str) -> Option<PathBuf> {
    let workspace = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..");
    let root = std::env::var_os("SOFIE_CORPORA").unwrap_or_else(|| "../shared/corpora".into());
    let path = workspace.join(root).join(folder); // an absolute root replaces the workspace
    if path.is_dir() {
        return Some(path);
    }
    eprintln!(
        "LEFT OUT: {} is not there; set SOFIE_CORPORA to the folder that holds {folder}",
        path.display()
    );
    None
}

/// Name and bytes of each file of a folder, sorted.
fn files(folder: &str) -> Option<Vec<(String, Vec<u8>)>> {
    let entries = fs::read_dir(corpus(folder)?).expect("a readable folder");
    let mut files: Vec<_> = entries
        .map(|entry| {
            let path = entry.expect("a readable entry").path();
            let name = path.file_name().expect("a file has a name").to_string_lossy().into_owned();
            (name, fs::read(&path).expect("a readable file"))
        })
        .collect();
    files.sort();
    Some(files)
}

#[test]
fn every_valid_thing_description_passes_and_keeps_its_document() {
    let Some(files) = files("td-valid") else { return };
    assert!(files.len() >= 44, "only {} files", files.len());
    for (name, bytes) in files {
        let thing = parse(&bytes).unwrap_or_else(|errors| panic!("{name}:\n{errors}"));
        let plain: Value = serde_json::from_slice(&bytes).expect("JSON");
        assert_eq!(thing.document(), &plain, "{name}");
    }
}

/// What is wrong with each invalid file: the one rule it breaks, and where.
const REASONS: [(&str, Code, &str); 23] = [
    ("camelCase.json", Code::Operation, "/actions/toggle/forms/0/op/0"),
    ("duplicateEnum.json", Code::EnumDuplicate, "/properties/status/enum/2"),
    ("duplicatePropertyAffordanceNames.json", Code::DuplicateKey, "/properties/status"),
    ("duplicateSecurityDefinitions.json", Code::DuplicateKey, "/securityDefinitions/basic_sc"),
    ("emptyEnum.json", Code::Empty, "/properties/status/enum"),
    ("emptyForm.json", Code::Empty, "/events/overheating/forms"),
    ("emptyOpArray.json", Code::Empty, "/properties/status/forms/0/op"),
    ("emptySecDef.json", Code::Empty, "/securityDefinitions"),
    ("emptySecurity.json", Code::Empty, "/security"),
    ("invalidDataType.json", Code::DataType, "/actions/status/input/type"),
    ("invalidInteractionElement.json", Code::WrongType, "/actions/wrongAction"),
    ("invalidOp.json", Code::Operation, "/properties/brightness/forms/2/op/0"),
    ("invalidSecuMatch.json", Code::SecurityReference, "/actions/toggle/forms/0/security/0"),
    ("invalidSecuScheme.json", Code::SecurityScheme, "/securityDefinitions/basic_sc/scheme"),
    ("multipleRelType.json", Code::RelType, "/links/1/rel"),
    ("noContext.json", Code::Missing, "/@context"),
    ("noForm1.json", Code::Missing, "/properties/status/forms"),
    ("noForm2.json", Code::Missing, "/actions/status/forms"),
    ("noForm3.json", Code::Missing, "/events/status/forms"),
    ("noHref.json", Code::Missing, "/events/overheating/forms/0/href"),
    ("noTitle.json", Code::Missing, "/title"),
    ("usingTM.json", Code::EnumType, "/properties/status/enum/0"),
    ("versionInstanceMissing.json", Code::Missing, "/version/instance"),
];

#[test]
fn every_invalid_thing_description_fails_for_its_reason() {
    let Some(files) = files("td-invalid") else { return };
    for (name, bytes) in &files {
        let errors = parse(bytes).expect_err(name);
        let reason = REASONS.iter().find(|(file, ..)| file == name);
        let (_, code, pointer) =
            reason.unwrap_or_else(|| panic!("{name} has no reason in this test: {errors}"));
        let first = &errors.problems[0];
        assert_eq!((first.code, first.pointer.as_str()), (*code, *pointer), "{name}:\n{errors}");
        // Nothing else is wrong with these files, apart from what follows from the one fault: more values of the same
        // enum, and the security reference to the definition that is missing.
        let follows = |code: Code| code == first.code || code == Code::SecurityReference;
        assert!(errors.problems.iter().all(|problem| follows(problem.code)), "{name}:\n{errors}");
    }
    assert!(REASONS.iter().all(|(file, ..)| files.iter().any(|(name, _)| name == file)), "a file is gone");
}

/// How one value of a document is changed.
#[derive(Debug, Clone)]
enum Mutation {
    Remove,
    Replace(Value),
    Rename(String),
    Add(String, Value),
    Twice,
}

fn scraps() -> impl Strategy<Value = Value> {
    let texts = [
        "",
        "x",
        "a b",
        "tm:ThingModel",
        "icon",
        "tm:extends",
        "combo",
        "auto",
        "oauth2",
        "apikey",
        "readproperty",
        "invokeaction",
        "header",
        "uri",
        "string",
        "https://www.w3.org/2019/wot/td/v1",
        "https://www.w3.org/2022/wot/td/v1.1",
        "2024-02-30T00:00:00Z",
        "2024-02-28T00:00:00z",
        "2016-12-31T23:59:60Z",
        "2016-12-31T23:59:00+24:00",
        "en-",
        "en-GB-oed",
        "16x16",
        "urn:a:b",
        "http://[::1]:x/",
        "urn:\u{e9}",
    ];
    let others = [
        json!(null),
        json!(true),
        json!(0),
        json!(-1),
        json!(1.5),
        json!(1e300),
        json!([]),
        json!({}),
        json!([1]),
        json!([[]]),
        json!(["x", "x"]),
        json!([1, 1.0]),
        json!({"x": 1}),
        json!(["readallproperties"]),
        json!({"scheme": "combo", "oneOf": ["a", "b"], "allOf": ["a", "b"]}),
        json!({"href": "x", "sizes": "1x1"}),
    ];
    prop::sample::select(texts.iter().map(|text| json!(text)).chain(others).collect::<Vec<_>>())
}

fn names() -> impl Strategy<Value = String> {
    let names = "@context @type id title titles description descriptions version instance created modified support base \
        properties actions events links forms security securityDefinitions schemaDefinitions uriVariables profile href \
        rel sizes hreflang anchor type op contentType contentCoding subprotocol scopes response additionalResponses \
        scheme in name oneOf allOf proxy authorization token refresh flow qop alg format identity enum const items \
        minItems maxItems minimum maximum exclusiveMinimum multipleOf minLength required readOnly writeOnly observable \
        unit contentEncoding contentMediaType input output safe idempotent synchronous subscription data dataResponse \
        cancellation success schema x:y";
    prop::sample::select(names.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
}

fn mutations() -> impl Strategy<Value = Vec<(Index, Mutation)>> {
    let mutation = prop_oneof![
        2 => Just(Mutation::Remove),
        4 => scraps().prop_map(Mutation::Replace),
        1 => names().prop_map(Mutation::Rename),
        3 => (names(), scraps()).prop_map(|(name, value)| Mutation::Add(name, value)),
        1 => Just(Mutation::Twice),
    ];
    prop::collection::vec((any::<Index>(), mutation), 1..4)
}

/// The pointers of all values in `value`, the root left out.
fn pointers(value: &Value, at: &str, out: &mut Vec<String>) {
    let mut child = |step: &str, value: &Value| {
        let pointer = format!("{at}/{}", step.replace('~', "~0").replace('/', "~1"));
        out.push(pointer.clone());
        pointers(value, &pointer, out);
    };
    match value {
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(index, item)| child(&index.to_string(), item))
        }
        Value::Object(members) => members.iter().for_each(|(name, member)| child(name, member)),
        _ => {}
    }
}

fn mutate(document: &mut Value, index: Index, mutation: Mutation) {
    let mut all = Vec::new();
    pointers(document, "", &mut all);
    if all.is_empty() {
        return;
    }
    let pointer = index.get(&all).clone();
    match mutation {
        Mutation::Replace(value) => *document.pointer_mut(&pointer).expect("it was listed") = value,
        Mutation::Add(name, value) => match document.pointer_mut(&pointer) {
            Some(Value::Object(members)) => drop(members.insert(name, value)),
            Some(Value::Array(items)) => items.push(value),
            _ => {}
        },
        other => reshape(document, &pointer, other),
    }
}

/// The mutations of the list or object that the value stands in.
fn reshape(document: &mut Value, pointer: &str, mutation: Mutation) {
    let (parent, step) = pointer.rsplit_once('/').expect("a pointer below the root has a slash");
    let step = step.replace("~1", "/").replace("~0", "~");
    match (document.pointer_mut(parent), mutation) {
        (Some(Value::Object(_)), Mutation::Twice) => {}
        (Some(Value::Object(members)), mutation) => {
            let old = members.remove(&step).expect("it was listed");
            if let Mutation::Rename(name) = mutation {
                members.insert(name, old);
            }
        }
        (Some(Value::Array(items)), mutation) => {
            let at: usize = step.parse().expect("a step of a list is its index");
            if matches!(mutation, Mutation::Twice) {
                items.insert(at, items[at].clone());
            } else {
                items.remove(at);
            }
        }
        _ => unreachable!("the parent of a value is a list or an object"),
    }
}

#[test]
fn whatever_the_official_schema_refuses_is_refused() {
    let Some(files) = files("td-valid") else { return };
    let Some(schemas) = corpus("td-schema-1.1") else { return };
    let schema = fs::read(schemas.join("td-json-schema-validation.json")).expect("the schema");
    let schema: Value = serde_json::from_slice(&schema).expect("JSON");
    let validator =
        jsonschema::draft7::options().should_validate_formats(true).build(&schema).expect("a schema");
    let valid: Vec<Value> =
        files.iter().map(|(_, bytes)| serde_json::from_slice(bytes).expect("JSON")).collect();
    assert!(valid.iter().all(|thing| validator.is_valid(thing)), "the schema passes the valid ones");
    let invalid = crate::files("td-invalid").unwrap_or_default();
    let passed = invalid.iter().filter(|(_, bytes)| {
        validator.is_valid(&serde_json::from_slice(bytes).expect("JSON, where a name may stand twice"))
    });
    eprintln!("{} of {} invalid documents pass the schema; none passes us", passed.count(), invalid.len());
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(2_000);
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig {
        cases,
        failure_persistence: None,
        ..ProptestConfig::default()
    });
    let refused = std::cell::Cell::new(0_u32);
    runner
        .run(&(any::<Index>(), mutations()), |(start, mutations)| {
            let mut document = start.get(&valid).clone();
            for (index, mutation) in mutations {
                mutate(&mut document, index, mutation);
            }
            let ours = ThingDescription::from_value(document.clone());
            if let Err(theirs) = validator.validate(&document) {
                refused.set(refused.get() + 1);
                prop_assert!(
                    ours.is_err(),
                    "only the schema refuses: {} at {}",
                    theirs,
                    theirs.instance_path()
                );
            }
            Ok(())
        })
        .unwrap_or_else(|failure| panic!("{failure}"));
    eprintln!("{} of {cases} mutated documents were refused by the schema, and by us", refused.get());
    assert!(refused.get() > cases / 10, "the mutations hardly break anything");
}
