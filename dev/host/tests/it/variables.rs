//! What a component sees of the application's variables, and of the machine.

use crate::support::{TestApp, manifest};
use agentopia_host::HostError;
use serde_json::json;

const VARIABLES: &str = r#"
[variables]
plain = { default = "from the manifest" }
from_file = { default = "from the manifest" }
given = { default = "from the manifest" }
secret_key = { required = true, secret = true }
hidden = { default = "nobody sees this" }
"#;

const TEMPLATES: &str = r#"
[component.probe.variables]
plain = "{{ plain }}"
from_file = "{{ from_file }}"
given = "[{{ given }}]"
secret_key = "{{ secret_key }}"
"#;

#[tokio::test]
async fn value_comes_from_the_options_then_the_env_file_then_the_default() {
    let folder = tempfile::tempdir().unwrap();
    let env = "SPIN_VARIABLE_FROM_FILE=\"from the file\"\nSPIN_VARIABLE_GIVEN=from the file\n";
    std::fs::write(folder.path().join(".env"), env).unwrap();
    let path = folder.path().join("spin.toml");
    std::fs::write(&path, manifest(&format!("{TEMPLATES}{VARIABLES}"))).unwrap();

    let app = TestApp::start_with("", |options| {
        options.manifest = path;
        options.variables.insert("given".into(), "from the options".into());
        options.variables.insert("secret_key".into(), "s3cret".into());
    })
    .await;

    assert_eq!(
        app.json("/variables/plain").await,
        json!({ "value": "from the manifest" })
    );
    assert_eq!(
        app.json("/variables/from_file").await,
        json!({ "value": "from the file" })
    );
    assert_eq!(
        app.json("/variables/given").await,
        json!({ "value": "[from the options]" })
    );
    assert_eq!(app.json("/variables/secret_key").await, json!({ "value": "s3cret" }));
    let undefined = json!({ "error": "undefined", "text": "no variable for \"probe\".\"hidden\"" });
    assert_eq!(app.json("/variables/hidden").await, undefined);
    let invalid = app.json("/variables/Plain").await;
    assert_eq!(invalid["error"], "invalid_name");
    assert!(
        invalid["text"]
            .as_str()
            .unwrap()
            .starts_with("\"Plain\": invalid character 'P'"),
        "{invalid}"
    );
}

#[tokio::test]
async fn required_variable_must_be_set_and_unknown_ones_are_refused() {
    let manifest = manifest(&format!("{TEMPLATES}{VARIABLES}"));

    let missing = TestApp::try_start(&manifest, |_| {}).await.err().unwrap();
    let unknown = TestApp::try_start(&manifest, |options| {
        options.variables.insert("secret_kye".into(), String::new());
    });

    insta::assert_snapshot!(missing, @"variable `secret_key` is required but not set: set SPIN_VARIABLE_SECRET_KEY");
    assert!(matches!(unknown.await.err(), Some(HostError::UnknownVariable(name)) if name == "secret_kye"));
}

#[tokio::test]
async fn component_sees_its_environment_and_nothing_of_the_machine() {
    let app = TestApp::start(&manifest("environment = { NAME = \"value\" }")).await;

    let answer = app.json("/environment").await;

    assert_eq!(answer["variables"], json!([["NAME", "value"]]));
    assert_eq!(answer["arguments"], json!([]));
    assert_eq!(answer["socket"], "permission denied");
    assert_ne!(answer["file"], json!(null));
}
